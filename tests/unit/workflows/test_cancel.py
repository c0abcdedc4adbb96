"""Operations as they are looked at, called off and woken: their timelines, cancellation, another try."""

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import pytest

from pileus.core import work
from pileus.core.caller import system
from pileus.core.errors import Conflict, NoCapacity
from pileus.core.operations import LASTING, Operation, Outcome
from pileus.drivers.errors import Unreachable
from pileus.workflows import catalogue, downloads, engine, interruption, timeline
from pileus.workflows.engine import WORKFLOWS, Run, Step, Wait, Workflow, advance, register
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests.unit.workflows.effects import *  # noqa: F403 (its fixtures)
from tests.unit.workflows.effects import STEPS, Clock, World, claimed, drain, now_is, start


async def cancel(site: Site, operation: Operation) -> Operation:
    return await work.cancel(site.cloud, system(), operation.id)


def way(operation: Operation) -> list[tuple[str, bool, int, str]]:
    return [(entry.step, entry.undo, entry.tries, entry.fault) for entry in operation.taken]


async def test_the_timeline_tells_every_step_once(site: Site, world: World, workflow: Workflow) -> None:
    operation = await start(site)
    await drain(site)
    ended = await now_is(site, operation)
    assert way(ended) == [(name, False, 1, "") for name in STEPS]
    assert all(entry.ms >= 0 and entry.at.tzinfo is not None for entry in ended.taken)


async def test_a_light_step_is_on_the_timeline_too(site: Site, world: World, workflow: Workflow) -> None:
    one, two, three = (world.step(name) for name in STEPS)
    register(Workflow("test.work", (replace(one, light=True), two, three), failed=workflow.failed))
    operation = await start(site)
    await drain(site)
    assert way(await now_is(site, operation)) == [(name, False, 1, "") for name in STEPS]


async def test_a_step_that_was_tried_again_is_one_entry(
    site: Site, world: World, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "RETRY", (0.01,))
    world.broken["two"] = ("before", Unreachable("away"))
    operation = await start(site)
    await drain(site)
    assert way(await now_is(site, operation))[1] == ("two", False, 2, "")


async def test_an_undo_that_is_tried_for_hours_is_one_entry(
    site: Site, world: World, workflow: Workflow, clock: Clock
) -> None:
    world.broken["three"] = ("after", NoCapacity("no room"))
    world.undo_broken["two"] = 30
    operation = await start(site)
    for _ in range(31):
        ended = await advance(site, workflow, await claimed(site, operation))
        assert len(ended.taken) <= 2 * len(STEPS)
        clock.ahead += timedelta(seconds=300)
    assert ended.outcome is Outcome.FAILED
    assert way(ended) == [
        ("one", False, 1, ""),
        ("two", False, 1, ""),
        ("three", False, 1, "no room"),
        ("three", True, 31, ""),
        ("two", True, 31, ""),
        ("one", True, 1, ""),
    ]


async def test_the_timeline_shows_what_is_done_at_hand_and_ahead(
    site: Site, world: World, workflow: Workflow
) -> None:
    world.broken["two"] = ("before", Unreachable("away"))
    waiting = await advance(site, workflow, await claimed(site, await start(site)))
    shown = timeline.lines([*STEPS], waiting)
    assert [(line.step, line.mark.value) for line in shown] == [
        ("one", "done"),
        ("two", "current"),
        ("three", "ahead"),
    ]
    assert (shown[1].why, shown[1].tries) == ("away", 1)
    await cancel(site, waiting)
    ended = await advance(site, workflow, await claimed(site, waiting))
    marks = [line.mark.value for line in timeline.lines([*STEPS], ended)]
    assert marks == ["undone", "undone", "ahead"]


@pytest.mark.parametrize("name", STEPS)
async def test_a_cancelled_operation_unwinds_before_its_next_step(
    site: Site, world: World, name: str, workflow: Workflow
) -> None:
    operation = await start(site)

    async def called_off(run: Run) -> str:
        world.effects.add(name)
        await cancel(site, operation)
        return "done all the same"

    steps = [replace(step, do=called_off) if step.name == name else step for step in workflow.steps]
    ended = await advance(site, replace(workflow, steps=steps), await claimed(site, operation))
    assert (ended.outcome, ended.fault) == (Outcome.FAILED, "It was cancelled by pileus.")
    assert (world.effects, ended.done) == (set(), {})
    assert world.ended == [(operation.subject, ended.fault)]
    with pytest.raises(Conflict, match=r"failed, because: It was cancelled by pileus\.$"):
        await cancel(site, operation)


async def test_a_cancellation_at_the_very_end_wins_or_is_refused(
    site: Site, world: World, workflow: Workflow
) -> None:
    """Many at once, so that some come before the last commit and some after it."""
    asked = [await start(site) for _ in range(20)]

    async def call_off(number: int, operation: Operation) -> bool:
        for _ in range(number * 3):
            await asyncio.sleep(0)
        try:
            await cancel(site, operation)
        except Conflict:
            return False
        return True

    worker = Worker(site)
    await worker.start()
    won = await asyncio.gather(*(call_off(*each) for each in enumerate(asked)))
    await asyncio.wait_for(worker.idle(), 30)
    await worker.stop()
    ended = [(await now_is(site, operation)).outcome for operation in asked]
    assert ended == [Outcome.FAILED if each else Outcome.DONE for each in won]
    assert bool(world.effects) == (False in won)


async def test_a_workflow_that_must_come_to_its_end_cannot_be_cancelled(
    site: Site, world: World, workflow: Workflow
) -> None:
    register(replace(workflow, cancellable=False))
    operation = await start(site)
    with pytest.raises(Conflict, match=r"test\.work\) cannot be cancelled"):
        await cancel(site, operation)
    await drain(site)
    assert (await now_is(site, operation)).outcome is Outcome.DONE
    register(workflow)
    with pytest.raises(Conflict, match=r"it has ended, done\.$"):
        await cancel(site, operation)


async def test_a_wait_ends_when_it_is_cancelled_or_tried_again(
    site: Site, world: World, workflow: Workflow
) -> None:
    async def rest(run: Run) -> Wait | None:
        return Wait(500, "resting") if run.operation.tries == 0 else None

    register(replace(workflow, steps=(*workflow.steps, Step("rest", rest))))
    off, again = await start(site), await start(site)
    worker = Worker(site)
    await worker.start()
    try:
        async with asyncio.timeout(20):
            for operation in (off, again):
                while not (await now_is(site, operation)).why:
                    await asyncio.sleep(0.01)
            await cancel(site, off)
            await work.retry(site.cloud, system(), again.id)
            await worker.idle()
    finally:
        await worker.stop()
    assert (await now_is(site, off)).outcome is Outcome.FAILED
    assert (await now_is(site, again)).outcome is Outcome.DONE


async def test_a_wait_that_begins_while_it_is_cancelled_is_over_at_once(
    site: Site, world: World, workflow: Workflow
) -> None:
    operation = await start(site)

    async def rest(run: Run) -> Wait:
        await cancel(site, operation)
        return Wait(500, "resting")

    steps = (*workflow.steps, Step("rest", rest))
    resting = await advance(site, replace(workflow, steps=steps), await claimed(site, operation))
    assert (resting.outcome, resting.cancelled) == (Outcome.RUNNING, True)
    assert resting.wake_at <= site.cloud.now()


async def test_what_waits_for_its_turn_is_cancelled_out_of_turn(
    site: Site, world: World, workflow: Workflow
) -> None:
    go = asyncio.Event()

    async def held(run: Run) -> None:
        await go.wait()

    register(replace(workflow, steps=(Step("held", held), *workflow.steps)))
    key = uuid4()
    first, second = await start(site, key=key), await start(site, key=key)
    worker = Worker(site)
    await worker.start()
    try:
        async with asyncio.timeout(20):
            while not worker.running:
                await asyncio.sleep(0.01)
            await cancel(site, second)
            while (await now_is(site, second)).outcome is not Outcome.FAILED:
                await asyncio.sleep(0.01)
            assert (await now_is(site, first)).outcome is Outcome.RUNNING
            go.set()
            await worker.idle()
    finally:
        await worker.stop()
    assert (await now_is(site, first)).outcome is Outcome.DONE
    assert world.effects == set(STEPS)


async def test_an_interruptible_step_ends_when_its_operation_is_cancelled(
    site: Site, world: World, workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interruption, "WATCH", 0.01)
    began = asyncio.Event()

    async def download(run: Run) -> None:
        world.effects.add("half a download")
        began.set()
        await asyncio.Event().wait()

    async def remove(run: Run) -> None:
        world.effects.discard("half a download")

    step = Step("download", download, undo=remove, interruptible=True)
    register(replace(workflow, steps=(*workflow.steps, step)))
    operation = await start(site)
    worker = Worker(site)
    await worker.start()
    try:
        async with asyncio.timeout(20):
            await began.wait()
            await cancel(site, operation)
            await worker.idle()
    finally:
        await worker.stop()
    ended = await now_is(site, operation)
    assert (ended.outcome, ended.fault) == (Outcome.FAILED, "It was cancelled by pileus.")
    assert world.effects == set()
    assert [entry.fault for entry in ended.taken if entry.step == "download"] == [ended.fault, ""]


async def test_a_download_that_stalls_ends_when_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    began, returned, go = threading.Event(), threading.Event(), threading.Event()

    class Stalling(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "10")
            self.end_headers()
            self.wfile.write(b"half")
            go.wait()

        def log_message(self, *_: Any) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Stalling)
    threading.Thread(target=server.serve_forever).start()

    def reads(*args: Any) -> bytes:
        began.set()
        try:
            return blocking(*args)
        finally:
            returned.set()

    blocking = downloads._read
    monkeypatch.setattr(downloads, "_read", reads)

    async def read() -> None:
        async for _ in downloads.content(f"http://127.0.0.1:{server.server_port}/", inside=True):
            raise AssertionError("the whole body came")

    reading = asyncio.create_task(read())
    try:
        async with asyncio.timeout(20):
            await asyncio.to_thread(began.wait)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        assert not returned.is_set(), "the event loop waited for the read"
    finally:
        go.set()
        await asyncio.to_thread(server.shutdown)
        server.server_close()


async def test_an_interruptible_step_ends_with_its_worker(
    site: Site, world: World, workflow: Workflow
) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def download(run: Run) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    register(replace(workflow, steps=(Step("download", download, interruptible=True),)))
    operation = await start(site)
    worker = Worker(site)
    await worker.start()
    async with asyncio.timeout(20):
        await began.wait()
        await worker.stop()
    assert ended.is_set()
    assert (await now_is(site, operation)).outcome is Outcome.RUNNING


async def test_a_flagged_operation_is_tried_again_when_asked(
    site: Site, world: World, workflow: Workflow, clock: Clock
) -> None:
    world.broken["three"] = ("before", NoCapacity("no room"))
    world.undo_broken["two"] = 2
    operation = await start(site)
    await advance(site, workflow, await claimed(site, operation))
    clock.ahead += timedelta(seconds=engine.UNDO_DEADLINE + 1)
    flagged = await advance(site, workflow, await claimed(site, operation))
    assert flagged.outcome is Outcome.FLAGGED
    assert flagged.wake_at > site.cloud.now() + timedelta(seconds=100)
    again = await work.retry(site.cloud, system(), operation.id)
    assert again.wake_at <= site.cloud.now()
    worker = Worker(site)
    await worker.start()
    try:
        async with asyncio.timeout(20):
            while (await now_is(site, operation)).outcome is not Outcome.FAILED:
                await asyncio.sleep(0.01)
    finally:
        await worker.stop()
    assert world.effects == set()


def test_deletes_and_what_cannot_be_restored_go_on_to_their_end() -> None:
    catalogue.load()
    final = {name for name in WORKFLOWS if name.partition(".")[2] in ("delete", "destroy", "stop", "sync")}
    assert final
    assert {name for name in final if WORKFLOWS[name].cancellable} == set()
    assert final <= LASTING
