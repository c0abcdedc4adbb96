"""Where a browser sends a template's content: a form with a file, or the bytes themselves, with a one-time signature."""

import re
from collections.abc import AsyncIterator
from uuid import UUID

from pileus.core.caller import MEMBER, Caller
from pileus.core.errors import Invalid, NotFound
from pileus.core.image import images
from pileus.faces.cloudstack.commands import FACE
from pileus.faces.cloudstack.params import UUID_TEXT
from pileus.faces.wire import Request, Response
from pileus.faces.wire.errors import WireError, WireKind
from pileus.workflows import image_upload

PREFIX = "/client/upload"
BOUNDARY = re.compile(r'boundary="?([^";,]{1,70})"?')
MAX_HEAD = 16 << 10


async def receive(request: Request) -> Response:
    """One upload. Raises NotFound for a signature that is wrong, used or late."""
    if request.method == "OPTIONS":
        return Response(204)
    if request.method != "POST":
        raise WireError(WireKind.BAD_METHOD, "Send the content by POST.", headers={"allow": "POST"})
    key = request.tail[0] if len(request.tail) == 1 else ""
    if not UUID_TEXT.fullmatch(key):
        raise NotFound("Upload", key[:64])
    image = await images.by_upload_token(request.cloud, UUID(key), request.headers.get("x-signature", ""))
    caller = Caller(
        user=UUID(int=0),
        project=image.project,
        roles=frozenset({MEMBER}),
        request=request.id,
        trace=request.trace,
        face=FACE,
    )
    await image_upload.receive(request.site, caller, image.id, content(request))
    return Response(200)


def content(request: Request) -> AsyncIterator[bytes]:
    kind = request.headers.get("content-type", "")
    if not kind.lower().startswith("multipart/form-data"):
        return request.stream()
    found = BOUNDARY.search(kind)
    if found is None:
        raise Invalid("The form's content type names no boundary.")
    return file_of(request.stream(), b"--" + found[1].encode())


async def file_of(stream: AsyncIterator[bytes], boundary: bytes) -> AsyncIterator[bytes]:
    """The bytes of the form's first part that is a file."""
    end, held, inside = b"\r\n" + boundary, b"\r\n", False
    async for chunk in stream:
        held += chunk
        while not inside and b"\r\n\r\n" in held and end in held:
            head, _, rest = held[held.index(end) :].partition(b"\r\n\r\n")
            if not _:
                break
            inside, held = b"filename=" in head.lower(), rest
        if inside:
            at = held.find(end)
            if at >= 0:
                yield held[:at]
                async for _rest in stream:
                    pass
                return
            keep = len(end) - 1
            if len(held) > keep:
                yield held[:-keep]
                held = held[-keep:]
        elif len(held) > MAX_HEAD:
            raise Invalid("The form has no file in its first fields.")
    raise Invalid("The form ended before its file did.")
