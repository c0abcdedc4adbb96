"""Networks: layer 2, and what its subnets are part of."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core import icons
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Invalid
from pileus.core.network import allocation, plugs, visible
from pileus.core.network.changes import amend, given, unchanged_since
from pileus.core.network.errors import NetworkInUse
from pileus.core.network.records import Address, Network, NetworkKind, Port, PortUse, Router, Subnet
from pileus.core.network.sync import sync

NAMED = 10
"""Ports that an error names."""
OVERLAY_MTU, PHYSICAL_MTU, LEAST_MTU = 1442, 1500, 68

WithSubnets = tuple[Network, list[UUID]]
"""A network and the ids of its subnets."""


class NetworkWant(msgspec.Struct, frozen=True, kw_only=True):
    """`mtu` 0: the largest that fits."""

    name: str = ""
    description: str = ""
    project: UUID | None = None
    kind: NetworkKind = NetworkKind.TENANT
    enabled: bool = True
    shared: bool = False
    external: bool = False
    default: bool = False
    physical: str = ""
    vlan: int = 0
    mtu: int = 0
    port_security: bool = True
    dns_domain: str = ""
    zone: UUID | None = None
    tags: tuple[str, ...] = ()


class NetworkChange(msgspec.Struct, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    shared: bool | UnsetType = UNSET
    external: bool | UnsetType = UNSET
    default: bool | UnsetType = UNSET
    mtu: int | UnsetType = UNSET
    port_security: bool | UnsetType = UNSET
    dns_domain: str | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET


async def create(cloud: Cloud, caller: Caller, want: NetworkWant) -> WithSubnets:
    return (await create_all(cloud, caller, (want,)))[0]


async def create_all(cloud: Cloud, caller: Caller, wants: Sequence[NetworkWant]) -> list[WithSubnets]:
    """All or none."""
    async with cloud.transaction(caller) as tx:
        made: list[WithSubnets] = []
        for want in wants:
            network = await create_in(tx, caller, want)
            await sync(tx, network)
            made.append((network, []))
        return made


async def create_in(tx: Tx, caller: Caller, want: NetworkWant) -> Network:
    """The row alone; the caller starts its sync."""
    project = want.project or caller.home
    caller.require("network.create", project=project)
    if want.shared or want.external or want.physical:
        caller.require_admin("network.create for others: shared, external or on a physical network")
    await tx.charge(project, "networks", 1)
    now = tx.cloud.now()
    kind = NetworkKind.EXTERNAL if want.external else want.kind
    return await tx.add(
        Network(
            id=tx.cloud.new_id(),
            project=project,
            name=want.name,
            description=want.description,
            kind=kind,
            enabled=want.enabled,
            shared=want.shared,
            external=want.external,
            default=want.default,
            physical=want.physical,
            vlan=want.vlan,
            mtu=checked_mtu(want.mtu, want.physical),
            port_security=want.port_security,
            dns_domain=want.dns_domain,
            zone=want.zone,
            tags=want.tags,
            created_at=now,
            updated_at=now,
        )
    )


def checked_mtu(mtu: int, physical: str) -> int:
    largest = PHYSICAL_MTU if physical else OVERLAY_MTU
    if mtu == 0:
        return largest
    if mtu > largest:
        raise Invalid(f"Requested MTU is too big, maximum is {largest}.")
    if mtu < LEAST_MTU:
        raise Invalid(f"Requested MTU is too small, minimum is {LEAST_MTU}.")
    return mtu


async def show(cloud: Cloud, caller: Caller, key: UUID) -> WithSubnets:
    async with cloud.view() as look:
        network = await visible.network(look, caller, key)
        return network, await subnet_ids(look, network.id)


async def list_(cloud: Cloud, caller: Caller, **equals: object) -> list[WithSubnets]:
    """The networks that the caller may see, with the ids of their subnets, in order of making."""
    async with cloud.view() as look:
        found = await visible.networks(look, caller, **equals)
        by_network: dict[UUID, list[UUID]] = {network.id: [] for network in found}
        for subnet in await look.list(Subnet, network=tuple(by_network), order=("created_at", "id")):
            by_network[subnet.network].append(subnet.id)
        return [(network, by_network[network.id]) for network in found]


async def subnet_ids(look: Look, network: UUID) -> list[UUID]:
    return [s.id for s in await look.list(Subnet, network=network, order=("created_at", "id"))]


async def update(
    cloud: Cloud, caller: Caller, key: UUID, change: NetworkChange, *, revision: int | None = None
) -> WithSubnets:
    async with cloud.transaction(caller) as tx:
        network = await visible.owned_network(tx, caller, key, "network.update")
        unchanged_since(network, revision)
        changes = given(change)
        if change.external is not UNSET and change.external != network.external:
            await _check_external(tx, caller, network)
            changes["kind"] = NetworkKind.EXTERNAL if change.external else NetworkKind.TENANT
        if change.shared is not UNSET and change.shared != network.shared:
            caller.require_admin("network.share")
            if network.shared:
                await _check_unshare(tx, network)
        if change.mtu is not UNSET:
            changes["mtu"] = checked_mtu(change.mtu, network.physical)
        network = await amend(tx, network, **changes)
        await sync(tx, network)
        return network, await subnet_ids(tx, network.id)


async def _check_external(tx: Tx, caller: Caller, network: Network) -> None:
    caller.require_admin("network.update of external")
    if not network.external:
        return
    routed = await tx.count(Router, external=network.id)
    if routed or await tx.count(Address, external=network.id):
        raise NetworkInUse(network.id, "It is the external network of routers or floating IPs")


async def _check_unshare(tx: Tx, network: Network) -> None:
    for port in await tx.list(Port, network=network.id):
        if port.project != network.project and port.use in plugs.CHARGED:
            raise NetworkInUse(network.id, "Unable to stop sharing it: other projects have ports on it")


def refuse_used(network: Network, ports: Sequence[Port]) -> None:
    if ports:
        named = ", ".join(str(port.id) for port in ports[:NAMED])
        raise NetworkInUse(
            network.id,
            f"There are one or more ports still in use on the network, id for these ports is: {named}; "
            "delete them, or what holds them, first",
        )


async def drop(tx: Tx, network: Network) -> None:
    """Remove the rows of the network, its subnets and its metadata port. Raises NetworkInUse for any other port."""
    ports = await tx.list(Port, network=network.id)
    refuse_used(network, [port for port in ports if port.use is not PortUse.METADATA])
    for port in ports:
        await plugs.drop(tx, port)
    for subnet in await tx.list(Subnet, network=network.id):
        await allocation.rewind(tx, subnet.id)
        await tx.charge(subnet.project, "subnets", -1)
        await tx.remove(subnet)
    await tx.charge(network.project, "networks", -1)
    await icons.forget(tx, network.id)
    await tx.remove(network)
