"""The limit of one try: a step or an undo that does not return is cut off, and waits, turns back or is flagged."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from pileus.core.errors import NoCapacity, Unavailable
from pileus.core.operations import Operation, Outcome
from pileus.drivers.network.fake import FakeNetwork
from pileus.workflows import catalogue, engine, interruption
from pileus.workflows.engine import LIMIT, LONG_LIMIT, WORKFLOWS, Run, Workflow, advance
from pileus.workflows.network_sync import SUBJECTS
from pileus.workflows.site import OURS, Site
from tests.unit.workflows.effects import *  # noqa: F403 (its fixtures)
from tests.unit.workflows.effects import STEPS, Clock, World, claimed, start

SHORT = 0.01
STRANGER = UUID(int=1)
CUT = "{} did not come to an end within 0.01 s; the platform may hang"


async def endless(run: Run) -> None:
    await asyncio.Event().wait()


def changed(workflow: Workflow, name: str, **fields: Any) -> Workflow:
    steps = (replace(step, **fields) if step.name == name else step for step in workflow.steps)
    return replace(workflow, steps=tuple(steps))


@pytest.mark.parametrize("interruptible", [False, True])
async def test_a_step_that_does_not_return_waits_and_turns_back_when_its_patience_is_over(
    site: Site, world: World, workflow: Workflow, clock: Clock, interruptible: bool
) -> None:
    hanging = changed(workflow, "two", do=endless, limit=SHORT, patience=60.0, interruptible=interruptible)
    operation = await start(site)
    for _ in range(2):
        waiting = await advance(site, hanging, await claimed(site, operation))
        assert (waiting.outcome, waiting.why, waiting.owner) == (Outcome.RUNNING, CUT.format("two"), "")
    clock.ahead += timedelta(seconds=61)
    ended = await advance(site, hanging, await claimed(site, operation))
    assert (ended.outcome, ended.fault) == (Outcome.FAILED, f"Gave up after 60 s: {CUT.format('two')}")
    assert world.effects == set()


async def test_the_time_of_the_first_try_is_no_waiting(
    site: Site, world: World, workflow: Workflow, clock: Clock
) -> None:
    """A limit may be longer than the patience: there is a second try all the same."""

    async def slow(run: Run) -> None:
        clock.ahead += timedelta(seconds=900)
        await asyncio.Event().wait()

    waiting = await advance(
        site, changed(workflow, "two", do=slow, limit=SHORT), await claimed(site, await start(site))
    )
    assert (waiting.outcome, waiting.why) == (Outcome.RUNNING, CUT.format("two"))


async def test_an_undo_that_does_not_return_is_tried_again_and_then_flagged(
    site: Site, world: World, workflow: Workflow, clock: Clock
) -> None:
    world.broken["three"] = ("before", NoCapacity("no room"))
    hanging = changed(workflow, "two", undo=endless, limit=SHORT)
    operation = await start(site)
    waiting = await advance(site, hanging, await claimed(site, operation))
    assert (waiting.outcome, waiting.why) == (Outcome.UNWINDING, f"undo of two: {CUT.format('two')}")
    clock.ahead += timedelta(seconds=engine.UNDO_DEADLINE + 1)
    flagged = await advance(site, hanging, await claimed(site, operation))
    assert flagged.outcome is Outcome.FLAGGED
    ended = await advance(site, workflow, await claimed(site, operation))
    assert (ended.outcome, ended.fault, world.effects) == (Outcome.FAILED, "no room", set())


async def test_a_hanging_step_that_was_cancelled_turns_back_at_its_limit(
    site: Site, world: World, workflow: Workflow
) -> None:
    operation = await start(site)

    async def called_off(run: Run) -> None:
        async with site.cloud.transaction() as tx:
            await tx.rows.update_where(Operation, {"cancelled": True}, id=operation.id)
        await asyncio.Event().wait()

    hanging = changed(workflow, "two", do=called_off, limit=1.0)
    waiting = await advance(site, hanging, await claimed(site, operation))
    assert waiting.wake_at <= site.cloud.now()
    ended = await advance(site, hanging, await claimed(site, operation))
    assert (ended.outcome, world.effects) == (Outcome.FAILED, set())


async def test_a_step_that_cannot_be_cancelled_is_left_alone(
    site: Site, world: World, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for a thread that hangs; its end, much later, has no effect on the operation."""
    monkeypatch.setattr(interruption, "GRACE", SHORT)
    back = asyncio.Event()

    async def stubborn(run: Run) -> str:
        while not back.is_set():
            with suppress(asyncio.CancelledError):
                await back.wait()
        raise RuntimeError("too late")

    hanging = changed(workflow, "two", do=stubborn, limit=SHORT)
    waiting = await advance(site, hanging, await claimed(site, await start(site)))
    assert (waiting.outcome, waiting.why) == (Outcome.RUNNING, CUT.format("two"))
    (left,) = interruption._left
    back.set()
    await asyncio.wait({left}, timeout=20)
    ended = await advance(site, workflow, await claimed(site, waiting))
    assert (ended.outcome, world.effects) == (Outcome.DONE, set(STEPS))
    assert not interruption._left


async def test_an_end_that_comes_with_the_cut_counts(site: Site, world: World, workflow: Workflow) -> None:
    async def finishes(run: Run) -> str:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "done after all"

    ended = await advance(
        site, changed(workflow, "two", do=finishes, limit=SHORT), await claimed(site, await start(site))
    )
    assert (ended.outcome, ended.done["two"]) == (Outcome.DONE, "done after all")


def test_what_may_take_long_has_a_generous_limit_and_nothing_has_none() -> None:
    catalogue.load()
    steps = [step for name, known in WORKFLOWS.items() if name != "test.work" for step in known.steps]
    assert {step.limit for step in steps if step.interruptible} == {LONG_LIMIT}
    assert all(LIMIT <= step.limit <= LONG_LIMIT for step in steps)


# What a worker must not ask of a platform after its lease


PLATFORMS: dict[str, Callable[[Site], Any]] = {
    "network": lambda site: site.network,
    "images": lambda site: site.images,
    "hypervisor": lambda site: site.hypervisor(STRANGER),
    "pool": lambda site: site.pool(STRANGER),
}


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_worker_that_was_away_for_longer_than_its_lease_reaches_no_platform(
    site: Site, platform: str
) -> None:
    token = OURS.set(lambda: False)
    try:
        with pytest.raises(Unavailable, match="away for longer than its lease"):
            PLATFORMS[platform](site)
    finally:
        OURS.reset(token)


@pytest.mark.parametrize("kind", SUBJECTS)
async def test_a_reading_that_is_older_than_the_lease_is_not_applied(site: Site, kind: str) -> None:
    """The worker is frozen between the records and the platform."""
    platform = FakeNetwork()
    late = Site(site.cloud, hypervisors={}, network=platform, pools={}, images=site.images)
    token = OURS.set(lambda: False)
    try:
        with pytest.raises(Unavailable, match="away for longer than its lease"):
            await SUBJECTS[kind](late, STRANGER)
    finally:
        OURS.reset(token)
    assert not platform.calls
