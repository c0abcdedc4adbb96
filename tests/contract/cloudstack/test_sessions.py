"""Sessions of CloudStack's web interface, and new passwords for who has forgotten the old one."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from pileus.core.cloud import Cloud
from pileus.core.identity.authentication import tokens
from pileus.core.identity.records import User
from pileus.core.identity.tenancy.tenancy_records import PasswordReset
from pileus.core.mail import Mail
from pileus.core.operations import LIVE, Operation
from pileus.drivers.mail.smtp import SmtpMailer
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests.contract import letterbox
from tests.contract.cloudstack.conftest import ENDPOINT, Stack
from tests.contract.cloudstack.visitors import Visitor, client, domain, made
from tests.contract.letterbox import Letterbox, text_of


@pytest.fixture
async def box() -> AsyncIterator[Letterbox]:
    async with letterbox.opened() as made_:
        yield made_


@pytest.fixture
def mailing(box: Letterbox, cloud: Cloud, site: Site) -> None:
    """The cloud sends its letters to the box."""
    cloud.config = msgspec.structs.replace(
        cloud.config,
        smtp_host="127.0.0.1",
        smtp_port=box.port,
        smtp_tls="none",
        smtp_from="cloud@example.org",
    )
    site.mail = SmtpMailer(host="127.0.0.1", port=box.port, sender="cloud@example.org", tls="none")


async def test_a_login_says_who_and_where(admin: Stack, kernel: Any) -> None:
    sales = await domain(admin, "sales")
    await made(admin, "ann", domainid=sales["id"], accounttype=2, timezone="Asia/Kolkata")
    for place in ({"domain": "/sales"}, {"domain": "ROOT/sales"}, {"domainId": sales["id"], "domain": "/"}):
        shown = await Visitor(kernel).login("ann", "secret", **place)
        assert (shown["username"], shown["account"], shown["type"]) == ("ann", "ann", "2")
        assert (shown["domainid"], shown["timezone"], shown["timezoneoffset"]) == (
            sales["id"],
            "Asia/Kolkata",
            "5.5",
        )
        assert (shown["is2faenabled"], shown["is2faverified"]) == ("false", "true")
    assert await Visitor(kernel).refused_login("ann", "secret") == 531
    assert await Visitor(kernel).refused_login("ann", "secret", domainId="17") == 401
    reply = await Visitor(kernel).get(f"{ENDPOINT}?command=login&username=ann&password=secret&response=json")
    assert reply.status == 405


async def test_the_session_key_is_a_parameter_and_agrees_with_its_cookie(admin: Stack, kernel: Any) -> None:
    await made(admin, "ann")
    browser = Visitor(kernel)
    await browser.login("ann", "secret")
    await browser.call("listZones")
    key = browser.key
    browser.key = ""
    assert (await browser.ask("listZones")).status == 401
    browser.key = key
    browser.jar["sessionkey"] = "another"
    assert (await browser.ask("listZones")).status == 401
    del browser.jar["sessionkey"]
    await browser.call("listZones")


async def test_a_new_password_ends_the_sessions(admin: Stack, kernel: Any) -> None:
    account = await made(admin, "ann")
    browser = Visitor(kernel)
    await browser.login("ann", "secret")
    await admin.call("updateUser", id=account["user"][0]["id"], password="other")
    assert (await browser.ask("listZones")).status == 401


async def test_wrong_passwords_have_to_wait(admin: Stack, kernel: Any, cloud: Cloud) -> None:
    await made(admin, "ann")
    for _ in range(7):
        assert await Visitor(kernel).refused_login("ann", "wrong") == 531
    assert await Visitor(kernel).refused_login("ann", "secret") == 531
    began = cloud.now
    cloud.now = lambda: began() + timedelta(seconds=60)  # type: ignore[method-assign]
    await Visitor(kernel).login("ann", "secret")


async def test_wrong_signatures_have_to_wait_and_keep_nobody_else_out(admin: Stack, cloud: Cloud) -> None:
    ann = await client(admin, await made(admin, "ann"))
    wrong = Stack(ann.app, ann.key, "wrong", ann.user, ann.account)  # type: ignore[arg-type]
    for _ in range(7):
        await wrong.refused("listZones", 401)
    await ann.refused("listZones", 401)
    await admin.call("listZones")
    began = cloud.now
    cloud.now = lambda: began() + timedelta(seconds=60)  # type: ignore[method-assign]
    await ann.call("listZones")


async def test_a_user_without_mail_server_is_told_so(admin: Stack, kernel: Any) -> None:
    await made(admin, "ann")
    reply = await Visitor(kernel).post_form(command="forgotPassword", username="ann")
    assert (reply.status, "smtp_host" in reply.text) == (431, True)


async def test_a_forgotten_password_is_replaced_once_by_a_letter(
    admin: Stack, kernel: Any, box: Letterbox, mailing: None, worker: Worker, cloud: Cloud
) -> None:
    account = await made(admin, "ann")
    ann = await client(admin, account)
    browser, visitor = Visitor(kernel), Visitor(kernel)
    await browser.login("ann", "secret")
    for _ in range(2):  # while one letter is under way there is no other
        reply = await visitor.post_form(command="forgotPassword", username="ann", domain="/")
        assert reply.json() == {"forgotpasswordresponse": {"success": True}}
    await worker.idle()
    letter = await box.read("ann@example.org")
    assert (letter["From"], len(box.letters["ann@example.org"])) == ("cloud@example.org", 1)
    token = letterbox.found(r"token=([0-9a-f-]{36})", letter)
    async with cloud.view() as look:
        (held,) = (each for each in await look.list(PasswordReset) if each.token)
        assert token not in held.token
        assert not await look.count(Mail)
    sent = {"command": "resetPassword", "username": "ann", "domain": "/", "password": "better"}
    assert (await visitor.post_form(**{**sent, "token": "17"})).status == 431
    assert (await visitor.post_form(**{**sent, "username": "demo", "token": token})).status == 431
    assert (await visitor.post_form(**{**sent, "password": "", "token": token})).status == 431
    reply = await visitor.post_form(**sent, token=token)
    assert reply.json() == {"resetpasswordresponse": {"success": True}}
    assert (await visitor.post_form(**sent, token=token)).status == 431
    assert (await browser.ask("listZones")).status == 401
    await ann.call("listZones")
    assert await Visitor(kernel).refused_login("ann", "secret") == 531
    await Visitor(kernel).login("ann", "better")


async def test_nobody_learns_from_a_forgotten_password_who_there_is(
    admin: Stack, kernel: Any, box: Letterbox, mailing: None, worker: Worker, cloud: Cloud
) -> None:
    account = await made(admin, "ann")
    await made(admin, "kim", email="no address")
    await admin.call("disableUser", id=account["user"][0]["id"])
    answers = set()
    for name, place in (("ann", "/"), ("nobody", "/"), ("kim", "/"), ("ann", "/nowhere")):
        reply = await Visitor(kernel).post_form(command="forgotPassword", username=name, domain=place)
        answers.add((reply.status, reply.text))
    assert len(answers) == 1
    await worker.idle()
    assert box.letters == {}
    wrong = "0d4f3c38-1c3e-4c9c-9a51-fd6f9f3e2f11"
    texts = set()
    for name in ("ann", "nobody", "demo"):
        sent = {"command": "resetPassword", "username": name, "password": "x", "token": wrong}
        reply = await Visitor(kernel).post_form(**sent)
        texts.add((reply.status, reply.text))
    assert len(texts) == 1
    async with cloud.view() as look:
        assert await look.count(PasswordReset, token="") == await look.count(PasswordReset)


async def test_a_token_for_a_new_password_ends_after_its_time(
    admin: Stack, kernel: Any, box: Letterbox, mailing: None, worker: Worker, cloud: Cloud
) -> None:
    await made(admin, "ann")
    await Visitor(kernel).post_form(command="forgotPassword", username="ann")
    await worker.idle()
    token = letterbox.found(r"token=([0-9a-f-]{36})", await box.read("ann@example.org"))
    began = cloud.now
    cloud.now = lambda: began() + timedelta(minutes=31)  # type: ignore[method-assign]
    sent = {"command": "resetPassword", "username": "ann", "password": "better", "token": token}
    assert (await Visitor(kernel).post_form(**sent)).status == 431


async def test_a_password_that_is_too_weak_leaves_the_token_good(
    admin: Stack, kernel: Any, box: Letterbox, mailing: None, worker: Worker, cloud: Cloud
) -> None:
    await made(admin, "ann")
    cloud.config = msgspec.structs.replace(cloud.config, password_regex=".{8,}")
    await Visitor(kernel).post_form(command="forgotPassword", username="ann")
    await worker.idle()
    token = letterbox.found(r"token=([0-9a-f-]{36})", await box.read("ann@example.org"))
    sent = {"command": "resetPassword", "username": "ann", "token": token}
    assert (await Visitor(kernel).post_form(**sent, password="short")).status == 431
    assert (await Visitor(kernel).post_form(**sent, password="long enough")).status == 200


async def test_a_letter_never_names_the_host_that_was_asked(
    admin: Stack, kernel: Any, box: Letterbox, mailing: None, worker: Worker
) -> None:
    await made(admin, "ann")
    visitor = Visitor(kernel)
    visitor.headers["host"] = "evil.example"
    await visitor.post_form(command="forgotPassword", username="ann")
    await worker.idle()
    assert "evil" not in text_of(await box.read("ann@example.org"))


async def test_a_letter_that_is_refused_is_given_up(
    admin: Stack, kernel: Any, box: Letterbox, mailing: None, worker: Worker, cloud: Cloud
) -> None:
    await made(admin, "ann")
    box.refused.add("ann@example.org")
    await Visitor(kernel).post_form(command="forgotPassword", username="ann")
    await worker.idle()
    async with cloud.view() as look:
        (operation,) = await look.list(Operation, workflow="mail.send")
        assert operation.outcome not in LIVE
        assert re.search("refused the reader", operation.fault)
        assert not await look.count(Mail)


async def test_a_keystone_token_with_only_a_password_is_a_session_of_its_own(
    kernel: Any, cloud: Cloud, member: Stack
) -> None:
    async with cloud.view() as look:
        user = await look.one(User, name="demo")
    assert user is not None
    now = cloud.now()
    for methods in (("password", "token"), ("token",), ("application_credential",)):
        text = tokens.of(cloud).issue(
            tokens.Token(
                user=user.id,
                methods=methods,
                audit=(tokens.new_audit_id(),),
                issued_at=now,
                expires_at=now + timedelta(hours=1),
            )
        )
        browser = Visitor(kernel)
        browser.jar["JSESSIONID"] = text
        assert (await browser.ask("listZones")).status == 401
