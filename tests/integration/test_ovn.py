import asyncio
import os
import shutil
import signal
import struct
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest
import pytest_asyncio

from pileus.core.network import isolated, ports
from pileus.core.network.isolated import IsolatedWant
from pileus.core.network.ports import PortWant
from pileus.drivers.errors import Unreachable
from pileus.drivers.network.protocol import (
    FilterRule,
    FixedAddress,
    Forwarding,
    GroupSpec,
    Kind,
    NatRule,
    NetworkSpec,
    PortSpec,
    RouterPort,
    RouterSpec,
    RuleSpec,
    SubnetSpec,
)
from pileus.reconcile.network import Reconciler
from pileus.reconcile.reactions import Drift
from tests.conformance.network import NetworkConformance
from tests.integration import recorded
from tests.integration.ovn_lab import Guest, Lab, Place, run, tcp, udp
from tests.unit.core.network.place import place

PROGRAMS = ("ovn-northd", "ovs-vswitchd", "ovn-controller", "ethtool", "ping")
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(
        not all(shutil.which(program) for program in PROGRAMS), reason=f"needs {', '.join(PROGRAMS)}"
    ),
]
change = msgspec.structs.replace
HOST = Place()
ANY = RuleSpec(direction="egress")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("ovn"), 0)
    try:
        await lab.start()
        yield lab
    finally:
        await lab.stop()


@pytest.mark.asyncio(loop_scope="module")
class TestOvnConforms(NetworkConformance):
    @pytest.fixture
    def network(self, lab: Lab) -> object:
        return lab.network


@dataclass
class World:
    """Two networks behind one router: one, two and three are guests, the machine is the world outside."""

    lab: Lab
    networks: dict[str, NetworkSpec]
    group: GroupSpec
    other: GroupSpec
    router: RouterSpec
    one: Guest
    two: Guest
    three: Guest

    async def route(self, router: RouterSpec) -> None:
        await self.lab.network.apply_router(router)
        await self.lab.network.settle()

    async def permit(self, *rules: RuleSpec) -> None:
        await self.lab.network.apply_group(change(self.group, rules=rules))
        await self.lab.network.settle()


def inside(number: int) -> NetworkSpec:
    subnet = SubnetSpec(
        id=uuid4(), cidr=IPv4Network(f"10.{number}.0.0/24"), gateway=IPv4Address(f"10.{number}.0.1")
    )
    return NetworkSpec(
        id=uuid4(),
        name=f"inside-{number}",
        subnets=(subnet,),
        metadata_address=IPv4Address(f"10.{number}.0.2"),
        dns_names={"one": ("10.1.0.11",), "one.example.org": ("10.1.0.11",)} if number == 1 else {},
    )


def port(network: NetworkSpec, address: str, groups: Sequence[UUID]) -> PortSpec:
    number = bytes(int(part) for part in address.split("."))
    return PortSpec(
        id=uuid4(),
        network=network.id,
        mac=f"02:00:{number.hex(':')}",
        addresses=(FixedAddress(subnet=network.subnets[0].id, address=IPv4Address(address)),),
        groups=tuple(groups),
        hostname="one",
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(lab: Lab) -> World:
    driver = lab.network
    external = NetworkSpec(id=uuid4(), name="outside", mtu=1500, physical="external")
    networks = {"external": external, "first": inside(1), "second": inside(2)}
    for network in networks.values():
        await driver.apply_network(network)
    group, other = GroupSpec(id=uuid4(), rules=(ANY,)), GroupSpec(id=uuid4(), rules=(ANY,))
    await driver.apply_group(group)
    await driver.apply_group(other)
    router = RouterSpec(
        id=uuid4(),
        name="edge",
        ports=tuple(
            RouterPort(
                port=uuid4(),
                network=networks[name].id,
                mac=f"02:00:00:00:ff:0{number}",
                addresses=(f"10.{number}.0.1/24",),
            )
            for number, name in ((1, "first"), (2, "second"))
        ),
        gateway=RouterPort(
            port=uuid4(), network=external.id, mac="02:00:00:00:ff:0e", addresses=(f"{lab.outside(10)}/24",)
        ),
        next_hop=IPv4Address(lab.outside(1)),
        nat=tuple(
            NatRule(id=uuid4(), kind=kind, external=IPv4Address(external), inside=inside)
            for kind, external, inside in (
                ("source", lab.outside(10), "10.1.0.0/24"),
                ("source", lab.outside(10), "10.2.0.0/24"),
                ("static", lab.outside(21), "10.1.0.11"),
            )
        ),
        forwardings=tuple(
            Forwarding(
                id=uuid4(),
                protocol=protocol,
                external=IPv4Address(lab.outside(number)),
                external_port=outer,
                inside=IPv4Address("10.1.0.12"),
                inside_port=inner,
            )
            for protocol, number, outer, inner in (
                ("tcp", 22, 2222, 22),
                ("udp", 22, 5353, 53),
                ("tcp", 10, 8080, 80),
            )
        ),
    )
    await driver.apply_router(router)
    guests = []
    for name, address, groups in (
        ("first", "10.1.0.11", [group.id]),
        ("first", "10.1.0.12", [group.id]),
        ("second", "10.2.0.13", [other.id]),
    ):
        spec = port(networks[name], address, groups)
        await driver.apply_port(spec)
        guests.append(await lab.guest(spec, address, str(networks[name].subnets[0].gateway)))
    await driver.settle()
    return World(lab, networks, group, other, router, *guests)


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def fresh(request: pytest.FixtureRequest) -> None:
    """Each test of the world begins with the same permissions."""
    if "world" in request.fixturenames:
        world: World = request.getfixturevalue("world")
        for guest in (world.one, world.two, world.three):
            guest.configure()
        await world.lab.network.apply_router(world.router)
        await world.permit(ANY, RuleSpec(direction="ingress"))


async def test_a_guest_gets_everything_by_dhcp(world: World, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\n[ $1 = bound ] && env >{tmp_path}/lease\nexit 0\n")
    script.chmod(0o755)
    await world.one.run("ip", "address", "flush", "dev", "eth0")
    await world.one.run(
        "busybox", "udhcpc", "-f", "-n", "-q", "-i", "eth0", "-t", "5", "-T", "1", "-s", str(script),
        "-O", "staticroutes", "-O", "mtu", "-O", "hostname", "-O", "domain",
    )  # fmt: skip
    lease = dict(line.split("=", 1) for line in (tmp_path / "lease").read_text().splitlines() if "=" in line)
    seen = {
        key: lease.get(key) for key in ("ip", "router", "dns", "mtu", "hostname", "domain", "staticroutes")
    }
    assert seen == {
        "ip": "10.1.0.11",
        "router": "10.1.0.1",
        "dns": "10.1.0.2",
        "mtu": "1442",
        "hostname": "one",
        "domain": "example.org",
        "staticroutes": "169.254.169.254/32 10.1.0.2 0.0.0.0/0 10.1.0.1",
    }


async def test_a_plugged_port_is_up(world: World) -> None:
    assert await world.lab.network.port_up(world.one.port.id)


async def test_guests_reach_each_other_in_a_network_and_between_networks(world: World) -> None:
    await world.lab.network.apply_group(change(world.other, rules=(ANY, RuleSpec(direction="ingress"))))
    await world.lab.network.settle()
    assert await world.one.pings("10.1.0.12")
    assert await world.one.pings("10.2.0.13")
    assert await tcp(world.one, world.three, "10.2.0.13", 80) == "10.1.0.11"
    await world.lab.network.apply_group(world.other)


async def test_a_port_is_closed_until_a_rule_opens_it(world: World) -> None:
    await world.permit(ANY)
    assert not await tcp(world.one, world.two, "10.1.0.12", 80, expect=False)
    assert not await world.one.pings("10.1.0.12", expect=False)
    await world.permit(ANY, RuleSpec(direction="ingress", protocol="tcp", port_min=80, port_max=81))
    assert await tcp(world.one, world.two, "10.1.0.12", 81) == "10.1.0.11"
    assert not await tcp(world.one, world.two, "10.1.0.12", 82, expect=False)
    assert not await udp(world.one, world.two, "10.1.0.12", 80, expect=False)


async def test_a_rule_without_ingress_lets_answers_pass_and_without_egress_nothing_leaves(
    world: World,
) -> None:
    await world.permit(RuleSpec(direction="ingress", protocol="udp", port_min=53, port_max=53))
    assert not await udp(world.one, world.two, "10.1.0.12", 53, expect=False)
    await world.permit(
        RuleSpec(direction="ingress", protocol="udp", port_min=53, port_max=53),
        RuleSpec(direction="egress", protocol="udp", remote_cidr=IPv4Network("10.1.0.12/32")),
    )
    assert await udp(world.one, world.two, "10.1.0.12", 53) == "10.1.0.11"


async def test_a_remote_group_means_its_members(world: World) -> None:
    await world.permit(ANY, RuleSpec(direction="ingress", protocol="tcp", remote_group=world.other.id))
    assert await tcp(world.three, world.two, "10.1.0.12", 80) == "10.2.0.13"
    assert not await tcp(world.one, world.two, "10.1.0.12", 80, expect=False)


async def test_a_remote_group_may_come_later(world: World) -> None:
    late = GroupSpec(id=uuid4())
    await world.permit(ANY, RuleSpec(direction="ingress", remote_group=late.id))
    member = change(world.three.port, groups=(world.other.id, late.id))
    await world.lab.network.apply_port(member)
    assert not await tcp(world.three, world.two, "10.1.0.12", 80, expect=False)
    await world.lab.network.apply_group(late)
    await world.lab.network.settle()
    assert await tcp(world.three, world.two, "10.1.0.12", 80)
    await world.lab.network.apply_port(world.three.port)
    await world.lab.network.settle()
    assert not await tcp(world.three, world.two, "10.1.0.12", 80, expect=False)
    await world.lab.network.remove_group(late.id)


async def test_a_guest_cannot_lie_about_its_address(world: World) -> None:
    await world.one.run("ip", "address", "add", "10.1.0.99/24", "dev", "eth0")
    try:
        assert "0 received" in await world.one.run(
            "ping", "-c", "1", "-W", "1", "-I", "10.1.0.99", "10.1.0.12", check=False
        )
        pair = change(world.one.port, allowed_pairs=((world.one.port.mac, "10.1.0.99/32"),))
        await world.lab.network.apply_port(pair)
        await world.lab.network.settle()
        assert "0 received" not in await world.one.run(
            "ping", "-c", "4", "-i", "0.2", "-I", "10.1.0.99", "10.1.0.12", check=False
        )
    finally:
        await world.one.run("ip", "address", "del", "10.1.0.99/24", "dev", "eth0")
        await world.lab.network.apply_port(world.one.port)


async def test_names_of_ports_are_answered_under_the_gateways_address(world: World) -> None:
    name = b"".join(bytes([len(part)]) + part for part in (b"one", b"example", b"org")) + b"\0"
    question = struct.pack(">6H", 77, 0x0100, 1, 0, 0, 0) + name + struct.pack(">2H", 1, 1)
    loop = asyncio.get_running_loop()
    with world.two.open(2) as asking:  # type: ignore[arg-type]
        async with asyncio.timeout(10):
            await loop.sock_sendto(asking, question, ("10.1.0.1", 53))
            answer = await loop.sock_recv(asking, 512)
    assert answer.endswith(IPv4Address("10.1.0.11").packed)


async def test_guests_leave_by_the_source_address_or_their_own(world: World) -> None:
    outside = world.lab.outside
    assert await tcp(world.two, HOST, outside(1), 8901) == outside(10)
    assert await tcp(world.one, HOST, outside(1), 8902) == outside(21)
    assert await tcp(world.three, HOST, outside(1), 8903) == outside(10)


async def test_a_static_address_leads_inside(world: World) -> None:
    outside = world.lab.outside
    assert await HOST.pings(outside(21))
    assert await tcp(HOST, world.one, outside(21), 80) == outside(1)


async def test_forwardings_lead_inside_and_hairpin(world: World) -> None:
    outside = world.lab.outside
    assert await tcp(HOST, world.two, outside(22), 2222, at=22) == outside(1)
    assert await udp(HOST, world.two, outside(22), 5353, at=53) == outside(1)
    assert await tcp(HOST, world.two, outside(10), 8080, at=80) == outside(1)
    assert await tcp(world.one, world.two, outside(22), 2222, at=22)
    assert await tcp(world.two, world.two, outside(22), 2222, at=22)
    assert await tcp(world.three, world.two, outside(22), 2222, at=22)


def ingress(address: str, protocol: str, low: int | None = None, source: str = "0.0.0.0/0") -> FilterRule:
    return FilterRule(
        id=uuid4(),
        direction="ingress",
        address=IPv4Address(address),
        protocol=protocol,
        port_min=low,
        port_max=low,
        sources=(IPv4Network(source),),
    )


async def test_a_guarded_static_address_passes_only_what_a_rule_permits(world: World) -> None:
    address = world.lab.outside(21)
    guarded = change(world.router, guarded=(IPv4Address(address),))
    await world.route(guarded)
    assert not await HOST.pings(address, expect=False)
    assert not await tcp(HOST, world.one, address, 80, expect=False)
    assert not await udp(HOST, world.one, address, 53, expect=False)
    assert await tcp(world.one, HOST, world.lab.outside(1), 8904) == address
    assert await udp(world.one, HOST, world.lab.outside(1), 8904) == address
    assert await world.one.pings(world.lab.outside(1))
    rules = (ingress(address, "tcp", 80), ingress(address, "udp", 53), ingress(address, "icmp"))
    await world.route(change(guarded, filters=rules))
    assert await HOST.pings(address)
    assert await tcp(HOST, world.one, address, 80)
    assert await udp(HOST, world.one, address, 53)
    assert not await tcp(HOST, world.one, address, 81, expect=False)


async def test_a_guarded_forwarding_passes_only_what_a_rule_permits(world: World) -> None:
    one, source = world.lab.outside(22), world.lab.outside(10)
    guarded = change(world.router, guarded=(IPv4Address(one), IPv4Address(source)))
    await world.route(guarded)
    assert not await tcp(HOST, world.two, one, 2222, at=22, expect=False)
    assert not await udp(HOST, world.two, one, 5353, at=53, expect=False)
    assert not await tcp(HOST, world.two, source, 8080, at=80, expect=False)
    assert await tcp(world.two, HOST, world.lab.outside(1), 8905) == source
    assert await udp(world.two, HOST, world.lab.outside(1), 8905) == source
    rules = (ingress(one, "tcp", 2222), ingress(one, "udp", 5353), ingress(source, "tcp", 80))
    await world.route(change(guarded, filters=rules))
    assert await tcp(HOST, world.two, one, 2222, at=22)
    assert await udp(HOST, world.two, one, 5353, at=53)
    assert not await tcp(HOST, world.two, source, 8080, at=80, expect=False)


async def test_a_filter_knows_its_sources(world: World) -> None:
    address = world.lab.outside(21)
    guarded = change(world.router, guarded=(IPv4Address(address),))
    await world.route(change(guarded, filters=(ingress(address, "tcp", 80, "198.51.100.0/24"),)))
    assert not await tcp(HOST, world.one, address, 80, expect=False)
    await world.route(change(guarded, filters=(ingress(address, "tcp", 80, world.lab.config.external_cidr),)))
    assert await tcp(HOST, world.one, address, 80)


async def test_a_withdrawn_permission_ends_a_connection(world: World) -> None:
    address = world.lab.outside(21)
    guarded = change(world.router, guarded=(IPv4Address(address),))
    await world.route(change(guarded, filters=(ingress(address, "udp", 53),)))
    assert await udp(HOST, world.one, address, 53)
    await world.route(guarded)
    assert not await udp(HOST, world.one, address, 53, expect=False)


async def test_a_guarded_network_lets_out_only_what_a_rule_permits(world: World) -> None:
    first, out = world.networks["first"].id, world.lab.outside(1)
    guarded = change(world.router, egress_guarded=(first,))
    await world.route(guarded)
    assert not await tcp(world.two, HOST, out, 8906, expect=False)
    assert not await udp(world.two, HOST, out, 8906, expect=False)
    assert not await world.two.pings(out, expect=False)
    assert await world.one.pings("10.1.0.12")
    assert await tcp(world.three, HOST, out, 8906)
    assert await tcp(HOST, world.one, world.lab.outside(21), 80)
    assert await tcp(HOST, world.two, world.lab.outside(22), 2222, at=22)
    rule = FilterRule(
        id=uuid4(),
        direction="egress",
        protocol="tcp",
        port_min=8907,
        port_max=8910,
        sources=(IPv4Network("10.1.0.12/32"),),
        networks=(first,),
    )
    await world.route(change(guarded, filters=(rule,)))
    assert await tcp(world.two, HOST, out, 8908) == world.lab.outside(10)
    assert not await tcp(world.two, HOST, out, 8911, expect=False)
    assert not await tcp(world.one, HOST, out, 8908, expect=False)


async def test_the_metadata_namespace_answers_even_a_closed_guest(world: World) -> None:
    service = Place(world.lab.network.metadata_namespace(world.networks["first"].id))
    await world.permit()
    await world.one.run("ip", "route", "replace", "169.254.169.254/32", "via", "10.1.0.2")
    assert await tcp(world.one, service, "169.254.169.254", 80) == "10.1.0.11"


async def test_a_network_without_metadata_has_no_namespace(lab: Lab) -> None:
    network = inside(3)
    await lab.network.apply_network(network)
    name = lab.network.metadata_namespace(network.id)
    assert (await lab.network.metadata_namespaces())[network.id] == name
    assert name in run("ip", "netns")
    await lab.network.apply_network(change(network, metadata_address=None))
    assert network.id not in await lab.network.metadata_namespaces()
    assert name not in run("ip", "netns")
    await lab.network.apply_network(network)
    await lab.network.remove_network(network.id)
    assert network.id not in await lab.network.metadata_namespaces()
    assert name not in run("ip", "netns")


async def test_what_was_deleted_by_hand_comes_back(world: World) -> None:
    first = world.networks["first"]
    world.lab.nbctl("ls-del", f"network-{first.id}")
    world.lab.nbctl("lr-del", f"router-{world.router.id}")
    world.lab.nbctl("pg-del", f"pg_{world.group.id.hex}")
    await world.lab.network.settle()
    assert not await world.one.pings("10.1.0.12", expect=False)
    driver = world.lab.network
    await driver.apply_network(first)
    for guest in (world.one, world.two):
        await driver.apply_port(guest.port)
    await driver.apply_router(world.router)
    await world.permit(ANY, RuleSpec(direction="ingress"))
    assert await world.one.pings("10.1.0.12")
    assert await tcp(HOST, world.one, world.lab.outside(21), 80)


async def test_two_clouds_share_one_ovn_and_each_repairs_only_its_own(lab: Lab, tmp_path: Path) -> None:
    """One is recorded and looked after; the other's objects, an operator's, and an older cloud's without a mark stay."""
    ours, theirs = lab.driver(cloud=uuid4(), notes=tmp_path / "notes"), lab.driver(cloud=uuid4())
    network, group = inside(7), GroupSpec(id=uuid4(), rules=(ANY,))
    secured = port(network, "10.7.0.11", [group.id])
    for apply, spec in (
        (theirs.apply_network, network),
        (theirs.apply_group, group),
        (theirs.apply_port, secured),
    ):
        await apply(spec)  # type: ignore[operator]
    plain = await lab.network.known()
    before = less(await theirs.known(), plain)
    lab.nbctl("ls-add", "by-hand")
    async with place(f"sqlite:///{tmp_path / 'pileus.db'}", tmp_path) as here:
        here.site._network = ours
        reconciler = Reconciler(here.site)
        await reconciler.once()
        accepted = await isolated.create(here.cloud, here.me, IsolatedWant(name="own"))
        await ports.create(here.cloud, here.me, PortWant(network=accepted.resource.id))
        await here.work()
        made = less(await ours.known(), plain)
        assert not any(made[kind] & before[kind] for kind in made)
        assert (await reconciler.once()).count == 0
        await lose_by_hand(lab, made)
        await ours.settle()
        repairs = await reconciler.once()
        assert repairs.restored[Kind.PORT] == made[Kind.PORT]
        # Of a deleted router what stands beside it (balancers) may be left.
        assert repairs.restored[Kind.ROUTER] | repairs.changed[Kind.ROUTER] == made[Kind.ROUTER]
        assert repairs.changed[Kind.NETWORK] == made[Kind.NETWORK]
        assert less(await ours.known(), plain) == made
        assert repairs.foreign["Logical_Switch"] >= 2
        alerts = await recorded.standing(here.cloud)
        assert {Drift.NETWORK_MISSING.value, Drift.NETWORK_FOREIGN.value} <= alerts
        for _ in range(3):
            assert (await reconciler.once()).count == 0
        assert Drift.NETWORK_MISSING.value not in await recorded.standing(here.cloud)
    assert less(await theirs.known(), plain) == before
    assert await lab.network.known() == plain
    assert "by-hand" in lab.nbctl("ls-list")
    lab.nbctl("ls-del", "by-hand")
    for driver, known in ((ours, made), (theirs, before)):
        for kind in (Kind.ROUTER, Kind.PORT, Kind.GROUP, Kind.NETWORK):
            for key in known[kind]:
                await getattr(driver, f"remove_{kind.value}")(key)
        await driver.close()


def less(
    known: Mapping[Kind, frozenset[UUID]], plain: Mapping[Kind, frozenset[UUID]]
) -> dict[Kind, frozenset[UUID]]:
    """Without what carries no cloud's mark, which every cloud sees."""
    return {kind: known[kind] - plain[kind] for kind in known}


async def lose_by_hand(lab: Lab, made: Mapping[Kind, frozenset[UUID]]) -> None:
    """As an operator may: a port, a router, and a setting of a switch's DHCP."""
    for key in made[Kind.PORT]:
        lab.nbctl("--if-exists", "lsp-del", str(key))
    for key in made[Kind.ROUTER]:
        lab.nbctl("lr-del", f"router-{key}")
    for key in made[Kind.NETWORK]:
        for row in lab.nbctl("--bare", "--columns=_uuid", "find", "DHCP_Options",
                             f"external_ids:pileus\\:id={key}").split():  # fmt: skip
            lab.nbctl("set", "DHCP_Options", row, "options:mtu=999")


async def test_what_a_killed_process_left_of_a_namespace_is_found_and_removed(
    lab: Lab, tmp_path: Path
) -> None:
    network = inside(8)
    begun = lab.driver(cloud=uuid4(), notes=tmp_path / "notes")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / str(network.id)).touch()
    name = begun.metadata_namespace(network.id)
    await asyncio.to_thread(run, "ip", "netns", "add", name)
    try:
        assert (await begun.survey()).left == {network.id}
        await begun.remove_network(network.id)
        assert name not in run("ip", "netns")
        assert not (await begun.survey()).left
    finally:
        await asyncio.to_thread(run, "ip", "netns", "delete", name, check=False)
        await begun.close()


async def test_a_change_that_changes_nothing_writes_nothing(world: World) -> None:
    await world.permit(ANY)
    before = world.lab.daemons.run_dir.joinpath("ovnnb.db").stat().st_size
    driver = world.lab.network
    for network in world.networks.values():
        await driver.apply_network(network)
    for guest in (world.one, world.two, world.three):
        await driver.apply_port(guest.port)
    await driver.apply_router(world.router)
    await driver.apply_group(change(world.group, rules=(ANY,)))
    assert world.lab.daemons.run_dir.joinpath("ovnnb.db").stat().st_size == before


async def poll(what: str, seconds: float = 20.0) -> AsyncIterator[None]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        yield
        await asyncio.sleep(0.05)
    pytest.fail(f"not in time: {what}")


async def test_a_dead_switch_comes_back_with_its_address(world: World) -> None:
    daemon = next(daemon for daemon in world.lab.daemons.daemons if daemon.name == "ovs-vswitchd")
    process = daemon.process
    assert process is not None
    process.signal(signal.SIGKILL)
    async for _ in poll("a new vswitchd"):
        if daemon.process is not None and daemon.process != process:
            break
    async for _ in poll("packets again"):
        if await HOST.pings(world.lab.outside(21), expect=False):
            break
    assert await tcp(HOST, world.one, world.lab.outside(21), 80)


async def test_calls_wait_for_a_database_that_is_away_and_then_give_up(world: World) -> None:
    daemon = next(daemon for daemon in world.lab.daemons.daemons if daemon.name == "ovsdb-nb")
    impatient = world.lab.driver(patience=0.3)
    try:
        await impatient.apply_group(world.group)
        await daemon.stop()
        with pytest.raises(Unreachable):
            await impatient.apply_group(change(world.group, rules=()))
        waiting = asyncio.create_task(world.permit(ANY, RuleSpec(direction="ingress", protocol="icmp")))
        await daemon.start()
        await waiting
        assert await world.one.pings("10.1.0.12")
    finally:
        await impatient.close()


async def test_daemons_are_found_again_by_the_next_start(world: World) -> None:
    before = [daemon.process for daemon in world.lab.daemons.daemons]
    await world.lab.daemons.release()
    await world.lab.daemons.start()
    assert [daemon.process for daemon in world.lab.daemons.daemons] == before
    assert all(daemon.adopted for daemon in world.lab.daemons.daemons)
    assert await HOST.pings(world.lab.outside(21))


async def test_two_clouds_stand_side_by_side(world: World, tmp_path: Path) -> None:
    other = Lab(tmp_path, 1)
    try:
        await other.start()
        assert await other.daemons.healthy()
        assert await other.network.known() != await world.lab.network.known()
        assert await HOST.pings(world.lab.outside(21))
    finally:
        await other.stop()
    assert other.name not in run("ip", "link")
    assert await HOST.pings(world.lab.outside(21))
