"""Bringing a database to the schema of this program, and telling whether it is there.

Alembic keeps its context in the process, and it is synchronous: so all of it runs in a thread, one at a time. It is
imported only where there is something to do, as is SQLAlchemy's part for asyncio: a start that finds its schema in
order should not pay for them.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from pileus.store import sqlite
from pileus.store.errors import Disconnected, Failed, StoreError
from pileus.store.postgres import ERRORS as POSTGRES_ERRORS
from pileus.store.postgres import translate
from pileus.store.records import REGISTRY, Registry

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.migration import MigrationContext

R = TypeVar("R")
Work = Callable[[sa.Connection], R]

MIGRATIONS = Path(__file__).parent / "migrations"
ADVISORY_LOCK = 0x70696C657573
""""pileus": whoever migrates a PostgreSQL database holds this lock until its transaction ends."""
ONE_AT_A_TIME = threading.Lock()


VERSION = sa.table("alembic_version", sa.column("version_num"))


async def migrate(url: str) -> list[str]:
    """Apply all that is missing, or nothing; returns the revisions applied. May be repeated, and raced."""
    if await schema_version(url) == newest(MIGRATIONS):
        return []
    return await in_transaction(url, lambda connection: upgrade(connection, MIGRATIONS))


async def schema_version(url: str) -> str | None:
    """The revision that the database is at; None of an empty one."""
    return await in_transaction(url, current)


async def drift(url: str, registry: Registry = REGISTRY) -> list[str]:
    """How the database differs from the declared tables, a line each; empty when they are equal."""

    def compare(connection: sa.Connection) -> list[str]:
        from alembic.autogenerate import compare_metadata

        return [str(difference) for difference in compare_metadata(context(connection), registry.metadata)]

    return await in_transaction(url, compare)


async def create_all(url: str, registry: Registry) -> None:
    """The tables of a registry without migrations: for tests that declare records of their own."""
    await in_transaction(url, registry.metadata.create_all)


async def in_transaction(url: str, work: Work[R]) -> R:
    """Alone: other migrations of the database wait."""
    run = run_sqlite if url.startswith("sqlite:") else run_postgres
    return await asyncio.to_thread(run, url, work)


def run_sqlite(url: str, work: Work[R]) -> R:
    path = sqlite.path_of(url)
    engine = sa.create_engine("sqlite://", creator=lambda: sqlite.connect(path), poolclass=NullPool)
    # The driver would begin late and commit before DDL; the connection is in autocommit, so it does neither.
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    try:
        with ONE_AT_A_TIME, engine.begin() as connection:
            return work(connection)
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        raise Failed(f"migration of {path}: {error}") from error


def run_postgres(url: str, work: Work[R]) -> R:
    with ONE_AT_A_TIME:
        return asyncio.run(work_on_postgres(url, work))


async def work_on_postgres(url: str, work: Work[R]) -> R:
    from sqlalchemy.ext.asyncio import create_async_engine

    scheme, _, rest = url.partition(":")
    if scheme not in ("postgresql", "postgres"):
        raise ValueError(f"no database of the kind {scheme!r}; use sqlite:///path or postgresql://...")
    engine = create_async_engine(f"postgresql+asyncpg:{rest}", poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ADVISORY_LOCK)))
            return await connection.run_sync(work)
    except sa.exc.DBAPIError as error:
        raise Failed(f"migration of {engine.url.database}: {error}") from error
    except POSTGRES_ERRORS as error:
        told: StoreError = translate(error)
        raise (told if isinstance(told, Disconnected) else Failed(str(told))) from error
    finally:
        await engine.dispose()


def context(connection: sa.Connection) -> "MigrationContext":
    from alembic.migration import MigrationContext

    return MigrationContext.configure(connection, opts={"compare_type": True})


def current(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table(VERSION.name):
        return None
    found: str | None = connection.execute(sa.select(VERSION.c.version_num)).scalar()
    return found


def newest(scripts: Path) -> str:
    """Scripts are named after their revisions, which are numbers in order."""
    return max(path.name.partition("_")[0] for path in (scripts / "versions").glob("[0-9]*_*.py"))


def configuration(connection: sa.Connection, scripts: Path, registry: Registry = REGISTRY) -> "Config":
    """What env.py needs travels in `attributes`; there is no alembic.ini."""
    from alembic.config import Config

    config = Config(attributes={"connection": connection, "metadata": registry.metadata})
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.set_main_option("path_separator", "os")
    return config


def upgrade(connection: sa.Connection, scripts: Path) -> list[str]:
    from alembic import command
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    config = configuration(connection, scripts)
    before = current(connection)
    known: Any = ScriptDirectory.from_config(config)
    if before is not None and before not in {script.revision for script in known.walk_revisions()}:
        raise Failed(f"the database is at revision {before}, which this program does not know: it is too old")
    try:
        applied = [script.revision for script in known.iterate_revisions("head", before or "base")]
        command.upgrade(config, "head")
    except CommandError as error:
        raise Failed(f"migration: {error}") from error
    return applied[::-1]
