"""Events in order: with writers at once nothing is lost or repeated, old ones go, and nobody learns what is not theirs."""

import asyncio
import random
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import pytest

import pileus.core.records  # noqa: F401 - every table
from pileus.config import Config
from pileus.core import following, stream, tickets
from pileus.core.caller import Caller, system
from pileus.core.cloud import Cloud
from pileus.core.errors import Forbidden, Invalid, Unauthenticated
from pileus.core.events import HIDDEN, OPEN, OPERATORS, PERSONAL, Event, Wanted, allowed, kinds, secret
from pileus.core.identity.authentication.tokens import NIL, Token
from pileus.core.identity.authorization import access
from pileus.core.identity.authorization.access import Session
from pileus.core.identity.records import Assignment, Domain, Role, Scope, User
from pileus.core.network.records import Network
from pileus.store import REGISTRY, Store, open_store
from tests import schema

WRITERS, EACH = 8, 25
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
ALL = Wanted()
ADMIN = system()


class Clock:
    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    await schema.create(database_url)
    store = await open_store(database_url)
    yield store
    await store.close()


@pytest.fixture
async def sqlite(sqlite_url: str) -> AsyncIterator[Store]:
    await schema.create(sqlite_url)
    store = await open_store(sqlite_url)
    yield store
    await store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cloud(sqlite: Store, tmp_path: Path, clock: Clock) -> Cloud:
    return Cloud(Config(state=tmp_path / "state"), sqlite, now=clock)


def reader(project: UUID, role: str = "reader") -> Caller:
    return Caller(user=uuid4(), project=project, roles=frozenset({role}))


def network(project: UUID, **more: object) -> Network:
    return Network(id=uuid4(), project=project, name="n", created_at=NOON, updated_at=NOON, **more)  # type: ignore[arg-type]


async def make(cloud: Cloud, project: UUID, count: int = 1) -> list[Network]:
    made = [network(project) for _ in range(count)]
    for each in made:
        async with cloud.transaction() as tx:
            await tx.add(each)
    return made


class Rolled(Exception):
    """The writer thinks better of it."""


async def write(cloud: Cloud, chance: random.Random) -> None:
    """Transactions with several events, with pauses between them; every fourth is rolled back."""
    pauses = (
        (0, 0, 0.001, 0.02) if cloud.store.dialect == "postgresql" else (0,)
    )  # SQLite's writers are in a queue
    for _ in range(EACH):
        try:
            async with cloud.transaction() as tx:
                for _ in range(chance.randint(1, 3)):
                    await tx.add(network(uuid4()))
                    await asyncio.sleep(chance.choice(pauses))
                if chance.random() < 0.25:
                    raise Rolled
        except Rolled:
            continue
        await asyncio.sleep(chance.choice((0, 0.005)))


async def collect(cloud: Cloud, got: list[Event], ended: asyncio.Event) -> None:
    async with stream.of(cloud).follower(allowed(ADMIN, ALL), 0) as follower:
        while True:
            done = ended.is_set()
            got += await follower.read()
            if (
                done
                and follower.caught_up
                and follower.position >= (await cloud.store.numbers(Event).horizon()).given
            ):
                return
            await follower.wait(0.05)


async def test_every_committed_event_is_read_once_and_in_order(store: Store, tmp_path: Path) -> None:
    """One reader beside the writers, and one in another process (here: another store), which nobody wakes."""
    cloud = Cloud(Config(state=tmp_path), store)
    chance, ended = random.Random(7), asyncio.Event()
    seen: list[Event] = []
    reading = asyncio.create_task(collect(cloud, seen, ended))
    paged: list[Event] = []
    paging = asyncio.create_task(turn_pages(cloud, paged, ended))
    await asyncio.gather(*(write(cloud, random.Random(chance.random())) for _ in range(WRITERS)))
    ended.set()
    async with asyncio.timeout(20):
        await asyncio.gather(reading, paging)
    async with store.view() as view:
        kept = [event.seq for event in await view.list(Event, order=("seq",))]
    assert len(kept) > WRITERS * EACH
    assert [event.seq for event in seen] == kept
    assert [event.seq for event in paged] == kept


async def turn_pages(cloud: Cloud, got: list[Event], ended: asyncio.Event) -> None:
    after = 0
    while True:
        done = ended.is_set()
        found = await stream.page(cloud, ADMIN, ALL, after, limit=7)
        got += found.events
        after = found.next
        if done and not found.more:
            return
        await asyncio.sleep(0.002)


async def test_a_page_has_what_was_committed_before_it_was_asked_for(store: Store, tmp_path: Path) -> None:
    cloud, project = Cloud(Config(state=tmp_path), store), uuid4()
    after: int = (await stream.page(cloud, ADMIN, ALL, "latest")).next
    for _ in range(3):
        (made,) = await make(cloud, project)
        found = await stream.page(cloud, reader(project), ALL, after)
        assert [event.subject for event in found.events] == [made.id]
        after = found.next


async def test_a_follower_behind_the_ring_reads_the_table_and_then_the_ring(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (("RING", 8), ("PAGE", 5), ("SPAN", 7)):
        monkeypatch.setattr(stream, name, size)
    project, feed, got = uuid4(), stream.of(cloud), list[UUID]()
    async with (
        feed.follower(allowed(ADMIN, ALL), "latest") as slow,
        feed.follower(allowed(reader(uuid4()), ALL), "latest") as idle,
    ):
        made = await make(cloud, project, 40)
        async with asyncio.timeout(20):
            while feed.last < 40:
                await asyncio.sleep(0.005)
        assert feed.floor > 0
        assert len(feed.recent(0)) <= 5
        while not slow.caught_up:
            got += [event.subject for event in await slow.read()]
        assert got == [each.id for each in made]
        while not idle.caught_up:
            assert await idle.read() == []
        assert not await idle.wait(0.001)
        assert idle.position == 40


async def test_only_those_whose_filter_passes_are_woken(cloud: Cloud) -> None:
    mine, yours = uuid4(), uuid4()
    feed = stream.of(cloud)
    async with (
        feed.follower(allowed(reader(mine), ALL), "latest") as me,
        feed.follower(allowed(reader(yours), ALL), "latest") as you,
    ):
        woken = asyncio.create_task(me.wait(20)), asyncio.create_task(you.wait(0.2))
        await asyncio.sleep(0)
        (made,) = await make(cloud, mine)
        assert [await each for each in woken] == [True, False]
        assert [event.subject for event in await me.read()] == [made.id]
        assert await you.read() == []


async def test_what_is_asked_for_is_what_comes(cloud: Cloud) -> None:
    project = uuid4()
    one, two = await make(cloud, project, 2)
    async with cloud.transaction() as tx:
        await tx.put(msgspec.structs.replace(one, name="other"))
        await tx.remove(two)
    who = reader(project)

    async def asked(**wanted: object) -> list[tuple[UUID, str]]:
        found = await stream.page(cloud, who, Wanted(**wanted), "oldest")  # type: ignore[arg-type]
        return [(event.subject, event.action) for event in found.events]

    whole = [(one.id, "create"), (two.id, "create"), (one.id, "update"), (two.id, "delete")]
    assert await asked() == whole
    assert await asked(resource=one.id) == [whole[0], whole[2]]
    assert await asked(actions=frozenset({"update", "delete"})) == whole[2:]
    assert await asked(kinds=frozenset({"server"})) == []
    assert await asked(kinds=frozenset({"server", "network"}), project=project) == whole
    with pytest.raises(Forbidden):
        await asked(project=uuid4())
    for wrong in ({"kinds": frozenset({"sever"})}, {"actions": frozenset({"explode"})}):
        with pytest.raises(Invalid, match="there are"):
            await asked(**wrong)
    assert (await stream.page(cloud, who, ALL, -1)).events[0].action == "delete"
    with pytest.raises(Invalid, match="the last one is 4"):
        await stream.page(cloud, who, ALL, 5)


async def test_what_is_rare_is_found_in_bounded_steps(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("SPAN", 4), ("LOOKS", 2)):
        monkeypatch.setattr(stream, name, size)
    await make(cloud, uuid4(), 20)
    rare = Domain(id=uuid4(), name="d", created_at=NOON)
    async with cloud.transaction() as tx:
        await tx.add(rare)
    wanted, places = Wanted(kinds=frozenset({"domain"})), [0]
    while (found := await stream.page(cloud, ADMIN, wanted, places[-1])).more:
        assert found.events == []
        places.append(found.next)
    assert places == [0, 8, 16]
    assert [event.subject for event in found.events] == [rare.id]


# who may know what


def event_of(kind: str, project: UUID | None, /, **change: object) -> Event:
    return Event(seq=1, at=NOON, kind=kind, action="create", subject=uuid4(), project=project, change=change)


def test_every_kind_is_shown_to_its_own_project_and_to_nobody_else() -> None:
    project = uuid4()
    member, admin = allowed(reader(project, "member"), ALL), allowed(ADMIN, ALL)
    for layout in REGISTRY:
        owned = "project" in layout.columns
        for at in (None, project, uuid4()):
            event = event_of(layout.name, at if owned else None)
            may = owned and at == project and layout.name not in OPERATORS | PERSONAL
            assert member.passes(event) is may, (layout.name, at)
            assert admin.passes(event), layout.name


def test_what_belongs_to_a_user_is_not_for_the_others_of_the_project() -> None:
    project = uuid4()
    me, you = reader(project, "member"), reader(project, "member")
    for kind in PERSONAL:
        event = msgspec.structs.replace(event_of(kind, project), user=me.user)
        assert allowed(me, ALL).passes(event)
        assert not allowed(you, ALL).passes(event)


SOUNDS = re.compile("password|secret|key|token|blob|hash")


def test_no_field_of_any_record_that_sounds_secret_gets_into_an_event() -> None:
    sounding = {(r.name, field) for r in REGISTRY for field in r.columns if SOUNDS.search(field)}
    assert {("user", "password"), ("image", "upload_token"), ("credential", "secret")} <= sounding
    assert {(kind, field) for kind, field in sounding if not secret(field)} <= {("server", "key_name")}
    assert {field for _, field in sounding} >= OPEN
    admin = allowed(ADMIN, ALL)
    for layout in REGISTRY:
        shown = admin.seen(event_of(layout.name, None, **dict.fromkeys(layout.columns, "x")))
        assert shown is not None
        assert not [name for name in shown.change if SOUNDS.search(name) and name not in OPEN], layout.name


def test_what_users_keep_under_a_telling_name_is_covered() -> None:
    event = event_of(
        "server",
        None,
        metadata={"admin_pass": "x", "colour": "red", "monkey": "see"},
        url="https://u:p@host/x",
    )
    shown = allowed(ADMIN, ALL).seen(event)
    assert shown is not None
    assert shown.change == {
        "metadata": {"admin_pass": HIDDEN, "colour": "red", "monkey": "see"},
        "url": f"https://{HIDDEN}@host/x",
    }


def test_a_project_does_not_learn_where_its_things_are() -> None:
    project, place = uuid4(), str(uuid4())
    member = allowed(reader(project), ALL)
    for kind, field in (("server", "host"), ("port", "host"), ("volume", "pool"), ("network", "vlan")):
        made = member.seen(event_of(kind, project, name="n", **{field: place}))
        assert made is not None
        assert made.change == {"name": "n"}
        moved = msgspec.structs.replace(event_of(kind, project, **{field: [None, place]}), action="update")
        assert member.seen(moved) is None
        assert allowed(ADMIN, ALL).seen(moved) == moved


def test_every_kind_with_events_is_known() -> None:
    assert {"server", "volume", "network", "image", "project", "assignment"} <= kinds()
    assert not {"quota_limit", "facet", "console_token", "ticket", "event"} & kinds()


# what is old


async def test_old_events_go_and_who_asks_for_them_is_told_which_is_the_oldest(
    cloud: Cloud, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "SLICE", 3)
    project = uuid4()
    await make(cloud, project, 7)
    clock.at += timedelta(days=60)
    await make(cloud, project, 2)
    assert await stream.prune(cloud) == 0
    clock.at += timedelta(days=31)
    assert await stream.prune(cloud) == 7
    assert await stream.prune(cloud) == 0
    for after in (0, 6):
        with pytest.raises(stream.Removed, match="number 8") as raised:
            await stream.page(cloud, ADMIN, ALL, after)
        assert raised.value.oldest == 8
    places: tuple[stream.After, ...] = (7, "oldest", -9)
    for place in places:
        found = await stream.page(cloud, ADMIN, ALL, place)
        assert [event.seq for event in found.events] == [8, 9]
    clock.at += timedelta(days=100)
    await stream.prune(cloud)
    assert (await stream.page(cloud, ADMIN, ALL, "latest")).next == 9, "numbers are never given twice"
    (await make(cloud, project))[0]
    assert [event.seq for event in (await stream.page(cloud, ADMIN, ALL, 9)).events] == [10]


async def test_events_are_kept_for_ever_when_the_setting_says_so(cloud: Cloud, clock: Clock) -> None:
    cloud.config = msgspec.structs.replace(cloud.config, event_days=0)
    await make(cloud, uuid4())
    clock.at += timedelta(days=10_000)
    assert await stream.prune(cloud) == 0


# sessions


@pytest.fixture
async def session(cloud: Cloud, clock: Clock) -> Session:
    """An administrator's, for an hour."""
    domain = Domain(id=uuid4(), name="d", created_at=NOON)
    user = User(id=uuid4(), domain=domain.id, name="u", created_at=NOON)
    role = Role(id=uuid4(), name="admin", created_at=NOON)
    held = Assignment(
        id=uuid4(), actor=user.id, role=role.id, scope=Scope.SYSTEM, target=NIL, created_at=NOON
    )
    token = Token(
        user=user.id,
        methods=("password",),
        scope=Scope.SYSTEM,
        audit=("a" * 22,),
        issued_at=clock(),
        expires_at=clock() + timedelta(hours=1),
    )
    async with cloud.transaction() as tx:
        for record in (domain, user, role, held):
            await tx.add(record)
    async with cloud.view() as look:
        return await access.resolve(look, token)


async def test_a_stream_ends_when_the_token_expires(
    cloud: Cloud, clock: Clock, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "BEAT", 0.01)
    batches = following.follow(cloud, session, ALL, "latest")
    assert (await anext(batches)).end == ""
    assert (await anext(batches)).events == []
    clock.at += timedelta(hours=2)
    while not (batch := await anext(batches)).end:
        continue
    assert "expired" in batch.end
    with pytest.raises(StopAsyncIteration):
        await anext(batches)


async def test_every_follower_is_told_that_the_cloud_stops(cloud: Cloud, session: Session) -> None:
    batches = following.follow(cloud, session, ALL, "latest")
    await anext(batches)
    waiting = asyncio.create_task(anext(batches))
    await asyncio.sleep(0.01)
    stream.of(cloud).stop()
    assert "stopped" in (await waiting).end


async def test_a_ticket_opens_one_thing_once_and_for_a_minute(
    cloud: Cloud, clock: Clock, session: Session
) -> None:
    first, second, third = [await tickets.issue(cloud, session, tickets.EVENTS) for _ in range(3)]
    assert (await tickets.redeem(cloud, first, tickets.EVENTS)).token == session.token
    clock.at += timedelta(seconds=tickets.SECONDS + 1)
    for text, purpose in (
        (first, tickets.EVENTS),
        (second, "other"),
        (third, tickets.EVENTS),
        ("", "events"),
    ):
        with pytest.raises(Unauthenticated):
            await tickets.redeem(cloud, text, purpose)
