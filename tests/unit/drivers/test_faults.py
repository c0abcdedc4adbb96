"""Faults that last, on one simulated host: what they do to a call, when they begin and when they are over."""

import asyncio
from uuid import UUID, uuid4

import pytest

from pileus.drivers.errors import Refused, Unreachable
from pileus.drivers.faults import Fault, FaultKind, Told
from pileus.drivers.hypervisor.protocol import Guest, HostFacts, Power
from pileus.drivers.hypervisor.simulator import SimulatedHypervisor
from pileus.drivers.simulated import REALISTIC, SimulatedWorld
from tests.simulation.timing import VirtualLoop, run

FACTS = HostFacts(
    hostname="sim-1", vcpus=8, memory_mib=4096, hypervisor="Simulator", version=1, acceleration="none"
)
GUEST = Guest(id=uuid4(), name="g", vcpus=1, memory_mib=1024)


class Place:
    """A host in a world with virtual time."""

    def __init__(self, loop: VirtualLoop, seed: int = 1, *, memory_mib: int = 0) -> None:
        self.loop, self.told = loop, list[Told]()
        self.world = SimulatedWorld(seed, clock=loop.clock, latency=REALISTIC, tell=self.told.append)
        self.host: SimulatedHypervisor = self.world.host(UUID(int=1), FACTS, memory_mib=memory_mib)
        self.world.begin()

    async def running(self) -> None:
        await self.host.define(GUEST)
        await self.host.start(GUEST.id)


def test_a_call_takes_time_and_a_slow_host_takes_more() -> None:
    async def main(loop: VirtualLoop) -> tuple[float, float]:
        place = Place(loop)
        await place.host.define(GUEST)
        before = loop.time()
        place.host.impose(Fault(kind=FaultKind.SLOW, factor=100))
        await place.host.define(GUEST)
        return before, loop.time() - before

    usual, slow = run(1, main)
    assert 0 < usual < 0.5
    assert slow > 10 * usual
    assert run(1, main) == (usual, slow)


def test_a_fault_of_one_call_leaves_the_others_alone() -> None:
    async def main(loop: VirtualLoop) -> None:
        place = Place(loop)
        place.host.impose(Fault(kind=FaultKind.UNREACHABLE, call="start"))
        await place.host.define(GUEST)
        assert await place.host.facts() == FACTS
        with pytest.raises(Unreachable, match="start: sim-1 does not answer"):
            await place.host.start(GUEST.id)

    run(1, main)


@pytest.mark.parametrize(
    ("kind", "error", "there"),
    [
        (FaultKind.FAILING, Refused, False),
        (FaultKind.UNREACHABLE, Unreachable, False),
        (FaultKind.LOST_REQUEST, Unreachable, False),
        (FaultKind.LOST_REPLY, Unreachable, True),
        (FaultKind.HANGING, Unreachable, False),
    ],
)
def test_a_fault_breaks_the_call_and_leaves_an_effect_or_none(
    kind: FaultKind, error: type[Exception], there: bool
) -> None:
    async def main(loop: VirtualLoop) -> None:
        place = Place(loop)
        place.host.impose(Fault(kind=kind, call="define", times=1))
        with pytest.raises(error, match="sim-1"):
            await place.host.define(GUEST)
        assert (loop.time() > 29) is (kind is FaultKind.HANGING)
        assert place.host.faults() == {}
        assert (GUEST.id in await place.host.guests()) is there
        assert [told.outcome for told in place.told] == [error.__name__, ""]

    run(1, main)


def test_a_command_that_arrives_twice_does_no_harm() -> None:
    async def main(loop: VirtualLoop) -> None:
        place = Place(loop)
        place.host.impose(Fault(kind=FaultKind.DUPLICATED))
        await place.running()
        await place.host.pause(GUEST.id)
        await place.host.resume(GUEST.id)
        assert await place.host.guests() == {GUEST.id: Power.ON}
        await place.host.undefine(GUEST.id)
        assert await place.host.guests() == {}

    run(1, main)


def test_a_fault_has_its_time() -> None:
    async def main(loop: VirtualLoop) -> None:
        place = Place(loop)
        place.host.impose(Fault(kind=FaultKind.UNREACHABLE, after=10, lasts=20))
        await place.host.guests()
        await asyncio.sleep(15)
        with pytest.raises(Unreachable):
            await place.host.guests()
        await asyncio.sleep(20)
        await place.host.guests()
        assert place.host.faults() == {}

    run(1, main)


def test_a_host_that_lost_its_power_comes_back_with_its_guests_off() -> None:
    async def main(loop: VirtualLoop) -> None:
        place = Place(loop)
        await place.running()
        starting = asyncio.create_task(place.host.reboot(GUEST.id, force=True))
        await asyncio.sleep(0)
        place.host.impose(Fault(kind=FaultKind.POWER_LOSS, lasts=60))
        with pytest.raises(Unreachable):  # it was on its way
            await starting
        with pytest.raises(Unreachable):
            await place.host.guests()
        await asyncio.sleep(61)
        assert await place.host.guests() == {GUEST.id: Power.OFF}
        await place.host.start(GUEST.id)

    run(1, main)


def test_what_is_running_keeps_the_memory_of_the_host() -> None:
    async def main(loop: VirtualLoop) -> None:
        place = Place(loop, memory_mib=1500)
        await place.running()
        other = Guest(id=uuid4(), name="h", vcpus=1, memory_mib=1024)
        await place.host.define(other)
        with pytest.raises(Refused, match="1024 of 1500 MiB"):
            await place.host.start(other.id)
        await place.host.stop(GUEST.id, force=True)
        await place.host.start(other.id)

    run(1, main)


WRONG = [
    (Fault(kind=FaultKind.SLOW, call="boot"), "boot is no call"),
    (Fault(kind=FaultKind.SLOW, chance=0), "chance"),
    (Fault(kind=FaultKind.SLOW, factor=-1), "negative"),
    (Fault(kind=FaultKind.POWER_LOSS), "how many seconds"),
]


@pytest.mark.parametrize(("fault", "told"), WRONG)
def test_a_fault_that_makes_no_sense_is_refused(fault: Fault, told: str) -> None:
    host = SimulatedHypervisor(uuid4(), FACTS)
    with pytest.raises(ValueError, match=told):
        host.impose(fault)
    assert host.faults() == {}


def test_only_hosts_have_a_plug() -> None:
    with pytest.raises(ValueError, match="only hosts"):
        SimulatedWorld().network.impose(Fault(kind=FaultKind.POWER_LOSS, lasts=1))
