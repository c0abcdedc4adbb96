"""Numbers that nobody else gets, whoever asks at the same time."""

import asyncio
from collections.abc import AsyncIterator

import pytest

import pileus.core.records  # noqa: F401 - every table
from pileus.core.counters import Counter, following
from pileus.store import Store, open_store
from tests import schema
from tests.blocked import DEADLINE, blocked


@pytest.fixture
async def stores(database_url: str) -> AsyncIterator[tuple[Store, Store]]:
    """One database, as two processes have it."""
    await schema.create(database_url)
    made = (await open_store(database_url), await open_store(database_url))
    try:
        yield made
    finally:
        for store in made:
            await store.close()


async def take(store: Store, name: str, **least: int) -> int:
    async with store.transaction() as tx:
        return await following(tx, name, **least)


async def test_numbers_have_no_gaps_and_no_twins_from_the_first_one_on(stores: tuple[Store, Store]) -> None:
    for name in ("a", "b", "c", "d", "e"):
        async with asyncio.timeout(DEADLINE):
            taken = await asyncio.gather(*(take(stores[n % 2], name) for n in range(12)))
        assert sorted(taken) == list(range(1, 13))


async def test_who_comes_second_waits_for_the_first_number_and_gets_the_next(postgres_url: str) -> None:
    await schema.create(postgres_url)
    first, second = await open_store(postgres_url), await open_store(postgres_url)
    try:
        async with asyncio.timeout(DEADLINE):
            async with first.transaction() as tx:
                assert await following(tx, "n") == 1
                waiting = asyncio.create_task(take(second, "n"))
                await blocked(first)
            assert await waiting == 2
            assert await take(first, "n") == 3
    finally:
        await first.close()
        await second.close()


async def test_a_first_number_that_was_given_back_is_the_next_ones(postgres_url: str) -> None:
    await schema.create(postgres_url)
    first, second = await open_store(postgres_url), await open_store(postgres_url)
    try:
        async with asyncio.timeout(DEADLINE):
            with pytest.raises(ZeroDivisionError):
                async with first.transaction() as tx:
                    assert await following(tx, "n") == 1
                    waiting = asyncio.create_task(take(second, "n"))
                    await blocked(first)
                    raise ZeroDivisionError
            assert await waiting == 1
    finally:
        await first.close()
        await second.close()


async def test_a_number_may_be_asked_not_to_be_below_another(stores: tuple[Store, Store]) -> None:
    store, _ = stores
    assert [await take(store, "n", least=each) for each in (5, 3, 9, 9, 0)] == [5, 6, 9, 10, 11]
    assert await take(store, "new", least=0) == 1
    async with store.view() as look:
        assert {row.name: row.value for row in await look.list(Counter)} == {"n": 11, "new": 1}
