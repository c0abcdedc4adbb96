"""Volumes: what may be asked of them, and how servers hold them."""

import re
import string
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from pileus.core.block.records import Snapshot, SnapshotState, StoragePool, Volume, VolumeKind, VolumeState
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.compute.records import Server
from pileus.core.compute.records import State as ServerState
from pileus.core.errors import Conflict, InUse, Invalid, NotFound
from pileus.core.image.records import Image, ImageState
from pileus.core.operations import Accepted

GIB = 1 << 30
STEADY = frozenset({VolumeState.AVAILABLE, VolumeState.IN_USE, VolumeState.ERROR})
ATTACHABLE = frozenset(
    {ServerState.ACTIVE, ServerState.STOPPED, ServerState.PAUSED, ServerState.SUSPENDED, ServerState.BUILDING}
)
MAX_GIB = 1 << 16


class Create(Struct, frozen=True, kw_only=True):
    """A volume that is empty, or filled from exactly one of image, snapshot, volume. size_gib 0: as large as its source."""

    project: UUID
    name: str = ""
    description: str = ""
    size_gib: int = 0
    kind: UUID | None = None
    image: UUID | None = None
    snapshot: UUID | None = None
    volume: UUID | None = None
    zone: UUID | None = None
    metadata: dict[str, str] = {}


class Extend(Struct, frozen=True):
    size_gib: int


class Attach(Struct, frozen=True):
    server: UUID
    attachment: UUID


async def create(cloud: Cloud, caller: Caller, want: Create, *, id: UUID | None = None) -> Accepted:
    """Record a volume and start filling it."""
    caller.require("volume.create", project=want.project)
    async with cloud.transaction(caller) as tx:
        volume = await add(tx, caller, want, id=id)
        operation = await tx.start("volume.create", subject=volume, command="createVolume")
        volume = await tx.put(replace(volume, operation=operation.id))
    return Accepted(volume, operation)


async def add(tx: Tx, caller: Caller, want: Create, *, id: UUID | None = None) -> Volume:
    """The record and its quota, in the caller's transaction; whoever calls starts the work."""
    sources = [source for source in (want.image, want.snapshot, want.volume) if source is not None]
    if len(sources) > 1:
        raise Invalid("A volume is made from one of image, snapshot and volume, not from several.")
    origin = await _origin(tx, caller, want)
    kind = await kind_for(tx, want.kind)
    size = want.size_gib or kind.size_gib or origin.get("least_gib", 0)
    if not 0 < size <= MAX_GIB:
        raise Invalid(f"A volume has between 1 and {MAX_GIB} GiB; {size} GiB was asked for.")
    if size < origin.get("least_gib", 0):
        raise Invalid(f"{size} GiB is too small: its source needs at least {origin['least_gib']} GiB.")
    pool = await pool_for(tx, want.zone)
    await tx.charge(want.project, "volumes", 1)
    await tx.charge(want.project, "volume_gib", size)
    now = tx.cloud.now()
    return await tx.add(
        Volume(
            id=id or tx.cloud.new_id(),
            project=want.project,
            user=caller.user,
            name=want.name,
            description=want.description,
            size_gib=size,
            kind=kind.id,
            pool=pool.id,
            zone=pool.zone,
            metadata=want.metadata,
            created_at=now,
            updated_at=now,
            **origin.get("fields", {}),
        )
    )


async def _origin(tx: Tx, caller: Caller, want: Create) -> dict[str, Any]:
    """What the source brings: least size and fields of the record. Checks that it may be used now."""
    if want.image is not None:
        image = await usable_image(tx, caller, want.image)
        fields = {"image": image.id, "bootable": True, "image_properties": boot_properties(image)}
        return {"least_gib": least_gib(image), "fields": fields}
    if want.snapshot is not None:
        snapshot = await caller.find(tx.rows, Snapshot, want.snapshot, "snapshot.read")
        if snapshot.state is not SnapshotState.AVAILABLE:
            raise Invalid(f"Snapshot {snapshot.id} is {snapshot.state}; it must be available.")
        source = await tx.get(Volume, snapshot.volume)
        fields = _inherited(source) | {"source_snapshot": snapshot.id}
        return {"least_gib": snapshot.size_gib, "fields": fields}
    if want.volume is not None:
        source = await caller.find(tx.rows, Volume, want.volume, "volume.read")
        if source.state is not VolumeState.AVAILABLE:
            raise Invalid(f"Volume {source.id} is {source.state}; to be copied it must be available.")
        return {"least_gib": source.size_gib, "fields": _inherited(source) | {"source_volume": source.id}}
    return {}


def _inherited(source: Volume) -> dict[str, Any]:
    return {"bootable": source.bootable, "image_properties": source.image_properties}


async def usable_image(tx: Look, caller: Caller, key: UUID) -> Image:
    """An active image that the caller may boot from. Raises NotFound, Invalid."""
    image = await tx.maybe(Image, key)
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


def boot_properties(image: Image) -> dict[str, str]:
    """What Cinder shows as volume_image_metadata, and what a guest made from the volume needs."""
    kept = {
        "image_id": str(image.id),
        "image_name": image.name,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "checksum": image.checksum or "",
        "size": str(image.size or 0),
        "min_disk": str(image.min_disk_gib),
        "min_ram": str(image.min_ram_mib),
    }
    return kept | image.properties


async def kind_for(look: Look, key: UUID | None) -> VolumeKind:
    """The named kind, or the default one."""
    if key is not None:
        return await look.get(VolumeKind, key)
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


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Volume:
    async with cloud.view() as look:
        volume = await caller.find(look.rows, Volume, key, "volume.read")
    if volume.state is VolumeState.RETAINED:
        raise NotFound("Volume", key)
    return volume


async def listing(
    cloud: Cloud, caller: Caller, *where: Any, project: UUID | Sequence[UUID] | None, **filters: Any
) -> list[Volume]:
    """The project's volumes, root disks included; `project` None is every project, for administrators."""
    if project is None:
        caller.require_admin("a list of all projects' volumes")
    else:
        filters["project"] = project if isinstance(project, UUID) else tuple(project)
    filters.setdefault("state", tuple(s for s in VolumeState if s is not VolumeState.RETAINED))
    async with cloud.view() as look:
        return await look.list(Volume, *where, **filters)


async def update(cloud: Cloud, caller: Caller, key: UUID, **changes: Any) -> Volume:
    """Change name, description, metadata or bootable."""
    async with cloud.transaction(caller) as tx:
        volume = await caller.find(tx.rows, Volume, key, "volume.update")
        return await tx.put(replace(volume, **changes, updated_at=cloud.now()))


async def delete(
    cloud: Cloud, caller: Caller, key: UUID, *, keep_snapshots: bool = False, force: bool = False
) -> Accepted:
    """Start deleting a volume that no server holds. With snapshots: refused, unless `keep_snapshots`: then the disk
    stays, out of sight and out of quota, until the last of them is gone."""
    async with cloud.transaction(caller) as tx:
        volume = await caller.find(tx.rows, Volume, key, "volume.delete")
        _refuse_held(volume)
        await _refuse_copied(tx, volume)
        if volume.state is VolumeState.DELETING and volume.operation:
            raise Conflict(f"Volume {key} is being deleted already.")
        snapshots = await tx.list(Snapshot, volume=key)
        if snapshots and not keep_snapshots:
            raise InUse(f"Volume {key} has {len(snapshots)} snapshots; delete them first.")
        operation = await tx.start("volume.delete", subject=volume, supersede=True, command="deleteVolume")
        volume = await tx.put(
            replace(volume, state=VolumeState.DELETING, operation=operation.id, updated_at=cloud.now())
        )
    return Accepted(volume, operation)


def _refuse_held(volume: Volume) -> None:
    if volume.server is not None:
        raise InUse(f"Volume {volume.id} is held by server {volume.server}; detach it first.")


async def _refuse_copied(tx: Tx, volume: Volume) -> None:
    if await tx.count(Volume, source_volume=volume.id, state=VolumeState.CREATING):
        raise Conflict(f"Volume {volume.id} is being copied; wait for the end of the copy.")


async def extend(cloud: Cloud, caller: Caller, key: UUID, size_gib: int) -> Accepted:
    async with cloud.transaction(caller) as tx:
        volume = await caller.find(tx.rows, Volume, key, "volume.update")
        if volume.state not in (VolumeState.AVAILABLE, VolumeState.IN_USE):
            raise Conflict(f"Volume {key} is {volume.state}; to be extended it must be available or in use.")
        if not volume.size_gib < size_gib <= MAX_GIB:
            raise Invalid(
                f"Volume {key} has {volume.size_gib} GiB; the new size must be larger, {size_gib} GiB is not."
            )
        await tx.charge(volume.project, "volume_gib", size_gib - volume.size_gib)
        # A held volume grows through its guest, so this takes its turn among the server's operations.
        operation = await tx.start(
            "volume.extend",
            subject=volume,
            want=Extend(size_gib),
            key=volume.server or key,
            command="resizeVolume",
        )
        volume = await tx.put(
            replace(volume, state=VolumeState.EXTENDING, operation=operation.id, updated_at=cloud.now())
        )
    return Accepted(volume, operation)


# How servers hold volumes


async def attach(
    cloud: Cloud,
    caller: Caller,
    key: UUID,
    server_id: UUID,
    *,
    device: str | None = None,
    delete_with_server: bool = False,
) -> Accepted:
    """Start giving a volume to a server, running or not."""
    async with cloud.transaction(caller) as tx:
        server = await caller.find(tx.rows, Server, server_id, "server.update")
        volume = await hold(tx, caller, key, server, device=device, delete_with_server=delete_with_server)
        assert volume.attachment is not None
        want = Attach(server=server.id, attachment=volume.attachment)
        operation = await tx.start(
            "volume.attach", subject=volume, want=want, key=server.id, command="attachVolume"
        )
        volume = await tx.put(replace(volume, operation=operation.id))
    return Accepted(volume, operation)


async def hold(
    tx: Tx,
    caller: Caller,
    key: UUID,
    server: Server,
    *,
    device: str | None = None,
    root: bool = False,
    delete_with_server: bool = False,
) -> Volume:
    """AVAILABLE -> ATTACHING in the caller's transaction; whoever calls starts the work and names it in `operation`."""
    volume = await caller.find(tx.rows, Volume, key, "volume.update")
    if volume.state is not VolumeState.AVAILABLE:
        raise Conflict(f"Volume {key} is {volume.state}; to be attached it must be available.")
    if volume.project != server.project:
        raise Invalid(f"Volume {key} and server {server.id} belong to different projects.")
    await _refuse_copied(tx, volume)
    if server.state not in ATTACHABLE:
        raise Conflict(f"Server {server.id} is {server.state}; a volume cannot be attached now.")
    if root and not volume.bootable:
        raise Invalid(f"Volume {key} is not bootable.")
    return await tx.put(
        replace(
            volume,
            state=VolumeState.ATTACHING,
            server=server.id,
            device=await _device(tx, server, device, root=root),
            attachment=tx.cloud.new_id(),
            root=root,
            delete_with_server=delete_with_server,
            updated_at=tx.cloud.now(),
        )
    )


async def _device(tx: Tx, server: Server, asked: str | None, *, root: bool) -> str:
    """The disk's name in the guest: as asked (/dev/vdc, vdc, xvdc), or the next free one; vda is the root's."""
    taken = {volume.device for volume in await tx.list(Volume, server=server.id)}
    if root:
        return "vda"
    if asked:
        match = re.fullmatch(r"(?:/dev/)?(?:vd|xvd|sd|hd)([a-z])", asked)
        if not match:
            raise Invalid(f"{asked} is no device name; use one such as /dev/vdb.")
        name = f"vd{match[1]}"
        if name in taken or name == "vda":
            raise Conflict(f"Device {asked} of server {server.id} is in use.")
        return name
    for letter in string.ascii_lowercase[1:]:
        if f"vd{letter}" not in taken:
            return f"vd{letter}"
    raise Conflict(f"Server {server.id} holds as many volumes as it can.")


async def detach(cloud: Cloud, caller: Caller, key: UUID, *, server: UUID | None = None) -> Accepted:
    """Start taking a data volume from the server that holds it."""
    async with cloud.transaction(caller) as tx:
        volume = await caller.find(tx.rows, Volume, key, "volume.update")
        if volume.server is None or (server is not None and volume.server != server):
            raise Invalid(
                f"Volume {key} is not attached to {'server ' + str(server) if server else 'a server'}."
            )
        if volume.state is not VolumeState.IN_USE:
            raise Conflict(f"Volume {key} is {volume.state}; to be detached it must be in use.")
        if volume.root:
            raise Conflict(f"Volume {key} is the root disk of server {volume.server}; it cannot be detached.")
        operation = await tx.start("volume.detach", subject=volume, key=volume.server, command="detachVolume")
        volume = await tx.put(
            replace(volume, state=VolumeState.DETACHING, operation=operation.id, updated_at=cloud.now())
        )
    return Accepted(volume, operation)


async def let_go(tx: Tx, volume: Volume) -> Volume:
    """Nobody holds it any more: available again (or in error, as it was)."""
    state = VolumeState.ERROR if volume.state is VolumeState.ERROR else VolumeState.AVAILABLE
    return await tx.put(
        replace(
            volume,
            state=state,
            operation=None,
            server=None,
            device="",
            attachment=None,
            attached_at=None,
            root=False,
            delete_with_server=False,
            updated_at=tx.cloud.now(),
        )
    )


async def settle_in(tx: Tx, volume: Volume) -> Volume:
    """The guest holds it: in use."""
    now = tx.cloud.now()
    return await tx.put(
        replace(volume, state=VolumeState.IN_USE, operation=None, attached_at=now, updated_at=now)
    )


async def add_root(tx: Tx, caller: Caller, server: Server, *, image: Image, size_gib: int) -> Volume:
    """The server's own root disk, made with it from an image and removed with it. It is not charged as a volume,
    for the size's disk pays for it."""
    pool, kind, now = await pool_for(tx, server.zone), await kind_for(tx, None), tx.cloud.now()
    return await tx.add(
        Volume(
            id=tx.cloud.new_id(),
            project=server.project,
            user=caller.user,
            name=f"ROOT-{server.name}"[:255],
            size_gib=max(size_gib, least_gib(image)),
            kind=kind.id,
            pool=pool.id,
            zone=pool.zone,
            state=VolumeState.CREATING,
            operation=server.operation,
            root=True,
            ephemeral=True,
            delete_with_server=True,
            server=server.id,
            device="vda",
            attachment=tx.cloud.new_id(),
            image=image.id,
            bootable=True,
            image_properties=boot_properties(image),
            created_at=now,
            updated_at=now,
        )
    )


async def add_for_server(
    tx: Tx,
    caller: Caller,
    server: Server,
    want: Create,
    *,
    root: bool,
    delete_with_server: bool,
    device: str | None = None,
) -> Volume:
    """A new volume made while its server is deployed (boot from volume), held from the start. The deploy fills it."""
    volume = await add(tx, caller, want)
    if root and not volume.bootable:
        raise Invalid("The boot volume must be made from an image, or from a bootable volume or snapshot.")
    return await tx.put(
        replace(
            volume,
            server=server.id,
            operation=server.operation,
            device=await _device(tx, server, device, root=root),
            attachment=tx.cloud.new_id(),
            root=root,
            delete_with_server=delete_with_server,
        )
    )


async def of_server(look: Look, server: UUID) -> list[Volume]:
    """The server's disks, root first, then by device name."""
    held = await look.list(Volume, server=server)
    return sorted(held, key=lambda volume: (not volume.root, volume.device))


async def forget(tx: Tx, volume: Volume) -> None:
    """The record and its charge go; the content is gone already."""
    await tx.remove(volume)
    if not volume.ephemeral:
        await tx.charge(volume.project, "volumes", -1)
        await tx.charge(volume.project, "volume_gib", -volume.size_gib)
