"""A list that is read page by page, by keyset, is the list: in every order, with ties and nulls."""

from datetime import timedelta
from uuid import UUID

import pytest

ORDERS = [
    (),
    ("name",),
    ("-name",),
    ("name", "-memory"),
    ("-name", "-memory"),
    ("at",),
    ("-at",),
    ("at", "-address"),
    ("-at", "name"),
    ("-memory", "at", "name"),
    ("id",),
    ("-id",),
    ("state", "-id"),
]


@pytest.fixture
async def rows(store, records):
    made = [
        records.Server(
            id=UUID(int=place * 7919 % 101),
            project=UUID(int=0),
            name="abc"[place % 3],
            memory=place % 2,
            state=records.State.ACTIVE if place % 5 else records.State.STOPPED,
            at=None if place % 4 == 0 else records.NOON + timedelta(seconds=place % 3),
        )
        for place in range(23)
    ]
    async with store.transaction() as tx:
        for row in made:
            await tx.insert(row)
    return made


def full(order):
    named = [term.removeprefix("-") for term in order]
    descends = bool(order) and all(term.startswith("-") for term in order)
    return order if "id" in named else (*order, "-id" if descends else "id")


def in_python(rows, order):
    found = list(rows)
    for term in reversed(full(order)):
        name = term.removeprefix("-")
        found.sort(
            key=lambda row: (getattr(row, name) is not None, getattr(row, name) or 0),
            reverse=term.startswith("-"),
        )
    return found


@pytest.mark.parametrize("size", [1, 4, 23, 50])
@pytest.mark.parametrize("order", ORDERS, ids=str)
async def test_pages_make_the_whole_list(store, records, rows, order, size):
    seen, after = [], None
    async with store.view() as view:
        while page := await view.list(records.Server, order=order, after=after, limit=size):
            assert len(page) <= size
            seen += page
            after = tuple(getattr(page[-1], term.removeprefix("-")) for term in full(order))
        assert await view.list(records.Server, order=order) == seen
    assert seen == in_python(rows, order)


async def test_a_page_is_filtered_too(store, records, rows):
    async with store.view() as view:
        page = await view.list(
            records.Server, name="a", order=("-memory",), after=(1, UUID(int=102)), limit=100
        )
    assert page == [row for row in in_python(rows, ("-memory",)) if row.name == "a"]
    async with store.view() as view:
        assert await view.list(records.Server, limit=0) == []
