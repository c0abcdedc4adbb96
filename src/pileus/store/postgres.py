"""PostgreSQL through a pool of asyncpg; transactions are READ COMMITTED, views REPEATABLE READ."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg

from pileus.store.columns import Dialect
from pileus.store.errors import Conflicted, Disconnected, Duplicate, Failed, StoreError, Unstorable
from pileus.store.order import Numbers, PostgresNumbers
from pileus.store.records import LAYOUTS, Record
from pileus.store.shield import to_the_end
from pileus.store.statements import Statement, statements
from pileus.store.transactions import Row, Transaction, View

R = TypeVar("R")

CONNECTIONS = 20
STATEMENTS_KEPT = 1000
IDLE_MILLISECONDS = 10_000
"""Of a transaction: a process that is frozen inside one must not keep its locks for ever. A body awaits nothing else."""
ROWS_ON_LOOP = 500

ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
COLLISIONS = (
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.QueryCanceledError,
)
LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,  # the primary has moved
    asyncpg.InternalClientError,  # the farewell of the server came between two statements
    OSError,
    TimeoutError,
)
UNFIT = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.ProgramLimitExceededError)


def translate(error: Exception) -> StoreError:
    text = str(error) or type(error).__name__
    if isinstance(error, asyncpg.UniqueViolationError):
        return Duplicate(error.table_name or "", columns_of(error.constraint_name or ""))
    for kinds, answer in ((COLLISIONS, Conflicted), (UNFIT, Unstorable), (LOST, Disconnected)):
        if isinstance(error, kinds):
            return answer(text)
    if isinstance(error, asyncpg.InterfaceError):
        return Disconnected(text) if any(word in text for word in ("clos", "released")) else Failed(text)
    return Failed(text)


def columns_of(constraint: str) -> tuple[str, ...]:
    for layout in LAYOUTS.values():
        if constraint == layout.table.primary_key.name:
            return layout.key
        for name, columns in layout.unique:
            if name == constraint:
                return columns
    return ()


class PostgresConnection:
    def __init__(self, connection: Any) -> None:
        self._raw = connection

    async def rows(self, statement: Statement, values: Row, decode: Callable[[Row], R]) -> list[R]:
        try:
            found = await self._raw.fetch(statement.sql, *statement.arrange(values))
        except ERRORS as error:
            raise translate(error) from error
        if len(found) <= ROWS_ON_LOOP:
            return [decode(row) for row in found]
        return await asyncio.to_thread(lambda: [decode(row) for row in found])

    async def execute(self, statement: Statement, values: Row) -> int:
        try:
            status: str = await self._raw.execute(statement.sql, *statement.arrange(values))
        except ERRORS as error:
            raise translate(error) from error
        return int(status.rpartition(" ")[2])

    async def control(self, sql: str) -> str:
        """BEGIN and its ends; answers with the command that was really done."""
        try:
            status: str = await self._raw.execute(sql)
        except ERRORS as error:
            raise translate(error) from error
        return status


async def keep_session(connection: object) -> None:
    """No statement of ours changes the session, so a connection needs no reset between two users."""


class PostgresStore:
    dialect: Dialect = "postgresql"

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._used = 0
        self._unused = asyncio.Event()
        self._unused.set()
        self._closed = False
        self._known = statements("postgresql")
        self._inside: set[asyncio.Task[object] | None] = set()

    @classmethod
    async def open(cls, url: str) -> "PostgresStore":
        try:
            pool = await asyncpg.create_pool(
                url,
                min_size=1,
                max_size=CONNECTIONS,
                statement_cache_size=STATEMENTS_KEPT,
                max_cached_statement_lifetime=0,
                reset=keep_session,
                server_settings={"idle_in_transaction_session_timeout": str(IDLE_MILLISECONDS)},
            )
        except ERRORS as error:
            raise Disconnected(f"PostgreSQL did not accept a connection: {error}") from error
        return cls(pool)

    async def close(self) -> None:
        """What has begun, or waits for a connection, still runs."""
        self._closed = True
        await self._unused.wait()
        await self._pool.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[PostgresConnection]:
        if self._closed:
            raise Disconnected("the store is closed")
        self._used += 1
        self._unused.clear()
        try:
            raw = await self._acquire()
            try:
                yield PostgresConnection(raw)
            finally:
                await to_the_end(self._pool.release(raw))
        finally:
            self._used -= 1
            if self._used == 0:
                self._unused.set()

    async def _acquire(self) -> Any:
        try:
            return await self._pool.acquire()
        except ERRORS as error:
            raise translate(error) from error

    def numbers(self, cls: type[Record]) -> Numbers:
        return PostgresNumbers(self, cls)

    @asynccontextmanager
    async def view(self) -> AsyncIterator[View]:
        async with self._connection() as connection:
            await connection.control("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            view = View(connection, self._known)
            try:
                yield view
            except BaseException:
                view.end()
                await roll_back(connection)
                raise
            view.end()
            await to_the_end(connection.control("COMMIT"))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        task = asyncio.current_task()
        if task in self._inside:
            raise RuntimeError(
                "a transaction inside a transaction may wait for itself; pass the outer one on"
            )
        self._inside.add(task)
        try:
            async with self._connection() as connection:
                await connection.control("BEGIN ISOLATION LEVEL READ COMMITTED")
                tx = Transaction(connection, self._known)
                try:
                    yield tx
                    tx.check()
                except BaseException:
                    tx.end()
                    await roll_back(connection)
                    raise
                tx.end()
                await to_the_end(commit(connection, tx.calls))
        finally:
            self._inside.discard(task)


async def roll_back(connection: PostgresConnection) -> None:
    """A connection that is lost has rolled back by itself; the error of the body is the one to tell."""
    try:
        await to_the_end(connection.control("ROLLBACK"))
    except Disconnected:
        return


async def commit(connection: PostgresConnection, calls: list[Callable[[], None]]) -> None:
    done = await connection.control("COMMIT")
    if done != "COMMIT":
        raise Failed(f"PostgreSQL answered {done} to a commit: an earlier statement had failed")
    loop = asyncio.get_running_loop()
    for call in calls:
        try:
            call()
        except Exception as error:
            loop.call_exception_handler({"message": "a call after commit failed", "exception": error})
