"""Snapshots of volumes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from pileus.core import deletion
from pileus.core.block.records import Snapshot, SnapshotState, Volume, VolumeState
from pileus.core.block.sources import find, refuse_copied, refuse_doomed
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Conflict, Invalid
from pileus.core.listing import within
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
        volume = await find(tx, caller, want.volume, "snapshot.create")
        allowed = (VolumeState.AVAILABLE, VolumeState.IN_USE) if want.force else (VolumeState.AVAILABLE,)
        if volume.state not in allowed:
            raise Invalid(
                f"Volume {volume.id} is {volume.state}; for a snapshot it must be {' or '.join(allowed)}."
            )
        await refuse_copied(tx, volume)
        await refuse_doomed(tx, volume)
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
        operation = await tx.start("snapshot.create", subject=snapshot, key=key)
        snapshot = await tx.add(replace(snapshot, operation=operation.id))
    return Accepted(snapshot, operation)


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Snapshot:
    async with cloud.view() as look:
        return await caller.find(look.rows, Snapshot, key, "snapshot.read")


async def listing(
    cloud: Cloud, caller: Caller, *where: Any, project: UUID | Sequence[UUID] | None, **filters: Any
) -> list[Snapshot]:
    """`project` None is every project, for administrators."""
    filters |= within(caller, project, "snapshots")
    async with cloud.view() as look:
        return await look.list(Snapshot, *where, **filters)


async def count(
    cloud: Cloud, caller: Caller, *where: Any, project: UUID | Sequence[UUID] | None, **filters: Any
) -> int:
    filters |= within(caller, project, "snapshots")
    async with cloud.view() as look:
        return await look.count(Snapshot, *where, **filters)


async def update(cloud: Cloud, caller: Caller, key: UUID, **changes: Any) -> Snapshot:
    """Change name, description or metadata."""
    return await revise(cloud, caller, key, lambda _: changes)


async def revise(
    cloud: Cloud, caller: Caller, key: UUID, change: Callable[[Snapshot], Mapping[str, Any]]
) -> Snapshot:
    """Change fields depending on what they are now; `change` gives the new values, or refuses."""
    async with cloud.transaction(caller) as tx:
        snapshot = await caller.find(tx.rows, Snapshot, key, "snapshot.update")
        return await tx.put(replace(snapshot, **change(snapshot), updated_at=cloud.now()))


async def reset_state(cloud: Cloud, caller: Caller, key: UUID, state: SnapshotState) -> Snapshot:
    """An administrator's word on what the snapshot is; what is under way is left alone."""
    caller.require_admin("snapshot.reset_state")

    def change(snapshot: Snapshot) -> Mapping[str, Any]:
        if snapshot.operation is not None:
            raise Conflict(f"Snapshot {key} is {snapshot.state}, and will not stay so: wait for the end.")
        if state not in (SnapshotState.AVAILABLE, SnapshotState.ERROR):
            raise Invalid(f"Snapshot {key} can be reset to available or error, not to {state}.")
        return {"state": state}

    return await revise(cloud, caller, key, change)


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> Accepted:
    """Accepted in every state. What makes the snapshot is called off; volumes that are being made from it end first."""
    async with cloud.transaction(caller) as tx:
        snapshot = await caller.find(tx.rows, Snapshot, key, "snapshot.delete")
        if (first := await deletion.again(tx, snapshot)) is not None:
            return first
        making = await deletion.under_way(tx, snapshot)
        if making is not None:
            await deletion.call_off(tx, making)
        queue = making.key if making else await _queue(tx, snapshot.volume)
        operation = await tx.start("snapshot.delete", subject=snapshot, key=queue)
        changed = replace(
            snapshot, state=SnapshotState.DELETING, operation=operation.id, updated_at=cloud.now()
        )
        snapshot = await tx.put(changed)
    return Accepted(snapshot, operation)


async def _queue(look: Look, key: UUID) -> UUID:
    """Where the volume's work waits for its turn: behind what is under way on it, or with its server's."""
    volume = await look.maybe(Volume, key)
    running = await deletion.under_way(look, volume) if volume else None
    if running is not None:
        return running.key
    return volume.server or volume.id if volume else key


async def volumes_in(cloud: Cloud, project: UUID | None, zones: Sequence[UUID]) -> frozenset[UUID]:
    """The project's volumes in these zones, those retained for their snapshots too."""
    mine = {"project": project} if project else {}
    async with cloud.view() as look:
        return frozenset(volume.id for volume in await look.list(Volume, zone=tuple(zones), **mine))
