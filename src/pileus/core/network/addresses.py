"""External addresses of projects: acquired, put before a port (floating IP, static NAT), and released."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Invalid
from pileus.core.network import allocation, interfaces, plugs, removal, visible
from pileus.core.network.changes import amend, given, unchanged_since
from pileus.core.network.errors import (
    AddressAssociated,
    AddressesExhausted,
    AddressInUse,
    NotExternal,
    SourceNat,
    Unroutable,
)
from pileus.core.network.plugs import Fixed
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
from pileus.core.network.routers import NOBODY
from pileus.core.network.sync import Touched, sync
from pileus.core.operations import Accepted, Operation


class AddressWant(msgspec.Struct, frozen=True, kw_only=True):
    """`guarded`: nothing enters until a firewall rule permits it. `network`: the isolated one it is for."""

    external: UUID
    project: UUID | None = None
    subnet: UUID | None = None
    address: str | None = None
    port: UUID | None = None
    fixed: str | None = None
    network: UUID | None = None
    guarded: bool = False
    description: str = ""
    tags: tuple[str, ...] = ()


class AddressChange(msgspec.Struct, frozen=True, kw_only=True):
    """`port` None: let it go; `fixed` UNSET or None: the port's only address."""

    port: UUID | UnsetType | None = UNSET
    fixed: str | UnsetType | None = UNSET
    description: str | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET


async def create(cloud: Cloud, caller: Caller, want: AddressWant) -> Address:
    """Acquire an address; with a port, put it before that port at once."""
    async with cloud.transaction(caller) as tx:
        address = await create_in(tx, caller, want)
        if address.router:
            await sync(tx, address, _routers(address))
        return address


async def acquire(
    cloud: Cloud,
    caller: Caller,
    *,
    network: UUID | None = None,
    external: UUID | None = None,
    wanted: str | None = None,
    guarded: bool = True,
    project: UUID | None = None,
    command: str = "",
) -> Accepted:
    """An address for an isolated network (of its own external network), or a free one of an external network."""
    async with cloud.transaction(caller) as tx:
        if network is not None:
            inside = await visible.owned_network(tx, caller, network, "address.create")
            router = await tx.maybe(Router, inside.router) if inside.router else None
            if router is None or router.external is None:
                raise Invalid(f"Network {network} has no way out; give its router a gateway first.")
            external, project = router.external, inside.project
        if external is None:
            raise Invalid("Name the network or the external network that the address is for.")
        want = AddressWant(
            external=external, network=network, address=wanted, guarded=guarded, project=project
        )
        address = await create_in(tx, caller, want)
        return Accepted(address, await _sync(tx, address, command))


async def create_in(tx: Tx, caller: Caller, want: AddressWant) -> Address:
    """The rows; the caller starts the sync."""
    project = want.project or caller.home
    caller.require("address.create", project=project)
    external = await visible.network(tx, caller, want.external)
    if not external.external:
        raise NotExternal(external.id)
    await tx.charge(project, "addresses", 1)
    key = tx.cloud.new_id()
    holder, held = await _hold(tx, external, key, want)
    network = await tx.get(Network, want.network) if want.network else None
    now = tx.cloud.now()
    address = await tx.add(
        Address(
            id=key,
            project=project,
            external=external.id,
            address=held.address,
            subnet=held.subnet,
            holder=holder.id,
            router=network.router if network else None,
            network=want.network,
            guarded=want.guarded,
            description=want.description,
            tags=want.tags,
            created_at=now,
            updated_at=now,
        )
    )
    return await associate(tx, caller, address, want.port, want.fixed) if want.port else address


async def _hold(tx: Tx, external: Network, key: UUID, want: AddressWant) -> tuple[Port, FixedAddress]:
    """The port that keeps the address taken."""
    holder, _ = await plugs.make(
        tx, external, project=NOBODY, fixed=(), use=PortUse.ADDRESS, device=key, port_security=False
    )
    if want.address is not None or want.subnet is not None:
        held = await plugs.address(tx, holder, (Fixed(subnet=want.subnet, address=want.address),))
        return holder, held[0]
    for subnet in await tx.list(Subnet, network=external.id, version=4, order=("created_at", "id")):
        if await allocation.has_free(tx, subnet):
            return holder, await allocation.take(tx, subnet, holder.id)
    raise AddressesExhausted(external.id)


async def associate(tx: Tx, caller: Caller, address: Address, port_id: UUID, fixed: str | None) -> Address:
    """Put the address before a port's address. Raises Unroutable, AddressAssociated, AddressInUse, SourceNat."""
    if address.source_nat:
        raise SourceNat(f"Address {address.address} is the source NAT of network {address.network}.")
    if await tx.one(PortForwarding, address=address.id) is not None:
        raise AddressInUse(
            f"Floating IP {address.id} has port forwardings; remove them before it is associated with a port."
        )
    port = await caller.find(tx.rows, Port, port_id, "port.read")
    if port.project != address.project and not caller.admin:
        raise Invalid(f"Port {port.id} is associated with a different tenant than Floating IP {address.id}.")
    inside = await inside_address(tx, port, fixed)
    for other in await tx.list(Address, port=port.id, external=address.external):
        if other.id != address.id and other.fixed == inside.address:
            raise AddressAssociated(address.address, port.id, inside.address)
    router = await interfaces.leading_to(tx, inside.subnet, address.external)
    if router is None:
        raise Unroutable(inside.subnet, address.external, port.id)
    return await amend(tx, address, port=port.id, fixed=inside.address, router=router.id)


async def inside_address(look: Look, port: Port, fixed: str | None) -> FixedAddress:
    """The IPv4 address of the port that is meant."""
    held = [one for one in await plugs.addresses_of(look, port.id) if ":" not in one.address]
    if fixed is not None:
        found = next((one for one in held if one.address == str(allocation.parse(fixed))), None)
        if found is None:
            raise Invalid(f"Port {port.id} does not have fixed ip {fixed}.")
        return found
    if not held:
        raise Invalid(f"Cannot add floating IP to port {port.id} that has no fixed IPv4 addresses.")
    if len(held) > 1:
        raise Invalid(
            f"Port {port.id} has multiple fixed IPv4 addresses. "
            "Must provide a specific IPv4 address when assigning a floating IP."
        )
    return held[0]


async def disassociate(tx: Tx, address: Address) -> Address:
    """It stands for nothing; one of an isolated network stays at that network's router."""
    return await amend(tx, address, port=None, fixed=None, router=address.router if address.network else None)


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Address:
    async with cloud.view() as look:
        return await caller.find(look.rows, Address, key, "address.read")


async def list_(cloud: Cloud, caller: Caller, **equals: Any) -> list[Address]:
    async with cloud.view() as look:
        return await look.list(Address, **visible.projects(caller, equals), order=("created_at", "id"))


async def forwardings_of(look: Look, addresses: Sequence[Address]) -> dict[UUID, list[PortForwarding]]:
    found: dict[UUID, list[PortForwarding]] = {address.id: [] for address in addresses}
    for forwarding in await look.list(PortForwarding, address=tuple(found), order=("created_at", "id")):
        found[forwarding.address].append(forwarding)
    return found


async def update(
    cloud: Cloud, caller: Caller, key: UUID, change: AddressChange, *, revision: int | None = None
) -> Address:
    async with cloud.transaction(caller) as tx:
        address = await caller.find(tx.rows, Address, key, "address.update")
        unchanged_since(address, revision)
        before = address
        changes = given(change)
        port, fixed = changes.pop("port", UNSET), changes.pop("fixed", None)
        if port is UNSET and fixed is not None:
            port = address.port
        if port is None:
            address = await disassociate(tx, address)
        elif port is not UNSET:
            address = await associate(tx, caller, address, port, fixed)
        address = await amend(tx, address, **changes)
        if (address.port, address.fixed) != (before.port, before.fixed):
            await sync(tx, address, _routers(before, address))
        return address


async def enable_static_nat(
    cloud: Cloud, caller: Caller, key: UUID, port: UUID, *, fixed: str | None = None, command: str = ""
) -> Accepted:
    """Put the address before the port; a guarded one lets in what its firewall rules permit."""
    async with cloud.transaction(caller) as tx:
        address = await caller.find(tx.rows, Address, key, "address.update")
        if address.port is not None and address.port != port:
            raise AddressInUse(
                f"Address {address.address} stands for port {address.port} already; disable that first."
            )
        address = await associate(tx, caller, address, port, fixed)
        return Accepted(address, await _sync(tx, address, command))


async def disable_static_nat(cloud: Cloud, caller: Caller, key: UUID, *, command: str = "") -> Accepted:
    async with cloud.transaction(caller) as tx:
        before = await caller.find(tx.rows, Address, key, "address.update")
        address = await disassociate(tx, before)
        return Accepted(address, await _sync(tx, address, command, before))


async def release(
    cloud: Cloud, caller: Caller, key: UUID, *, revision: int | None = None, command: str = ""
) -> Accepted:
    """Give the address back with its forwardings and firewall rules. Raises SourceNat."""
    async with cloud.transaction(caller) as tx:
        address = await caller.find(tx.rows, Address, key, "address.delete")
        unchanged_since(address, revision)
        if address.source_nat:
            raise SourceNat(
                f"Address {address.address} is the source NAT of network {address.network}; it goes with the network."
            )
        await removal.forget_address(tx, address)
        return Accepted(address, await _sync(tx, address, command))


def _routers(*addresses: Address) -> Touched:
    return Touched(routers=tuple(sorted({address.router for address in addresses if address.router})))


async def _sync(tx: Tx, address: Address, command: str, before: Address | None = None) -> Operation:
    """An operation of its own, for callers that follow it."""
    touched = _routers(address, before or address)
    return await sync(tx, address, touched, key=address.router or address.id, command=command, own=True)
