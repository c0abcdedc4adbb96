"""Volumes: what may be asked of them, and how servers hold them."""

import re
import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from pileus.core import deletion
from pileus.core.block.records import Volume, VolumeState
from pileus.core.block.removal import delete as delete
from pileus.core.block.sources import boot_properties as boot_properties
from pileus.core.block.sources import (
    find,
    kind_for,
    origin,
    pool_for,
    refuse_copied,
    refuse_doomed,
    refuse_snapshotted,
)
from pileus.core.block.sources import least_gib as least_gib
from pileus.core.block.sources import usable_image as usable_image
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.compute.records import Server
from pileus.core.compute.records import State as ServerState
from pileus.core.errors import Conflict, Invalid
from pileus.core.image.records import Image
from pileus.core.listing import within
from pileus.core.operations import Accepted

SHOWN = tuple(state for state in VolumeState if state is not VolumeState.RETAINED)
READ_ONLY = "readonly"
"""The key of a volume's metadata that says True when guests may only read it."""
ATTACHABLE = frozenset(
    {ServerState.ACTIVE, ServerState.STOPPED, ServerState.PAUSED, ServerState.SUSPENDED, ServerState.BUILDING}
)
HELD = frozenset(
    {
        VolumeState.ATTACHING,
        VolumeState.IN_USE,
        VolumeState.EXTENDING,
        VolumeState.DETACHING,
        VolumeState.ERROR,
    }
)
"""States from which a server's volume can be taken from it."""
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
        operation = await tx.start("volume.create", subject=volume)
        volume = await tx.put(replace(volume, operation=operation.id))
    return Accepted(volume, operation)


async def add(tx: Tx, caller: Caller, want: Create, *, id: UUID | None = None) -> Volume:
    """The record and its quota, in the caller's transaction; whoever calls starts the work."""
    source = await origin(tx, caller, image=want.image, snapshot=want.snapshot, volume=want.volume)
    kind = await kind_for(tx, want.kind, caller)
    size = want.size_gib or kind.size_gib or source.least_gib
    if not 0 < size <= MAX_GIB:
        raise Invalid(f"A volume has between 1 and {MAX_GIB} GiB; {size} GiB was asked for.")
    if size < source.least_gib:
        raise Invalid(f"{size} GiB is too small: its source needs at least {source.least_gib} GiB.")
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
            **source.fields,
        )
    )


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Volume:
    async with cloud.view() as look:
        return await find(look, caller, key, "volume.read")


async def listing(
    cloud: Cloud, caller: Caller, *where: Any, project: UUID | Sequence[UUID] | None, **filters: Any
) -> list[Volume]:
    """The projects' volumes, root disks included; `project` None is every project, for administrators."""
    filters = {"state": SHOWN} | filters | within(caller, project, "volumes")
    async with cloud.view() as look:
        return await look.list(Volume, *where, **filters)


async def totals(
    cloud: Cloud, caller: Caller, *where: Any, project: UUID | Sequence[UUID] | None, **filters: Any
) -> tuple[int, int]:
    """How many volumes such a list has, and their GiB."""
    filters = {"state": SHOWN} | filters | within(caller, project, "volumes")
    async with cloud.view() as look:
        number = await look.count(Volume, *where, **filters)
        return number, await look.rows.total(Volume, "size_gib", *where, **filters)


async def update(cloud: Cloud, caller: Caller, key: UUID, **changes: Any) -> Volume:
    """Change name, description, metadata or bootable."""
    return await revise(cloud, caller, key, lambda _: changes)


async def revise(
    cloud: Cloud, caller: Caller, key: UUID, change: Callable[[Volume], Mapping[str, Any]]
) -> Volume:
    """Change fields depending on what they are now; `change` gives the new values, or refuses."""
    async with cloud.transaction(caller) as tx:
        volume = await find(tx, caller, key, "volume.update")
        return await tx.put(replace(volume, **change(volume), updated_at=cloud.now()))


async def set_read_only(cloud: Cloud, caller: Caller, key: UUID, read_only: bool) -> Volume:
    """Whether guests may only read it; for a volume that no guest has open."""

    def change(volume: Volume) -> Mapping[str, Any]:
        if volume.state is not VolumeState.AVAILABLE:
            raise Conflict(f"Volume {key} is {volume.state}; to be made read-only it must be available.")
        return {"metadata": volume.metadata | {READ_ONLY: str(read_only)}}

    return await revise(cloud, caller, key, change)


def is_read_only(volume: Volume) -> bool:
    return volume.metadata.get(READ_ONLY, "").lower() == "true"


async def reset_state(cloud: Cloud, caller: Caller, key: UUID, state: VolumeState) -> Volume:
    """An administrator's word on what the volume is; what is under way ends by itself and is left alone."""
    caller.require_admin("volume.reset_state")

    def change(volume: Volume) -> Mapping[str, Any]:
        if volume.operation is not None:
            raise Conflict(f"Volume {key} is {volume.state}, and will not stay so: wait for the end.")
        free = VolumeState.IN_USE if volume.server else VolumeState.AVAILABLE
        if state not in (free, VolumeState.ERROR):
            raise Invalid(f"Volume {key} can be reset to {free} or error, not to {state}.")
        return {"state": state}

    return await revise(cloud, caller, key, change)


async def extend(cloud: Cloud, caller: Caller, key: UUID, size_gib: int) -> Accepted:
    async with cloud.transaction(caller) as tx:
        volume = await find(tx, caller, key, "volume.update")
        if volume.state not in (VolumeState.AVAILABLE, VolumeState.IN_USE):
            raise Conflict(f"Volume {key} is {volume.state}; to be extended it must be available or in use.")
        if volume.ephemeral:
            raise Conflict(
                f"Volume {key} is the own root disk of server {volume.server}: its size is the server's."
            )
        if not volume.size_gib < size_gib <= MAX_GIB:
            raise Invalid(
                f"Volume {key} has {volume.size_gib} GiB; the new size must be larger, {size_gib} GiB is not."
            )
        await refuse_copied(tx, volume)
        await refuse_doomed(tx, volume)
        await tx.charge(volume.project, "volume_gib", size_gib - volume.size_gib)
        # A held volume grows through its guest, so this takes its turn among the server's operations.
        operation = await tx.start(
            "volume.extend",
            subject=volume,
            want=Extend(size_gib),
            key=volume.server or key,
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
        if server.state is ServerState.BUILDING:
            raise Conflict(f"Server {server.id} is building; a volume can be attached when that has ended.")
        volume = await hold(tx, caller, key, server, device=device, delete_with_server=delete_with_server)
        assert volume.attachment is not None
        want = Attach(server=server.id, attachment=volume.attachment)
        operation = await tx.start("volume.attach", subject=volume, want=want, key=server.id)
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
    volume = await find(tx, caller, key, "volume.update")
    if volume.state is not VolumeState.AVAILABLE:
        raise Conflict(f"Volume {key} is {volume.state}; to be attached it must be available.")
    if volume.project != server.project:
        raise Invalid(f"Volume {key} and server {server.id} belong to different projects.")
    await refuse_copied(tx, volume)
    await refuse_snapshotted(tx, volume)
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
    """Start taking a data volume from the server that holds it, or is about to: then that is called off."""
    async with cloud.transaction(caller) as tx:
        volume = await find(tx, caller, key, "volume.update")
        if volume.server is None or (server is not None and volume.server != server):
            raise Invalid(
                f"Volume {key} is not attached to {'server ' + str(server) if server else 'a server'}."
            )
        if volume.root:
            raise Conflict(f"Volume {key} is the root disk of server {volume.server}; it cannot be detached.")
        running = await deletion.under_way(tx, volume)
        if running is not None and volume.state is VolumeState.DETACHING:
            return Accepted(volume, running)
        if running is not None and running.subject != volume.id:
            raise Conflict(f"Server {volume.server} is being built with volume {key}; wait for its end.")
        if volume.state not in HELD:
            raise Conflict(f"Volume {key} is {volume.state}; to be detached it must be in use.")
        if running is not None and volume.state is VolumeState.ATTACHING:
            await deletion.call_off(tx, running)
        operation = await tx.start("volume.detach", subject=volume, key=volume.server)
        volume = await tx.put(
            replace(volume, state=VolumeState.DETACHING, operation=operation.id, updated_at=cloud.now())
        )
    return Accepted(volume, operation)


async def let_go(tx: Tx, volume: Volume) -> Volume:
    """Nobody holds it any more: available again (or in error, or in the hands of its own deletion, as it was)."""
    going = volume.state is VolumeState.DELETING
    kept = volume.state in (VolumeState.ERROR, VolumeState.DELETING)
    return await tx.put(
        replace(
            volume,
            state=volume.state if kept else VolumeState.AVAILABLE,
            operation=volume.operation if going else None,
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
