import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from pileus.app.daemons.process import Process, identify
from pileus.app.daemons.supervise import Daemon
from pileus.drivers.errors import Refused, Unreachable

SLEEP = ("sleep", "600")
Start = Callable[..., Daemon]


async def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.01)


def child(*command: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(command)


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Start]:
    made: list[Daemon] = []

    def make(*command: str, **options: object) -> Daemon:
        made.append(Daemon("worker", command or SLEEP, tmp_path, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        await one.stop(1.0)


async def test_a_program_runs_in_a_session_of_its_own_until_it_is_stopped(daemon: Start) -> None:
    worker = daemon()
    await worker.start()
    process = worker.process
    assert process is not None
    assert os.getsid(process.pid) == process.pid
    await worker.stop()
    assert not process.alive()
    assert not worker.record.exists()
    await worker.stop()


async def test_the_next_start_adopts_what_still_runs(daemon: Start) -> None:
    first, second = daemon(), daemon()
    await first.start()
    process = first.process
    await first.release()
    await second.start()
    assert second.adopted
    assert second.process == process
    await second.stop()
    assert process is not None
    assert not process.alive()


async def test_another_command_replaces_what_still_runs(daemon: Start) -> None:
    first, second = daemon(), daemon("sleep", "601")
    await first.start()
    process = first.process
    await first.release()
    await second.start()
    assert not second.adopted
    assert process is not None
    assert not process.alive()


@pytest.mark.parametrize("fields", [{"started": 1}, {"boot": "another"}], ids=str)
async def test_a_process_that_only_has_the_same_number_is_let_alone(
    daemon: Start, fields: dict[str, object]
) -> None:
    other = child(*SLEEP)
    try:
        worker = daemon()
        stranger = msgspec.structs.replace(identify(other.pid, worker.command), **fields)
        worker.record.write_bytes(msgspec.json.encode(stranger))
        assert worker.recorded() is None
        assert not stranger.signal(signal.SIGKILL)
        await worker.stop()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


async def test_a_zombie_does_not_live() -> None:
    dead = child("true")
    process = Process(pid=dead.pid, started=0, boot="")
    await until(lambda: Path(f"/proc/{dead.pid}/stat").read_text().split()[2] == "Z", "a zombie")
    assert not identify(dead.pid).alive()
    assert not process.alive()
    dead.wait()


async def test_a_program_that_dies_is_begun_again_and_told(daemon: Start) -> None:
    told: list[str] = []

    async def restarted() -> None:
        told.append("again")

    worker = daemon(restarted=restarted)
    await worker.start()
    for count in (1, 2):
        process = worker.process
        assert process is not None
        process.signal(signal.SIGKILL)
        await until(lambda: len(told) >= count, "a restart")  # noqa: B023
        assert worker.process not in (None, process)


async def test_a_program_that_fails_at_its_start_shows_its_log(daemon: Start) -> None:
    async def never() -> bool:
        return False

    worker = daemon("sh", "-c", "echo the disk is full; exit 3", ready=never)
    with pytest.raises(Refused, match="the disk is full"):
        await worker.start()


async def test_a_program_that_is_never_ready_is_ended(daemon: Start) -> None:
    async def never() -> bool:
        return False

    worker = daemon(ready=never, ready_seconds=0.1)
    with pytest.raises(Unreachable, match="not ready"):
        await worker.start()
    assert worker.process is None


async def test_a_missing_program_is_named(daemon: Start) -> None:
    with pytest.raises(Refused, match="no-such-program"):
        await daemon("no-such-program").start()
