"""What a new volume is made from, and where it is put."""

from typing import Any
from uuid import UUID

from msgspec import Struct

from pileus.core.block.records import Snapshot, SnapshotState, StoragePool, Volume, VolumeKind, VolumeState
from pileus.core.caller import Caller
from pileus.core.cloud import Look, Tx
from pileus.core.compute.records import Server
from pileus.core.compute.records import State as ServerState
from pileus.core.errors import Conflict, Invalid, NotFound
from pileus.core.image.records import Image, ImageState

GIB = 1 << 30


class Origin(Struct, frozen=True, kw_only=True):
    """What the source brings: the least size, and fields of the record."""

    least_gib: int = 0
    fields: dict[str, Any] = {}


async def origin(
    tx: Tx, caller: Caller, *, image: UUID | None, snapshot: UUID | None, volume: UUID | None
) -> Origin:
    """Checks that there is at most one source, and that it may be used now."""
    if len([source for source in (image, snapshot, volume) if source is not None]) > 1:
        raise Invalid("A volume is made from one of image, snapshot and volume, not from several.")
    if image is not None:
        return _of_image(await usable_image(tx, caller, image))
    if snapshot is not None:
        return await _of_snapshot(tx, caller, snapshot)
    if volume is not None:
        return await _of_volume(tx, caller, volume)
    return Origin()


def _of_image(image: Image) -> Origin:
    fields = {"image": image.id, "bootable": True, "image_properties": boot_properties(image)}
    return Origin(least_gib=least_gib(image), fields=fields)


async def _of_snapshot(tx: Tx, caller: Caller, key: UUID) -> Origin:
    snapshot = await caller.find(tx.rows, Snapshot, key, "snapshot.read")
    if snapshot.state is not SnapshotState.AVAILABLE:
        raise Invalid(f"Snapshot {snapshot.id} is {snapshot.state}; it must be available.")
    source = await tx.get(Volume, snapshot.volume)
    return Origin(least_gib=snapshot.size_gib, fields=_inherited(source) | {"source_snapshot": snapshot.id})


async def _of_volume(tx: Tx, caller: Caller, key: UUID) -> Origin:
    source = await find(tx, caller, key, "volume.read")
    if source.state is not VolumeState.AVAILABLE:
        raise Invalid(f"Volume {source.id} is {source.state}; to be copied it must be available.")
    await refuse_snapshotted(tx, source)
    return Origin(least_gib=source.size_gib, fields=_inherited(source) | {"source_volume": source.id})


def _inherited(source: Volume) -> dict[str, Any]:
    return {"bootable": source.bootable, "image_properties": source.image_properties}


async def find(look: Look, caller: Caller, key: UUID, verb: str) -> Volume:
    """The caller's volume; one that is only retained for its snapshots is gone for everybody."""
    volume = await caller.find(look.rows, Volume, key, verb)
    if volume.state is VolumeState.RETAINED:
        raise NotFound("Volume", key)
    return volume


async def refuse_copied(look: Look, volume: Volume) -> None:
    """While a volume is copied nothing else may open its disk."""
    if await look.count(Volume, source_volume=volume.id, state=VolumeState.CREATING):
        raise Conflict(f"Volume {volume.id} is being copied; wait for the end of the copy.")


async def refuse_doomed(look: Look, volume: Volume) -> None:
    """A volume that goes with its server is as good as gone once that is being deleted."""
    if volume.server is None or not volume.delete_with_server:
        return
    server = await look.maybe(Server, volume.server)
    if server is not None and server.state is ServerState.DELETING:
        raise Conflict(f"Volume {volume.id} goes with server {server.id}, which is being deleted.")


async def refuse_snapshotted(look: Look, volume: Volume) -> None:
    """The same while a snapshot of a volume that nobody holds is made or removed."""
    changing = (SnapshotState.CREATING, SnapshotState.DELETING)
    if await look.count(Snapshot, volume=volume.id, state=changing):
        raise Conflict(f"A snapshot of volume {volume.id} is being made or deleted; wait for its end.")


async def usable_image(look: Look, caller: Caller, key: UUID) -> Image:
    """An active image that the caller may boot from. Raises NotFound, Invalid."""
    image = await look.maybe(Image, key)
    visible = image is not None and (
        caller.sees(image.project) or image.visibility in ("public", "community")
    )
    if image is None or not visible:
        raise NotFound("Image", key)
    if image.state is not ImageState.ACTIVE:
        raise Invalid(f"Image {image.id} is {image.state}; it must be active.")
    return image


def least_gib(image: Image) -> int:
    """The smallest disk, in whole GiB, that holds the image."""
    virtual = max(image.virtual_size or 0, image.size or 0)
    return max(image.min_disk_gib, -(-virtual // GIB), 1)


DESCRIBED = (
    "image_id",
    "image_name",
    "disk_format",
    "container_format",
    "checksum",
    "size",
    "min_disk",
    "min_ram",
)
"""What a volume remembers of its image besides the image's own properties."""


def boot_properties(image: Image) -> dict[str, str]:
    """What Cinder shows as volume_image_metadata, and what a guest made from the volume needs."""
    values = (
        str(image.id),
        image.name,
        image.disk_format,
        image.container_format,
        image.checksum or "",
        str(image.size or 0),
        str(image.min_disk_gib),
        str(image.min_ram_mib),
    )
    return dict(zip(DESCRIBED, values, strict=True)) | image.properties


async def kind_for(look: Look, key: UUID | None, caller: Caller | None = None) -> VolumeKind:
    """The named kind, or the default one. With a caller: NotFound for one that it may not use."""
    if key is not None:
        named = await look.get(VolumeKind, key)
        if caller is not None and not named.public and not caller.admin:
            raise NotFound("VolumeKind", key)
        return named
    found = await look.one(VolumeKind, default=True)
    if found is None:
        raise Invalid("No default volume kind is set; name one.")
    return found


async def pool_for(look: Look, zone: UUID | None) -> StoragePool:
    """The pool of the zone with the most room."""
    pools = await look.list(StoragePool, **({"zone": zone} if zone else {}))
    if not pools:
        raise Conflict("No storage pool serves this zone; an administrator must add one.")
    return max(pools, key=lambda pool: pool.total_bytes - pool.used_bytes)
