"""Long-running programs under our care: started in a session of their own so that they outlive us,
found again at the next start, begun anew when they die, and ended only when they are provably ours."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import msgspec
import structlog

from pileus.app.daemons.process import Process, identify
from pileus.drivers.errors import Refused, Unreachable

log = structlog.get_logger()

FIRST_DELAY = 0.2
LONGEST_DELAY = 30.0
STEADY_SECONDS = 60.0
"""A program that ran so long before it died is begun again without a longer delay."""
TAIL_BYTES = 2000


async def always() -> bool:
    return True


class Daemon:
    """One program. `ready` is asked until it says yes; `namespace` is a command that runs the program
    elsewhere (`unshare -m ...`) and must become it by exec; `restarted` is called after each start that
    nobody asked for."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        directory: Path,
        *,
        ready: Callable[[], Awaitable[bool]] = always,
        environment: Mapping[str, str] | None = None,
        namespace: Sequence[str] = (),
        ready_seconds: float = 30.0,
        restarted: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.name = name
        self.command = (*namespace, *command)
        self.record = directory / f"{name}.pid"
        self.log_file = directory / f"{name}.log"
        self.adopted = False
        self._ready = ready
        self._environment = dict(environment or {})
        self._ready_seconds = ready_seconds
        self._restarted = restarted
        self._process: Process | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def process(self) -> Process | None:
        """The process that runs now, if any."""
        return self._process if self._process is not None and self._process.alive() else None

    async def start(self) -> None:
        """Adopt the program of an earlier run, or begin one; return when it is ready. Repeatable.

        Raises Refused (with the end of the log) when it dies, Unreachable when it is not ready in time.
        """
        if self._watch is not None and not self._watch.done():
            return
        found = self.recorded()
        if found is not None and found.command != self.command:
            log.info("daemon.replaced", daemon=self.name, pid=found.pid, why="its command changed")
            await _end(found, 10.0)
            found = None
        self.adopted = found is not None
        self._process = found or await self._spawn()
        log.info(
            "daemon.adopted" if self.adopted else "daemon.started", daemon=self.name, pid=self._process.pid
        )
        try:
            await self._until_ready()
        except BaseException:
            if not self.adopted:
                await self._end_ours(2.0)
            raise
        self._watch = asyncio.create_task(self._keep(), name=f"daemon {self.name}")

    async def stop(self, timeout: float = 10.0) -> None:
        """End the program, if it is the one that was recorded, also by an earlier run. Repeatable."""
        await self.release()
        self._process = self._process or self.recorded()
        await self._end_ours(timeout)
        self.record.unlink(missing_ok=True)

    async def release(self) -> None:
        """Stop watching and leave the program running."""
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)

    def tail(self) -> str:
        """The end of the log."""
        if not self.log_file.exists():
            return ""
        with self.log_file.open("rb") as file:
            file.seek(max(0, self.log_file.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace").strip()

    def recorded(self) -> Process | None:
        """The process of an earlier start, if it still runs."""
        try:
            found = msgspec.json.decode(self.record.read_bytes(), type=Process)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            log.warning("daemon.record_unreadable", daemon=self.name, file=str(self.record), error=str(error))
            return None
        return found if found.alive() else None

    async def _spawn(self) -> Process:
        self.record.parent.mkdir(parents=True, exist_ok=True)
        self._child = await asyncio.to_thread(self._popen)
        process = identify(self._child.pid, self.command)
        fresh = self.record.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(process))
        fresh.replace(self.record)
        return process

    def _popen(self) -> subprocess.Popen[bytes]:
        with self.log_file.open("ab") as output:
            try:
                return self._exec(output)
            except OSError as error:
                raise Refused(f"{self.name} cannot be started ({self.command[0]}): {error}") from error

    def _exec(self, output: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **self._environment},
            start_new_session=True,
        )

    async def _until_ready(self) -> None:
        deadline = time.monotonic() + self._ready_seconds
        pause = 0.01
        while not await self._ready():
            if self.process is None:
                self._reap()
                raise Refused(
                    f"{self.name} ended while it started; the end of {self.log_file}:\n{self.tail()}"
                )
            if time.monotonic() > deadline:
                raise Unreachable(
                    f"{self.name} was not ready after {self._ready_seconds:g} s; "
                    f"the end of {self.log_file}:\n{self.tail()}"
                )
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, 0.2)

    async def _keep(self) -> None:
        """Begin the program again whenever it ends, until cancelled."""
        delay = FIRST_DELAY
        while True:
            began = time.monotonic()
            if self._process is not None:
                await self._process.ended()
            self._reap()
            if time.monotonic() - began > STEADY_SECONDS:
                delay = FIRST_DELAY
            log.warning("daemon.died", daemon=self.name, again_in=delay, tail=self.tail()[-500:])
            await asyncio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)
            try:
                await self._begin_again()
            except Exception as error:
                log.error("daemon.restart_failed", daemon=self.name, error=str(error))

    async def _begin_again(self) -> None:
        if self.process is None:
            self._process = await self._spawn()
        await self._until_ready()
        log.info("daemon.restarted", daemon=self.name, pid=self._process.pid if self._process else 0)
        if self._restarted is not None:
            await self._restarted()

    async def _end_ours(self, timeout: float) -> None:
        if self._process is not None:
            await _end(self._process, timeout)
        self._reap()
        self._process = None

    def _reap(self) -> None:
        """Take the exit status, so that no zombie stays where nobody else takes it."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None


async def _end(process: Process, timeout: float) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        process.signal(number)
        if await process.ended(timeout):
            return
    raise Unreachable(f"process {process.pid} ({process.command[0]}) did not end after SIGKILL")


async def listens(socket: Path) -> bool:
    """Whether somebody accepts connections on a unix socket: the usual sign of readiness."""
    try:
        _, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return False
    writer.close()
    return True


__all__ = ["Daemon", "listens"]
