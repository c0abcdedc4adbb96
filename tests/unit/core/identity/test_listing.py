from datetime import UTC, datetime
from uuid import UUID

import pytest

from pileus.config import Config
from pileus.core.cloud import Cloud
from pileus.core.errors import NotFound
from pileus.core.identity import tags
from pileus.core.identity.authentication import failures
from pileus.core.identity.authentication.credential_records import LoginFailures
from pileus.core.identity.listing import Match, Window, equal, page
from pileus.core.identity.records import Domain
from pileus.store import open_store
from tests import schema

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = ["alpha", "Alpha%", "beta", "gamma", "delta"]


@pytest.fixture
async def cloud(database_url, tmp_path):
    """On both databases, with five domains whose ids are 1 to 5."""
    await schema.create(database_url)
    store = await open_store(database_url)
    cloud = Cloud(Config(state=tmp_path), store, now=lambda: NOW)
    async with cloud.transaction() as tx:
        for number, name in enumerate(NAMES, 1):
            marks = ("Red", 'b"%') if number % 2 else ("red",)
            await tx.add(Domain(id=UUID(int=number), name=name, tags=marks, created_at=NOW))
    yield cloud
    await store.close()


async def names(cloud, *where, exact=None, limit=None, after=None, **equals):
    async with cloud.view() as look:
        window = Window(limit=limit, after=UUID(int=after) if after else None)
        found = await page(look, Domain, window, *where, exact=exact, **equals)
        return [one.name for one in found.items], found.more


async def test_pages_follow_each_other_by_id(cloud):
    assert await names(cloud) == (NAMES, False)
    assert await names(cloud, limit=2) == (NAMES[:2], True)
    assert await names(cloud, limit=2, after=2) == (NAMES[2:4], True)
    assert await names(cloud, limit=2, after=4) == (NAMES[4:], False)
    assert await names(cloud, limit=5) == (NAMES, False)
    with pytest.raises(NotFound, match="Marker"):
        await names(cloud, after=9)


async def test_names_are_compared_without_regard_to_case_and_with_no_signs_of_their_own(cloud):
    cases = {
        ("contains", "LPH"): ["alpha", "Alpha%"],
        ("startswith", "a"): ["alpha", "Alpha%"],
        ("endswith", "TA"): ["beta", "delta"],
        ("contains", "%"): ["Alpha%"],
        ("contains", "_"): [],
    }
    for (how, text), wanted in cases.items():
        assert (await names(cloud, Match(how, text).condition("name")))[0] == wanted
    assert (await names(cloud, *equal(name="beta", enabled=None)))[0] == ["beta"]


async def test_tags_are_compared_exactly_over_all_pages(cloud):
    red = tags.Wanted(every=frozenset({"red"}))
    assert await names(cloud, *red.conditions(), exact=red.passes, limit=1) == (["Alpha%"], True)
    assert await names(cloud, *red.conditions(), exact=red.passes, limit=1, after=2) == (["gamma"], False)
    odd = tags.Wanted(some=frozenset({'b"%', "none"}))
    assert (await names(cloud, *odd.conditions(), exact=odd.passes))[0] == ["alpha", "beta", "delta"]
    without = tags.Wanted(none=frozenset({"Red"}), not_every=frozenset({"blue"}))
    assert (await names(cloud, *without.conditions(), exact=without.passes))[0] == ["Alpha%", "gamma"]
    assert (await names(cloud, *tags.Wanted(some=frozenset()).conditions()))[0] == []


async def test_failures_are_counted(cloud):
    for _ in range(3):
        await failures.failed(cloud, "user:u", reason="wrong", source="192.0.2.1")
    async with cloud.view() as look:
        rows = {row.key: row.failures for row in await look.list(LoginFailures)}
    assert rows == {"user:u": 3, "source:192.0.2.1": 3}
    await failures.succeeded(cloud, "user:u")
    async with cloud.view() as look:
        assert await look.count(LoginFailures) == 1
