"""Delete a volume's disk, then its record. A disk that snapshots still need stays, out of sight."""

from typing import Any
from uuid import UUID

from msgspec.structs import replace

from pileus.core.block import volumes
from pileus.core.block.records import Snapshot, SnapshotState, Volume, VolumeState
from pileus.core.cloud import Look, Tx
from pileus.workflows.disks import AWAY, LONGEST_COPY, copies, drop_base, in_error
from pileus.workflows.engine import Run, Step, Wait, Workflow, register
from pileus.workflows.volume_attach import unplug


async def copied(run: Run) -> Wait | None:
    """What is being made from it, or from the snapshots that go along, ends first."""
    async with run.cloud.view() as look:
        along = await look.list(Snapshot, volume=run.subject, operation=run.operation.id)
    return await copies(run.site, run.subject, [snapshot.id for snapshot in along])


async def release(run: Run) -> None:
    """A guest that was given it, or did not let go of it yet, has it no more."""
    await unplug(run)
    async with run.transaction() as tx:
        volume = await tx.maybe(Volume, run.subject)
        if volume is not None and volume.server is not None and volume.operation == run.operation.id:
            await volumes.let_go(tx, volume)


async def remove(run: Run) -> dict[str, Any]:
    """Whether the disk is gone or retained for its snapshots, and the base it lay on."""
    async with run.cloud.view() as look:
        volume = await look.maybe(Volume, run.subject)
        kept = await needed(look, run)
    if volume is None:
        return {"gone": True}
    if not kept:
        await run.site.pool(volume.pool).delete(volume.id)
    return {"gone": not kept, "pool": str(volume.pool), "image": str(volume.image) if volume.image else None}


async def needed(look: Look, run: Run) -> bool:
    """Whether snapshots stay that are not deleted by this very operation."""
    snapshots = await look.list(Snapshot, volume=run.subject)
    return any(snapshot.operation != run.operation.id for snapshot in snapshots)


async def forget(run: Run) -> None:
    """The record goes before the base: the base may only go when no other record can want it."""
    async with run.transaction() as tx:
        volume = await tx.maybe(Volume, run.subject)
        if volume is None or volume.state is VolumeState.RETAINED:
            return
        if not run.done["content"]["gone"]:
            await retain(tx, volume)
            return
        for snapshot in await tx.list(Snapshot, volume=volume.id, operation=run.operation.id):
            await tx.remove(snapshot)
            await tx.charge(snapshot.project, "snapshots", -1)
        await volumes.forget(tx, volume)


async def retain(tx: Tx, volume: Volume) -> None:
    await tx.charge(volume.project, "volumes", -1)
    await tx.charge(volume.project, "volume_gib", -volume.size_gib)
    await tx.put(replace(volume, state=VolumeState.RETAINED, operation=None, updated_at=tx.cloud.now()))


async def base(run: Run) -> None:
    """Also the undo of the record's end: it cannot come back, so what is left to remove is removed."""
    removed = run.done["content"]
    if removed["gone"] and removed.get("image"):
        await drop_base(run.site, UUID(removed["pool"]), UUID(removed["image"]))


async def fail(run: Run, tx: Tx, fault: str) -> None:
    """A guest that did not let go of it has it still."""
    volume = await tx.maybe(Volume, run.subject)
    if volume is None or volume.operation != run.operation.id:
        return
    await (
        volumes.settle_in(tx, replace(volume, fault=fault))
        if volume.server
        else tx.put(in_error(volume, fault))
    )
    for snapshot in await tx.list(Snapshot, volume=volume.id, operation=run.operation.id):
        await tx.put(replace(snapshot, state=SnapshotState.ERROR, operation=None, fault=fault))


WORKFLOW = register(
    Workflow(
        "volume.delete",
        steps=(
            Step("copies", copied, patience=LONGEST_COPY),
            Step("release", release, patience=AWAY),
            Step("content", remove, patience=AWAY),
            Step("record", forget, undo=base, patience=AWAY),
            Step("base", base, patience=AWAY),
        ),
        failed=fail,
        cancellable=False,
    )
)
