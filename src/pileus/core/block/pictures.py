"""Volumes together with what every API shows beside them: kind, zone, pool and the server that holds them."""

from collections.abc import Sequence
from uuid import UUID

from msgspec import Struct

from pileus.core.block.records import StoragePool, Volume, VolumeKind
from pileus.core.cloud import Cloud, Look
from pileus.core.compute.records import Host, Server, Zone

CHUNK = 500


class Picture(Struct, frozen=True, kw_only=True):
    volume: Volume
    kind: VolumeKind | None
    zone: Zone | None
    pool: StoragePool | None
    server: Server | None
    host: Host | None
    """Where the server that holds it runs."""


async def several(cloud: Cloud, volumes: Sequence[Volume]) -> list[Picture]:
    """Of volumes that the caller was given already."""
    if not volumes:
        return []
    async with cloud.view() as look:
        # Of these there are few in any cloud.
        kinds = {kind.id: kind for kind in await look.list(VolumeKind)}
        zones = {zone.id: zone for zone in await look.list(Zone)}
        pools = {pool.id: pool for pool in await look.list(StoragePool)}
        servers = await _servers(look, [volume.server for volume in volumes if volume.server])
        keys = tuple({server.host for server in servers.values() if server.host})
        hosts = {host.id: host for host in await look.list(Host, id=keys)} if keys else {}
    made = []
    for volume in volumes:
        server = servers.get(volume.server) if volume.server else None
        picture = Picture(
            volume=volume,
            kind=kinds.get(volume.kind),
            zone=zones.get(volume.zone) if volume.zone else None,
            pool=pools.get(volume.pool),
            server=server,
            host=hosts.get(server.host) if server and server.host else None,
        )
        made.append(picture)
    return made


async def _servers(look: Look, keys: Sequence[UUID]) -> dict[UUID, Server]:
    found: dict[UUID, Server] = {}
    for start in range(0, len(keys), CHUNK):
        found |= {
            server.id: server for server in await look.list(Server, id=tuple(keys[start : start + CHUNK]))
        }
    return found


async def of(cloud: Cloud, volume: Volume) -> Picture:
    return (await several(cloud, [volume]))[0]


async def pools(cloud: Cloud) -> list[StoragePool]:
    async with cloud.view() as look:
        return await look.list(StoragePool, order=("created_at", "id"))
