"""Logging in to CloudStack's API by an OAuth2 provider's code, and by SAML."""

from urllib.parse import urlencode

import pytest
import structlog

from pileus.core.caller import system
from pileus.core.identity import users
from pileus.core.identity.federation import providers
from pileus.core.identity.federation.providers import CreateProvider, SamlSettings
from pileus.drivers.federation.fake import FakeOpenId
from pileus.drivers.federation.protocol import Claims
from pileus.drivers.federation.saml import SamlMessages
from tests.asgi import Client
from tests.contract.assertions import (
    ENTITY,
    asked,
    encrypted,
    form,
    metadata,
    recipient,
    respond,
    unreadable,
)
from tests.contract.cloudstack.conftest import ENDPOINT
from tests.contract.cloudstack.visitors import Visitor

KEYCLOAK = {
    "provider": "keycloak",
    "description": "Ours",
    "clientid": "cloud",
    "secretkey": "shh",
    "redirecturi": "https://cloud.example/client/#/verifyOauth",
    "details[0].tokenurl": "https://kc.example/realms/x/protocol/openid-connect/token",
}
EMAIL = "somebody@example.org"


@pytest.fixture
def openid(site):
    site._openid = FakeOpenId()
    return site._openid


@pytest.fixture
def anyone(kernel):
    return Client(kernel)


@pytest.fixture
def visitor(kernel):
    """With cookies."""
    return Visitor(kernel)


def says(email, **more):
    return Claims(issuer="https://kc.example/realms/x", subject="1", values={"email": (email,), **more})


@pytest.fixture
async def addressed(cloud, member):
    """The member, with an address of its own."""
    await users.update(cloud, system(), member.user.id, users.UpdateUser(email=EMAIL))
    return member


async def post(anyone, command, headers=None, **sent):
    body = urlencode({"command": command, "response": "json", **sent}).encode()
    kind = {"content-type": "application/x-www-form-urlencoded", **(headers or {})}
    return await anyone.request("POST", ENDPOINT, data=body, headers=kind)


async def test_oauth_providers_are_registered_changed_and_removed(admin, anyone):
    assert await admin.call("listOauthProvider") == {}
    assert (await admin.call("registerOauthProvider", **KEYCLOAK))["success"]
    await admin.refused("registerOauthProvider", 431, **KEYCLOAK)
    unknown = {**KEYCLOAK, "provider": "other", "details[0].tokenurl": "x"}
    await admin.refused("registerOauthProvider", 431, **unknown)
    (shown,) = (await admin.call("listOauthProvider"))["oauthprovider"]
    assert (shown["provider"], shown["clientid"], shown["enabled"]) == ("keycloak", "cloud", True)
    assert "shh" not in (await anyone.get(f"{ENDPOINT}?command=listOauthProvider&response=json")).text
    changed = await admin.call("updateOauthProvider", id=shown["id"], enabled="false", clientid="new")
    assert (changed["oauthprovider"]["enabled"], changed["oauthprovider"]["clientid"]) == (False, "new")
    assert (await admin.call("deleteOauthProvider", id=shown["id"]))["success"]
    assert await admin.call("listOauthProvider", provider="keycloak") == {}


async def test_a_code_logs_its_user_in_once(admin, addressed, openid, anyone, visitor):
    await admin.call("registerOauthProvider", **KEYCLOAK)
    openid.codes["code"] = says(EMAIL, email_verified=("true",))
    asked_for = (
        f"{ENDPOINT}?command=verifyOAuthCodeAndGetUser&provider=keycloak&secretcode=code&response=json"
    )
    told = await anyone.get(asked_for)
    assert told.json() == {"verifyoauthcodeandgetuserresponse": {"oauthemail": {"email": EMAIL}}}
    sent = {"provider": "keycloak", "email": EMAIL, "secretcode": "code"}
    reply = await visitor.post_form(command="oauthlogin", **sent)
    assert reply.status == 200, reply.text
    said = reply.json()["oauthloginresponse"]
    assert said["username"] == addressed.user.name
    visitor.key = said["sessionkey"]
    assert (await visitor.ask("listUsers")).status == 200
    assert (await post(anyone, "oauthlogin", **sent)).status == 531
    assert (await anyone.get(asked_for)).status == 531


@pytest.mark.parametrize(
    ("claims", "sent"),
    [
        (says(EMAIL, email_verified=("true",)), {"email": "other@example.org"}),
        (says(EMAIL, email_verified=("true",)), {"provider": "google"}),
        (says(EMAIL, email_verified=("true",)), {"secretcode": "wrong"}),
        (says("nobody@example.org", email_verified=("true",)), {"email": "nobody@example.org"}),
        (says(EMAIL, email_verified=("false",)), {}),
        (says(EMAIL), {}),
    ],
    ids=[
        "another address",
        "another provider",
        "another code",
        "an unknown address",
        "an unverified address",
        "an address of which that is not said",
    ],
)
async def test_what_the_provider_does_not_say_logs_nobody_in(admin, addressed, openid, anyone, claims, sent):
    await admin.call("registerOauthProvider", **KEYCLOAK)
    openid.codes["code"] = claims
    whole = {"provider": "keycloak", "email": EMAIL, "secretcode": "code", **sent}
    assert (await post(anyone, "oauthlogin", **whole)).status == 531


@pytest.fixture
async def idp(cloud, site):
    """A SAML identity provider that is set up."""
    site._saml = SamlMessages()
    await providers.create(cloud, system(), CreateProvider(id="saml", enabled=True))
    await providers.connect(cloud, system(), "saml", SamlSettings(metadata=metadata()))


async def sent_away(visitor):
    """What the provider is asked; the visitor keeps the cookie."""
    left = await visitor.get(f"{ENDPOINT}?command=samlSso&idpid={ENTITY}", headers=visitor._cookies())
    assert left.status == 302, left.text
    return asked(left.headers["location"])


async def back(who, to, response, cookies=None):
    body = urlencode({"SAMLResponse": form(response), "RelayState": to["state"]}).encode()
    kind = {"content-type": "application/x-www-form-urlencoded", **(cookies or {})}
    return await who.request("POST", f"{ENDPOINT}?command=samlSso", data=body, headers=kind)


async def test_an_authorized_user_comes_in_by_saml_and_goes_out_again(
    admin, member, idp, anyone, visitor, cloud
):
    listed = (await anyone.get(f"{ENDPOINT}?command=listIdps&response=json")).json()["listidpsresponse"]
    assert [each["id"] for each in listed["idp"]] == [ENTITY]
    assert "SPSSODescriptor" in (await anyone.get(f"{ENDPOINT}?command=getSPMetadata")).text
    name, now, user = member.user.name, cloud.now(), str(member.user.id)
    to = await sent_away(visitor)
    assert (await back(visitor, to, respond(to, name, now=now), visitor._cookies())).status == 531

    given = {"userid": user, "enable": "true"}
    await admin.refused("authorizeSamlSso", 431, **given, entityid="https://nobody.example")
    assert (await admin.call("authorizeSamlSso", **given, entityid=ENTITY))["success"]
    (held,) = (await admin.call("listSamlAuthorization", userid=user))["samlauthorization"]
    assert (held["status"], held["idpid"]) == (True, ENTITY)

    to = await sent_away(visitor)
    response, begun = respond(to, name, now=now), visitor._cookies()
    assert (await back(anyone, to, response)).status == 531
    arrived = await back(visitor, to, response, begun)
    assert arrived.status == 302, arrived.text
    assert arrived.headers["location"].endswith("/client/")
    assert visitor.jar["username"] == name
    assert (await back(anyone, to, response, begun)).status == 531

    visitor.key = visitor.jar["sessionkey"]
    (account,) = (await visitor.call("listAndSwitchSamlAccount"))["samluseraccount"]
    assert account["userName"] == name
    told = visitor.jar["pileus_saml"]
    for other in ("", "anything", begun["cookie"].partition("pileus_federation=")[2].partition(";")[0]):
        visitor.jar["pileus_saml"] = other
        assert (await visitor.ask("listAndSwitchSamlAccount")).status == 531
    visitor.jar["pileus_saml"] = told
    switched = await visitor.call(
        "listAndSwitchSamlAccount", userid=account["userId"], domainid=account["domainId"]
    )
    visitor.key = switched["sessionkey"]
    out = await visitor.ask("samlSlo")
    assert out.status == 302
    assert out.headers["location"].startswith(f"{ENTITY}/slo?SAMLRequest=")
    assert (await visitor.ask("listUsers")).status == 401

    assert (await admin.call("authorizeSamlSso", userid=user, enable="false"))["success"]
    to = await sent_away(visitor)
    assert (await back(visitor, to, respond(to, name, now=now), visitor._cookies())).status == 531


async def test_an_encrypted_assertion_lets_in_and_a_bad_one_is_told_no_cause(
    admin, member, idp, anyone, visitor, cloud
):
    given = {"userid": str(member.user.id), "enable": "true", "entityid": ENTITY}
    await admin.call("authorizeSamlSso", **given)
    ours = recipient((await anyone.get(f"{ENDPOINT}?command=getSPMetadata")).text)
    to = await sent_away(visitor)
    response, begun = respond(to, member.user.name, now=cloud.now()), visitor._cookies()
    with structlog.testing.capture_logs() as logged:
        bad = [await back(anyone, to, message, begun) for message in unreadable(response, ours)]
    assert {(reply.status, reply.text) for reply in bad} == {(531, bad[0].text)}
    assert len({each["private"] for each in logged if each.get("private")}) > 3
    assert (await back(visitor, to, encrypted(response, ours), begun)).status == 302
    assert (await back(anyone, to, encrypted(response, ours), begun)).status == 531


async def test_of_several_providers_in_one_document_the_one_that_was_asked_must_answer(
    admin, member, idp, visitor, cloud
):
    second = "https://second.example"
    both = f"{metadata()}{metadata().replace(ENTITY, second)}"
    several = f'<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata">{both}</md:EntitiesDescriptor>'
    await providers.connect(cloud, system(), "saml", SamlSettings(metadata=several))
    given = {"userid": str(member.user.id), "enable": "true"}
    await admin.call("authorizeSamlSso", **given, entityid=second)
    left = await visitor.get(f"{ENDPOINT}?command=samlSso&idpid={second}", headers=visitor._cookies())
    assert left.headers["location"].startswith(f"{second}/sso")
    to, begun = asked(left.headers["location"]), visitor._cookies()
    assert (await back(visitor, to, respond(to, member.user.name, now=cloud.now()), begun)).status == 531
    said = respond(to, member.user.name, now=cloud.now(), issuer=second)
    assert (await back(visitor, to, said, begun)).status == 302


async def test_an_unknown_provider_is_refused(idp, anyone):
    assert (await anyone.get(f"{ENDPOINT}?command=samlSso&idpid=https://nobody.example")).status == 431


async def test_a_name_of_the_assertion_stands_before_its_subject(admin, member, idp, visitor, cloud):
    given = {"userid": str(member.user.id), "enable": "true", "entityid": ENTITY}
    await admin.call("authorizeSamlSso", **given)
    to = await sent_away(visitor)
    said = respond(to, "opaque-1234", now=cloud.now(), attributes={"uid": member.user.name})
    assert (await back(visitor, to, said, visitor._cookies())).status == 302
