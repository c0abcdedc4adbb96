"""Delete a volume's disk, then its record. A disk that snapshots still need stays, out of sight."""

from msgspec.structs import replace

from pileus.core.block import volumes
from pileus.core.block.records import Snapshot, Volume, VolumeState
from pileus.core.cloud import Tx
from pileus.workflows.disks import in_error, remove_content
from pileus.workflows.engine import Run, Step, Workflow, register


async def remove(run: Run) -> bool:
    """Whether the disk is gone (True) or retained for its snapshots."""
    async with run.cloud.view() as look:
        volume = await look.maybe(Volume, run.subject)
        kept = await look.count(Snapshot, volume=run.subject)
    if volume is None:
        return True
    if kept:
        return False
    await remove_content(run.site, volume)
    return True


async def forget(run: Run, tx: Tx) -> None:
    volume = await tx.maybe(Volume, run.subject)
    if volume is None:
        return
    if run.done["content"]:
        await volumes.forget(tx, volume)
        return
    await tx.charge(volume.project, "volumes", -1)
    await tx.charge(volume.project, "volume_gib", -volume.size_gib)
    await tx.put(replace(volume, state=VolumeState.RETAINED, operation=None, updated_at=run.cloud.now()))


async def fail(run: Run, tx: Tx, fault: str) -> None:
    volume = await tx.maybe(Volume, run.subject)
    if volume is not None:
        await tx.put(in_error(volume, fault))


WORKFLOW = register(Workflow("volume.delete", steps=(Step("content", remove),), finished=forget, failed=fail))
