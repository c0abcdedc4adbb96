"""The content of volumes in their pools: made, filled and removed by repeatable calls."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from msgspec.structs import replace

from pileus.core.block.records import Snapshot, Volume, VolumeState
from pileus.core.block.volumes import is_read_only
from pileus.core.compute.records import Server
from pileus.core.errors import Conflict
from pileus.core.image.records import Image
from pileus.core.operations import Operation, Outcome
from pileus.drivers.errors import Missing, Refused
from pileus.drivers.hypervisor.protocol import Disk, Hypervisor, Power
from pileus.workflows.engine import Wait
from pileus.workflows.site import Site

AWAY = 3600.0
"""Seconds that a delete waits for a platform that is away; only then it fails, to be asked for again."""
COPYING, LONGEST_COPY = 0.5, 30 * 86400.0
"""Seconds between looks at whether copies have ended, and in all."""
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


async def copies(site: Site, volume: UUID, snapshots: Sequence[UUID]) -> Wait | None:
    """Volumes that are being made from this one, or from these snapshots, end first. No new ones begin while their
    source is being deleted, and each of them was asked for before, so nobody waits for ever or in a circle."""
    async with site.cloud.view() as look:
        made = await look.list(Volume, source_volume=volume, state=VolumeState.CREATING)
        made += await look.list(Volume, source_snapshot=tuple(snapshots), state=VolumeState.CREATING)
        keys = tuple(copy.operation for copy in made if copy.operation)
        # One whose undo does not succeed (flagged) is no reason to wait: nothing is read any more.
        live = await look.count(Operation, id=keys, outcome=(Outcome.RUNNING, Outcome.UNWINDING))
    return Wait(COPYING, f"a volume is being made from it: {made[0].id}") if live else None


async def sweep_bases(site: Site) -> list[UUID]:
    """Delete what no image and no volume explains any more: two last users that leave at once each see the other.
    The bases' images that went."""
    swept = []
    for pool_id, pool in tuple(site.pools.items()):
        for base in sorted(await pool.bases()):
            await drop_base(site, pool_id, base)
            if not await pool.has_base(base):
                swept.append(base)
    return swept


async def sweep_retained(site: Site) -> list[UUID]:
    """Delete volumes that were kept for snapshots of which none is left: the last one went at the very moment of the
    keeping. The volumes' ids."""
    async with site.cloud.view() as look:
        kept = await look.list(Volume, state=VolumeState.RETAINED)
        needed = {snapshot.volume for snapshot in await look.list(Snapshot, volume=tuple(v.id for v in kept))}
    swept = [volume for volume in kept if volume.id not in needed]
    for volume in swept:
        await site.pool(volume.pool).delete(volume.id)
        async with site.cloud.transaction() as tx:
            await tx.remove(volume)
        if volume.image is not None:
            await drop_base(site, volume.pool, volume.image)
    return [volume.id for volume in swept]


async def disk_of(site: Site, volume: Volume) -> Disk:
    """The volume as a guest's disk. Raises Missing when its pool does not have it."""
    where = await site.pool(volume.pool).open(volume.id)
    return Disk(
        volume=volume.id,
        path=where.path,
        format=where.format,
        device=volume.device,
        boot=volume.root,
        read_only=is_read_only(volume),
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
    return (hypervisor, server.id) if power in (Power.ON, Power.PAUSED) else None


async def refuse_suspended(site: Site, volume: Volume) -> None:
    """A suspended guest's memory knows how large its disks are. Its file is closed, so all else may be done to it."""
    if volume.server is None:
        return
    async with site.cloud.view() as look:
        server = await look.maybe(Server, volume.server)
    if server is None or server.host is None:
        return
    if await site.hypervisor(server.host).power(server.id) is Power.SUSPENDED:
        raise Conflict(f"Server {server.id} is suspended; resume or stop it first.")


async def through(
    site: Site,
    volume: Volume,
    by_guest: Callable[[Hypervisor, UUID], Awaitable[None]],
    by_pool: Callable[[], Awaitable[None]],
) -> None:
    """Ask the guest that has the disk open, or else the pool. A guest may stop or start by itself between the look
    and the call; then the other one is asked."""
    held = await holder(site, volume)
    try:
        await (by_guest(*held) if held else by_pool())
    except (Missing, Refused):
        now = await holder(site, volume)
        if (now is None) == (held is None):
            raise
        await (by_guest(*now) if now else by_pool())


async def grow(site: Site, volume: Volume, size_gib: int) -> None:
    await refuse_suspended(site, volume)
    await through(
        site,
        volume,
        lambda hypervisor, guest: hypervisor.resize_disk(guest, volume.id, size_gib),
        lambda: site.pool(volume.pool).extend(volume.id, size_gib),
    )


async def make_snapshot(site: Site, volume: Volume, snapshot: UUID) -> None:
    await through(
        site,
        volume,
        lambda hypervisor, guest: hypervisor.snapshot_disk(guest, volume.id, snapshot),
        lambda: site.pool(volume.pool).snapshot(volume.id, snapshot),
    )


async def remove_snapshot(site: Site, volume: Volume, snapshot: UUID) -> None:
    await through(
        site,
        volume,
        lambda hypervisor, guest: hypervisor.delete_disk_snapshot(guest, volume.id, snapshot),
        lambda: site.pool(volume.pool).delete_snapshot(volume.id, snapshot),
    )


def in_error(volume: Volume, fault: str) -> Volume:
    return replace(volume, state=VolumeState.ERROR, operation=None, fault=fault)
