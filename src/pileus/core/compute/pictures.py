"""Servers with all that is shown beside them, read for many at once: a face renders, and asks nothing more."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from pileus.core.block.records import Volume
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.compute import host_groups, server_groups
from pileus.core.compute.records import Host, Server, ServerGroup, Size, Zone
from pileus.core.facets import Facet
from pileus.core.network import ports
from pileus.core.network.records import Address, FixedAddress, Network, Port, PortUse, SecurityGroup
from pileus.store import Record

R = TypeVar("R", bound=Record)
CHUNK = 500


class Interface(msgspec.Struct, frozen=True, kw_only=True):
    """`outer`: external addresses that stand for the port, with the inside address each stands for."""

    port: Port
    network: Network | None
    addresses: list[FixedAddress]
    outer: list[Address]


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    server: Server
    size: Size | None
    host: Host | None
    zone: Zone | None
    """Where it runs, or shall run."""
    pinned: Zone | None
    """The zone that was asked for."""
    zone_name: str = ""
    """Where it runs as it is shown: the part of the zone that a host group makes, if there is one."""
    server_groups: list[ServerGroup] = []
    interfaces: list[Interface]
    volumes: list[Volume]
    groups: list[SecurityGroup]
    facet: dict[str, Any]


async def show(cloud: Cloud, caller: Caller, key: UUID, *, face: str = "") -> Picture:
    async with cloud.view() as look:
        server = await caller.find(look.rows, Server, key, "server.read")
        return (await pictures(look, [server], face=face))[0]


async def several(cloud: Cloud, servers: Sequence[Server], *, face: str = "") -> list[Picture]:
    """Of servers that the caller was given already."""
    async with cloud.view() as look:
        return await pictures(look, servers, face=face)


async def pictures(look: Look, servers: Sequence[Server], *, face: str = "") -> list[Picture]:
    if not servers:
        return []
    keys = [server.id for server in servers]
    sizes = await by_id(look, Size, {server.size for server in servers})
    hosts = await by_id(look, Host, {server.host for server in servers if server.host})
    zoned = {server.zone for server in servers if server.zone} | {host.zone for host in hosts.values()}
    zones = await by_id(look, Zone, zoned)
    parts = await host_groups.zone_names(look, list(hosts.values()))
    joined = await server_groups.of_servers(look, keys)
    interfaces = await _interfaces(look, keys)
    groups = await by_id(
        look,
        SecurityGroup,
        {group for many in interfaces.values() for one in many for group in one.port.groups},
    )
    volumes: defaultdict[UUID, list[Volume]] = defaultdict(list)
    for volume in await among(look, Volume, "server", keys):
        if volume.server is not None:
            volumes[volume.server].append(volume)
    facets = (
        {facet.subject: facet.values for facet in await among(look, Facet, "subject", keys, face=face)}
        if face
        else {}
    )
    made = []
    for server in servers:
        host = hosts.get(server.host) if server.host else None
        pinned = zones.get(server.zone) if server.zone else None
        own = interfaces[server.id]
        named = dict.fromkeys(group for interface in own for group in interface.port.groups)
        zone = zones.get(host.zone) if host else pinned
        made.append(
            Picture(
                server=server,
                size=sizes.get(server.size),
                host=host,
                zone=zone,
                pinned=pinned,
                zone_name=shown_zone(pinned, zone, parts.get(host.id, "") if host else ""),
                server_groups=joined[server.id],
                interfaces=own,
                volumes=sorted(volumes[server.id], key=lambda volume: (not volume.root, volume.device)),
                groups=[groups[group] for group in named if group in groups],
                facet=facets.get(server.id, {}),
            )
        )
    return made


def shown_zone(pinned: Zone | None, zone: Zone | None, part: str) -> str:
    """A zone that was asked for by name is where the server is, whatever parts the zone has."""
    if pinned is not None or not part:
        return zone.name if zone else ""
    return part


async def _interfaces(look: Look, servers: Sequence[UUID]) -> defaultdict[UUID, list[Interface]]:
    held = await among(look, Port, "device", servers, use=PortUse.SERVER)
    held.sort(key=lambda port: (port.position, port.created_at))
    networks = await by_id(look, Network, {port.network for port in held})
    outer: defaultdict[UUID, list[Address]] = defaultdict(list)
    for address in await among(look, Address, "port", [port.id for port in held]):
        if address.port is not None:
            outer[address.port].append(address)
    found: defaultdict[UUID, list[Interface]] = defaultdict(list)
    for port, addresses in await ports.addressed(look, held):
        if port.device is not None:
            network = networks.get(port.network)
            found[port.device].append(
                Interface(port=port, network=network, addresses=addresses, outer=outer[port.id])
            )
    return found


async def by_id(look: Look, cls: type[R], keys: Iterable[UUID]) -> dict[UUID, R]:
    return {row.id: row for row in await among(look, cls, "id", list(keys))}  # type: ignore[attr-defined]


async def among(look: Look, cls: type[R], column: str, values: Sequence[UUID], **equals: Any) -> list[R]:
    """The rows whose column is one of many values, in bounded statements."""
    found: list[R] = []
    for start in range(0, len(values), CHUNK):
        found += await look.list(cls, **{column: tuple(values[start : start + CHUNK])}, **equals)
    return found
