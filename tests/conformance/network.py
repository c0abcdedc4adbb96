"""What every network driver must do, whatever it stands on."""

from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv4Network
from uuid import UUID, uuid4

import msgspec
import pytest

from pileus.drivers.errors import Missing, Refused
from pileus.drivers.network.protocol import (
    FilterRule,
    FixedAddress,
    Forwarding,
    GroupSpec,
    Kind,
    NatRule,
    NetworkDriver,
    NetworkSpec,
    PortSpec,
    RouterPort,
    RouterSpec,
    RuleSpec,
    SubnetSpec,
)

change = msgspec.structs.replace


class Site:
    """One object of each kind, tied together as a small project would."""

    def __init__(self, network: NetworkDriver) -> None:
        self.driver = network
        subnet = SubnetSpec(id=uuid4(), cidr=IPv4Network("10.1.0.0/24"), gateway=IPv4Address("10.1.0.1"))
        self.network = NetworkSpec(
            id=uuid4(),
            name="inside",
            subnets=(subnet,),
            metadata_address=IPv4Address("10.1.0.2"),
            dns_names={"one": ("10.1.0.11",), "one.example.org": ("10.1.0.11",)},
        )
        outer = SubnetSpec(
            id=uuid4(), cidr=IPv4Network("203.0.113.0/24"), gateway=IPv4Address("203.0.113.1"), dhcp=False
        )
        self.external = NetworkSpec(id=uuid4(), name="outside", subnets=(outer,), physical="external", vlan=7)
        self.group = GroupSpec(
            id=uuid4(), rules=(RuleSpec(direction="ingress", protocol="tcp", port_min=22, port_max=22),)
        )
        address = FixedAddress(subnet=subnet.id, address=IPv4Address("10.1.0.11"))
        self.port = PortSpec(
            id=uuid4(),
            network=self.network.id,
            mac="02:00:00:00:01:11",
            addresses=(address,),
            groups=(self.group.id,),
            hostname="one",
        )
        self.router = RouterSpec(
            id=uuid4(),
            name="edge",
            ports=(
                RouterPort(
                    port=uuid4(),
                    network=self.network.id,
                    mac="02:00:00:00:ff:01",
                    addresses=("10.1.0.1/24",),
                ),
            ),
            gateway=RouterPort(
                port=uuid4(),
                network=self.external.id,
                mac="02:00:00:00:ff:02",
                addresses=("203.0.113.10/24",),
            ),
            next_hop=IPv4Address("203.0.113.1"),
            routes=((IPv4Network("192.168.7.0/24"), IPv4Address("10.1.0.77")),),
            nat=(
                NatRule(
                    id=uuid4(), kind="source", external=IPv4Address("203.0.113.10"), inside="10.1.0.0/24"
                ),
                NatRule(id=uuid4(), kind="static", external=IPv4Address("203.0.113.21"), inside="10.1.0.11"),
            ),
            forwardings=(
                Forwarding(
                    id=uuid4(),
                    protocol="tcp",
                    external=IPv4Address("203.0.113.10"),
                    external_port=2222,
                    inside=IPv4Address("10.1.0.11"),
                    inside_port=22,
                ),
            ),
            guarded=(IPv4Address("203.0.113.10"), IPv4Address("203.0.113.21")),
            egress_guarded=(self.network.id,),
            filters=(
                FilterRule(
                    id=uuid4(),
                    direction="ingress",
                    address=IPv4Address("203.0.113.21"),
                    protocol="tcp",
                    port_min=80,
                    port_max=90,
                ),
                FilterRule(id=uuid4(), direction="egress", protocol="udp", networks=(self.network.id,)),
            ),
        )

    def appliers(self) -> dict[Kind, tuple[Callable[[], Awaitable[bool]], ...]]:
        return {
            Kind.NETWORK: (
                lambda: self.driver.apply_network(self.network),
                lambda: self.driver.apply_network(self.external),
            ),
            Kind.GROUP: (lambda: self.driver.apply_group(self.group),),
            Kind.PORT: (lambda: self.driver.apply_port(self.port),),
            Kind.ROUTER: (lambda: self.driver.apply_router(self.router),),
        }

    def expected(self) -> dict[Kind, frozenset[UUID]]:
        return {
            Kind.NETWORK: frozenset({self.network.id, self.external.id}),
            Kind.GROUP: frozenset({self.group.id}),
            Kind.PORT: frozenset({self.port.id}),
            Kind.ROUTER: frozenset({self.router.id}),
        }

    async def apply(self, *order: Kind) -> None:
        for kind in order or tuple(self.appliers()):
            for applier in self.appliers()[kind]:
                await applier()

    async def remove(self) -> None:
        await self.driver.remove_router(self.router.id)
        await self.driver.remove_port(self.port.id)
        await self.driver.remove_group(self.group.id)
        await self.driver.remove_network(self.network.id)
        await self.driver.remove_network(self.external.id)


ORDERS = [
    (Kind.NETWORK, Kind.PORT, Kind.GROUP, Kind.ROUTER),
    (Kind.NETWORK, Kind.ROUTER, Kind.PORT, Kind.GROUP),
    (Kind.GROUP, Kind.NETWORK, Kind.ROUTER, Kind.PORT),
]


class NetworkConformance:
    """A subclass gives the fixture `network`: a driver whose platform holds nothing of ours."""

    @pytest.fixture
    def site(self, network: NetworkDriver) -> Site:
        return Site(network)

    @pytest.mark.parametrize("order", ORDERS, ids=" ".join)
    async def test_everything_made_is_known_and_goes_in_any_order(
        self, site: Site, order: tuple[Kind, ...]
    ) -> None:
        await site.apply(*order)
        assert await site.driver.known() == site.expected()
        await site.remove()
        assert not any((await site.driver.known()).values())

    async def test_every_call_may_be_repeated(self, site: Site) -> None:
        for _ in range(2):
            await site.apply()
            await site.driver.settle()
            assert await site.driver.known() == site.expected()
        for _ in range(2):
            await site.remove()
        assert not any((await site.driver.known()).values())

    async def test_a_survey_tells_what_is_known_and_a_second_apply_that_nothing_differed(
        self, site: Site
    ) -> None:
        for expected in (True, False):
            for appliers in site.appliers().values():
                for applier in appliers:
                    assert await applier() is expected
            await site.driver.settle()
        survey = await site.driver.survey()
        assert survey.known == await site.driver.known() == site.expected()
        assert not survey.unmarked
        site.network = change(site.network, mtu=1400)
        assert await site.driver.apply_network(site.network)
        await site.remove()

    async def test_every_object_can_be_changed(self, site: Site) -> None:
        await site.apply()
        site.network = change(site.network, name="renamed", mtu=1400, metadata_address=None, dns_names={})
        site.external = change(site.external, vlan=0)
        site.group = change(site.group, rules=())
        site.port = change(site.port, enabled=False, groups=(), hostname="", mac="02:00:00:00:01:12")
        site.router = change(
            site.router, gateway=None, next_hop=None, nat=(), forwardings=(), guarded=(), filters=()
        )
        await site.apply()
        await site.driver.settle()
        assert await site.driver.known() == site.expected()
        await site.remove()

    @pytest.mark.parametrize("kind", [Kind.PORT, Kind.ROUTER])
    async def test_what_stands_in_a_missing_network_says_so(self, site: Site, kind: Kind) -> None:
        with pytest.raises(Missing, match=str(site.network.id)):
            await site.apply(kind)
        assert not any((await site.driver.known()).values())

    @pytest.mark.parametrize(
        "rule",
        [
            RuleSpec(direction="sideways"),
            RuleSpec(direction="ingress", protocol="carrier-pigeon"),
            RuleSpec(direction="ingress", protocol="tcp", port_min=80, port_max=22),
            RuleSpec(direction="ingress", protocol="udp", port_min=1, port_max=70000),
        ],
        ids=str,
    )
    async def test_a_rule_without_a_meaning_is_refused(self, site: Site, rule: RuleSpec) -> None:
        with pytest.raises(Refused):
            await site.driver.apply_group(change(site.group, rules=(rule,)))
        assert not any((await site.driver.known()).values())

    async def test_a_network_takes_its_ports_along(self, site: Site) -> None:
        await site.apply(Kind.NETWORK, Kind.PORT)
        await site.driver.remove_network(site.network.id)
        assert await site.driver.known() == {
            **dict.fromkeys(Kind, frozenset()),
            Kind.NETWORK: frozenset({site.external.id}),
        }
        await site.remove()

    async def test_a_port_without_a_guest_is_down(self, site: Site) -> None:
        assert not await site.driver.port_up(site.port.id)
        await site.apply()
        assert not await site.driver.port_up(site.port.id)
        await site.remove()
