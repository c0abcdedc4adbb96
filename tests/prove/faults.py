"""What may go wrong with a step: it fails, its platform does not answer, it is repeated, its process is killed."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pileus.core.operations import Operation, Outcome
from pileus.drivers.errors import Refused, Unreachable
from pileus.store.sqlite import Writer
from pileus.workflows import engine, image_fill
from pileus.workflows.engine import WORKFLOWS, Run, Step, Wait, Workflow

INJECTED = "injected"
END = "(end)"
"""Not a step: the transaction that ends the operation."""
CONTENT = b"fetched!" * 512
OTHERS = 0.25


class Place(StrEnum):
    """Of the fault, in the step."""

    BEFORE = "before"
    AFTER = "after"
    UNJOURNALLED = "before commit"
    JOURNALLED = "after commit"


class How(StrEnum):
    FAILS = "fails"
    UNREACHABLE = "unreachable"
    REPEATS = "repeats"
    KILLED = "killed"
    TAKEN_OVER = "taken over"
    """Killed, while another worker is there."""
    OVERTAKEN = "overtaken"
    """Stopped for longer than its lease; it goes on when another worker has done its work."""


@dataclass(frozen=True)
class Fault:
    how: How
    place: Place
    undo: bool = False

    @property
    def name(self) -> str:
        words = [self.how.value, *([] if self.how is How.REPEATS else [self.place.value])]
        return " ".join([*(["undo"] if self.undo else []), *words])

    @property
    def processes(self) -> bool:
        """Whether it takes more than one."""
        return self.how in (How.KILLED, How.TAKEN_OVER, How.OVERTAKEN)

    @property
    def workers(self) -> bool:
        """Whether two are at work at once, which only PostgreSQL lets them."""
        return self.how in (How.TAKEN_OVER, How.OVERTAKEN)

    @property
    def outcome(self) -> Outcome:
        return Outcome.FAILED if self.undo or self.how is How.FAILS else Outcome.DONE


IN_PROCESS = (How.FAILS, How.UNREACHABLE)
BOTH = (Place.BEFORE, Place.AFTER)
COMMITS = (Place.UNJOURNALLED, Place.JOURNALLED)
FAULTS: tuple[Fault, ...] = tuple(
    fault
    for undo in (False, True)
    for fault in (
        *(Fault(how, place, undo) for how in IN_PROCESS for place in BOTH),
        Fault(How.REPEATS, Place.AFTER, undo),
        *(Fault(How.KILLED, place, undo) for place in (*BOTH, *COMMITS)),
        *(Fault(How.TAKEN_OVER, place, undo) for place in BOTH),
        *(Fault(How.OVERTAKEN, place, undo) for place in BOTH),
    )
)
BY_NAME = {fault.name: fault for fault in FAULTS}


def of_step(step: Step) -> Iterator[Fault]:
    """Those that can befall it. A light step is journalled with a later one, so its commit is that one's."""
    for fault in FAULTS:
        if fault.undo and step.undo is None:
            continue
        if step.light and fault.place in COMMITS:
            continue
        if fault.how is How.KILLED and not step.light and not fault.undo and fault.place is Place.AFTER:
            continue  # as before its commit
        yield fault


def of_end() -> Iterator[Fault]:
    for undo in (False, True):
        for place in COMMITS:
            yield Fault(How.KILLED, place, undo)


Point = Callable[[], Awaitable[None]]


class Struck:
    """Lets one fault happen to one operation, in this process, while `installed`. `at_point` is what to do at the
    point of a fault that takes more than one process."""

    def __init__(self, fault: Fault, workflow: str, step: str, operation: UUID, at_point: Point) -> None:
        self.fault, self.workflow, self.step, self.operation = fault, workflow, step, operation
        self.at_point = at_point
        self.reached = False
        self.armed = False
        """The next commit that journals the operation is the one to be killed at."""

    @contextmanager
    def installed(self, cloud: Any) -> Iterator[None]:
        good = WORKFLOWS[self.workflow]
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(WORKFLOWS, self.workflow, self._broken(good))
            if self.fault.place in COMMITS:
                patch.setattr(cloud, "store", Mortal(cloud.store, self))
            yield

    def _broken(self, workflow: Workflow) -> Workflow:
        steps = list(workflow.steps)
        if self.fault.undo and steps:
            steps[-1] = replace(steps[-1], do=self._refusing(steps[-1].do))
        for place, step in enumerate(steps):
            if step.name == self.step and self.fault.undo:
                assert step.undo is not None
                steps[place] = replace(step, undo=self._struck(step.undo))
            elif step.name == self.step:
                steps[place] = replace(step, do=self._struck(step.do))
        if self.step != END:
            return replace(workflow, steps=tuple(steps))
        return replace(
            workflow,
            steps=tuple(steps),
            finished=self._ending(workflow.finished),
            failed=self._ending(workflow.failed),
        )

    def _ours(self, run: Run) -> bool:
        return run.operation.id == self.operation

    def _refusing(self, do: Callable[[Run], Awaitable[Any]]) -> Callable[[Run], Awaitable[Any]]:
        """Of the last step: its effect is there, and yet all is to be undone."""

        async def refused(run: Run) -> Any:
            output = await do(run)
            if not self._ours(run) or isinstance(output, Wait):
                return output
            raise Refused(INJECTED)

        return refused

    def _ending(self, end: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def struck(run: Run, *more: Any) -> None:
            await end(run, *more)
            if self._ours(run):
                self.reached = self.armed = True

        return struck

    def _struck(self, act: Callable[[Run], Awaitable[Any]]) -> Callable[[Run], Awaitable[Any]]:
        async def struck(run: Run) -> Any:
            if not self._ours(run) or (self.reached and self.fault.how is not How.FAILS):
                return await act(run)
            if self.fault.place is Place.BEFORE:
                await self._strike()
                return await act(run)
            output = await act(run)
            if isinstance(output, Wait):
                return output
            if self.fault.how is How.REPEATS:
                self.reached = True
                return await act(run)
            if self.fault.place in COMMITS:
                self.reached = self.armed = True
                return output
            await self._strike()
            return output

        return struck

    async def _strike(self) -> None:
        first, self.reached = not self.reached, True
        if self.fault.how is How.UNREACHABLE:
            raise Unreachable(INJECTED)
        if self.fault.how is How.FAILS:
            if first or not self.fault.undo:
                raise Refused(INJECTED)
            return
        await self.at_point()


class Mortal:
    """A store in front of which, or behind whose commit, the process ends."""

    def __init__(self, store: Any, struck: Struck) -> None:
        self._store, self._struck = store, struck

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        struck, journals = self._struck, False
        async with self._store.transaction() as tx:
            update = tx.update

            async def noted(record: Any) -> None:
                nonlocal journals
                journals = journals or (isinstance(record, Operation) and record.id == struck.operation)
                await update(record)

            tx.update = noted
            yield tx
            if journals and struck.armed and struck.fault.place is Place.UNJOURNALLED:
                await struck.at_point()
        if journals and struck.armed:
            await struck.at_point()


async def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def waiting(reached: Path, go_on: Path) -> Point:
    """Say that the point is reached, and go on when told."""

    async def wait() -> None:
        # What else is in hand ends, and the heartbeat's statements are prepared: PostgreSQL (before 17) lets nobody in
        # on a transaction whose client is frozen between the preparing and the running of a statement.
        await asyncio.sleep(OTHERS)
        reached.touch()
        while not go_on.exists():
            await asyncio.sleep(0.005)

    return wait


async def content(url: str, *, inside: bool) -> AsyncIterator[bytes]:
    """What stands at every address of the simulated world."""
    yield CONTENT


async def at_once(writer: Writer, sql: str) -> None:
    """A commit without a thread of its own: nobody else has anything to do meanwhile."""
    writer.connection.execute(sql)


@contextmanager
def quick() -> Iterator[None]:
    """Nothing is waited for without need, and nothing leaves the simulated world."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "RETRY", (0.005,))
        patch.setattr(image_fill, "content", content)
        patch.setattr(Writer, "_in_thread", at_once)
        yield
