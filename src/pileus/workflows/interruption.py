"""Ends a step at its next await before its time: when its operation is cancelled meanwhile (a download need not come to
its end), or when it takes longer than it may (a platform that hangs)."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any

import structlog

from pileus.core.cloud import Cloud
from pileus.core.operations import Operation
from pileus.drivers.errors import Unreachable
from pileus.store.errors import Conflicted, Disconnected

log = structlog.get_logger()

WATCH = 1.0
"""Seconds between two looks at the operation; a step that takes less costs no look."""
GRACE = 30.0
"""Seconds that a step has to end when it is cut off. One whose driver waits for its thread may need them; one that needs
more is left alone: its locks are its own until its thread comes back, and it does nothing after that."""

_left: set[asyncio.Task[Any]] = set()
"""What was left alone, so that it is not collected before its end."""


class Interrupted(Exception):
    """The operation was cancelled, and the step ended before its time; the text is the reason."""


class Watch:
    """Looks at the operation while a task works on it, and cancels the task when the operation is."""

    def __init__(self, cloud: Cloud, operation: Operation, task: asyncio.Task[Any]) -> None:
        self.reason = ""
        """Why the task was cancelled; empty: it was not, by us."""
        self._cloud, self._operation, self._task = cloud, operation, task
        self._looking: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(WATCH, self._begin)

    def end(self) -> None:
        self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()

    def _begin(self) -> None:
        self._looking = asyncio.create_task(self._look(), name=f"watch of {self._operation.id}")

    async def _look(self) -> None:
        while not (reason := await self._cancelled()):
            await asyncio.sleep(WATCH)
        self.reason = reason
        self._task.cancel()

    async def _cancelled(self) -> str:
        """Why, if it was."""
        try:
            async with self._cloud.view() as look:
                held = await look.maybe(Operation, self._operation.id)
        except (Conflicted, Disconnected) as error:
            log.debug("operation not looked at", operation=str(self._operation.id), error=str(error))
            return ""
        return held.ending if held is not None and held.cancelled else ""


async def interruptibly(cloud: Cloud, operation: Operation, work: Awaitable[Any]) -> Any:
    """What the work returns or raises. Raises Interrupted when it ended because the operation was cancelled; work that
    was too quick to be ended keeps its result."""
    task = asyncio.current_task()
    assert task is not None
    watch = Watch(cloud, operation, task)
    try:
        result = await work
    except BaseException as error:
        # Somebody else's cancellation (the worker stops) counts for more than ours.
        if watch.reason and (task.uncancel() == 0 or not isinstance(error, asyncio.CancelledError)):
            raise Interrupted(watch.reason) from error
        raise
    finally:
        watch.end()
    if watch.reason:
        task.uncancel()
    return result


async def within(seconds: float, work: Coroutine[Any, Any, Any], what: str) -> Any:
    """What the work returns or raises. Raises Unreachable when it has no end in so many seconds: it is cancelled then, and
    nobody waits longer than GRACE for it to notice."""
    task = asyncio.create_task(work, name=what)
    try:
        await asyncio.wait({task}, timeout=seconds)
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=GRACE)
            if not task.done():
                _leave(task)
            if not task.done() or task.cancelled():
                raise Unreachable(
                    f"{what} did not come to an end within {seconds:g} s; the platform may hang"
                )
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
    return task.result()


def _leave(task: asyncio.Task[Any]) -> None:
    log.warning("step left alone: its platform hangs", step=task.get_name())
    _left.add(task)
    task.add_done_callback(_returned)


def _returned(task: asyncio.Task[Any]) -> None:
    _left.discard(task)
    error = None if task.cancelled() else task.exception()
    log.info("a step that was left alone has ended", step=task.get_name(), error=str(error or ""))
