"""The little picture that people give an object, so that they find it in a list: one record beside the object."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from pileus.core.cloud import Look, Tx
from pileus.core.errors import Invalid
from pileus.store import Record, table

MAX_BYTES = 3 << 19
"""What 2 MiB of base64 hold."""
PNG, JPEG, GIF, BMP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", (b"GIF87a", b"GIF89a"), b"BM"


@table("icon")
class Icon(Record):
    """`id` is that of the object, with which it goes."""

    id: UUID
    kind: str
    """Table of the object."""
    blob: bytes
    """PNG, JPEG, GIF or BMP; never in an event."""
    created_at: datetime


async def of(look: Look, keys: Iterable[UUID]) -> dict[UUID, Icon]:
    """By object, of those that have one."""
    wanted = tuple(set(keys))
    return {icon.id: icon for icon in await look.list(Icon, id=wanted)} if wanted else {}


async def forget(tx: Tx, key: UUID) -> None:
    """Of an object that goes; may be repeated."""
    held = await tx.maybe(Icon, key)
    if held is not None:
        await tx.remove(held)


def checked(blob: bytes) -> bytes:
    """Raises Invalid for what is no whole picture, as far as its beginning and its end tell."""
    png = (
        blob.startswith(PNG) and blob[12:16] == b"IHDR" and blob[16:24].strip(b"\0") and b"IEND" in blob[-12:]
    )
    jpeg = blob.startswith(JPEG) and b"\xff\xd9" in blob[-64:]
    gif = blob.startswith(GIF) and blob.rstrip(b"\0").endswith(b";")
    bmp = blob.startswith(BMP) and int.from_bytes(blob[2:6], "little") == len(blob)
    if not (png or jpeg or gif or bmp) or len(blob) > MAX_BYTES:
        raise Invalid("Invalid image uploaded: send a PNG, JPEG, GIF or BMP of at most 1.5 MiB.")
    return blob
