"""Subnets: the addresses of a network, what may be handed out of them, and what DHCP tells."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import pairwise
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Invalid
from pileus.core.network import allocation, metadata, plugs, visible
from pileus.core.network.changes import amend, given, unchanged_since
from pileus.core.network.errors import (
    GatewayInPool,
    GatewayInUse,
    PoolMalformed,
    PoolOutside,
    PoolsOverlap,
    SubnetInUse,
)
from pileus.core.network.records import FixedAddress, Network, Port, PortUse, Subnet
from pileus.core.network.sync import Touched, sync

Net = IPv4Network | IPv6Network
Pools = tuple[tuple[str, str], ...]


class SubnetWant(msgspec.Struct, frozen=True, kw_only=True):
    """`gateway` UNSET: the first address; None: no way out. `pools` None: all but the gateway."""

    network: UUID
    cidr: str
    version: int = 4
    name: str = ""
    description: str = ""
    project: UUID | None = None
    gateway: str | UnsetType | None = UNSET
    pools: Pools | None = None
    dhcp: bool = True
    dns_servers: tuple[str, ...] = ()
    routes: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = ()


class SubnetChange(msgspec.Struct, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    gateway: str | UnsetType | None = UNSET
    pools: Pools | UnsetType = UNSET
    dhcp: bool | UnsetType = UNSET
    dns_servers: tuple[str, ...] | UnsetType = UNSET
    routes: tuple[tuple[str, str], ...] | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET


async def create(cloud: Cloud, caller: Caller, want: SubnetWant) -> Subnet:
    return (await create_all(cloud, caller, (want,)))[0]


async def create_all(cloud: Cloud, caller: Caller, wants: Sequence[SubnetWant]) -> list[Subnet]:
    """All or none."""
    async with cloud.transaction(caller) as tx:
        made = []
        for want in wants:
            subnet = await create_in(tx, caller, want)
            await sync(tx, await tx.get(Network, subnet.network))
            made.append(subnet)
        return made


async def create_in(tx: Tx, caller: Caller, want: SubnetWant) -> Subnet:
    """The row and the network's metadata port; the caller starts the network's sync."""
    network = await visible.owned_network(tx, caller, want.network, "subnet.create")
    cidr = checked_cidr(want.cidr, want.version)
    for other in await tx.list(Subnet, network=network.id):
        theirs = ip_network(other.cidr)
        if theirs.version == cidr.version and cidr.overlaps(theirs):
            raise Invalid(
                f"Requested subnet with cidr: {cidr} for network: {network.id} overlaps with another subnet "
                f"({other.id}, {theirs}); choose a cidr outside of it."
            )
    gateway = checked_gateway(first_host(cidr) if want.gateway is UNSET else want.gateway, cidr)
    pools = default_pools(cidr, gateway) if want.pools is None else checked_pools(want.pools, cidr, gateway)
    project = want.project or network.project
    await tx.charge(project, "subnets", 1)
    now = tx.cloud.now()
    subnet = await tx.add(
        Subnet(
            id=tx.cloud.new_id(),
            network=network.id,
            project=project,
            name=want.name,
            description=want.description,
            version=cidr.version,
            cidr=str(cidr),
            gateway=gateway,
            pools=pools,
            dhcp=want.dhcp,
            dns_servers=checked_servers(want.dns_servers),
            routes=checked_routes(want.routes),
            tags=want.tags,
            created_at=now,
            updated_at=now,
        )
    )
    await metadata.settle(tx, network.id)
    return subnet


def checked_cidr(text: str, version: int) -> Net:
    """Raises Invalid for what is no network, has host bits set, or is of the other IP version."""
    try:
        net = ip_network(text)
    except ValueError:
        try:
            advice = f", '{ip_network(text, strict=False)}' is recommended"
        except ValueError:
            advice = ""
        raise Invalid(f"'{text}' isn't a recognized IP subnet cidr{advice}.") from None
    if net.version != version:
        raise Invalid(f"The cidr {net} does not match the ip_version '{version}'.")
    if net.prefixlen == 0 or net.is_multicast:
        raise Invalid(f"The cidr {net} cannot be a subnet; take a smaller one that is unicast.")
    return net


def first_host(cidr: Net) -> str:
    lone = cidr.prefixlen >= cidr.max_prefixlen - 1
    return str(cidr.network_address if lone else cidr.network_address + 1)


def checked_gateway(text: str | None, cidr: Net) -> str | None:
    if text is None:
        return None
    gateway = allocation.parse(text)
    if gateway not in cidr or not (allocation.usable(gateway, str(cidr)) or cidr.version == 6):
        raise Invalid(f"Gateway is not valid on subnet: {gateway} is no host address of {cidr}.")
    return str(gateway)


def default_pools(cidr: Net, gateway: str | None) -> Pools:
    """Every host address but the gateway's."""
    lone = cidr.prefixlen >= cidr.max_prefixlen - 1
    low = int(cidr.network_address) + (0 if lone else 1)
    high = int(cidr.broadcast_address) - (1 if cidr.version == 4 and not lone else 0)
    make = type(cidr.network_address)
    if gateway is None:
        spans = [(low, high)]
    else:
        middle = int(ip_address(gateway))
        spans = [(low, min(middle - 1, high)), (max(middle + 1, low), high)]
    return tuple((str(make(first)), str(make(last))) for first, last in spans if first <= last)


def checked_pools(pools: Pools, cidr: Net, gateway: str | None) -> Pools:
    """In order. Raises PoolMalformed, PoolOutside, PoolsOverlap, GatewayInPool."""
    spans: list[tuple[int, int, str]] = []
    for start, end in pools:
        first, last = allocation.parse(start), allocation.parse(end)
        pool = f"{first}-{last}"
        if first.version != cidr.version or last.version != cidr.version or int(first) > int(last):
            raise PoolMalformed(pool)
        if not (allocation.usable(first, str(cidr)) and allocation.usable(last, str(cidr))):
            raise PoolOutside(pool, str(cidr))
        if gateway is not None and int(first) <= int(ip_address(gateway)) <= int(last):
            raise GatewayInPool(gateway, pool)
        spans.append((int(first), int(last), pool))
    spans.sort()
    for (_, last_number, one), (next_number, _, other) in pairwise(spans):
        if next_number <= last_number:
            raise PoolsOverlap(str(cidr), one, other)
    return tuple((pool.split("-")[0], pool.split("-")[1]) for _, _, pool in spans)


def checked_servers(servers: tuple[str, ...]) -> tuple[str, ...]:
    parsed = tuple(str(allocation.parse(server)) for server in servers)
    if len(set(parsed)) != len(parsed):
        raise Invalid("Duplicate nameserver.")
    return parsed


def checked_routes(routes: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Raises Invalid for a destination that is no cidr or a next hop that is no address of the same version."""
    checked = []
    for destination, hop in routes:
        try:
            net = ip_network(destination)
        except ValueError:
            raise Invalid(f"'{destination}' isn't a recognized IP subnet cidr.") from None
        if net.version != allocation.parse(hop).version:
            raise Invalid(f"The route to {net} and its next hop {hop} differ in IP version.")
        checked.append((str(net), str(allocation.parse(hop))))
    if len(set(checked)) != len(checked):
        raise Invalid("Duplicate host route.")
    return tuple(checked)


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Subnet:
    async with cloud.view() as look:
        return await visible.subnet(look, caller, key)


async def list_(cloud: Cloud, caller: Caller, **equals: Any) -> list[Subnet]:
    """The subnets of the caller's networks and of shared ones, in order of making."""
    order = ("created_at", "id")
    async with cloud.view() as look:
        if caller.admin:
            return await look.list(Subnet, **equals, order=order)
        networks = await visible.networks(look, caller)
        seen = {network.id for network in networks if visible.inside(caller, network)}
        asked = equals.pop("network", None)
        named = {asked} if isinstance(asked, UUID) else set(asked or seen)
        return await look.list(Subnet, **equals, network=tuple(named & seen), order=order)


async def _own(tx: Tx, caller: Caller, key: UUID, verb: str) -> Subnet:
    subnet = await visible.subnet(tx, caller, key)
    caller.require(verb, project=subnet.project)
    return subnet


async def update(
    cloud: Cloud, caller: Caller, key: UUID, change: SubnetChange, *, revision: int | None = None
) -> Subnet:
    async with cloud.transaction(caller) as tx:
        subnet = await _own(tx, caller, key, "subnet.update")
        unchanged_since(subnet, revision)
        changes = given(change)
        cidr = ip_network(subnet.cidr)
        gateway = subnet.gateway
        if change.gateway is not UNSET:
            gateway = changes["gateway"] = checked_gateway(change.gateway, cidr)
            if gateway != subnet.gateway:
                await _check_gateway_free(tx, subnet)
        if change.pools is not UNSET or change.gateway is not UNSET:
            pools = subnet.pools if change.pools is UNSET else change.pools
            changes["pools"] = checked_pools(pools, cidr, gateway)
        if change.dns_servers is not UNSET:
            changes["dns_servers"] = checked_servers(change.dns_servers)
        if change.routes is not UNSET:
            changes["routes"] = checked_routes(change.routes)
        changed = await amend(tx, subnet, **changes)
        if changed.pools != subnet.pools:
            await allocation.rewind(tx, subnet.id)
        await sync(tx, await metadata.settle(tx, subnet.network), await _routers_of(tx, subnet))
        return changed


async def _routers_of(look: Look, subnet: Subnet) -> Touched:
    """The routers whose way out is on this subnet: they read its gateway."""
    gateways = await look.list(Port, network=subnet.network, use=PortUse.ROUTER_GATEWAY)
    return Touched(routers=tuple(sorted({port.device for port in gateways if port.device})))


async def _check_gateway_free(tx: Tx, subnet: Subnet) -> None:
    held = await tx.maybe(FixedAddress, subnet.id, subnet.gateway) if subnet.gateway else None
    port = await tx.maybe(Port, held.port) if held else None
    if port is not None and port.use is PortUse.ROUTER_INTERFACE and subnet.gateway:
        raise GatewayInUse(subnet.gateway, port.id)


async def delete(cloud: Cloud, caller: Caller, key: UUID, *, revision: int | None = None) -> None:
    async with cloud.transaction(caller) as tx:
        subnet = await _own(tx, caller, key, "subnet.delete")
        unchanged_since(subnet, revision)
        for held in await tx.list(FixedAddress, subnet=subnet.id):
            port = await tx.maybe(Port, held.port)
            if port is None:  # nobody could release it
                await allocation.give_back(tx, held)
                continue
            if port.use is not PortUse.METADATA:
                raise SubnetInUse(
                    subnet.id,
                    f"One or more ports have an IP allocation from this subnet (port {port.id} has "
                    f"{held.address}); delete them first",
                )
            await plugs.drop(tx, port)
        await allocation.rewind(tx, subnet.id)
        await tx.charge(subnet.project, "subnets", -1)
        await tx.remove(subnet)
        await sync(tx, await metadata.settle(tx, subnet.network))
