"""Whatever is done to guests behind our back, the table says what follows."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from pileus.app.bootstrap import join_host
from pileus.core import alerts
from pileus.core.alerts import Alert
from pileus.core.block import volumes
from pileus.core.caller import system
from pileus.core.compute import servers
from pileus.core.compute.records import Host, Server, State
from pileus.core.operations import LIVE, Operation, Outcome
from pileus.core.placement.records import Claim
from pileus.drivers.errors import Refused
from pileus.drivers.hypervisor.protocol import Disk, Guest, Nic, Power, Survey
from pileus.drivers.hypervisor.simulator import SimulatedHypervisor
from pileus.reconcile import following
from pileus.reconcile.guests import SEEN, SHOWN, judge
from pileus.reconcile.reactions import FLOOD, RULES, Drift, Reaction, dammed, finding
from pileus.reconcile.servers import Servers
from tests.unit.workflows.test_servers import FACTS, ROOM, World, in_state, world

__all__ = ["world"]

Behind = Callable[[SimulatedHypervisor, UUID], Awaitable[None]]


async def shut(host: SimulatedHypervisor, guest: UUID) -> None:
    await host.stop(guest, force=True)


async def boot(host: SimulatedHypervisor, guest: UUID) -> None:
    if await host.power(guest) is Power.PAUSED:
        await host.resume(guest)
    await host.start(guest)


async def freeze(host: SimulatedHypervisor, guest: UUID) -> None:
    await boot(host, guest)
    await host.pause(guest)


async def save(host: SimulatedHypervisor, guest: UUID) -> None:
    await boot(host, guest)
    await host.suspend(guest)


async def die(host: SimulatedHypervisor, guest: UUID) -> None:
    await boot(host, guest)
    host.crash(guest)


async def vanish(host: SimulatedHypervisor, guest: UUID) -> None:
    await host.undefine(guest)


BEHIND: dict[Power | None, Behind] = {
    Power.OFF: shut,
    Power.ON: boot,
    Power.PAUSED: freeze,
    Power.SUSPENDED: save,
    Power.CRASHED: die,
    None: vanish,
}
BEFORE = (State.ACTIVE, State.STOPPED, State.PAUSED, State.SUSPENDED, State.DESTROYED)


def expected(before: State, power: Power | None) -> State:
    """What a person sees afterwards."""
    if before not in SHOWN:
        return before
    if power is None or (before is State.STOPPED and power is Power.CRASHED):
        return State.STOPPED
    return SEEN[power][0]


async def standing(world: World, *, over: bool = False) -> set[str]:
    page = await alerts.listing(world.cloud, system(), project=None)
    return {alert.kind for alert in page.items if over or alert.cleared_at is None}


async def of_kind(world: World, drift: Drift) -> list[Alert]:
    page = await alerts.listing(world.cloud, system(), project=None, kind=drift.value)
    return page.items


async def here(world: World, before: State) -> Server:
    return await world.active() if before is State.ACTIVE else await in_state(world, before)


@pytest.fixture
def restarting(world: World) -> None:
    world.cloud.config = msgspec.structs.replace(world.cloud.config, restart_lost_guests=True)


async def another(world: World, name: str = "h2") -> tuple[UUID, SimulatedHypervisor]:
    """One more host of the same pool."""
    facts = msgspec.structs.replace(FACTS, hostname=name)
    record = await join_host(world.cloud, "simulator", facts, ROOM)
    driver = SimulatedHypervisor(record.id, facts)
    assert isinstance(world.site.hypervisors, dict)
    world.site.hypervisors[record.id] = driver
    return record.id, driver


def guest_at(host: SimulatedHypervisor, key: UUID) -> Guest:
    return host._machines[key].guest


# --- one guest


@pytest.mark.parametrize("power", list(BEHIND))
@pytest.mark.parametrize("before", BEFORE)
async def test_a_record_follows_its_guest(world: World, before: State, power: Power | None) -> None:
    server, look = await here(world, before), Servers(world.site)
    await BEHIND[power](world.host, server.id)
    await look.look()
    shown = await world.show(server.id)
    assert shown.state is expected(before, power)
    assert shown.operation is None
    drift = judge(server, power)
    told = set() if drift is None or RULES[drift].severity is None else {drift.value}
    assert await standing(world) == told
    written = shown.updated_at
    await look.look()
    assert (await world.show(server.id)).updated_at == written


@pytest.mark.parametrize("power", [None, Power.CRASHED])
async def test_an_alert_about_a_lost_guest_stands_until_the_server_runs_again(
    world: World, power: Power | None
) -> None:
    server, look = await world.active(), Servers(world.site)
    await BEHIND[power](world.host, server.id)
    for _ in range(3):
        await look.look()
    assert len(await standing(world)) == 1
    await servers.reboot(world.cloud, world.caller, server.id, hard=True)
    await world.quiet()
    await look.look()
    assert await standing(world) == set()
    assert len(await standing(world, over=True)) == 1


@pytest.mark.usefixtures("restarting")
@pytest.mark.parametrize("power", [None, Power.CRASHED])
async def test_a_lost_guest_is_started_again_where_the_setting_says_so(
    world: World, power: Power | None
) -> None:
    server, look = await world.active(), Servers(world.site)
    await BEHIND[power](world.host, server.id)
    await look.look()
    await world.quiet()
    assert (await world.show(server.id)).state is State.ACTIVE
    assert await world.host.power(server.id) is Power.ON
    await look.look()
    assert await standing(world) == set()


@pytest.mark.usefixtures("restarting")
@pytest.mark.parametrize("before", [State.STOPPED, State.PAUSED, State.SUSPENDED])
async def test_only_what_was_to_run_is_started_again(world: World, before: State) -> None:
    server = await in_state(world, before)
    await world.host.undefine(server.id)
    await Servers(world.site).look()
    await world.quiet()
    assert (await world.show(server.id)).state is State.STOPPED


@pytest.mark.usefixtures("restarting")
async def test_a_guest_whose_disk_is_gone_is_not_started_again(world: World) -> None:
    server = await world.active()
    await world.host.undefine(server.id)
    world.pool.disks.clear()
    await Servers(world.site).look()
    await world.quiet()
    shown = await world.show(server.id)
    assert shown.state is State.STOPPED
    assert "is gone" in shown.fault


@pytest.mark.usefixtures("restarting")
async def test_a_guest_that_dies_again_and_again_is_left_in_the_end(world: World) -> None:
    server, look = await world.active(), Servers(world.site)
    for _ in range(following.TRIES + 1):
        world.host.crash(server.id)
        await look.look()
        await world.quiet()
    shown = await world.show(server.id)
    assert shown.state is State.ERROR
    assert "died 3 times" in shown.fault


async def test_a_server_that_is_being_worked_on_is_left_alone(world: World) -> None:
    server = await world.active()
    await world.worker.stop()
    await servers.reboot(world.cloud, world.caller, server.id)
    await world.host.undefine(server.id)
    await Servers(world.site).look()
    assert (await world.show(server.id)).state is State.REBOOTING
    assert await standing(world) == set()


async def test_work_that_begins_while_the_host_is_asked_is_left_alone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work on a server's volumes does not change the server's own record."""
    server, survey = await world.active(), world.host.survey
    await world.worker.stop()

    async def busy() -> Survey:
        found = await survey()
        async with world.cloud.transaction() as tx:
            await tx.start("server.replug", subject=server)
        return found

    monkeypatch.setattr(world.host, "survey", busy)
    await world.host.undefine(server.id)
    await Servers(world.site).look()
    assert await world.show(server.id) == server


# --- hosts


async def test_nothing_is_decided_about_a_host_that_does_not_answer(world: World) -> None:
    server, look = await world.active(), Servers(world.site)
    await look.look()
    world.host.reachable = False
    await look.look()
    assert (await world.show(server.id)).state is State.ACTIVE
    assert await standing(world) == {Drift.HOST_AWAY.value}
    world.host.reachable = True
    world.host.crash(server.id)
    await look.look()
    assert (await world.show(server.id)).state is State.ERROR
    assert await standing(world) == {Drift.GUEST_CRASHED.value}
    async with world.cloud.view() as view:
        assert (await view.list(Host))[0].up


async def test_a_host_that_is_back_is_up_only_when_its_guests_were_compared(world: World) -> None:
    world.host.reachable = False
    await Servers(world.site).look()
    world.host.reachable = True
    world.host.fail("survey", Refused("busy"))
    look = Servers(world.site)
    await look.look()
    assert await standing(world) == {Drift.HOST_REFUSES.value}
    async with world.cloud.view() as view:
        assert not (await view.list(Host))[0].up
    await look.look()
    assert await standing(world) == set()
    async with world.cloud.view() as view:
        assert (await view.list(Host))[0].up


# --- ours and others


async def test_a_guest_without_a_mark_is_ours_when_it_is_recorded(world: World) -> None:
    server = await world.active()
    world.host.disown(server.id)
    await Servers(world.site).look()
    assert (await world.host.survey()).guests[server.id].marked
    assert await standing(world) == set()


@pytest.mark.parametrize("foreign", [False, True])
async def test_a_guest_of_somebody_else_is_counted_and_never_touched(world: World, foreign: bool) -> None:
    other, look = Guest(id=uuid4(), name="theirs", vcpus=1, memory_mib=64), Servers(world.site)
    world.host.adopt([(other, Power.ON)])
    world.host.disown(other.id, foreign=foreign)
    for _ in range(4):
        await look.look()
    assert world.host._machines[other.id].power is Power.ON
    assert await standing(world) == {Drift.GUEST_FOREIGN.value}
    del world.host._machines[other.id]
    await look.look()
    assert await standing(world) == set()


async def test_a_guest_of_ours_that_nothing_explains_is_told_and_then_removed(world: World) -> None:
    stray, look = Guest(id=uuid4(), name="stray", vcpus=1, memory_mib=64), Servers(world.site)
    world.host.adopt([(stray, Power.ON)])
    await look.look()
    assert await standing(world) == {Drift.GUEST_LEFT.value}
    await look.look()
    assert stray.id not in world.host._machines
    assert await standing(world) == set()


# --- two hosts


async def test_a_guest_that_was_moved_by_hand_is_followed(world: World) -> None:
    server = await world.active()
    key, other = await another(world)
    other.adopt([(guest_at(world.host, server.id), Power.ON)])
    await world.host.undefine(server.id)
    look = Servers(world.site)
    await look.look()
    shown = await world.show(server.id)
    assert (shown.state, shown.host, shown.fault) == (State.ACTIVE, key, "")
    async with world.cloud.view() as view:
        assert (await view.get(Claim, server.id)).host == key
    assert await standing(world) == {Drift.GUEST_MOVED.value}
    await look.look()
    assert await standing(world) == set()
    assert await other.power(server.id) is Power.ON


async def test_a_guest_that_runs_twice_is_told_and_left_alone(world: World) -> None:
    server, look = await world.active(), Servers(world.site)
    _, other = await another(world)
    other.adopt([(guest_at(world.host, server.id), Power.ON)])
    for _ in range(3):
        await look.look()
    assert await standing(world) == {Drift.GUEST_TWICE.value}
    assert await other.power(server.id) is await world.host.power(server.id) is Power.ON


@pytest.mark.parametrize("power", [Power.OFF, Power.SUSPENDED])
async def test_a_copy_goes_when_it_is_off_and_keeps_nothing(world: World, power: Power) -> None:
    server, look = await world.active(), Servers(world.site)
    _, other = await another(world)
    other.adopt([(guest_at(world.host, server.id), power)])
    await look.look()
    assert await standing(world) == {Drift.GUEST_COPY.value}
    await look.look()
    assert (await other.power(server.id) is None) is (power is Power.OFF)
    assert await world.host.power(server.id) is Power.ON


async def test_a_guest_elsewhere_stays_while_its_own_host_does_not_answer(world: World) -> None:
    server, look = await world.active(), Servers(world.site)
    _, other = await another(world)
    other.adopt([(guest_at(world.host, server.id), Power.ON)])
    world.host.reachable = False
    for _ in range(3):
        await look.look()
    assert await standing(world) == {Drift.GUEST_ELSEWHERE.value, Drift.HOST_AWAY.value}
    assert await other.power(server.id) is Power.ON


@pytest.mark.usefixtures("restarting")
async def test_nothing_is_started_again_while_it_may_run_on_a_silent_host(world: World) -> None:
    server = await world.active()
    _, other = await another(world)
    other.reachable = False
    await world.host.undefine(server.id)
    await Servers(world.site).look()
    shown = await world.show(server.id)
    assert shown.state is State.STOPPED
    assert "not every host answers" in shown.fault


# --- devices


async def held(world: World) -> Server:
    server = await world.active()
    want = volumes.Create(project=world.caller.home, size_gib=1)
    made = (await volumes.create(world.cloud, world.caller, want)).resource
    await world.quiet()
    await volumes.attach(world.cloud, world.caller, made.id, server.id)
    await world.quiet()
    return await world.show(server.id)


async def pull(world: World, server: Server, what: Drift) -> Any:
    guest = guest_at(world.host, server.id)
    before = await world.host.disks(server.id), await world.host.nics(server.id)
    if what is Drift.DISK_UNPLUGGED:
        await world.host.detach_disk(server.id, guest.disks[-1].volume)
    elif what is Drift.NIC_UNPLUGGED:
        await world.host.detach_nic(server.id, guest.nics[0].port)
    elif what is Drift.DISK_STRANGE:
        await world.host.attach_disk(server.id, Disk(volume=uuid4(), path="/x", device="vdx"))
    else:
        await world.host.attach_nic(server.id, Nic(port=uuid4(), mac="02:00:00:00:00:01"))
    return before


DEVICES = [drift for drift in Drift if drift.value.partition(" ")[0] in ("disk", "nic")]


@pytest.mark.parametrize("drift", DEVICES)
async def test_devices_are_plugged_again_and_strange_ones_told(world: World, drift: Drift) -> None:
    server, look = await held(world), Servers(world.site)
    before = await pull(world, server, drift)
    await look.look()
    assert await standing(world) == set()
    await look.look()
    assert await standing(world) == {drift.value}
    await world.quiet()
    await look.look()
    now = await world.host.disks(server.id), await world.host.nics(server.id)
    assert (now == before) is (RULES[drift].reaction is Reaction.REPAIR)
    assert (drift.value in await standing(world)) is (RULES[drift].reaction is Reaction.REPORT)


async def test_a_guest_that_refuses_its_devices_is_not_asked_for_ever(world: World) -> None:
    server, look = await held(world), Servers(world.site)
    await pull(world, server, Drift.DISK_UNPLUGGED)
    world.host.fail("attach_disk", Refused("no"), times=100)
    for _ in range(8):
        await look.look()
        await world.quiet()
    async with world.cloud.view() as view:
        tried = await view.list(Operation, workflow="server.replug")
        assert await view.count(Operation, outcome=tuple(LIVE)) == 0
    assert [each.outcome for each in tried] == [Outcome.FAILED] * following.TRIES
    assert await standing(world) == {Drift.DISK_UNPLUGGED.value}


async def test_the_devices_of_a_stopped_server_are_not_looked_at(world: World) -> None:
    server, look = await in_state(world, State.STOPPED), Servers(world.site)
    await pull(world, server, Drift.NIC_UNPLUGGED)
    for _ in range(3):
        await look.look()
    assert await standing(world) == set()


# --- the table


def test_every_drift_has_its_rule() -> None:
    assert set(RULES) == set(Drift)


def test_a_disaster_is_one_alert() -> None:
    several = [finding(Drift.HOST_AWAY, uuid4(), host=f"h{n}", count=1, why="x") for n in range(FLOOD + 1)]
    assert dammed(several[:-1]) == several[:-1]
    (one,) = dammed(several)
    assert one.subject == alerts.NOTHING
    assert one.text.startswith(f"{FLOOD + 1} times")


async def test_time_is_the_clouds(world: World) -> None:
    server, look = await world.active(), Servers(world.site)
    later = world.cloud.now() + timedelta(days=3)
    world.cloud.now = lambda: later
    await world.host.stop(server.id, force=True)
    await look.look()
    assert (await world.show(server.id)).updated_at == later
    assert await of_kind(world, Drift.GUEST_LOST) == []


def test_operators_can_read_the_table() -> None:
    text = (Path(__file__).parents[3] / "docs" / "operator" / "drift.md").read_text()
    for drift, rule in RULES.items():
        assert f"| {drift.value} |" in text
        assert rule.text in text, f"{drift}: docs/operator/drift.md says something else"
        line = next(line for line in text.splitlines() if line.startswith(f"| {drift.value} |"))
        assert f"| {rule.reaction.value} |" in line


async def test_a_project_reads_of_its_servers_but_not_of_hosts(world: World) -> None:
    server = await world.active()
    for drift in (Drift.GUEST_CRASHED, Drift.GUEST_TWICE):
        words = {"name": "web", "host": "h1", "other": "h2"}
        async with world.cloud.transaction() as tx:
            await alerts.raise_(tx, finding(drift, server.id, project=server.project, **words))
    seen = (await alerts.listing(world.cloud, world.caller, project=world.caller.home)).items
    assert [alert.kind for alert in seen] == [Drift.GUEST_CRASHED.value]
    assert "h1" not in f"{seen[0].text} {seen[0].name}"
