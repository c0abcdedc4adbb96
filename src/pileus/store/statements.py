"""Statements are built by SQLAlchemy once per shape, compiled to SQL text and parameter order, and kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from pileus.store.columns import Dialect
from pileus.store.conditions import Shape
from pileus.store.records import Layout

Order = tuple[tuple[str, bool], ...]
"""Columns, and whether each descends."""
Clause = sa.ColumnElement[bool]

KEPT = 4096
"""Shapes may follow from what users ask for, so their number is bounded."""

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": lambda column, value: column == value,
    "gt": lambda column, value: column > value,
    "ge": lambda column, value: column >= value,
    "lt": lambda column, value: column < value,
    "le": lambda column, value: column <= value,
}


@dataclass(frozen=True, slots=True)
class Statement:
    """`order` is None where the parameters travel in the order in which they were asked for."""

    sql: str
    order: tuple[int, ...] | None

    def arrange(self, values: Sequence[Any]) -> Sequence[Any]:
        return values if self.order is None else [values[place] for place in self.order]


class Builder:
    """One statement in the making; parameters are numbered as they are asked for."""

    def __init__(self, layout: Layout[Any], dialect: Dialect) -> None:
        self.layout, self.dialect, self.table = layout, dialect, layout.table
        self.asked = 0

    def insert(self) -> sqlite.Insert | postgresql.Insert:
        return sqlite.insert(self.table) if self.dialect == "sqlite" else postgresql.insert(self.table)

    def parameter(self, type_: sa.types.TypeEngine[Any]) -> sa.BindParameter[Any]:
        self.asked += 1
        return sa.bindparam(f"_{self.asked - 1}", type_=type_)

    def value(self, name: str) -> sa.BindParameter[Any]:
        return self.parameter(self.layout.column(name).kind.bind)

    def values(self, names: Sequence[str]) -> dict[str, Any]:
        return {name: self.value(name) for name in names}

    def key(self) -> Clause:
        return sa.and_(*(self.table.c[name] == self.value(name) for name in self.layout.key))

    def where(self, shapes: Shape) -> Clause:
        return sa.and_(sa.true(), *map(self.clause, shapes))

    def clause(self, shape: Shape) -> Clause:
        operator = shape[0]
        if operator == "any":
            return sa.or_(sa.false(), *map(self.clause, shape[1]))
        if operator == "all":
            return sa.and_(sa.true(), *map(self.clause, shape[1]))
        column: Any = self.table.c[shape[1]]
        match operator:
            case "null":
                return column.is_(None)  # type: ignore[no-any-return]
            case "some":
                return column.is_not(None)  # type: ignore[no-any-return]
            case "like":
                return self.like(column)
            case "ne" if self.layout.columns[shape[1]].nullable:
                return column.is_distinct_from(self.value(shape[1]))  # type: ignore[no-any-return]
            case "ne":
                return column != self.value(shape[1])  # type: ignore[no-any-return]
            case "in" | "out":
                return self.membership(column, *shape)
        clause: Clause = COMPARISONS[operator](column, self.value(shape[1]))
        return clause

    def like(self, column: Any) -> Clause:
        if not isinstance(self.layout.columns[column.name].kind.bind, sa.Text):
            column = sa.cast(column, sa.Text())
        pattern = self.parameter(sa.Text())
        # SQLite's LIKE ignores the case of ASCII letters by itself.
        compare = column.like if self.dialect == "sqlite" else column.ilike
        clause: Clause = compare(pattern, escape="\\")
        return clause

    def membership(self, column: Any, operator: str, name: str, count: int | None, null: bool) -> Clause:
        bind = self.layout.columns[name].kind.bind
        if count is not None:
            members: Clause = sa.or_(sa.false(), *(column == self.parameter(bind) for _ in range(count)))
        elif self.dialect == "sqlite":
            listed = sa.func.json_each(self.parameter(sa.Text())).table_valued("value")
            members = column.in_(sa.select(listed.c.value))
        else:
            members = column == sa.any_(self.parameter(sa.ARRAY(bind)))
        if not self.layout.columns[name].nullable:
            return members if operator == "in" else sa.not_(members)
        if operator == "in":
            return sa.or_(members, column.is_(None)) if null else members
        outside = sa.and_(column.is_not(None), sa.not_(members))
        return outside if null else sa.or_(column.is_(None), sa.not_(members))

    def ordering(self, order: Order) -> list[Any]:
        terms = []
        for name, descends in order:
            column = self.table.c[name]
            term = column.desc() if descends else column.asc()
            if self.layout.columns[name].nullable:  # null is the smallest value in both dialects
                term = term.nulls_last() if descends else term.nulls_first()
            terms.append(term)
        return terms

    def beyond(self, order: Order, nulls: tuple[bool, ...]) -> Clause:
        """The rows after a given one, whose values are the next parameters (those that are not null)."""
        marks = [
            (self.table.c[name], descends, None if null else self.value(name))
            for (name, descends), null in zip(order, nulls, strict=True)
        ]
        nullable = any(self.layout.columns[name].nullable for name, _ in order)
        directions = {descends for _, descends in order}
        if not nullable and len(directions) == 1:  # a comparison of rows walks an index
            left = sa.tuple_(*(column for column, _, _ in marks))
            right = sa.tuple_(*(mark for _, _, mark in marks))
            return left < right if directions == {True} else left > right
        chances = []
        for place, (column, descends, mark) in enumerate(marks):
            same = [earlier.is_(None) if at is None else earlier == at for earlier, _, at in marks[:place]]
            chances.append(sa.and_(*same, self.past(column, descends, mark)))
        return sa.or_(*chances)

    def past(self, column: sa.Column[Any], descends: bool, mark: sa.BindParameter[Any] | None) -> Clause:
        if mark is None:
            return sa.false() if descends else column.is_not(None)
        if not descends:
            return column > mark
        return sa.or_(column < mark, column.is_(None)) if column.nullable else column < mark


class Statements:
    """The statements of one dialect."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect: Dialect = dialect
        self._compiler: sa.Dialect = (
            SQLiteDialect_pysqlite() if dialect == "sqlite" else PGDialect_asyncpg()  # type: ignore[no-untyped-call]
        )
        self._kept: dict[tuple[Any, ...], Statement] = {}

    def of(self, make: Callable[..., sa.sql.ClauseElement], layout: Layout[Any], *shape: Any) -> Statement:
        """`make` is one of the functions below; with the layout and its arguments it names the statement."""
        name = (make, layout, *shape)
        statement = self._kept.get(name)
        if statement is None:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            statement = self._kept[name] = self._compile(make(Builder(layout, self.dialect), *shape))
        return statement

    def _compile(self, built: sa.sql.ClauseElement) -> Statement:
        compiled: Any = built.compile(dialect=self._compiler, compile_kwargs={"render_postcompile": True})
        order = tuple(int(name[1:]) for name in compiled.positiontup or ())
        return Statement(str(compiled), None if order == tuple(range(len(order))) else order)


@cache
def statements(dialect: Dialect) -> Statements:
    """One set a process: stores of one dialect share what was compiled."""
    return Statements(dialect)


def get(build: Builder, lock: bool) -> sa.Select[Any]:
    select = sa.select(*build.table.c).where(build.key())
    return select.with_for_update() if lock and build.dialect == "postgresql" else select


def select(
    build: Builder, shape: Shape, order: Order, after: tuple[bool, ...] | None, limited: bool
) -> sa.Select[Any]:
    """`after`: which values of the last row seen are null."""
    rows = sa.select(*build.table.c).where(build.where(shape)).order_by(*build.ordering(order))
    if after is not None:
        rows = rows.where(build.beyond(order, after))
    if limited:  # without an offset in the text SQLAlchemy adds one to SQLite's as a parameter
        rows = rows.limit(build.parameter(sa.BigInteger())).offset(sa.literal_column("0"))
    return rows


def count(build: Builder, shape: Shape) -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(build.table).where(build.where(shape))


def total(build: Builder, column: str, shape: Shape) -> sa.Select[Any]:
    summed = sa.func.coalesce(sa.func.sum(build.table.c[column]), sa.literal_column("0"))
    return sa.select(sa.cast(summed, sa.BigInteger())).where(build.where(shape))


def insert(build: Builder) -> sa.Insert:
    """A duplicate inserts nothing, for on PostgreSQL an error would end the whole transaction."""
    layout = build.layout
    names = [name for name in layout.columns if name != layout.auto]
    rows = build.insert().values(build.values(names)).on_conflict_do_nothing()
    return rows.returning(build.table.c[layout.auto]) if layout.auto else rows


def put(build: Builder) -> sa.Insert:
    layout = build.layout
    rows = build.insert().values(build.values(tuple(layout.columns)))
    if not layout.values:
        return rows.on_conflict_do_nothing(index_elements=layout.key)
    changed = {name: rows.excluded[name] for name in layout.values}
    return rows.on_conflict_do_update(index_elements=layout.key, set_=changed)


def update(build: Builder) -> sa.Update:
    changed: dict[str, Any] = build.values(build.layout.values)
    if not changed:
        changed = {build.layout.key[0]: build.table.c[build.layout.key[0]]}
    return sa.update(build.table).values(changed).where(build.key())


def update_where(build: Builder, names: tuple[str, ...], shape: Shape) -> sa.Update:
    changed = build.values(names)
    return sa.update(build.table).values(changed).where(build.where(shape))


def increment(build: Builder, column: str, shape: Shape) -> sa.Update:
    changed = {column: build.table.c[column] + build.value(column)}
    return sa.update(build.table).values(changed).where(build.where(shape))


def delete(build: Builder) -> sa.Delete:
    return sa.delete(build.table).where(build.key())


def delete_where(build: Builder, shape: Shape) -> sa.Delete:
    return sa.delete(build.table).where(build.where(shape))
