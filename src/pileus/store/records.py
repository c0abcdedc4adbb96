"""Records are frozen structs; `table` declares where their rows live and registers them for migrations."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, dataclass_transform, get_type_hints

import msgspec
import sqlalchemy as sa

from pileus.store.columns import DIALECTS, SEQUENCE, Converter, Dialect, Kind, kind_of, split_null
from pileus.store.errors import Unreadable, Unstorable

MAX_IDENTIFIER = 60
"""PostgreSQL cuts names at 63 bytes."""


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class RecordType(msgspec.StructMeta):
    """Makes `frozen` and `kw_only` hold for every record, which a struct's options alone do not inherit.

    A record holds plain values and can be in no cycle, so the garbage collector need not walk it.
    """

    def __new__(mcls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        fixed = {"frozen": True, "kw_only": True, "gc": False}
        return super().__new__(mcls, name, bases, namespace, **fixed | options)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(msgspec.field,))
class Record(msgspec.Struct, metaclass=RecordType):
    """One row; change is `msgspec.structs.replace`."""


T = TypeVar("T", bound=Record)


class Column(msgspec.Struct, frozen=True):
    name: str
    kind: Kind
    nullable: bool


class Layout(Generic[T]):
    """All that is known of a record's table."""

    def __init__(self, cls: type[T], table: sa.Table, columns: dict[str, Column], auto: str | None) -> None:
        self.cls, self.table, self.columns, self.auto = cls, table, columns, auto
        self.name = str(table.name)
        """A plain text: what SQLAlchemy keeps is one of its own, which encoders refuse."""
        self.key = tuple(str(column.name) for column in table.primary_key)
        self.values = tuple(name for name in columns if name not in self.key)
        self.decoders = {dialect: self._decoder(dialect) for dialect in DIALECTS}
        """Of rows whose columns are in the record's order."""
        self._encoders: dict[str, dict[str, Converter]] = {
            dialect: {name: column.kind.encode[dialect] for name, column in columns.items()}
            for dialect in DIALECTS
        }
        self.unique = tuple(
            (str(index.name), tuple(column.name for column in index.columns))
            for index in sorted(table.indexes, key=lambda index: str(index.name))
            if index.unique
        )

    def column(self, name: str) -> Column:
        try:
            return self.columns[name]
        except KeyError:
            raise ValueError(
                f"{self.name} has no column {name!r}; it has {', '.join(self.columns)}"
            ) from None

    def encode(self, name: str, value: Any, dialect: Dialect) -> Any:
        convert = self.column(name).kind.encode[dialect]
        if value is None or convert is None:
            return value
        try:
            return convert(value)
        except (TypeError, ValueError) as error:
            raise Unstorable(f"{self.name}.{name}: {error}") from error

    def encode_row(self, record: T, names: Sequence[str], dialect: Dialect) -> list[Any]:
        converters, row = self._encoders[dialect], []
        for name in names:
            value, convert = getattr(record, name), converters[name]
            try:
                row.append(value if value is None or convert is None else convert(value))
            except (TypeError, ValueError) as error:
                raise Unstorable(f"{self.name}.{name}: {error}") from error
        return row

    def encode_key(self, key: Sequence[object], dialect: Dialect) -> list[Any]:
        if len(key) != len(self.key):
            raise TypeError(f"the key of {self.name} is ({', '.join(self.key)}), got {len(key)} values")
        return [self.encode(name, value, dialect) for name, value in zip(self.key, key, strict=True)]

    def key_of(self, record: T) -> tuple[Any, ...]:
        return tuple(getattr(record, name) for name in self.key)

    def _decoder(self, dialect: Dialect) -> Callable[[Sequence[Any]], T]:
        """Compiled for the record, as `dataclasses` does it: most of what a long list costs is this."""
        known: dict[str, Any] = {"cls": self.cls}
        arguments = []
        for place, (name, column) in enumerate(self.columns.items()):
            convert, value = column.kind.decode[dialect], f"row[{place}]"
            if convert is not None:
                known[f"read{place}"] = convert
                value = f"None if {value} is None else read{place}({value})"
            arguments.append(f"{name}={value}")
        make: Callable[[Sequence[Any]], T] = eval(f"lambda row: cls({', '.join(arguments)})", known)  # noqa: S307 - our own names

        def decode(row: Sequence[Any]) -> T:
            try:
                return make(row)
            except (KeyError, TypeError, ValueError) as error:
                raise Unreadable(f"{self.name}.{self._unreadable(row, dialect)}: {error}") from error

        return decode

    def _unreadable(self, row: Sequence[Any], dialect: Dialect) -> str:
        """The first column whose value cannot be converted, with the value."""
        for value, (name, column) in zip(row, self.columns.items(), strict=True):
            convert = column.kind.decode[dialect]
            try:
                if value is not None and convert is not None:
                    convert(value)
            except (KeyError, TypeError, ValueError):
                return f"{name}: {value!r}"
        return repr(row)


class Registry:
    """The tables of one schema. The product has one; a test with records of its own makes another."""

    def __init__(self) -> None:
        self.metadata = sa.MetaData(naming_convention={"pk": "pk_%(table_name)s"})
        self.layouts: dict[str, Layout[Any]] = {}

    def __iter__(self) -> Iterator[Layout[Any]]:
        return iter(self.layouts.values())


REGISTRY = Registry()
LAYOUTS: dict[type[Record], Layout[Any]] = {}


def layout_of(cls: type[T]) -> Layout[T]:
    try:
        return LAYOUTS[cls]
    except KeyError:
        raise TypeError(f"{cls.__name__} has no table; declare it with @table(...)") from None


def table(
    name: str,
    *,
    key: Sequence[str] = ("id",),
    auto: str | None = None,
    indexes: Sequence[Sequence[str]] = (),
    unique: Sequence[Sequence[str]] = (),
    registry: Registry = REGISTRY,
) -> Callable[[type[T]], type[T]]:
    """Declare where a record's rows live. `auto`: an integer key that the database counts up, never reusing.

    In a unique set of columns null differs from null: a nullable column that is set only in some states makes
    the rule hold in those states.
    """

    def declare(cls: type[T]) -> type[T]:
        if name in registry.layouts:
            raise ValueError(f"table {name} is declared by {registry.layouts[name].cls.__name__} already")
        if auto is not None and tuple(key) != (auto,):
            raise ValueError(f"{name}: a counted column must be the whole key")
        columns = columns_of(cls)
        for column in {*key, *(part for group in (*indexes, *unique) for part in group)} - set(columns):
            raise ValueError(f"{name}: {cls.__name__} has no field {column!r}")
        counted: dict[str, Any] = {"sqlite_autoincrement": True} if auto else {}
        made = sa.Table(
            name,
            registry.metadata,
            *(sql_column(column, key, auto) for column in columns.values()),
            sa.PrimaryKeyConstraint(*key),
            *(sa.Index(identifier("ix", name, group), *group) for group in indexes),
            *(sa.Index(identifier("uq", name, group), *group, unique=True) for group in unique),
            **counted,
        )
        registry.layouts[name] = LAYOUTS[cls] = Layout(cls, made, columns, auto)
        return cls

    return declare


def columns_of(cls: type[Record]) -> dict[str, Column]:
    hints = get_type_hints(cls, include_extras=True)
    columns: dict[str, Column] = {}
    for name in cls.__struct_fields__:
        annotation, nullable = split_null(hints[name])
        columns[name] = Column(name, kind_of(annotation), nullable)
    return columns


def sql_column(column: Column, key: Sequence[str], auto: str | None) -> sa.Column[Any]:
    if column.name == auto:
        return sa.Column(column.name, SEQUENCE, autoincrement=True, nullable=False)
    if column.name not in key:
        return sa.Column(column.name, column.kind.type, nullable=column.nullable)
    if column.nullable:
        raise ValueError(f"{column.name} is part of a key and cannot be null")
    return sa.Column(column.name, column.kind.type, nullable=False, autoincrement=False)


def identifier(prefix: str, name: str, columns: Sequence[str]) -> str:
    full = "_".join((prefix, name, *columns))
    return full if len(full) <= MAX_IDENTIFIER else f"{full[:51]}_{zlib.crc32(full.encode()):08x}"
