"""The content of volumes in their pools: made, filled and removed by repeatable calls."""

import asyncio
from collections import defaultdict
from uuid import UUID

from msgspec.structs import replace

from pileus.core.block.records import Snapshot, Volume, VolumeState
from pileus.core.compute.records import Server
from pileus.core.errors import Conflict
from pileus.core.image.records import Image
from pileus.drivers.errors import Missing
from pileus.drivers.hypervisor.protocol import Disk, Hypervisor, Power
from pileus.workflows.site import Site

_BASES: defaultdict[tuple[UUID, UUID], asyncio.Lock] = defaultdict(asyncio.Lock)
"""Ten servers of one new image bring it into the pool once."""


async def ensure_base(site: Site, pool_id: UUID, image_id: UUID) -> None:
    """Bring an image's content into the pool, if it is not there."""
    pool = site.pool(pool_id)
    async with _BASES[pool_id, image_id]:
        if await pool.has_base(image_id):
            return
        async with site.cloud.view() as look:
            image = await look.get(Image, image_id)
        format = image.disk_format if image.disk_format in ("qcow2", "vmdk", "vhdx", "vdi") else "raw"
        format = "vpc" if image.disk_format in ("vhd", "vpc") else format
        await pool.make_base(image_id, await site.images.path(image_id), format)


async def ensure_content(site: Site, volume: Volume) -> None:
    """Make the volume's disk from what its record names."""
    pool = site.pool(volume.pool)
    if volume.source_snapshot is not None:
        async with site.cloud.view() as look:
            snapshot = await look.get(Snapshot, volume.source_snapshot)
        await pool.create_from_snapshot(volume.id, snapshot.volume, snapshot.id, volume.size_gib)
    elif volume.source_volume is not None:
        await pool.create_from_volume(volume.id, volume.source_volume, volume.size_gib)
    elif volume.image is not None:
        await ensure_base(site, volume.pool, volume.image)
        await pool.create_from_base(volume.id, volume.image, volume.size_gib)
    else:
        await pool.create(volume.id, volume.size_gib)


async def remove_content(site: Site, volume: Volume) -> None:
    """Delete the volume's disk, and the base under it when nobody needs it any more."""
    await site.pool(volume.pool).delete(volume.id)
    if volume.image is not None:
        await drop_base(site, volume.pool, volume.image, besides=volume.id)


async def drop_base(site: Site, pool: UUID, image: UUID, *, besides: UUID | None = None) -> None:
    """Delete a base whose image is gone and on which no volume (but `besides`) lies."""
    async with _BASES[pool, image]:
        async with site.cloud.view() as look:
            if await look.maybe(Image, image) is not None:
                return
            users = [v for v in await look.list(Volume, image=image, pool=pool) if v.id != besides]
        if not users:
            await site.pool(pool).delete_base(image)


async def disk_of(site: Site, volume: Volume) -> Disk:
    """The volume as a guest's disk. Raises Missing when its pool does not have it."""
    where = await site.pool(volume.pool).open(volume.id)
    return Disk(
        volume=volume.id, path=where.path, format=where.format, device=volume.device, boot=volume.root
    )


async def holder(site: Site, volume: Volume) -> tuple[Hypervisor, UUID] | None:
    """The hypervisor and guest that have the volume's file open now, if any."""
    if volume.server is None:
        return None
    async with site.cloud.view() as look:
        server = await look.maybe(Server, volume.server)
    if server is None or server.host is None:
        return None
    hypervisor = site.hypervisor(server.host)
    power = await hypervisor.power(server.id)
    if power in (Power.ON, Power.PAUSED):
        return hypervisor, server.id
    if power is Power.SUSPENDED:
        # Its saved memory believes in the disk as it is.
        raise Conflict(f"Server {server.id} is suspended; resume or stop it first.")
    return None


async def grow(site: Site, volume: Volume, size_gib: int) -> None:
    """Through the running guest when one has it open, else in the pool."""
    held = await holder(site, volume)
    if held:
        await held[0].resize_disk(held[1], volume.id, size_gib)
    else:
        await site.pool(volume.pool).extend(volume.id, size_gib)


async def make_snapshot(site: Site, volume: Volume, snapshot: UUID) -> None:
    held = await holder(site, volume)
    if held:
        await held[0].snapshot_disk(held[1], volume.id, snapshot)
    else:
        await site.pool(volume.pool).snapshot(volume.id, snapshot)


async def remove_snapshot(site: Site, volume: Volume, snapshot: UUID) -> None:
    held = await holder(site, volume)
    if held:
        await held[0].delete_disk_snapshot(held[1], volume.id, snapshot)
        return
    try:
        await site.pool(volume.pool).delete_snapshot(volume.id, snapshot)
    except Missing:
        return


def in_error(volume: Volume, fault: str) -> Volume:
    return replace(volume, state=VolumeState.ERROR, operation=None, fault=fault)
