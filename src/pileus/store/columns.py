"""From a field's annotation to a column: its SQL type, and how values travel in each dialect.

`None` in place of a converter means that the value travels as it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache, partial
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
    ip_network,
)
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

import msgspec
import sqlalchemy as sa

Dialect = Literal["sqlite", "postgresql"]
DIALECTS: tuple[Dialect, ...] = ("sqlite", "postgresql")
Converter = Callable[[Any], Any] | None

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

ADDRESSES: tuple[tuple[frozenset[type], Callable[[str], Any]], ...] = (
    (frozenset({IPv4Address, IPv6Address}), lru_cache(maxsize=8192)(ip_address)),
    (frozenset({IPv4Network, IPv6Network}), lru_cache(maxsize=8192)(ip_network)),
    (frozenset({IPv4Interface, IPv6Interface}), lru_cache(maxsize=8192)(ip_interface)),
)
ADDRESS_TYPES = frozenset[type]().union(*(family for family, _ in ADDRESSES))

# "C" makes PostgreSQL order and compare text by code point, as SQLite does.
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
UUID_TEXT = sa.String(36).with_variant(sa.Uuid(), "postgresql")
# SQLite numbers rows by itself only in a column that is declared as INTEGER.
SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


@dataclass(frozen=True, slots=True)
class Kind:
    """`type` declares the column, `bind` types its parameters; `listable`: an IN list may travel as JSON."""

    type: sa.types.TypeEngine[Any]
    bind: sa.types.TypeEngine[Any]
    encode: Mapping[Dialect, Converter]
    decode: Mapping[Dialect, Converter]
    listable: bool = True


def both(converter: Converter) -> Mapping[Dialect, Converter]:
    return {"sqlite": converter, "postgresql": converter}


def to_microseconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return (moment - EPOCH) // MICROSECOND


def from_microseconds(count: int) -> datetime:
    return EPOCH + timedelta(microseconds=count)


def encode_foreign(value: object) -> str:
    """Inside JSON: what msgspec does not know by itself."""
    if type(value) in ADDRESS_TYPES:
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be stored as JSON")


def decode_foreign(wanted: type, value: object) -> object:
    if wanted in ADDRESS_TYPES:
        return wanted(value)
    raise TypeError(f"{wanted.__name__} cannot be read from JSON")


JSON = msgspec.json.Encoder(order="deterministic", enc_hook=encode_foreign)


def encode_json(value: object) -> str:
    return JSON.encode(value).decode()


def plain(type_: sa.types.TypeEngine[Any], **options: Any) -> Kind:
    return Kind(type_, type_, both(None), both(None), **options)


def text(decode: Converter = None, encode: Converter = None) -> Kind:
    return Kind(TEXT, sa.Text(), both(encode), both(decode))


PLAIN: tuple[tuple[type, Kind], ...] = (
    (UUID, Kind(
        UUID_TEXT, sa.Uuid(),
        {"sqlite": msgspec.to_builtins, "postgresql": None},
        {"sqlite": lru_cache(maxsize=8192)(partial(msgspec.convert, type=UUID)), "postgresql": None},
    )),
    (bool, Kind(sa.Boolean(), sa.Boolean(), both(None), {"sqlite": bool, "postgresql": None})),
    (int, plain(sa.BigInteger())),
    (float, plain(sa.Double(), listable=False)),
    (str, text()),
    (bytes, plain(sa.LargeBinary(), listable=False)),
    (datetime, Kind(sa.BigInteger(), sa.BigInteger(), both(to_microseconds), both(from_microseconds))),
)  # fmt: skip


def kind_of(annotation: Any) -> Kind:
    """Of an annotation without None."""
    if get_origin(annotation) is Annotated:
        return kind_of(get_args(annotation)[0])
    members = frozenset(alternatives(annotation))
    for family, parse in ADDRESSES:
        if members <= family:
            return text(parse if len(members) > 1 else lru_cache(maxsize=8192)(next(iter(members))), str)
    if get_origin(annotation) is Literal and all(isinstance(word, str) for word in get_args(annotation)):
        return text()
    if get_origin(annotation) is None and isinstance(annotation, type):
        if issubclass(annotation, Enum) and issubclass(annotation, str):
            return text(annotation._value2member_map_.__getitem__)
        if issubclass(annotation, Enum) and issubclass(annotation, int):
            return Kind(sa.BigInteger(), sa.BigInteger(), both(int), both(annotation))
        for known, kind in PLAIN:
            if annotation is known:
                return kind
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(annotation, dec_hook=decode_foreign)
    return text(decoder.decode, encode_json)


def alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def split_null(annotation: Any) -> tuple[Any, bool]:
    """`X | None` -> X and that it may be null."""
    if annotation is Any:
        return annotation, True
    members = alternatives(annotation)
    kept = tuple(member for member in members if member is not NoneType)
    if len(kept) == len(members):
        return annotation, False
    return Union[kept], True  # noqa: UP007 - the members are known at run time only
