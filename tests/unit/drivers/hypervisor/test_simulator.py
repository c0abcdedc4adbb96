import asyncio
import pickle
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from pileus.drivers.errors import Refused, Unreachable
from pileus.drivers.faults import When
from pileus.drivers.hypervisor.protocol import Guest, HostFacts, Power
from pileus.drivers.hypervisor.rfb import HEIGHT, WIDTH
from pileus.drivers.hypervisor.simulator import Journal, SimulatedHypervisor
from pileus.drivers.hypervisor.simulator.journal import GARBAGE
from tests.conformance.hypervisor import Bench, HypervisorConformance

FACTS = HostFacts(
    hostname="sim-1",
    vcpus=64,
    memory_mib=262144,
    hypervisor="Simulator",
    version=1000000,
    acceleration="tcg",
)


class SimulatedBench(Bench):
    hypervisor: SimulatedHypervisor

    async def crash(self, guest: UUID) -> None:
        self.hypervisor.crash(guest)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[SimulatedBench]:
    hypervisor = SimulatedHypervisor(uuid4(), FACTS)
    yield SimulatedBench(hypervisor, tmp_path)
    await hypervisor.close()


class TestSimulator(HypervisorConformance):
    pass


async def test_the_console_log_tells_of_the_boot_with_the_name(bench: SimulatedBench) -> None:
    guest = await bench.guest()
    await bench.put(guest, Power.ON)
    log = await bench.hypervisor.console_log(guest.id)
    assert b"web 1 login:" in log
    await bench.hypervisor.reboot(guest.id, force=True)
    assert await bench.hypervisor.console_log(guest.id) == log * 2


async def test_a_guest_takes_its_time_to_stop(tmp_path: Path) -> None:
    clock = Clock()
    bench = SimulatedBench(SimulatedHypervisor(uuid4(), FACTS, clock, stop_seconds=5), tmp_path)
    guest = await bench.guest()
    await bench.put(guest, Power.ON)
    await bench.hypervisor.stop(guest.id, force=False)
    assert await bench.hypervisor.power(guest.id) is Power.ON
    clock.now += 5
    assert await bench.hypervisor.guests() == {guest.id: Power.OFF}


async def test_a_guest_that_was_paused_after_the_request_stops_when_it_runs_on(tmp_path: Path) -> None:
    clock = Clock()
    bench = SimulatedBench(SimulatedHypervisor(uuid4(), FACTS, clock, stop_seconds=5), tmp_path)
    guest = await bench.guest()
    await bench.put(guest, Power.ON)
    await bench.hypervisor.stop(guest.id, force=False)
    await bench.hypervisor.pause(guest.id)
    clock.now += 5
    assert await bench.hypervisor.power(guest.id) is Power.PAUSED
    await bench.hypervisor.resume(guest.id)
    assert await bench.hypervisor.power(guest.id) is Power.OFF


async def test_a_deaf_guest_neither_stops_nor_lets_a_disk_go(bench: SimulatedBench) -> None:
    guest = await bench.guest()
    await bench.put(guest, Power.ON)
    bench.hypervisor.deafen(guest.id)
    await bench.hypervisor.stop(guest.id, force=False)
    assert await bench.hypervisor.power(guest.id) is Power.ON
    with pytest.raises(Refused, match="did not let"):
        await bench.hypervisor.detach_disk(guest.id, guest.disks[1].volume)


async def test_guests_survive_the_process(tmp_path: Path) -> None:
    host, other, path = uuid4(), uuid4(), tmp_path / "guests"
    journal = Journal(path).open()
    bench = SimulatedBench(SimulatedHypervisor(host, FACTS, journal=journal), tmp_path)
    beside = SimulatedBench(SimulatedHypervisor(other, FACTS, journal=journal), tmp_path)
    running, forgotten, elsewhere = await bench.guest(), await bench.guest(), await beside.guest()
    await bench.put(running, Power.ON)
    await bench.hypervisor.snapshot_disk(running.id, running.disks[0].volume, uuid4())
    await bench.put(forgotten, Power.ON)
    await beside.put(elsewhere, Power.PAUSED)
    await bench.hypervisor.undefine(forgotten.id)
    for _ in range(2):  # not closed: as after a kill
        journal = Journal(path).open()
        again = SimulatedHypervisor(host, FACTS, journal=journal)
        assert await again.guests() == {running.id: Power.ON}
        assert await again.disks(running.id) == {disk.volume for disk in running.disks}
        assert await again.console_log(running.id) == await bench.hypervisor.console_log(running.id)
        assert await SimulatedHypervisor(other, FACTS, journal=journal).guests() == {
            elsewhere.id: Power.PAUSED
        }


async def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    host, path = uuid4(), tmp_path / "guests"
    bench = SimulatedBench(SimulatedHypervisor(host, FACTS, journal=Journal(path).open()), tmp_path)
    guest = await bench.guest()
    await bench.put(guest, Power.ON)
    whole = path.read_bytes()
    await bench.hypervisor.undefine(guest.id)
    path.write_bytes(path.read_bytes()[:-3])
    assert await SimulatedHypervisor(host, FACTS, journal=Journal(path).open()).guests() == {
        guest.id: Power.ON
    }
    assert path.read_bytes() == whole.splitlines(keepends=True)[-1]


async def test_what_is_over_leaves_the_file_at_the_next_start(tmp_path: Path) -> None:
    host, path = uuid4(), tmp_path / "guests"
    bench = SimulatedBench(SimulatedHypervisor(host, FACTS, journal=Journal(path).open()), tmp_path)
    guest = await bench.guest()
    await bench.put(guest, Power.ON)
    for _ in range(GARBAGE):
        await bench.hypervisor.pause(guest.id)
        await bench.hypervisor.resume(guest.id)
    Journal(path).open()
    assert len(path.read_bytes().splitlines()) == 1


async def test_a_host_and_its_guests_can_be_copied(bench: SimulatedBench) -> None:
    guest = await bench.guest()
    await bench.put(guest, Power.ON)
    await bench.hypervisor.screen(guest.id)
    copy = pickle.loads(pickle.dumps(bench.hypervisor))
    assert await copy.guests() == {guest.id: Power.ON}


async def test_adopted_guests_are_there(bench: SimulatedBench) -> None:
    guests = [(Guest(id=uuid4(), name=f"g{n}", vcpus=1, memory_mib=64), Power.ON) for n in range(1000)]
    bench.hypervisor.adopt(guests)
    assert await bench.hypervisor.guests() == {guest.id: power for guest, power in guests}


@pytest.mark.parametrize(("when", "there"), [("before", False), ("after", True)])
async def test_an_injected_fault_breaks_the_call_before_or_after_its_effect(
    bench: SimulatedBench, when: When, there: bool
) -> None:
    guest = await bench.guest()
    bench.hypervisor.fail("define", Unreachable("injected"), when=when, times=2)
    for _ in range(2):
        with pytest.raises(Unreachable, match="injected"):
            await bench.hypervisor.define(guest)
    assert (guest.id in await bench.hypervisor.guests()) is there
    await bench.hypervisor.define(guest)
    assert bench.hypervisor.calls["define"] == 3


async def test_a_fault_needs_the_name_of_a_call(bench: SimulatedBench) -> None:
    with pytest.raises(ValueError, match="boot is no call"):
        bench.hypervisor.fail("boot", Unreachable("injected"))
    assert {"start", "detach_nic", "facts"} <= SimulatedHypervisor.CALLS


async def test_a_host_that_is_away_is_unreachable(bench: SimulatedBench) -> None:
    bench.hypervisor.reachable = False
    with pytest.raises(Unreachable, match="does not answer"):
        await bench.hypervisor.guests()


@pytest.mark.parametrize(
    ("pixels", "size"),
    [
        (b"", 4),
        (struct.pack(">BBBBHHHBBB3x", 16, 16, 1, 1, 31, 63, 31, 11, 5, 0), 2),
        (struct.pack(">BBBBHHHBBB3x", 8, 8, 0, 1, 7, 7, 3, 0, 3, 6), 1),
    ],
    ids=["native", "16 bits", "8 bits"],
)
async def test_a_vnc_client_gets_a_picture(bench: SimulatedBench, pixels: bytes, size: int) -> None:
    guest = await bench.guest()
    await bench.put(guest, Power.ON)
    screen = await bench.hypervisor.screen(guest.id)
    assert await bench.hypervisor.screen(guest.id) == screen
    reader, writer = await asyncio.open_connection(screen.address, screen.port)
    writer.write(await reader.readexactly(12))
    assert await reader.readexactly(2) == b"\x01\x01"
    writer.write(b"\x01")
    assert await reader.readexactly(4) == bytes(4)
    writer.write(b"\x01")
    width, height = struct.unpack(">HH16x", await reader.readexactly(20))
    assert (width, height) == (WIDTH, HEIGHT)
    assert await reader.readexactly(4 + 5) == b"\x00\x00\x00\x05web 1"
    if pixels:
        writer.write(b"\x00\x00\x00\x00" + pixels)
    writer.write(struct.pack(">BxHi", 2, 1, 0))
    writer.write(struct.pack(">BBHI", 4, 1, 0, 65) + struct.pack(">BBHH", 5, 0, 1, 1))
    writer.write(struct.pack(">BBHHHH", 3, 1, 0, 0, width, height))
    writer.write(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
    assert (await reader.readexactly(16))[:4] == b"\x00\x00\x00\x01"
    assert len(set(await reader.readexactly(width * height * size))) > 1
    await bench.hypervisor.stop(guest.id, force=True)
    assert await reader.read() == b""
    writer.close()
