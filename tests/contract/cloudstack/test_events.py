"""Events: sentences for people, pairs of start and end, failures, and the ones that were put away."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from pileus.core import stream
from pileus.core.caller import MEMBER, Caller, system
from pileus.core.cloud import Cloud, Look
from pileus.core.compute.records import Server
from pileus.core.compute.records import State as ServerState
from pileus.core.event_marks import EventMark, Mark
from pileus.core.events import ACTIONS, Event, Wanted, allowed, kinds
from pileus.core.image.records import Image
from pileus.core.network.records import NetState
from pileus.faces.cloudstack import events
from pileus.faces.cloudstack.event_words import STATES, TYPES, sentence, type_of
from pileus.store import open_store
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests import schema
from tests.contract.cloudstack.conftest import Stack

Shown = dict[str, Any]


async def listed(who: Stack, **params: Any) -> list[Shown]:
    found: list[Shown] = (await who.call("listEvents", **params)).get("event", [])
    return found


async def deployed(who: Stack, worker: Worker, place: dict[str, str]) -> str:
    made = await who.job(worker, "deployVirtualMachine", **place, name="web")
    return str(made["virtualmachine"]["id"])


def test_types_are_of_kinds_actions_and_states_that_there_are() -> None:
    assert {kind for kind, _ in (*TYPES, *STATES)} <= kinds()
    assert {action for _, action in TYPES} <= set(ACTIONS)
    transitional = {state.value for state in ServerState if state.value.endswith("ing")}
    assert {state for kind, state in STATES if kind == "server"} >= transitional
    assert {state for kind, state in STATES if kind == "network"} <= set(NetState)


async def test_long_work_is_told_by_its_start_and_its_end(
    member: Stack, worker: Worker, place: dict[str, str]
) -> None:
    key = await deployed(member, worker, place)
    await member.job(worker, "stopVirtualMachine", id=key)
    found = await listed(member, resourceid=key)
    assert [(each["type"], each["state"]) for each in found] == [
        ("VM.STOP", "Completed"),
        ("VM.STOP", "Started"),
        ("VM.CREATE", "Completed"),
        ("VM.CREATE", "Started"),
    ]
    assert [each["description"] for each in found] == [
        f"Server web ({key}): stopping -> stopped",
        f"Server web ({key}): active -> stopping",
        f"Server web ({key}): building -> active",
        f"Server web ({key}): created",
    ]
    for ended, begun in (found[:2], found[2:]):
        assert ended["parentid"] == begun["id"]
        assert "parentid" not in begun
        assert await listed(member, startid=begun["id"]) == [ended, begun]
    for each in found:
        told = (each["level"], each["username"], each["account"], each["resourcename"], each["resourcetype"])
        assert told == ("INFO", "demo", "demo", "web", "VirtualMachine")


async def test_what_is_gone_keeps_its_name(member: Stack, worker: Worker, place: dict[str, str]) -> None:
    key = await deployed(member, worker, place)
    await member.job(worker, "destroyVirtualMachine", id=key, expunge=True)
    found = await listed(member, resourceid=key, type="VM.EXPUNGE")
    assert [each["state"] for each in found] == ["Completed", "Started"]
    assert found[0]["parentid"] == found[1]["id"]
    assert {each["resourcename"] for each in await listed(member, resourceid=key)} == {"web"}


async def test_an_operation_that_fails_is_an_error_with_its_fault(
    member: Stack, worker: Worker, place: dict[str, str], site: Site
) -> None:
    (hypervisor,) = site.hypervisors.values()
    hypervisor.fail("define", RuntimeError("no"))  # type: ignore[attr-defined]
    result = await member.failed(worker, "deployVirtualMachine", **place, name="web")
    found = await listed(member, level="ERROR", type="VM.CREATE")
    assert [(each["level"], each["state"]) for each in found] == [("ERROR", "Completed")]
    assert found[0]["description"].endswith(f"building -> error. {result['errortext']}")
    assert await listed(member, level="ERROR", keyword=result["errortext"], state="completed")
    assert await listed(member, level="INFO", type="VM.CREATE", state="Completed") == []


async def test_what_happens_by_itself_is_a_warning(
    member: Stack, worker: Worker, place: dict[str, str], cloud: Cloud
) -> None:
    key = await deployed(member, worker, place)
    async with cloud.transaction() as tx:
        server = await tx.one(Server, id=key)
        assert server is not None
        await tx.put(replace(server, state=ServerState.STOPPED))
    (found,) = await listed(member, level="WARN")
    assert (found["username"], found["description"]) == ("system", f"Server web ({key}): active -> stopped")


async def test_no_event_is_listed_that_the_stream_hides(
    member: Stack, admin: Stack, worker: Worker, place: dict[str, str], cloud: Cloud
) -> None:
    from pileus.core.identity.authentication.keys import caller_of

    key = await deployed(member, worker, place)
    caller = await caller_of(cloud, member.user)
    async with cloud.transaction() as tx:
        server = await tx.one(Server, id=key)
        assert server is not None
        await tx.put(replace(server, host=None))
        pair: dict[str, Any] = {"project": member.account.id, "user": admin.user.id}
        await tx.rows.insert(
            Event(at=cloud.now(), kind="key_pair", action="create", subject=cloud.new_id(), **pair)
        )
    seen = {
        str(events.id_of(each.seq)) for each in (await stream.page(cloud, caller, Wanted(), "oldest")).events
    }
    mine, all_of_it = await listed(member), await listed(admin, listall=True)
    assert {each["id"] for each in mine} <= seen
    hidden = {each["description"] for each in all_of_it if each["id"] not in seen}
    assert f"Server web ({key}): host changed" in hidden
    assert "Key pair" in " ".join(hidden)


async def test_pages_have_no_gaps_and_count_all(
    member: Stack, worker: Worker, place: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key = await deployed(member, worker, place)
    for verb in ("stop", "start", "reboot"):
        await member.job(worker, f"{verb}VirtualMachine", id=key)
    whole = await member.call("listEvents")
    assert whole["count"] == len(whole["event"]) > 5
    for chunk, counted in ((2, 2_000), (2, 2), (3, 1)):
        monkeypatch.setattr(events, "CHUNK", chunk)
        monkeypatch.setattr(events, "COUNTED", counted)
        pages = [
            (await member.call("listEvents", page=number, pagesize=2)).get("event", [])
            for number in range(1, whole["count"] // 2 + 2)
        ]
        assert [each for page in pages for each in page] == whole["event"]
        assert all(len(page) == 2 for page in pages[:-2])


async def test_filters_of_a_list(member: Stack, worker: Worker, place: dict[str, str]) -> None:
    key = await deployed(member, worker, place)
    machines = await listed(member, resourcetype="VirtualMachine")
    assert {each["resourceid"] for each in machines} == {key}
    assert await listed(member, resourcetype="nonsense") == []
    assert await listed(member, keyword="server web", state="started") == machines[-1:]
    assert await listed(member, startid=key) == []


@pytest.mark.parametrize("command", ["archiveEvents", "deleteEvents"])
async def test_what_is_put_away_is_off_the_list_and_in_the_stream(
    command: str, member: Stack, admin: Stack, worker: Worker, place: dict[str, str], cloud: Cloud
) -> None:
    key = await deployed(member, worker, place)
    last, first = await listed(member, resourceid=key)
    assert await member.call(command, ids=[first["id"]]) == {"success": True}
    assert await member.call(command, ids=[first["id"]]) == {"success": True} or command == "deleteEvents"
    assert await listed(member, resourceid=key) == [last]
    assert await listed(admin, resourceid=key, listall=True) == [last]
    archived = [first | {"archived": True}] if command == "archiveEvents" else []
    assert await listed(member, archived=True) == archived
    kept = await stream.page(cloud, system(), Wanted(), "oldest", 10_000)
    assert first["id"] in {str(events.id_of(event.seq)) for event in kept.events}
    await member.call(command, type="VM.CREATE", enddate="2999-01-01")
    assert await listed(member, resourceid=key) == []
    await member.call("deleteEvents", enddate="2999-01-01")
    assert await listed(member, archived=True) == archived or command == "archiveEvents"
    assert await listed(member) == []


async def test_archived_events_can_be_deleted(member: Stack, image: Image) -> None:
    await member.call("createSSHKeyPair", name="key")
    (made,) = await listed(member, type="REGISTER.SSH.KEYPAIR")
    await member.call("archiveEvents", ids=[made["id"]])
    await member.call("deleteEvents", ids=[made["id"]])
    assert await listed(member, archived=True) == await listed(member, type="REGISTER.SSH.KEYPAIR") == []
    await member.refused("archiveEvents", 431, ids=[made["id"]])


async def test_nobody_puts_away_what_is_not_his(
    member: Stack, other: Stack, admin: Stack, worker: Worker, place: dict[str, str], cloud: Cloud
) -> None:
    await deployed(member, worker, place)
    before = await listed(member)
    for command in ("archiveEvents", "deleteEvents"):
        await other.refused(command, 431, ids=[before[0]["id"]])
        await other.refused(command, 431, ids=[str(cloud.new_id())])
        await other.call(command, type="VM.CREATE")
        await other.call(command, enddate="2999-01-01")
        for nothing in ({}, {"startdate": "2026-01-01"}, {"type": "VM.CREATE", "startdate": "2026-01-01"}):
            await admin.refused(command, 431, **nothing)
        await admin.call(command, type="NO.SUCH")
    assert await listed(member) == before


async def test_marks_go_with_their_events(
    member: Stack, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    await member.call("createSSHKeyPair", name="key")
    await member.call("archiveEvents", type="REGISTER.SSH.KEYPAIR")
    async with cloud.view() as look:
        assert await look.count(EventMark) == 1
    monkeypatch.setattr(cloud, "config", replace(cloud.config, event_days=1))
    later = cloud.now().replace(year=cloud.now().year + 1)
    monkeypatch.setattr(cloud, "now", lambda: later)
    assert await stream.prune(cloud) > 0
    async with cloud.view() as look:
        assert await look.count(EventMark) == 0


@pytest.mark.parametrize("deep", [False, True])
async def test_both_databases_tell_the_same(database_url: str, deep: bool) -> None:
    """What is asked of the text of a change, and of the marks."""
    await schema.create(database_url)
    store = await open_store(database_url)
    me, project, server = uuid4(), uuid4(), uuid4()
    about: dict[str, Any] = {"at": datetime.now(UTC), "kind": "server", "subject": server, "project": project}
    operation, name = uuid4(), 'x"state":["y'
    made = (
        Event(action="create", user=me, change={"state": "building", "name": "web"}, **about),
        Event(action="update", operation=operation, change={"host": [None, "h"]}, **about),
        Event(action="update", operation=operation, change={"name": ["web", name]}, **about),
        Event(action="update", operation=operation, change={"state": ["building", "active"]}, **about),
        Event(action="update", user=me, change={"operation": [None, "o"]}, **about),
        Event(action="update", change={"host": [None, "h"]}, **about),
        Event(action="delete", user=me, change={"name": name}, **about),
    )
    try:
        async with store.transaction() as tx:
            kept = [(await tx.insert(each)).seq for each in made]
            await tx.put(EventMark(face="cloudstack", seq=kept[-1], mark=Mark.ARCHIVED))
            await tx.put(EventMark(face="another", seq=kept[0], mark=Mark.DELETED))
        caller = Caller(user=me, project=project, roles=frozenset({MEMBER}))
        sought = events.Sought(
            where=(events.among(events.wanted("")),),
            filter=allowed(caller, Wanted()),
            projects=(project,),
            keyword="server" if deep else "",
        )
        async with store.view() as view:
            found, total = await events.find(Look(view), sought, 0, 10)
        assert ([each.seq for each in found], total) == ([kept[3], kept[0]], 2)
    finally:
        await store.close()


def change(**fields: Any) -> Event:
    at = datetime(2030, 1, 1, tzinfo=UTC)
    return Event(at=at, kind="volume", action="update", subject=events.id_of(1), change=fields)


CHANGES = (
    (change(name=["a", "b"]), "VOLUME.UPDATE", "renamed from a"),
    (change(size_gib=[1, 2], tags=[[], ["x"]]), "VOLUME.UPDATE", "size gib, tags changed"),
    (change(state=["in use", "detaching"]), "VOLUME.DETACH", "in use -> detaching"),
    (change(state=["detaching", "available"]), "VOLUME.DETACH", "detaching -> available"),
    (change(state=["deleting", "retained"]), "VOLUME.DELETE", "deleting -> retained"),
    (change(fault=["", "x"]), "VOLUME.UPDATE", "changed"),
    (
        change(**{f"f{n}": [0, 1] for n in range(10)}),
        "VOLUME.UPDATE",
        "f0, f1, f2, f3, f4, f5, f6, f7 and 2 more changed",
    ),
)


@pytest.mark.parametrize(("event", "type", "said"), CHANGES)
def test_a_change_is_a_sentence(event: Event, type: str, said: str) -> None:
    assert type_of(event) == type
    assert sentence(event) == f"Volume {event.subject}: {said}"
    assert sentence(event, "disk", "It broke.") == f"Volume disk ({event.subject}): {said}. It broke."
