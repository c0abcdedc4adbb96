"""Each condition selects what the same condition selects in Python, on both databases."""

from datetime import timedelta
from ipaddress import ip_address
from uuid import UUID, uuid4

import pytest

from pileus.store import all_of, any_of, eq, ge, gt, le, like, literal, lt, ne, not_in

NAMES = ["web", "Web-2", "db_1", "dbx1", "50%", "back\\slash", "", "ünder"]


@pytest.fixture
async def rows(store, records):
    made = [
        records.Server(
            id=UUID(int=place),
            project=UUID(int=place % 3),
            name=name,
            state=records.State.ACTIVE if place % 2 else records.State.STOPPED,
            memory=place * 100,
            ready=place < 4,
            load=place / 7,
            at=None if place % 4 == 0 else records.NOON + timedelta(microseconds=place),
            address=None if place % 2 else ip_address(f"192.0.2.{place}"),
            key=bytes([place]),
            tags=(name,),
        )
        for place, name in enumerate(NAMES)
    ]
    async with store.transaction() as tx:
        for row in made:
            await tx.insert(row)
    return made


def later(records):
    return records.NOON + timedelta(microseconds=3)


CASES = {
    "eq": (lambda r: [eq("name", "web")], lambda r, s: s.name == "web"),
    "eq null": (lambda r: [eq("at", None)], lambda r, s: s.at is None),
    "eq moment": (lambda r: [eq("at", later(r))], lambda r, s: s.at == later(r)),
    "eq state": (lambda r: [eq("state", r.State.ACTIVE)], lambda r, s: s.state == "active"),
    "eq bool": (lambda r: [eq("ready", False)], lambda r, s: not s.ready),
    "eq bytes": (lambda r: [eq("key", b"\x03")], lambda r, s: s.key == b"\x03"),
    "ne": (lambda r: [ne("name", "web")], lambda r, s: s.name != "web"),
    "ne null": (lambda r: [ne("at", None)], lambda r, s: s.at is not None),
    "ne of nullable": (lambda r: [ne("at", later(r))], lambda r, s: s.at != later(r)),
    "gt": (lambda r: [gt("memory", 300)], lambda r, s: s.memory > 300),
    "ge": (lambda r: [ge("memory", 300)], lambda r, s: s.memory >= 300),
    "lt": (lambda r: [lt("memory", 300)], lambda r, s: s.memory < 300),
    "le moment": (lambda r: [le("at", later(r))], lambda r, s: s.at is not None and s.at <= later(r)),
    "gt text": (lambda r: [gt("name", "a")], lambda r, s: s.name > "a"),
    "gt id": (lambda r: [gt("id", UUID(int=4))], lambda r, s: s.id > UUID(int=4)),
    "in": (lambda r: [eq("name", ("web", "db_1", "no"))], lambda r, s: s.name in ("web", "db_1")),
    "in set of ids": (lambda r: [eq("id", {UUID(int=1), UUID(int=9)})], lambda r, s: s.id.int == 1),
    "in empty": (lambda r: [eq("name", ())], lambda r, s: False),
    "in empty bytes": (lambda r: [eq("key", [])], lambda r, s: False),
    "in with null": (lambda r: [eq("at", (None, later(r)))], lambda r, s: s.at in (None, later(r))),
    "in bool": (lambda r: [eq("ready", [True])], lambda r, s: s.ready),
    "in bytes": (lambda r: [eq("key", (b"\x01", b"\x02"))], lambda r, s: s.key in (b"\x01", b"\x02")),
    "in floats": (lambda r: [eq("load", (1 / 7, 3 / 7))], lambda r, s: s.load in (1 / 7, 3 / 7)),
    "in addresses": (
        lambda r: [eq("address", (ip_address("192.0.2.2"),))],
        lambda r, s: s.address == ip_address("192.0.2.2"),
    ),
    "in json": (lambda r: [eq("tags", (("web",), ("db_1",)))], lambda r, s: s.name in ("web", "db_1")),
    "not in": (lambda r: [not_in("name", ["web", "db_1"])], lambda r, s: s.name not in ("web", "db_1")),
    "not in nothing": (lambda r: [not_in("name", [])], lambda r, s: True),
    "not in of nullable": (lambda r: [not_in("at", [later(r)])], lambda r, s: s.at != later(r)),
    "not in with null": (
        lambda r: [not_in("at", [None, later(r)])],
        lambda r, s: s.at not in (None, later(r)),
    ),
    "like": (lambda r: [like("name", "WEB%")], lambda r, s: s.name.lower().startswith("web")),
    "like any": (lambda r: [like("name", "db_1")], lambda r, s: s.name in ("db_1", "dbx1")),
    "like literal": (lambda r: [like("name", literal("db_1"))], lambda r, s: s.name == "db_1"),
    "like literal %": (lambda r: [like("name", f"%{literal('%')}")], lambda r, s: s.name == "50%"),
    "like literal \\": (lambda r: [like("name", f"%{literal(chr(92))}%")], lambda r, s: "\\" in s.name),
    "like beyond ascii": (lambda r: [like("name", "ü%")], lambda r, s: s.name == "ünder"),
    "like of an id": (lambda r: [like("id", "%5")], lambda r, s: s.id.int == 5),
    "any of": (
        lambda r: [any_of(eq("name", "web"), gt("memory", 500))],
        lambda r, s: s.name == "web" or s.memory > 500,
    ),
    "any of nothing": (lambda r: [any_of()], lambda r, s: False),
    "all of in any of": (
        lambda r: [any_of(all_of(gt("memory", 100), eq("ready", True)), eq("at", None))],
        lambda r, s: (s.memory > 100 and s.ready) or s.at is None,
    ),
    "two": (lambda r: [gt("memory", 100), lt("memory", 500)], lambda r, s: 100 < s.memory < 500),
}


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_condition_selects(store, records, rows, case):
    where, holds = CASES[case]
    expected = [row for row in rows if holds(records, row)]
    conditions = where(records)
    async with store.view() as view:
        assert await view.list(records.Server, *conditions) == expected
        assert await view.count(records.Server, *conditions) == len(expected)
        assert await view.total(records.Server, "memory", *conditions) == sum(row.memory for row in expected)
        one = await view.one(records.Server, *conditions)
        assert one in expected if expected else one is None
    async with store.transaction() as tx:
        assert await tx.increment(records.Server, "memory", 5, *conditions) == len(expected)
        assert await tx.update_where(records.Server, {"load": 0.25}, *conditions) == len(expected)
    async with store.transaction() as tx:
        changed = await tx.list(records.Server, eq("load", 0.25))
        assert {(row.id, row.memory) for row in changed} == {(row.id, row.memory + 5) for row in expected}
    async with store.transaction() as tx:
        assert await tx.delete_where(records.Server, load=0.25) == len(expected)
        assert await tx.count(records.Server) == len(rows) - len(expected)


async def test_keywords_and_conditions_must_all_hold(store, records, rows):
    async with store.view() as view:
        found = await view.list(records.Server, gt("memory", 100), project=UUID(int=0), at=None)
    assert found == [row for row in rows if row.memory > 100 and row.project.int == 0 and row.at is None]


async def test_a_long_list_of_alternatives_is_one_parameter(store, records, rows):
    async with store.view() as view:
        assert await view.list(records.Server, id={uuid4() for _ in range(50_000)} | {rows[2].id}) == [
            rows[2]
        ]


async def test_a_long_list_of_rows_is_complete_and_in_order(store, records):
    async with store.transaction() as tx:
        for place in range(1500):
            await tx.insert(records.Counter(id=f"{place:05}", count=place))
    async with store.view() as view:
        found = await view.list(records.Counter, order=("-count",))
    assert [row.count for row in found] == list(range(1499, -1, -1))


async def test_mistakes_are_named(store, records):
    async with store.view() as view:
        with pytest.raises(ValueError, match="server has no column 'colour'"):
            await view.list(records.Server, colour="red")
        with pytest.raises(ValueError, match="server has no column 'colour'"):
            await view.list(records.Server, order=("-colour",))
        with pytest.raises(ValueError, match=r"needs the values of \(name, id\)"):
            await view.list(records.Server, order=("name",), after=("x",))
        with pytest.raises(TypeError, match="nothing is ordered against None"):
            await view.list(records.Server, gt("memory", None))
        with pytest.raises(TypeError, match=r"the key of grant is \(user, role\)"):
            await view.get(records.Grant, "admin")
