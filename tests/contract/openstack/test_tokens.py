"""Conversations with Keystone's API about tokens: several methods at once, scopes, chains and their end."""

from datetime import timedelta

import pytest

from pileus.core.identity.authentication import codes
from pileus.core.identity.records import Scope
from tests.asgi import Client
from tests.contract.openstack.conftest import token
from tests.contract.openstack.test_identity import (
    PASSWORD,
    TOKENS,
    V3,
    by_password,
    by_token,
    grant,
    login,
    named,
)

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@pytest.fixture
def anyone(kernel):
    return Client(kernel)


class Clock:
    def __init__(self, cloud):
        self.now, self.ahead = cloud.now, timedelta()
        cloud.now = lambda: self.now() + self.ahead

    def move(self, seconds):
        self.ahead += timedelta(seconds=seconds)


@pytest.fixture
def clock(cloud):
    return Clock(cloud)


def code_at(moment):
    return codes.code(codes.secret_of(SECRET), codes.step_at(moment))


async def set_rules(admin, user, rules, enabled=True):
    options = {"multi_factor_auth_rules": rules, "multi_factor_auth_enabled": enabled}
    reply = await admin.patch(f"{V3}/users/{user}", json={"user": {"options": options}})
    assert reply.status == 200, reply.text


@pytest.fixture
async def secured(admin, other):
    """A user who must show a password and a code."""
    secret = {"type": "totp", "blob": SECRET, "user_id": other.user.id.hex}
    assert (await admin.post(f"{V3}/credentials", json={"credential": secret})).status == 201
    await set_rules(admin, other.user.id.hex, [["password", "totp"]])
    return other


def both(user, passcode):
    identity = {
        "methods": ["password", "totp"],
        "password": {"user": {"id": user, "password": PASSWORD}},
        "totp": {"user": {"id": user, "passcode": passcode}},
    }
    return {"auth": {"identity": identity}}


# --- several methods


async def test_a_password_alone_is_answered_with_a_receipt_where_a_code_is_needed_too(anyone, secured, cloud):
    user = secured.user.id.hex
    first = await anyone.post(TOKENS, json=by_password({"id": user}))
    assert first.status == 401
    assert first.json()["required_auth_methods"] == [["password", "totp"]]
    shown = first.json()["receipt"]
    assert shown["methods"] == ["password"]
    assert shown["user"]["domain"] == {"id": "default", "name": "Default"}
    rest = both(user, code_at(cloud.now()))
    rest["auth"]["identity"]["methods"] = ["totp"]
    receipt = {"openstack-auth-receipt": first.headers["openstack-auth-receipt"]}
    reply = await anyone.post(TOKENS, json=rest, headers=receipt)
    assert reply.status == 201, reply.text
    assert set(reply.json()["token"]["methods"]) == {"password", "totp"}


async def test_a_password_and_a_code_at_once(anyone, secured, cloud):
    _, shown = await login(anyone, both(secured.user.id.hex, code_at(cloud.now())))
    assert set(shown["methods"]) == {"password", "totp"}


async def test_a_wrong_code_and_a_receipt_of_somebody_else_are_refused(anyone, admin, member, secured, cloud):
    user = secured.user.id.hex
    assert (await anyone.post(TOKENS, json=both(user, "000000"))).status == 401
    receipt = (await anyone.post(TOKENS, json=by_password({"id": user}))).headers["openstack-auth-receipt"]
    other = {"user": {"name": "third", "password": PASSWORD}}
    third = (await admin.post(f"{V3}/users", json=other)).json()["user"]["id"]
    for text, who in (("nonsense", user), (receipt, third), (member.headers["x-auth-token"], third)):
        reply = await anyone.post(
            TOKENS, json=by_password({"id": who}), headers={"openstack-auth-receipt": text}
        )
        assert reply.status == 401
        assert "receipt" not in reply.json()


async def test_a_receipt_is_no_token(anyone, secured):
    reply = await anyone.post(TOKENS, json=by_password({"id": secured.user.id.hex}))
    text = reply.headers["openstack-auth-receipt"]
    assert (await anyone.get(f"{V3}/auth/projects", headers={"x-auth-token": text})).status == 401


@pytest.mark.parametrize(
    ("rules", "enabled"),
    [([["password", "totp"]], False), ([["unheard-of"]], True), ([["password"], ["totp"]], True)],
    ids=["switched off", "only methods that are not served", "one of several"],
)
async def test_rules_that_a_password_satisfies(anyone, admin, other, rules, enabled):
    await set_rules(admin, other.user.id.hex, rules, enabled)
    assert (await anyone.post(TOKENS, json=by_password({"id": other.user.id.hex}))).status == 201


async def test_an_unknown_method_is_told_which_there_are(anyone):
    body = {"auth": {"identity": {"methods": ["unheard-of"], "unheard-of": {}}}}
    reply = await anyone.post(TOKENS, json=body)
    assert reply.status == 401
    methods = reply.json()["error"]["identity"]["methods"]
    assert {"password", "token", "application_credential", "totp"} <= set(methods)


# --- chains


async def test_a_token_by_a_token_ends_with_the_first_one(anyone, other, clock):
    first, shown = await login(anyone, by_password(named("other"), scope="unscoped"))
    clock.move(10)
    project = {"project": {"id": other.project.id.hex}}
    _, second = await login(anyone, by_token(first.headers["x-auth-token"], project))
    assert second["expires_at"] == shown["expires_at"]
    assert second["audit_ids"][1:] == shown["audit_ids"]
    assert set(second["methods"]) == {"password", "token"}


@pytest.mark.parametrize(("query", "left"), [("", 401), ("?cascade=false", 200)])
async def test_a_revoked_token_takes_those_got_by_it_along(anyone, other, query, left):
    first, _ = await login(anyone, by_password(named("other"), scope="unscoped"))
    text = first.headers["x-auth-token"]
    second, _ = await login(anyone, by_token(text, {"project": {"id": other.project.id.hex}}))
    assert (await first.delete(TOKENS + query, headers={"x-subject-token": text})).status == 204
    assert (await first.get(f"{V3}/auth/projects")).status == 401
    assert (await second.get(f"{V3}/auth/projects")).status == left


async def test_a_token_of_the_system_begets_none_of_a_project(anyone, admin, other):
    await grant(admin, other.user.id.hex, "reader", "system")
    client, _ = await login(anyone, by_password(named("other"), scope={"system": {"all": True}}))
    text = client.headers["x-auth-token"]
    project = by_token(text, {"project": {"id": other.project.id.hex}})
    assert (await anyone.post(TOKENS, json=project)).status == 403
    assert (await anyone.post(TOKENS, json=by_token(text, {"system": {"all": True}}))).status == 201


# --- asking about tokens


async def test_a_token_is_looked_at_with_and_without_the_catalogue(admin, other):
    headers = {"x-subject-token": other.headers["x-auth-token"]}
    assert "catalog" in (await admin.get(TOKENS, headers=headers)).json()["token"]
    assert "catalog" not in (await admin.get(f"{TOKENS}?nocatalog", headers=headers)).json()["token"]
    head = await admin.head(TOKENS, headers=headers)
    assert (head.status, head.body) == (200, b"")
    assert (await other.head(TOKENS, headers={"x-subject-token": "nonsense"})).status == 404


async def test_an_expired_token_can_be_asked_about_for_two_days(admin, other, cloud, clock):
    headers = {"x-subject-token": other.headers["x-auth-token"]}
    for after, plain, allowed in ((3601, 404, 200), (timedelta(days=2).total_seconds(), 404, 404)):
        clock.move(after)
        fresh = {**headers, "x-auth-token": token(cloud, admin.user.id, Scope.PROJECT, admin.project.id)}
        assert (await admin.get(TOKENS, headers=fresh)).status == plain
        assert (await admin.get(f"{TOKENS}?allow_expired=1", headers=fresh)).status == allowed


async def test_events_tell_what_was_revoked(anyone, admin, member, other):
    client, shown = await login(anyone, by_password(named("other"), scope="unscoped"))
    text = client.headers["x-auth-token"]
    await client.delete(TOKENS, headers={"x-subject-token": text})
    assert (await admin.delete(f"{V3}/users/{other.user.id.hex}/tokens")).status == 204
    assert (await other.get(f"{V3}/auth/projects")).status == 401
    events = (await admin.get(f"{V3}/OS-REVOKE/events")).json()["events"]
    assert [set(event) - {"issued_before", "revoked_at"} for event in events] == [
        {"audit_id"},
        {"audit_chain_id"},
        {"user_id"},
    ]
    assert events[0]["audit_id"] == shown["audit_ids"][0]
    later = await admin.get(f"{V3}/OS-REVOKE/events?since=2999-01-01T00:00:00Z")
    assert later.json()["events"] == []
    assert (await admin.get(f"{V3}/OS-REVOKE/events?since=soon")).status == 400
    assert (await member.get(f"{V3}/OS-REVOKE/events")).status == 403
    assert (await member.delete(f"{V3}/users/{other.user.id.hex}/tokens")).status == 403
    assert (await anyone.get(f"{V3}/auth/tokens/OS-PKI/revoked")).status == 403


async def test_what_a_token_can_be_exchanged_for_through_groups_and_from_above(anyone, admin, other):
    user = other.user.id.hex
    group = (await admin.post(f"{V3}/groups", json={"group": {"name": "team"}})).json()["group"]["id"]
    await admin.put(f"{V3}/groups/{group}/users/{user}")
    made = [
        (await admin.post(f"{V3}/projects", json={"project": {"name": name, **more}})).json()["project"]
        for name, more in (("top", {}), ("else", {}))
    ]
    below = {"name": "below", "parent_id": made[0]["id"]}
    child = (await admin.post(f"{V3}/projects", json={"project": below})).json()["project"]["id"]
    role = (await admin.get(f"{V3}/roles?name=member")).json()["roles"][0]["id"]
    for path in (
        f"projects/{made[1]['id']}/groups/{group}/roles/{role}",
        f"OS-INHERIT/projects/{made[0]['id']}/users/{user}/roles/{role}/inherited_to_projects",
        f"domains/default/groups/{group}/roles/{role}",
        f"system/groups/{group}/roles/{role}",
    ):
        assert (await admin.put(f"{V3}/{path}")).status == 204, path
    client, _ = await login(anyone, by_password(named("other"), scope="unscoped"))
    found = {project["name"] for project in (await client.get(f"{V3}/auth/projects")).json()["projects"]}
    assert found == {"other", "below", "else"}
    domains = (await client.get(f"{V3}/auth/domains")).json()["domains"]
    assert [domain["id"] for domain in domains] == ["default"]
    assert (await client.get(f"{V3}/auth/system")).json()["system"] == [{"all": True}]
    for scope in ({"project": {"id": child}}, {"domain": {"id": "default"}}, {"system": {"all": True}}):
        _, shown = await login(anyone, by_password(named("other"), scope=scope))
        assert [role["name"] for role in shown["roles"]] == ["member", "reader"]
    top = by_password(named("other"), scope={"project": {"id": made[0]["id"]}})
    assert (await anyone.post(TOKENS, json=top)).status == 401
    assert (await admin.delete(f"{V3}/groups/{group}/users/{user}")).status == 204
    system = by_password(named("other"), scope={"system": {"all": True}})
    assert (await anyone.post(TOKENS, json=system)).status == 401
