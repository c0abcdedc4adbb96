"""Webhooks in CloudStack's words, to a real receiver."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Iterator

import pytest

from pileus.workflows import webhooks as delivering
from pileus.workflows.site import Site
from pileus.workflows.webhooks import Dispatcher
from tests.contract.cloudstack.conftest import Stack
from tests.contract.receiver import Receiver, receiving, until


@pytest.fixture
async def dispatcher(site: Site, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Dispatcher]:
    monkeypatch.setattr(delivering, "IDLE", 0.02)
    made = Dispatcher(site)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


async def test_a_receiver_of_cloudstack_is_told_as_it_expects(
    admin: Stack, dispatcher: Dispatcher, receiver: Receiver
) -> None:
    made = await admin.call("createWebhook", name="h", payloadurl=receiver.url, secretkey="secret")
    hook = made["webhook"]
    assert (hook["state"], hook["scope"], hook["secretkey"]) == ("Enabled", "Local", "secret")
    await admin.call("createSSHKeyPair", name="k")
    await until(lambda: len(receiver.got) >= 1)
    sent = receiver.got[0]
    assert sent.json()["event"] == sent.headers["x-cs-event"] == "REGISTER.SSH.KEYPAIR"
    assert sent.headers["x-cs-signature"] == hmac.new(b"secret", sent.body, hashlib.sha256).hexdigest()
    tried = (await admin.call("executeWebhookDelivery", webhookid=hook["id"]))["webhookdelivery"]
    assert (tried["success"], tried["response"]) == (True, "200 heard")
    log = await admin.call("listWebhookDeliveries", webhookid=hook["id"], eventtype="REGISTER.SSH.KEYPAIR")
    (first,) = log["webhookdelivery"]
    assert (first["success"], first["webhookname"], first["eventid"]) == (
        True,
        "h",
        sent.headers["x-cs-event-id"],
    )
    again = await admin.call("executeWebhookDelivery", id=first["id"])
    assert again["webhookdelivery"]["success"]
    await admin.call("deleteWebhookDelivery", id=first["id"])
    await admin.call("deleteWebhookDelivery", webhookid=hook["id"])
    assert await admin.call("listWebhookDeliveries", webhookid=hook["id"]) == {}


async def test_a_webhook_is_changed_listed_and_deleted(member: Stack, other: Stack) -> None:
    hook = (await member.call("createWebhook", name="h", payloadurl="http://example.org/"))["webhook"]
    changed = await member.call("updateWebhook", id=hook["id"], state="Disabled", name="n")
    assert (changed["webhook"]["state"], changed["webhook"]["name"]) == ("Disabled", "n")
    assert (await member.call("listWebhooks", state="Disabled"))["webhook"][0]["id"] == hook["id"]
    assert await other.call("listWebhooks") == {}
    await other.refused("deleteWebhook", 431, id=hook["id"])
    here = {"name": "h", "payloadurl": "http://example.org/"}
    await member.refused("createWebhook", 431, **here, state="wide")
    await member.refused("createWebhook", 531, **here, scope="Global")
    await member.call("deleteWebhook", id=hook["id"])
    assert await member.call("listWebhooks") == {}
