"""Attributes of Keystone's objects that nobody declared: they are kept and shown back."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.errors import Invalid
from pileus.faces.wire import Request
from pileus.faces.wire.decoding import raw

FIXED = frozenset({"id", "links"})
"""What an object has anyway, whatever a client sends under it."""


async def extras(request: Request, envelope: str, shape: type[msgspec.Struct]) -> dict[str, Any]:
    """What the body has under the envelope beside the declared fields."""
    content = raw(await request.body())
    declared = {field.encode_name for field in msgspec.structs.fields(shape)} | FIXED
    return {name: value for name, value in content[envelope].items() if name not in declared}


async def changes(request: Request, envelope: str, shape: type[msgspec.Struct], key: str) -> dict[str, Any]:
    """As `extras` of a PATCH: it must change something, and not the id."""
    content = raw(await request.body())[envelope]
    if not content:
        raise Invalid(f"Invalid input for field/attribute {envelope}: it is empty; name what shall change.")
    if content.get("id", key) != key:
        raise Invalid("Cannot change ID.")
    return await extras(request, envelope, shape)


def text(value: str | UnsetType | None) -> str | UnsetType:
    """Null stands for no text."""
    return "" if value is None else value


def kept(extra: dict[str, Any]) -> dict[str, Any] | UnsetType:
    return extra or UNSET
