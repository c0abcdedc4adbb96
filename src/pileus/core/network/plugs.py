"""Ports as rows: made with MAC and addresses, and removed with all that hangs on them, whoever asks for it."""

import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.cloud import Look, Tx
from pileus.core.errors import Invalid
from pileus.core.network import allocation, opened
from pileus.core.network.changes import amend
from pileus.core.network.errors import AddressesExhausted, AddressOutside, MacTaken
from pileus.core.network.records import (
    Address,
    FixedAddress,
    Network,
    Port,
    PortForwarding,
    PortUse,
    Router,
    Subnet,
)
from pileus.core.network.sync import sync

CHARGED = frozenset({PortUse.NONE, PortUse.SERVER})
"""Ports that count against the quota: those that a project asked for. Pileus's own ports (metadata, routers',
addresses') never do, so a port that becomes a router's interface is given back."""
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
MAC_TRIES = 64


class Fixed(msgspec.Struct, frozen=True, kw_only=True):
    """An address that a port should have: of a subnet, this very one, or both."""

    subnet: UUID | None = None
    address: str | None = None


async def make(
    tx: Tx,
    network: Network,
    *,
    project: UUID,
    fixed: Sequence[Fixed] | None = None,
    mac: str | None = None,
    use: PortUse = PortUse.NONE,
    **fields: Any,
) -> tuple[Port, list[FixedAddress]]:
    """A port's row and its addresses. `fixed` None: one address of each IP version that the network has."""
    now = tx.cloud.now()
    port = Port(
        id=tx.cloud.new_id(),
        network=network.id,
        project=project,
        mac=await choose_mac(tx, network.id, mac),
        use=use,
        created_at=now,
        updated_at=now,
        **fields,
    )
    if use in CHARGED:
        await tx.charge(project, "ports", 1)
    await tx.add(port)
    return port, await address(tx, port, fixed)


async def choose_mac(tx: Tx, network: UUID, wanted: str | None = None) -> str:
    """The wanted MAC, or a free one. Raises Invalid, MacTaken."""
    if wanted is not None:
        mac = wanted.lower().replace("-", ":")
        if not MAC.fullmatch(mac) or int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
            raise Invalid(f"'{wanted}' is not a valid MAC address.")
        if await tx.one(Port, network=network, mac=mac) is not None:
            raise MacTaken(mac, network)
        return mac
    for _ in range(MAC_TRIES):
        tail = tx.cloud.new_id().bytes
        mac = "52:54:00:" + ":".join(f"{byte:02x}" for byte in tail[-3:])
        if await tx.one(Port, network=network, mac=mac) is None:
            return mac
    raise AddressesExhausted(network)


async def address(tx: Tx, port: Port, fixed: Sequence[Fixed] | None) -> list[FixedAddress]:
    """Give the port its addresses."""
    subnets = await tx.list(Subnet, network=port.network, order=("created_at", "id"))
    if fixed is None:
        return await _automatic(tx, port, subnets)
    taken = []
    for one in fixed:
        if one.address is None and one.subnet is None:
            raise Invalid("A fixed IP needs a subnet, an address, or both.")
        taken.append(await allocation.take(tx, _subnet_for(one, subnets, port.network), port.id, one.address))
    return taken


def _subnet_for(one: Fixed, subnets: Sequence[Subnet], network: UUID) -> Subnet:
    if one.subnet is not None:
        found = next((subnet for subnet in subnets if subnet.id == one.subnet), None)
        if found is None:
            raise Invalid(
                f"Failed to create port on network {network}, because fixed_ips included invalid subnet {one.subnet}."
            )
        return found
    wanted = allocation.parse(one.address or "")
    found = next((subnet for subnet in subnets if allocation.usable(wanted, subnet.cidr)), None)
    if found is None:
        raise AddressOutside(str(wanted), "any of the subnets on the specified network")
    return found


async def _automatic(tx: Tx, port: Port, subnets: Sequence[Subnet]) -> list[FixedAddress]:
    taken = []
    for version in (4, 6):
        candidates = [subnet for subnet in subnets if subnet.version == version]
        for subnet in candidates:
            try:
                taken.append(await allocation.take(tx, subnet, port.id))
                break
            except AddressesExhausted:
                continue
        else:
            if candidates:
                raise AddressesExhausted(port.network)
    return taken


async def readdress(tx: Tx, port: Port, fixed: Sequence[Fixed]) -> list[FixedAddress]:
    """Make the port's addresses the wanted ones; those that stay are not touched. What stood for a lost one lets go."""
    held = await addresses_of(tx, port.id)
    keep: list[FixedAddress] = []
    fresh: list[Fixed] = []
    for one in fixed:
        match = next((h for h in held if h not in keep and _fits(one, h)), None)
        if match is None:
            fresh.append(one)
        else:
            keep.append(match)
    lost = [h for h in held if h not in keep]
    for gone in lost:
        await allocation.give_back(tx, gone)
    if lost:
        await let_addresses_go(tx, port, {gone.address for gone in lost})
    return keep + await address(tx, port, fresh) if fresh else keep


def _fits(one: Fixed, held: FixedAddress) -> bool:
    if one.address is not None:
        return held.address == str(allocation.parse(one.address)) and one.subnet in (None, held.subnet)
    return held.subnet == one.subnet


async def addresses_of(look: Look, port: UUID) -> list[FixedAddress]:
    return await look.list(FixedAddress, port=port, order=("subnet", "address"))


async def drop(tx: Tx, port: Port) -> None:
    """Remove the port, its addresses and what points at it; the platform's side is the caller's to start."""
    await let_addresses_go(tx, port, None)
    for held in await addresses_of(tx, port.id):
        await allocation.give_back(tx, held)
    if port.use in CHARGED:
        await tx.charge(port.project, "ports", -1)
    await tx.remove(port)


async def let_addresses_go(tx: Tx, port: Port, inside: set[str] | None) -> None:
    """End what external addresses do for the port (for these inside addresses of it), and start the routers' syncs."""
    routers: set[UUID] = set()
    for outer in await tx.list(Address, port=port.id):
        if inside is None or outer.fixed in inside:
            routers |= {outer.router} if outer.router else set()
            router = outer.router if outer.network else None
            await amend(tx, outer, port=None, fixed=None, router=router)
    for forwarding in await tx.list(PortForwarding, port=port.id):
        if inside is None or forwarding.inside in inside:
            await opened.drop(tx, forwarding)
            carrier = await tx.maybe(Address, forwarding.address)
            routers |= {carrier.router} if carrier and carrier.router else set()
    for router_id in sorted(routers):
        router_row = await tx.maybe(Router, router_id)
        if router_row is not None:
            await sync(tx, router_row)
