"""Many tasks on one store: nothing is lost, nothing leaks between them, nothing hangs."""

import asyncio
import sqlite3
import threading

import msgspec
import pytest

from pileus.store import Conflicted, Disconnected, Failed, create_all, open_store, sqlite

PATIENCE = 30


async def count_of(store, records, key="a"):
    async with store.view() as view:
        return (await view.get(records.Counter, key)).count


async def add(store, records, key="a"):
    async with store.transaction() as tx:
        await tx.insert(records.Counter(id=key))


async def test_200_concurrent_increments_are_exact(store, records):
    await add(store, records)

    async def one():
        async with store.transaction() as tx:
            assert await tx.increment(records.Counter, "count", 1, id="a") == 1

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(one() for _ in range(200)))
    assert await count_of(store, records) == 200


async def test_200_concurrent_reads_and_writes_back_are_exact(store, records):
    await add(store, records)

    async def one():
        async with store.transaction() as tx:
            counter = await tx.get(records.Counter, "a")
            await asyncio.sleep(0)
            await tx.update(msgspec.structs.replace(counter, count=counter.count + 1))

    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*(one() for _ in range(200)))
    assert await count_of(store, records) == 200


@pytest.mark.parametrize("failing", [{0}, {1}, {4}, {1, 2, 3}, {0, 1, 2, 3, 4}], ids=str)
async def test_a_failing_body_takes_only_its_own_writes_along(store, records, failing):
    async def one(place):
        async with store.transaction() as tx:
            await tx.insert(records.Counter(id=str(place)))
            await asyncio.sleep(0)
            if place in failing:
                raise ZeroDivisionError
            tx.after_commit(lambda: committed.append(place))

    committed = []
    async with asyncio.timeout(PATIENCE):
        outcomes = await asyncio.gather(*(one(place) for place in range(5)), return_exceptions=True)
    assert {place for place, outcome in enumerate(outcomes) if outcome is not None} == failing
    async with store.view() as view:
        kept = {int(row.id) for row in await view.list(records.Counter)}
    assert kept == set(committed) == set(range(5)) - failing


async def test_calls_after_commit_see_what_was_committed(store, records):
    seen = []
    done = asyncio.Event()

    async def look():
        async with store.view() as view:
            seen.append(await view.count(records.Counter))
        done.set()

    async with store.transaction() as tx:
        await tx.insert(records.Counter(id="a"))
        tx.after_commit(lambda: tasks.append(asyncio.ensure_future(look())))
        tasks = []
    async with asyncio.timeout(PATIENCE):
        await done.wait()
    assert seen == [1]


async def test_an_error_in_a_call_after_commit_does_not_reach_the_caller(store, records):
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
    called = []
    async with store.transaction() as tx:
        await tx.insert(records.Counter(id="a"))
        tx.after_commit(lambda: 1 / 0)
        tx.after_commit(lambda: called.append(1))
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert called == [1]


@pytest.mark.parametrize("steps", range(12))
async def test_a_cancelled_task_writes_all_or_nothing(store, records, steps):
    """Cancelled after so many turns of the event loop: in the queue, in its body, or in the commit."""
    called = []

    async def one(key):
        async with store.transaction() as tx:
            await tx.insert(records.Counter(id=f"{key}-1"))
            await asyncio.sleep(0)
            await tx.insert(records.Counter(id=f"{key}-2"))
            tx.after_commit(lambda: called.append(key))

    others = [asyncio.create_task(one(f"other{place}")) for place in range(3)]
    task = asyncio.create_task(one("cancelled"))
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*others)
        with pytest.raises(asyncio.CancelledError):
            await task
        await one("after")
    async with store.view() as view:
        found = [row.id.partition("-")[0] for row in await view.list(records.Counter)]
    expected = ["other0", "other1", "other2", "after"] + ["cancelled"] * ("cancelled" in called)
    assert sorted(found) == sorted(expected * 2)
    assert sorted(called) == sorted(expected)


async def test_a_swallowed_timeout_of_a_statement_dooms_the_transaction(postgres_url, records):
    await create_all(postgres_url, records.REGISTRY)
    store = await open_store(postgres_url)
    await add(store, records)
    with pytest.raises(Failed):
        async with store.transaction() as first:
            await first.get(records.Counter, "a")

            async def second():
                async with store.transaction() as tx:
                    await tx.insert(records.Counter(id="b"))
                    try:
                        async with asyncio.timeout(0.1):
                            await tx.get(records.Counter, "a")
                    except TimeoutError:
                        pass

            await asyncio.create_task(second())
    async with store.view() as view:
        assert await view.get(records.Counter, "b") is None
    await store.close()


async def test_a_deadlock_is_a_conflict_for_one_of_the_two(postgres_url, records):
    await create_all(postgres_url, records.REGISTRY)
    store = await open_store(postgres_url)
    await add(store, records, "a")
    await add(store, records, "b")
    both = asyncio.Barrier(2)

    async def one(first, second):
        async with store.transaction() as tx:
            await tx.get(records.Counter, first)
            await both.wait()
            await tx.increment(records.Counter, "count", 1, id=second)

    async with asyncio.timeout(PATIENCE):
        outcomes = await asyncio.gather(one("a", "b"), one("b", "a"), return_exceptions=True)
    assert sorted(type(outcome) for outcome in outcomes if outcome) == [Conflicted]
    assert await count_of(store, records, "a") + await count_of(store, records, "b") == 1
    await store.close()


async def test_a_lost_server_is_disconnected_and_the_store_recovers(postgres, postgres_url, records):
    await create_all(postgres_url, records.REGISTRY)
    store = await open_store(postgres_url)
    await add(store, records)
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'test_%'"
    with pytest.raises(Disconnected):
        async with store.transaction() as tx:
            await tx.increment(records.Counter, "count", 1, id="a")
            await asyncio.to_thread(postgres.ask, cut)
            await tx.get(records.Counter, "a")
    assert await count_of(store, records) == 0
    await store.close()


async def test_an_unreachable_database_is_disconnected(tmp_path):
    for url in (f"sqlite:///{tmp_path}/none/x.db", f"postgresql://u@/x?host={tmp_path}"):
        with pytest.raises(Disconnected):
            await open_store(url)
    for url in ("mysql://x", "sqlite://", "sqlite:///:memory:", "sqlite:///"):
        with pytest.raises(ValueError, match="sqlite:///"):
            await open_store(url)


class Watched:
    """A connection that counts commits, and fails the ones it is told to."""

    def __init__(self, connection):
        self.connection, self.commits, self.broken = connection, [], False

    def __getattr__(self, name):
        return getattr(self.connection, name)

    def execute(self, sql, *values):
        if sql == "COMMIT":
            self.commits.append(threading.current_thread())
            if self.broken:
                raise sqlite3.OperationalError("disk I/O error")
        return self.connection.execute(sql, *values)


@pytest.fixture
async def watched(sqlite_url, records, monkeypatch):
    await create_all(sqlite_url, records.REGISTRY)
    connect, made = sqlite.connect, []

    def watch(path):
        made.append(Watched(connect(path)))
        return made[-1]

    monkeypatch.setattr(sqlite, "connect", watch)
    store = await open_store(sqlite_url)
    yield store, made[0]
    await store.close()


async def test_waiting_bodies_share_one_commit_off_the_loop(watched, records):
    store, connection = watched
    await asyncio.gather(*(add(store, records, str(place)) for place in range(20)))
    assert len(connection.commits) == 1
    assert connection.commits[0] is not threading.current_thread()
    await asyncio.gather(*(add(store, records, str(place)) for place in range(20, 220)))
    assert len(connection.commits) <= 1 + 200 // 20, "a group is bounded, but not small"


async def test_a_failed_commit_fails_the_whole_group_and_only_it(watched, records):
    store, connection = watched
    called = []

    async def one(key):
        async with store.transaction() as tx:
            await tx.insert(records.Counter(id=key))
            tx.after_commit(lambda: called.append(key))

    connection.broken = True
    outcomes = await asyncio.gather(*(one(str(place)) for place in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Failed] * 5
    connection.broken = False
    await one("after")
    assert called == ["after"]
    async with store.view() as view:
        assert [row.id for row in await view.list(records.Counter)] == ["after"]


async def test_a_transaction_that_sqlite_gave_up_fails_its_group(watched, records):
    """SQLite rolls everything back by itself when the disk is full."""
    store, connection = watched

    async def lose():
        async with store.transaction() as tx:
            await tx.insert(records.Counter(id="b"))
            connection.connection.execute("ROLLBACK")

    outcomes = await asyncio.gather(add(store, records, "a"), lose(), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Failed] * 2
    await add(store, records, "after")
    async with store.view() as view:
        assert [row.id for row in await view.list(records.Counter)] == ["after"]


async def test_closing_lets_queued_transactions_finish(prepared_url, records):
    store = await open_store(prepared_url)
    tasks = [asyncio.create_task(add(store, records, str(place))) for place in range(10)]
    await asyncio.sleep(0)
    async with asyncio.timeout(PATIENCE):
        await store.close()
        await asyncio.gather(*tasks)
    store = await open_store(prepared_url)
    async with store.view() as view:
        assert await view.count(records.Counter) == 10
    await store.close()


async def test_a_cancelled_long_list_leaves_the_store_usable(store, records):
    async with store.transaction() as tx:
        for place in range(3000):
            await tx.insert(records.Counter(id=str(place)))

    async def read():
        async with store.view() as view:
            return len(await view.list(records.Counter))

    for steps in range(6):
        task = asyncio.create_task(read())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert await read() == 3000
