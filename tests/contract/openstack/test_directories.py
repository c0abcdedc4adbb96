"""A domain whose users are in a directory, by Keystone's API: configured, logged in to, listed, and not written to."""

from typing import Any

import pytest

from pileus.core.cloud import Cloud
from pileus.drivers.directory.fake import SUFFIX, FakeDirectory
from pileus.drivers.directory.protocol import Settings
from pileus.workflows import directories
from tests.asgi import Reply
from tests.contract.openstack.conftest import Person

V3 = "/identity/v3"
CONFIG = {
    "identity": {"driver": "ldap"},
    "ldap": {"url": "ldap://directory", "suffix": SUFFIX, "password": "hush"},
}


@pytest.fixture
def fake(cloud: Cloud) -> FakeDirectory:
    made = FakeDirectory()

    def opened(settings: Settings) -> FakeDirectory:
        made.settings = settings
        return made

    directories.install(cloud, opened)
    alice = made.put("alice", "wonderland", email="alice@example.org")
    made.put("bob", "builder", enabled=False)
    made.put_group("staff", alice)
    return made


@pytest.fixture
async def domain(admin: Person, fake: FakeDirectory) -> str:
    made = await admin.post(f"{V3}/domains", json={"domain": {"name": "people"}})
    key = str(made.json()["domain"]["id"])
    reply = await admin.put(f"{V3}/domains/{key}/config", json={"config": CONFIG})
    assert reply.status == 201, reply.text
    return key


async def sign_in(who: Person, domain: str, name: str, password: str, scope: Any = None) -> Reply:
    user = {"name": name, "password": password, "domain": {"id": domain}}
    identity = {"methods": ["password"], "password": {"user": user}}
    body = {"auth": {"identity": identity} | ({"scope": scope} if scope else {})}
    return await who.post(f"{V3}/auth/tokens", json=body)


async def test_a_user_of_the_directory_gets_a_token_with_the_roles_of_its_group(admin: Person, domain: str):
    listed = (await admin.get(f"{V3}/users?domain_id={domain}")).json()["users"]
    assert {user["name"]: user["enabled"] for user in listed} == {"alice": True, "bob": False}
    (group,) = (await admin.get(f"{V3}/groups?domain_id={domain}")).json()["groups"]
    members = (await admin.get(f"{V3}/groups/{group['id']}/users")).json()["users"]
    assert [user["name"] for user in members] == ["alice"]
    (role,) = (await admin.get(f"{V3}/roles?name=member")).json()["roles"]
    project = admin.project.id.hex
    granted = await admin.put(f"{V3}/projects/{project}/groups/{group['id']}/roles/{role['id']}")
    assert granted.status == 204
    reply = await sign_in(admin, domain, "alice", "wonderland", {"project": {"id": project}})
    assert reply.status == 201
    token = reply.json()["token"]
    assert (token["user"]["name"], token["user"]["domain"]["id"]) == ("alice", domain)
    assert "member" in {role["name"] for role in token["roles"]}
    (shown,) = [user for user in listed if user["name"] == "alice"]
    assert (shown["id"], shown["email"]) == (token["user"]["id"], "alice@example.org")


async def test_others_get_none(admin: Person, domain: str, fake: FakeDirectory):
    for name, password in (
        ("alice", "wrong"),
        ("alice", ""),
        ("bob", "builder"),
        ("nobody", "x"),
        ("*", "x"),
    ):
        assert (await sign_in(admin, domain, name, password)).status == 401
    fake.away = True
    assert (await sign_in(admin, domain, "alice", "wonderland")).status == 503
    assert (await sign_in(admin, "default", "nobody", "wrong")).status == 401
    assert (await admin.get(f"{V3}/users?domain_id={domain}")).status == 200


async def test_what_may_only_be_read_is_refused_as_keystone_does(admin: Person, domain: str):
    listed = (await admin.get(f"{V3}/users?domain_id={domain}")).json()["users"]
    alice = next(user["id"] for user in listed if user["name"] == "alice")
    (group,) = (await admin.get(f"{V3}/groups?domain_id={domain}")).json()["groups"]
    own = {"user": {"original_password": "wonderland", "password": "new"}}
    for method, path, body in (
        ("POST", "/users", {"user": {"name": "eve", "domain_id": domain, "password": "x"}}),
        ("PATCH", f"/users/{alice}", {"user": {"email": "x@example.org"}}),
        ("PATCH", f"/users/{alice}", {"user": {"password": "x"}}),
        ("POST", f"/users/{alice}/password", own),
        ("DELETE", f"/users/{alice}", None),
        ("POST", "/groups", {"group": {"name": "crew", "domain_id": domain}}),
        ("PATCH", f"/groups/{group['id']}", {"group": {"description": "x"}}),
        ("DELETE", f"/groups/{group['id']}/users/{alice}", None),
        ("DELETE", f"/groups/{group['id']}", None),
    ):
        reply = await admin.request(method, f"{V3}{path}", **({"json": body} if body else {}))
        assert reply.status == 403, f"{method} {path}: {reply.status} {reply.text}"
        assert reply.json()["error"]["message"] == "LDAP does not support write operations"
    project = {"user": {"default_project_id": admin.project.id.hex}}
    assert (await admin.patch(f"{V3}/users/{alice}", json=project)).status == 200


async def test_the_directorys_password_is_never_shown(admin: Person, domain: str, fake: FakeDirectory):
    assert fake.settings is not None
    await sign_in(admin, domain, "alice", "wonderland")
    assert fake.settings.password == "hush"
    reply = await admin.get(f"{V3}/domains/{domain}/config")
    assert "hush" not in reply.text
