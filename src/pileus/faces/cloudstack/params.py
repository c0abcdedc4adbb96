"""Parameters as declared structs: the field's name is the core's word, `param` says CloudStack's name and the help."""

import re
import types
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time
from typing import Any, ClassVar, Union, dataclass_transform, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

from pileus.faces.cloudstack.errors import MALFORMED, ApiError, invalid, invalid_id, missing

EVERY_PROJECT = UUID(int=(1 << 128) - 1)
"""`projectid=-1`: all projects of the caller."""
UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}")
INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
INDEXED = re.compile(r"([a-z0-9_]+)\[([0-9]{1,6})\]\.([^\[\]]+)", re.ASCII | re.IGNORECASE)
LENGTH = 255
MAX_LIST = 500

Rows = tuple[dict[str, str], ...]
"""`name[0].a=1&name[0].b=2&name[1].a=3`, in the order of the indexes."""
Sent = Mapping[str, str]


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter."""

    wire: str
    help: str
    default: Any
    length: int
    type: Any = None
    optional: bool = False
    """None when it is not sent."""
    required: bool = False


def param(wire: str, help: str, *, default: Any = msgspec.NODEFAULT, length: int = LENGTH) -> Any:
    """Declare a parameter; one without a default is required."""
    return Spec(wire=wire, help=help, default=default, length=length, required=default is msgspec.NODEFAULT)


def bare(hint: Any) -> tuple[Any, bool]:
    """The type without None, and whether None was there."""
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        return kinds[0], True
    return hint, False


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(param,))
class ParamsType(msgspec.StructMeta):
    """Turns `param(...)` into msgspec's fields, and keeps what was said of them in `specs`."""

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        declared = {key: value for key, value in namespace.items() if isinstance(value, Spec)}
        for key, spec in declared.items():
            namespace[key] = msgspec.field(name=spec.wire, default=spec.default)
        cls: Any = super().__new__(
            mcls, name, bases, namespace, **{"frozen": True, "kw_only": True} | options
        )
        hints = get_type_hints(cls)
        inherited = {key: spec for base in bases for key, spec in getattr(base, "specs", {}).items()}
        for key, spec in declared.items():
            kind, optional = bare(hints[key])
            inherited[key] = msgspec.structs.replace(spec, type=kind, optional=optional)
        cls.specs = inherited
        return cls


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(param,))
class Params(msgspec.Struct, metaclass=ParamsType):
    """What a command takes."""

    specs: ClassVar[dict[str, Spec]] = {}


class Listing(Params):
    """Every list command."""

    keyword: str = param("keyword", "list by keyword", default="")
    page: int | None = param("page", "the page, from 1", default=None)
    pagesize: int | None = param("pagesize", "how many objects a page has, at most 500", default=None)


class OwnedListing(Listing):
    """Lists of what belongs to accounts and projects; see scope()."""

    account: str = param("account", "list what belongs to this account; needs domainid", default="")
    domain: UUID | None = param("domainid", "list what belongs to this domain", default=None)
    recursive: bool = param("isrecursive", "with domainid: also what is below that domain", default=False)
    all: bool = param("listall", "list everything that the caller may see", default=False)


class ProjectListing(OwnedListing):
    project: UUID | None = param(
        "projectid", "list what belongs to this project; -1: to all projects of the caller", default=None
    )


class TaggedListing(ProjectListing):
    tags: Rows = param("tags", "list what has these tags, as tags[0].key=&tags[0].value=", default=())


class Placed(Params):
    """Makes something; see acting()."""

    account: str = param("account", "the account to own it; needs domainid", default="")
    domain: UUID | None = param("domainid", "the domain of the account", default=None)
    project: UUID | None = param("projectid", "the project to own it", default=None)


def parse(command: str, cls: type[Params], sent: Sent) -> Params:
    """The struct, from the parameters as sent (names in lower case). Raises ApiError 430 and 431."""
    maps = indexed(sent)
    values: dict[str, Any] = {}
    for key, spec in cls.specs.items():
        if spec.type in (Rows, dict[str, str]):
            rows = maps.get(spec.wire)
            if rows is not None:
                values[key] = rows if spec.type == Rows else merged(rows)
            elif sent.get(spec.wire):
                raise malformed(spec.wire)
            elif spec.required:
                raise missing(command, spec.wire)
            continue
        text = sent.get(spec.wire)
        if text is None or (text == "" and (spec.type is not str or spec.required)):
            if spec.required:
                raise missing(command, spec.wire)
            continue
        if len(text) > spec.length and spec.type is str:
            raise ApiError(431, f"Value greater than max allowed length {spec.length} for param: {spec.wire}")
        values[key] = convert(command, spec, text)
    return cls(**values)


def indexed(sent: Sent) -> dict[str, Rows]:
    """The parameters with an index, by name. Raises ApiError 430."""
    found: dict[str, dict[int, dict[str, str]]] = {}
    for name, value in sent.items():
        if "[" not in name and "]" not in name:
            continue
        match = INDEXED.fullmatch(name)
        if match is None:
            raise malformed(name)
        found.setdefault(match[1].lower(), {}).setdefault(int(match[2]), {})[match[3]] = value
    return {name: tuple(rows[at] for at in sorted(rows)) for name, rows in found.items()}


def malformed(name: str) -> ApiError:
    return ApiError(
        MALFORMED,
        f"Parameter {name[:100]} is malformed; write name[0].field=value, with one level only.",
    )


def merged(rows: Rows) -> dict[str, str]:
    """`x[0].key=a&x[0].value=b` and `x[0].a=b` alike."""
    found: dict[str, str] = {}
    for row in rows:
        folded = {name.lower(): value for name, value in row.items()}
        if "key" in folded and set(folded) <= {"key", "value"}:
            found[folded["key"]] = folded.get("value", "")
        else:
            found.update(row)
    return found


def convert(command: str, spec: Spec, text: str) -> Any:
    kind = spec.type
    if get_origin(kind) is tuple:
        items = [item.strip() for item in text.split(",")]
        if len(items) > MAX_LIST:
            raise invalid(command, spec.wire, text, f"at most {MAX_LIST} values are accepted.")
        one: Callable[[str, Spec, str], Any] = CONVERTERS[get_args(kind)[0]]
        return tuple(one(command, spec, item) for item in items if item)
    return CONVERTERS[kind](command, spec, text)


def to_uuid(command: str, spec: Spec, text: str) -> UUID:
    if text == "-1" and spec.wire == "projectid":
        return EVERY_PROJECT
    if not UUID_TEXT.fullmatch(text):
        raise invalid_id(command, spec.wire, text)
    return UUID(text)


def to_int(command: str, spec: Spec, text: str) -> int:
    if not INTEGER.fullmatch(text.strip()):
        raise invalid(command, spec.wire, text, "a whole number is needed.")
    return int(text)


def to_bool(command: str, spec: Spec, text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise invalid(command, spec.wire, text, "write true or false.")
    return text.lower() == "true"


def to_date(command: str, spec: Spec, text: str) -> datetime:
    """`2026-01-31`, with a time after a space or T, and with an offset; UTC where none is given."""
    plain = text.strip().replace(" 00:00", "T00:00") if text.count(" ") == 1 else text.strip()
    try:
        at = datetime.fromisoformat(plain)
    except ValueError:
        raise invalid(command, spec.wire, text, "write yyyy-MM-dd or yyyy-MM-dd'T'HH:mm:ss+0000.") from None
    if len(plain) == len("2026-01-31") and spec.wire == "enddate":
        at = datetime.combine(at.date(), time.max)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


CONVERTERS: Mapping[Any, Callable[[str, Spec, str], Any]] = {
    str: lambda command, spec, text: text,
    UUID: to_uuid,
    int: to_int,
    bool: to_bool,
    datetime: to_date,
}
WORDS: Mapping[Any, str] = {str: "string", UUID: "uuid", int: "integer", bool: "boolean", datetime: "date"}


def word(spec: Spec) -> str:
    """The type as listApis writes it, where the catalogue has no word."""
    if spec.type in (Rows, dict[str, str]):
        return "map"
    return "list" if get_origin(spec.type) is tuple else WORDS[spec.type]
