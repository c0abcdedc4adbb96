"""The events through the console's API: pages, server-sent events and WebSocket, to those who may see them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import uvicorn
import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from pileus.core import following, stream, tickets
from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.core.events import OPERATORS, PERSONAL
from pileus.core.identity import users
from pileus.faces import console
from pileus.faces.wire import Kernel
from pileus.reconcile.loop import Loop
from pileus.workflows.site import Site
from tests.asgi import scope
from tests.contract.openstack.conftest import Person

PATH = "/console/events"
SECONDS = 10


async def change(who: Person, name: str = "n") -> str:
    """The id of a network that the project has now."""
    reply = await who.post("/network/v2.0/networks", json={"network": {"name": name}})
    assert reply.status == 201, reply.text
    return str(reply.json()["network"]["id"])


class Listening:
    """A client that reads a stream as it comes."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._left = asyncio.Event()
        self._asked = False
        self._text = ""

    async def receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            await self._chunks.put(message.get("body", b""))
            if not message.get("more_body"):
                await self._chunks.put(None)

    def leave(self) -> None:
        self._left.set()

    async def block(self) -> dict[str, str]:
        """The next block's fields; none at the end."""
        async with asyncio.timeout(SECONDS):
            while "\n\n" not in self._text:
                chunk = await self._chunks.get()
                if chunk is None:
                    return {}
                self._text += chunk.decode()
        text, _, self._text = self._text.partition("\n\n")
        lines = [line.partition(": ") for line in text.splitlines() if not line.startswith(":")]
        return {name: value for name, _, value in lines}

    async def event(self) -> dict[str, Any]:
        """The next one with data."""
        while True:
            block = await self.block()
            if "data" in block or not block:
                return {**block, "data": json.loads(block["data"])} if block else {}


@asynccontextmanager
async def listening(who: Person, query: str = "", **headers: str) -> AsyncIterator[Listening]:
    sent = {
        **who.headers,
        "accept": "text/event-stream",
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    client = Listening()
    serving = asyncio.ensure_future(
        who.app(scope("GET", f"{PATH}{query}", sent), client.receive, client.send)
    )
    try:
        async with asyncio.timeout(SECONDS):
            while not client.status:
                await asyncio.sleep(0.001)
        yield client
    finally:
        client.leave()
        await serving


async def test_a_page_has_what_happened_and_says_where_to_go_on(member: Person) -> None:
    first, second = await change(member), await change(member)
    page = (await member.get(f"{PATH}?kind=network&limit=1")).json()
    assert [(event["resource"], event["action"]) for event in page["events"]] == [(first, "create")]
    event = page["events"][0]
    assert (event["project"], event["user"]) == (str(member.project.id), str(member.user.id))
    assert event["change"]["name"] == "n"
    assert page["more"]
    page = (await member.get(f"{PATH}?kind=network&after={page['next']}")).json()
    assert [event["resource"] for event in page["events"]] == [second]
    assert not page["more"]
    assert (await member.get(f"{PATH}?after=latest")).json()["events"] == []
    assert (await member.get(f"{PATH}?after={page['next']}")).json()["events"] == []


async def test_a_stream_has_what_comes_and_is_taken_up_where_it_broke_off(member: Person) -> None:
    await change(member)
    async with listening(member, "?kind=network") as client:
        assert client.status == 200
        assert client.headers["content-type"].startswith("text/event-stream")
        begun = await client.block()
        assert int(begun["retry"]) > 0
        made = await change(member)
        event = await client.event()
        assert (event["event"], event["data"]["resource"]) == ("network.create", made)
        assert int(event["id"]) == event["data"]["seq"] > int(begun["id"])
    missed = [await change(member), await change(member)]
    for again in ({"last_event_id": event["id"]}, {}):
        query = "?kind=network&after=latest" if again else f"?kind=network&after={event['id']}"
        async with listening(member, query, **again) as client:
            assert [(await client.event())["data"]["resource"] for _ in missed] == missed


async def test_silence_has_signs_of_life_that_carry_the_place(
    member: Person, other: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "BEAT", 0.01)
    async with listening(member) as client:
        begun = int((await client.block())["id"])
        await change(other)
        while (block := await client.block()) and int(block["id"]) == begun:
            assert "data" not in block
        assert int(block["id"]) > begun
        assert "data" not in block


async def test_nobody_sees_what_is_not_of_its_project(member: Person, other: Person, admin: Person) -> None:
    mine, theirs = await change(member), await change(other)
    own = str(member.project.id)
    seen = [event for event in (await member.get(f"{PATH}?limit=1000")).json()["events"]]
    assert {event["project"] for event in seen} == {own}
    assert mine in {event["resource"] for event in seen}
    assert (await member.get(f"{PATH}?resource={theirs}")).json()["events"] == []
    assert (await member.get(f"{PATH}?project={other.project.id}")).status == 403
    everything = (await admin.get(f"{PATH}?limit=1000")).json()["events"]
    assert {mine, theirs} <= {event["resource"] for event in everything}
    assert None in {event["project"] for event in everything}
    named = (await admin.get(f"{PATH}?limit=1000&project={own}")).json()["events"]
    assert [event["seq"] for event in named if event["kind"] not in PERSONAL | OPERATORS] == [
        event["seq"] for event in (await member.get(f"{PATH}?limit=1000")).json()["events"]
    ]
    async with listening(member, "?after=oldest") as client:
        events = [await client.event() for _ in seen]
    assert [event["data"] for event in events] == seen


@pytest.mark.parametrize(
    "query", ["after=x", "after=1.5", "after=99999999", "limit=0", "limit=9999", "kind=sever", "action=x",
              "resource=x", "project=x", "nonsense=1", "follow=x"]
)  # fmt: skip
async def test_what_cannot_be_understood_is_refused(member: Person, query: str) -> None:
    assert (await member.get(f"{PATH}?{query}")).status == 400
    if not query.startswith(("limit", "follow")):
        async with listening(member, f"?{query}") as client:
            assert client.status == 400


async def test_follow_decides_whatever_is_accepted(member: Person) -> None:
    reply = await member.get(f"{PATH}?follow=false", headers={"accept": "text/event-stream"})
    assert reply.headers["content-type"] == "application/json"
    async with listening(member, "?follow=true", accept="*/*") as client:
        assert client.headers["content-type"].startswith("text/event-stream")


async def test_what_was_removed_is_gone_and_the_oldest_is_named(cloud: Cloud, member: Person) -> None:
    await change(member)
    now = cloud.now
    cloud.now = lambda: now() + timedelta(days=91)
    await stream.prune(cloud)
    cloud.now = now
    await change(member)
    for accept in ("application/json", "text/event-stream"):
        reply = await member.get(f"{PATH}?after=0", headers={"accept": accept})
        assert reply.status == 410
        oldest = int(reply.headers["x-pileus-oldest"])
        assert f"number {oldest}" in reply.json()["error"]["message"]
    assert (await member.get(f"{PATH}?after={oldest - 1}")).json()["events"]


async def test_the_cloud_removes_old_events_by_itself(site: Site) -> None:
    assert "old events" in Loop(site)._parts


async def test_a_stream_ends_with_the_reason_when_its_user_is_disabled(
    cloud: Cloud, member: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "BEAT", 0.01)
    monkeypatch.setattr(following, "FRESH", timedelta(0))
    async with listening(member) as client:
        await users.update(cloud, system(), member.user.id, users.UpdateUser(enabled=False))
        end = await client.event()
        assert end["event"] == "end"
        assert "disabled" in end["data"]["reason"]
        assert await client.event() == {}
        async with listening(member) as refused:
            assert refused.status == 401


async def test_a_client_that_leaves_is_followed_no_more(cloud: Cloud, member: Person) -> None:
    feed = stream.of(cloud)
    async with listening(member) as client:
        await client.block()
        assert feed._count == 1
    assert feed._count == 0
    assert feed._task is None
    assert (await member.head(f"{PATH}?follow=true")).status == 200
    assert feed._count == 0


# tickets


async def ticket(who: Person) -> str:
    reply = await who.post("/console/events/tickets")
    assert reply.status == 201
    return str(reply.json()["ticket"])


async def test_a_ticket_opens_one_stream_of_its_holder_and_nothing_else(
    member: Person, other: Person
) -> None:
    text = await ticket(member)
    nobody = Person(member.app, "", member.user, member.project)  # type: ignore[arg-type]
    del nobody.headers["x-auth-token"]
    assert (await nobody.get("/console/operations/x?ticket=" + text)).status == 401
    async with listening(nobody, f"?ticket={text}") as client:
        assert client.status == 200
        await change(other)
        made = await change(member)
        assert (await client.event())["data"]["resource"] == made
    async with listening(nobody, f"?ticket={text}") as client:
        assert client.status == 401
    async with listening(nobody, "?ticket=guess") as client:
        assert client.status == 401
    assert len(text) >= 32
    assert tickets.SECONDS <= 60


# WebSocket


@pytest.fixture
async def address(site: Site) -> AsyncIterator[str]:
    kernel = Kernel((), cloud=site.cloud, site=site, access_log=False)
    console.mount(kernel)
    server = uvicorn.Server(uvicorn.Config(kernel, port=0, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(SECONDS):
        while not server.started:
            await asyncio.sleep(0.01)
    yield f"ws://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}{PATH}"
    server.should_exit = True
    await serving


async def heard(socket: Any) -> Any:
    return msgspec.json.decode(await asyncio.wait_for(socket.recv(), SECONDS))


async def test_a_websocket_has_the_same_events(address: str, member: Person, other: Person) -> None:
    async with websockets.connect(f"{address}?kind=network", additional_headers=member.headers) as socket:
        begun = await heard(socket)
        assert begun["event"] == "begin"
        await change(other)
        made = await change(member)
        message = await heard(socket)
        assert (message["event"], message["data"]["resource"]) == ("network.create", made)
        assert message["id"] == message["data"]["seq"] > begun["id"]
    query = f"/ws?kind=network&after={begun['id']}&ticket={await ticket(member)}"
    async with websockets.connect(f"{address}{query}") as socket:
        assert (await heard(socket))["id"] == begun["id"]
        assert await heard(socket) == message


async def test_a_websocket_without_a_good_token_or_place_is_refused(address: str, member: Person) -> None:
    headers = dict(member.headers)
    for query, sent in (("", {}), ("", {"x-auth-token": "x"}), ("?ticket=x", {}), ("?after=x", headers),
                        ("?kind=x", headers), (f"?project={uuid4()}", headers), ("?x=1", headers)):  # fmt: skip
        with pytest.raises((InvalidStatus, ConnectionClosed)):
            async with websockets.connect(f"{address}{query}", additional_headers=sent) as socket:
                await socket.recv()


async def test_a_websocket_is_closed_with_the_reason_when_the_cloud_stops(
    cloud: Cloud, address: str, member: Person
) -> None:
    async with websockets.connect(address, additional_headers=member.headers) as socket:
        await heard(socket)
        stream.of(cloud).stop()
        end = await heard(socket)
        assert end["event"] == "end"
        assert "stopped" in end["data"]["reason"]
        with pytest.raises(ConnectionClosed):
            await socket.recv()
