"""Reading and writing records: the same words for both databases, above a connection that runs statements.

The body of a view or transaction awaits only that view or transaction, one call at a time: SQLite has one
writer, so whatever else a body waited for, every other writer would wait for too.
"""

import builtins
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from pileus.store import statements
from pileus.store.conditions import Condition, eq, split
from pileus.store.errors import Absent, Duplicate, Failed
from pileus.store.records import Layout, Record, layout_of
from pileus.store.statements import Order, Statement, Statements

T = TypeVar("T", bound=Record)
R = TypeVar("R")
Row = Sequence[Any]


class Connection(Protocol):
    """What a driver gives. Errors come as those of `store.errors`."""

    async def rows(self, statement: Statement, values: Row, decode: Callable[[Row], R]) -> list[R]: ...

    async def execute(self, statement: Statement, values: Row) -> int:
        """The number of rows that were touched."""
        ...


class Ended:
    """Stands in for the connection after the end."""

    async def rows(self, statement: Statement, values: Row, decode: Callable[[Row], R]) -> list[R]:
        raise RuntimeError("this view or transaction has ended; use it only inside its `async with`")

    async def execute(self, statement: Statement, values: Row) -> int:
        raise RuntimeError("this view or transaction has ended; use it only inside its `async with`")


class View:
    """Reads from one consistent snapshot (of what is committed; a transaction also sees its own writes)."""

    locks = False

    def __init__(self, connection: Connection, known: Statements) -> None:
        self._connection, self._known, self._dialect = connection, known, known.dialect

    def end(self) -> None:
        self._connection = Ended()

    async def _rows(self, statement: Statement, values: Row, decode: Callable[[Row], R]) -> builtins.list[R]:
        return await self._connection.rows(statement, values, decode)

    async def ask(self, sql: str, values: Row, decode: Callable[[Row], R]) -> builtins.list[R]:
        """A question of the store's own to its database, in that one's SQL."""
        return await self._rows(Statement(sql, None), values, decode)

    async def get(self, cls: type[T], *key: object) -> T | None:
        """In a transaction on PostgreSQL the row stays locked until the end; SQLite has one writer anyway."""
        layout = layout_of(cls)
        statement = self._known.of(statements.get, layout, self.locks)
        values = layout.encode_key(key, self._dialect)
        found = await self._rows(statement, values, layout.decoders[self._dialect])
        return found[0] if found else None

    async def list(
        self,
        cls: type[T],
        *where: Condition,
        order: Sequence[str] = (),
        after: Sequence[object] | None = None,
        limit: int | None = None,
        **equals: object,
    ) -> builtins.list[T]:
        """`equals`: a value, None for null, or a tuple, list or set of alternatives.

        `order`: columns, "-" before one that descends; those of the key that are not named are appended
        (descending if all the others do). `after`: the last row seen, as its values in `order`, then
        in the appended ones. Null is the smallest value.
        """
        layout = layout_of(cls)
        terms = full_order(layout, order)
        shape, values = split(layout, where, equals, self._dialect)
        nulls = None
        if after is not None:
            marks = self._marks(layout, terms, after)
            nulls = tuple(mark is None for mark in marks)
            values.extend(mark for mark in marks if mark is not None)
        if limit is not None:
            values.append(limit)
        statement = self._known.of(statements.select, layout, shape, terms, nulls, limit is not None)
        return await self._rows(statement, values, layout.decoders[self._dialect])

    def _marks(self, layout: Layout[Any], terms: Order, after: Sequence[object]) -> builtins.list[Any]:
        if len(after) != len(terms):
            named = ", ".join(name for name, _ in terms)
            raise ValueError(f"{layout.name}: `after` needs the values of ({named}), got {len(after)}")
        return [layout.encode(name, at, self._dialect) for (name, _), at in zip(terms, after, strict=True)]

    async def one(self, cls: type[T], *where: Condition, **equals: object) -> T | None:
        """Any one of those that match."""
        layout = layout_of(cls)
        shape, values = split(layout, where, equals, self._dialect)
        statement = self._known.of(statements.select, layout, shape, (), None, True)
        found = await self._rows(statement, [*values, 1], layout.decoders[self._dialect])
        return found[0] if found else None

    async def count(self, cls: type[Record], *where: Condition, **equals: object) -> int:
        layout = layout_of(cls)
        shape, values = split(layout, where, equals, self._dialect)
        return (await self._rows(self._known.of(statements.count, layout, shape), values, number))[0]

    async def total(self, cls: type[Record], column: str, *where: Condition, **equals: object) -> int:
        """The sum of a column, 0 of no rows."""
        layout = layout_of(cls)
        layout.column(column)
        shape, values = split(layout, where, equals, self._dialect)
        return (await self._rows(self._known.of(statements.total, layout, column, shape), values, number))[0]


class Transaction(View):
    """Reads and writes that become durable together, or not at all.

    After a `Duplicate` from `insert` and an `Absent` the body may go on. Any other failure of a statement
    dooms the transaction: a body that swallows it fails when it ends.
    """

    locks = True

    def __init__(self, connection: Connection, known: Statements) -> None:
        super().__init__(connection, known)
        self.calls: list[Callable[[], None]] = []
        self._doom: BaseException | None = None

    def check(self) -> None:
        """Called before the commit."""
        if self._doom is not None:
            raise Failed(f"a statement of this transaction failed: {self._doom}") from self._doom

    async def _rows(self, statement: Statement, values: Row, decode: Callable[[Row], R]) -> builtins.list[R]:
        self.check()
        try:
            return await self._connection.rows(statement, values, decode)
        except BaseException as error:  # also a cancellation, which leaves the statement half done
            self._doom = error
            raise

    async def _execute(self, statement: Statement, values: Row) -> int:
        self.check()
        try:
            return await self._connection.execute(statement, values)
        except BaseException as error:
            self._doom = error
            raise

    async def insert(self, record: T) -> T:
        """Raises Duplicate. The record comes back with its number, if the database counts."""
        layout = layout_of(type(record))
        names = [name for name in layout.columns if name != layout.auto]
        values = layout.encode_row(record, names, self._dialect)
        statement = self._known.of(statements.insert, layout)
        if layout.auto is None:
            if await self._execute(statement, values) == 0:
                raise Duplicate(layout.name, await self._collision(layout, record))
            return record
        numbers = await self._rows(statement, values, number)
        if not numbers:
            raise Duplicate(layout.name, await self._collision(layout, record))
        return msgspec.structs.replace(record, **{layout.auto: numbers[0]})

    async def _collision(self, layout: Layout[T], record: T) -> tuple[str, ...]:
        """The columns that another row has the same; none when that row has just gone."""
        for columns in (layout.key, *(columns for _, columns in layout.unique)):
            same = {name: getattr(record, name) for name in columns}
            if columns == (layout.auto,) or None in same.values():
                continue
            if await self.count(layout.cls, *(eq_value(name, value) for name, value in same.items())):
                return columns
        return ()

    async def get_or_insert(self, first: T) -> T:
        """The row with the key of `first`, locked until the end; where there is none, `first` is it from now on. Who comes
        second waits, and has the row of who came first. Raises Duplicate for other unique columns."""
        layout = layout_of(type(first))
        while True:
            held = await self.get(type(first), *layout.key_of(first))
            if held is not None:
                return held
            try:
                return await self.insert(first)
            except Duplicate as error:
                if error.columns not in ((), layout.key):
                    raise

    async def update(self, record: Record) -> None:
        """All columns, by key. Raises Absent, and Duplicate."""
        layout = layout_of(type(record))
        values = layout.encode_row(record, (*layout.values, *layout.key), self._dialect)
        if await self._execute(self._known.of(statements.update, layout), values) == 0:
            raise Absent(layout.name, layout.key_of(record))

    async def put(self, record: Record) -> None:
        """Insert, or update by key. Raises Duplicate for other unique columns."""
        layout = layout_of(type(record))
        if layout.auto is not None:
            raise TypeError(f"the database counts {layout.name}.{layout.auto}: insert or update, do not put")
        values = layout.encode_row(record, tuple(layout.columns), self._dialect)
        await self._execute(self._known.of(statements.put, layout), values)

    async def delete(self, cls: type[Record], *key: object) -> bool:
        """Whether there was such a row."""
        layout = layout_of(cls)
        values = layout.encode_key(key, self._dialect)
        return await self._execute(self._known.of(statements.delete, layout), values) > 0

    async def delete_where(self, cls: type[Record], *where: Condition, **equals: object) -> int:
        layout = layout_of(cls)
        shape, values = split(layout, where, equals, self._dialect)
        return await self._execute(self._known.of(statements.delete_where, layout, shape), values)

    async def update_where(
        self, cls: type[Record], set_: Mapping[str, object], *where: Condition, **equals: object
    ) -> int:
        """Returns how many rows; a writer fences itself by naming in the conditions what must still be so."""
        layout = layout_of(cls)
        if not set_:
            raise ValueError(f"{layout.name}: update_where needs at least one column to set")
        values = [layout.encode(name, value, self._dialect) for name, value in set_.items()]
        shape, more = split(layout, where, equals, self._dialect)
        statement = self._known.of(statements.update_where, layout, tuple(set_), shape)
        return await self._execute(statement, [*values, *more])

    async def increment(
        self, cls: type[Record], column: str, by: int, *where: Condition, **equals: object
    ) -> int:
        """`column = column + by` in one statement, so that concurrent ones all count."""
        layout = layout_of(cls)
        layout.column(column)
        shape, values = split(layout, where, equals, self._dialect)
        return await self._execute(self._known.of(statements.increment, layout, column, shape), [by, *values])

    def after_commit(self, call: Callable[[], None]) -> None:
        """Run on the event loop once the commit is durable, in the order given; never after a rollback."""
        self.calls.append(call)


def number(row: Row) -> int:
    return int(row[0])


def eq_value(column: str, value: object) -> Condition:
    return eq(column, (value,) if isinstance(value, (tuple, list, set, frozenset)) else value)


def full_order(layout: Layout[Any], order: Iterable[str]) -> Order:
    terms = tuple((name.removeprefix("-"), name.startswith("-")) for name in order)
    for name, _ in terms:
        layout.column(name)
    named = {name for name, _ in terms}
    if terms and all(descends for _, descends in terms):  # one direction, so that one index serves
        return terms + tuple((name, True) for name in layout.key if name not in named)
    return terms + tuple((name, False) for name in layout.key if name not in named)
