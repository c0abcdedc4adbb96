"""Content into an image, streamed by a client; checked before anyone may boot it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from pileus.core.caller import Caller, system
from pileus.core.errors import Invalid, NotFound, TooLarge, Unavailable
from pileus.core.image import images
from pileus.core.image.records import Image, ImageState
from pileus.drivers.errors import Missing, Refused, Unreachable
from pileus.store import Condition, le
from pileus.workflows.site import Site

KERNEL_FORMATS = frozenset({"aki", "ari", "ami"})
"""Formats of parts of a disk: their content is whatever it is."""
SAME = {"vpc": "vhd"}
SIGN = timedelta(seconds=60)
"""How often a client that is sending is seen to be there."""
SILENCE = timedelta(seconds=600)
"""After which nobody sends any more."""


async def receive(site: Site, caller: Caller, key: UUID, content: AsyncIterator[bytes]) -> Image:
    """Take a client's upload. Broken off or refused: the image is queued again, and nothing is kept."""
    image = await images.open_upload(site.cloud, caller, key)
    try:
        size, checksum, sha512 = await _write(site, key, _seen(site, key, content))
        found = await check(site, image)
        async with site.cloud.transaction(caller) as tx:
            held = await tx.maybe(Image, key)
            if held is None or held.state is not ImageState.SAVING:
                raise NotFound("Image", key)
            return await images.settle(tx, held, size=size, checksum=checksum, sha512=sha512, **found)
    except BaseException:
        await asyncio.shield(_requeue(site, caller, key))
        raise


async def _write(site: Site, key: UUID, content: AsyncIterator[bytes]) -> tuple[int, str, str]:
    try:
        return await site.images.write(key, content, max_bytes=site.cloud.config.max_image_bytes)
    except Refused as error:
        raise TooLarge(f"The content of image {key} is refused: {error}") from error
    except Unreachable as error:
        raise Unavailable("The image store does not answer; try again later.", private=str(error)) from error


async def _seen(site: Site, key: UUID, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The content, while the record says that it is arriving: not in the way of a delete, nor of the next upload."""
    last = site.cloud.now()
    async for piece in content:
        yield piece
        if site.cloud.now() - last >= SIGN:
            last = await _sign(site, key)
    await _sign(site, key)


async def _sign(site: Site, key: UUID) -> datetime:
    now = site.cloud.now()
    async with site.cloud.transaction() as tx:
        held = await tx.maybe(Image, key)
        if held is None or held.state is not ImageState.SAVING:
            raise NotFound("Image", key)
        await tx.put(replace(held, updated_at=now))
    return now


async def _requeue(site: Site, caller: Caller, key: UUID) -> None:
    """The content goes before the record is free for the next upload, or that one's would go."""
    async with site.cloud.view() as look:
        held = await look.maybe(Image, key)
    if held is not None and held.state not in (ImageState.SAVING, ImageState.DELETING):
        return
    await site.images.delete(key)
    async with site.cloud.transaction(caller) as tx:
        held = await tx.maybe(Image, key)
        if held is not None and held.state is ImageState.SAVING:
            await tx.put(replace(held, state=ImageState.QUEUED, updated_at=site.cloud.now()))


async def requeue_broken(site: Site) -> None:
    """At the start of the only process: nobody is sending any more, so what was being sent waits for content again."""
    await _requeue_all(site)


async def requeue_silent(site: Site) -> None:
    """Now and then: the same where the process that was receiving is gone, and no other has seen the client since."""
    await _requeue_all(site, le("updated_at", site.cloud.now() - SILENCE))


async def _requeue_all(site: Site, *where: Condition) -> None:
    async with site.cloud.view() as look:
        broken = await look.list(Image, *where, state=ImageState.SAVING, operation=None)
    for image in broken:
        await _requeue(site, system(), image.id)


async def check(site: Site, image: Image) -> dict[str, Any]:
    """What the content is: {"virtual": bytes, "disk_format": name}. Raises Invalid when it is hostile, broken, or not
    what was declared."""
    if image.disk_format in KERNEL_FORMATS:
        return {"virtual": 0, "disk_format": image.disk_format}
    try:
        found = await site.images.inspect(image.id)
    except (Refused, Missing) as error:
        raise Invalid(f"The content of image {image.id} is refused: {error}") from error
    except Unreachable as error:
        raise Unavailable("The image store does not answer; try again later.", private=str(error)) from error
    actual, declared = SAME.get(found.format, found.format), SAME.get(image.disk_format, image.disk_format)
    if declared and actual != declared:
        raise Invalid(f"The content of image {image.id} is {actual}, but {declared} was declared.")
    return {"virtual": found.virtual_bytes, "disk_format": actual}
