"""The catalogue that processes share in a key-value store is always the one that the database has."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from pileus.config import Config
from pileus.core import mark
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.errors import Unavailable
from pileus.core.identity import projects
from pileus.core.identity.authentication import tokens
from pileus.core.identity.domains import ROOT
from pileus.core.identity.services import catalogue, catalogue_store, endpoint_filters, offers
from pileus.core.identity.services.catalogue_records import Endpoint, Service
from pileus.drivers.keyvalue.fake import MemoryStore
from pileus.store import open_store
from tests.unit.core.identity.conftest import Clock


class Counted(MemoryStore):
    """Counts what it is asked, and may be away or never answer."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.away = self.silent = False

    async def _answering(self, verb: str) -> None:
        self.asked.append(verb)
        if self.silent:
            await asyncio.Event().wait()
        if self.away:
            raise Unavailable("The store does not answer.", private="Redis is down")

    async def get(self, key: str) -> bytes | None:
        await self._answering("get")
        return await super().get(key)

    async def put(self, key: str, value: bytes, seconds: int) -> None:
        await self._answering("put")
        await super().put(key, value, seconds)


@pytest.fixture
def store() -> Counted:
    return Counted()


@pytest.fixture
async def clouds(cloud: Cloud, store: Counted, clock: Clock) -> list[Cloud]:
    """Two processes of one cloud."""
    await mark.identify(cloud.store)
    made = [Cloud(cloud.config, cloud.store, now=clock) for _ in range(2)]
    for each in made:
        each.catalogue_store = store
    return made


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on, nobody may read the catalogue's records."""

    async def never(look: object, change: int) -> None:
        pytest.fail("the catalogue was read from the database")

    return lambda: monkeypatch.setattr(offers, "_read", never)


async def true(cloud: Cloud) -> offers.Catalogue:
    """As the database has it."""
    return await offers.catalogue(Cloud(cloud.config, cloud.store))


async def service(cloud: Cloud, admin: Caller, **more: Any) -> Service:
    want = catalogue.CreateService(type="thing", name="t", extra={"a": [1, {"é": None}]}, **more)
    return await catalogue.create_service(cloud, admin, want)


async def endpoint(cloud: Cloud, admin: Caller, of: UUID, **more: Any) -> Endpoint:
    want = catalogue.CreateEndpoint(service=of, interface="public", url="http://e/$(project_id)s", **more)
    return await catalogue.create_endpoint(cloud, admin, want)


async def project(cloud: Cloud, admin: Caller) -> UUID:
    return (await projects.create(cloud, admin, projects.CreateProject(name="p", domain=ROOT))).id


async def test_one_process_reads_the_records_and_the_others_the_store(
    clouds: list[Cloud], admin: Caller, store: Counted, unread: Callable[[], None]
) -> None:
    made = await service(clouds[0], admin)
    place = await endpoint(clouds[0], admin, made.id, region="R", make_region=True, extra={"x": 1.5})
    await endpoint_filters.give(clouds[0], admin, await project(clouds[0], admin), place.id)
    wanted, first = await true(clouds[0]), await offers.catalogue(clouds[0])
    assert store.asked == ["get", "put"]
    unread()
    second = await offers.catalogue(clouds[1])
    assert first == second == wanted
    assert await offers.catalogue(clouds[1]) is second
    assert store.asked == ["get", "put", "get"]


Change = Callable[[Cloud, Caller, Service, Endpoint, UUID], Awaitable[Any]]
CHANGES: dict[str, Change] = {
    "a service is made": lambda at, me, s, e, p: service(at, me),
    "a service is renamed": lambda at, me, s, e, p: catalogue.update_service(
        at, me, s.id, catalogue.UpdateService(name="new")
    ),
    "a service is hidden": lambda at, me, s, e, p: catalogue.update_service(
        at, me, s.id, catalogue.UpdateService(enabled=False)
    ),
    "a service goes": lambda at, me, s, e, p: catalogue.delete_service(at, me, s.id),
    "an endpoint is made": lambda at, me, s, e, p: endpoint(at, me, s.id),
    "an endpoint moves": lambda at, me, s, e, p: catalogue.update_endpoint(
        at, me, e.id, catalogue.UpdateEndpoint(url="http://elsewhere")
    ),
    "an endpoint is hidden": lambda at, me, s, e, p: catalogue.update_endpoint(
        at, me, e.id, catalogue.UpdateEndpoint(enabled=False)
    ),
    "an endpoint goes": lambda at, me, s, e, p: catalogue.delete_endpoint(at, me, e.id),
    "an endpoint is given": lambda at, me, s, e, p: endpoint_filters.give(at, me, p, e.id),
    "a group of endpoints is given": lambda at, me, s, e, p: given_group(at, me, s, p),
    "the own services are ensured": lambda at, me, s, e, p: catalogue.ensure(
        at, [catalogue.Served("x", "y", "$(public_url)s/x")]
    ),
}


async def given_group(at: Cloud, me: Caller, of: Service, to: UUID) -> None:
    want = endpoint_filters.CreateGroup(name="g", filters={"service_id": of.id.hex})
    group = await endpoint_filters.create_group(at, me, want)
    await endpoint_filters.give_group(at, me, group.id, to)
    before = await offers.catalogue(at)
    update = endpoint_filters.UpdateGroup(filters={"interface": "admin"})
    await endpoint_filters.update_group(at, me, group.id, update)
    assert await offers.catalogue(at) != before
    await endpoint_filters.update_group(at, me, group.id, endpoint_filters.UpdateGroup(filters=want.filters))


@pytest.mark.parametrize("change", CHANGES)
async def test_after_each_change_all_processes_have_the_new_one(
    clouds: list[Cloud], admin: Caller, change: str
) -> None:
    made = await service(clouds[0], admin)
    place = await endpoint(clouds[0], admin, made.id)
    to = await project(clouds[0], admin)
    before = [await offers.catalogue(each) for each in clouds]
    await CHANGES[change](clouds[0], admin, made, place, to)
    after = [await offers.catalogue(each) for each in (clouds[1], clouds[0])]
    assert after[0] == after[1] == await true(clouds[0])
    assert after[0] != before[0] == before[1]
    assert (after[0].everything, after[0].chosen) != (before[0].everything, before[0].chosen)


async def test_while_the_store_is_away_the_database_is_read_and_the_log_says_so_once(
    clouds: list[Cloud], admin: Caller, store: Counted, clock: Clock
) -> None:
    store.away = True
    with capture_logs() as logs:
        for number in range(3):
            await service(clouds[0], admin)
            assert len((await offers.catalogue(clouds[0])).everything) == number + 1
            clock.move(3)
        asked = len(store.asked)
        clock.move(catalogue_store.PAUSE.total_seconds())
        await service(clouds[0], admin)
        assert await offers.catalogue(clouds[0]) == await true(clouds[0])
        store.away = False
        clock.move(catalogue_store.PAUSE.total_seconds())
        await service(clouds[0], admin)
        assert await offers.catalogue(clouds[0]) == await true(clouds[0])
    assert asked == 1
    assert [(entry["event"], entry.get("reason")) for entry in logs] == [
        ("the store of the catalogue is away; the database is read", "Redis is down"),
        ("the store of the catalogue is back", None),
    ]
    assert await offers.catalogue(clouds[1]) == await true(clouds[0])


async def test_a_store_that_never_answers_holds_nobody_up(
    clouds: list[Cloud], admin: Caller, store: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue_store, "PATIENCE", 0.05)
    store.silent = True
    await service(clouds[0], admin)
    with capture_logs() as logs:
        assert await offers.catalogue(clouds[0]) == await true(clouds[0])
    assert [entry["reason"] for entry in logs] == ["no answer in time"]
    assert store.asked == ["get"]


WRONG: dict[str, Callable[[Cloud, bytes], bytes]] = {
    "nothing": lambda cloud, raw: b"",
    "garbage": lambda cloud, raw: b"\xc1garbage",
    "half": lambda cloud, raw: raw[: len(raw) // 2],
    "another form": lambda cloud, raw: catalogue_store.pack([1, 2]),
    "one byte": lambda cloud, raw: raw.replace(b"http://e/", b"http://x/"),
    "another seal": lambda cloud, raw: forged(cloud, raw, lambda seal: seal[:-4] + "AAAA"),
    "the seal of something else": lambda cloud, raw: forged(
        cloud, raw, lambda seal: tokens.of(cloud).seal(b"x" * 42)
    ),
    "no seal": lambda cloud, raw: forged(cloud, raw, lambda seal: ""),
    "too long a seal": lambda cloud, raw: forged(cloud, raw, lambda seal: "é" * 9000),
}


def forged(cloud: Cloud, raw: bytes, seal: Callable[[str], str]) -> bytes:
    kept = catalogue_store.unpack(raw)
    return catalogue_store.pack(catalogue_store.Kept(kept.change, seal(kept.seal), kept.body))


@pytest.mark.parametrize("wrong", WRONG)
async def test_what_this_cloud_did_not_write_is_not_believed_and_is_replaced(
    clouds: list[Cloud], admin: Caller, store: Counted, wrong: str
) -> None:
    made = await service(clouds[0], admin)
    await endpoint(clouds[0], admin, made.id)
    wanted = await offers.catalogue(clouds[0])
    (key,) = store._held
    value, end = store._held[key]
    store._held[key] = (WRONG[wrong](clouds[0], value), end)
    assert store._held[key][0] != value
    assert await offers.catalogue(clouds[1]) == wanted
    assert catalogue_store.unpack(store._held[key][0]).body == catalogue_store.unpack(value).body


async def test_an_old_one_is_not_good_for_a_later_count(
    clouds: list[Cloud], admin: Caller, store: Counted
) -> None:
    await service(clouds[0], admin)
    await offers.catalogue(clouds[0])
    (key,) = store._held
    value, end = store._held[key]
    await service(clouds[0], admin)
    later = (await true(clouds[0])).change
    body = catalogue_store.unpack(value)
    store._held[key] = (catalogue_store.pack(catalogue_store.Kept(later, body.seal, body.body)), end)
    assert len((await offers.catalogue(clouds[1])).everything) == 2


@asynccontextmanager
async def opened(path: Path, state: Path, clock: Clock, store: Counted) -> AsyncIterator[Cloud]:
    rows = await open_store(f"sqlite:///{path}")
    try:
        cloud = Cloud(Config(state=state), rows, now=clock)
        cloud.catalogue_store = store
        yield cloud
    finally:
        await rows.close()


async def test_after_an_older_database_was_put_back_nothing_of_the_other_time_is_found(
    cloud: Cloud, admin: Caller, store: Counted, clock: Clock, tmp_path: Path
) -> None:
    await mark.identify(cloud.store)
    await cloud.store.close()
    file, backup, state = tmp_path / "pileus.db", tmp_path / "backup.db", cloud.config.state
    shutil.copy(file, backup)
    async with opened(file, state, clock, store) as before:
        await service(before, admin)
        lost = await offers.catalogue(before)
    clock.move(60)
    for each in (file, *tmp_path.glob("pileus.db-*")):
        each.unlink()
    shutil.copy(backup, file)
    async with opened(file, state, clock, store) as after:
        await catalogue.create_service(after, admin, catalogue.CreateService(type="other"))
        found = await offers.catalogue(after)
    assert found.change > lost.change
    assert [offered.service.type for offered in found.everything] == ["other"]


async def test_two_clouds_may_share_a_store(clouds: list[Cloud], admin: Caller, store: Counted) -> None:
    await service(clouds[0], admin)
    await offers.catalogue(clouds[0])
    async with clouds[0].store.transaction() as tx:
        await tx.put(mark.CloudMark(id=UUID(int=7)))
    await offers.catalogue(clouds[1])
    assert len(store._held) == 2
