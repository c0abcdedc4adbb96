"""Application credentials that are bound to some requests."""

import pytest

from pileus.core.errors import Unauthenticated
from pileus.core.identity.authorization import access
from pileus.core.identity.delegation import access_rules
from tests.asgi import Client
from tests.contract.openstack.test_identity import NOBODY, TOKENS, V3, by_application, login

SHOW = {"service": "compute", "method": "GET", "path": "/v2.1/servers/{id}"}
LIST = {"service": "compute", "method": "GET", "path": "/v2.1/servers"}


@pytest.fixture
def anyone(kernel):
    return Client(kernel)


async def make(other, rules, name="robot"):
    path = f"{V3}/users/{other.user.id.hex}/application_credentials"
    body = {"application_credential": {"name": name, "access_rules": rules}}
    return await other.post(path, json=body)


async def bound(anyone, other, rules, name="robot"):
    made = await make(other, rules, name)
    assert made.status == 201, made.text
    shown = made.json()["application_credential"]
    client, _ = await login(anyone, by_application(shown["id"], shown["secret"]))
    return client, shown


async def test_rules_are_made_with_credentials_and_kept_while_one_needs_them(admin, member, other):
    shown = (await make(other, [SHOW, LIST])).json()["application_credential"]
    assert [{k: v for k, v in rule.items() if k != "id"} for rule in shown["access_rules"]] == [SHOW, LIST]
    path = f"{V3}/users/{other.user.id.hex}/access_rules"
    listed = (await other.get(path)).json()["access_rules"]
    assert [rule["id"] for rule in listed] == [rule["id"] for rule in shown["access_rules"]]
    assert len((await other.get(f"{path}?path=/v2.1/servers")).json()["access_rules"]) == 1
    again = (await make(other, [{"id": listed[0]["id"]}, LIST], "second")).json()["application_credential"]
    assert again["access_rules"] == shown["access_rules"]
    one = f"{path}/{listed[0]['id']}"
    assert (await other.get(one)).json()["access_rule"] == listed[0]
    assert (await other.delete(one)).status == 403
    for reader in (member, admin):
        assert (await reader.get(path)).status == 403
        assert (await reader.delete(one)).status == 403
    foreign = {"application_credential": {"name": "x", "access_rules": [{"id": listed[0]["id"]}]}}
    theirs = f"{V3}/users/{member.user.id.hex}/application_credentials"
    assert (await member.post(theirs, json=foreign)).status == 404
    for credential in (shown, again):
        applications = f"{V3}/users/{other.user.id.hex}/application_credentials/{credential['id']}"
        assert (await other.delete(applications)).status == 204
    assert (await other.delete(one)).status == 204
    assert (await other.get(one)).status == 404


@pytest.mark.parametrize(
    "rule",
    [
        {"service": "compute", "method": "GET"},
        {"service": "compute", "method": "FETCH", "path": "/"},
        {"service": "compute", "method": "GET", "path": "servers"},
        {"service": "", "method": "GET", "path": "/"},
        {"id": NOBODY, "more": 1},
    ],
)
async def test_a_rule_that_says_nothing_is_refused(other, rule):
    assert (await make(other, [rule])).status == 400


async def test_a_bound_token_is_good_for_what_its_rules_allow(anyone, cloud, other):
    client, _ = await bound(anyone, other, [LIST])
    assert (await client.get("/compute/v2.1/servers")).status == 200
    for method, path in (
        ("get", "/compute/v2.1/servers/detail"),
        ("post", "/compute/v2.1/servers"),
        ("get", "/compute/v2.1/flavors"),
        ("get", "/image/v2/images"),
        ("get", f"{V3}/auth/projects"),
    ):
        assert (await getattr(client, method)(path)).status == 401, path
    text = client.headers["x-auth-token"]
    assert (await client.get(TOKENS, headers={"x-subject-token": text})).status == 404
    with pytest.raises(Unauthenticated):
        await access.present(cloud, text)
    minds = {"x-subject-token": text, "openstack-identity-access-rules": "1.0"}
    shown = (await client.get(TOKENS, headers=minds)).json()["token"]
    rules = shown["application_credential"]["access_rules"]
    assert [rule["path"] for rule in rules] == [LIST["path"]]


async def test_a_credential_without_rules_is_bound_to_nothing(anyone, other):
    client, shown = await bound(anyone, other, [])
    assert "access_rules" not in shown
    assert (await client.get(f"{V3}/auth/projects")).status == 200


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("/v3/volumes", "/v3/volumes", True),
        ("/v3/volumes", "/v3/volumes/1", False),
        ("/v3/*/volumes", "/v3/p/volumes", True),
        ("/v3/*/volumes", "/v3/p/q/volumes", False),
        ("/v3/**", "/v3/p/q/volumes", True),
        ("/v3/{project_id}/volumes", "/v3/p/volumes", True),
        ("/v3/volumes*", "/v3/volumes-all", True),
        ("/v3.1/x", "/v391/x", False),
        ("/v3/{half", "/v3/{half", True),
    ],
)
def test_what_a_pattern_fits(pattern, path, fits):
    assert bool(access_rules.pattern(pattern).fullmatch(path)) is fits
