"""Declarations, signatures, sessions, envelopes and pages."""

import re
import xml.etree.ElementTree as ET
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.core.identity import users
from pileus.core.identity.authentication import tokens
from pileus.faces.cloudstack.commands import COMMANDS
from pileus.faces.cloudstack.rendering import xml
from pileus.faces.cloudstack.sessions import ANONYMOUS
from pileus.faces.cloudstack.signing import sign, texts, verify
from pileus.faces.wire import Kernel
from pileus.faces.wire.ledger import State, load
from tests.asgi import Client, Reply
from tests.contract.cloudstack.conftest import ENDPOINT, UNSIGNED, Stack

LEDGER = Path(__file__).resolve().parents[3] / "specs" / "cloudstack.toml"
SIGNED = [name for name in COMMANDS if name not in ANONYMOUS]


def test_every_declared_parameter_is_cloudstacks_and_the_ledger_says_what_is_missing() -> None:
    ledger = load(LEDGER).operations
    wrong = []
    for name, command in COMMANDS.items():
        declared = {spec.wire: spec for spec in command.params.specs.values()}
        known = command.entry.params
        wrong += [f"{name}: CloudStack has no parameter {wire}" for wire in declared.keys() - known.keys()]
        wrong += [
            f"{name}: {wire} is required by CloudStack"
            for wire, about in known.items()
            if about.required and not (wire in declared and declared[wire].required)
        ]
        entry = ledger.get(name)
        if entry is None or entry.state is State.REFUSED:
            wrong.append(f"{name}: declared, but not in the ledger")
        elif entry.state is State.PARTIAL and not entry.missing.strip():
            wrong.append(f"{name}: partial, but the ledger does not say what is missing")
        elif entry.state is State.FULL and known.keys() - declared.keys():
            wrong.append(f"{name}: full, but lacks {', '.join(sorted(known.keys() - declared.keys()))}")
    listed = {name for name, entry in ledger.items() if entry.state is not State.REFUSED}
    wrong += [f"{name}: in the ledger, but not declared" for name in listed - COMMANDS.keys()]
    assert wrong == []


def test_every_command_and_parameter_is_described() -> None:
    assert [name for name, command in COMMANDS.items() if not command.help] == []
    silent = [
        (name, spec.wire)
        for name, command in COMMANDS.items()
        for spec in command.params.specs.values()
        if not spec.help
    ]
    assert silent == []


async def test_what_listapis_tells_is_what_is_declared(admin: Stack, member: Stack) -> None:
    told = {api["name"]: api for api in (await admin.call("listApis"))["api"]}
    assert told.keys() == COMMANDS.keys()
    for name, api in told.items():
        declared = {spec.wire for spec in COMMANDS[name].params.specs.values()}
        assert {each["name"] for each in api["params"]} == declared
        assert api["isasync"] is COMMANDS[name].entry.job
    seen = {api["name"] for api in (await member.call("listApis"))["api"]}
    assert seen == {name for name, command in COMMANDS.items() if command.allows("User")}
    (one,) = (await member.call("listApis", name="deployVirtualMachine"))["api"]
    assert {each["name"] for each in one["params"] if each["required"]} == {
        "serviceofferingid", "templateid", "zoneid",
    }  # fmt: skip


async def test_unknown_commands_are_401_with_keys_and_432_in_a_session(
    admin: Stack, kernel: Kernel, cloud: Cloud
) -> None:
    for name in ("noSuchCommand", "listvirtualmachines", ""):
        assert await admin.refused(name, 401) == UNSIGNED
    session = await logged_in(kernel, cloud)
    for name in ("noSuchCommand", "listvirtualmachines"):
        reply = await session.get(f"{ENDPOINT}?command={name}&response=json&sessionkey={session.key}")
        assert (reply.status, list(reply.json())) == (432, ["errorresponse"])


async def test_both_orders_of_names_and_both_forms_of_a_tilde_are_accepted(member: Stack) -> None:
    sent = [("command", "listZones"), ("apiKey", member.key), ("Response", "json"), ("name", "a~b *c")]
    for text in texts(sent):
        query = urlencode(sent, quote_via=quote) + "&signature=" + quote(sign(text, member.secret), safe="")
        assert (await member.get(f"{ENDPOINT}?{query}")).status == 200
    assert not verify(sent, member.secret, sign("command=listzones", member.secret))


async def test_a_signed_form_is_as_good_as_a_query(member: Stack) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    reply = await member.post(ENDPOINT, data=member.signed("listZones"), headers=form)
    assert reply.status == 200
    command, _, rest = member.signed("listZones", Keyword="zz").partition("&")
    assert (await member.post(f"{ENDPOINT}?{command}", data=rest, headers=form)).json() == {
        "listzonesresponse": {}
    }
    tampered = member.signed("listZones", keyword="a").replace("keyword=a", "keyword=b")
    assert (await member.post(ENDPOINT, data=tampered, headers=form)).status == 401


async def test_a_signature_of_version_3_ends(member: Stack) -> None:
    for expires, status in (
        ("2999-01-01T00:00:00+0000", 200),
        ("2001-01-01T00:00:00+0000", 401),
        ("soon", 401),
        ("", 401),
    ):
        reply = await member.ask("listZones", signatureVersion="3", expires=expires)
        assert reply.status == status, expires
    assert (await member.ask("listZones", signatureVersion="3")).status == 401


async def test_a_parameter_that_comes_twice_is_refused(member: Stack) -> None:
    signed = member.signed("listZones", name="nova")
    for more in ("&name=other", "&NAME=other", "&command=listHosts"):
        reply = await member.get(f"{ENDPOINT}?{signed}{more}")
        assert reply.status == 430


async def test_a_disabled_user_is_nobody_at_once(member: Stack, cloud: Cloud) -> None:
    await member.call("listZones")
    await users.update(cloud, system(), member.user.id, users.UpdateUser(enabled=False))
    assert await member.refused("listZones", 401) == UNSIGNED


async def test_only_get_and_post_are_served(member: Stack) -> None:
    for method in ("PUT", "DELETE", "PATCH", "HEAD"):
        reply = await member.request(method, f"{ENDPOINT}?{member.signed('listZones')}")
        assert reply.status == 405


class Session(Client):
    def __init__(self, app: Kernel, cookie: str, key: str, user: UUID) -> None:
        super().__init__(app, {"cookie": f"JSESSIONID={cookie}; sessionkey={key}"})
        self.cookie, self.key, self.user = cookie, quote(key, safe=""), user

    async def call(self, command: str, **params: str) -> Any:
        query = urlencode({"command": command, "response": "json", **params})
        return await self.get(f"{ENDPOINT}?{query}&sessionkey={self.key}")


async def login(kernel: Kernel, **fields: str) -> tuple[Reply, list[str]]:
    """The answer, and its cookies."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    body = urlencode({"command": "login", "response": "json", **fields})
    cookies: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def watched(message: Any) -> None:
            cookies.extend(v.decode() for n, v in message.get("headers", ()) if n == b"set-cookie")
            await send(message)

        await kernel(scope, receive, watched)

    return await Client(app).post(ENDPOINT, data=body, headers=form), cookies


def password(cloud: Cloud, name: str = "demo") -> str:
    lines = (cloud.config.state / "credentials").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)[f"{name}_password"]


async def logged_in(kernel: Kernel, cloud: Cloud, name: str = "demo") -> Session:
    reply, cookies = await login(kernel, username=name, password=password(cloud, name), domain="/")
    assert reply.status == 200, reply.text
    held = dict(cookie.partition(";")[0].split("=", 1) for cookie in cookies)
    shown = reply.json()["loginresponse"]
    assert held["sessionkey"] == shown["sessionkey"]
    return Session(kernel, held["JSESSIONID"], shown["sessionkey"], UUID(shown["userid"]))


async def test_a_login_opens_a_session_that_its_key_uses_and_logout_ends(
    kernel: Kernel, cloud: Cloud
) -> None:
    session = await logged_in(kernel, cloud)
    assert (await session.call("listZones")).status == 200
    stranger = Client(kernel)
    for query in ("", "&sessionkey=", "&sessionkey=x"):
        assert (await session.get(f"{ENDPOINT}?command=listZones{query}")).status == 401
    assert (await stranger.get(f"{ENDPOINT}?command=listZones&sessionkey={session.key}")).status == 401
    assert (await session.get(f"{ENDPOINT}?command=logout&response=json&sessionkey=x")).status == 401
    assert (await session.call("logout")).json() == {"logoutresponse": {"description": "success"}}
    assert (await session.call("listZones")).status == 401
    assert (await session.call("logout")).status == 200


async def test_every_bad_login_is_531_in_the_same_words(kernel: Kernel, cloud: Cloud) -> None:
    right = password(cloud)
    for fields in (
        {"username": "demo", "password": "wrong"},
        {"username": "nobody", "password": right},
        {"username": "demo", "password": right, "domain": "/nowhere"},
    ):
        reply, _ = await login(kernel, **fields)
        assert (reply.status, reply.json()["loginresponse"]["errorcode"]) == (531, 531)
    assert (await login(kernel, username="demo"))[0].status == 431
    for domain in ("", "/", "ROOT", "/ROOT/"):
        reply, _ = await login(kernel, username="demo", password=right, domain=domain)
        assert reply.status == 200


async def test_cookies_are_for_this_path_and_not_for_scripts(kernel: Kernel, cloud: Cloud) -> None:
    made, cookies = await login(kernel, username="admin", password=password(cloud, "admin"))
    shown = made.json()["loginresponse"]
    assert (shown["type"], shown["account"], shown["username"]) == ("1", "admin", "admin")
    assert len(cookies) == 2
    for cookie in cookies:
        assert "; Path=/client; HttpOnly; SameSite=Lax" in cookie


async def test_a_token_of_another_face_is_no_session(kernel: Kernel, cloud: Cloud, member: Stack) -> None:
    from pileus.core.identity.records import Scope
    from pileus.faces.cloudstack.authentication import session_key

    now = cloud.now()
    scoped = tokens.of(cloud).issue(
        tokens.Token(
            user=member.user.id,
            methods=("password",),
            scope=Scope.PROJECT,
            target=member.account.id,
            audit=(tokens.new_audit_id(),),
            issued_at=now,
            expires_at=now + timedelta(hours=1),
        )
    )
    session = Session(kernel, scoped, session_key(tokens.of(cloud).open(scoped)), member.user.id)
    assert (await session.call("listZones")).status == 401


async def test_xml_is_the_default_and_says_the_same(member: Stack) -> None:
    json = await member.call("listZones")
    reply = await member.ask("listZones", response="xml")
    root = ET.fromstring(reply.text)
    assert (root.tag, root.findtext("count")) == ("listzonesresponse", "1")
    assert root.findtext("zone/id") == json["zone"][0]["id"]
    assert root.findtext("zone/securitygroupsenabled") == "true"
    unsigned = await Client(member.app).get(f"{ENDPOINT}?command=listZones")
    assert ET.fromstring(unsigned.text).findtext("errorcode") == "401"


def test_xml_survives_every_character_and_name() -> None:
    hostile = {"a<b": "<&>\0\ud800\x1b", "1 2": ['"', {"": None, "é": "]]>"}], "ok": True}
    root = ET.fromstring(xml("x", hostile))
    assert [child.tag for child in root] == ["_a_b", "_1_2", "_1_2", "ok"]
    assert root[0].text == "<&>"


async def test_an_empty_list_has_neither_count_nor_key(member: Stack) -> None:
    assert await member.call("listVirtualMachines") == {}
    assert await member.call("listZones", name="nowhere") == {}


async def test_pages_go_by_number_and_count_is_the_total(admin: Stack) -> None:
    every = (await admin.call("listServiceOfferings"))["serviceoffering"]
    first = await admin.call("listServiceOfferings", page=1, pagesize=2)
    second = await admin.call("listServiceOfferings", page=2, pagesize=2)
    assert [each["id"] for each in (*first["serviceoffering"], *second["serviceoffering"])] == [
        each["id"] for each in every[:4]
    ]
    assert first["count"] == second["count"] == len(every)
    past = await admin.call("listServiceOfferings", page=99, pagesize=2)
    assert past.get("serviceoffering", []) == []
    for bad in ({"page": 1}, {"pagesize": 5}, {"page": 0, "pagesize": 5}, {"page": 1, "pagesize": 501}):
        await admin.refused("listServiceOfferings", 431, **bad)


async def test_a_parameter_that_is_not_supported_is_not_passed_over(
    member: Stack, place: dict[str, str]
) -> None:
    said = await member.refused("deployVirtualMachine", 431, **place, extraconfig="x")
    assert "extraconfig" in said
    said = await member.refused("deployVirtualMachine", 531, **place, deploymentplanner="x")
    assert "Admin" in said


async def test_dates_and_booleans_are_as_cloudstack_writes_them(member: Stack) -> None:
    (user,) = (await member.call("listUsers"))["user"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000", user["created"])
