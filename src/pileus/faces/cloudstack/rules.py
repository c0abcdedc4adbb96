"""Port forwarding, and the firewall: what enters by a public address, and what leaves a network."""

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.compute.records import Server
from pileus.core.errors import Invalid, NotFound
from pileus.core.listing import Page
from pileus.core.network import addresses, firewall, forwardings, opened, openings, visible
from pileus.core.network.firewall import EGRESS, INGRESS, FirewallWant
from pileus.core.network.forwardings import ForwardingChange, ForwardingWant
from pileus.core.network.records import Address, FirewallRule, Port, PortForwarding
from pileus.core.operations import Accepted
from pileus.faces.cloudstack import owners
from pileus.faces.cloudstack.commands import Call, Done, Listed, command, view
from pileus.faces.cloudstack.conflicts import conflicts
from pileus.faces.cloudstack.params import Params, TaggedListing, param
from pileus.faces.cloudstack.places import NOWHERE
from pileus.faces.cloudstack.server_view import by_id
from pileus.faces.cloudstack.targets import Target, target
from pileus.store import Condition, Record, like, literal

R = TypeVar("R", bound=Record)
ANYWHERE = "0.0.0.0/0"


class CreateForwarding(Params):
    address: UUID = param("ipaddressid", "the public address")
    protocol: str = param("protocol", "tcp or udp")
    public: int = param("publicport", "first port outside")
    public_end: int | None = param("publicendport", "last port outside", default=None)
    private: int = param("privateport", "first port of the virtual machine")
    private_end: int | None = param("privateendport", "last port of the virtual machine", default=None)
    server: UUID = param("virtualmachineid", "the virtual machine")
    network: UUID | None = param("networkid", "the network of its interface that is meant", default=None)
    inside: str = param("vmguestip", "the interface's address that is meant", default="")
    sources: tuple[str, ...] = param("cidrlist", "who may use it, with openfirewall", default=())
    open: bool | None = param(
        "openfirewall", "whether the firewall lets it in; true where the address has one", default=None
    )


class UpdateForwarding(Params):
    rule: UUID = param("id", "the rule")
    private: int | None = param("privateport", "first port of the virtual machine", default=None)
    private_end: int | None = param("privateendport", "last port of the virtual machine", default=None)
    server: UUID | None = param("virtualmachineid", "the virtual machine", default=None)
    inside: str = param("vmguestip", "the interface's address that is meant", default="")


class ListRules(TaggedListing):
    id: UUID | None = param("id", "list by id", default=None)
    address: UUID | None = param("ipaddressid", "list those of a public address", default=None)
    network: UUID | None = param("networkid", "list those of a network", default=None)


class OnRule(Params):
    rule: UUID = param("id", "the rule")


class CreateFirewall(Params):
    address: UUID = param("ipaddressid", "the public address")
    protocol: str = param("protocol", "tcp, udp, icmp or all")
    first: int | None = param("startport", "first port; all when left out", default=None)
    last: int | None = param("endport", "last port", default=None)
    sources: tuple[str, ...] = param("cidrlist", "where it may come from; anywhere when left out", default=())
    icmp_type: int | None = param("icmptype", "ICMP type; -1: all", default=None)
    icmp_code: int | None = param("icmpcode", "ICMP code; -1: all", default=None)


class CreateEgress(Params):
    network: UUID = param("networkid", "the network")
    protocol: str = param("protocol", "tcp, udp, icmp or all")
    first: int | None = param("startport", "first port; all when left out", default=None)
    last: int | None = param("endport", "last port", default=None)
    sources: tuple[str, ...] = param("cidrlist", "where it may come from; anywhere when left out", default=())
    destinations: tuple[str, ...] = param(
        "destcidrlist", "where it may go; anywhere when left out", default=()
    )
    icmp_type: int | None = param("icmptype", "ICMP type; -1: all", default=None)
    icmp_code: int | None = param("icmpcode", "ICMP code; -1: all", default=None)


async def listed(call: Call, params: ListRules, cls: type[R], column: str, equals: dict[str, Any]) -> Page[R]:
    """The page; `column` is what a keyword is looked for in."""
    where: list[Condition] = [like(column, f"%{literal(params.keyword)}%")] if params.keyword else []
    async with call.cloud.view() as look:
        if params.address is not None:
            await call.caller.find(look.rows, Address, params.address, "address.read")
        if params.network is not None:
            await visible.network(look, call.caller, params.network)
        if params.id is not None:
            await call.caller.find(look.rows, cls, params.id, "rule.read")
            equals["id"] = params.id
        found = await owners.listed(call, look, params, cls, *where, order=("created_at", "id"), **equals)
    return Page([], 0) if params.tags else found


@view(PortForwarding, "portforwardingrule", "FirewallRule")
async def shown(call: Call, look: Look, found: Sequence[PortForwarding]) -> list[dict[str, Any]]:
    outer = await by_id(look, Address, (rule.address for rule in found))
    ports = await by_id(look, Port, (rule.port for rule in found))
    servers = await by_id(look, Server, (port.device for port in ports.values()))
    rules = await by_id(look, FirewallRule, (opened.rule_of(rule.id) for rule in found))
    made: list[dict[str, Any]] = []
    for rule in found:
        port, address = ports.get(rule.port), outer.get(rule.address)
        server = servers.get(port.device) if port and port.device else None
        opening = rules.get(opened.rule_of(rule.id))
        made.append(
            {
                "id": rule.id,
                "protocol": rule.protocol,
                "publicport": str(rule.external_port),
                "publicendport": str(rule.external_port_end),
                "privateport": str(rule.inside_port),
                "privateendport": str(rule.inside_port_end),
                "ipaddressid": rule.address,
                "ipaddress": address.address if address else None,
                "virtualmachineid": server.id if server else None,
                "virtualmachinename": server.hostname if server else None,
                "virtualmachinedisplayname": server.name if server else None,
                "vmguestip": rule.inside,
                "networkid": port.network if port else None,
                "cidrlist": ",".join(opening.sources) if opening else "",
                "state": "Active",
                "fordisplay": True,
                "tags": [],
            }
        )
    return made


@command("createPortForwardingRule", params=CreateForwarding)
async def create(call: Call, params: CreateForwarding) -> Accepted:
    """Forwards ports of a public address to a virtual machine, and lets them through the firewall."""
    want = Target(
        address=params.address, server=params.server, network=params.network, inside=params.inside or None
    )
    found = await target(call, want)
    address = await addresses.show(call.cloud, call.caller, params.address)
    opening = address.guarded and params.open is not False
    if params.sources and not opening:
        raise Invalid("cidrlist goes with openfirewall, on an address that has a firewall.")
    forwarding = ForwardingWant(
        address=params.address,
        protocol=params.protocol,
        external_port=params.public,
        external_port_end=params.public_end,
        inside_port=params.private,
        inside_port_end=params.private_end or ending(params),
        port=found.port,
        inside=found.inside,
    )
    with conflicts():
        if opening:
            return await openings.create(
                call.cloud, call.caller, forwarding, sources=params.sources, command=call.name
            )
        return await forwardings.create(call.cloud, call.caller, forwarding, command=call.name)


def ending(params: CreateForwarding) -> int | None:
    """Where the private range ends when only the public one was said: after as many ports."""
    if params.public_end is None:
        return None
    return params.private + params.public_end - params.public


@command("listPortForwardingRules", params=ListRules)
async def listing(call: Call, params: ListRules) -> Listed[PortForwarding]:
    """Lists port forwarding rules."""
    equals: dict[str, Any] = {"address": params.address} if params.address else {}
    if params.network is not None:
        async with call.cloud.view() as look:
            inside = await look.list(Port, network=params.network)
        equals["port"] = tuple(port.id for port in inside) or (NOWHERE,)
    found = await listed(call, params, PortForwarding, "inside", equals)
    return Listed(found.items, found.total)


@command("updatePortForwardingRule", params=UpdateForwarding)
async def update(call: Call, params: UpdateForwarding) -> Done:
    """Changes where a port forwarding rule leads."""
    held = await forwardings.show(call.cloud, call.caller, params.rule)
    if params.private is None and params.private_end is not None:
        raise Invalid("privateendport goes with privateport; send both.")
    change = ForwardingChange()
    if params.private is not None:
        last = params.private_end or params.private + held.inside_port_end - held.inside_port
        change = ForwardingChange(inside_port=params.private, inside_port_end=last)
    if params.server is not None:
        want = Target(address=held.address, server=params.server, inside=params.inside or None)
        found = await target(call, want)
        change = ForwardingChange(
            inside_port=change.inside_port,
            inside_port_end=change.inside_port_end,
            port=found.port,
            inside=found.inside,
        )
    elif params.inside:
        change = ForwardingChange(
            inside_port=change.inside_port, inside_port_end=change.inside_port_end, inside=params.inside
        )
    with conflicts():
        return Done(record=await forwardings.update(call.cloud, call.caller, params.rule, change))


@command("deletePortForwardingRule", params=OnRule, ignored=("accountid",))
async def delete(call: Call, params: OnRule) -> Accepted:
    """Deletes a port forwarding rule, and the firewall rule that was made with it."""
    return await forwardings.delete(call.cloud, call.caller, params.rule, command=call.name)


@view(FirewallRule, "firewallrule", "FirewallRule")
async def firewall_shown(call: Call, look: Look, found: Sequence[FirewallRule]) -> list[dict[str, Any]]:
    outer = await by_id(look, Address, (rule.address for rule in found))
    made: list[dict[str, Any]] = []
    for rule in found:
        address = outer.get(rule.address) if rule.address else None
        made.append(
            {
                "id": rule.id,
                "protocol": rule.protocol,
                "startport": rule.port_min,
                "endport": rule.port_max,
                "icmptype": rule.icmp_type,
                "icmpcode": rule.icmp_code,
                "cidrlist": ",".join(rule.sources) or ANYWHERE,
                "destcidrlist": ",".join(rule.destinations) or None,
                "ipaddressid": rule.address,
                "ipaddress": address.address if address else None,
                "networkid": rule.network or (address.network if address else None),
                "traffictype": rule.direction.capitalize(),
                "state": "Active",
                "fordisplay": True,
                "tags": [],
            }
        )
    return made


@command("createFirewallRule", params=CreateFirewall, ignored=("type",))
async def create_firewall(call: Call, params: CreateFirewall) -> Accepted:
    """Lets traffic enter by a public address."""
    want = FirewallWant(
        address=params.address,
        protocol=params.protocol,
        port_min=params.first,
        port_max=params.last,
        icmp_type=params.icmp_type,
        icmp_code=params.icmp_code,
        sources=params.sources,
    )
    with conflicts():
        return await firewall.create(call.cloud, call.caller, want, command=call.name)


@command("createEgressFirewallRule", params=CreateEgress, ignored=("type",))
async def create_egress(call: Call, params: CreateEgress) -> Accepted:
    """Lets traffic leave a network whose offering denies egress."""
    want = FirewallWant(
        network=params.network,
        protocol=params.protocol,
        port_min=params.first,
        port_max=params.last,
        icmp_type=params.icmp_type,
        icmp_code=params.icmp_code,
        sources=params.sources,
        destinations=params.destinations,
    )
    with conflicts():
        return await firewall.create(call.cloud, call.caller, want, command=call.name)


@command("listFirewallRules", params=ListRules)
async def list_firewall(call: Call, params: ListRules) -> Listed[FirewallRule]:
    """Lists what may enter by public addresses."""
    equals: dict[str, Any] = {"direction": INGRESS}
    if params.address is not None:
        equals["address"] = params.address
    elif params.network is not None:
        async with call.cloud.view() as look:
            held = await look.list(Address, network=params.network)
        equals["address"] = tuple(address.id for address in held) or (NOWHERE,)
    found = await listed(call, params, FirewallRule, "protocol", equals)
    return Listed(found.items, found.total)


@command("listEgressFirewallRules", params=ListRules)
async def list_egress(call: Call, params: ListRules) -> Listed[FirewallRule]:
    """Lists what may leave networks."""
    equals: dict[str, Any] = {"direction": EGRESS}
    if params.network is not None:
        equals["network"] = params.network
    if params.address is not None:
        equals["address"] = params.address
    found = await listed(call, params, FirewallRule, "protocol", equals)
    return Listed(found.items, found.total)


async def drop(call: Call, key: UUID, direction: str) -> Accepted:
    if (await firewall.show(call.cloud, call.caller, key)).direction != direction:
        raise NotFound("FirewallRule", key)
    return await firewall.delete(call.cloud, call.caller, key, command=call.name)


@command("deleteFirewallRule", params=OnRule, ignored=("accountid",))
async def delete_firewall(call: Call, params: OnRule) -> Accepted:
    """Deletes a firewall rule of a public address."""
    return await drop(call, params.rule, INGRESS)


@command("deleteEgressFirewallRule", params=OnRule, ignored=("accountid",))
async def delete_egress(call: Call, params: OnRule) -> Accepted:
    """Deletes an egress rule of a network."""
    return await drop(call, params.rule, EGRESS)
