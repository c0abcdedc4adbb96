"""A process of this machine, told apart from a later one with the same number by boot and start time."""

import asyncio
import os
import select
import signal
from pathlib import Path

import msgspec

from pileus.drivers.errors import Refused

DEAD = frozenset("ZXx")


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept in a pid file."""

    pid: int
    started: int
    boot: str
    command: tuple[str, ...] = ()

    def alive(self) -> bool:
        """Whether this very process still runs; a zombie that nobody reaped does not."""
        seen = _stat(self.pid)
        return seen is not None and seen == (self.started, True) and self.boot == boot_id()

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal if the process is provably the one recorded; the descriptor closes the race."""
        descriptor = self.open()
        if descriptor is None:
            return False
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def open(self) -> int | None:
        """A descriptor that becomes readable when the process ends; None when it has ended."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.alive():
            return descriptor
        os.close(descriptor)
        return None

    async def ended(self, seconds: float | None = None) -> bool:
        """Wait for the end; False when it did not come in time."""
        descriptor = self.open()
        if descriptor is None:
            return True
        loop, gone = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(descriptor, gone.set)
        try:
            async with asyncio.timeout(seconds):
                await gone.wait()
        except TimeoutError:
            return bool(select.select([descriptor], [], [], 0)[0])
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return True


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int, command: tuple[str, ...] = ()) -> Process:
    """The record of a process that runs now."""
    seen = _stat(pid)
    if seen is None:
        raise Refused(f"process {pid} ended before it could be recorded; its log says why")
    return Process(pid=pid, started=seen[0], boot=boot_id(), command=command)


def _stat(pid: int) -> tuple[int, bool] | None:
    """Start time and whether it lives. The name in parentheses may hold anything, so count from its end."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return int(fields[19]), fields[0] not in DEAD


__all__ = ["Process", "boot_id", "identify"]
