"""The one way to a store, by the URL of its database."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from pileus.store.columns import Dialect
from pileus.store.order import Numbers
from pileus.store.postgres import PostgresStore
from pileus.store.records import Record
from pileus.store.sqlite import SqliteStore
from pileus.store.transactions import Transaction, View


class Store(Protocol):
    dialect: Dialect

    def view(self) -> AbstractAsyncContextManager[View]:
        """A consistent snapshot of what is committed. Raises Disconnected."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Leaving it normally returns when the commit is durable; leaving it by an exception rolls back.

        A task that is cancelled during the commit cannot know its outcome. Raises Conflicted, Disconnected.
        """
        ...

    def numbers(self, cls: type[Record]) -> Numbers:
        """The order of a record that the database counts. One for each reader: it remembers what it waits for."""
        ...

    async def close(self) -> None: ...


async def open_store(url: str) -> Store:
    """`sqlite:///path` or `postgresql://user:password@host/name`; the schema must exist (`migrate`)."""
    match url.partition(":")[0]:
        case "sqlite":
            return SqliteStore(url)
        case "postgresql" | "postgres":
            return await PostgresStore.open(url)
        case other:
            raise ValueError(f"no database of the kind {other!r}; use sqlite:///path or postgresql://...")
