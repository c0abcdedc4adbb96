"""A second factor that was set up in CloudStack's API, at the logins of Keystone."""

import base64
import hashlib
import hmac
from functools import cache
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from pileus.app import bootstrap
from pileus.core.caller import Caller, system
from pileus.core.cloud import Cloud
from pileus.core.identity import domains
from pileus.core.identity.authentication import login as core
from pileus.core.identity.authentication import second_factor, tokens
from pileus.core.identity.authentication.credential_records import ApplicationCredential
from pileus.core.identity.authorization import explaining
from pileus.core.identity.records import User
from pileus.faces import cloudstack
from pileus.faces.cloudstack.authentication import session_key
from pileus.faces.openstack.identity import SERVICE
from pileus.faces.wire import Kernel
from pileus.workflows.site import Site
from tests.asgi import Client, Reply
from tests.contract.cloudstack.conftest import account, stack
from tests.contract.cloudstack.test_second_factor import SETUP, VALIDATE, Clock
from tests.contract.cloudstack.visitors import Visitor
from tests.contract.openstack.conftest import Person, person
from tests.contract.openstack.test_identity import (
    TOKENS,
    UNAUTHORIZED,
    V3,
    by_application,
    by_password,
    by_token,
)
from tests.contract.openstack.test_identity import anyone as anyone
from tests.contract.openstack.test_tokens import SECRET, code_at, set_rules

BOTH = [["password", "totp"]]
RECEIPT = "openstack-auth-receipt"
KINDS = ("totp", "staticpin")


@cache
def two_faces() -> Kernel:
    made = Kernel([SERVICE], access_log=False)
    cloudstack.mount(made)
    return made


@pytest.fixture
def kernel(site: Site) -> Kernel:
    return two_faces().serving(site.cloud, site)


@pytest.fixture
def clock(cloud: Cloud) -> Clock:
    return Clock(cloud)


@pytest.fixture
async def ann(kernel: Kernel, cloud: Cloud) -> Person:
    await account(cloud, "ann", domains.ROOT)
    return await person(kernel, cloud, "ann")


class Factor:
    """The factor of `ann`, set up and shown in a session."""

    def __init__(self, kind: str, secret: str, clock: Clock, session: Visitor) -> None:
        self.kind, self.secret, self.clock, self.session = kind, secret, clock, session

    @property
    def right(self) -> str:
        return self.secret if self.kind == "staticpin" else self.clock.code(self.secret)


async def equip(ann: Person, clock: Clock, kind: str) -> Factor:
    browser = Visitor(ann.app)
    await browser.login("ann", "secret")
    secret = (await browser.call(SETUP, enable="true", provider=kind))["setup2fa"]["secretcode"]
    factor = Factor(kind, secret, clock, browser)
    await browser.call(VALIDATE, codefor2fa=factor.right)
    clock.forward(60)
    return factor


async def keep_code(admin: Person, user: Person, **more: Any) -> None:
    wanted = {"type": "totp", "blob": SECRET, "user_id": user.user.id.hex, **more}
    assert (await admin.post(f"{V3}/credentials", json={"credential": wanted})).status == 201


def shown(user: Person, *, password: str = "", code: str | None = None, scope: Any = None) -> Any:
    """A login by whichever is given."""
    identity: dict[str, Any] = {}
    if code is not None:  # first, as nothing depends on the order
        identity["totp"] = {"user": {"id": user.user.id.hex, "passcode": code}}
    if password:
        identity["password"] = {"user": {"id": user.user.id.hex, "password": password}}
    auth = {"identity": {"methods": list(identity), **identity}}
    return {"auth": auth | ({"scope": scope} if scope is not None else {})}


def asks(reply: Reply, required: list[list[str]], methods: list[str]) -> bool:
    told = reply.json()
    return (
        reply.status == 401
        and RECEIPT in reply.headers
        and told["required_auth_methods"] == required
        and told["receipt"]["methods"] == methods
    )


def refused(reply: Reply) -> bool:
    return reply.status == 401 and RECEIPT not in reply.headers and reply.json() == UNAUTHORIZED


# --- what a user with a factor shows


@pytest.mark.parametrize("kind", KINDS)
async def test_a_factor_guards_keystones_logins(anyone, ann, clock, kind):
    factor = await equip(ann, clock, kind)
    wrong = "000000" if factor.right != "000000" else "111111"
    assert asks(await anyone.post(TOKENS, json=by_password({"id": ann.user.id.hex})), BOTH, ["password"])
    assert asks(await anyone.post(TOKENS, json=shown(ann, code=factor.right)), BOTH, ["totp"])
    clock.forward(60)
    for password, code in (("secret", wrong), ("secret", ""), ("wrong", factor.right), ("", wrong)):
        assert refused(await anyone.post(TOKENS, json=shown(ann, password=password, code=code))), code
    reply = await anyone.post(TOKENS, json=shown(ann, password="secret", code=factor.right))
    assert (reply.status, sorted(reply.json()["token"]["methods"])) == (201, BOTH[0])
    again = await anyone.post(TOKENS, json=shown(ann, password="secret", code=factor.right))
    assert again.status == 201 if kind == "staticpin" else refused(again), "no code is taken twice"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", ["password", "totp"])
async def test_a_login_goes_on_by_its_receipt(anyone, ann, clock, kind, first):
    factor = await equip(ann, clock, kind)
    known, held = shown(ann, password="secret"), shown(ann, code=factor.right)
    start, rest = (known, held) if first == "password" else (held, known)
    receipt = {RECEIPT: (await anyone.post(TOKENS, json=start)).headers[RECEIPT]}
    assert asks(await anyone.post(TOKENS, json=known), BOTH, ["password"])
    reply = await anyone.post(TOKENS, json=rest, headers=receipt)
    assert (reply.status, sorted(reply.json()["token"]["methods"])) == (201, BOTH[0])


async def test_a_receipt_is_no_older_than_the_password(anyone, admin, ann, clock):
    factor = await equip(ann, clock, "totp")
    held = (await anyone.post(TOKENS, json=shown(ann, password="secret"))).headers[RECEIPT]
    clock.forward(1)
    change = {"user": {"password": "another"}}
    assert (await admin.patch(f"{V3}/users/{ann.user.id.hex}", json=change)).status == 200
    late = await anyone.post(TOKENS, json=shown(ann, code=factor.right), headers={RECEIPT: held})
    assert refused(late)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("rules", "enabled", "required"),
    [
        ([], True, BOTH),
        ([["password"], ["totp"]], True, BOTH),
        ([["password", "totp"]], True, BOTH),
        ([["password", "application_credential"]], True, [["application_credential", "password", "totp"]]),
        ([["password", "token"]], False, BOTH),
        ([["unheard-of"]], True, BOTH),
    ],
    ids=["none", "either", "the same", "more", "off", "of methods that are not served"],
)
async def test_a_users_own_rules_and_the_factor_hold_together(
    anyone, admin, ann, clock, kind, rules, enabled, required
):
    factor = await equip(ann, clock, kind)
    await set_rules(admin, ann.user.id.hex, rules, enabled)
    assert asks(await anyone.post(TOKENS, json=shown(ann, password="secret")), required, ["password"])
    reply = await anyone.post(TOKENS, json=shown(ann, password="secret", code=factor.right))
    assert reply.status == 201 if required == BOTH else asks(reply, required, ["password", "totp"])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_code_of_keystones_credential_does_as_well(anyone, admin, ann, clock, kind):
    await equip(ann, clock, kind)
    await keep_code(admin, ann)
    code = code_at(clock.cloud.now())
    assert (await anyone.post(TOKENS, json=shown(ann, password="secret", code=code))).status == 201
    assert refused(await anyone.post(TOKENS, json=shown(ann, password="secret", code=code)))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_factor_that_was_never_shown_right_guards_nothing_and_opens_nothing(anyone, ann, clock, kind):
    browser = Visitor(ann.app)
    await browser.login("ann", "secret")
    secret = (await browser.call(SETUP, enable="true", provider=kind))["setup2fa"]["secretcode"]
    code = Factor(kind, secret, clock, browser).right
    assert refused(await anyone.post(TOKENS, json=shown(ann, password="secret", code=code)))
    assert (await anyone.post(TOKENS, json=shown(ann, password="secret"))).status == 201


@pytest.mark.parametrize("kind", KINDS)
async def test_where_factors_are_switched_off_the_password_alone_logs_in(anyone, ann, clock, cloud, kind):
    factor = await equip(ann, clock, kind)
    cloud.config = msgspec.structs.replace(cloud.config, second_factor=False)
    assert refused(await anyone.post(TOKENS, json=shown(ann, password="secret", code=factor.right)))
    assert (await anyone.post(TOKENS, json=shown(ann, password="secret"))).status == 201


async def test_who_drops_the_factor_logs_in_by_password_again(anyone, ann, clock):
    factor = await equip(ann, clock, "totp")
    await factor.session.call(SETUP, enable="false")
    assert (await anyone.post(TOKENS, json=shown(ann, password="secret"))).status == 201


# --- sessions of who has no factor but a credential that gives codes


async def session_with(ann: Person) -> Visitor:
    browser = Visitor(ann.app)
    await browser.login("ann", "secret")
    return browser


@pytest.mark.parametrize("why", ["demanded", "ruled"])
async def test_the_password_alone_sets_up_no_factor_beside_a_credential(anyone, admin, ann, clock, why):
    """Else it would open everything, by the factor that whoever has the password chose."""
    await keep_code(admin, ann)
    if why == "ruled":
        await set_rules(admin, ann.user.id.hex, BOTH)
    else:
        clock.cloud.config = msgspec.structs.replace(clock.cloud.config, second_factor_mandatory=True)
    browser = await session_with(ann)
    assert (await browser.ask(SETUP, enable="true")).status == 531
    assert (await browser.ask("listZones")).status == 511
    browser = await session_with(ann)
    assert (await browser.ask(VALIDATE, codefor2fa="000000")).status == 511
    assert (await browser.ask(SETUP, enable="true")).status == 401, "the session has ended"
    browser = await session_with(ann)
    await browser.call(VALIDATE, codefor2fa=code_at(clock.cloud.now()))
    await browser.call("listZones")
    secret = (await browser.call(SETUP, enable="true"))["setup2fa"]["secretcode"]
    await browser.call(VALIDATE, codefor2fa=clock.code(secret))
    clock.forward(60)
    reply = await anyone.post(TOKENS, json=shown(ann, password="secret", code=clock.code(secret)))
    assert reply.status == 201


async def test_rules_that_no_session_can_follow_let_none_do_anything(admin, ann, clock):
    await set_rules(admin, ann.user.id.hex, BOTH)
    browser = await session_with(ann)
    assert (await browser.ask(SETUP, enable="true")).status == 531
    assert (await browser.ask(VALIDATE, codefor2fa="000000")).status == 431
    assert (await browser.ask("listZones")).status == 511
    await set_rules(admin, ann.user.id.hex, [["password"], ["totp"]])
    await (await session_with(ann)).call("listZones")


async def test_a_factor_guards_until_it_is_taken_away(anyone, ann, clock):
    factor = await equip(ann, clock, "totp")
    assert (await factor.session.ask(SETUP, enable="true")).status == 431
    await session_with(ann)
    assert asks(await anyone.post(TOKENS, json=shown(ann, password="secret")), BOTH, ["password"])


# --- codes are good once, and guesses wait


async def test_a_code_that_one_api_took_is_no_good_in_the_other(anyone, ann, clock):
    factor = await equip(ann, clock, "totp")
    browser = Visitor(ann.app)
    await browser.login("ann", "secret")
    await browser.call(VALIDATE, codefor2fa=factor.right)
    assert refused(await anyone.post(TOKENS, json=shown(ann, password="secret", code=factor.right)))
    clock.forward(60)
    reply = await anyone.post(TOKENS, json=shown(ann, password="secret", code=factor.right))
    assert reply.status == 201
    await browser.login("ann", "secret")
    assert (await browser.ask(VALIDATE, codefor2fa=factor.right)).status == 511


@pytest.mark.parametrize("first", ["keystone", "cloudstack"])
async def test_one_key_in_two_places_gives_one_code(anyone, admin, ann, clock, first):
    factor = await equip(ann, clock, "totp")
    await keep_code(admin, ann, blob=factor.secret)
    if first == "keystone":
        body = shown(ann, password="secret", code=factor.right)
        assert (await anyone.post(TOKENS, json=body)).status == 201
    else:
        browser = Visitor(ann.app)
        await browser.login("ann", "secret")
        await browser.call(VALIDATE, codefor2fa=factor.right)
    assert refused(await anyone.post(TOKENS, json=shown(ann, password="secret", code=factor.right)))


async def test_one_key_in_two_of_keystones_credentials_gives_one_code(anyone, admin, ann, cloud):
    for _ in range(2):
        await keep_code(admin, ann)
    body = shown(ann, code=code_at(cloud.now()))
    assert (await anyone.post(TOKENS, json=body)).status == 201
    assert refused(await anyone.post(TOKENS, json=body))


async def test_a_wrong_password_uses_no_code_up(anyone, ann, clock):
    factor = await equip(ann, clock, "totp")
    assert refused(await anyone.post(TOKENS, json=shown(ann, password="wrong", code=factor.right)))
    body = shown(ann, password="secret", code=factor.right)
    assert (await anyone.post(TOKENS, json=body)).status == 201


@pytest.mark.parametrize("kind", KINDS)
async def test_guesses_wait_in_both_apis_and_are_logged(anyone, ann, clock, kind):
    factor = await equip(ann, clock, kind)
    with capture_logs() as logs:
        for _ in range(4):
            assert refused(await anyone.post(TOKENS, json=shown(ann, password="secret", code="no")))
    told = [each for each in logs if each["event"] == "login refused"]
    assert {each["user"] for each in told} == {ann.user.id.hex}
    assert [each["reason"] for each in told] == ["wrong one-time code or pin"] * 4
    body = shown(ann, password="secret", code=factor.right)
    assert refused(await anyone.post(TOKENS, json=body)), "it must wait"
    browser = Visitor(ann.app)
    await browser.login("ann", "secret")
    assert (await browser.ask(VALIDATE, codefor2fa=factor.right)).status == 511
    clock.forward(60)
    body = shown(ann, password="secret", code=factor.right)
    assert (await anyone.post(TOKENS, json=body)).status == 201


# --- demanded, and not set up


async def demand(cloud: Cloud, admin: Person, user: Person, whose: str) -> None:
    if whose == "everybody's":
        cloud.config = msgspec.structs.replace(cloud.config, second_factor_mandatory=True)
    else:
        keys = await stack(admin.app, cloud, "admin")
        await keys.call("updateUser", id=str(user.user.id), mandate2fa=True)


@pytest.mark.parametrize("whose", ["everybody's", "one user's"])
@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_demanded_is_set_up_first(anyone, admin, ann, clock, cloud, whose, kind):
    await demand(cloud, admin, ann, whose)
    with capture_logs() as logs:
        reply = await anyone.post(TOKENS, json=shown(ann, password="secret"))
    assert (reply.status, RECEIPT in reply.headers) == (401, False)
    fault = reply.json()["error"]
    assert (fault["code"], fault["title"]) == (401, "Unauthorized")
    assert "setupUserTwoFactorAuthentication" in fault["message"]
    (told,) = [each for each in logs if each["event"] == "login refused"]
    assert "none is set up" in told["reason"]
    assert refused(await anyone.post(TOKENS, json=shown(ann, password="wrong")))
    factor = await equip(ann, clock, kind)
    reply = await anyone.post(TOKENS, json=shown(ann, password="secret", code=factor.right))
    assert reply.status == 201


@pytest.mark.parametrize("whose", ["everybody's", "one user's"])
async def test_a_code_of_keystones_credential_serves_where_a_factor_is_demanded(
    anyone, admin, ann, clock, cloud, whose
):
    await keep_code(admin, ann)
    await demand(cloud, admin, ann, whose)
    assert asks(await anyone.post(TOKENS, json=shown(ann, password="secret")), BOTH, ["password"])
    code = code_at(cloud.now())
    assert (await anyone.post(TOKENS, json=shown(ann, password="secret", code=code))).status == 201


async def test_the_operator_is_told_why_in_explain_access(admin, ann, clock, cloud):
    async def notes() -> str:
        found = await explaining.find(cloud, system(), "ann", "", reading=False)
        return " ".join(found.notes)

    assert await notes() == ""
    await demand(cloud, admin, ann, "one user's")
    assert "setupUserTwoFactorAuthentication" in await notes()
    await equip(ann, clock, "staticpin")
    assert "(staticpin)" in await notes()


# --- what goes on without


async def by_a_program(anyone: Client, ann: Person, cloud: Cloud) -> Any:
    path = f"{V3}/users/{ann.user.id.hex}/application_credentials"
    made = (await ann.post(path, json={"application_credential": {"name": "robot"}})).json()
    held = made["application_credential"]
    return lambda: anyone.post(TOKENS, json=by_application(held["id"], held["secret"]))


async def by_a_signature(anyone: Client, ann: Person, cloud: Cloud) -> Any:
    """Of version 2, as a service shows it."""
    path = f"{V3}/users/{ann.user.id.hex}/credentials/OS-EC2"
    pair = (await ann.post(path, json={"tenant_id": ann.project.id.hex})).json()["credential"]
    params = {"SignatureVersion": "2", "SignatureMethod": "HmacSHA256", "AWSAccessKeyId": pair["access"]}
    signed = "GET\nec2.test\n/\n" + "&".join(f"{name}={params[name]}" for name in sorted(params))
    mac = hmac.digest(pair["secret"].encode(), signed.encode(), hashlib.sha256)
    sent = {"access": pair["access"], "signature": base64.b64encode(mac).decode(), "host": "ec2.test"}
    sent |= {"verb": "GET", "path": "/", "params": params}
    service = await person(anyone.app, cloud, "admin")
    return lambda: service.post(f"{V3}/ec2tokens", json={"credentials": sent})


async def by_another_token(anyone: Client, ann: Person, cloud: Cloud) -> Any:
    return lambda: anyone.post(TOKENS, json=by_token(ann.token))


async def by_keys(anyone: Client, ann: Person, cloud: Cloud) -> Any:
    keys = await stack(anyone.app, cloud, "ann")
    return lambda: keys.ask("listZones")


async def by_a_providers_word(anyone: Client, ann: Person, cloud: Cloud) -> Any:
    """As a federated login ends."""

    async def come() -> Reply:
        vouched = core.Vouched(user=ann.user, methods=("mapped",))
        issued = await core.authenticate(cloud, [vouched])
        return await Client(anyone.app, {"x-auth-token": issued.text}).get(f"{V3}/auth/projects")

    return come


@pytest.mark.parametrize(
    "how", [by_a_program, by_a_signature, by_another_token, by_keys, by_a_providers_word]
)
@pytest.mark.parametrize("standing", ["ready", "demanded"])
async def test_secrets_of_programs_tokens_and_providers_need_no_factor(
    anyone, admin, ann, clock, cloud, how, standing
):
    come = await how(anyone, ann, cloud)
    if standing == "ready":
        await equip(ann, clock, "totp")
    else:
        await demand(cloud, admin, ann, "one user's")
    reply = await come()
    assert reply.status in (200, 201), reply.text


async def test_a_trustee_logs_in_with_its_factor_and_acts_by_the_trust(anyone, admin, member, ann, clock):
    (role,) = (await admin.get(f"{V3}/roles?name=member")).json()["roles"]
    wanted = {
        "trustor_user_id": member.user.id.hex,
        "trustee_user_id": ann.user.id.hex,
        "impersonation": True,
    }
    wanted |= {"project_id": member.project.id.hex, "roles": [{"id": role["id"]}]}
    made = await member.post(f"{V3}/OS-TRUST/trusts", json={"trust": wanted})
    scope = {"OS-TRUST:trust": {"id": made.json()["trust"]["id"]}}
    factor = await equip(ann, clock, "totp")
    assert asks(
        await anyone.post(TOKENS, json=shown(ann, password="secret", scope=scope)), BOTH, ["password"]
    )
    reply = await anyone.post(TOKENS, json=shown(ann, password="secret", code=factor.right, scope=scope))
    assert (reply.status, reply.json()["token"]["user"]["id"]) == (201, member.user.id.hex)


async def test_a_programs_receipt_does_not_stand_for_a_factor(anyone, admin, ann, clock, cloud):
    program = await by_a_program(anyone, ann, cloud)
    await equip(ann, clock, "totp")
    await set_rules(admin, ann.user.id.hex, [["password", "application_credential"]])
    receipt = {RECEIPT: (await program()).headers[RECEIPT]}
    reply = await anyone.post(TOKENS, json=shown(ann, password="secret"), headers=receipt)
    required = [["application_credential", "password", "totp"]]
    assert asks(reply, required, ["password", "application_credential"])


# --- a session of CloudStack's interface is no token


@pytest.mark.parametrize("standing", ["none", "unshown", "shown"])
async def test_a_session_opens_nothing_in_keystone(anyone, admin, ann, clock, standing):
    browser = Visitor(ann.app) if standing == "none" else (await equip(ann, clock, "totp")).session
    if standing != "shown":
        await browser.login("ann", "secret")
    text = browser.jar["JSESSIONID"]
    await browser.call("listUserTwoFactorAuthenticatorProviders")
    secret = {"type": "totp", "blob": SECRET, "user_id": ann.user.id.hex}
    as_token = Client(anyone.app, {"x-auth-token": text})
    assert refused(await as_token.post(f"{V3}/credentials", json={"credential": secret}))
    assert refused(await as_token.get(f"{V3}/auth/projects"))
    assert (await anyone.post(TOKENS, json=by_token(text))).status == 404
    assert (await admin.get(TOKENS, headers={"x-subject-token": text})).status == 404


async def test_a_token_of_keystone_is_no_session(anyone, ann, cloud):
    reply = await anyone.post(TOKENS, json=shown(ann, password="secret", scope="unscoped"))
    browser = Visitor(ann.app)
    browser.jar["JSESSIONID"] = reply.headers["x-subject-token"]
    browser.key = session_key(tokens.of(cloud).open(browser.jar["JSESSIONID"]))
    assert (await browser.ask("listZones")).status == 401


# --- the operator's command


async def administrators(cloud: Cloud) -> list[ApplicationCredential]:
    async with cloud.view() as look:
        user = await look.one(User, name="admin")
        assert user is not None
        return await look.list(ApplicationCredential, user=user.id)


async def test_the_operators_command_is_not_locked_out_when_everybody_must_have_a_factor(anyone, cloud):
    cloud.config = msgspec.structs.replace(cloud.config, second_factor_mandatory=True)
    known = bootstrap.kept(cloud.config.state)
    body = by_application(known["admin_command_id"], known["admin_command_secret"])
    reply = await anyone.post(TOKENS, json=body)
    token = reply.json()["token"]
    assert (reply.status, token["project"]["name"]) == (201, "admin")
    assert {"admin", "member", "reader"} <= {role["name"] for role in token["roles"]}
    name = {"name": "admin", "domain": {"id": "default"}}
    assert (await anyone.post(TOKENS, json=by_password(name, known["admin_password"]))).status == 401


async def test_a_cloud_of_a_former_version_gets_what_the_command_logs_in_with_once(anyone, cloud):
    known = bootstrap.kept(cloud.config.state)
    former = {name: value for name, value in known.items() if "_command_" not in name}
    (held,) = await administrators(cloud)
    async with cloud.transaction(Caller(user=held.user)) as tx:
        await tx.remove(held)
    bootstrap.keep(former, cloud.config.state)
    for _ in range(2):
        assert not await bootstrap.bootstrap(cloud)
    (held,) = await administrators(cloud)
    now = bootstrap.kept(cloud.config.state)
    assert (now["admin_command_id"], now.items() >= former.items()) == (held.id.hex, True)
    assert (cloud.config.state / "credentials").stat().st_mode & 0o777 == 0o600
    body = by_application(now["admin_command_id"], now["admin_command_secret"])
    assert (await anyone.post(TOKENS, json=body)).status == 201
    (cloud.config.state / "credentials").unlink()
    await bootstrap.bootstrap(cloud)
    assert len(await administrators(cloud)) == 1
    assert not bootstrap.kept(cloud.config.state), "what was taken away stays away"


async def test_a_first_start_that_is_killed_leaves_a_command_that_can_log_in(anyone, cloud, monkeypatch):
    known = bootstrap.kept(cloud.config.state)
    bootstrap.keep({n: v for n, v in known.items() if "_command_" not in n}, cloud.config.state)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(cloud, "transaction", killed)
        with pytest.raises(KeyboardInterrupt):
            await bootstrap._equip_command(cloud)
    await bootstrap._equip_command(cloud)
    now = bootstrap.kept(cloud.config.state)
    body = by_application(now["admin_command_id"], now["admin_command_secret"])
    assert (await anyone.post(TOKENS, json=body)).status == 201


assert second_factor.PROVIDERS == KINDS, "each kind is tried above"
