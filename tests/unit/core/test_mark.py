"""A cloud has one id, for ever."""

import asyncio
from pathlib import Path

from pileus.core import mark, records
from pileus.store import open_store
from tests import schema

assert records


async def test_the_id_is_made_once_and_outlives_the_process(database_url: str) -> None:
    await schema.create(database_url)
    found = set()
    for _ in range(2):
        store = await open_store(database_url)
        found |= set(await asyncio.gather(*(mark.identify(store) for _ in range(3))))
        await store.close()
    assert len(found) == 1


async def test_it_is_noted_for_commands_that_have_no_database(sqlite_url: str, tmp_path: Path) -> None:
    assert mark.noted(tmp_path) is None
    await schema.create(sqlite_url)
    store = await open_store(sqlite_url)
    own = await mark.identify(store)
    await store.close()
    mark.note(tmp_path, own)
    assert mark.noted(tmp_path) == own
