"""The engine alone: journal, waits, undo, cancellation, order of one key, fencing, take-over."""

import asyncio
from datetime import timedelta
from operator import attrgetter
from typing import Any
from uuid import uuid4

import pytest

from pileus.core.errors import NoCapacity
from pileus.core.operations import Operation, Outcome
from pileus.drivers.errors import Refused, Unreachable
from pileus.workflows import engine
from pileus.workflows.engine import Fenced, Run, Step, Wait, Workflow, advance, register
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests.unit.workflows.effects import *  # noqa: F403 (its fixtures)
from tests.unit.workflows.effects import STEPS, Clock, World, claimed, drain, now_is, start


async def test_every_step_runs_once_and_is_journalled(site: Site, world: World, workflow: Workflow) -> None:
    operation = await start(site)
    await drain(site)
    ended = await now_is(site, operation)
    assert ended.outcome is Outcome.DONE
    assert ended.done == {name: f"{name} done" for name in STEPS}
    assert world.log == list(STEPS)
    assert world.ended == [(operation.subject, "")]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", STEPS)
async def test_a_refusal_at_any_step_undoes_everything(
    site: Site, world: World, workflow: Workflow, name: str, when: str
) -> None:
    world.broken[name] = (when, Refused(f"injected at {name}"))
    operation = await start(site)
    await drain(site)
    ended = await now_is(site, operation)
    assert (ended.outcome, ended.fault, ended.done) == (Outcome.FAILED, f"injected at {name}", {})
    assert world.effects == set()
    assert world.ended == [(operation.subject, f"injected at {name}")]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", STEPS)
async def test_a_platform_that_is_away_is_waited_for(
    site: Site, world: World, workflow: Workflow, name: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "RETRY", (0.01,))
    world.broken[name] = (when, Unreachable("away"))
    operation = await start(site)
    await drain(site)
    assert (await now_is(site, operation)).outcome is Outcome.DONE
    assert world.effects == set(STEPS)
    assert world.log.count(name) == 2


async def test_patience_ends_a_wait(site: Site, world: World, clock: Clock) -> None:
    async def never(run: Run) -> Wait:
        return Wait(1, "it never comes")

    async def failed(run: Run, tx: Any, fault: str) -> None:
        world.ended.append((run.subject, fault))

    steps = (world.step("one"), Step("never", never, patience=60))
    impatient = register(Workflow("test.work", steps, failed=failed))
    operation = await claimed(site, await start(site))
    waiting = await advance(site, impatient, operation)
    assert (waiting.outcome, waiting.why, waiting.owner) == (Outcome.RUNNING, "it never comes", "")
    assert waiting.wake_at > site.cloud.now()
    clock.ahead += timedelta(seconds=61)
    ended = await advance(site, impatient, await claimed(site, operation))
    assert ended.outcome is Outcome.FAILED
    assert ended.fault == "Gave up after 60 s: it never comes"
    assert world.effects == set()


async def test_an_undo_that_fails_is_retried_and_then_flagged(
    site: Site, world: World, workflow: Workflow, clock: Clock
) -> None:
    world.broken["three"] = ("before", NoCapacity("no room"))
    world.undo_broken["two"] = 3
    operation = await claimed(site, await start(site))
    waiting = await advance(site, workflow, operation)
    assert waiting.outcome is Outcome.UNWINDING
    assert waiting.why == "undo of two: the platform is away"
    assert world.effects == {"one", "two"}
    clock.ahead += timedelta(seconds=engine.UNDO_DEADLINE + 1)
    flagged = await advance(site, workflow, await claimed(site, operation))
    assert flagged.outcome is Outcome.FLAGGED
    assert (await advance(site, workflow, await claimed(site, operation))).outcome is Outcome.FLAGGED
    ended = await advance(site, workflow, await claimed(site, operation))
    assert (ended.outcome, ended.fault, ended.fault_kind) == (Outcome.FAILED, "no room", "no capacity")
    assert world.effects == set()


async def test_operations_of_one_key_run_in_order(site: Site, world: World, workflow: Workflow) -> None:
    key = uuid4()
    asked = [await start(site, key=key) for _ in range(8)]
    await drain(site)
    assert [subject for subject, _ in world.ended] == [operation.subject for operation in asked]
    assert world.log == list(STEPS) * 8


async def test_a_delete_turns_back_what_runs(site: Site, world: World, workflow: Workflow) -> None:
    key = uuid4()
    first = await start(site, key=key)
    second = await start(site, key=key, supersede=True)
    await drain(site)
    assert (await now_is(site, first)).outcome is Outcome.FAILED
    assert (await now_is(site, second)).outcome is Outcome.DONE
    assert world.log == list(STEPS)


@pytest.mark.parametrize("step", STEPS)
async def test_who_lost_the_operation_writes_nothing_more(
    site: Site, world: World, workflow: Workflow, step: str
) -> None:
    operation = await claimed(site, await start(site))
    taken = next(s for s in workflow.steps if s.name == step)

    async def lose(run: Run) -> str:
        await claimed(site, operation, owner="somebody else")
        return "late"

    steps = tuple(Step(s.name, lose) if s is taken else s for s in workflow.steps)
    with pytest.raises(Fenced):
        await advance(site, Workflow("test.work", steps, failed=workflow.failed), operation)
    held = await now_is(site, operation)
    assert held.owner == "somebody else"
    assert step not in held.done
    assert world.ended == []


async def test_a_new_owner_goes_on_where_the_dead_one_was(
    site: Site, world: World, workflow: Workflow
) -> None:
    operation = await claimed(site, await start(site), owner="dead")
    async with site.cloud.transaction() as tx:
        await tx.rows.update_where(Operation, {"done": {"one": "one done"}}, id=operation.id)
    await drain(site)
    assert (await now_is(site, operation)).outcome is Outcome.DONE
    assert world.log == ["two", "three"]


async def test_a_light_step_is_noted_with_the_next_and_undone_though_no_note_tells_of_it(
    site: Site, world: World, workflow: Workflow
) -> None:
    one, two, three = (world.step(name) for name in STEPS)
    light = Step(one.name, one.do, one.undo, light=True)
    mixed = register(Workflow("test.work", (light, two, three), failed=workflow.failed))
    operation = await claimed(site, await start(site))
    world.broken["two"] = ("after", Fenced("killed"))
    with pytest.raises(Fenced):
        await advance(site, mixed, operation)
    assert ((await now_is(site, operation)).done, world.effects) == ({}, {"one", "two"})
    async with site.cloud.transaction() as tx:
        await tx.rows.update_where(Operation, {"cancelled": True}, id=operation.id)
    ended = await advance(site, mixed, await claimed(site, operation))
    assert (ended.outcome, world.effects) == (Outcome.FAILED, set())


async def test_a_worker_among_others_takes_over_only_expired_leases(
    site: Site, world: World, workflow: Workflow
) -> None:
    held, lost = await start(site), await start(site)
    async with site.cloud.transaction() as tx:
        later, before = site.cloud.now() + timedelta(minutes=5), site.cloud.now() - timedelta(seconds=1)
        await tx.rows.update_where(Operation, {"owner": "other", "lease_until": later}, id=held.id)
        await tx.rows.update_where(Operation, {"owner": "other", "lease_until": before}, id=lost.id)
    worker = Worker(site, alone=False)
    await worker.start()
    try:
        async with asyncio.timeout(20):
            while (await now_is(site, lost)).outcome is not Outcome.DONE:
                await asyncio.sleep(0.01)
    finally:
        await worker.stop()
    assert (await now_is(site, held)).owner == "other"
    assert attrgetter("outcome")(await now_is(site, held)) is Outcome.RUNNING
