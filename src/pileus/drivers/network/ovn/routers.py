"""A router as rows: its ports on both sides, the way out, address translation, forwardings and the filter."""

from collections.abc import Iterator
from ipaddress import ip_interface, ip_network

from pileus.drivers.errors import Refused
from pileus.drivers.network.ovn import networks
from pileus.drivers.network.ovn.filters import egress_rows, ingress_rows
from pileus.drivers.network.ovn.networks import ANYWHERE
from pileus.drivers.network.ovn.rows import Handle, Row, owner
from pileus.drivers.network.protocol import Forwarding, Kind, NatRule, RouterPort, RouterSpec

NAT_TYPES = {"static": "dnat_and_snat", "source": "snat"}


def rows(spec: RouterSpec, chassis: str) -> list[Row]:
    """`chassis` is the machine through which the router leaves."""
    router = Handle(owner(Kind.ROUTER, spec.id), "Logical_Router")
    columns = {
        "name": f"router-{spec.id}",
        "enabled": [spec.enabled],
        "options": {"always_learn_from_arp_request": "false", "dynamic_neigh_routers": "true"},
    }
    wanted = [Row(handle=router, columns=columns, note=spec.name)]
    for port in spec.ports:
        wanted += _port(router, port)
    if spec.gateway is not None:
        wanted += _gateway(router, spec.gateway, chassis)
    wanted += _routes(router, spec)
    wanted += [_nat(router, rule) for rule in spec.nat]
    wanted += [_forwarding(router, spec, forwarding) for forwarding in spec.forwardings]
    wanted += ingress_rows(router, spec)
    wanted += egress_rows(router, spec)
    return wanted


def interface(port: RouterPort) -> str:
    """OVN's name of the router's side of a port."""
    return f"router-port-{port.port}"


def _port(router: Handle, port: RouterPort) -> list[Row]:
    """The router's side and the switch's side."""
    inner = {
        "name": interface(port),
        "mac": port.mac,
        "networks": sorted(port.addresses),
        "ipv6_ra_configs": _advertise(port),
    }
    outer = {
        "name": str(port.port),
        "type": "router",
        "addresses": ["router"],
        "options": {"router-port": interface(port)},
    }
    key = str(port.port)
    return [
        Row(
            handle=Handle(router.owner, "Logical_Router_Port", key),
            columns=inner,
            within=router.into("ports"),
        ),
        Row(
            handle=Handle(router.owner, "Logical_Switch_Port", key),
            columns=outer,
            within=networks.switch(port.network).into("ports"),
        ),
    ]


def _advertise(port: RouterPort) -> dict[str, str]:
    if not any(ip_interface(address).version == 6 for address in port.addresses):
        return {}
    return {"address_mode": "dhcpv6_stateful", "send_periodic": "true"}


def _gateway(router: Handle, port: RouterPort, chassis: str) -> Iterator[Row]:
    inner, outer = _port(router, port)
    yield inner
    options = {**outer.columns["options"], "nat-addresses": "router"}
    yield Row(handle=outer.handle, columns={**outer.columns, "options": options}, within=outer.within)
    columns = {"name": f"{interface(port)}-{chassis}", "chassis_name": chassis, "priority": 1}
    handle = Handle(router.owner, "Gateway_Chassis", chassis)
    yield Row(handle=handle, columns=columns, within=inner.handle.into("gateway_chassis"))


def _routes(router: Handle, spec: RouterSpec) -> Iterator[Row]:
    ways = [(str(to), str(via), "") for to, via in spec.routes]
    if spec.next_hop is not None and spec.gateway is not None:
        ways.append((ANYWHERE[spec.next_hop.version], str(spec.next_hop), interface(spec.gateway)))
    for to, via, through in dict.fromkeys(ways):
        columns = {"ip_prefix": to, "nexthop": via, "output_port": [through] if through else []}
        handle = Handle(router.owner, "Logical_Router_Static_Route", f"{to} {via}".replace("/", "-"))
        yield Row(handle=handle, columns=columns, within=router.into("static_routes"))


def _nat(router: Handle, rule: NatRule) -> Row:
    if rule.kind not in NAT_TYPES:
        raise Refused(f"NAT rule {rule.id} has kind {rule.kind!r}; give static or source")
    inside = str(ip_network(rule.inside, strict=False)) if rule.kind == "source" else rule.inside
    columns = {"type": NAT_TYPES[rule.kind], "external_ip": str(rule.external), "logical_ip": inside}
    handle = Handle(router.owner, "NAT", str(rule.id))
    return Row(handle=handle, columns=columns, within=router.into("nat"))


def _forwarding(router: Handle, spec: RouterSpec, forwarding: Forwarding) -> Row:
    """A balancer with one end. It also stands on the inside switches: there a guest that asks for the
    external address is turned to its neighbour, whose answer would otherwise not pass the router."""
    ends = (forwarding.external, forwarding.external_port), (forwarding.inside, forwarding.inside_port)
    outer, inner = (f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}" for ip, port in ends)
    columns = {
        "name": f"forwarding-{forwarding.id}",
        "protocol": [forwarding.protocol],
        "vips": {outer: inner},
    }
    switches = dict.fromkeys(networks.switch(port.network).into("load_balancer") for port in spec.ports)
    return Row(
        handle=Handle(router.owner, "Load_Balancer", str(forwarding.id)),
        columns=columns,
        member=(router.into("load_balancer"), *switches),
    )


__all__ = ["interface", "rows"]
