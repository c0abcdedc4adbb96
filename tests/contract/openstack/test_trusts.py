"""Conversations with Keystone's API about trusts."""

from datetime import timedelta

import pytest

from tests.asgi import Client
from tests.contract.openstack.test_identity import (
    NOBODY,
    TOKENS,
    V3,
    by_application,
    by_password,
    by_token,
    grant,
    login,
    named,
)

TRUSTS = f"{V3}/OS-TRUST/trusts"


@pytest.fixture
def anyone(kernel):
    return Client(kernel)


@pytest.fixture
async def trustee(admin):
    reply = await admin.post(f"{V3}/users", json={"user": {"name": "trustee", "password": "secret"}})
    return reply.json()["user"]["id"]


def wanted(trustor, trustee, **more):
    fields = {
        "trustor_user_id": trustor.user.id.hex,
        "trustee_user_id": trustee,
        "project_id": trustor.project.id.hex,
        "impersonation": False,
        "roles": [{"name": "member"}],
    }
    return {"trust": {name: value for name, value in {**fields, **more}.items() if value is not ...}}


async def trust_of(trustor, trustee, **more):
    reply = await trustor.post(TRUSTS, json=wanted(trustor, trustee, **more))
    assert reply.status == 201, reply.text
    return reply.json()["trust"]


def by_trust(trust, user="trustee"):
    return by_password(named(user), scope={"OS-TRUST:trust": {"id": trust["id"]}})


async def test_a_trust_from_making_to_deleting(admin, member, other, trustee):
    trust = await trust_of(other, trustee, purpose="backup")
    assert (trust["purpose"], trust["redelegation_count"], trust["deleted_at"]) == ("backup", 0, None)
    path = f"{TRUSTS}/{trust['id']}"
    assert (await other.get(path)).json()["trust"] == trust
    assert (await member.get(path)).status == 403
    assert (await admin.get(f"{TRUSTS}/{NOBODY}")).status == 404
    role = trust["roles"][0]
    assert role["name"] == "member"
    assert (await other.get(f"{path}/roles")).json()["roles"] == [role]
    assert (await other.get(f"{path}/roles/{role['id']}")).json() == {"role": role}
    assert (await other.head(f"{path}/roles/{role['id']}")).status == 200
    assert (await other.get(f"{path}/roles/{NOBODY}")).status == 404
    listed = (await admin.get(TRUSTS)).json()["trusts"]
    assert listed == [{k: v for k, v in trust.items() if not k.startswith("roles")}]
    by = f"{TRUSTS}?trustor_user_id="
    assert (await other.get(by + other.user.id.hex)).json()["trusts"] == listed
    assert (await admin.get(f"{TRUSTS}?trustee_user_id={trustee}")).json()["trusts"] == listed
    assert (await member.get(by + other.user.id.hex)).status == 403
    assert (await other.get(TRUSTS)).status == 403
    assert (await member.delete(path)).status == 403
    assert (await other.delete(path)).status == 204
    assert (await other.get(path)).status == 404


@pytest.mark.parametrize("impersonation", [False, True])
async def test_a_token_of_a_trust(anyone, admin, other, trustee, impersonation):
    trust = await trust_of(other, trustee, impersonation=impersonation)
    client, shown = await login(anyone, by_trust(trust))
    assert shown["user"]["name"] == ("other" if impersonation else "trustee")
    assert [role["name"] for role in shown["roles"]] == ["member", "reader"]
    assert shown["project"]["id"] == other.project.id.hex
    assert shown["OS-TRUST:trust"] == {
        "id": trust["id"],
        "trustor_user": {"id": other.user.id.hex},
        "trustee_user": {"id": trustee},
        "impersonation": impersonation,
    }
    again = (await admin.get(TOKENS, headers={"x-subject-token": client.headers["x-auth-token"]})).json()
    assert again["token"] == shown
    text = client.headers["x-auth-token"]
    for scope in (None, "unscoped", {"project": {"id": other.project.id.hex}}):
        assert (await anyone.post(TOKENS, json=by_token(text, scope))).status == 403
    path = f"{V3}/users/{shown['user']['id']}/application_credentials"
    assert (await client.post(path, json={"application_credential": {"name": "x"}})).status == 403
    assert (await client.get(path)).status == 403
    assert (await client.get(f"{V3}/users/{shown['user']['id']}/access_rules")).status == 403


async def test_a_trust_is_of_no_use_to_anybody_else(anyone, other, trustee):
    trust = await trust_of(other, trustee)
    assert (await anyone.post(TOKENS, json=by_trust(trust, "other"))).status == 403
    assert (await anyone.post(TOKENS, json=by_trust({"id": NOBODY}))).status == 401


WRONG = {
    "no roles": ({"roles": []}, 403),
    "a role that the trustor has not": ({"roles": [{"name": "admin"}]}, 404),
    "a role that nobody has": ({"roles": [{"id": NOBODY}]}, 404),
    "somebody else's": ({"trustor_user_id": NOBODY}, 403),
    "for nobody": ({"trustee_user_id": NOBODY}, 404),
    "nowhere": ({"project_id": NOBODY}, 404),
    "no word on impersonation": ({"impersonation": ...}, 400),
    "in the past": ({"expires_at": "2010-01-01T00:00:00Z"}, 400),
    "at no time": ({"expires_at": "soon"}, 400),
    "no uses": ({"remaining_uses": 0}, 400),
    "uses of what may be handed on": ({"remaining_uses": 1, "allow_redelegation": True}, 400),
    "handed on too often": ({"redelegation_count": 4, "allow_redelegation": True}, 403),
}


@pytest.mark.parametrize(("fields", "status"), WRONG.values(), ids=WRONG)
async def test_a_trust_that_cannot_be(other, trustee, fields, status):
    assert (await other.post(TRUSTS, json=wanted(other, trustee, **fields))).status == status


async def test_a_trust_for_no_project_gives_no_role(anyone, other, trustee):
    trust = await trust_of(other, trustee, project_id=None, roles=...)
    assert trust["project_id"] is None
    _, shown = await login(anyone, by_trust(trust))
    assert "roles" not in shown
    assert shown["OS-TRUST:trust"]["id"] == trust["id"]


async def test_uses_are_counted(anyone, other, trustee):
    trust = await trust_of(other, trustee, remaining_uses=2)
    clients = [(await login(anyone, by_trust(trust)))[0] for _ in range(2)]
    assert (await anyone.post(TOKENS, json=by_trust(trust))).status == 401
    assert (await other.get(f"{TRUSTS}/{trust['id']}")).status == 404
    query = f"?trustor_user_id={other.user.id.hex}"
    assert (await other.get(TRUSTS + query)).json()["trusts"][0]["remaining_uses"] == 0
    for client in clients:
        assert (await client.get(f"{V3}/auth/projects")).status == 200


async def test_a_token_ends_with_its_trust(anyone, cloud, other, trustee):
    ends = cloud.now() + timedelta(minutes=10)
    trust = await trust_of(other, trustee, expires_at=ends.isoformat())
    _, shown = await login(anyone, by_trust(trust))
    assert shown["expires_at"] == trust["expires_at"]


@pytest.mark.parametrize("end", ["trust", "role", "trustor", "trustee", "project"])
async def test_a_trust_ends_at_the_next_request(anyone, admin, other, trustee, end):
    place = f"projects/{other.project.id.hex}"
    path = await grant(admin, other.user.id.hex, "manager", place)
    trust = await trust_of(other, trustee, roles=[{"name": "manager"}])
    client, _ = await login(anyone, by_trust(trust))
    assert (await client.get(f"{V3}/auth/projects")).status == 200
    off = {"enabled": False}
    if end == "trust":
        assert (await admin.delete(f"{TRUSTS}/{trust['id']}")).status == 204
    elif end == "role":
        assert (await admin.delete(path)).status == 204
    elif end == "trustor":
        assert (await admin.patch(f"{V3}/users/{other.user.id.hex}", json={"user": off})).status == 200
    elif end == "trustee":
        assert (await admin.patch(f"{V3}/users/{trustee}", json={"user": off})).status == 200
    else:
        assert (await admin.patch(f"{V3}/{place}", json={"project": off})).status == 200
    assert (await client.get(f"{V3}/auth/projects")).status == 401
    assert (await anyone.post(TOKENS, json=by_trust(trust))).status in (401, 403)


async def test_a_trust_is_handed_on_narrower_and_ends_with_the_first(anyone, admin, other, trustee):
    third = await admin.post(f"{V3}/users", json={"user": {"name": "third", "password": "secret"}})
    third = third.json()["user"]["id"]
    first = await trust_of(other, trustee, impersonation=True, allow_redelegation=True, redelegation_count=2)
    client, _ = await login(anyone, by_trust(first))
    body = wanted(other, third, impersonation=True, allow_redelegation=True)
    for wrong in ({"remaining_uses": 1, "allow_redelegation": False}, {"redelegation_count": 2}):
        assert (await client.post(TRUSTS, json={"trust": body["trust"] | wrong})).status == 403
    made = await client.post(TRUSTS, json=body)
    assert made.status == 201, made.text
    second = made.json()["trust"]
    assert second["redelegated_trust_id"] == first["id"]
    assert second["redelegation_count"] == 1
    heir, shown = await login(anyone, by_trust(second, "third"))
    assert shown["user"]["name"] == "other"
    assert (await other.delete(f"{TRUSTS}/{first['id']}")).status == 204
    assert (await heir.get(f"{V3}/auth/projects")).status == 401
    assert (await admin.get(TRUSTS)).json()["trusts"] == []


async def test_an_application_credential_cannot_touch_trusts(anyone, other, trustee):
    path = f"{V3}/users/{other.user.id.hex}/application_credentials"
    want = {"application_credential": {"name": "robot", "unrestricted": True}}
    made = (await other.post(path, json=want)).json()["application_credential"]
    client, _ = await login(anyone, by_application(made["id"], made["secret"]))
    assert (await client.post(TRUSTS, json=wanted(other, trustee))).status == 403
    assert (await client.get(f"{TRUSTS}?trustor_user_id={other.user.id.hex}")).status == 403
