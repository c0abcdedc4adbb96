"""What the compute API accepts loosely: booleans and integers as texts, names with their rules, base64."""

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from pileus.core.errors import Invalid
from pileus.faces.wire import Span, Version
from pileus.faces.wire.versions import within

Name = Annotated[str, Meta(min_length=1, max_length=255)]
Text255 = Annotated[str, Meta(max_length=255)]
Tag = Annotated[str, Meta(min_length=1, max_length=60, pattern=r"^[^,/]*$")]
Metadata = dict[
    Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9-_:. ]{1,255}$")], Text255
]
TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
FALSE = frozenset({"0", "f", "false", "off", "n", "no"})
HOSTNAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request's part: what is not declared is refused."""


def truth(value: Any, field: str) -> bool:
    """A boolean, or one of the texts that the original takes for one."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in TRUE or text in FALSE:
        return text in TRUE
    raise Invalid(f"Invalid input for field/attribute {field}. Value: {value}. {value!r} is not a boolean.")


def truthy(text: str | None) -> bool:
    """For query parameters, where anything else is false."""
    return text is not None and text.strip().lower() in TRUE


def number(value: Any, field: str, *, least: int = 0, most: int = 0x7FFFFFFF) -> int:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]{1,12}", text):
        raise Invalid(
            f"Invalid input for field/attribute {field}. Value: {value}. {value!r} is not an integer."
        )
    if not least <= int(text) <= most:
        raise Invalid(
            f"Invalid input for field/attribute {field}. Value: {value}. It must be between {least} and {most}."
        )
    return int(text)


def name(value: str, field: str = "name") -> str:
    """Printable, and with no space at either end."""
    if value != value.strip() or not value.isprintable() or not value:
        raise Invalid(
            f"Invalid input for field/attribute {field}. Value: {value!r}. It must be 1 to 255 printable characters "
            "without a space at its beginning or end."
        )
    return value


def key(value: str | None, field: str) -> UUID:
    try:
        return UUID(value or "")
    except ValueError:
        raise Invalid(
            f"Invalid input for field/attribute {field}. Value: {value}. {value!r} is not a 'uuid'."
        ) from None


def decoded(text: str, field: str) -> bytes:
    if len(text) > 65535:
        raise Invalid(f"Invalid input for field/attribute {field}. It is longer than 65535 characters.")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid(f"Invalid input for field/attribute {field}. It is not a 'base64'.") from None


def hostname(value: str, version: Version) -> str:
    """A label; from 2.94 on a name with dots."""
    labels = value.split(".") if version >= (2, 94) else [value]
    if len(value) > 255 or not all(HOSTNAME.fullmatch(label) for label in labels):
        raise Invalid(f"Invalid input for field/attribute hostname. Value: {value}. It is not a host name.")
    return value


def refuse_out_of_version(
    given: Mapping[str, Any], spans: Mapping[str, Span], version: Version, where: str
) -> None:
    """Invalid for a field that the request's version does not have (yet, or any more)."""
    for field, span in spans.items():
        if field in given and not within(span, version):
            raise Invalid(
                f"Invalid input for field/attribute {where}. "
                f"Additional properties are not allowed ({field!r} was unexpected)"
            )


def sent(body: msgspec.Struct) -> dict[str, Any]:
    """The fields that were given, by their wire names."""
    return {
        field.encode_name: value
        for field in msgspec.structs.fields(type(body))
        if (value := getattr(body, field.name)) is not msgspec.UNSET
    }
