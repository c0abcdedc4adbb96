"""Grow a volume, through its guest when one runs on it."""

from msgspec.structs import replace

from pileus.core.block.records import Volume, VolumeState
from pileus.core.block.volumes import Extend
from pileus.core.cloud import Tx
from pileus.workflows.disks import grow
from pileus.workflows.engine import Run, Step, Workflow, register


async def enlarge(run: Run) -> None:
    async with run.cloud.view() as look:
        volume = await look.get(Volume, run.subject)
    await grow(run.site, volume, run.want.size_gib)


def settled(volume: Volume) -> VolumeState:
    return VolumeState.IN_USE if volume.server else VolumeState.AVAILABLE


async def publish(run: Run, tx: Tx) -> None:
    """The size is charged already; the state is the word of what came after, where something did."""
    volume = await tx.get(Volume, run.subject)
    grown = replace(volume, size_gib=run.want.size_gib, updated_at=run.cloud.now())
    if volume.operation == run.operation.id:
        grown = replace(grown, state=settled(volume), operation=None)
    await tx.put(grown)


async def fail(run: Run, tx: Tx, fault: str) -> None:
    """A disk never shrinks back, but its record and charge stay at what was: growing again succeeds quietly."""
    volume = await tx.maybe(Volume, run.subject)
    if volume is None:
        return
    await tx.charge(volume.project, "volume_gib", volume.size_gib - run.want.size_gib)
    if volume.operation == run.operation.id:
        await tx.put(
            replace(volume, state=settled(volume), operation=None, fault=fault, updated_at=run.cloud.now())
        )


WORKFLOW = register(
    Workflow("volume.extend", steps=(Step("enlarge", enlarge),), finished=publish, failed=fail, want=Extend)
)
