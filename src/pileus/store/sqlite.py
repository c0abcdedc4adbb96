"""SQLite in this process: many readers, one writer whose transactions share their commits.

Statements run on the event loop, for they take microseconds; only what takes long (a commit, a long list,
waiting for another process) goes to a thread.
"""

import asyncio
import os
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from pileus.store.columns import Dialect
from pileus.store.errors import Conflicted, Disconnected, Duplicate, Failed, StoreError, Unstorable
from pileus.store.order import Numbers, SqliteNumbers
from pileus.store.records import Record
from pileus.store.shield import to_the_end
from pileus.store.statements import Statement, statements
from pileus.store.transactions import Row, Transaction, View

R = TypeVar("R")

ROWS_ON_LOOP = 200
IDLE_READERS = 8
GROUP_SIZE = 64
GROUP_SECONDS = 0.02
BUSY_MILLISECONDS = 10_000
"""How long to wait for another process's transaction."""


def path_of(url: str) -> Path:
    path = url.removeprefix("sqlite:///")
    if path == url or not path or path == ":memory:":
        raise ValueError(f"{url}: an SQLite database is named sqlite:///<path of a file>")
    return Path(path)


def connect(path: Path) -> sqlite3.Connection:
    """The file is made for its owner only; its log files take over the mode."""
    try:
        if not path.exists():
            # Only then: closing any descriptor of the file drops the POSIX locks that this process's other
            # connections hold, and the next process to close the database would delete their log.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=512, timeout=0
        )
        connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA temp_store = MEMORY")
    except (OSError, sqlite3.Error) as error:
        raise Disconnected(f"database {path}: {error}") from error
    return connection


def translate(error: Exception) -> StoreError:
    text = str(error)
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if isinstance(error, sqlite3.IntegrityError) and text.startswith("UNIQUE constraint failed: "):
        columns = text.removeprefix("UNIQUE constraint failed: ").split(", ")
        return Duplicate(columns[0].partition(".")[0], tuple(name.partition(".")[2] for name in columns))
    if (
        isinstance(error, (sqlite3.IntegrityError, OverflowError, UnicodeError))
        or code == sqlite3.SQLITE_TOOBIG
    ):
        return Unstorable(text)
    if isinstance(error, (sqlite3.InterfaceError, sqlite3.ProgrammingError)) and "bind" in text.lower():
        return Unstorable(text)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Conflicted(text)
    return Failed(text)


ERRORS = (sqlite3.Error, OverflowError, UnicodeError)


class SqliteConnection:
    """Runs statements; `threads` takes over what is long."""

    def __init__(self, connection: sqlite3.Connection, threads: ThreadPoolExecutor) -> None:
        self.raw, self._threads = connection, threads

    async def rows(self, statement: Statement, values: Row, decode: Callable[[Row], R]) -> list[R]:
        try:
            cursor = self.raw.execute(statement.sql, statement.arrange(values))
            found = [decode(row) for row in cursor.fetchmany(ROWS_ON_LOOP)]
            if len(found) == ROWS_ON_LOOP:
                found += await self._rest(cursor, decode)
        except ERRORS as error:
            raise translate(error) from error
        return found

    async def _rest(self, cursor: sqlite3.Cursor, decode: Callable[[Row], R]) -> list[R]:
        def read() -> list[R]:
            return [decode(row) for row in cursor]

        work = asyncio.get_running_loop().run_in_executor(self._threads, read)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self.raw.interrupt()  # the connection must be at rest before anyone else gets it
            await to_the_end(asyncio.wait([work]))
            raise

    async def execute(self, statement: Statement, values: Row) -> int:
        try:
            return self.raw.execute(statement.sql, statement.arrange(values)).rowcount
        except ERRORS as error:
            raise translate(error) from error


class Turn:
    """One body's place in the writer's queue: granted, then ended by the body, then durable."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.granted: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[bool] = loop.create_future()
        self.durable: asyncio.Future[None] = loop.create_future()
        self.calls: list[Callable[[], None]] = []

    def fail(self, error: StoreError) -> None:
        """Tell the body at whichever point it waits, or will wait."""
        told = self.durable if self.granted.done() else self.granted
        if not told.done():
            told.set_exception(error)
            told.exception()  # a body that ends by an error of its own never asks


class Writer:
    """Owns the one connection that writes.

    Bodies run one after another, each in a savepoint of its own; while others wait they share one SQLite
    transaction, and its commit makes all of them durable at once.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "sqlite-writer")
        self._queue: deque[Turn] = deque()
        self._arrived = asyncio.Event()
        self._closing = False
        self._task = self._loop.create_task(self._run(), name="sqlite-writer")

    def queue(self) -> Turn:
        if self._closing or self._task.done():
            raise Disconnected("the store is closed")
        turn = Turn(self._loop)
        self._queue.append(turn)
        self._arrived.set()
        return turn

    async def close(self) -> None:
        """What is queued still runs."""
        self._closing = True
        self._arrived.set()
        await to_the_end(asyncio.wait([self._task]))
        self._thread.shutdown()
        self.connection.close()

    async def _run(self) -> None:
        try:
            while True:
                while self._queue:
                    await self._group()
                if self._closing:
                    return
                self._arrived.clear()
                await self._arrived.wait()
        finally:
            if (
                not self._closing
            ):  # the loop ends: a body that still runs must not write without a transaction
                self.connection.close()
            while self._queue:
                self._queue.popleft().fail(Disconnected("the store was stopped"))

    async def _group(self) -> None:
        """Every turn that is taken from the queue is told an outcome, whatever happens."""
        taken: list[Turn] = []
        try:
            await self._bodies(taken)
        except BaseException as error:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            for turn in taken:
                told = (
                    translate(error)
                    if isinstance(error, Exception)
                    else Disconnected("the store was stopped")
                )
                told.__cause__ = error
                turn.fail(told)
            if not isinstance(error, Exception):
                raise

    async def _bodies(self, taken: list[Turn]) -> None:
        before, since = self.connection.total_changes, self._loop.time()
        kept: list[Turn] = []
        taken.append(self._queue.popleft())
        await self._begin()
        while True:
            if await self._body(taken[-1]):
                kept.append(taken[-1])
            late = len(taken) >= GROUP_SIZE or self._loop.time() - since > GROUP_SECONDS
            if late or not self._queue:
                break
            taken.append(self._queue.popleft())
        if self.connection.total_changes == before:
            self.connection.execute("COMMIT")
        else:
            await self._in_thread("COMMIT")
        for turn in kept:
            self._call(turn)
        for turn in kept:
            turn.durable.set_result(None)

    async def _begin(self) -> None:
        self.connection.execute("PRAGMA busy_timeout = 0")
        try:
            self.connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            self.connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
            await self._in_thread("BEGIN IMMEDIATE")

    async def _in_thread(self, sql: str) -> None:
        await to_the_end(self._loop.run_in_executor(self._thread, self.connection.execute, sql))

    async def _body(self, turn: Turn) -> bool:
        """Whether its writes are to be kept."""
        if turn.granted.done():  # cancelled while it waited
            return False
        self.connection.execute("SAVEPOINT body")
        turn.granted.set_result(None)
        keep = await turn.ended
        if not self.connection.in_transaction:
            raise Failed("SQLite rolled the transaction back: the disk is full or broken")
        if not keep:
            self.connection.execute("ROLLBACK TO body")
        self.connection.execute("RELEASE body")
        return keep

    def _call(self, turn: Turn) -> None:
        for call in turn.calls:
            try:
                call()
            except Exception as error:
                report(self._loop, error)


def report(loop: asyncio.AbstractEventLoop, error: Exception) -> None:
    """The commit stands, so its caller must not see the error of a follower."""
    loop.call_exception_handler({"message": "a call after commit failed", "exception": error})


class SqliteStore:
    dialect: Dialect = "sqlite"

    def __init__(self, url: str) -> None:
        self._path = path_of(url)
        self._known = statements("sqlite")
        self._threads = ThreadPoolExecutor(2, "sqlite-reader")
        self._readers: list[SqliteConnection] = []
        self._closed = False
        self._inside: set[asyncio.Task[object] | None] = set()
        self._writer = Writer(connect(self._path))

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._writer.close()
            for reader in self._readers:
                reader.raw.close()
            self._threads.shutdown()

    def numbers(self, cls: type[Record]) -> Numbers:
        return SqliteNumbers(self, cls)

    @asynccontextmanager
    async def view(self) -> AsyncIterator[View]:
        reader = self._take_reader()
        view = View(reader, self._known)
        try:
            reader.raw.execute("BEGIN")
            yield view
        finally:
            view.end()
            self._give_back(reader)

    def _take_reader(self) -> SqliteConnection:
        if self._closed:
            raise Disconnected("the store is closed")
        if self._readers:
            return self._readers.pop()
        connection = connect(self._path)
        connection.execute("PRAGMA query_only = ON")
        return SqliteConnection(connection, self._threads)

    def _give_back(self, reader: SqliteConnection) -> None:
        if reader.raw.in_transaction:
            reader.raw.execute("COMMIT")
        if self._closed or len(self._readers) >= IDLE_READERS:
            reader.raw.close()
        else:
            self._readers.append(reader)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        task = asyncio.current_task()
        if task in self._inside:
            raise RuntimeError(
                "a transaction inside a transaction would wait for itself; pass the outer one on"
            )
        turn = self._writer.queue()
        self._inside.add(task)
        kept = False
        tx = Transaction(SqliteConnection(self._writer.connection, self._threads), self._known)
        try:
            await turn.granted
            yield tx
            tx.check()
            turn.calls, kept = tx.calls, True
        finally:
            tx.end()
            self._inside.discard(task)
            turn.ended.set_result(kept)
        await asyncio.shield(turn.durable)
