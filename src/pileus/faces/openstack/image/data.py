"""The content of images, in and out."""

import re
from collections.abc import AsyncIterator
from uuid import UUID

from pileus.core.errors import Conflict, Forbidden, Invalid
from pileus.core.image.records import ImageState
from pileus.faces.openstack.image.images import find
from pileus.faces.openstack.image.wire import SERVICE
from pileus.faces.wire import Request, Response, Stream
from pileus.workflows import image_upload

OCTETS = "application/octet-stream"


@SERVICE.operation("PUT", "/v2/images/{image}/file", policy="upload_image", media=(OCTETS,), status=204)
async def upload(request: Request, image: UUID) -> Response:
    """Stream the content in; it is inspected before the image becomes active."""
    if request.headers.get("content-type", "").partition(";")[0] != OCTETS:
        return Response(415, f"Unsupported Media Type: send the content as {OCTETS}.\n")
    await find(request, image)
    await image_upload.receive(request.site, request.caller, image, request.stream())
    return Response(204)


@SERVICE.operation("GET", "/v2/images/{image}/file", policy="download_image")
async def download(request: Request, image: UUID) -> Response | Stream:
    """The content, or one range of it."""
    held = await find(request, image)
    if held.state is ImageState.DEACTIVATED and not request.caller.admin:
        raise Forbidden("The requested image has been deactivated. Image data download is forbidden.")
    if held.state is ImageState.QUEUED:
        return Response(204)
    if held.size is None or held.state not in (ImageState.ACTIVE, ImageState.DEACTIVATED):
        raise Conflict(f"Image {image} is {held.state}; it has no content yet.")
    headers = {"content-md5": held.checksum or "", "accept-ranges": "bytes"}
    try:
        chosen = _range(request.headers.get("range"), held.size)
    except Invalid as error:
        return Response(416, f"{error.public}\n", {"content-range": f"bytes */{held.size}"})
    if chosen is None:
        return Stream(200, headers, request.site.images.read(image), held.size, OCTETS)
    start, end = chosen
    headers["content-range"] = f"bytes {start}-{end}/{held.size}"
    content = _first(request.site.images.read(image, start=start), end - start + 1)
    return Stream(206, headers, content, end - start + 1, OCTETS)


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte. Raises Invalid for what is no single satisfiable range."""
    if header is None:
        return None
    match = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", header.strip())
    if not match or not (match[1] or match[2]):
        raise Invalid(f"Invalid range {header[:60]!r}; one such as bytes=0-1023 is served.")
    if match[1]:
        start, end = int(match[1]), min(int(match[2]) if match[2] else size - 1, size - 1)
    else:
        start, end = max(0, size - int(match[2])), size - 1
    if start > end:
        raise Invalid(f"Range {header[:60]!r} lies outside the {size} bytes of the image.")
    return start, end


async def _first(content: AsyncIterator[bytes], length: int) -> AsyncIterator[bytes]:
    async for chunk in content:
        yield chunk[:length]
        length -= len(chunk)
        if length <= 0:
            return
