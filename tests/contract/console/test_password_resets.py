"""A forgotten password: a letter with a link to the page, which takes a new one, and tells nobody who exists."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.core.identity import domains, users
from pileus.core.identity.authentication import failures
from pileus.core.identity.authentication.password_resets import HOURLY_OF_SOURCE
from pileus.core.identity.authentication.tokens import NIL
from pileus.core.identity.records import User
from pileus.core.identity.tenancy.tenancy_records import PasswordReset
from pileus.drivers.mail.smtp import SmtpMailer
from pileus.faces import console
from pileus.faces.wire import Kernel
from pileus.workflows.site import Site
from tests.asgi import Client
from tests.contract import letterbox
from tests.contract.letterbox import Letterbox

ANN = users.CreateUser(name="ann", domain=domains.ROOT, password="forgotten", email="ann@example.org")
LINK = r"(http\S+)"


@pytest.fixture
async def box() -> AsyncIterator[Letterbox]:
    async with letterbox.opened() as made:
        yield made


@pytest.fixture
def visitor(kernel: Kernel, site: Site, cloud: Cloud, box: Letterbox) -> Client:
    cloud.config = msgspec.structs.replace(cloud.config, smtp_host="127.0.0.1", smtp_port=box.port)
    site.mail = SmtpMailer(host="127.0.0.1", port=box.port, sender="cloud@example.org", tls="none")
    return Client(kernel, {})


@pytest.fixture
async def ann(cloud: Cloud) -> User:
    return await users.create(cloud, system(), ANN)


async def ask(visitor: Client, name: str = "ann", domain: str = "") -> Any:
    return await visitor.post("/console/password-resets", json={"name": name, "domain": domain})


async def link(box: Letterbox) -> tuple[str, dict[str, str]]:
    page, _, rest = letterbox.found(LINK, await box.read("ann@example.org")).partition("#")
    return page, {name: values[0] for name, values in parse_qs(rest, keep_blank_values=True).items()}


async def use(visitor: Client, told: dict[str, str], password: str, **more: str) -> Any:
    sent = {"name": told["username"], "domain": told["domain"], "token": told["token"], "password": password}
    return await visitor.post("/console/password-resets/use", json=sent | more)


async def enter(visitor: Client, password: str) -> int:
    who = {"name": "ann", "domain": {"id": "default"}, "password": password}
    identity = {"methods": ["password"], "password": {"user": who}}
    answer = await visitor.post("/identity/v3/auth/tokens", json={"auth": {"identity": identity}})
    return int(answer.status)


@pytest.mark.parametrize("page", ["/console/reset", "/console/register"])
async def test_a_page_takes_nothing_from_elsewhere_and_stands_in_no_frame(
    site: Site, cloud: Cloud, page: str
) -> None:
    kernel = Kernel((), cloud=cloud, site=site, access_log=False)
    console.mount(kernel)
    visitor = Client(kernel, {})
    shown = await visitor.get(page)
    assert shown.status == 200
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    assert shown.headers["x-frame-options"] == "DENY"
    assert "http" not in shown.text
    for name in ("account.js", "account.css", f"{page.rpartition('/')[2]}.js"):
        assert (await visitor.get(f"/console/static/{name}")).status == 200


async def test_the_letter_links_to_a_page_of_this_cloud_by_which_the_password_is_changed_once(
    visitor: Client, box: Letterbox, ann: User, cloud: Cloud
) -> None:
    offered = (await visitor.get("/console/password-resets")).json()
    assert (offered["mail"], offered["registration"]) == (True, "closed")
    assert (await ask(visitor)).status == 202
    page, told = await link(box)
    assert page == f"{cloud.config.url}/console/reset"
    assert (await use(visitor, told, "the next one", token="guess")).status == 404
    assert (await use(visitor, told, "the next one", name="demo")).status == 404
    assert (await use(visitor, told, "the next one")).status == 204
    assert (await use(visitor, told, "another")).status == 404
    assert await enter(visitor, "forgotten") == 401
    assert await enter(visitor, "the next one") == 201


@pytest.mark.parametrize("place", ["", "/", "ROOT", "Default", "/ROOT"])
async def test_the_domain_is_named_as_people_do(
    visitor: Client, box: Letterbox, ann: User, place: str
) -> None:
    assert (await ask(visitor, domain=place)).status == 202
    _, told = await link(box)
    assert (await use(visitor, told, "the next one")).status == 204


async def test_nobody_learns_who_exists(visitor: Client, box: Letterbox, ann: User) -> None:
    asked = [("nobody", ""), ("ann", "nowhere"), ("ann", "/no/where"), ("demo", ""), ("ann", "")]
    answers = {(reply.status, reply.text) for reply in [await ask(visitor, *each) for each in asked]}
    assert len(answers) == 1
    await box.read("ann@example.org")
    assert list(box.letters) == ["ann@example.org"]
    told = {"username": "nobody", "domain": "", "token": "guess"}
    refused = [await use(visitor, told | {"username": name}, "the next one") for name in ("nobody", "ann")]
    assert len({(each.status, each.json()["error"]["message"]) for each in refused}) == 1


async def test_what_is_demanded_of_passwords_is_told_and_the_link_stays_good(
    visitor: Client, box: Letterbox, ann: User, cloud: Cloud
) -> None:
    demands = {"password_regex": ".{8,}", "password_regex_description": "eight letters or more"}
    cloud.config = msgspec.structs.replace(cloud.config, unique_last_password_count=2, **demands)
    assert (await visitor.get("/console/password-resets")).json()["password_rules"] == "eight letters or more"
    await ask(visitor)
    _, told = await link(box)
    weak = await use(visitor, told, "short")
    assert (weak.status, "eight letters or more" in weak.text) == (400, True)
    old = await use(visitor, told, "forgotten")
    assert (old.status, "previous password" in old.text) == (400, True)
    assert (await use(visitor, told, "long enough")).status == 204


async def test_a_password_that_was_chosen_by_letter_need_not_be_changed_at_the_first_login(
    visitor: Client, box: Letterbox, ann: User, cloud: Cloud
) -> None:
    cloud.config = msgspec.structs.replace(cloud.config, change_password_upon_first_use=True)
    await ask(visitor)
    _, told = await link(box)
    assert (await use(visitor, told, "the next one")).status == 204
    assert await enter(visitor, "the next one") == 201


async def test_guesses_have_to_wait(
    visitor: Client, box: Letterbox, ann: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(failures.PATIENCE, failures.SOURCE, failures.Patience(5, 5))
    await ask(visitor)
    _, told = await link(box)
    statuses = [(await use(visitor, told, "x", token="guess")).status for _ in range(6)]
    assert statuses == [404] * 5 + [401]


async def test_a_link_ends_after_its_time(visitor: Client, box: Letterbox, ann: User, cloud: Cloud) -> None:
    await ask(visitor)
    _, told = await link(box)
    began = cloud.now
    cloud.now = lambda: began() + timedelta(minutes=31)  # type: ignore[method-assign]
    assert (await use(visitor, told, "the next one")).status == 404


async def test_who_runs_another_interface_has_letters_link_there(
    visitor: Client, box: Letterbox, ann: User, cloud: Cloud
) -> None:
    elsewhere = "https://cloud.example/client/#/user/resetPassword"
    cloud.config = msgspec.structs.replace(cloud.config, password_reset_page=elsewhere)
    await ask(visitor, domain="/")
    found = letterbox.found(LINK, await box.read("ann@example.org"))
    assert found.startswith(f"{elsewhere}?username=ann&domain=%2F&token=")


async def test_without_a_mail_server_that_is_said(kernel: Kernel, ann: User) -> None:
    visitor = Client(kernel, {})
    assert (await visitor.get("/console/password-resets")).json()["mail"] is False
    assert (await ask(visitor)).status == 501


async def test_one_address_asks_for_so_many_letters_whoever_is_named(
    visitor: Client, ann: User, cloud: Cloud
) -> None:
    assert {(await ask(visitor, f"nobody-{n}")).status for n in range(HOURLY_OF_SOURCE)} == {202}
    assert {(await ask(visitor, name)).status for name in ("ann", "nobody")} == {429}
    now = cloud.now() + timedelta(minutes=61)
    cloud.now = lambda: now  # type: ignore[method-assign]
    assert (await ask(visitor)).status == 202
    async with cloud.view() as look:
        assert await look.count(PasswordReset) == 2, "what was counted before is gone"


async def test_many_letters_asked_for_at_once_are_counted_too(
    visitor: Client, ann: User, cloud: Cloud
) -> None:
    replies = await asyncio.gather(*(ask(visitor) for _ in range(HOURLY_OF_SOURCE + 5)))
    assert sorted(reply.status for reply in replies) == [202] * HOURLY_OF_SOURCE + [429] * 5
    async with cloud.view() as look:
        assert await look.count(PasswordReset, user=ann.id) == 1


async def test_guesses_of_strangers_keep_nobody_from_a_new_password(
    visitor: Client, box: Letterbox, ann: User
) -> None:
    await ask(visitor)
    _, told = await link(box)
    for _ in range(8):
        assert (await use(visitor, told, "the next one", token="guess")).status == 404
    assert (await use(visitor, told, "the next one")).status == 204


@pytest.mark.parametrize("change", ["email", "password", "options"])
async def test_a_letter_is_good_for_the_user_as_it_was(
    visitor: Client, box: Letterbox, ann: User, cloud: Cloud, change: str
) -> None:
    await ask(visitor)
    _, told = await link(box)
    values = {"email": "other@example.org", "password": "chosen", "options": {"lock_password": True}}
    await users.update(cloud, system(), ann.id, users.UpdateUser(**{change: values[change]}))  # type: ignore[arg-type]
    assert (await use(visitor, told, "the next one")).status == 404


async def test_who_shall_have_no_password_or_keep_it_gets_no_letter(visitor: Client, cloud: Cloud) -> None:
    for name, more in (("robot", {"password": ""}), ("fixed", {"options": {"lock_password": True}})):
        want = msgspec.structs.replace(ANN, name=name, **more)
        await users.create(cloud, system(), want)
        assert (await ask(visitor, name)).status == 202
    async with cloud.view() as look:
        assert {each.user for each in await look.list(PasswordReset)} == {NIL}
