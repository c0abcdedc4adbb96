"""One case of the matrix: a workflow that is about to begin, one fault at one step of it, and the verdict."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pileus.core.operations import Outcome
from pileus.store import postgres
from pileus.workflows import worker
from tests.prove import scene, verdict
from tests.prove.faults import Fault, How, Place, Struck, die, quick, waiting
from tests.prove.platforms import unused
from tests.prove.rows import Row
from tests.prove.scene import PLATFORMS, Scene, Stuck
from tests.prove.verdict import Signature

CHILD_SECONDS = 60
LEASE, HEARTBEAT = 0.4, 0.1
"""Of the workers that share a database here: what a lease means is the same at any length."""
FINISHED, KILLED = 0, -signal.SIGKILL


@dataclass(frozen=True)
class Case:
    row: int
    step: str
    fault: Fault
    database: str


async def clean(row: Row, home: Path) -> tuple[list[str], Signature]:
    """Without a fault: what is wrong, and what there is at the end."""
    directory = scene.copy(row.directory, home)
    with quick():
        async with scene.opened(directory) as at:
            await at.finish()
            wrong = await verdict.judge(at, outcome=Outcome.DONE, operation=row.operation)
            reached = await verdict.signature(at)
            return wrong + await verdict.clear(at), reached


class Run:
    """A case in its own directory and database."""

    def __init__(self, row: Row, case: Case, wanted: Signature, directory: Path, url: str) -> None:
        self.row, self.case, self.fault, self.wanted = row, case, case.fault, wanted
        self.directory, self.url = directory, url
        self.reached, self.go_on = directory / "reached", directory / "go on"

    def wrong(self) -> list[str]:
        """What is wrong in the end."""
        tempfile.tempdir = str(self.directory)
        with quick():
            if not self.fault.processes:
                return asyncio.run(self._here())
            wrong = self._killed() if self.fault.how is How.KILLED else self._two_workers()
            return wrong or asyncio.run(self._after())

    def _struck(self, at_point: Callable[[], Awaitable[None]]) -> Struck:
        return Struck(self.fault, self.row.workflow, self.case.step, self.row.operation, at_point)

    # --- the faults of one process

    async def _here(self) -> list[str]:
        async with scene.opened(self.directory, self.url) as at:
            struck = self._struck(die)
            with struck.installed(at.cloud):
                if wrong := await settled(at):
                    return wrong
            if not struck.reached:
                return ["the fault was not reached"]
            return await self._judged(at)

    async def _after(self) -> list[str]:
        """Another process takes over what is left."""
        async with scene.opened(self.directory, self.url) as at:
            return await settled(at) or await self._judged(at)

    async def _judged(self, at: Scene) -> list[str]:
        wrong = await verdict.judge(at, outcome=self.fault.outcome, operation=self.row.operation)
        if not wrong and self.fault.outcome is Outcome.DONE:
            # As without a fault, so it can be deleted as that can.
            return verdict.differences(self.wanted, await verdict.signature(at))
        return wrong + await verdict.clear(at)

    # --- a process that is killed

    def _killed(self) -> list[str]:
        ended = self._wait(self._fork(self._doomed))
        return [] if ended == KILLED else [self._unkilled(ended)]

    def _unkilled(self, ended: int) -> str:
        told = self.directory / "error"
        return f"it was not killed, but ended with {ended}: {told.read_text() if told.exists() else ''}"

    async def _doomed(self) -> None:
        async with scene.opened(self.directory, self.url, outside=True) as at:
            struck = self._struck(die)
            with struck.installed(at.cloud):
                await at.finish()
            if struck.reached and self.fault.place is Place.JOURNALLED:
                await die()  # the last commit ended all work, this process's among it

    # --- two workers

    def _two_workers(self) -> list[str]:
        first = self._fork(self._first)
        end = time.monotonic() + CHILD_SECONDS
        while not self.reached.exists():
            if time.monotonic() > end or (ended := os.waitpid(first, os.WNOHANG)) != (0, 0):
                return [self._unkilled(ended[1])]
            time.sleep(0.005)
        if self.fault.how is How.OVERTAKEN:
            with unused(self.directory / PLATFORMS):
                os.kill(first, signal.SIGSTOP)
        second = self._fork(self._second)
        if self.fault.how is How.TAKEN_OVER:
            time.sleep(LEASE / 2)
            os.kill(first, signal.SIGKILL)
        ended = self._wait(second)
        if self.fault.how is How.OVERTAKEN:
            self.go_on.touch()
            os.kill(first, signal.SIGCONT)
        wanted = KILLED if self.fault.how is How.TAKEN_OVER else FINISHED
        ends = (self._wait(first), ended)
        return [] if ends == (wanted, FINISHED) else [self._unkilled(ends[0]), self._unkilled(ends[1])]

    async def _first(self) -> None:
        async with scene.opened(self.directory, self.url, outside=True) as at:
            struck = self._struck(waiting(self.reached, self.go_on))
            with struck.installed(at.cloud):
                async with at.working(alone=False) as one:
                    await at.quiet()
                    while one.running:
                        await asyncio.sleep(0.005)

    async def _second(self) -> None:
        async with scene.opened(self.directory, self.url, outside=True) as at, at.working(alone=False):
            await at.quiet()

    def _fork(self, body: Callable[[], Awaitable[None]]) -> int:
        child = os.fork()
        if child:
            return child
        try:
            signal.alarm(CHILD_SECONDS)
            with pytest.MonkeyPatch.context() as patch:
                if self.fault.workers:
                    patch.setattr(worker, "LEASE", LEASE)
                    patch.setattr(worker, "HEARTBEAT", HEARTBEAT)
                    patch.setattr(worker, "IDLE", HEARTBEAT)
                    patch.setattr(postgres, "IDLE_MILLISECONDS", int(LEASE * 1000))
                asyncio.run(body())  # type: ignore[arg-type]
            os._exit(FINISHED)
        except BaseException:
            (self.directory / "error").write_text(traceback.format_exc()[-1500:])
        finally:
            os._exit(1)

    def _wait(self, child: int) -> int:
        _, status = os.waitpid(child, 0)
        return os.waitstatus_to_exitcode(status)


async def settled(at: Scene) -> list[str]:
    """Work until nothing is left; what does not end."""
    try:
        await at.finish()
    except Stuck as stuck:
        return stuck.told or [str(stuck)]
    return []


def run(row: Row, case: Case, wanted: Signature, directory: Path, url: str) -> list[str]:
    """Copies the row to the directory, and leaves nothing there."""
    scene.copy(row.directory, directory)
    try:
        return Run(row, case, wanted, directory, url).wrong()
    except Exception as error:
        print(traceback.format_exc(), file=sys.stderr)
        return [f"the case broke: {error!r}"]
    finally:
        tempfile.tempdir = None
        shutil.rmtree(directory)
