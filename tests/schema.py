"""A new database's tables, made once a session: most tests want a database of their own.

SQLite's file is copied, empty or as a first start leaves it. A PostgreSQL database keeps its tables for the next test
that wants the same ones, emptied and in a schema that nobody looks into.
"""

import shutil
import sqlite3
import tempfile
from pathlib import Path

import asyncpg
from msgspec.structs import replace

from pileus.app.bootstrap import bootstrap
from pileus.config import Config
from pileus.core import records  # noqa: F401 (declares every table)
from pileus.core.cloud import Cloud
from pileus.core.identity.authentication import secrets
from pileus.store import REGISTRY, Registry, create_all, open_store
from tests.quick import MEMORY

SQLITE = "sqlite:///"
_keep: list["tempfile.TemporaryDirectory[str]"] = []
_templates: dict[Registry, Path] = {}
_started: dict[tuple[str, str], Path] = {}
_registries: list[Registry] = []
"""A parked schema is named by its registry's number here."""
_parked: set[tuple[str, str]] = set()
_made: dict[str, Registry] = {}
"""By the URL of a PostgreSQL database that a test uses."""


async def create(url: str, registry: Registry = REGISTRY) -> None:
    """As `create_all`, in an empty database."""
    if url.startswith(SQLITE):
        shutil.copyfile(await template(registry), url.removeprefix(SQLITE))
    else:
        await create_on_postgres(url, registry)


async def start(url: str, config: Config) -> None:
    """As `create` and the first start under this configuration; `bootstrap` finds all of it done.

    SQLite only. The state directory has the keys with which the records were made.
    """
    made = await first_start(config)
    shutil.copytree(made / "state", config.state, dirs_exist_ok=True)
    path = url.removeprefix(SQLITE)
    shutil.copyfile(made / "pileus.db", path)
    with sqlite3.connect(path) as rows:
        for table in ("pool", "image_store"):
            rows.execute(
                f"UPDATE {table} SET path = replace(path, ?, ?)", (str(made / "state"), str(config.state))
            )
    rows.close()


def directory() -> Path:
    """That lasts as long as the session."""
    _keep.append(tempfile.TemporaryDirectory(prefix="pileus-schema-", dir=MEMORY))
    return Path(_keep[-1].name)


async def template(registry: Registry) -> Path:
    if registry not in _templates:
        path = directory() / "schema.db"
        await create_all(f"{SQLITE}{path}", registry)
        _templates[registry] = path
    return _templates[registry]


async def first_start(config: Config) -> Path:
    """A directory with the database and the state."""
    hashed = secrets.ARGON2
    key = repr(replace(config, state=Path())), f"{hashed.time_cost} {hashed.memory_cost}"
    if key not in _started:
        made = directory()
        (made / "state").mkdir()
        await create(f"{SQLITE}{made / 'pileus.db'}")
        store = await open_store(f"{SQLITE}{made / 'pileus.db'}")
        try:
            await bootstrap(Cloud(replace(config, state=made / "state"), store))
        finally:
            await store.close()
        _started[key] = made
    return _started[key]


async def create_on_postgres(url: str, registry: Registry) -> None:
    if registry not in _registries:
        _registries.append(registry)
    place = (url, parked(registry))
    if url in _made or place not in _parked:
        await create_all(url, registry)
    else:
        _parked.remove(place)
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(f"DROP SCHEMA public; ALTER SCHEMA {place[1]} RENAME TO public")
        finally:
            await connection.close()
    _made[url] = registry


def parked(registry: Registry) -> str:
    return f"parked_{_registries.index(registry)}"


def park(url: str) -> str:
    """SQL that empties the tables which `create` made in a PostgreSQL database and sets them aside."""
    registry = _made.pop(url, None)
    if registry is None:
        return "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
    name = parked(registry)
    _parked.add((url, name))
    empty = [f'DELETE FROM "{layout.name}"' for layout in registry]
    for layout in registry:
        if layout.auto is not None:
            empty.append(f"SELECT setval(pg_get_serial_sequence('{layout.name}', '{layout.auto}'), 1, false)")
    return "; ".join([*empty, f"ALTER SCHEMA public RENAME TO {name}", "CREATE SCHEMA public"])
