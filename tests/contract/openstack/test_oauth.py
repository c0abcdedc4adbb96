"""Conversations with Keystone's OS-OAUTH1 and OS-OAUTH2: programs that act for users."""

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, quote, urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace
from oauthlib.oauth1 import Client as Signer

from pileus.core.events import Event
from pileus.core.identity.authentication.credential_records import UsedNonce
from pileus.core.identity.federation.federation_records import Mapping
from pileus.faces.wire.forwarding import Proxies
from tests.asgi import Client
from tests.contract.openstack.test_identity import NOBODY, TOKENS, V3

OAUTH = f"{V3}/OS-OAUTH1"
HOST = "http://cloud.test"
BY_OAUTH = {"auth": {"identity": {"methods": ["oauth1"], "oauth1": {}}}}
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture
def anyone(kernel):
    return Client(kernel)


@pytest.fixture
async def consumer(admin):
    return (await admin.post(f"{OAUTH}/consumers", json={"consumer": {"description": "a program"}})).json()[
        "consumer"
    ]


def header(path, consumer, token=None, host=HOST, **more):
    """What a client signs a POST with; `token` is (key, secret)."""
    key, secret = token or (None, None)
    signer = Signer(
        consumer["id"],
        client_secret=consumer["secret"],
        resource_owner_key=key,
        resource_owner_secret=secret,
        **more,
    )
    return signer.sign(host + path, http_method="POST")[1]


def pair(reply):
    assert reply.status == 201, reply.text
    found = parse_qs(reply.text)
    assert found["oauth_expires_at"][0].endswith("Z")
    return found["oauth_token"][0], found["oauth_token_secret"][0]


async def asked(anyone, admin, consumer):
    path = f"{OAUTH}/request_token"
    sent = header(path, consumer, callback_uri="oob") | {"requested-project-id": admin.project.id.hex}
    return pair(await anyone.post(path, headers=sent))


async def authorized(admin, token, *roles):
    body = {"roles": [{"name": role} for role in roles]}
    reply = await admin.put(f"{OAUTH}/authorize/{token}", json=body)
    assert reply.status == 200, reply.text
    return reply.json()["token"]["oauth_verifier"]


@pytest.fixture
async def access(anyone, admin, consumer):
    """The key and secret with which the program acts as a member."""
    key, secret = await asked(anyone, admin, consumer)
    verifier = await authorized(admin, key, "member")
    path = f"{OAUTH}/access_token"
    return pair(await anyone.post(path, headers=header(path, consumer, (key, secret), verifier=verifier)))


# --- consumers


async def test_a_consumer_shows_its_secret_once(admin, member):
    made = await admin.post(f"{OAUTH}/consumers", json={"consumer": {"description": None, "foo": 1}})
    consumer = made.json()["consumer"]
    assert (made.status, consumer["description"], consumer["foo"]) == (201, None, 1)
    assert len(consumer.pop("secret")) == 32
    path = f"{OAUTH}/consumers/{consumer['id']}"
    assert (await admin.get(path)).json() == {"consumer": consumer}
    assert (await admin.get(f"{OAUTH}/consumers")).json()["consumers"] == [consumer]
    changed = await admin.patch(path, json={"consumer": {"description": "d", "bar": 2}})
    assert changed.json()["consumer"] == {**consumer, "description": "d", "bar": 2}
    for bad in ({}, {"secret": "x"}, {"id": NOBODY}, {"description": 5}):
        assert (await admin.patch(path, json={"consumer": bad})).status == 400, bad
    assert (await member.get(path)).status == 403
    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).status == 404


# --- from a request to an access token


async def test_a_program_acts_with_the_roles_that_a_user_gave_it(anyone, admin, consumer, access):
    reply = await anyone.post(TOKENS, json=BY_OAUTH, headers=header(TOKENS, consumer, access))
    assert reply.status == 201, reply.text
    token = reply.json()["token"]
    assert token["methods"] == ["oauth1"]
    assert token["user"]["id"] == admin.user.id.hex
    assert token["project"]["id"] == admin.project.id.hex
    assert [role["name"] for role in token["roles"]] == ["member", "reader"]
    assert token["OS-OAUTH1"] == {"access_token_id": access[0], "consumer_id": consumer["id"]}
    program = Client(anyone.app, {"x-auth-token": reply.headers["x-subject-token"]})
    assert (await program.get(f"{V3}/auth/projects")).status == 200
    assert (await program.get(f"{OAUTH}/consumers")).status == 403
    users = f"{V3}/users/{admin.user.id.hex}/OS-OAUTH1/access_tokens"
    assert (await admin.delete(f"{users}/{access[0]}")).status == 204
    assert (await program.get(f"{V3}/auth/projects")).status == 401
    again = await anyone.post(TOKENS, json=BY_OAUTH, headers=header(TOKENS, consumer, access))
    assert again.status == 401


async def test_a_user_sees_what_it_gave_and_takes_it_back(admin, member, consumer, access):
    path = f"{V3}/users/{admin.user.id.hex}/OS-OAUTH1/access_tokens"
    (token,) = (await admin.get(path)).json()["access_tokens"]
    assert (token["id"], token["consumer_id"]) == (access[0], consumer["id"])
    assert token["authorizing_user_id"] == admin.user.id.hex
    assert token["links"]["roles"].endswith(f"{access[0]}/roles")
    assert (await admin.get(f"{path}/{access[0]}")).json() == {"access_token": token}
    (role,) = (await admin.get(f"{path}/{access[0]}/roles")).json()["roles"]
    assert role["name"] == "member"
    assert (await admin.get(f"{path}/{access[0]}/roles/{role['id']}")).json() == {"role": role}
    assert (await admin.get(f"{path}/{access[0]}/roles/{NOBODY}")).status == 404
    assert (await admin.get(f"{path}/{NOBODY}")).status == 404
    assert (await member.get(path)).status == 403
    elsewhere = f"{V3}/users/{member.user.id.hex}/OS-OAUTH1/access_tokens/{access[0]}"
    assert (await admin.get(elsewhere)).status == 404
    assert (await member.delete(f"{path}/{access[0]}")).status == 403
    assert (await admin.delete(f"{path}/{access[0]}")).status == 204
    assert (await admin.get(path)).json()["access_tokens"] == []


async def test_a_consumer_that_goes_takes_its_tokens_with_it(anyone, admin, consumer, access):
    assert (await admin.delete(f"{OAUTH}/consumers/{consumer['id']}")).status == 204
    reply = await anyone.post(TOKENS, json=BY_OAUTH, headers=header(TOKENS, consumer, access))
    assert reply.status == 401


async def test_a_request_token_needs_a_right_signature_a_consumer_and_a_project(anyone, admin, consumer):
    path = f"{OAUTH}/request_token"
    project = {"requested-project-id": admin.project.id.hex}
    good = header(path, consumer)
    for what, sent, status in (
        ("unsigned", project, 400),
        ("no project", good, 400),
        ("wrong secret", header(path, {**consumer, "secret": "x"}) | project, 401),
        ("another address", header(f"{path}x", consumer) | project, 401),
        ("another consumer", header(path, {**consumer, "id": NOBODY}) | project, 404),
        ("another project", header(path, consumer) | {"requested-project-id": NOBODY}, 404),
        ("no header at all", {}, 400),
        ("garbage", {"authorization": "OAuth x", **project}, 400),
        ("plain text", header(path, consumer, signature_method="PLAINTEXT") | project, 400),
        ("a strange time", header(path, consumer, timestamp="1x") | project, 400),
    ):
        reply = await anyone.post(path, headers=sent)
        assert reply.status == status, (what, reply.text)
    for method in ("HMAC-SHA1", "HMAC-SHA256", "HMAC-SHA512"):
        pair(await anyone.post(path, headers=header(path, consumer, signature_method=method) | project))
    assert (await anyone.get(path)).status == 405


async def test_a_query_and_a_form_are_signed_too(anyone, admin, consumer):
    path = f"{OAUTH}/request_token"
    project = {"requested-project-id": admin.project.id.hex}
    pair(await anyone.post(f"{path}?a=b%20c", headers=header(f"{path}?a=b%20c", consumer) | project))
    reply = await anyone.post(f"{path}?a=d", headers=header(f"{path}?a=b", consumer) | project)
    assert reply.status == 401
    signer = Signer(consumer["id"], client_secret=consumer["secret"])
    _, sent, body = signer.sign(HOST + path, http_method="POST", body="x=1", headers=FORM)
    pair(await anyone.post(path, data=body, headers={**sent, **project}))
    _, sent, _ = signer.sign(HOST + path, http_method="POST", body="x=1", headers=FORM)
    assert (await anyone.post(path, data="x=2", headers={**sent, **project})).status == 401


async def test_a_signature_is_good_by_the_public_address_and_by_the_one_that_was_reached(
    anyone, admin, consumer, cloud
):
    cloud.config = replace(cloud.config, public_url="https://cloud.example/api")
    path, project = f"{OAUTH}/request_token", {"requested-project-id": admin.project.id.hex}
    for host in ("https://cloud.example/api", HOST):
        pair(await anyone.post(path, headers=header(path, consumer, host=host) | project))


async def test_a_signed_request_is_served_once_and_only_when_it_is_of_now(anyone, admin, consumer, cloud):
    path, project = f"{OAUTH}/request_token", {"requested-project-id": admin.project.id.hex}
    sent = header(path, consumer) | project
    pair(await anyone.post(path, headers=sent))
    assert (await anyone.post(path, headers=sent)).status == 401
    for minutes in (-6, 6):
        then = str(int((datetime.now(UTC) + timedelta(minutes=minutes)).timestamp()))
        reply = await anyone.post(path, headers=header(path, consumer, timestamp=then) | project)
        assert reply.status == 401, minutes
    later = datetime.now(UTC) + timedelta(minutes=11)
    cloud.now = lambda: later
    now = str(int(later.timestamp()))
    pair(await anyone.post(path, headers=header(path, consumer, timestamp=now) | project))
    async with cloud.view() as look:
        assert await look.count(UsedNonce) == 1


async def test_a_user_gives_only_roles_that_it_has(admin, anyone, consumer):
    key, _ = await asked(anyone, admin, consumer)
    service = (await admin.get(f"{V3}/roles?name=service")).json()["roles"][0]["id"]
    for roles, status in (
        ([], 400),
        ([{}], 400),
        ([{"id": service}], 401),
        ([{"id": NOBODY}], 404),
        ([{"name": "nobody"}], 404),
        ([{"name": "member", "id": NOBODY}], 400),
    ):
        reply = await admin.put(f"{OAUTH}/authorize/{key}", json={"roles": roles})
        assert reply.status == status, (roles, reply.text)
    assert (
        await admin.put(f"{OAUTH}/authorize/{NOBODY}", json={"roles": [{"name": "member"}]})
    ).status == 404


async def test_an_access_token_needs_the_verifier_and_is_given_once(anyone, admin, consumer):
    path = f"{OAUTH}/access_token"
    token = await asked(anyone, admin, consumer)

    async def exchange(verifier, consumer=consumer, token=token):
        more = {"verifier": verifier} if verifier else {}
        return await anyone.post(path, headers=header(path, consumer, token, **more))

    assert (await exchange("abcdefgh")).status == 401
    verifier = await authorized(admin, token[0], "reader")
    other = await admin.post(f"{OAUTH}/consumers", json={"consumer": {}})
    assert (await exchange("abcdefgh")).status == 401
    assert (await exchange("")).status == 400
    assert (await exchange(verifier, token=(token[0], "x"))).status == 401
    assert (await exchange(verifier, consumer=other.json()["consumer"])).status == 401
    assert (await exchange(verifier, token=(NOBODY, token[1]))).status == 404
    pair(await exchange(verifier))
    assert (await exchange(verifier)).status == 404


async def test_tokens_of_both_kinds_end(anyone, admin, consumer, access, cloud):
    key, secret = await asked(anyone, admin, consumer)
    start = datetime.now(UTC)
    later = start + timedelta(seconds=cloud.config.oauth_request_seconds + 60)
    cloud.now = lambda: later
    path = f"{OAUTH}/access_token"
    now = {"timestamp": str(int(later.timestamp()))}
    reply = await anyone.post(path, headers=header(path, consumer, (key, secret), verifier="abcdefgh", **now))
    assert reply.status == 401
    signed = header(TOKENS, consumer, access, **now)
    assert (await anyone.post(TOKENS, json=BY_OAUTH, headers=signed)).status == 201
    last = start + timedelta(seconds=cloud.config.oauth_access_seconds + 60)
    cloud.now = lambda: last
    signed = header(TOKENS, consumer, access, timestamp=str(int(last.timestamp())))
    assert (await anyone.post(TOKENS, json=BY_OAUTH, headers=signed)).status == 401


async def test_no_secret_of_them_stands_in_an_event(admin, consumer, access, cloud):
    async with cloud.view() as look:
        told = str([event.change for event in await look.list(Event)])
    assert consumer["secret"] not in told
    assert access[1] not in told


# --- OAuth 2.0


GRANT = {"grant_type": "client_credentials"}


async def token2(anyone, form, basic=None, **headers):
    sent = {**FORM, **headers}
    if basic is not None:
        sent["authorization"] = "Basic " + base64.b64encode(":".join(basic).encode()).decode()
    return await anyone.post(f"{V3}/OS-OAUTH2/token", data=urlencode(form), headers=sent)


@pytest.fixture
async def credential(member):
    path = f"{V3}/users/{member.user.id.hex}/application_credentials"
    made = await member.post(path, json={"application_credential": {"name": "robot"}})
    found = made.json()["application_credential"]
    return found["id"], found["secret"]


async def test_an_application_credential_is_exchanged_for_a_bearer_token(anyone, credential, member):
    named = {"client_id": credential[0], "client_secret": credential[1]}
    for form, basic in ((GRANT, credential), ({**GRANT, **named}, None)):
        reply = await token2(anyone, form, basic)
        assert reply.status == 200, reply.text
        assert reply.headers["cache-control"] == "no-store"
        found = reply.json()
        assert (found["token_type"], 3500 < found["expires_in"] <= 3600) == ("Bearer", True)
        shown = await Client(anyone.app, {"x-auth-token": found["access_token"]}).get(f"{V3}/auth/projects")
        assert [project["id"] for project in shown.json()["projects"]] == [member.project.id.hex]


async def test_what_is_wrong_with_a_grant_is_said_as_the_standard_says(anyone, credential):
    for form, basic, status, error in (
        ({}, None, 400, "invalid_request"),
        ({"grant_type": "password"}, credential, 400, "unsupported_grant_type"),
        (GRANT, None, 401, "invalid_client"),
        (GRANT, (credential[0], "x"), 401, "invalid_client"),
        (GRANT, (NOBODY, "x"), 401, "invalid_client"),
        (GRANT, ("nobody", ""), 401, "invalid_client"),
        ({**GRANT, "client_id": credential[0]}, None, 401, "invalid_client"),
    ):
        reply = await token2(anyone, form, basic)
        assert (reply.status, reply.json()["error"]) == (status, error), (form, basic, reply.text)
        assert reply.json()["error_description"]
        assert ("www-authenticate" in reply.headers) == (status == 401)
    reply = await anyone.post(f"{V3}/OS-OAUTH2/token", json=GRANT)
    assert reply.json()["error"] == "invalid_request"


def certificate(name):
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return quote(built.public_bytes(serialization.Encoding.PEM).decode())


def take_certificates(cloud, kernel, proxies):
    cloud.config = replace(
        cloud.config, client_certificate_header="X-Client-Cert", trusted_proxies=(proxies,)
    )
    kernel.proxies = Proxies(cloud.config.proxies)


async def test_a_certificate_that_the_proxy_took_is_a_proof_where_a_mapping_says_whose(anyone, cloud, member):
    take_certificates(cloud, anyone.app, "192.0.2.0/24")
    form, good = {**GRANT, "client_id": member.user.id.hex}, {"x-client-cert": certificate("demo")}
    assert (await token2(anyone, form, **good)).status == 401
    remote = [{"type": "SSL_CLIENT_SUBJECT_DN_CN"}]
    rules = [{"local": [{"user": {"name": "{0}"}}], "remote": remote}]
    async with cloud.transaction() as tx:
        await tx.add(Mapping(id="oauth2_mapping", rules=rules, created_at=cloud.now()))
    reply = await token2(anyone, form, **good)
    assert reply.status == 200, reply.text
    token = reply.json()["access_token"]
    holder, thief = Client(anyone.app, {"x-auth-token": token, **good}), Client(anyone.app)
    shown = await holder.get(TOKENS, headers={"x-subject-token": token})
    assert shown.json()["token"]["methods"] == ["oauth2_credential"]
    assert len(shown.json()["token"]["oauth2_credential"]["x5t#S256"]) == 44
    assert (await holder.get("/compute/v2.1/servers")).status == 200
    assert (await holder.get("/console/operations")).status == 200
    by_token = {"auth": {"identity": {"methods": ["token"], "token": {"id": token}}}}
    assert (await thief.post(TOKENS, json=by_token)).status in (401, 403)
    assertion = {"auth": {**by_token["auth"], "scope": {"service_provider": {"id": "sky"}}}}
    for shows in ({}, {"x-client-cert": certificate("demo")}, {"x-client-cert": "-----BEGIN"}):
        for path in (f"{V3}/auth/projects", "/compute/v2.1/servers", "/console/operations"):
            stolen = await thief.get(path, headers={"x-auth-token": token, **shows})
            assert stolen.status == 401, (path, shows)
        reply = await thief.post(f"{V3}/auth/OS-FEDERATION/saml2", json=assertion, headers=shows)
        assert reply.status == 401
    for what, cert, who in (
        ("of somebody else", certificate("admin"), form),
        ("malformed", "-----BEGIN", form),
        ("for nobody", good["x-client-cert"], GRANT),
        ("for a stranger", good["x-client-cert"], {**GRANT, "client_id": NOBODY}),
    ):
        reply = await token2(anyone, who, **{"x-client-cert": cert})
        assert (reply.status, reply.json()["error"]) == (401, "invalid_client"), what


async def test_nobody_but_the_proxy_hands_over_certificates(anyone, cloud, member):
    take_certificates(cloud, anyone.app, "198.51.100.0/24")
    remote = [{"type": "SSL_CLIENT_SUBJECT_DN_CN"}]
    rules = [{"local": [{"user": {"name": "{0}"}}], "remote": remote}]
    async with cloud.transaction() as tx:
        await tx.add(Mapping(id="oauth2_mapping", rules=rules, created_at=cloud.now()))
    form = {**GRANT, "client_id": member.user.id.hex}
    reply = await token2(anyone, form, **{"x-client-cert": certificate("demo")})
    assert (reply.status, reply.json()["error"]) == (401, "invalid_client")
    with pytest.raises(ValueError, match="trusted_proxies"):
        replace(cloud.config, trusted_proxies=())


async def test_without_a_proxy_that_takes_certificates_a_header_is_no_proof(anyone, member):
    form = {**GRANT, "client_id": member.user.id.hex}
    reply = await token2(anyone, form, **{"x-client-cert": certificate("demo")})
    assert reply.status == 401
    assert "client certificate" in reply.json()["error_description"]
