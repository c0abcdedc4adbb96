"""Conversations with Keystone's API about users and their passwords."""

from datetime import timedelta

import msgspec
import pytest

from pileus.core.identity.authentication import secrets
from tests.asgi import Client
from tests.contract.openstack.logins import (
    NOBODY,
    PASSWORD,
    TOKENS,
    V3,
    by_password,
    make,
    named,
    pages,
)


@pytest.fixture
def anyone(kernel):
    return Client(kernel)


@pytest.fixture
def configured(cloud):
    """Sets what the operator may set."""

    def configure(**values):
        cloud.config = msgspec.structs.replace(cloud.config, **values)

    return configure


def move(cloud, **span):
    """Time goes on."""
    before = cloud.now
    cloud.now = lambda: before() + timedelta(**span)


async def change(anyone, user, original, password):
    body = {"user": {"original_password": original, "password": password}}
    return await anyone.post(f"{V3}/users/{user}/password", json=body)


async def tried(anyone, user, password):
    return (await anyone.post(TOKENS, json=by_password({"id": user}, password))).status


async def test_a_user_from_create_to_delete(admin):
    body = {"name": "ann", "password": PASSWORD, "email": "a@b.c", "description": "x", "colour": "red"}
    made = await admin.post(f"{V3}/users", json={"user": body})
    user = made.json()["user"]
    path = f"{V3}/users/{user['id']}"
    assert made.status == 201
    assert user == {
        "id": user["id"],
        "name": "ann",
        "domain_id": "default",
        "enabled": True,
        "email": "a@b.c",
        "description": "x",
        "colour": "red",
        "password_expires_at": None,
        "options": {},
        "links": {"self": f"http://cloud.test{path}"},
    }
    assert PASSWORD not in made.text
    assert (await admin.get(path)).json() == {"user": user}
    changed = await admin.patch(path, json={"user": {"name": "anna", "email": None, "size": 5}})
    shown = changed.json()["user"]
    assert (shown["name"], shown["colour"], shown["size"]) == ("anna", "red", 5)
    assert shown["email"] is None
    assert [u["id"] for u in (await admin.get(f"{V3}/users?name=anna")).json()["users"]] == [user["id"]]
    assert (await admin.post(f"{V3}/users", json={"user": {"name": "anna"}})).status == 409
    assert (await admin.patch(path, json={"user": {}})).status == 400
    assert (await admin.patch(path, json={"user": {"id": NOBODY}})).status == 400
    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).json()["error"] == {
        "code": 404,
        "title": "Not Found",
        "message": f"Could not find user: {user['id']}.",
    }
    assert (await admin.delete(path)).status == 404


async def test_options_are_merged_and_null_takes_one_away(admin):
    rules = [["password", "totp"], ["password"]]
    user = await make(
        admin, "user", name="ann", options={"lock_password": True, "multi_factor_auth_rules": rules}
    )
    assert user["options"] == {"lock_password": True, "multi_factor_auth_rules": rules}
    body = {"user": {"options": {"lock_password": None, "ignore_password_expiry": True}}}
    shown = (await admin.patch(f"{V3}/users/{user['id']}", json=body)).json()["user"]
    assert shown["options"] == {"ignore_password_expiry": True, "multi_factor_auth_rules": rules}


BAD_OPTIONS = [
    {"unknown": True},
    {"lock_password": "yes"},
    {"multi_factor_auth_rules": [[]]},
    {"multi_factor_auth_rules": [["totp", "totp"]]},
    {"multi_factor_auth_rules": [["totp"], ["totp"]]},
    {"multi_factor_auth_rules": "totp"},
]
BAD_USERS = [
    {},
    {"name": ""},
    {"name": " "},
    {"name": "x" * 256},
    {"name": 5},
    {"name": "x", "enabled": "yes"},
    *({"name": "x", "options": options} for options in BAD_OPTIONS),
]


@pytest.mark.parametrize("user", BAD_USERS)
async def test_a_malformed_user_is_refused(admin, user):
    reply = await admin.post(f"{V3}/users", json={"user": user})
    assert (reply.status, reply.json()["error"]["code"]) == (400, 400)


async def test_lists_come_in_pages(admin, member, other):
    found = await pages(admin, "users?limit=2", "users")
    assert [len(page) for page in found] == [2, 1]
    assert {name for page in found for name in page} == {"admin", "demo", "other"}
    assert (await admin.get(f"{V3}/users?marker={NOBODY}")).status == 404
    assert (await admin.get(f"{V3}/users?marker=nonsense")).status == 404


QUERIES = {
    "name=annika": {"annika"},
    "name__contains=nni": {"annika"},
    "name__startswith=an": {"annika"},
    "name__istartswith=an": {"annika", "ANNIE"},
    "name__endswith=IE": {"ANNIE"},
    "name__icontains=NNI": {"annika", "ANNIE"},
    "name__contains=%25": set(),
    "enabled=false": {"ANNIE"},
    "enabled=True&name__contains=ann": {"annika"},
    "domain_id=default&name__icontains=ann": {"annika", "ANNIE"},
    f"domain_id={NOBODY}": set(),
    "idp_id=none": set(),
    "password_expires_at=lt:2030-01-01T00:00:00Z": set(),
}


@pytest.mark.parametrize("query", QUERIES)
async def test_users_are_found_by(admin, query):
    await make(admin, "user", name="annika")
    await make(admin, "user", name="ANNIE", enabled=False)
    found = (await admin.get(f"{V3}/users?{query}")).json()["users"]
    assert {user["name"] for user in found} == QUERIES[query]


@pytest.mark.parametrize(
    "query", ["enabled=perhaps", "password_expires_at=xx:2030", "password_expires_at=lt:x"]
)
async def test_a_filter_of_no_form_is_refused(admin, query):
    assert (await admin.get(f"{V3}/users?{query}")).status == 400


async def test_one_sees_oneself_and_no_other(member, other):
    own = f"{V3}/users/{other.user.id.hex}"
    assert (await other.get(own)).status == 200
    assert (await other.request("HEAD", own)).status == 200
    assert (await other.get(own + "/projects")).json()["projects"][0]["name"] == "other"
    assert (await other.get(own + "/groups")).json()["groups"] == []
    for path in (own, own + "/projects", own + "/groups", f"{V3}/users/{NOBODY}"):
        assert (await member.get(path)).status == 403
    assert (await member.get(f"{V3}/projects/{other.project.id.hex}")).status == 403
    assert (await other.get(f"{V3}/projects/{other.project.id.hex}")).status == 200


# --- passwords


async def test_a_user_changes_its_own_password_with_the_old_one(anyone, other):
    user = other.user.id.hex
    assert (await change(anyone, user, "wrong", "new")).status == 401
    assert (await change(anyone, user, PASSWORD, "")).status == 400
    assert (await change(anyone, user, PASSWORD, "new")).status == 204
    assert (await other.get(f"{V3}/auth/projects")).status == 401
    assert await tried(anyone, user, PASSWORD) == 401
    assert await tried(anyone, user, "new") == 201
    assert (await change(anyone, NOBODY, PASSWORD, "new")).status == 401


async def test_a_locked_password_is_changed_by_others_only(admin, anyone):
    user = (await make(admin, "user", name="u", password=PASSWORD, options={"lock_password": True}))["id"]
    assert (await change(anyone, user, PASSWORD, "new")).status == 400
    assert (await admin.patch(f"{V3}/users/{user}", json={"user": {"password": "new"}})).status == 200
    assert await tried(anyone, user, "new") == 201


async def test_passwords_are_as_strong_as_the_operator_asks(admin, anyone, configured):
    configured(password_regex=r"^.{8,}$", password_regex_description="at least 8 characters")
    weak = await admin.post(f"{V3}/users", json={"user": {"name": "u", "password": "short"}})
    assert weak.status == 400
    assert "at least 8 characters" in weak.json()["error"]["message"]
    user = (await make(admin, "user", name="u", password="long enough"))["id"]
    assert (await change(anyone, user, "long enough", "short")).status == 400
    assert (await admin.patch(f"{V3}/users/{user}", json={"user": {"password": "short"}})).status == 400
    assert (await change(anyone, user, "long enough", "quite long")).status == 204


async def test_the_last_passwords_are_not_taken_again(admin, anyone, configured):
    configured(unique_last_password_count=2)
    user = (await make(admin, "user", name="u", password="one"))["id"]
    assert (await change(anyone, user, "one", "two")).status == 204
    assert (await change(anyone, user, "two", "one")).status == 400
    assert (await change(anyone, user, "two", "three")).status == 204
    assert (await change(anyone, user, "three", "one")).status == 204


async def test_an_expired_password_is_good_for_nothing_but_a_new_one(admin, anyone, cloud, configured):
    configured(password_expires_days=10)
    user = await make(admin, "user", name="u", password="one")
    exempt = await make(admin, "user", name="v", password="one", options={"ignore_password_expiry": True})
    assert user["password_expires_at"] is not None
    assert exempt["password_expires_at"] is None
    assert await tried(anyone, user["id"], "one") == 201
    later = (cloud.now() + timedelta(days=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for query, names in ((f"lt:{later}", ["u"]), (f"gte:{later}", []), (f"neq:{later}", ["u"])):
        found = (await admin.get(f"{V3}/users?password_expires_at={query}")).json()["users"]
        assert [one["name"] for one in found] == names
    move(cloud, days=11)
    refused = await anyone.post(TOKENS, json=by_password(named("u"), "one"))
    assert refused.status == 401
    assert "password is expired" in refused.json()["error"]["message"]
    assert await tried(anyone, exempt["id"], "one") == 201
    assert (await change(anyone, user["id"], "one", "two")).status == 204
    assert await tried(anyone, user["id"], "two") == 201


async def test_a_password_that_another_chose_is_changed_at_the_first_use(admin, anyone, configured):
    configured(change_password_upon_first_use=True, minimum_password_age=1)
    user = (await make(admin, "user", name="u", password="one"))["id"]
    assert await tried(anyone, user, "one") == 401
    assert (await change(anyone, user, "one", "two")).status == 204
    assert await tried(anyone, user, "two") == 201
    young = await change(anyone, user, "two", "three")
    assert young.status == 400
    assert "minimum password age" in young.json()["error"]["message"]


async def test_an_idle_user_is_disabled_until_an_administrator_enables_it(admin, anyone, cloud, configured):
    configured(disable_user_account_days_inactive=30)
    user = (await make(admin, "user", name="u", password="one"))["id"]
    assert await tried(anyone, user, "one") == 201
    move(cloud, days=40)
    assert await tried(anyone, user, "one") == 401
    configured(disable_user_account_days_inactive=0)
    assert await tried(anyone, user, "one") == 201


# --- failures


async def test_a_user_is_locked_after_some_failures_for_some_time(admin, anyone, cloud, configured):
    configured(lockout_failure_attempts=2, lockout_duration=60)
    user = (await make(admin, "user", name="u", password="one"))["id"]
    spared = {"ignore_lockout_failure_attempts": True}
    exempt = (await make(admin, "user", name="v", password="one", options=spared))["id"]
    for _ in range(2):
        assert await tried(anyone, user, "wrong") == 401
        assert await tried(anyone, exempt, "wrong") == 401
    assert await tried(anyone, user, "one") == 401
    assert await tried(anyone, exempt, "one") == 201
    move(cloud, seconds=61)
    assert await tried(anyone, user, "one") == 201


async def test_a_locked_user_may_log_in_when_an_administrator_enables_it(admin, anyone, configured):
    configured(lockout_failure_attempts=2, lockout_duration=0)
    user = (await make(admin, "user", name="u", password="one"))["id"]
    for _ in range(2):
        await tried(anyone, user, "wrong")
    assert await tried(anyone, user, "one") == 401
    assert (await admin.patch(f"{V3}/users/{user}", json={"user": {"enabled": True}})).status == 200
    assert await tried(anyone, user, "one") == 201


async def test_guessing_is_slowed_down_whatever_is_configured(admin, anyone, cloud, monkeypatch):
    now = cloud.now()
    cloud.now = lambda: now
    user = (await make(admin, "user", name="u", password="one"))["id"]
    hashed = []
    verify = secrets.Secrets.verify

    async def counting(self, *args):
        hashed.append(args)
        return await verify(self, *args)

    monkeypatch.setattr(secrets.Secrets, "verify", counting)
    for who in ({"id": user}, {"id": NOBODY}, named("nobody")):
        hashed.clear()
        bodies = [by_password(who, f"guess {number}") for number in range(9)]
        answers = [await anyone.post(TOKENS, json=body) for body in bodies]
        assert {(answer.status, answer.text) for answer in answers} == {(401, answers[0].text)}
        assert len(hashed) == 5
    assert await tried(anyone, user, "one") == 401
    move(cloud, seconds=2)
    assert await tried(anyone, user, "one") == 201
    assert await tried(anyone, user, "wrong") == 401
    assert await tried(anyone, user, "one") == 201
