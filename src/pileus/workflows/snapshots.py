"""Make and delete snapshots, in the pool or through the guest that has the disk open."""

from typing import Any
from uuid import UUID

from msgspec.structs import replace

from pileus.core.block.records import Snapshot, SnapshotState, Volume, VolumeState
from pileus.core.cloud import Tx
from pileus.workflows.disks import AWAY, LONGEST_COPY, copies, drop_base, make_snapshot, remove_snapshot
from pileus.workflows.engine import Run, Step, Wait, Workflow, register


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


async def copied(run: Run) -> Wait | None:
    """What is being made from it, or from the volume whose disk it lies in, ends first."""
    snapshot, _ = await _look(run)
    return await copies(run.site, snapshot.volume, [snapshot.id]) if snapshot else None


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
            volume = await tx.maybe(Volume, snapshot.volume)
            if volume is not None:
                await tx.remove(volume)


async def base(run: Run) -> None:
    """Also the undo of the record's end: it cannot come back, so what is left to remove is removed."""
    removed = run.done["disk"]
    if removed["gone"] and removed["image"]:
        await drop_base(run.site, UUID(removed["pool"]), UUID(removed["image"]))


async def made(run: Run, tx: Tx) -> None:
    """Not where a delete has the snapshot in its hands by now."""
    snapshot = await tx.maybe(Snapshot, run.subject)
    if snapshot is not None and snapshot.operation == run.operation.id:
        done = replace(snapshot, state=SnapshotState.AVAILABLE, operation=None, updated_at=run.cloud.now())
        await tx.put(done)


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
            Step("copies", copied, patience=LONGEST_COPY),
            Step("unmake", unmake, patience=AWAY),
            Step("disk", release_disk, patience=AWAY),
            Step("record", forget, undo=base, patience=AWAY),
            Step("base", base, patience=AWAY),
        ),
        failed=fail,
        cancellable=False,
    )
)
