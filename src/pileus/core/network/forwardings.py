"""Port forwardings: one external port of an address, or a range, to a port's address inside."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Tx
from pileus.core.errors import Exists, Invalid, NotFound
from pileus.core.network import addresses, interfaces, opened, visible
from pileus.core.network.changes import amend, given
from pileus.core.network.errors import AddressInUse, Unroutable
from pileus.core.network.records import Address, Port, PortForwarding
from pileus.core.network.sync import Touched, sync
from pileus.core.operations import Accepted

PROTOCOLS = ("tcp", "udp")
LONGEST = 1024
"""Ports in one range: each is an entry of the platform's load balancer."""


class ForwardingExists(Exists):
    """Another forwarding of the address takes these ports, or goes to the same place."""


class ForwardingWant(msgspec.Struct, frozen=True, kw_only=True):
    """Without ends: single ports. `inside` None: the port's only IPv4 address."""

    address: UUID
    protocol: str
    external_port: int
    inside_port: int
    port: UUID
    external_port_end: int | None = None
    inside_port_end: int | None = None
    inside: str | None = None
    description: str = ""


class ForwardingChange(msgspec.Struct, frozen=True, kw_only=True):
    protocol: str | UnsetType = UNSET
    external_port: int | UnsetType = UNSET
    external_port_end: int | UnsetType = UNSET
    inside_port: int | UnsetType = UNSET
    inside_port_end: int | UnsetType = UNSET
    port: UUID | UnsetType = UNSET
    inside: str | UnsetType = UNSET
    description: str | UnsetType = UNSET


async def create(cloud: Cloud, caller: Caller, want: ForwardingWant, *, command: str = "") -> Accepted:
    async with cloud.transaction(caller) as tx:
        address = await caller.find(tx.rows, Address, want.address, "forwarding.create")
        if address.port is not None:
            raise AddressInUse(
                f"Floating IP {address.id} is associated with port {address.port}; it can have no port forwarding."
            )
        now = tx.cloud.now()
        forwarding = PortForwarding(
            id=cloud.new_id(),
            project=address.project,
            address=address.id,
            protocol=want.protocol.lower(),
            external_port=want.external_port,
            external_port_end=want.external_port_end or want.external_port,
            port=want.port,
            inside=want.inside or "",
            inside_port=want.inside_port,
            inside_port_end=want.inside_port_end or want.inside_port,
            description=want.description,
            created_at=now,
            updated_at=now,
        )
        address, forwarding = await _checked(tx, caller, address, forwarding, want.inside)
        forwarding = await tx.add(forwarding)
        return await _accepted(tx, forwarding, address, command)


async def _accepted(tx: Tx, forwarding: PortForwarding, address: Address, command: str) -> Accepted:
    touched = Touched(routers=(address.router,) if address.router else ())
    key = address.router or address.id
    return Accepted(forwarding, await sync(tx, forwarding, touched, key=key, command=command, own=True))


async def _checked(
    tx: Tx, caller: Caller, address: Address, wanted: PortForwarding, inside: str | None
) -> tuple[Address, PortForwarding]:
    """Both rows as they will be: with the inside address, and the router that leads there."""
    _check_ports(wanted)
    port = await caller.find(tx.rows, Port, wanted.port, "port.read")
    target = await addresses.inside_address(tx, port, inside)
    router = await interfaces.leading_to(tx, target.subnet, address.external)
    if router is None or (address.router is not None and router.id != address.router):
        raise Unroutable(target.subnet, address.external, port.id)
    wanted = msgspec.structs.replace(wanted, inside=target.address)
    for other in await tx.list(PortForwarding, address=address.id, protocol=wanted.protocol):
        if other.id != wanted.id and _clash(other, wanted):
            raise ForwardingExists(
                f"A duplicate port forwarding entry with same attributes already exists, conflicting values are "
                f"{wanted.protocol} {wanted.external_port} of {address.address} (port forwarding {other.id})."
            )
    return await amend(tx, address, router=router.id), wanted


def _clash(one: PortForwarding, other: PortForwarding) -> bool:
    outside = one.external_port <= other.external_port_end and other.external_port <= one.external_port_end
    inside = one.inside_port <= other.inside_port_end and other.inside_port <= one.inside_port_end
    return outside or (one.port == other.port and one.inside == other.inside and inside)


def _check_ports(wanted: PortForwarding) -> None:
    if wanted.protocol not in PROTOCOLS:
        raise Invalid(f"Protocol {wanted.protocol} cannot be forwarded; use one of {', '.join(PROTOCOLS)}.")
    outside = (wanted.external_port, wanted.external_port_end)
    inside = (wanted.inside_port, wanted.inside_port_end)
    for first, last in (outside, inside):
        if not 1 <= first <= last <= 65535:
            raise Invalid(f"Ports {first} to {last} are no range between 1 and 65535.")
    if outside[1] - outside[0] != inside[1] - inside[0]:
        raise Invalid("The external and the internal range of ports must be of equal length.")
    if outside[1] - outside[0] >= LONGEST:
        raise Invalid(f"At most {LONGEST} ports can be forwarded at once; split the range or use static NAT.")


async def show(cloud: Cloud, caller: Caller, key: UUID, *, address: UUID | None = None) -> PortForwarding:
    async with cloud.view() as look:
        found = await caller.find(look.rows, PortForwarding, key, "forwarding.read")
        return _of(found, address)


def _of(found: PortForwarding, address: UUID | None) -> PortForwarding:
    if address is not None and found.address != address:
        raise NotFound("PortForwarding", found.id)
    return found


async def list_(cloud: Cloud, caller: Caller, **equals: Any) -> list[PortForwarding]:
    async with cloud.view() as look:
        return await look.list(PortForwarding, **visible.projects(caller, equals), order=("created_at", "id"))


async def of_addresses(
    cloud: Cloud, caller: Caller, rows: Sequence[Address]
) -> dict[UUID, list[PortForwarding]]:
    """The forwardings of addresses that the caller has been shown."""
    async with cloud.view() as look:
        return await addresses.forwardings_of(look, rows)


async def update(
    cloud: Cloud, caller: Caller, key: UUID, change: ForwardingChange, *, address: UUID | None = None
) -> PortForwarding:
    async with cloud.transaction(caller) as tx:
        found = _of(await caller.find(tx.rows, PortForwarding, key, "forwarding.update"), address)
        changes = given(change)
        for end in ("external_port", "inside_port"):
            if end in changes:
                changes.setdefault(f"{end}_end", changes[end])
        wanted = msgspec.structs.replace(found, **changes)
        moved = "port" in changes and "inside" not in changes
        holder = await tx.get(Address, found.address)
        holder, wanted = await _checked(tx, caller, holder, wanted, None if moved else wanted.inside)
        wanted = await tx.put(msgspec.structs.replace(wanted, updated_at=tx.cloud.now()))
        await sync(tx, wanted, Touched(routers=(holder.router,) if holder.router else ()))
        return wanted


async def delete(
    cloud: Cloud, caller: Caller, key: UUID, *, address: UUID | None = None, command: str = ""
) -> Accepted:
    async with cloud.transaction(caller) as tx:
        found = _of(await caller.find(tx.rows, PortForwarding, key, "forwarding.delete"), address)
        await opened.drop(tx, found)
        before = await tx.get(Address, found.address)
        accepted = await _accepted(tx, found, before, command)
        if not before.network and await tx.one(PortForwarding, address=before.id) is None:
            await amend(tx, before, router=None)
        return accepted
