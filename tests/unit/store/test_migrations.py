"""Migrations lead to the declared tables, may be repeated and raced, and say what is wrong."""

import asyncio
from uuid import UUID

import msgspec
import pytest

from pileus.store import (
    Failed,
    Record,
    Registry,
    create_all,
    drift,
    migrate,
    open_store,
    schema_version,
    table,
)
from pileus.store.migrating import MIGRATIONS, in_transaction, upgrade
from pileus.store.revise import revise


def registry_at(version, cls):
    """The same table in two versions of a program."""
    registry = Registry()
    if version == 1:

        @table("thing", indexes=(("owner",),), registry=registry)
        class First(Record):
            id: UUID
            owner: UUID
            name: str
            note: str | None = None

    else:

        @table("thing", indexes=(("owner", "name"),), unique=(("name",),), registry=registry)
        class Second(Record):
            id: UUID
            owner: UUID | None = None
            name: str
            size: int | None = None
            count: int = 3
            flag: bool = True
            word: str = "it's"
            tags: tuple[str, ...] = ()
            known: dict[str, int] = msgspec.field(default_factory=lambda: {"a": 1})

        @table("event", key=("seq",), auto="seq", registry=registry)
        class Event(Record):
            seq: int = 0
            ready: bool
            load: float
            raw: bytes
            cls_: dict[str, int] = {}

    return registry


@pytest.fixture
def scripts(tmp_path):
    """A set of migrations of its own, with the product's environment."""
    made = tmp_path / "migrations"
    (made / "versions").mkdir(parents=True)
    for name in ("env.py", "script.py.mako"):
        (made / name).write_text((MIGRATIONS / name).read_text())
    return made


async def test_written_revisions_lead_to_the_declared_tables(database_url, scripts, records):
    for version in (1, 2):
        registry = registry_at(version, records)
        written = await asyncio.to_thread(revise, f"version {version}", scripts, registry)
        assert written.name == f"000{version}_version_{version}.py"
        assert await in_transaction(database_url, lambda at: upgrade(at, scripts)) == [f"000{version}"]
        assert await drift(database_url, registry) == []
        assert await schema_version(database_url) == f"000{version}"
        assert await asyncio.to_thread(revise, "nothing", scripts, registry) is None
    assert await in_transaction(database_url, lambda at: upgrade(at, scripts)) == []


async def test_rows_that_exist_get_the_defaults_of_new_fields(database_url, scripts, records):
    key = UUID(int=7)
    for version in (1, 2):
        registry = registry_at(version, records)
        await asyncio.to_thread(revise, f"version {version}", scripts, registry)
        await in_transaction(database_url, lambda at: upgrade(at, scripts))
        thing = registry.layouts["thing"].cls
        store = await open_store(database_url)
        try:
            if version == 1:
                async with store.transaction() as tx:
                    await tx.insert(thing(id=key, owner=UUID(int=1), name="old"))
            else:
                async with store.view() as view:
                    assert await view.get(thing, key) == thing(id=key, owner=UUID(int=1), name="old")
        finally:
            await store.close()


async def test_drift_names_each_difference(database_url, records):
    await create_all(database_url, registry_at(1, records))
    assert await drift(database_url, registry_at(1, records)) == []
    found = "\n".join(await drift(database_url, registry_at(2, records)))
    for part in ("event", "size", "uq_thing_name", "modify_nullable", "ix_thing_owner_name", "note"):
        assert part in found


async def test_a_failing_migration_leaves_nothing(database_url, scripts, records):
    path = await asyncio.to_thread(revise, "breaks", scripts, registry_at(1, records))
    path.write_text(path.read_text() + "    op.execute('SELECT * FROM nowhere')\n")
    with pytest.raises(Failed, match="nowhere"):
        await in_transaction(database_url, lambda at: upgrade(at, scripts))
    assert await schema_version(database_url) is None
    assert len(await drift(database_url, registry_at(1, records))) >= 2


async def test_a_database_of_a_newer_program_is_refused(database_url, scripts, records):
    path = await asyncio.to_thread(revise, "newer", scripts, registry_at(1, records))
    await in_transaction(database_url, lambda at: upgrade(at, scripts))
    path.unlink()
    with pytest.raises(Failed, match="revision 0001, which this program does not know"):
        await in_transaction(database_url, lambda at: upgrade(at, scripts))


async def test_the_product_migrates_once_however_often_it_is_asked(database_url):
    applied = await asyncio.gather(*(migrate(database_url) for _ in range(4)))
    assert sorted(map(bool, applied))[:3] == [False] * 3
    assert await schema_version(database_url) == (max(applied)[-1] if any(applied) else None)
    store = await open_store(database_url)
    await store.close()
