"""Conversations with Keystone's API about credentials, and about what was signed with them."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from urllib.parse import quote

import pytest

from pileus.core.identity.authentication import codes, second_factor
from pileus.core.identity.records import User
from tests.asgi import Client
from tests.contract.openstack.logins import NOBODY, V3, login, make


async def keep(client, **fields):
    return await client.post(f"{V3}/credentials", json={"credential": fields})


def pair(access="key", secret="hidden", **more):
    return json.dumps({"access": access, "secret": secret, **more})


async def test_a_credential_from_create_to_delete(admin, other):
    user, project = other.user.id.hex, other.project.id.hex
    made = await keep(other, type="cert", blob="a secret text", user_id=user, colour="red")
    shown = made.json()["credential"]
    path = f"{V3}/credentials/{shown['id']}"
    assert made.status == 201
    assert shown == {
        "id": shown["id"],
        "type": "cert",
        "blob": "a secret text",
        "user_id": user,
        "project_id": None,
        "colour": "red",
        "links": {"self": f"http://cloud.test{path}"},
    }
    assert (await other.get(path)).json() == {"credential": shown}
    body = {"credential": {"blob": "another", "type": "own", "project_id": project}}
    changed = (await other.patch(path, json=body)).json()["credential"]
    assert changed == shown | body["credential"]
    assert (await other.patch(path, json={"credential": {}})).status == 400
    assert (await other.delete(path)).status == 204
    assert (await admin.get(path)).status == 404


async def test_a_pair_is_known_by_the_hash_of_its_public_half(other):
    user, project = other.user.id.hex, other.project.id.hex
    made = await keep(other, type="ec2", blob=pair(), user_id=user, project_id=project)
    shown = made.json()["credential"]
    path = f"{V3}/credentials/{shown['id']}"
    assert shown["id"] == hashlib.sha256(b"key").hexdigest()
    assert json.loads(shown["blob"]) == {"access": "key", "secret": "hidden"}
    assert (await keep(other, type="ec2", blob=pair(), user_id=user, project_id=project)).status == 409
    own = f"{V3}/users/{user}/credentials/OS-EC2/key"
    assert (await other.get(own)).json()["credential"]["secret"] == "hidden"
    body = {"credential": {"blob": pair("other key", "x", more=1)}}
    changed = (await other.patch(path, json=body)).json()["credential"]
    assert changed["id"] == shown["id"]
    assert json.loads(changed["blob"]) == {"access": "other key", "secret": "x", "more": 1}
    assert (await other.get(path)).json()["credential"] == changed
    for kind in ("cert", "ec2"):
        own_kind = {"credential": {"type": kind}}
        changed = (await other.patch(path, json=own_kind)).json()["credential"]
        assert (changed["id"], changed["type"]) == (shown["id"], kind)
    binding = {"credential": {"blob": pair("other key", "x", trust_id=NOBODY)}}
    assert (await other.patch(path, json=binding)).status == 400


@pytest.mark.parametrize(
    "blob", ["no json", "[]", "{}", '{"secret": "x"}', '{"access": 5}', '{"access": "a", "secret": 5}']
)
async def test_a_pair_of_no_form_is_refused(other, blob):
    user, project = other.user.id.hex, other.project.id.hex
    assert (await keep(other, type="ec2", blob=blob, user_id=user, project_id=project)).status == 400


async def test_a_pair_needs_a_project_and_cloudstacks_keys_are_not_made_here(other):
    user = other.user.id.hex
    assert (await keep(other, type="ec2", blob=pair(), user_id=user)).status == 400
    assert (await keep(other, type="cloudstack", blob="x", user_id=user)).status == 400


async def test_credentials_are_seen_by_their_owner_and_by_administrators(admin, member, other):
    mine = (await keep(other, type="cert", blob="x", user_id=other.user.id.hex)).json()["credential"]
    theirs = (await keep(member, type="totp", blob="y", user_id=member.user.id.hex)).json()["credential"]
    assert (await other.get(f"{V3}/credentials")).json()["credentials"] == [mine]

    async def found(query):
        """Beside the pairs that everybody begins with."""
        shown = (await admin.get(f"{V3}/credentials?{query}")).json()["credentials"]
        return {one["id"] for one in shown if one["type"] != "ec2"}

    queries = {
        "": {mine["id"], theirs["id"]},
        f"user_id={member.user.id.hex}": {theirs["id"]},
        "type=cert": {mine["id"]},
        f"user_id={NOBODY}": set(),
    }
    for query, wanted in queries.items():
        assert await found(query) == wanted
    path = f"{V3}/credentials/{mine['id']}"
    assert (await member.get(path)).status == 403
    assert (await member.get(f"{V3}/credentials/{NOBODY}")).status == 403
    assert (await member.delete(path)).status == 403
    assert (await keep(member, type="cert", blob="x", user_id=other.user.id.hex)).status == 403
    moved = {"credential": {"user_id": member.user.id.hex}}
    assert (await other.patch(path, json=moved)).status == 403
    assert (await admin.patch(path, json=moved)).status == 200


async def test_ec2_credentials(admin, member, other):
    path = f"{V3}/users/{other.user.id.hex}/credentials/OS-EC2"
    made = await other.post(path, json={"tenant_id": other.project.id.hex})
    held = made.json()["credential"]
    assert made.status == 201
    assert (held["user_id"], held["tenant_id"], held["trust_id"]) == (
        other.user.id.hex,
        other.project.id.hex,
        None,
    )
    assert (await other.get(path)).json()["credentials"] == [held]
    assert (await other.get(f"{path}/{held['access']}")).json() == {"credential": held}
    assert (await member.get(path)).status == 403
    assert (await other.post(path, json={"tenant_id": NOBODY})).status == 404
    assert (await other.delete(f"{path}/{held['access']}")).status == 204
    assert (await other.get(f"{path}/{held['access']}")).status == 404


# --- signatures


@pytest.fixture
async def signer(other):
    """The secret of a pair, and a function that signs as version 2 asks."""
    path = f"{V3}/users/{other.user.id.hex}/credentials/OS-EC2"
    held = (await other.post(path, json={"tenant_id": other.project.id.hex})).json()["credential"]

    def sign(secret=held["secret"], **params):
        params = {"SignatureVersion": "2", "SignatureMethod": "HmacSHA256", "Action": "Do", **params}
        text = "&".join(f"{name}={quote(params[name], safe='-_~')}" for name in sorted(params))
        mac = hmac.digest(secret.encode(), f"GET\nhost\n/\n{text}".encode(), "sha256")
        signed = {"access": held["access"], "host": "host:8773", "verb": "GET", "path": "/"}
        return signed | {"params": params, "signature": base64.b64encode(mac).decode()}

    sign.held = held
    return sign


@pytest.mark.parametrize("name", ["credentials", "credential", "ec2Credentials"])
async def test_a_signed_request_is_exchanged_for_a_token(admin, other, signer, name):
    reply = await admin.post(f"{V3}/ec2tokens", json={name: signer()})
    token = reply.json()["token"]
    assert reply.status == 200
    assert (token["methods"], token["user"]["id"]) == (["ec2credential"], other.user.id.hex)
    assert token["project"]["id"] == other.project.id.hex
    assert len(reply.headers["x-subject-token"]) > 100


async def test_a_pair_that_an_application_credential_made_acts_for_no_more_and_ends_with_it(
    admin, kernel, other
):
    path = f"{V3}/users/{other.user.id.hex}/application_credentials"
    body = {"name": "robot", "roles": [{"name": "reader"}], "unrestricted": True}
    robot = (await other.post(path, json={"application_credential": body})).json()["application_credential"]
    proof = {"id": robot["id"], "secret": robot["secret"]}
    methods = {"methods": ["application_credential"], "application_credential": proof}
    client, _ = await login(Client(kernel), {"auth": {"identity": methods}})
    fields = {"type": "ec2", "blob": pair("robot's"), "user_id": other.user.id.hex}
    elsewhere = (await make(admin, "project", name="elsewhere"))["id"]
    assert (await keep(client, **fields, project_id=elsewhere)).status == 403
    made = (await keep(client, **fields, project_id=other.project.id.hex)).json()["credential"]
    held = json.loads(made["blob"])
    assert held == {"access": "robot's", "secret": "hidden", "app_cred_id": robot["id"]}
    own = f"{V3}/users/{other.user.id.hex}/credentials/OS-EC2"
    assert (await client.post(own, json={"tenant_id": other.project.id.hex})).status == 403
    text = b"GET"
    mac = hmac.digest(held["secret"].encode(), text, "sha1")
    signed = {"access": held["access"], "signature": base64.b64encode(mac).decode()}
    signed["token"] = base64.urlsafe_b64encode(text).decode()
    shown = (await admin.post(f"{V3}/s3tokens", json={"credentials": signed})).json()["token"]
    assert shown["application_credential"]["id"] == robot["id"]
    assert [role["name"] for role in shown["roles"]] == ["reader"]
    assert (await other.delete(f"{path}/{robot['id']}")).status == 204
    assert (await admin.post(f"{V3}/s3tokens", json={"credentials": signed})).status == 401


async def test_a_text_of_s3_is_exchanged_for_who_signed_it(admin, other, signer):
    text = b"GET\n\n\n\n/bucket"
    mac = hmac.digest(signer.held["secret"].encode(), text, "sha1")
    body = {"access": signer.held["access"], "signature": base64.b64encode(mac).decode()}
    body["token"] = base64.urlsafe_b64encode(text).decode()
    reply = await admin.post(f"{V3}/s3tokens", json={"credentials": body})
    assert (reply.status, reply.json()["token"]["user"]["id"]) == (200, other.user.id.hex)
    assert "x-subject-token" not in reply.headers
    body["signature"] = "wrong"
    assert (await admin.post(f"{V3}/s3tokens", json={"credentials": body})).status == 401


async def test_signatures_are_checked_for_services_and_administrators_only(member, signer):
    for path in ("ec2tokens", "s3tokens"):
        assert (await member.post(f"{V3}/{path}", json={"credentials": signer()})).status == 403


async def test_what_is_signed_wrong_or_long_ago_is_refused(admin, cloud, signer):
    async def sent(body):
        return (await admin.post(f"{V3}/ec2tokens", json={"credentials": body})).status

    old = (cloud.now() - timedelta(minutes=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    fresh = cloud.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    assert await sent(signer(Timestamp=fresh)) == 200
    assert await sent(signer(Timestamp=old)) == 401
    assert await sent(signer() | {"access": "unknown"}) == 404
    assert await sent({}) == 401
    assert await sent(signer() | {"signature": ""}) == 401
    assert await sent(signer(SignatureVersion="9")) == 400
    answers = [await sent(signer("wrong")) for _ in range(6)]
    assert set(answers) == {401}
    assert await sent(signer()) == 401


# --- one-time codes


async def test_a_code_is_good_once(cloud, other):
    secret = b"12345678901234567890"
    blob = base64.b32encode(secret).decode().rstrip("=")
    assert (await keep(other, type="totp", blob=blob, user_id=other.user.id.hex)).status == 201
    async with cloud.view() as look:
        user = await look.get(User, other.user.id)
    given = codes.code(secret, codes.step_at(cloud.now()))
    assert await second_factor.check(cloud, user, given) == user
    with pytest.raises(Exception, match="requires authentication"):
        await second_factor.check(cloud, user, given)


async def test_pairs_go_with_their_user(admin):
    user = (await make(admin, "user", name="u"))["id"]
    made = (await keep(admin, type="cert", blob="x", user_id=user)).json()["credential"]
    assert (await admin.delete(f"{V3}/users/{user}")).status == 204
    assert (await admin.get(f"{V3}/credentials/{made['id']}")).status == 404


async def test_what_was_handed_on_makes_and_reads_no_codes(other, kernel):
    """With a code one logs in as the user, who gave the program one role in one project."""
    user, project = other.user.id.hex, other.project.id.hex
    wanted = {"name": "program", "secret": "hidden", "roles": [{"name": "reader"}], "unrestricted": True}
    path = f"{V3}/users/{user}/application_credentials"
    made = (await other.post(path, json={"application_credential": wanted})).json()["application_credential"]
    body = {
        "methods": ["application_credential"],
        "application_credential": {"id": made["id"], "secret": "hidden"},
    }
    program, _ = await login(Client(kernel), {"auth": {"identity": body}})
    seed = base64.b32encode(b"k" * 20).decode()
    codes_of_user = (await keep(other, type="totp", blob=seed, user_id=user, project_id=project)).json()
    key = codes_of_user["credential"]["id"]
    for place in (project, None):
        fields = {"type": "totp", "blob": seed, "user_id": user, "project_id": place}
        assert (await keep(program, **fields)).status == 403
    kept = await keep(program, type="cert", blob=seed, user_id=user, project_id=project)
    assert kept.status == 201
    own = f"{V3}/credentials/{kept.json()['credential']['id']}"
    assert (await program.patch(own, json={"credential": {"type": "totp"}})).status == 403
    assert (await program.get(f"{V3}/credentials/{key}")).status == 403
    listed = (await program.get(f"{V3}/credentials")).json()["credentials"]
    assert key not in {credential["id"] for credential in listed}
