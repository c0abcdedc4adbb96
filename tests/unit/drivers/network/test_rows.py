from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from uuid import UUID, uuid4

import pytest

from pileus.drivers.network.ovn import networks, ports
from pileus.drivers.network.ovn.rows import Handle, Owner, place
from pileus.drivers.network.protocol import (
    FixedAddress,
    GroupSpec,
    NetworkSpec,
    PortSpec,
    RuleSpec,
    SubnetSpec,
)

GROUP, REMOTE = UUID(int=1), UUID(int=2)
OUT, IN = f"outport == @pg_{GROUP.hex}", f"inport == @pg_{GROUP.hex}"


def rule(direction: str = "ingress", **fields: object) -> RuleSpec:
    return RuleSpec(direction=direction, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wanted", "match"),
    [
        (rule(), f"{OUT} && ip4"),
        (rule("egress", ethertype=6), f"{IN} && ip6"),
        (rule(protocol="tcp", port_min=22, port_max=22), f"{OUT} && ip4 && tcp && tcp.dst == 22"),
        (rule(protocol="tcp", port_min=22), f"{OUT} && ip4 && tcp && tcp.dst == 22"),
        (rule(protocol="17", port_min=1, port_max=9), f"{OUT} && ip4 && udp && udp.dst >= 1 && udp.dst <= 9"),
        (rule(protocol="icmp"), f"{OUT} && ip4 && icmp4"),
        (rule(protocol="icmp", port_min=8, port_max=0), f"{OUT} && ip4 && icmp4 && icmp4.type == 8 && icmp4.code == 0"),
        (rule(protocol="icmp", ethertype=6, port_min=128), f"{OUT} && ip6 && icmp6 && icmp6.type == 128"),
        (rule(protocol="89"), f"{OUT} && ip4 && ip.proto == 89"),
        (rule(remote_cidr=IPv4Network("10.0.0.0/8")), f"{OUT} && ip4 && ip4.src == 10.0.0.0/8"),
        (rule("egress", remote_cidr=IPv4Network("10.0.0.0/8")), f"{IN} && ip4 && ip4.dst == 10.0.0.0/8"),
        (rule(remote_group=REMOTE), f"{OUT} && ip4 && ip4.src == $pg_{REMOTE.hex}_ip4"),
        (
            rule("egress", ethertype=6, remote_group=REMOTE),
            f"{IN} && ip6 && ip6.dst == $pg_{REMOTE.hex}_ip6",
        ),
    ],
    ids=str,
)  # fmt: skip
def test_a_rule_becomes_one_sentence(wanted: RuleSpec, match: str) -> None:
    _, row = ports.group_rows(GroupSpec(id=GROUP, rules=(wanted,)))
    assert row.columns["match"] == match
    assert row.columns["direction"] == ("to-lport" if wanted.direction == "ingress" else "from-lport")


def test_a_rule_that_is_given_twice_is_one_row() -> None:
    assert len(ports.group_rows(GroupSpec(id=GROUP, rules=(rule(), rule())))) == 2


def test_an_unsecured_port_may_send_and_receive_anything() -> None:
    spec = PortSpec(id=uuid4(), network=uuid4(), mac="02:00:00:00:00:01", groups=(GROUP,), secured=False)
    (row,) = ports.port_rows(spec)
    assert row.columns["port_security"] == []
    assert "unknown" in row.columns["addresses"]
    assert row.member == ()


def test_a_port_points_to_the_dhcp_of_its_subnets() -> None:
    network, four, six = uuid4(), uuid4(), uuid4()
    spec = PortSpec(
        id=uuid4(),
        network=network,
        mac="02:00:00:00:00:01",
        addresses=(
            FixedAddress(subnet=six, address=IPv6Address("fd00::5")),
            FixedAddress(subnet=four, address=IPv4Address("10.0.0.5")),
        ),
    )
    (row,) = ports.port_rows(spec)
    assert row.columns["dhcpv4_options"].handle == networks.dhcp(network, four)
    assert row.columns["dhcpv6_options"].handle == networks.dhcp(network, six)


def options(subnet: SubnetSpec, **fields: object) -> dict[str, str]:
    spec = NetworkSpec(id=uuid4(), name="n", subnets=(subnet,), **fields)  # type: ignore[arg-type]
    (row,) = (row for row in networks.rows(spec) if row.handle.table == "DHCP_Options")
    found: dict[str, str] = row.columns["options"]
    return found


def test_a_subnet_without_gateway_has_no_router_and_its_own_resolver_at_the_metadata_address() -> None:
    subnet = SubnetSpec(id=uuid4(), cidr=IPv4Network("10.0.0.0/24"))
    found = options(subnet, metadata_address=IPv4Address("10.0.0.2"))
    assert "router" not in found
    assert found["server_id"] == "10.0.0.2"
    assert found["dns_server"] == "{10.0.0.2}"
    assert found["classless_static_route"] == "{169.254.169.254/32,10.0.0.2}"


def test_routes_bring_the_default_route_along() -> None:
    subnet = SubnetSpec(
        id=uuid4(),
        cidr=IPv4Network("10.0.0.0/24"),
        gateway=IPv4Address("10.0.0.1"),
        dns_servers=(IPv4Address("9.9.9.9"), IPv4Address("1.1.1.1")),
        routes=((IPv4Network("10.9.0.0/16"), IPv4Address("10.0.0.9")),),
    )
    found = options(subnet)
    assert found["classless_static_route"] == "{10.9.0.0/16,10.0.0.9, 0.0.0.0/0,10.0.0.1}"
    assert found["dns_server"] == "{9.9.9.9, 1.1.1.1}"


@pytest.mark.parametrize("cidr", [IPv4Network("10.0.0.0/24"), IPv6Network("fd00::/64")], ids=str)
def test_a_subnet_without_dhcp_offers_nothing(cidr: IPv4Network | IPv6Network) -> None:
    assert options(SubnetSpec(id=uuid4(), cidr=cidr, dhcp=False)) == {}


def test_a_place_can_be_read_back() -> None:
    spot = Handle(Owner("network", str(uuid4())), "Logical_Switch_Port", "a/b").into("ports")
    assert place(spot.text()) == spot
