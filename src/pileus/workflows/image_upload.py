"""Content into an image: streamed by a client, or fetched from an address; checked before anyone may boot it."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from http.client import HTTPResponse
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from pileus.core.caller import Caller, system
from pileus.core.cloud import Tx
from pileus.core.errors import Invalid, NotFound
from pileus.core.image import images
from pileus.core.image.images import Fetch
from pileus.core.image.records import Image, ImageState
from pileus.drivers.errors import Missing, Refused, Unreachable
from pileus.workflows.engine import Run, Step, Workflow, register
from pileus.workflows.site import Site

KERNEL_FORMATS = frozenset({"aki", "ari", "ami"})
"""Formats of parts of a disk: their content is whatever it is."""
SAME = {"vpc": "vhd", "vhd": "vhd"}
CHUNK = 1 << 20


async def receive(site: Site, caller: Caller, key: UUID, content: AsyncIterator[bytes]) -> Image:
    """Take a client's upload. Broken off or refused: the image is queued again, and nothing is kept."""
    image = await images.open_upload(site.cloud, caller, key)
    try:
        size, checksum, sha512 = await site.images.write(
            key, content, max_bytes=site.cloud.config.max_image_bytes
        )
        found = await check(site, image)
        async with site.cloud.transaction(caller) as tx:
            held = await tx.maybe(Image, key)
            if held is None or held.state is not ImageState.SAVING:
                raise NotFound("Image", key)
            return await images.settle(tx, held, size=size, checksum=checksum, sha512=sha512, **found)
    except BaseException:
        await asyncio.shield(_requeue(site, caller, key))
        raise


async def _requeue(site: Site, caller: Caller, key: UUID) -> None:
    async with site.cloud.transaction(caller) as tx:
        held = await tx.maybe(Image, key)
        if held is None or held.state is not ImageState.SAVING:
            return
        await tx.put(replace(held, state=ImageState.QUEUED, updated_at=site.cloud.now()))
    await site.images.delete(key)


async def requeue_broken(site: Site) -> None:
    """At the start of the only process: nobody is sending any more, so what was being sent waits for content again."""
    async with site.cloud.view() as look:
        broken = await look.list(Image, state=ImageState.SAVING, operation=None)
    for image in broken:
        await _requeue(site, system(), image.id)


async def check(site: Site, image: Image) -> dict[str, Any]:
    """What the content is: {"virtual": bytes, "disk_format": name}. Raises Invalid when it is hostile, broken, or not
    what was declared."""
    if image.disk_format in KERNEL_FORMATS:
        return {"virtual": 0, "disk_format": image.disk_format}
    try:
        found = await site.images.inspect(image.id)
    except Refused as error:
        raise Invalid(f"The content of image {image.id} is refused: {error}") from error
    actual, declared = SAME.get(found.format, found.format), SAME.get(image.disk_format, image.disk_format)
    if declared and actual != declared:
        raise Invalid(f"The content of image {image.id} is {actual}, but {declared} was declared.")
    return {"virtual": found.virtual_bytes, "disk_format": actual}


async def fetch(run: Run) -> dict[str, Any]:
    """Get the whole content from the address, once."""
    limit = run.cloud.config.max_image_bytes
    size, checksum, sha512 = await run.site.images.write(run.subject, _remote(run.want.url), max_bytes=limit)
    return {"size": size, "checksum": checksum, "sha512": sha512}


async def _remote(url: str) -> AsyncIterator[bytes]:
    """The body at an http(s) address. Raises Refused for an answer that is not 200, Unreachable without one."""
    response = await asyncio.to_thread(_open, url)
    with response:
        while chunk := await asyncio.to_thread(response.read, CHUNK):
            yield chunk


def _open(url: str) -> HTTPResponse:
    try:
        opened: HTTPResponse = urllib.request.urlopen(url, timeout=30)  # noqa: S310 (core checked the scheme)
    except urllib.error.HTTPError as error:
        raise Refused(f"{url} answered {error.code} {error.reason}") from error
    except (OSError, ValueError) as error:
        raise Unreachable(f"{url}: {error}") from error
    return opened


async def drop(run: Run) -> None:
    await run.site.images.delete(run.subject)


async def inspect(run: Run) -> dict[str, Any]:
    async with run.cloud.view() as look:
        image = await look.get(Image, run.subject)
    try:
        return await check(run.site, image)
    except Missing as error:
        raise Refused(str(error)) from error


async def publish(run: Run, tx: Tx) -> None:
    await images.settle(tx, await tx.get(Image, run.subject), **run.done["fetch"], **run.done["inspect"])


async def fail(run: Run, tx: Tx, fault: str) -> None:
    image = await tx.maybe(Image, run.subject)
    if image is not None and image.operation == run.operation.id:
        await tx.put(
            replace(image, state=ImageState.ERROR, operation=None, fault=fault, updated_at=run.cloud.now())
        )


WORKFLOW = register(
    Workflow(
        "image.fetch",
        steps=(Step("fetch", fetch, undo=drop, patience=120.0), Step("inspect", inspect)),
        finished=publish,
        failed=fail,
        want=Fetch,
    )
)
