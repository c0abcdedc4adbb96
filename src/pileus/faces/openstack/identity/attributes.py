"""Attributes of Keystone's objects that nobody declared: they are kept and shown back."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.errors import Invalid
from pileus.faces.wire import Request
from pileus.faces.wire.decoding import raw

FIXED = frozenset({"id", "links", "extra"})
"""What an object has anyway, whatever a client sends under it."""
TEXTS = ("description", "email")
"""Declared texts that the core has as empty, and of which clients tell null, empty and never given apart."""


async def extras(
    request: Request, envelope: str, shape: type[msgspec.Struct], *, texts: bool = False
) -> dict[str, Any]:
    """What the body has under the envelope beside the declared fields. With `texts` also which of those is null or empty,
    for `shown` and `shown_texts`."""
    content = raw(await request.body())[envelope]
    declared = {field.encode_name for field in msgspec.structs.fields(shape)}
    found = {name: value for name, value in content.items() if name not in declared | FIXED}
    if texts:
        found |= {
            name: content[name] for name in TEXTS if name in declared and content.get(name, 0) in ("", None)
        }
    return found


async def changes(
    request: Request,
    envelope: str,
    shape: type[msgspec.Struct],
    key: str,
    *,
    texts: bool = False,
    empty: bool = False,
) -> dict[str, Any]:
    """As `extras` of a PATCH: it must change something (but `empty`), and not the id."""
    content = raw(await request.body())[envelope]
    if not content and not empty:
        raise Invalid(f"Invalid input for field/attribute {envelope}: it is empty; name what shall change.")
    if content.get("id", key) != key:
        raise Invalid("Cannot change ID.")
    return await extras(request, envelope, shape, texts=texts)


def text(value: str | UnsetType | None) -> str | UnsetType:
    """Null stands for no text."""
    return "" if value is None else value


def shown(description: str, extra: Mapping[str, Any], *, default: str | None = "") -> str | None:
    """A description as it was given."""
    return description or extra.get("description", default)


def shown_texts(extra: Mapping[str, Any], **values: str) -> dict[str, str | None]:
    """Those of the texts that were ever given."""
    return {name: value or extra[name] for name, value in values.items() if value or name in extra}


def distinct(tags: tuple[str, ...] | UnsetType) -> tuple[str, ...] | UnsetType:
    """Raises Invalid for one that is there twice."""
    if tags is not UNSET and len(set(tags)) < len(tags):
        raise Invalid(
            "Invalid input for field/attribute tags: it has non-unique elements; name each tag once."
        )
    return tags


def trimmed(name: str | UnsetType) -> str | UnsetType:
    return name if name is UNSET else name.strip()


def kept(extra: dict[str, Any]) -> dict[str, Any] | UnsetType:
    return extra or UNSET
