"""What a single transaction promises."""

from ipaddress import ip_address
from uuid import uuid4

import msgspec
import pytest

from pileus.store import Absent, Duplicate, Failed, StoreError

NET = uuid4()


def server(records, **fields):
    return records.Server(**{"id": uuid4(), "project": uuid4()} | fields)


def at(records, number):
    return server(records, network=NET, address=ip_address(f"192.0.2.{number}"))


async def test_a_committed_record_is_seen_by_the_next_view(store, records):
    made = server(records)
    async with store.transaction() as tx:
        assert await tx.insert(made) == made
        assert await tx.get(records.Server, made.id) == made
    async with store.view() as view:
        assert await view.get(records.Server, made.id) == made
        assert await view.get(records.Server, uuid4()) is None


async def test_an_exception_leaves_nothing(store, records):
    made = server(records)
    with pytest.raises(ZeroDivisionError):
        async with store.transaction() as tx:
            await tx.insert(made)
            raise ZeroDivisionError
    async with store.view() as view:
        assert await view.count(records.Server) == 0


async def test_a_view_does_not_see_what_is_committed_after_it_began(store, records):
    async with store.view() as view:
        assert await view.count(records.Counter) == 0
        async with store.transaction() as tx:
            await tx.insert(records.Counter(id="new"))
        assert await view.count(records.Counter) == 0
        async with store.view() as fresh:
            assert await fresh.count(records.Counter) == 1


async def test_views_see_nothing_uncommitted(store, records):
    async with store.transaction() as tx:
        await tx.insert(records.Counter(id="new"))
        async with store.view() as view:
            assert await view.count(records.Counter) == 0


async def test_a_duplicate_names_its_columns_and_the_transaction_goes_on(store, records):
    first = at(records, 1)
    async with store.transaction() as tx:
        await tx.insert(first)
    async with store.transaction() as tx:
        with pytest.raises(Duplicate) as key:
            await tx.insert(msgspec.structs.replace(first, address=None))
        with pytest.raises(Duplicate) as unique:
            await tx.insert(at(records, 1))
        await tx.insert(at(records, 2))
        await tx.insert(server(records, network=NET))
        await tx.insert(server(records, network=NET))
    assert (key.value.table, key.value.columns) == ("server", ("id",))
    assert (unique.value.table, unique.value.columns) == ("server", ("network", "address"))
    async with store.view() as view:
        assert await view.count(records.Server) == 4


@pytest.mark.parametrize("verb", ["update", "put", "update_where"])
async def test_a_duplicate_by_a_change_dooms_the_transaction(store, records, verb):
    first, second = at(records, 1), at(records, 2)
    async with store.transaction() as tx:
        await tx.insert(first)
        await tx.insert(second)
    with pytest.raises(Failed, match="already has a row"):
        async with store.transaction() as tx:
            await tx.insert(server(records))
            with pytest.raises(Duplicate) as caught:
                if verb == "update_where":
                    await tx.update_where(records.Server, {"address": first.address}, id=second.id)
                else:
                    await getattr(tx, verb)(msgspec.structs.replace(second, address=first.address))
    assert (caught.value.table, caught.value.columns) == ("server", ("network", "address"))
    async with store.view() as view:
        assert await view.count(records.Server) == 2
        assert await view.get(records.Server, second.id) == second


async def test_an_update_of_a_missing_row_says_so_and_the_transaction_goes_on(store, records):
    async with store.transaction() as tx:
        with pytest.raises(Absent, match="counter has no row gone"):
            await tx.update(records.Counter(id="gone"))
        await tx.insert(records.Counter(id="here"))
    async with store.view() as view:
        assert await view.count(records.Counter) == 1


async def test_a_row_is_had_or_made(store, records):
    async with store.transaction() as tx:
        first, later = records.Counter(id="a", count=1), records.Counter(id="a", count=2)
        assert await tx.get_or_insert(first) == first
        assert await tx.get_or_insert(later) == first
        await tx.insert(at(records, 1))
        with pytest.raises(Duplicate) as caught:
            await tx.get_or_insert(at(records, 1))
    assert caught.value.columns == ("network", "address")


async def test_update_put_and_delete(store, records):
    async with store.transaction() as tx:
        await tx.put(records.Counter(id="a", count=1, note="x"))
        await tx.put(records.Counter(id="a", count=2))
        await tx.update(records.Counter(id="a", count=3))
        assert await tx.get(records.Counter, "a") == records.Counter(id="a", count=3)
        assert await tx.delete(records.Counter, "a")
        assert not await tx.delete(records.Counter, "a")


async def test_a_record_that_is_all_key(store, records):
    grant = records.Grant(user="u", role="admin")
    async with store.transaction() as tx:
        await tx.insert(grant)
        await tx.put(grant)
        await tx.update(grant)
        with pytest.raises(Absent):
            await tx.update(records.Grant(user="u", role="reader"))
        with pytest.raises(Duplicate) as caught:
            await tx.insert(grant)
        assert await tx.get(records.Grant, "u", "admin") == grant
    assert caught.value.columns == ("user", "role")


async def test_the_database_counts_and_never_reuses_a_number(store, records):
    numbers = []
    for text in ("a", "b", "c"):
        async with store.transaction() as tx:
            numbers.append((await tx.insert(records.Event(subject=uuid4(), text=text))).seq)
    async with store.transaction() as tx:
        await tx.delete(records.Event, numbers[-1])
        numbers.append((await tx.insert(records.Event(subject=uuid4()))).seq)
        with pytest.raises(TypeError, match="do not put"):
            await tx.put(records.Event(subject=uuid4()))
    assert numbers == [1, 2, 3, 4]


async def test_a_fenced_update_touches_only_what_still_holds(store, records):
    async with store.transaction() as tx:
        await tx.insert(records.Counter(id="a", note="mine"))
        assert await tx.update_where(records.Counter, {"count": 9, "note": None}, id="a", note="theirs") == 0
        assert await tx.update_where(records.Counter, {"count": 9, "note": None}, id="a", note="mine") == 1
        assert await tx.get(records.Counter, "a") == records.Counter(id="a", count=9)
        with pytest.raises(ValueError, match="at least one column"):
            await tx.update_where(records.Counter, {}, id="a")


async def test_calls_after_commit_run_in_order_and_never_after_a_rollback(store, records):
    called = []

    async def look(name):
        async with store.view() as view:
            called.append((name, await view.count(records.Counter)))

    async with store.transaction() as tx:
        await tx.insert(records.Counter(id="a"))
        tx.after_commit(lambda: called.append("first"))
        tx.after_commit(lambda: called.append("second"))
        assert called == []
    assert called == ["first", "second"]
    with pytest.raises(ZeroDivisionError):
        async with store.transaction() as tx:
            tx.after_commit(lambda: called.append("never"))
            raise ZeroDivisionError
    await look("end")
    assert called == ["first", "second", ("end", 1)]


async def test_an_ended_view_or_transaction_refuses(store, records):
    async with store.view() as view:
        pass
    async with store.transaction() as tx:
        pass
    with pytest.raises(RuntimeError, match="has ended"):
        await view.get(records.Counter, "a")
    with pytest.raises(RuntimeError, match="has ended"):
        await tx.insert(records.Counter(id="a"))


async def test_a_transaction_inside_a_transaction_is_refused(store, records):
    async with store.transaction() as tx:
        with pytest.raises(RuntimeError, match="inside a transaction"):
            async with store.transaction():
                pass
        await tx.insert(records.Counter(id="a"))
    async with store.transaction() as tx:
        assert await tx.count(records.Counter) == 1


async def test_a_closed_store_refuses(store):
    await store.close()
    with pytest.raises(StoreError):
        async with store.transaction():
            pass
    with pytest.raises(StoreError):
        async with store.view():
            pass
