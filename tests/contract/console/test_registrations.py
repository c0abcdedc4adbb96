"""A visitor makes an account: open, approved or invited; always through the mailbox, and telling nobody who exists."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pileus.config import Config
from pileus.core.cloud import Cloud
from pileus.core.events import Event
from pileus.core.identity import users
from pileus.drivers.mail.smtp import SmtpMailer
from pileus.faces.wire import Kernel
from pileus.workflows.site import Site
from tests.asgi import Client
from tests.contract import letterbox
from tests.contract.letterbox import Letterbox
from tests.contract.openstack.conftest import Person

WISH = {"name": "newcomer", "email": "new@example.org", "password": "A-long-secret-1", "organisation": "Lab"}
CONFIRM = r"confirm=([\w-]+)"


@pytest.fixture
async def box() -> AsyncIterator[Letterbox]:
    async with letterbox.opened() as made:
        yield made


@pytest.fixture
def mode() -> str:
    return "open"


@pytest.fixture
def config(tmp_path: Path, box: Letterbox, mode: Any) -> Config:
    return Config(
        state=tmp_path / "state",
        simulate=1,
        smtp_host="127.0.0.1",
        smtp_port=box.port,
        smtp_tls="none",
        registration=mode,
    )


@pytest.fixture
def visitor(kernel: Kernel, site: Site, box: Letterbox) -> Client:
    site.mail = SmtpMailer(host="127.0.0.1", port=box.port, sender="cloud@example.org", tls="none")
    return Client(kernel, {})


async def ask(visitor: Client, **more: Any) -> Any:
    return await visitor.post("/console/registrations", json=WISH | more)


async def token_for(box: Letterbox, email: str = "new@example.org") -> str:
    return letterbox.found(CONFIRM, await box.read(email))


async def enter(visitor: Client, name: str = "newcomer", password: str = "A-long-secret-1") -> Any:
    who = {"name": name, "domain": {"id": "default"}, "password": password}
    identity = {"methods": ["password"], "password": {"user": who}}
    return await visitor.post("/identity/v3/auth/tokens", json={"auth": {"identity": identity}})


async def test_an_open_cloud_makes_an_account_with_a_project_and_keys_once_the_mailbox_is_proven(
    visitor: Client, box: Letterbox
) -> None:
    assert (await visitor.get("/console/registration")).json()["registration"] == "open"
    asked = await ask(visitor)
    assert asked.status == 202, asked.text
    assert (await enter(visitor)).status == 401
    token = await token_for(box)
    done = await visitor.post("/console/registrations/confirm", json={"token": token})
    assert done.json() == {"state": "done", "name": "newcomer"}
    entered = await enter(visitor)
    assert entered.status == 201, entered.text
    shown = entered.json()["token"]
    assert (shown["project"]["name"], [role["name"] for role in shown["roles"]]) == (
        "newcomer",
        ["member", "reader"],
    )
    user = Client(visitor.app, {"x-auth-token": entered.headers["x-subject-token"]})
    path = f"/identity/v3/users/{shown['user']['id']}/credentials/OS-EC2"
    pair = await user.post(path, json={"tenant_id": shown["project"]["id"]})
    assert pair.status == 201, pair.text
    limits = (await user.get("/compute/v2.1/limits")).json()["limits"]["absolute"]
    assert limits["maxTotalInstances"] > 0
    again = await visitor.post("/console/registrations/confirm", json={"token": token})
    assert again.status == 404


async def test_nobody_learns_which_names_and_addresses_are_known(visitor: Client, box: Letterbox) -> None:
    first = await ask(visitor)
    token = await token_for(box)
    assert (await visitor.post("/console/registrations/confirm", json={"token": token})).status == 200
    known = await ask(visitor, name="somebody-else")
    taken = await ask(visitor, email="third@example.org")
    assert [each.status for each in (known, taken)] == [202, 202]
    assert first.json() == known.json() == taken.json()
    letter = letterbox.text_of(await box.read("new@example.org", 2))
    assert "which has one" in letter
    assert "Log in as newcomer" in letter
    assert "/console/reset" in letter
    third = await token_for(box, "third@example.org")
    refused = await visitor.post("/console/registrations/confirm", json={"token": third})
    assert refused.status == 409
    assert "choose another" in refused.text
    other = await visitor.post("/console/registrations/confirm", json={"token": third, "name": "third"})
    assert other.json() == {"state": "done", "name": "third"}


async def test_letters_and_tries_are_bounded(visitor: Client, box: Letterbox) -> None:
    spellings = ("new@example.org", "New@Example.org", "NEW@example.org", "nEw@example.org")
    statuses = [(await ask(visitor, name=f"n{n}", email=email)).status for n, email in enumerate(spellings)]
    assert statuses == [202, 202, 202, 429]
    assert len(box.letters) <= 1
    assert (await visitor.post("/console/registrations/confirm", json={"token": "guess"})).status == 404


async def test_who_asks_too_often_costs_no_work(visitor: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(3):
        assert (await ask(visitor, name=f"n{n}")).status == 202
    monkeypatch.delattr(users, "hash_new")
    assert (await ask(visitor, name="n3")).status == 429


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "x"},
        {"name": "a b"},
        {"name": "<b>"},
        {"email": "nobody"},
        {"email": "a@b\r\nBcc: c@d"},
        {"password": ""},
    ],
)
async def test_what_cannot_be_is_refused(visitor: Client, wrong: dict[str, str], box: Letterbox) -> None:
    assert (await ask(visitor, **wrong)).status == 400
    assert box.letters == {}


@pytest.mark.parametrize("mode", ["approval"])
async def test_an_operator_approves_or_refuses(
    visitor: Client, admin: Person, member: Person, box: Letterbox
) -> None:
    for name in ("good", "bad"):
        assert (await ask(visitor, name=name, email=f"{name}@example.org")).status == 202
        token = await token_for(box, f"{name}@example.org")
        waits = await visitor.post("/console/registrations/confirm", json={"token": token})
        assert waits.json() == {"state": "waiting", "name": name}
        assert (await enter(visitor, name)).status == 401
    assert (await member.get("/console/registrations")).status == 403
    listed = (await admin.get("/console/registrations?state=waiting")).json()["registrations"]
    ids = {each["name"]: each["id"] for each in listed}
    assert set(ids) == {"good", "bad"}
    assert "password" not in str(listed)
    assert (await member.post(f"/console/registrations/{ids['good']}/approve", json={})).status == 403
    approved = await admin.post(f"/console/registrations/{ids['good']}/approve", json={})
    assert approved.json()["registration"]["state"] == "done"
    refused = await admin.post(f"/console/registrations/{ids['bad']}/refuse", json={"reason": "unknown here"})
    assert refused.json()["registration"]["state"] == "refused"
    assert (await admin.post(f"/console/registrations/{ids['bad']}/approve", json={})).status == 409
    assert (await enter(visitor, "good")).status == 201
    assert (await enter(visitor, "bad")).status == 401
    assert "approved" in letterbox.text_of(await box.read("good@example.org", 2))
    assert "unknown here" in letterbox.text_of(await box.read("bad@example.org", 2))


@pytest.mark.parametrize("mode", ["approval"])
async def test_a_name_that_is_taken_while_somebody_waits_can_be_replaced_by_the_operator(
    visitor: Client, admin: Person, box: Letterbox
) -> None:
    for email in ("one@example.org", "two@example.org"):
        await ask(visitor, name="same", email=email)
        token = await token_for(box, email)
        waits = await visitor.post("/console/registrations/confirm", json={"token": token})
        assert waits.json()["state"] == "waiting"
    listed = (await admin.get("/console/registrations?state=waiting")).json()["registrations"]
    first, second = (f"/console/registrations/{each['id']}/approve" for each in listed)
    assert (await admin.post(first, json={})).status == 200
    refused = await admin.post(second, json={})
    assert refused.status == 409
    assert "choose another" in refused.text
    assert (await admin.post(second, json={"name": "other"})).json()["registration"]["name"] == "other"
    assert (await enter(visitor, "other")).status == 201


@pytest.mark.parametrize("mode", ["invitation"])
async def test_the_invited_register_once_and_with_their_own_address(
    visitor: Client, admin: Person, box: Letterbox
) -> None:
    assert (await ask(visitor)).status == 403
    made = await admin.post("/console/invitations", json={"email": "new@example.org"})
    assert made.status == 201, made.text
    invitation = letterbox.found(r"invitation=([\w-]+)", await box.read("new@example.org"))
    checked = await visitor.post("/console/invitations/check", json={"token": invitation})
    assert checked.json()["email"] == "new@example.org"
    assert (await ask(visitor, email="thief@example.org", invitation=invitation)).status == 403
    assert (await ask(visitor, email="New@Example.org", invitation=invitation)).status == 202
    letter = await box.read("new@example.org", 2)
    token = letterbox.found(CONFIRM, letter)
    done = await visitor.post("/console/registrations/confirm", json={"token": token})
    assert done.json()["state"] == "done"
    assert "used already" in (await ask(visitor, invitation=invitation)).text
    for token in (invitation, "guess", ""):
        assert (await visitor.post("/console/invitations/check", json={"token": token})).status == 403
    (shown,) = (await admin.get("/console/invitations")).json()["invitations"]
    assert shown["used"] is True
    assert (await admin.delete(f"/console/invitations/{shown['id']}")).status == 204
    assert (await admin.delete(f"/console/invitations/{uuid4()}")).status == 404


@pytest.mark.parametrize("mode", ["closed"])
async def test_a_closed_cloud_says_so(visitor: Client) -> None:
    refused = await ask(visitor)
    assert refused.status == 501
    assert "takes no registrations" in refused.text


async def test_no_secret_of_a_registration_is_in_the_database_or_an_event(
    visitor: Client, box: Letterbox, cloud: Cloud
) -> None:
    await ask(visitor)
    token = await token_for(box)
    await visitor.post("/console/registrations/confirm", json={"token": token})
    async with cloud.view() as look:
        everything = str(await look.rows.list(Event))
    assert token not in everything
    assert WISH["password"] not in everything
    assert "argon2" not in everything
