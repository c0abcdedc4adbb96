"""qemu-img in child processes that are limited, bounded in number, and gone when their caller is."""

import asyncio
import os
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Collection, Sequence

import msgspec

from pileus.drivers.errors import Refused, Unreachable

CONFINEMENTS = (
    ("unshare", "-n", "--", "setpriv", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--"),
    ("unshare", "-r", "-n", "--", "setpriv", "--no-new-privs", "--"),
    ("setpriv", "--no-new-privs", "--"),
)
"""From strong to weak; the first that this machine allows is used."""
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "MALLOC_ARENA_MAX": "2"}
LONGEST_ERROR = 600


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """`file_bytes`: the largest file that may be written."""

    memory_bytes: int = 4 << 30
    cpu_seconds: int = 60
    file_bytes: int
    seconds: int | None = None


class QemuImg:
    """At most `at_once` processes at a time; more wait for their turn."""

    def __init__(self, at_once: int = 4) -> None:
        self._turn = asyncio.Semaphore(at_once)
        self._confinement: tuple[str, ...] | None = None

    async def run(
        self,
        arguments: Sequence[str],
        limits: Limits,
        *,
        confined: bool = False,
        allow: Collection[int] = (),
    ) -> bytes:
        """Standard output. Raises Refused with qemu-img's words, Unreachable when the time is over."""
        async with self._turn:
            prefix = await self._confine() if confined else ()
            command = (*prefix, *limited(limits), "qemu-img", *arguments)
            try:
                async with asyncio.timeout(limits.seconds):
                    code, output, errors = await run_to_end(command)
            except TimeoutError as error:
                words = f"qemu-img {arguments[0]} did not end in {limits.seconds} s"
                raise Unreachable(words) from error
        if code and code not in allow:
            raise Refused(f"qemu-img {arguments[0]}: {explain(code, errors, limits)}")
        return output

    async def _confine(self) -> tuple[str, ...]:
        if self._confinement is None:
            self._confinement = await strongest()
        return self._confinement


async def strongest() -> tuple[str, ...]:
    for confinement in CONFINEMENTS:
        if shutil.which(confinement[0]) and (await run_to_end((*confinement, "true")))[0] == 0:
            return confinement
    return ()


def limited(limits: Limits) -> tuple[str, ...]:
    """The child dies with this process as well: the kernel sees to it (--pdeathsig)."""
    return (
        "prlimit",
        f"--as={limits.memory_bytes}",
        f"--cpu={limits.cpu_seconds}",
        f"--fsize={limits.file_bytes}",
        "--core=0",
        "--",
        "setpriv",
        "--pdeathsig",
        "KILL",
        "--",
    )


async def run_to_end(command: Sequence[str]) -> tuple[int, bytes, bytes]:
    """Exit code and outputs; the process is dead and reaped when this returns or is cancelled."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=ENVIRONMENT, cwd="/"
        )
    except FileNotFoundError as error:
        raise Refused(f"{command[0]} is not installed; install util-linux and qemu-utils") from error
    try:
        output, errors = await process.communicate()
    finally:
        await end(process)
    return process.returncode or 0, output, errors


async def end(process: Process) -> None:
    if process.returncode is not None:
        return
    try:
        process.kill()
    except ProcessLookupError:
        return
    # SIGKILL ends it at once, so a second cancellation has nothing to wait for.
    await asyncio.shield(process.wait())


def explain(code: int, errors: bytes, limits: Limits) -> str:
    text = " ".join(errors.decode(errors="replace").split())[:LONGEST_ERROR]
    if code == -signal.SIGXFSZ or os.strerror(27) in text:
        return f"it tried to write a file of more than {limits.file_bytes} bytes. {text}".strip()
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"it was ended after {limits.cpu_seconds} s of processor time. {text}".strip()
    if code < 0:
        return f"it was ended by signal {-code}. {text}".strip()
    return text or f"exit code {code}"
