"""Alerts: opened once, counted silently, cleared, opened again."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from pileus.config import Config
from pileus.core import alerts, records
from pileus.core.alerts import Alert, Finding, Which
from pileus.core.caller import Caller, system
from pileus.core.cloud import Cloud
from pileus.core.errors import Forbidden
from pileus.core.events import Event
from pileus.core.facets import Facet
from pileus.store import open_store
from tests import schema

assert records
FOUND = Finding(kind="pool full", subject=uuid4(), subject_kind="pool", text="It is full.")
STRANGER = Caller(user=uuid4(), project=uuid4(), roles=frozenset({"member", "reader"}))


@pytest.fixture
async def cloud(database_url: str, tmp_path: Path) -> AsyncIterator[Cloud]:
    await schema.create(database_url)
    store = await open_store(database_url)
    made = Cloud(Config(state=tmp_path), store)
    yield made
    await store.close()


async def found(cloud: Cloud) -> list[Alert]:
    return (await alerts.listing(cloud, system(), project=None)).items


async def events(cloud: Cloud) -> list[str]:
    async with cloud.view() as look:
        return [event.action for event in await look.list(Event, kind="alert", order=("seq",))]


async def test_the_same_finding_is_counted_without_an_event(cloud: Cloud) -> None:
    for _ in range(3):
        await alerts.settle(cloud, [FOUND.kind], [FOUND])
        async with cloud.transaction() as tx:
            await alerts.raise_(tx, FOUND)
    (alert,) = await found(cloud)
    assert (alert.count, alert.text, alert.cleared_at) == (6, "It is full.", None)
    assert await events(cloud) == ["create"]


async def test_other_words_for_the_same_are_an_event(cloud: Cloud) -> None:
    await alerts.settle(cloud, [FOUND.kind], [FOUND])
    fuller = Finding(kind=FOUND.kind, subject=FOUND.subject, subject_kind="pool", text="Fuller.")
    await alerts.settle(cloud, [FOUND.kind], [fuller])
    (alert,) = await found(cloud)
    assert (alert.count, alert.text) == (2, "Fuller.")
    assert await events(cloud) == ["create", "update"]


async def test_what_is_over_is_cleared_but_not_what_was_not_looked_at(cloud: Cloud) -> None:
    await alerts.settle(cloud, [FOUND.kind], [FOUND])
    await alerts.settle(cloud, ["other"], [])
    await alerts.settle(cloud, [FOUND.kind], [], keep={FOUND.subject})
    assert (await found(cloud))[0].cleared_at is None
    await alerts.settle(cloud, [FOUND.kind], [])
    assert (await found(cloud))[0].cleared_at is not None
    async with cloud.transaction() as tx:
        assert await alerts.clear(tx, FOUND.kind, FOUND.subject) is None


async def test_what_comes_back_soon_is_the_same_alert_and_later_a_new_one(cloud: Cloud) -> None:
    now = cloud.now()
    for minutes in (0, 5, 90, 95, 300):
        cloud.now = lambda minutes=minutes: now + timedelta(minutes=minutes)  # type: ignore[misc]
        findings = [] if minutes in (5, 95) else [FOUND]
        await alerts.settle(cloud, [FOUND.kind], findings)
    assert len(await found(cloud)) == 3
    cloud.now = lambda: now + timedelta(minutes=310)
    await alerts.settle(cloud, [FOUND.kind], [])
    await alerts.settle(cloud, [FOUND.kind], [FOUND])
    assert len(await found(cloud)) == 3
    assert (await found(cloud))[0].cleared_at is None


async def test_alerts_are_archived_and_removed_by_kind_and_time(cloud: Cloud) -> None:
    posted = await alerts.post(
        cloud, system(), Finding(kind=alerts.CUSTOM, text="Look."), facets={"face": {"type": 7}}
    )
    await alerts.settle(cloud, [FOUND.kind], [FOUND])
    assert await alerts.archive(cloud, system(), Which(kinds=(alerts.CUSTOM,))) == 1
    assert await alerts.archive(cloud, system(), Which(kinds=(alerts.CUSTOM,))) == 0
    shown = await alerts.show(cloud, system(), posted.id)
    assert shown.archived
    assert shown.cleared_at is not None
    assert await alerts.remove(cloud, system(), Which(until=cloud.now() - timedelta(days=1))) == 0
    assert await alerts.remove(cloud, system(), Which(since=cloud.now() - timedelta(days=1))) == 2
    async with cloud.view() as look:
        assert await look.count(Facet) == 0
    await alerts.settle(cloud, [FOUND.kind], [FOUND])
    assert len(await found(cloud)) == 1


async def test_only_administrators_change_alerts(cloud: Cloud) -> None:
    for call in (alerts.archive, alerts.remove):
        with pytest.raises(Forbidden):
            await call(cloud, STRANGER, Which())
    with pytest.raises(Forbidden):
        await alerts.post(cloud, STRANGER, FOUND)
    with pytest.raises(Forbidden):
        await alerts.listing(cloud, STRANGER, project=None)


async def test_what_has_long_been_over_is_forgotten(cloud: Cloud) -> None:
    await alerts.settle(cloud, [FOUND.kind], [FOUND])
    await alerts.settle(cloud, [FOUND.kind], [])
    assert await alerts.forget_old(cloud) == 0
    later = cloud.now() + alerts.KEPT + timedelta(days=1)
    cloud.now = lambda: later
    assert await alerts.forget_old(cloud) == 1
    assert await found(cloud) == []
