"""Conversations about federation, and logins by the word of others."""

import re
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
import pytest
import structlog

from pileus.core.caller import system
from pileus.core.identity.federation import providers
from pileus.core.identity.federation.providers import OpenIdSettings
from pileus.drivers.federation.fake import FakeOpenId
from pileus.drivers.federation.protocol import Claims
from pileus.drivers.federation.saml import SamlMessages
from pileus.workflows import federated_login
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

V3 = "/identity/v3"
F = f"{V3}/OS-FEDERATION"
ISSUER = "https://idp.example"
DASHBOARD = "https://dashboard.example/auth/websso/"
NAME = [
    {
        "local": [{"user": {"name": "{0}", "email": "{1}"}}],
        "remote": [{"type": "HTTP_OIDC_SUB"}, {"type": "email"}],
    }
]
ALICE = Claims(issuer=ISSUER, subject="alice", values={"email": ("a@example.org",), "groups": ("dev", "ops")})


@pytest.fixture
def config(config):
    return msgspec.structs.replace(config, trusted_dashboards=(DASHBOARD,))


@pytest.fixture
def openid(site):
    site._openid = FakeOpenId()
    site._openid.tokens["good"] = ALICE
    site._openid.codes["code"] = ALICE
    return site._openid


@pytest.fixture
def anyone(kernel):
    return Client(kernel)


async def ready(admin, cloud, rules=NAME, provider="idp", protocol="openid", version="1.0", **more):
    """A provider with a protocol, and the answer to its creation."""
    body = {"enabled": True, "remote_ids": [f"{ISSUER}"], **more}
    made = await admin.put(f"{F}/identity_providers/{provider}", json={"identity_provider": body})
    assert made.status == 201, made.text
    mapping = {"rules": rules, "schema_version": version}
    reply = await admin.put(f"{F}/mappings/rules", json={"mapping": mapping})
    assert reply.status == 201, reply.text
    path = f"{F}/identity_providers/{provider}/protocols/{protocol}"
    reply = await admin.put(path, json={"protocol": {"mapping_id": "rules"}})
    assert reply.status == 201, reply.text
    settings = OpenIdSettings(issuer=ISSUER, client="pileus", secret="shh")
    await providers.connect(cloud, system(), provider, settings)
    return made.json()["identity_provider"]


async def come(anyone, token="good", provider="idp", protocol="openid"):
    path = f"{F}/identity_providers/{provider}/protocols/{protocol}/auth"
    return await anyone.get(path, headers={"authorization": f"Bearer {token}"})


async def test_identity_providers_are_made_shown_changed_and_removed(admin):
    one = f"{F}/identity_providers/one"
    made = (await admin.put(one, json={"identity_provider": {}})).json()["identity_provider"]
    domain = made.pop("domain_id")
    links = made.pop("links")
    assert made == {
        "id": "one",
        "enabled": False,
        "description": None,
        "remote_ids": [],
        "authorization_ttl": None,
    }
    assert links["protocols"] == f"{links['self']}/protocols"
    shown = (await admin.get(f"{V3}/domains/{domain}")).json()["domain"]
    assert shown["name"] == domain
    assert shown["description"] == "Auto generated federated domain for Identity Provider: one"

    assert (await admin.put(one, json={"identity_provider": {}})).status == 409
    change = {"enabled": True, "remote_ids": ["r1", "r2"], "authorization_ttl": 5, "description": "d"}
    changed = (await admin.patch(one, json={"identity_provider": change})).json()["identity_provider"]
    assert {key: changed[key] for key in change} == change
    assert (await admin.get(one)).json()["identity_provider"] == changed
    two = {"remote_ids": ["r2"], "domain_id": "default"}
    reply = await admin.put(f"{F}/identity_providers/two", json={"identity_provider": two})
    assert reply.status == 409
    assert "r2 belongs to one" in reply.text
    two = {"description": None, "remote_ids": None, "domain_id": "default"}
    assert (await admin.put(f"{F}/identity_providers/two", json={"identity_provider": two})).status == 201

    async def listed(query=""):
        found = (await admin.get(f"{F}/identity_providers{query}")).json()["identity_providers"]
        return [each["id"] for each in found]

    assert await listed() == ["one", "two"]
    assert await listed("?enabled=true") == ["one"]
    assert await listed("?id=two") == ["two"]
    assert (await admin.delete(one)).status == 204
    assert (await admin.get(one)).status == 404
    assert (await admin.delete(one)).status == 404


@pytest.mark.parametrize(
    "body",
    [
        {"bogus": 1},
        {"authorization_ttl": -1},
        {"remote_ids": ["x" * 65]},
        {"remote_ids": ["x", "x"]},
        {"enabled": "yes"},
    ],
)
async def test_identity_providers_of_another_shape_are_refused(admin, body):
    reply = await admin.put(f"{F}/identity_providers/one", json={"identity_provider": body})
    assert reply.status == 400
    assert (await admin.get(f"{F}/identity_providers/one")).status == 404


async def test_a_providers_domain_must_exist_and_takes_it_along(admin):
    body = {"domain_id": "0" * 32}
    reply = await admin.put(f"{F}/identity_providers/one", json={"identity_provider": body})
    assert reply.status == 404
    made = (await admin.put(f"{F}/identity_providers/one", json={"identity_provider": {}})).json()
    domain = f"{V3}/domains/{made['identity_provider']['domain_id']}"
    assert (await admin.patch(domain, json={"domain": {"enabled": False}})).status == 200
    assert (await admin.delete(domain)).status == 204
    assert (await admin.get(f"{F}/identity_providers/one")).status == 404


async def test_protocols_tie_a_provider_to_a_mapping(admin, cloud):
    await ready(admin, cloud)
    path = f"{F}/identity_providers/idp/protocols"
    listed = (await admin.get(path)).json()["protocols"]
    assert [(p["id"], p["idp_id"], p["mapping_id"], p["remote_id_attribute"]) for p in listed] == [
        ("openid", "idp", "rules", None)
    ]
    shown = (await admin.get(f"{path}/openid")).json()["protocol"]
    assert set(shown) == {"id", "mapping_id", "links"}
    assert (await admin.put(f"{path}/openid", json={"protocol": {"mapping_id": "rules"}})).status == 409
    assert (await admin.put(f"{path}/saml2", json={"protocol": {"mapping_id": "none"}})).status == 400
    nowhere = f"{F}/identity_providers/none/protocols"
    assert (await admin.put(f"{nowhere}/x", json={"protocol": {"mapping_id": "rules"}})).status == 404
    assert (await admin.get(nowhere)).json()["protocols"] == []
    change = {"mapping_id": "rules", "remote_id_attribute": "HTTP_OIDC_ISS"}
    assert (await admin.patch(f"{path}/openid", json={"protocol": change})).status == 200
    assert (await admin.get(path)).json()["protocols"][0]["remote_id_attribute"] == "HTTP_OIDC_ISS"
    assert (await admin.delete(f"{path}/openid")).status == 204
    assert (await admin.get(f"{path}/openid")).status == 404


async def test_mappings_are_kept_as_they_were_sent(admin):
    path = f"{F}/mappings/one"
    made = (await admin.put(path, json={"mapping": {"rules": NAME}})).json()["mapping"]
    assert made.pop("links")["self"].endswith("/OS-FEDERATION/mappings/one")
    assert made == {"id": "one", "rules": NAME, "schema_version": "1.0"}
    assert (await admin.put(path, json={"mapping": {"rules": NAME}})).status == 409
    changed = await admin.patch(path, json={"mapping": {"rules": NAME, "schema_version": "2.0"}})
    assert changed.json()["mapping"]["schema_version"] == "2.0"
    assert (await admin.get(path)).json() == changed.json()
    assert [each["id"] for each in (await admin.get(f"{F}/mappings")).json()["mappings"]] == ["one"]
    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).status == 404


async def test_service_providers_are_named_in_tokens_while_they_are_enabled(admin, anyone):
    path = f"{F}/service_providers/sky"
    want = {"auth_url": "https://sky/v3/OS-FEDERATION/x/auth", "sp_url": "https://sky/ecp"}
    made = (await admin.put(path, json={"service_provider": want})).json()["service_provider"]
    assert made.pop("links")["self"].endswith(path.removeprefix("/identity"))
    rest = {"id": "sky", "enabled": False, "description": None, "relay_state_prefix": "ss:mem:"}
    assert made == want | rest
    assert (await admin.put(path, json={"service_provider": want})).status == 409
    bad = {"service_provider": want | {"sp_url": "nowhere"}}
    assert (await admin.put(f"{F}/service_providers/bad", json=bad)).status == 400

    async def in_token():
        held = {"x-subject-token": admin.token}
        return (await admin.get(f"{V3}/auth/tokens", headers=held)).json()["token"].get("service_providers")

    assert await in_token() is None
    assert (await admin.patch(path, json={"service_provider": {"enabled": True}})).status == 200
    assert await in_token() == [{"id": "sky", **want}]
    listed = (await admin.get(f"{F}/service_providers?enabled=true")).json()["service_providers"]
    assert [each["id"] for each in listed] == ["sky"]
    assert (await admin.get(path)).status == 200
    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).status == 404


async def test_an_access_token_lets_its_user_in(admin, cloud, openid, anyone):
    provider = await ready(admin, cloud)
    reply = await come(anyone)
    assert reply.status == 201, reply.text
    token = reply.json()["token"]
    assert token["methods"] == ["openid"]
    assert token["user"]["name"] == "alice"
    assert token["user"]["domain"]["id"] == provider["domain_id"]
    assert token["user"]["OS-FEDERATION"] == {
        "identity_provider": {"id": "idp"},
        "protocol": {"id": "openid"},
        "groups": [],
    }
    again = (await come(anyone)).json()["token"]
    assert again["user"]["id"] == token["user"]["id"]
    shown = (await admin.get(f"{V3}/users/{token['user']['id']}")).json()["user"]
    assert shown["email"] == "a@example.org"
    assert shown["federated"] == [
        {"idp_id": "idp", "protocols": [{"protocol_id": "openid", "unique_id": "alice"}]}
    ]


@pytest.mark.parametrize(
    ("change", "status"),
    [({"enabled": False}, 403), ({"remote_ids": ["https://other.example"]}, 403)],
    ids=["disabled", "another issuer"],
)
async def test_a_provider_that_is_not_to_be_believed_lets_nobody_in(
    admin, cloud, openid, anyone, change, status
):
    await ready(admin, cloud)
    reply = await admin.patch(f"{F}/identity_providers/idp", json={"identity_provider": change})
    assert reply.status == 200
    assert (await come(anyone)).status == status


async def test_what_is_no_proof_lets_nobody_in(admin, cloud, openid, anyone):
    await ready(admin, cloud)
    path = f"{F}/identity_providers/idp/protocols/openid/auth"
    assert (await come(anyone, "bad")).status == 401
    assert (await anyone.get(path)).status == 401
    assert (await anyone.post(path)).status == 401
    assert (await come(anyone, protocol="other")).status == 404
    assert (await come(anyone, provider="other")).status == 404
    openid.down = True
    assert (await come(anyone)).status == 503


async def test_disabling_or_removing_the_provider_ends_its_tokens(admin, cloud, openid, anyone):
    await ready(admin, cloud)
    path = f"{F}/identity_providers/idp"
    who = Client(anyone.app, {"x-auth-token": (await come(anyone)).headers["x-subject-token"]})
    assert (await who.get(f"{V3}/auth/projects")).status == 200
    assert (await admin.patch(path, json={"identity_provider": {"enabled": False}})).status == 200
    assert (await who.get(f"{V3}/auth/projects")).status == 401
    assert (await admin.patch(path, json={"identity_provider": {"enabled": True}})).status == 200
    assert (await who.get(f"{V3}/auth/projects")).status == 200
    assert (await admin.delete(path)).status == 204
    assert (await who.get(f"{V3}/auth/projects")).status == 401


async def test_groups_projects_and_roles_come_with_the_login(admin, cloud, openid, anyone):
    group = await admin.post(f"{V3}/groups", json={"group": {"name": "dev", "domain_id": "default"}})
    key = group.json()["group"]["id"]
    role = (await admin.get(f"{V3}/roles?name=reader")).json()["roles"][0]["id"]
    project = (await admin.post(f"{V3}/projects", json={"project": {"name": "shared"}})).json()["project"][
        "id"
    ]
    assert (await admin.put(f"{V3}/projects/{project}/groups/{key}/roles/{role}")).status == 204
    local = [
        {
            "user": {"name": "{0}"},
            "projects": [{"name": "home of {0}", "roles": [{"name": "member"}]}],
            "groups": "{1}",
            "domain": {"id": "default"},
        }
    ]
    rules = [{"local": local, "remote": [{"type": "HTTP_OIDC_SUB"}, {"type": "OIDC-groups"}]}]
    await ready(admin, cloud, rules, authorization_ttl=30)
    reply = await come(anyone)
    assert reply.status == 201, reply.text
    token = reply.json()["token"]
    assert token["user"]["OS-FEDERATION"]["groups"] == [{"id": key}]
    who = Client(anyone.app, {"x-auth-token": reply.headers["x-subject-token"]})
    found = (await who.get(f"{F}/projects")).json()["projects"]
    assert {each["name"] for each in found} == {"home of alice", "shared"}
    assert (await who.get(f"{F}/domains")).json()["domains"] == []
    scope = {"project": {"id": project}}
    method = {"methods": ["token"], "token": {"id": reply.headers["x-subject-token"]}}
    scoped = await anyone.post(f"{V3}/auth/tokens", json={"auth": {"identity": method, "scope": scope}})
    assert scoped.status == 201, scoped.text
    assert [each["name"] for each in scoped.json()["token"]["roles"]] == ["reader"]
    assert scoped.json()["token"]["user"]["OS-FEDERATION"]["identity_provider"] == {"id": "idp"}
    members = (await admin.get(f"{V3}/groups/{key}/users")).json()["users"]
    assert [each["id"] for each in members] == [token["user"]["id"]]


async def test_a_provider_takes_over_nobodys_name(admin, cloud, openid, anyone):
    await ready(admin, cloud, domain_id="default")
    body = {"user": {"name": "alice", "domain_id": "default", "password": "secret"}}
    local = (await admin.post(f"{V3}/users", json=body)).json()["user"]
    token = (await come(anyone)).json()["token"]
    assert token["user"]["id"] != local["id"]
    assert token["user"]["name"] == "alice (idp)"


async def test_a_mapping_may_name_a_user_of_ours(admin, cloud, openid, anyone):
    local = [{"user": {"name": "{0}", "type": "local", "domain": {"id": "default"}}}]
    await ready(admin, cloud, [{"local": local, "remote": [{"type": "HTTP_OIDC_SUB"}]}])
    assert (await come(anyone)).status == 401
    body = {"user": {"name": "alice", "domain_id": "default"}}
    user = (await admin.post(f"{V3}/users", json=body)).json()["user"]["id"]
    token = (await come(anyone)).json()["token"]
    assert token["user"]["id"] == user
    assert "OS-FEDERATION" not in token["user"]


def cookie_of(reply):
    jar = SimpleCookie(reply.headers["set-cookie"])
    return {"cookie": f"pileus_federation={jar['pileus_federation'].value}"}


async def test_a_browser_goes_to_the_provider_and_brings_the_dashboard_a_token(admin, cloud, openid, anyone):
    await ready(admin, cloud)
    websso = f"{V3}/auth/OS-FEDERATION/websso/openid?origin={DASHBOARD}"
    named = f"{V3}/auth/OS-FEDERATION/identity_providers/idp/protocols/openid/websso?origin={DASHBOARD}"
    for path in (websso, named):
        assert (await anyone.post(path)).status == 302
    assert (await anyone.get(named)).status == 302
    left = await anyone.get(websso)
    assert left.status == 302
    asked = parse_qs(urlsplit(left.headers["location"]).query)
    assert asked["redirect_uri"][0].endswith("/identity/v3/auth/OS-FEDERATION/openid/callback")
    assert len(asked["code_challenge"][0]) == 43
    back = f"{V3}/auth/OS-FEDERATION/openid/callback?code=code&state="
    state = asked["state"][0]
    for path, headers in ((f"{back}wrong", cookie_of(left)), (f"{back}{state}", {}), (back, cookie_of(left))):
        assert (await anyone.get(path, headers=headers)).status == 401
    arrived = await anyone.get(f"{back}{state}", headers=cookie_of(left))
    assert arrived.status == 200, arrived.text
    assert f'action="{DASHBOARD}"' in arrived.text
    token = arrived.text.split('value="')[1].split('"')[0]
    who = Client(anyone.app, {"x-auth-token": token})
    assert (await who.get(f"{V3}/auth/projects")).status == 200
    assert f"form-action {DASHBOARD}" in arrived.headers["content-security-policy"]
    again = await anyone.get(f"{back}{state}", headers=cookie_of(left))
    assert again.status == 401


async def test_a_browser_may_choose_among_providers(admin, cloud, openid, anyone):
    await ready(admin, cloud)
    body = {"identity_provider": {"enabled": True, "description": "<Other>"}}
    assert (await admin.put(f"{F}/identity_providers/two", json=body)).status == 201
    path = f"{F}/identity_providers/two/protocols/openid"
    assert (await admin.put(path, json={"protocol": {"mapping_id": "rules"}})).status == 201
    page = await anyone.get(f"{V3}/auth/OS-FEDERATION/websso/openid?origin={DASHBOARD}")
    assert page.status == 200
    assert "&lt;Other&gt;" in page.text
    assert "/identity_providers/two/protocols/openid/websso?origin=" in page.text


@pytest.mark.parametrize(
    ("origin", "status"), [("", 400), ("?origin=", 400), ("?origin=https://evil.example/", 401)]
)
async def test_a_token_goes_to_trusted_dashboards_only(admin, cloud, openid, anyone, origin, status):
    await ready(admin, cloud)
    assert (await anyone.get(f"{V3}/auth/OS-FEDERATION/websso/openid{origin}")).status == status


SAML_RULES = [
    {
        "local": [{"user": {"name": "{0}", "email": "{1}"}}],
        "remote": [{"type": "MELLON_NAME_ID"}, {"type": "mail"}],
    }
]
CLOUD_RULES = [{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "openstack_user"}]}]
PAOS = {"content-type": "application/vnd.paos+xml"}


@pytest.fixture
async def saml(admin, cloud, site):
    """Provider `idp` speaks SAML."""
    site._saml = SamlMessages()
    await ready(admin, cloud, SAML_RULES, protocol="saml2", remote_ids=[ENTITY])
    body = {"settings": {"saml_metadata": metadata()}}
    reply = await admin.put("/console/identity-providers/idp/settings", json=body)
    assert reply.json()["identity_provider"]["saml"] is True
    return site._saml


async def test_a_browser_brings_a_saml_assertion(admin, cloud, saml, anyone):
    left = await anyone.get(f"{V3}/auth/OS-FEDERATION/websso/saml2?origin={DASHBOARD}")
    to = asked(left.headers["location"])
    consumer = f"{V3}/auth/OS-FEDERATION/saml2/consumer"
    assert to["AssertionConsumerServiceURL"].endswith(consumer)
    response = form(respond(to, "alice", now=cloud.now()))
    sent = {"content-type": "application/x-www-form-urlencoded"}

    async def post(state, headers, content=response):
        body = urlencode({"SAMLResponse": content, "RelayState": state}).encode()
        return await anyone.request("POST", consumer, data=body, headers=sent | headers)

    assert (await post(to["state"], {})).status == 401
    assert (await post("other", cookie_of(left))).status == 401
    assert (await post(to["state"], cookie_of(left), "nonsense")).status == 401
    arrived = await post(to["state"], cookie_of(left))
    assert arrived.status == 200, arrived.text
    assert f'action="{DASHBOARD}"' in arrived.text
    assert (await post(to["state"], cookie_of(left))).status == 401


async def test_an_encrypted_assertion_lets_in_and_a_bad_one_is_told_no_cause(admin, cloud, saml, anyone):
    """The causes are in the log: told apart, they would tell what is encrypted."""
    left = await anyone.get(f"{V3}/auth/OS-FEDERATION/websso/saml2?origin={DASHBOARD}")
    to, kind = asked(left.headers["location"]), {"content-type": "application/x-www-form-urlencoded"}
    ours = recipient((await anyone.get(f"{V3}/auth/OS-FEDERATION/saml2/service")).text)

    async def post(message):
        body = urlencode({"SAMLResponse": form(message), "RelayState": to["state"]}).encode()
        consumer = f"{V3}/auth/OS-FEDERATION/saml2/consumer"
        return await anyone.request("POST", consumer, data=body, headers=kind | cookie_of(left))

    response = respond(to, "alice", now=cloud.now())
    with structlog.testing.capture_logs() as logged:
        bad = [await post(message) for message in unreadable(response, ours)]
    assert {(reply.status, reply.text) for reply in bad} == {(401, bad[0].text)}
    causes = {each["private"] for each in logged if each.get("private")}
    assert len(causes) > 3
    assert any("RSA 1.5" in cause for cause in causes)
    arrived = await post(encrypted(response, ours))
    assert arrived.status == 200, arrived.text
    assert (await post(encrypted(response, ours))).status == 401


async def test_an_enhanced_client_carries_the_saml_messages(admin, cloud, saml, anyone):
    path = f"{F}/identity_providers/idp/protocols/saml2/auth"
    assert (await anyone.get(path)).status == 401
    accepts = {"accept": "text/html, application/vnd.paos+xml", "paos": 'ver="urn:liberty:paos:2003-08"'}
    envelope = await anyone.get(path, headers=accepts)
    assert envelope.headers["content-type"] == PAOS["content-type"]
    found = {
        name: re.search(f'{name}="([^"]+)"', envelope.text)[1]
        for name in ("ID", "AssertionConsumerServiceURL")
    }
    found["issuer"] = re.search(r"Issuer[^>]*>([^<]+)<", envelope.text)[1]
    state = await saml.relayed(envelope.body)
    response = respond(found, "alice", now=cloud.now())
    where = urlsplit(found["AssertionConsumerServiceURL"]).path

    async def bring(relayed):
        brought = await saml.wrapped(response, recipient=found["AssertionConsumerServiceURL"], state=relayed)
        return await anyone.request("POST", where, data=brought.encode(), headers=PAOS)

    assert (await bring("ss:mem:1")).status == 401
    assert (await bring("gAAAAAbroken")).status == 401
    arrived = await bring(state)
    assert arrived.status == 201, arrived.text
    assert arrived.json()["token"]["methods"] == ["saml2"]
    assert (await bring(state)).status == 401


async def test_a_user_of_this_cloud_goes_to_another_with_an_assertion(admin, cloud, site, anyone):
    """The other is this one, too."""
    site._saml = SamlMessages()
    await ready(admin, cloud, CLOUD_RULES, provider="sky", protocol="saml2", remote_ids=[])
    described = await anyone.get(f"{F}/saml2/metadata")
    assert described.headers["content-type"] == "text/xml"
    body = {"settings": {"saml_metadata": described.text}}
    assert (await admin.put("/console/identity-providers/sky/settings", json=body)).status == 200
    here = f"{cloud.config.url}{F}/identity_providers/sky/protocols/saml2/auth"
    want = {"service_provider": {"auth_url": here, "sp_url": here}}
    assert (await admin.put(f"{F}/service_providers/sky", json=want)).status == 201
    identity = {"methods": ["token"], "token": {"id": admin.token}}
    ask = {"auth": {"identity": identity, "scope": {"service_provider": {"id": "sky"}}}}
    path = f"{V3}/auth/OS-FEDERATION/saml2"
    assert (await anyone.post(path, json=ask)).status == 403
    change = {"service_provider": {"enabled": True}}
    assert (await admin.patch(f"{F}/service_providers/sky", json=change)).status == 200
    plain, wrapped = await anyone.post(path, json=ask), await anyone.post(f"{path}/ecp", json=ask)
    assert (plain.status, wrapped.status) == (200, 200), wrapped.text
    assert wrapped.headers["x-sp-url"] == here
    assert "openstack_project_domain" in plain.text
    arrived = await anyone.request("POST", urlsplit(here).path, data=wrapped.body, headers=PAOS)
    assert arrived.status == 201, arrived.text
    assert arrived.json()["token"]["user"]["name"] == "admin"
    again = await anyone.request("POST", urlsplit(here).path, data=wrapped.body, headers=PAOS)
    assert again.status == 401


async def test_our_metadata_as_a_service_is_read_without_a_token(site, anyone):
    site._saml = SamlMessages()
    reply = await anyone.get(f"{V3}/auth/OS-FEDERATION/saml2/service")
    assert "/identity/v3/auth/OS-FEDERATION/saml2/consumer" in reply.text


async def test_how_a_provider_is_spoken_with_is_set_and_its_secret_is_never_shown(admin, member, cloud, site):
    site._saml = SamlMessages()
    await ready(admin, cloud)
    path = "/console/identity-providers/idp/settings"
    openid = {"issuer": ISSUER, "client": "c", "secret": "not to be told", "audiences": ["a"]}
    reply = await admin.put(path, json={"settings": {"openid": openid}})
    assert reply.status == 200, reply.text
    assert "not to be told" not in reply.text
    (shown,) = (await admin.get("/console/identity-providers")).json()["identity_providers"]
    assert (shown["openid"]["client"], shown["openid"]["has_secret"]) == ("c", True)
    assert shown["openid"]["opaque_tokens"] == "introspection"
    other = openid | {"opaque_tokens": "whatever"}
    assert (await admin.put(path, json={"settings": {"openid": other}})).status == 400
    assert (await admin.put(path, json={"settings": {}})).status == 400
    assert (await admin.put(path, json={"settings": {"saml_metadata": "<a/>"}})).status == 400
    assert (await member.put(path, json={"settings": {"openid": openid}})).status == 403
    again = {"issuer": ISSUER, "client": "d", "opaque_tokens": "userinfo"}
    assert (await admin.put(path, json={"settings": {"openid": again}})).status == 200
    async with cloud.view() as look:
        known = await providers.known(look, "idp")
    held = providers.openid(cloud, known)
    assert (held.client, held.secret, held.opaque_tokens) == ("d", "not to be told", "userinfo")
    assert federated_login.client_of(cloud, known).opaque_tokens == "userinfo"


async def test_a_user_is_told_by_what_it_is_known_elsewhere(admin, cloud, openid, anyone):
    await ready(admin, cloud, domain_id="default")

    def known(subject, provider="idp", protocol="openid"):
        return [{"idp_id": provider, "protocols": [{"protocol_id": protocol, "unique_id": subject}]}]

    body = {"name": "prepared", "domain_id": "default", "federated": known("alice")}
    made = await admin.post(f"{V3}/users", json={"user": body})
    assert made.status == 201, made.text
    user = made.json()["user"]
    assert user["federated"] == known("alice")
    assert (await come(anyone)).json()["token"]["user"]["id"] == user["id"]
    found = (await admin.get(f"{V3}/users?unique_id=alice")).json()["users"]
    assert [each["id"] for each in found] == [user["id"]]
    taken = body | {"name": "second"}
    assert (await admin.post(f"{V3}/users", json={"user": taken})).status == 409
    for wrong in (known("x", provider="none"), known("x", protocol="none")):
        reply = await admin.post(f"{V3}/users", json={"user": taken | {"federated": wrong}})
        assert reply.status == 400
    path = f"{V3}/users/{user['id']}"
    changed = await admin.patch(path, json={"user": {"federated": known("bob")}})
    assert changed.json()["user"]["federated"] == known("bob")
    assert (await admin.patch(path, json={"user": {"description": "d"}})).json()["user"][
        "federated"
    ] == known("bob")
    assert "federated" not in (await admin.patch(path, json={"user": {"federated": []}})).json()["user"]
