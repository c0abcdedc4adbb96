"""Records of the network as the driver's words: pure functions, one a kind of object."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, ip_address, ip_network
from uuid import UUID, uuid5

import msgspec

from pileus.core.network import records
from pileus.core.network.rules import NUMBERS
from pileus.drivers.network.protocol import (
    Address,
    FilterRule,
    FixedAddress,
    Forwarding,
    GroupSpec,
    NatRule,
    NetworkSpec,
    PortSpec,
    RouterPort,
    RouterSpec,
    RuleSpec,
    SubnetSpec,
)

DOMAIN = "pileus.local"
"""Where servers live by name in a network that has no domain of its own."""
DRIVER_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6"}

Held = Sequence[records.FixedAddress]
Interface = tuple[records.Port, Held]


def network(
    row: records.Network,
    subnets: Sequence[records.Subnet],
    servers: Iterable[Interface],
    metadata: Interface | None,
    resolvers: Sequence[str],
) -> NetworkSpec:
    """`servers`: the ports that have a name; `resolvers`: for subnets that have none of their own, in a network without
    a metadata port, beside which the network's own resolver stands."""
    if metadata and metadata[1]:
        resolvers = ()
    return NetworkSpec(
        id=row.id,
        name=row.name,
        mtu=row.mtu,
        subnets=tuple(_subnet(subnet, resolvers) for subnet in subnets),
        physical=row.physical,
        vlan=row.vlan,
        metadata_address=ip_address(metadata[1][0].address) if metadata and metadata[1] else None,
        metadata_mac=metadata[0].mac if metadata else "",
        dns_names=names(servers, row.dns_domain or DOMAIN),
    )


def _subnet(row: records.Subnet, resolvers: Sequence[str]) -> SubnetSpec:
    servers = [ip_address(server) for server in row.dns_servers or resolvers]
    return SubnetSpec(
        id=row.id,
        cidr=ip_network(row.cidr),
        gateway=ip_address(row.gateway) if row.gateway else None,
        dhcp=row.dhcp,
        dns_servers=tuple(server for server in servers if server.version == row.version),
        routes=tuple((ip_network(to), ip_address(hop)) for to, hop in row.routes),
    )


def names(servers: Iterable[Interface], domain: str) -> Mapping[str, tuple[str, ...]]:
    """Short and full names, in lower case. Servers of one name share it."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for port, held in servers:
        if port.dns_name:
            found[port.dns_name.lower()] += [one.address for one in held]
    suffix = domain.strip(".").lower()
    short = {name: tuple(addresses) for name, addresses in found.items() if addresses}
    return short | {f"{name}.{suffix}": addresses for name, addresses in short.items()}


def port(row: records.Port, held: Held) -> PortSpec:
    return PortSpec(
        id=row.id,
        network=row.network,
        mac=row.mac,
        addresses=tuple(FixedAddress(subnet=one.subnet, address=ip_address(one.address)) for one in held),
        groups=row.groups,
        secured=row.port_security,
        allowed_pairs=tuple((mac or row.mac, cidr) for mac, cidr in row.allowed_pairs),
        enabled=row.enabled,
        hostname=row.dns_name,
    )


def group(row: records.SecurityGroup, rules: Iterable[records.SecurityRule]) -> GroupSpec:
    return GroupSpec(id=row.id, rules=tuple(_rule(rule) for rule in rules))


def _rule(row: records.SecurityRule) -> RuleSpec:
    return RuleSpec(
        direction=row.direction,
        ethertype=row.ethertype,
        protocol=_protocol(row),
        port_min=row.port_min,
        port_max=row.port_max,
        remote_cidr=ip_network(row.remote_cidr) if row.remote_cidr else None,
        remote_group=row.remote_group,
    )


def _protocol(row: records.SecurityRule) -> str:
    if row.protocol is None:
        return "any"
    number = NUMBERS.get(row.protocol)
    number = int(row.protocol) if number is None else number
    if row.ethertype == 6 and number == 1:
        number = 58
    return DRIVER_PROTOCOLS.get(number, str(number))


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """All that a router's spec is made of."""

    router: records.Router
    interfaces: Sequence[Interface]
    gateway: Interface | None
    subnets: Mapping[UUID, records.Subnet]
    addresses: Sequence[records.Address]
    forwardings: Sequence[records.PortForwarding]
    firewall: Sequence[records.FirewallRule]


def router(edge: Edge) -> RouterSpec:
    row = edge.router
    outside = _outside(edge)
    reachable = edge.addresses if outside is not None else ()
    inside = tuple(sorted({port.network for port, _ in edge.interfaces}))
    return RouterSpec(
        id=row.id,
        name=row.name,
        ports=tuple(_interface(port, held, edge.subnets) for port, held in edge.interfaces),
        gateway=_interface(*edge.gateway, edge.subnets) if edge.gateway else None,
        next_hop=_next_hop(edge),
        routes=tuple((ip_network(to), ip_address(hop)) for to, hop in row.routes),
        nat=(*_source_nat(edge, outside), *_static_nat(reachable)),
        forwardings=tuple(_forwardings(edge)) if outside is not None else (),
        guarded=tuple(ip_address(address.address) for address in reachable if address.guarded),
        egress_guarded=inside if row.egress_default_deny else (),
        filters=tuple(_filters(edge)),
        enabled=row.enabled,
    )


def _interface(port: records.Port, held: Held, subnets: Mapping[UUID, records.Subnet]) -> RouterPort:
    lengths = {key: ip_network(subnet.cidr).prefixlen for key, subnet in subnets.items()}
    return RouterPort(
        port=port.id,
        network=port.network,
        mac=port.mac,
        addresses=tuple(f"{one.address}/{lengths[one.subnet]}" for one in held),
    )


def _outside(edge: Edge) -> Address | None:
    """The router's own IPv4 address on the external network."""
    held = edge.gateway[1] if edge.gateway else ()
    return next(
        (address for one in held if isinstance(address := ip_address(one.address), IPv4Address)), None
    )


def _next_hop(edge: Edge) -> Address | None:
    for one in edge.gateway[1] if edge.gateway else ():
        subnet = edge.subnets[one.subnet]
        if subnet.version == 4 and subnet.gateway:
            return ip_address(subnet.gateway)
    return None


def _source_nat(edge: Edge, outside: Address | None) -> Iterable[NatRule]:
    if outside is None or not edge.router.snat:
        return
    for port, held in edge.interfaces:
        for subnet in (edge.subnets[one.subnet] for one in held):
            if subnet.version == 4:
                key = uuid5(port.id, str(subnet.id))
                yield NatRule(kind="source", external=outside, inside=subnet.cidr, id=key)


def _static_nat(addresses: Iterable[records.Address]) -> Iterable[NatRule]:
    for address in addresses:
        if address.fixed is not None:
            external = ip_address(address.address)
            yield NatRule(kind="static", external=external, inside=address.fixed, id=address.id)


def _forwardings(edge: Edge) -> Iterable[Forwarding]:
    """A range becomes one entry a port; ids follow from the record's, so that they stay the same."""
    external = {address.id: ip_address(address.address) for address in edge.addresses}
    for row in edge.forwardings:
        for offset in range(row.external_port_end - row.external_port + 1):
            yield Forwarding(
                id=uuid5(row.id, str(offset)) if offset else row.id,
                protocol=row.protocol,
                external=external[row.address],
                external_port=row.external_port + offset,
                inside=ip_address(row.inside),
                inside_port=row.inside_port + offset,
            )


def _filters(edge: Edge) -> Iterable[FilterRule]:
    external = {address.id: ip_address(address.address) for address in edge.addresses}
    for row in edge.firewall:
        icmp = row.protocol == "icmp"
        low, high = (_icmp(row.icmp_type), _icmp(row.icmp_code)) if icmp else (row.port_min, row.port_max)
        yield FilterRule(
            id=row.id,
            direction=row.direction,
            address=external[row.address] if row.address else None,
            protocol="any" if row.protocol == "all" else row.protocol,
            port_min=low,
            port_max=high,
            sources=tuple(ip_network(cidr) for cidr in row.sources),
            destinations=tuple(ip_network(cidr) for cidr in row.destinations),
            networks=(row.network,) if row.network else (),
        )


def _icmp(value: int | None) -> int | None:
    """-1 means every type or code."""
    return None if value == -1 else value
