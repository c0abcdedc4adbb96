"""Firewall rules at a router's edge: what may enter by a guarded address, and what may leave an isolated network."""

from ipaddress import ip_network
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Tx
from pileus.core.errors import Invalid, Unsupported
from pileus.core.network import visible
from pileus.core.network.errors import RuleExists
from pileus.core.network.records import Address, FirewallRule, Network, Router
from pileus.core.network.sync import Touched, sync
from pileus.core.operations import Accepted

INGRESS, EGRESS = "ingress", "egress"
PROTOCOLS = ("tcp", "udp", "icmp", "all")


class FirewallWant(msgspec.Struct, frozen=True, kw_only=True):
    """Ingress names an address, egress a network. Without sources: from anywhere; without ports: all."""

    address: UUID | None = None
    network: UUID | None = None
    protocol: str
    port_min: int | None = None
    port_max: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None
    sources: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()


async def create(cloud: Cloud, caller: Caller, want: FirewallWant, *, command: str = "") -> Accepted:
    async with cloud.transaction(caller) as tx:
        project, router = await _place(tx, caller, want)
        rule = FirewallRule(
            id=cloud.new_id(),
            project=project,
            direction=INGRESS if want.address else EGRESS,
            address=want.address,
            network=want.network,
            protocol=_protocol(want),
            port_min=want.port_min,
            port_max=want.port_max if want.port_max is not None else want.port_min,
            icmp_type=want.icmp_type,
            icmp_code=want.icmp_code,
            sources=_cidrs(want.sources),
            destinations=_cidrs(want.destinations),
            created_at=tx.cloud.now(),
        )
        for other in await tx.list(FirewallRule, address=want.address, network=want.network):
            if msgspec.structs.replace(other, id=rule.id, created_at=rule.created_at) == rule:
                raise RuleExists(other.id)
        return await _accepted(tx, await tx.add(rule), router, command)


async def _place(tx: Tx, caller: Caller, want: FirewallWant) -> tuple[UUID, UUID | None]:
    """The project and the router of a rule."""
    if (want.address is None) == (want.network is None):
        raise Invalid("A firewall rule belongs to an address (ingress) or to a network (egress).")
    if want.address is not None:
        address = await caller.find(tx.rows, Address, want.address, "firewall_rule.create")
        if not address.guarded:
            raise Unsupported(
                f"Address {address.address} has no firewall: it was not acquired as a guarded one. Use security groups."
            )
        return address.project, address.router
    assert want.network is not None
    network = await visible.owned_network(tx, caller, want.network, "firewall_rule.create")
    router = await tx.maybe(Router, network.router) if network.router else None
    if router is None or not router.egress_default_deny:
        raise Unsupported(f"Network {network.id} lets everything out; it takes no egress rules.")
    return network.project, router.id


def _protocol(want: FirewallWant) -> str:
    protocol = want.protocol.lower()
    if protocol not in PROTOCOLS:
        raise Invalid(f"Protocol {want.protocol} is not known here; use one of {', '.join(PROTOCOLS)}.")
    if protocol in ("tcp", "udp"):
        low = want.port_min
        high = want.port_max if want.port_max is not None else low
        if low is None and high is not None:
            raise Invalid("An end port needs a start port.")
        if low is not None and high is not None and not 1 <= low <= high <= 65535:
            raise Invalid(f"Ports {low} to {high} are no range between 1 and 65535.")
    elif want.port_min is not None or want.port_max is not None:
        raise Invalid(f"Ports mean nothing with protocol {protocol}.")
    for value in (want.icmp_type, want.icmp_code):
        if value is not None and (protocol != "icmp" or not -1 <= value <= 255):
            raise Invalid(f"ICMP type and code are -1 to 255, and go with protocol icmp; got {value}.")
    return protocol


def _cidrs(texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(str(ip_network(text, strict=False)) for text in texts)
    except ValueError as error:
        raise Invalid(f"Not a CIDR: {error}.") from None


async def _accepted(tx: Tx, rule: FirewallRule, router: UUID | None, command: str) -> Accepted:
    touched = Touched(routers=(router,) if router else ())
    return Accepted(rule, await sync(tx, rule, touched, key=router or rule.id, command=command, own=True))


async def show(cloud: Cloud, caller: Caller, key: UUID) -> FirewallRule:
    async with cloud.view() as look:
        return await caller.find(look.rows, FirewallRule, key, "firewall_rule.read")


async def list_(cloud: Cloud, caller: Caller, **equals: Any) -> list[FirewallRule]:
    async with cloud.view() as look:
        return await look.list(FirewallRule, **visible.projects(caller, equals), order=("created_at", "id"))


async def delete(cloud: Cloud, caller: Caller, key: UUID, *, command: str = "") -> Accepted:
    async with cloud.transaction(caller) as tx:
        rule = await caller.find(tx.rows, FirewallRule, key, "firewall_rule.delete")
        await tx.remove(rule)
        return await _accepted(tx, rule, await _router_of(tx, rule), command)


async def _router_of(tx: Tx, rule: FirewallRule) -> UUID | None:
    if rule.address is not None:
        address = await tx.maybe(Address, rule.address)
        return address.router if address else None
    network = await tx.maybe(Network, rule.network) if rule.network else None
    return network.router if network else None
