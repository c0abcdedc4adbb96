"""Reading a counted table in the order of its numbers, with nothing missed: which numbers are settled.

A database counts when a row is inserted, but shows it when its transaction commits: on PostgreSQL a lower number may
appear after a higher one, and one that was rolled back never does. SQLite has one writer, so it has neither.
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from pileus.store.records import Record, layout_of
from pileus.store.transactions import View, number

GIVEN = "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence($1, $2)::regclass), 0)"
WRITERS = """
SELECT virtualtransaction FROM pg_locks
WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND relation = $1::text::regclass
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Horizon(msgspec.Struct, frozen=True):
    settled: int
    """Every number up to this one is of a row that is committed, or will never be of any."""
    given: int
    """The last number that the database has counted. Above `settled` it may still come: look again."""


class Viewing(Protocol):
    """A store, as far as it is needed here."""

    def view(self) -> AbstractAsyncContextManager[View]: ...


class Numbers(Protocol):
    async def horizon(self) -> Horizon:
        """As it is now; `settled` never goes back. A view that is opened after this sees all rows up to it."""
        ...


class SqliteNumbers:
    def __init__(self, store: Viewing, cls: type[Record]) -> None:
        self._store, self._name = store, layout_of(cls).name

    async def horizon(self) -> Horizon:
        async with self._store.view() as view:
            found = await view.ask("SELECT seq FROM sqlite_sequence WHERE name = ?", [self._name], number)
        last = found[0] if found else 0
        return Horizon(last, last)


class PostgresNumbers:
    """Who inserts holds the table's ROW EXCLUSIVE lock from before the number is taken until after the commit shows.

    So when every holder seen after a look at the counter is gone, what that look saw is settled. Writers pay nothing.
    """

    def __init__(self, store: Viewing, cls: type[Record]) -> None:
        layout = layout_of(cls)
        self._store, self._name, self._auto = store, layout.name, layout.auto
        self._settled = 0
        self._seen = 0
        """The counter at the look that waits for `_before`."""
        self._before: frozenset[str] = frozenset()
        self._turn = asyncio.Lock()

    async def horizon(self) -> Horizon:
        async with self._turn, self._store.view() as view:
            given = (await view.ask(GIVEN, [self._name, self._auto], number))[0]
            now = frozenset(await view.ask(WRITERS, [self._name], lambda row: str(row[0])))
            self._learn(given, now)
        return Horizon(self._settled, given)

    def _learn(self, given: int, now: frozenset[str]) -> None:
        """`given` was read before `now`, and both after everything that was learnt before."""
        if not self._before & now:
            self._settled = self._seen
            self._seen, self._before = given, now
        if not now:
            self._settled, self._seen = given, given
