"""Second factors: a session that has not shown it may do nothing but show it."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from pileus.core.cloud import Cloud
from pileus.core.identity.authentication import codes
from pileus.core.identity.tenancy.tenancy_records import SecondFactor
from tests.contract.cloudstack.conftest import Stack
from tests.contract.cloudstack.visitors import Visitor, client, made

SETUP, VALIDATE = "setupUserTwoFactorAuthentication", "validateUserTwoFactorAuthenticationCode"


class Clock:
    def __init__(self, cloud: Cloud) -> None:
        self._began, self._ahead = cloud.now, timedelta()
        cloud.now = lambda: self._began() + self._ahead  # type: ignore[method-assign]
        self.cloud = cloud

    def forward(self, seconds: int) -> None:
        self._ahead += timedelta(seconds=seconds)

    def code(self, secret: str) -> str:
        key = codes.secret_of(secret)
        assert key is not None
        return codes.code(key, codes.step_at(self.cloud.now()))


@pytest.fixture
def clock(cloud: Cloud) -> Clock:
    return Clock(cloud)


@pytest.fixture
async def ann(admin: Stack) -> dict[str, Any]:
    return await made(admin, "ann")


async def equipped(kernel: Any, clock: Clock, **how: str) -> tuple[Visitor, str]:
    """A session of `ann` in which a factor was set up and shown, and its secret."""
    browser = Visitor(kernel)
    await browser.login("ann", "secret")
    setup = (await browser.call(SETUP, enable="true", **how))["setup2fa"]
    secret = setup["secretcode"]
    right = secret if how.get("provider") == "staticpin" else clock.code(secret)
    assert await browser.call(VALIDATE, codefor2fa=right) == {"success": True}
    clock.forward(60)
    return browser, secret


async def test_the_providers_are_named(admin: Stack) -> None:
    every = await admin.call("listUserTwoFactorAuthenticatorProviders")
    assert [each["name"] for each in every["providers"]] == ["staticpin", "totp"]
    one = await admin.call("listUserTwoFactorAuthenticatorProviders", name="totp")
    assert one["count"] == 1


@pytest.mark.parametrize("provider", ["totp", "staticpin", ""])
async def test_a_session_does_nothing_before_the_factor_is_shown(
    admin: Stack, ann: dict[str, Any], kernel: Any, clock: Clock, provider: str
) -> None:
    first, secret = await equipped(kernel, clock, provider=provider)
    await first.call("listZones")
    pin = provider == "staticpin"
    browser = Visitor(kernel)
    shown = await browser.login("ann", "secret")
    assert (shown["is2faenabled"], shown["is2faverified"]) == ("true", "false")
    assert (shown["providerfor2fa"], shown["issuerfor2fa"]) == (provider or "totp", "Pileus")
    (user,) = (await admin.call("listUsers", id=ann["user"][0]["id"]))["user"]
    assert (user["is2faenabled"], user["is2famandated"]) == (True, False)
    await browser.call("listApis", name="listZones")
    refused = await browser.ask(SETUP, enable="true")
    assert refused.status == 531, "who has only the password does not get another factor"
    refused = await browser.ask(SETUP, enable="false")
    assert refused.status == 531
    key = browser.key
    await browser.call(VALIDATE, codefor2fa=secret if pin else clock.code(secret))
    assert browser.key == key
    await browser.call("listZones")
    reply = await browser.ask("logout")
    assert reply.status == 200
    assert (await browser.ask("listZones")).status == 401


async def test_an_early_call_ends_the_session(ann: dict[str, Any], kernel: Any, clock: Clock) -> None:
    _, secret = await equipped(kernel, clock)
    browser = Visitor(kernel)
    await browser.login("ann", "secret")
    early = await browser.ask("listZones")
    assert (early.status, early.json()["listzonesresponse"]["cserrorcode"]) == (511, 4295)
    assert (await browser.ask(VALIDATE, codefor2fa=clock.code(secret))).status == 401


async def test_a_wrong_code_ends_the_session_and_a_right_one_is_taken_once(
    ann: dict[str, Any], kernel: Any, clock: Clock
) -> None:
    _, secret = await equipped(kernel, clock)
    browser = Visitor(kernel)
    await browser.login("ann", "secret")
    assert (await browser.ask(VALIDATE, codefor2fa="000000")).status == 511
    assert (await browser.ask(VALIDATE, codefor2fa=clock.code(secret))).status == 401
    first, second = Visitor(kernel), Visitor(kernel)
    await first.login("ann", "secret")
    await second.login("ann", "secret")
    code = clock.code(secret)
    await first.call(VALIDATE, codefor2fa=code)
    assert (await second.ask(VALIDATE, codefor2fa=code)).status == 511


async def test_wrong_codes_have_to_wait(ann: dict[str, Any], kernel: Any, clock: Clock) -> None:
    _, secret = await equipped(kernel, clock)
    for _ in range(6):
        browser = Visitor(kernel)
        await browser.login("ann", "secret")
        assert (await browser.ask(VALIDATE, codefor2fa="000000")).status == 511
    browser = Visitor(kernel)
    await browser.login("ann", "secret")
    assert (await browser.ask(VALIDATE, codefor2fa=clock.code(secret))).status == 511
    clock.forward(60)
    browser = Visitor(kernel)
    await browser.login("ann", "secret")
    await browser.call(VALIDATE, codefor2fa=clock.code(secret))


async def test_a_setup_that_fails_or_is_left_is_forgotten(
    ann: dict[str, Any], kernel: Any, clock: Clock, cloud: Cloud
) -> None:
    browser = Visitor(kernel)
    await browser.login("ann", "secret")
    await browser.call(SETUP, enable="true")
    assert (await browser.ask(VALIDATE, codefor2fa="000000")).status == 511
    await browser.call("listZones")
    assert (await browser.ask(VALIDATE, codefor2fa="000000")).status == 431
    await browser.call(SETUP, enable="true")
    await Visitor(kernel).login("ann", "secret")
    async with cloud.view() as look:
        assert not await look.count(SecondFactor)
    assert (await browser.ask(SETUP, enable="true", provider="telepathy")).status == 431


async def test_a_factor_is_dropped_by_its_user_or_by_an_administrator(
    admin: Stack, ann: dict[str, Any], kernel: Any, clock: Clock
) -> None:
    browser, _ = await equipped(kernel, clock)
    dropped = (await browser.call(SETUP, enable="false"))["setup2fa"]
    assert (dropped["username"], "secretcode" in dropped) == ("ann", False)
    assert (await Visitor(kernel).login("ann", "secret"))["is2faenabled"] == "false"
    await equipped(kernel, clock)
    key = ann["user"][0]["id"]
    await (await client(admin, await made(admin, "bob"))).refused(SETUP, 431, enable=False, userid=key)
    await admin.call(SETUP, enable=False, userid=key)
    assert (await Visitor(kernel).login("ann", "secret"))["is2faenabled"] == "false"


@pytest.mark.parametrize("everybody", [False, True])
async def test_who_must_have_one_sets_it_up_first(
    admin: Stack, ann: dict[str, Any], kernel: Any, clock: Clock, cloud: Cloud, everybody: bool
) -> None:
    key = ann["user"][0]["id"]
    if everybody:
        cloud.config = msgspec.structs.replace(cloud.config, second_factor_mandatory=True)
    else:
        await admin.call("updateUser", id=key, mandate2fa=True)
    (user,) = (await admin.call("listUsers", id=key))["user"]
    assert (user["is2faenabled"], user["is2famandated"]) == (True, everybody)
    browser = Visitor(kernel)
    assert (await browser.login("ann", "secret"))["is2faverified"] == "false"
    refused = await browser.ask("listZones")
    assert (refused.status, "mandated by admin" in refused.text) == (511, True)
    browser, _ = await equipped(kernel, clock)
    await browser.call("listZones")
    await browser.call(SETUP, enable="false")
    assert (await Visitor(kernel).login("ann", "secret"))["is2faenabled"] == "true"


async def test_where_there_are_none_nothing_is_set_up(ann: dict[str, Any], kernel: Any, cloud: Cloud) -> None:
    cloud.config = msgspec.structs.replace(cloud.config, second_factor=False)
    browser = Visitor(kernel)
    await browser.login("ann", "secret")
    assert (await browser.ask(SETUP, enable="true")).status == 431


async def test_requests_signed_with_keys_need_no_second_factor(
    admin: Stack, ann: dict[str, Any], kernel: Any, clock: Clock
) -> None:
    await equipped(kernel, clock)
    keys = await client(admin, ann)
    await keys.call("listZones")


async def test_the_secret_is_encrypted_and_in_no_event(
    ann: dict[str, Any], kernel: Any, clock: Clock, cloud: Cloud
) -> None:
    from pileus.core.events import Event

    _, secret = await equipped(kernel, clock)
    async with cloud.view() as look:
        (held,) = await look.list(SecondFactor)
        assert secret not in held.secret
        assert secret not in str(await look.list(Event))
