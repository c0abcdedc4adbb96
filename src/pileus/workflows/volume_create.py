"""Fill a new volume."""

from msgspec.structs import replace

from pileus.core.block.records import Volume, VolumeState
from pileus.core.cloud import Tx
from pileus.workflows.disks import ensure_content, in_error, remove_content
from pileus.workflows.engine import LONG_LIMIT, Run, Step, Workflow, register


async def fill(run: Run) -> None:
    async with run.cloud.view() as look:
        volume = await look.get(Volume, run.subject)
    await ensure_content(run.site, volume)


async def empty(run: Run) -> None:
    async with run.cloud.view() as look:
        volume = await look.maybe(Volume, run.subject)
    if volume is not None:
        await remove_content(run.site, volume)


async def publish(run: Run, tx: Tx) -> None:
    """Not where a delete has the volume in its hands by now."""
    volume = await tx.maybe(Volume, run.subject)
    if volume is not None and volume.operation == run.operation.id:
        await tx.put(replace(volume, state=VolumeState.AVAILABLE, operation=None, updated_at=run.cloud.now()))


async def fail(run: Run, tx: Tx, fault: str) -> None:
    volume = await tx.maybe(Volume, run.subject)
    if volume is not None and volume.operation == run.operation.id:
        await tx.put(in_error(volume, fault))


WORKFLOW = register(
    Workflow(
        "volume.create",
        steps=(Step("content", fill, undo=empty, interruptible=True, limit=LONG_LIMIT),),
        finished=publish,
        failed=fail,
    )
)
