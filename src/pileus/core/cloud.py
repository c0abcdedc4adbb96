"""The handle that every operation of the core takes, and its transactions: rows, quota, events and the start of
long work commit together or not at all."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from pileus.config import Config
from pileus.core import ids, quota
from pileus.core.caller import Caller
from pileus.core.counters import following
from pileus.core.errors import Exists, NotFound
from pileus.core.events import QUIET, Event, secret
from pileus.core.keyvalue import KeyValue
from pileus.core.operations import LIVE, UNDISTURBED, Operation
from pileus.store import Record, Store, Transaction, View, not_in
from pileus.store.errors import Duplicate
from pileus.store.records import layout_of
from pileus.tracing import Sink, fresh, traceparent

R = TypeVar("R", bound=Record)
DELETED = "It was cancelled, because a delete was asked for."


class Cloud:
    """Configuration, the store, and where time and ids come from (tests fix them)."""

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], UUID] = ids.fresh,
    ) -> None:
        self.config = config
        self.store = store
        self.now = now
        self.new_id = new_id
        self.on_operation: Callable[[], None] = lambda: None
        """Called after a commit that started an operation; the worker wakes up."""
        self.on_event: Callable[[], None] = lambda: None
        self.keyvalue: KeyValue | None = None
        """Where tokens are kept, when `token_store` is configured; None: each carries itself."""
        self.catalogue_store: KeyValue | None = None
        """Where processes share the catalogue, when `catalogue_store` is configured; None: each reads the database."""
        self.spans: Sink | None = None
        """Where spans of traces go; None: nowhere, and none are made."""

    @asynccontextmanager
    async def view(self) -> AsyncIterator["Look"]:
        """Read a consistent snapshot."""
        async with self.store.view() as view:
            yield Look(view)

    @asynccontextmanager
    async def transaction(
        self, caller: Caller | None = None, operation: Operation | None = None
    ) -> AsyncIterator["Tx"]:
        """Change things. Events are signed with the caller, or with the operation that acts for one."""
        async with self.store.transaction() as rows:
            yield Tx(self, rows, caller, operation)


class Look:
    """Reads that raise NotFound instead of returning None."""

    def __init__(self, rows: View) -> None:
        self.rows = rows

    async def get(self, cls: type[R], *key: Any) -> R:
        found = await self.rows.get(cls, *key)
        if found is None:
            raise NotFound(cls.__name__, "/".join(map(str, key)))
        return found

    async def maybe(self, cls: type[R], *key: Any) -> R | None:
        return await self.rows.get(cls, *key)

    async def one(self, cls: type[R], *where: Any, **equals: Any) -> R | None:
        return await self.rows.one(cls, *where, **equals)

    async def list(self, cls: type[R], *where: Any, **equals: Any) -> list[R]:
        return await self.rows.list(cls, *where, **equals)

    async def count(self, cls: type[Record], *where: Any, **equals: Any) -> int:
        return await self.rows.count(cls, *where, **equals)


class Tx(Look):
    """A write transaction. Its body awaits nothing but the transaction itself."""

    rows: Transaction

    def __init__(
        self, cloud: Cloud, rows: Transaction, caller: Caller | None, operation: Operation | None
    ) -> None:
        super().__init__(rows)
        self.cloud, self.caller, self.operation = cloud, caller, operation

    async def add(self, record: R) -> R:
        """Insert, and append the event. Raises Exists."""
        try:
            made = await self.rows.insert(record)
        except Duplicate as error:
            raise Exists(
                f"{type(record).__name__} with this {', '.join(error.columns)} exists already."
            ) from error
        await self._event(made, "create", None)
        return made

    async def put(self, record: R) -> R:
        """Replace a row that exists, and append the event with what changed. Raises NotFound, Exists."""
        before = await self.get(type(record), *key_of(record))
        if before == record:
            return record
        try:
            await self.rows.update(record)
        except Duplicate as error:
            raise Exists(
                f"{type(record).__name__} with this {', '.join(error.columns)} exists already."
            ) from error
        await self._event(record, "update", before)
        return record

    async def remove(self, record: Record) -> None:
        """Delete a row, and append the event; repeating is fine."""
        if await self.rows.delete(type(record), *key_of(record)):
            await self._event(record, "delete", None)

    async def charge(self, holder: UUID, resource: str, amount: int, *, within: UUID | None = None) -> None:
        """See quota.charge. `holder`: a project, or a user."""
        await quota.charge(self.rows, holder, resource, amount, within=within)

    async def start(
        self,
        workflow: str,
        *,
        subject: Record,
        want: msgspec.Struct | None = None,
        key: UUID | None = None,
        supersede: bool = False,
        command: str = "",
        id: UUID | None = None,
    ) -> Operation:
        """Record that a workflow is to run on the subject; a worker takes it up after the commit.

        Operations of one key (default: the subject's id) run in order. `supersede` asks the live ones of the key
        to unwind first: a delete does not wait for a create to end well. The UNDISTURBED ones may end.
        """
        subject_id: UUID = subject.id  # type: ignore[attr-defined]
        key = key or subject_id
        now = self.cloud.now()
        if supersede:
            ends = {"cancelled": True, "cancel_reason": DELETED, "wake_at": now}
            others = not_in("workflow", UNDISTURBED)
            await self.rows.update_where(Operation, ends, others, key=key, outcome=tuple(LIVE))
        operation = Operation(
            id=id or self.cloud.new_id(),
            sequence=await self.next_number("operation"),
            workflow=workflow,
            kind=kind_of(type(subject)),
            subject=subject_id,
            key=key,
            project=getattr(subject, "project", None),
            user=self.caller.user if self.caller else (self.operation.user if self.operation else None),
            request=self.caller.request
            if self.caller
            else (self.operation.request if self.operation else ""),
            trace=self._trace() or str(fresh(self.cloud.spans is not None)),
            face=self.caller.face if self.caller else "",
            command=command,
            want=msgspec.json.encode(want) if want is not None else b"{}",
            wake_at=now,
            created_at=now,
        )
        await self.rows.insert(operation)
        self.rows.after_commit(lambda: self.cloud.on_operation())
        return operation

    async def next_number(self, name: str) -> int:
        """The next integer of a named sequence, from 1; rolled back with the transaction."""
        return await following(self.rows, name)

    def _trace(self) -> str:
        """Of the request or step at hand, or else of who acts."""
        acting = self.caller or self.operation
        return traceparent() or (acting.trace if acting else "")

    async def _event(self, record: Record, action: str, before: Record | None) -> None:
        subject = getattr(record, "id", None)
        if not isinstance(subject, UUID):
            return
        change = difference(before, record)
        if action == "update" and not change:
            return
        operation, caller = self.operation, self.caller
        await self.rows.insert(
            Event(
                at=self.cloud.now(),
                kind=kind_of(type(record)),
                action=action,
                subject=subject,
                project=getattr(record, "project", None),
                user=caller.user if caller else (operation.user if operation else None),
                operation=operation.id if operation else None,
                request=caller.request if caller else (operation.request if operation else ""),
                trace=self._trace(),
                change=change,
            )
        )
        self.rows.after_commit(lambda: self.cloud.on_event())


def kind_of(cls: type[Record]) -> str:
    """The name of a record's table."""
    return layout_of(cls).name


def key_of(record: Record) -> tuple[Any, ...]:
    return layout_of(type(record)).key_of(record)


def difference(before: Record | None, after: Record) -> dict[str, Any]:
    """Builtins by field: the value for a new record, [before, after] for a changed one."""
    new = msgspec.to_builtins(after)
    if before is None:
        return {name: value for name, value in new.items() if not secret(name)}
    old = msgspec.to_builtins(before)
    return {
        name: [old[name], value]
        for name, value in new.items()
        if not secret(name) and name not in QUIET and old[name] != value
    }
