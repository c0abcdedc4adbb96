"""Snapshots of volumes."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from pileus.core.block.records import Snapshot, SnapshotState, Volume, VolumeState
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.errors import Conflict, Invalid
from pileus.core.operations import Accepted


class Create(Struct, frozen=True, kw_only=True):
    """`force`: also of a volume in use (crash-consistent)."""

    volume: UUID
    name: str = ""
    description: str = ""
    force: bool = False
    metadata: dict[str, str] = {}


async def create(cloud: Cloud, caller: Caller, want: Create) -> Accepted:
    async with cloud.transaction(caller) as tx:
        volume = await caller.find(tx.rows, Volume, want.volume, "snapshot.create")
        allowed = (VolumeState.AVAILABLE, VolumeState.IN_USE) if want.force else (VolumeState.AVAILABLE,)
        if volume.state not in allowed:
            raise Invalid(
                f"Volume {volume.id} is {volume.state}; for a snapshot it must be {' or '.join(allowed)}."
            )
        await tx.charge(volume.project, "snapshots", 1)
        now = cloud.now()
        snapshot = Snapshot(
            id=cloud.new_id(),
            project=volume.project,
            user=caller.user,
            volume=volume.id,
            name=want.name,
            description=want.description,
            size_gib=volume.size_gib,
            metadata=want.metadata,
            created_at=now,
            updated_at=now,
        )
        # A held volume is asked of its guest, so this takes its turn among the server's operations.
        key = volume.server or volume.id
        operation = await tx.start("snapshot.create", subject=snapshot, key=key, command="createSnapshot")
        snapshot = await tx.add(replace(snapshot, operation=operation.id))
    return Accepted(snapshot, operation)


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Snapshot:
    async with cloud.view() as look:
        return await caller.find(look.rows, Snapshot, key, "snapshot.read")


async def listing(
    cloud: Cloud, caller: Caller, *where: Any, project: UUID | Sequence[UUID] | None, **filters: Any
) -> list[Snapshot]:
    """`project` None is every project, for administrators."""
    if project is None:
        caller.require_admin("a list of all projects' snapshots")
    else:
        filters["project"] = project if isinstance(project, UUID) else tuple(project)
    async with cloud.view() as look:
        return await look.list(Snapshot, *where, **filters)


async def update(cloud: Cloud, caller: Caller, key: UUID, **changes: Any) -> Snapshot:
    """Change name, description or metadata."""
    async with cloud.transaction(caller) as tx:
        snapshot = await caller.find(tx.rows, Snapshot, key, "snapshot.update")
        return await tx.put(replace(snapshot, **changes, updated_at=cloud.now()))


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> Accepted:
    async with cloud.transaction(caller) as tx:
        snapshot = await caller.find(tx.rows, Snapshot, key, "snapshot.delete")
        if snapshot.state is SnapshotState.DELETING and snapshot.operation:
            raise Conflict(f"Snapshot {key} is being deleted already.")
        if snapshot.state is SnapshotState.CREATING:
            raise Conflict(f"Snapshot {key} is being made; wait for its end.")
        if await tx.count(Volume, source_snapshot=key, state=VolumeState.CREATING):
            raise Conflict(f"A volume is being made from snapshot {key}; wait for its end.")
        volume = await tx.get(Volume, snapshot.volume)
        operation = await tx.start(
            "snapshot.delete", subject=snapshot, key=volume.server or volume.id, command="deleteSnapshot"
        )
        changed = replace(
            snapshot, state=SnapshotState.DELETING, operation=operation.id, updated_at=cloud.now()
        )
        snapshot = await tx.put(changed)
    return Accepted(snapshot, operation)
