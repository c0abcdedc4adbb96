"""Make and delete snapshots, in the pool or through the guest that has the disk open."""

from typing import Any
from uuid import UUID

from msgspec.structs import replace

from pileus.core.block.records import Snapshot, SnapshotState, Volume, VolumeState
from pileus.core.cloud import Tx
from pileus.workflows.disks import drop_base, make_snapshot, remove_snapshot
from pileus.workflows.engine import Run, Step, Workflow, register


async def _look(run: Run) -> tuple[Snapshot | None, Volume | None]:
    async with run.cloud.view() as look:
        snapshot = await look.maybe(Snapshot, run.subject)
        volume = await look.maybe(Volume, snapshot.volume) if snapshot else None
    return snapshot, volume


async def make(run: Run) -> None:
    snapshot, volume = await _look(run)
    if snapshot is not None and volume is not None:
        await make_snapshot(run.site, volume, snapshot.id)


async def unmake(run: Run) -> None:
    snapshot, volume = await _look(run)
    if snapshot is not None and volume is not None:
        await remove_snapshot(run.site, volume, snapshot.id)


async def release_disk(run: Run) -> dict[str, Any]:
    """A retained volume goes with its last snapshot: whether it went, and the base it lay on."""
    _, volume = await _look(run)
    if volume is None or volume.state is not VolumeState.RETAINED:
        return {"gone": False}
    async with run.cloud.view() as look:
        others = [s for s in await look.list(Snapshot, volume=volume.id) if s.id != run.subject]
    if others:
        return {"gone": False}
    await run.site.pool(volume.pool).delete(volume.id)
    return {"gone": True, "pool": str(volume.pool), "image": str(volume.image) if volume.image else None}


async def forget(run: Run) -> None:
    """The records go before the base: the base may only go when no other record can want it."""
    async with run.transaction() as tx:
        snapshot = await tx.maybe(Snapshot, run.subject)
        if snapshot is None:
            return
        await tx.remove(snapshot)
        await tx.charge(snapshot.project, "snapshots", -1)
        if run.done["disk"]["gone"]:
            await tx.remove(await tx.get(Volume, snapshot.volume))


async def base(run: Run) -> None:
    """Also the undo of the record's end: it cannot come back, so what is left to remove is removed."""
    removed = run.done["disk"]
    if removed["gone"] and removed["image"]:
        await drop_base(run.site, UUID(removed["pool"]), UUID(removed["image"]))


async def made(run: Run, tx: Tx) -> None:
    snapshot = await tx.get(Snapshot, run.subject)
    await tx.put(replace(snapshot, state=SnapshotState.AVAILABLE, operation=None, updated_at=run.cloud.now()))


async def fail(run: Run, tx: Tx, fault: str) -> None:
    snapshot = await tx.maybe(Snapshot, run.subject)
    if snapshot is not None and snapshot.operation == run.operation.id:
        changed = replace(
            snapshot, state=SnapshotState.ERROR, operation=None, fault=fault, updated_at=run.cloud.now()
        )
        await tx.put(changed)


CREATE = register(
    Workflow("snapshot.create", steps=(Step("make", make, undo=unmake),), finished=made, failed=fail)
)
DELETE = register(
    Workflow(
        "snapshot.delete",
        steps=(
            Step("unmake", unmake),
            Step("disk", release_disk),
            Step("record", forget, undo=base),
            Step("base", base),
        ),
        failed=fail,
    )
)
