"""From bytes and query strings to declared structs, with refusals that name the field and the cause."""

import re
import types
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from pileus.core.errors import Invalid
from pileus.faces.wire.query import Query
from pileus.faces.wire.versions import Span, Version, within

PLACE = re.compile(r"^(?P<cause>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>.*)`)?$", re.DOTALL)
NAMED = re.compile(r"Object (?P<what>missing required|contains unknown) field '(?P<name>.*)'", re.DOTALL)
LONG = re.compile(rb"[0-9]{19}")
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
MANY = (tuple, list, set, frozenset)


class Body:
    """A declared JSON body: a type, alone or under the single key `envelope`."""

    def __init__(self, shape: Any, envelope: str | None) -> None:
        self.envelope = envelope
        self.shape = shape
        inner = f"the key {envelope!r}" if envelope else "the declared fields"
        self.expected = f"a JSON object with {inner}"
        wire: Any = shape
        if envelope is not None:
            field = ("content", shape, msgspec.field(name=envelope))
            wire = msgspec.defstruct("Body", [field], forbid_unknown_fields=True, frozen=True)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(wire)
        self._optional = envelope is None and nullable(self._decoder)

    def decode(self, data: bytes) -> Any:
        if not data.strip():
            if self._optional:
                return None
            raise Invalid(f"The request has no body; send {self.expected}.")
        value = guarded(lambda: self._decoder.decode(data), self.envelope)
        refuse_unstorable(data)
        return value if self.envelope is None else value.content

    def under(self, data: bytes, key: str) -> Any:
        """Decode what stands under an action's key."""
        return guarded(lambda: self._decoder.decode(data), None, f".{key}")


def nullable(decoder: msgspec.json.Decoder[Any]) -> bool:
    try:
        return decoder.decode(b"null") is None
    except msgspec.ValidationError:
        return False


def raw(data: bytes) -> Any:
    """Undeclared JSON; Invalid where it is none."""
    value = guarded(lambda: msgspec.json.decode(data), None)
    refuse_unstorable(data)
    return value


ENVELOPE: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])


def action(data: bytes) -> tuple[str, bytes]:
    """The single key of an action's body and what stands under it."""
    if not data.strip():
        raise Invalid("The request has no body; send a JSON object whose single key is the action.")
    entries = guarded(lambda: ENVELOPE.decode(data), None)
    if len(entries) != 1:
        names = ", ".join(sorted(entries)) or "none"
        raise Invalid(
            f"The body must have exactly one key, the action; it has {len(entries)}: {names[:200]}."
        )
    refuse_unstorable(data)
    name, content = next(iter(entries.items()))
    return name, bytes(content)


def guarded(decode: Callable[[], Any], envelope: str | None, prefix: str = "") -> Any:
    """Run a decoder and turn each way in which it can fail into Invalid."""
    try:
        return decode()
    except msgspec.ValidationError as error:
        raise explain(str(error), envelope, prefix) from None
    except msgspec.DecodeError as error:
        raise Invalid(f"Malformed request body: it is not JSON ({error}).") from None
    except RecursionError:
        raise Invalid("Malformed request body: it is nested too deeply.") from None
    except (UnicodeDecodeError, OverflowError) as error:
        raise Invalid(f"Malformed request body: {error}.") from None


def explain(text: str, envelope: str | None, prefix: str = "") -> Invalid:
    """Word a validation failure by field and cause."""
    match = PLACE.match(text)
    if match is None:
        return Invalid(text)
    cause, path = match["cause"].replace("`", "'"), prefix + (match["path"] or "")
    if envelope is not None and not path:
        return Invalid(
            f"Malformed request body: it must be a JSON object with the single key {envelope!r} ({cause})."
        )
    if envelope is not None:
        path = path.removeprefix(f".{envelope}") or f".{envelope}"
    named = NAMED.fullmatch(cause)
    place = path.removeprefix(".")
    if named is not None and named["what"].startswith("missing"):
        cause = f"{named['name']!r} is a required property"
    elif named is not None:
        cause = f"Additional properties are not allowed ({named['name']!r} was unexpected)"
    elif match["key"]:
        cause = f"a key is wrong: {cause}"
    if not place:
        return Invalid(f"Invalid input for the request: {cause}.")
    return Invalid(f"Invalid input for field/attribute {place}: {cause}.")


def refuse_unstorable(data: bytes) -> None:
    """What no database, file or guest below can hold: texts with U+0000, integers of more than 64 bits."""
    if b"\\u0000" in data and NUL.search(data):
        raise Invalid("Malformed request body: a text holds the character U+0000; remove it.")
    if LONG.search(data):
        refuse_huge(guarded(lambda: msgspec.json.decode(data), None))


def refuse_huge(value: Any) -> None:
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
        elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise Invalid("Invalid input for the request: an integer has more than 64 bits.")


def refuse_newer(data: bytes, envelope: str | None, fields: Mapping[str, Span], version: Version) -> None:
    """Invalid for a field whose version is not the request's: there the field does not exist."""
    hidden = {name for name, span in fields.items() if not within(span, version)}
    if not hidden:
        return
    content = raw(data)
    inner = content.get(envelope) if envelope is not None and isinstance(content, dict) else content
    if not isinstance(inner, dict):
        return
    for name in hidden & inner.keys():
        raise Invalid(
            f"Invalid input for field/attribute {envelope or 'body'}: "
            f"Additional properties are not allowed ({name!r} was unexpected)."
        )


def visible(reply: Mapping[str, Any], fields: Mapping[str, Span], version: Version) -> dict[str, Any]:
    """A reply without the fields that the version does not know: inside its envelopes, one or many."""
    hidden = {name for name, span in fields.items() if not within(span, version)}
    if not hidden:
        return dict(reply)

    def strip(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: inner for key, inner in value.items() if key not in hidden}
        if isinstance(value, list | tuple):
            return [strip(inner) for inner in value]
        return value

    return {key: strip(value) for key, value in reply.items() if key not in hidden}


class QueryShape:
    """A declared query string: text becomes the declared types, repeated names become tuples."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape
        self._many: dict[str, bool] = {
            field.encode_name: sequence(field.type) for field in msgspec.structs.fields(shape)
        }
        self.names = frozenset(self._many)
        self._forbids = bool(shape.__struct_config__.forbid_unknown_fields)

    def decode(self, query: Query, strict: bool) -> Any:
        if strict or self._forbids:
            refuse_unknown(query, self.names)
        given: dict[str, Any] = {
            name: values if self._many[name] else values[-1]
            for name, values in query.lists().items()
            if name in self._many
        }
        found = guarded(lambda: msgspec.convert(given, self.shape, strict=False), None)
        if any(len(value) > 18 for _, value in query.pairs):
            refuse_huge(msgspec.to_builtins(found))
        return found


def refuse_unknown(query: Query, names: frozenset[str]) -> None:
    for name in query:
        if name not in names:
            raise Invalid(
                "Invalid input for query parameters: "
                f"Additional properties are not allowed ({name!r} was unexpected)."
            )


def sequence(kind: Any) -> bool:
    """Whether a field takes several values."""
    origin = get_origin(kind)
    if origin is Annotated:
        return sequence(get_args(kind)[0])
    if origin in (Union, types.UnionType):
        return any(sequence(part) for part in get_args(kind))
    return origin in MANY or kind in MANY
