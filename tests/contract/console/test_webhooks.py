"""Webhooks through the console's API, to a real receiver."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from pileus.core import deliveries
from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.core.webhooks import Delivery, State, Webhook
from pileus.workflows import webhooks as delivering
from pileus.workflows.site import Site
from pileus.workflows.webhooks import Dispatcher
from tests.contract.openstack.conftest import Person
from tests.contract.receiver import DEADLINE, Receiver, Sent, receiving, until

HOOKS = "/console/webhooks"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "IDLE", 0.02)
    monkeypatch.setattr(delivering, "PAUSES", (0.05, 0.05))


@pytest.fixture
async def dispatcher(site: Site) -> AsyncIterator[Dispatcher]:
    made = Dispatcher(site)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


async def hook(who: Person, receiver: Receiver, **more: Any) -> dict[str, Any]:
    wanted = {"name": "h", "url": receiver.url, **more}
    reply = await who.post(HOOKS, json={"webhook": wanted})
    assert reply.status == 201, reply.text
    made: dict[str, Any] = reply.json()["webhook"]
    return made


async def network(who: Person, name: str) -> str:
    reply = await who.post("/network/v2.0/networks", json={"network": {"name": name}})
    assert reply.status == 201, reply.text
    return str(reply.json()["network"]["id"])


async def log(who: Person, webhook: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await who.get(f"{HOOKS}/{webhook['id']}/deliveries")).json()["deliveries"]
    return found


async def ended(cloud: Cloud) -> Delivery:
    """The only delivery, when nothing more is tried."""
    async with asyncio.timeout(DEADLINE):
        while True:
            async with cloud.view() as look:
                only = await look.one(Delivery)
            if only is not None and only.state is not State.PENDING:
                return only
            await asyncio.sleep(0.01)


def signature(sent: Sent, secret: str) -> str:
    """As the Standard Webhooks specification computes it."""
    signed = f"{sent.headers['webhook-id']}.{sent.headers['webhook-timestamp']}.".encode() + sent.body
    return "v1," + base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()


async def test_a_project_is_told_of_its_own_events_signed_and_once(
    admin: Person, member: Person, dispatcher: Dispatcher, receiver: Receiver
) -> None:
    made = await hook(admin, receiver, kinds=["network"], actions=["create"])
    await network(member, "theirs")
    ids = [await network(admin, name) for name in ("one", "two")]
    await until(lambda: len(receiver.got) >= 2)
    assert [sent.json()["data"]["subject"] for sent in receiver.got] == ids
    first = receiver.got[0]
    assert (first.path, first.json()["type"]) == ("/hook?a=1", "network.create")
    assert first.headers["webhook-signature"] == signature(first, made["secret"])
    assert made["secret"] not in (await admin.get(f"{HOOKS}/{made['id']}")).text
    async with asyncio.timeout(DEADLINE):
        while (told := (await log(admin, made))[0])["finished_at"] is None:
            await asyncio.sleep(0.01)
    assert (told["state"], told["status"], told["answer"], told["tries"]) == ("delivered", 200, "heard", 1)
    shown = (await admin.get(f"/console/webhook-deliveries/{told['id']}")).json()["delivery"]
    assert shown["body"].encode() == receiver.got[1].body


async def test_what_fails_is_tried_again_then_given_up_then_sent_by_hand(
    admin: Person, dispatcher: Dispatcher, receiver: Receiver
) -> None:
    receiver.status = 500
    made = await hook(admin, receiver, kinds=["network"], actions=["create"])
    await network(admin, "one")
    await until(lambda: len(receiver.got) == 3)
    only = await ended(dispatcher.cloud)
    assert (only.state, only.tries, only.status) == (State.FAILED, 3, 500)
    receiver.status = 204
    again = await admin.post(f"/console/webhook-deliveries/{only.id}/again")
    assert again.status == 202
    await until(lambda: len(receiver.got) == 4)
    assert len({sent.headers["webhook-id"] for sent in receiver.got}) == 1
    assert (await admin.post(f"{HOOKS}/{made['id']}/test")).status == 202
    await until(lambda: len(receiver.got) == 5)
    assert receiver.got[-1].json()["type"] == "webhook.test"


async def test_nobody_is_told_twice_or_never_when_the_process_ends_between(
    admin: Person, site: Site, receiver: Receiver
) -> None:
    await hook(admin, receiver, kinds=["network"], actions=["create"])
    ids = []
    for name in ("one", "two", "three"):
        ids.append(await network(admin, name))
        made = Dispatcher(site)
        await made.start()
        try:
            await until(lambda: len(receiver.got) >= len(ids))
        finally:
            await made.stop()
    assert [sent.json()["data"]["subject"] for sent in receiver.got] == ids


async def test_a_try_that_was_cut_off_is_repeated(
    admin: Person, cloud: Cloud, site: Site, receiver: Receiver
) -> None:
    made = await hook(admin, receiver, kinds=["server"])
    sent = await deliveries.send_test(cloud, system(), UUID(made["id"]))
    ((held, _),) = await deliveries.claim(cloud, 1, delivering.OURS_SECONDS, frozenset())
    assert held.id == sent.id
    assert await deliveries.claim(cloud, 1, delivering.OURS_SECONDS, frozenset()) == []
    now = cloud.now
    cloud.now = lambda: now() + timedelta(seconds=delivering.OURS_SECONDS)
    dispatcher = Dispatcher(site)
    await dispatcher.start()
    try:
        await until(lambda: len(receiver.got) == 1)
    finally:
        await dispatcher.stop()


@asynccontextmanager
async def dripping() -> AsyncIterator[Receiver]:
    """A receiver whose answer never ends: a letter now and then, until the context is left."""
    left = asyncio.Event()

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while not left.is_set():
                writer.write(b"H")
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    try:
        yield Receiver(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    finally:
        left.set()
        server.close()


async def test_a_receiver_that_answers_drop_by_drop_is_cut_off(
    admin: Person, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivering, "TRY_SECONDS", 0.3)
    monkeypatch.setattr(delivering, "PAUSES", ())
    async with dripping() as slow:
        made = await hook(admin, slow, kinds=["server"])
        assert (await admin.post(f"{HOOKS}/{made['id']}/test")).status == 202
        async with asyncio.timeout(DEADLINE):
            while (told := (await log(admin, made))[0])["state"] != "failed":
                await asyncio.sleep(0.01)
        assert (told["tries"], told["status"]) == (1, None)


async def test_a_receiver_that_answers_drop_by_drop_holds_nobody_up(
    admin: Person, dispatcher: Dispatcher, receiver: Receiver
) -> None:
    async with dripping() as slow:
        made = await hook(admin, slow, kinds=["server"])
        other = await hook(admin, receiver, kinds=["server"])
        for webhook in (made, other):
            assert (await admin.post(f"{HOOKS}/{webhook['id']}/test")).status == 202
        await until(lambda: len(receiver.got) == 1)
        assert (await log(admin, made))[0]["state"] == "pending"


async def test_what_waits_for_a_webhook_that_is_disabled_is_given_up(
    admin: Person, site: Site, receiver: Receiver
) -> None:
    made = await hook(admin, receiver)
    await admin.post(f"{HOOKS}/{made['id']}/test")
    await admin.patch(f"{HOOKS}/{made['id']}", json={"webhook": {"enabled": False}})
    (told,) = await log(admin, made)
    assert (told["state"], told["answer"]) == ("failed", "The webhook was disabled.")


async def test_a_backlog_of_one_webhook_keeps_no_other_waiting(
    admin: Person, cloud: Cloud, site: Site, receiver: Receiver
) -> None:
    busy, other = await hook(admin, receiver), await hook(admin, receiver)
    async with cloud.transaction() as tx:
        held = await tx.get(Webhook, UUID(busy["id"]))
        for number in range(300):
            await tx.rows.insert(deliveries.awaiting(cloud, held, 0, f"webhook.{number}"))
    sent = await deliveries.send_test(cloud, system(), UUID(other["id"]))
    made = Dispatcher(site)
    await made.start()
    try:
        await until(lambda: any(str(sent.id) in got.headers["webhook-id"] for got in receiver.got))
        assert len(receiver.got) < 100
    finally:
        await made.stop()


async def test_only_an_administrator_has_the_cloud_itself_called(
    member: Person, cloud: Cloud, dispatcher: Dispatcher, receiver: Receiver
) -> None:
    made = await hook(member, receiver, kinds=["server"])
    await member.post(f"{HOOKS}/{made['id']}/test")

    assert (await ended(cloud)).answer.count("belongs to the cloud itself") == 1
    assert receiver.got == []
    reply = await member.post(HOOKS, json={"webhook": {"name": "h", "url": receiver.url, "scope": "cloud"}})
    assert reply.status == 403


async def test_a_webhook_is_listed_changed_and_deleted_by_its_project_only(
    member: Person, other: Person, receiver: Receiver
) -> None:
    made = await hook(member, receiver)
    where = f"{HOOKS}/{made['id']}"
    assert [each["id"] for each in (await member.get(HOOKS)).json()["webhooks"]] == [made["id"]]
    assert (await other.get(HOOKS)).json() == {"webhooks": []}
    for method in ("GET", "DELETE"):
        assert (await other.request(method, where)).status == 404
    changed = await member.patch(where, json={"webhook": {"enabled": False, "kinds": ["server"]}})
    assert (changed.json()["webhook"]["enabled"], changed.json()["webhook"]["kinds"]) == (False, ["server"])
    assert (await member.delete(where)).status == 204
    assert (await member.get(where)).status == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://example.org"},
        {"url": "http://"},
        {"url": "http://user:pass@example.org/"},
        {"url": "http://example.org/\r\nx: y"},
        {"name": " "},
        {"kinds": ["nothing"]},
        {"actions": ["explode"]},
        {"unknown": 1},
    ],
    ids=str,
)
async def test_what_makes_no_webhook_is_refused(member: Person, wrong: dict[str, Any]) -> None:
    wanted = {"name": "h", "url": "http://example.org/", **wrong}
    reply = await member.post(HOOKS, json={"webhook": wanted})
    assert reply.status == 400, reply.text
