"""Fill a new volume, and give it to the guest of the server that it was made for."""

from pileus.core.block import volumes
from pileus.core.block.records import Volume
from pileus.core.cloud import Tx
from pileus.workflows.disks import in_error
from pileus.workflows.engine import LONG_LIMIT, Run, Step, Workflow, register
from pileus.workflows.volume_attach import attached, plug, unplug
from pileus.workflows.volume_create import empty, fill


async def fail(run: Run, tx: Tx, fault: str) -> None:
    volume = await tx.maybe(Volume, run.subject)
    if volume is not None and volume.operation == run.operation.id:
        await volumes.let_go(tx, in_error(volume, fault))


WORKFLOW = register(
    Workflow(
        "volume.create_for",
        steps=(
            Step("content", fill, undo=empty, interruptible=True, limit=LONG_LIMIT),
            Step("plug", plug, undo=unplug),
        ),
        finished=attached,
        failed=fail,
    )
)
