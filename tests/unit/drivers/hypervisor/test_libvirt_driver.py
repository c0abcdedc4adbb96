import asyncio
import threading
from pathlib import Path
from uuid import uuid4

import pytest

libvirt = pytest.importorskip("libvirt")

from pileus.drivers.errors import Unreachable  # noqa: E402
from pileus.drivers.hypervisor.libvirt import connection as connections  # noqa: E402
from pileus.drivers.hypervisor.libvirt import probe  # noqa: E402
from pileus.drivers.hypervisor.libvirt.connection import Connection  # noqa: E402
from pileus.drivers.hypervisor.libvirt.driver import LibvirtHypervisor, tail  # noqa: E402


async def test_a_libvirt_that_is_away_is_unreachable_for_every_call(tmp_path: Path) -> None:
    uri = f"qemu+unix:///system?socket={tmp_path}/none"
    hypervisor = LibvirtHypervisor(uri, state=tmp_path, virtualization="qemu")
    for call in (hypervisor.guests(), hypervisor.start(uuid4()), hypervisor.power(uuid4())):
        with pytest.raises(Unreachable, match="cannot connect"):
            await call
    await hypervisor.close()


async def test_an_answer_that_does_not_come_is_unreachable() -> None:
    connection, release = Connection("test:///default"), threading.Event()
    with pytest.raises(Unreachable, match="no answer"):
        await connection.run("wait", lambda _: release.wait(30), patience=0.05)
    release.set()
    assert await connection.run("count", lambda opened: opened.numOfDomains()) == 1
    await connection.close()


async def test_a_call_behind_those_that_hang_is_not_held_up_and_never_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "THREADS", 1)
    connection, release = Connection("test:///default"), threading.Event()
    began, made = threading.Event(), list[str]()

    def hang(_: object) -> None:
        began.set()
        release.wait(30)

    hanging = asyncio.create_task(connection.run("define guest 1", hang))
    await asyncio.to_thread(began.wait)
    monkeypatch.setattr(connections, "TURN", 0.05)
    with pytest.raises(Unreachable, match=r"^start: .* no answer yet to: define guest 1 \(for \d+ s\)$"):
        await connection.run("start", lambda _: made.append("late"))
    release.set()
    await hanging
    monkeypatch.setattr(connections, "TURN", 30.0)
    await connection.run("start", lambda _: made.append("in time"))
    assert made == ["in time"]
    await connection.close()


async def test_a_lost_connection_is_opened_again() -> None:
    opened: list[object] = []
    connection = Connection("test:///default", opened=opened.append)
    await connection.run("close", lambda found: found.close())
    assert await connection.run("count", lambda found: found.numOfDomains()) == 1
    assert len(opened) == 2
    await connection.close()


def test_a_state_directory_with_a_path_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bytes too long"):
        LibvirtHypervisor("test:///default", state=tmp_path / ("d" * 100), virtualization="qemu")


@pytest.mark.parametrize(
    ("wanted", "found"), [(0, b""), (2, b"56"), (4, b"3456"), (6, b"123456"), (100, b"123456")]
)
def test_the_tail_reaches_back_into_logs_that_were_rolled_over(
    tmp_path: Path, wanted: int, found: bytes
) -> None:
    log = tmp_path / "g.log"
    for name, text in (("g.log", b"56"), ("g.log.0", b"34"), ("g.log.1", b"12")):
        (tmp_path / name).write_bytes(text)
    assert tail(log, wanted) == found


def test_a_console_that_was_never_written_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "none.log", 100) == b""


def test_the_probe_is_measured_once_a_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([(True, "first"), (False, "second")])
    monkeypatch.setattr(probe, "measure", lambda: next(answers))
    assert probe.probe(tmp_path).virtualization == "kvm"
    assert probe.probe(tmp_path).reason == "first"
    monkeypatch.setattr(probe, "BOOT_ID", tmp_path / "boot")
    (tmp_path / "boot").write_text("another\n")
    assert probe.probe(tmp_path).virtualization == "qemu"


def test_an_unreadable_result_of_the_probe_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "acceleration.json").write_text("{")
    monkeypatch.setattr(probe, "measure", lambda: (False, "measured"))
    assert probe.probe(tmp_path).reason == "measured"


def test_a_machine_without_kvm_says_so(tmp_path: Path) -> None:
    assert probe.measure(tmp_path / "kvm") == (
        False,
        f"{tmp_path}/kvm does not exist: no hardware virtualization, or the kvm module is not loaded",
    )


@pytest.mark.parametrize(
    ("script", "usable", "reason"),
    [
        ("print('ready', flush=True); print('0.001', flush=True)", True, "0.001 s"),
        ("print('ready', flush=True); import time; time.sleep(60)", False, "not at hardware speed"),
        ("print('ready', flush=True); raise SystemExit('exit reason 9')", False, "exit reason 9"),
        ("raise OSError('no vcpu')", False, "cannot set up a guest: OSError: no vcpu"),
    ],
    ids=["quick", "slow", "broken", "none"],
)
def test_the_probe_judges_by_what_its_child_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, usable: bool, reason: str
) -> None:
    loop = tmp_path / "loop.py"
    loop.write_text(script)
    monkeypatch.setattr(probe, "_LOOP", loop)
    found, why = probe.measure(loop)
    assert (found, reason in why) == (usable, True)
