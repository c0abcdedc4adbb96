"""Content into an image by long work: fetched from an address, or exported from a volume."""

import asyncio
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from pileus.core.block.records import Volume, VolumeState
from pileus.core.cloud import Tx
from pileus.core.image import images
from pileus.core.image.exports import Export
from pileus.core.image.images import Fetch
from pileus.core.image.records import Image
from pileus.workflows.downloads import content
from pileus.workflows.engine import LONG_LIMIT, Fenced, Run, Step, Workflow, register
from pileus.workflows.image_upload import check


async def fetch(run: Run) -> dict[str, Any]:
    """Get the whole content from the address."""
    limit = run.cloud.config.max_image_bytes
    written = await run.site.images.write(
        run.subject, content(run.want.url, inside=run.want.inside), max_bytes=limit
    )
    return measured(written)


def measured(written: tuple[int, str, str]) -> dict[str, Any]:
    size, checksum, sha512 = written
    return {"size": size, "checksum": checksum, "sha512": sha512}


async def drop(run: Run) -> None:
    await run.site.images.delete(run.subject)


async def inspect(run: Run) -> dict[str, Any]:
    async with run.cloud.view() as look:
        image = await look.get(Image, run.subject)
    return await check(run.site, image)


async def fetched(run: Run, tx: Tx) -> None:
    await settle(run, tx, run.done["fetch"])


async def settle(run: Run, tx: Tx, measures: dict[str, Any]) -> None:
    """Not where a delete has the image in its hands by now."""
    image = await tx.maybe(Image, run.subject)
    if image is not None and image.operation == run.operation.id:
        await images.settle(tx, image, **measures, **run.done["inspect"])


async def not_fetched(run: Run, tx: Tx, fault: str) -> None:
    await images.fail(tx, run.subject, run.operation.id, fault)


def workplace(run: Run) -> Path:
    """Where the exports lie before the image store has one: each worker's has its own name, for one that is late must
    not touch what another works with."""
    return run.cloud.config.state / "exports" / str(run.subject)


async def export(run: Run) -> dict[str, str]:
    async with run.cloud.view() as look:
        volume = await look.get(Volume, run.want.volume)
    pool, target = run.site.pool(volume.pool), workplace(run) / run.operation.owner
    await asyncio.to_thread(target.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
    await pool.export(volume.id, target, run.want.format)
    await _own(run, target)
    return {"file": target.name}


async def _own(run: Run, file: Path) -> None:
    """The file of a worker that lost the operation meanwhile is nobody's. Raises Fenced."""
    async with run.cloud.transaction() as tx:
        try:
            await run.held(tx)
            return
        except Fenced:
            pass
    await asyncio.to_thread(file.unlink, missing_ok=True)
    with suppress(OSError):  # another's may be there
        await asyncio.to_thread(file.parent.rmdir)
    raise Fenced(f"operation {run.operation.id} went to another worker while volume content was exported")


async def clear(run: Run) -> None:
    await asyncio.to_thread(shutil.rmtree, workplace(run), ignore_errors=True)


async def adopt(run: Run) -> dict[str, Any]:
    taken = measured(await run.site.images.adopt(run.subject, workplace(run) / run.done["export"]["file"]))
    await clear(run)
    return taken


async def exported(run: Run, tx: Tx) -> None:
    await release(tx, run.want.volume, run.operation.id)
    await settle(run, tx, run.done["adopt"])


async def not_exported(run: Run, tx: Tx, fault: str) -> None:
    await release(tx, run.want.volume, run.operation.id)
    await not_fetched(run, tx, fault)


async def release(tx: Tx, key: UUID, operation: UUID) -> None:
    """The volume is free for other uses again."""
    volume = await tx.maybe(Volume, key)
    if volume is not None and volume.operation == operation:
        freed = replace(volume, state=VolumeState.AVAILABLE, operation=None, updated_at=tx.cloud.now())
        await tx.put(freed)


FETCH = register(
    Workflow(
        "image.fetch",
        steps=(
            Step("fetch", fetch, undo=drop, patience=120.0, interruptible=True, limit=LONG_LIMIT),
            Step("inspect", inspect),
        ),
        finished=fetched,
        failed=not_fetched,
        want=Fetch,
    )
)
FROM_VOLUME = register(
    Workflow(
        "image.from_volume",
        steps=(
            Step("export", export, undo=clear, interruptible=True, limit=LONG_LIMIT),
            Step("adopt", adopt, undo=drop, interruptible=True, limit=LONG_LIMIT),
            Step("inspect", inspect),
        ),
        finished=exported,
        failed=not_exported,
        want=Export,
    )
)
