"""Delete an image's content and record, and its bases in the pools where no volume lies on them."""

from pileus.core import icons
from pileus.core.cloud import Tx
from pileus.core.image import images
from pileus.core.image.records import Image
from pileus.workflows.disks import AWAY, drop_base
from pileus.workflows.engine import Run, Step, Workflow, register


async def content(run: Run) -> None:
    await run.site.images.delete(run.subject)


async def forget(run: Run) -> None:
    """The record goes before the bases: a base may only go when no new volume can want it."""
    async with run.transaction() as tx:
        image = await tx.maybe(Image, run.subject)
        if image is not None:
            await icons.forget(tx, image.id)
            await tx.remove(image)
            await tx.charge(image.project, "images", -1)


async def bases(run: Run) -> None:
    """Also the undo of the record's end: it cannot come back, so what is left to remove is removed."""
    for pool in tuple(run.site.pools):
        await drop_base(run.site, pool, run.subject)


async def fail(run: Run, tx: Tx, fault: str) -> None:
    await images.fail(tx, run.subject, run.operation.id, fault)


WORKFLOW = register(
    Workflow(
        "image.delete",
        steps=(
            Step("content", content, patience=AWAY),
            Step("record", forget, undo=bases, patience=AWAY),
            Step("bases", bases, patience=AWAY),
        ),
        failed=fail,
        cancellable=False,
    )
)
