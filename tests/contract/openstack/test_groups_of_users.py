"""Conversations with Keystone's API about groups."""

import pytest

from tests.asgi import Client
from tests.contract.openstack.logins import NOBODY, PASSWORD, V3, by_password, login, make, named, pages, role


@pytest.fixture
async def group(admin):
    return (await make(admin, "group", name="g", description="d"))["id"]


async def test_a_group_from_create_to_delete(admin):
    group = await make(admin, "group", name="g", description="d", colour="red")
    path = f"{V3}/groups/{group['id']}"
    assert group == {
        "id": group["id"],
        "name": "g",
        "domain_id": "default",
        "description": "d",
        "colour": "red",
        "links": {"self": f"http://cloud.test{path}"},
    }
    assert (await admin.get(path)).json() == {"group": group}
    changed = await admin.patch(path, json={"group": {"name": "h", "description": None, "size": 1}})
    assert changed.json()["group"] == group | {"name": "h", "description": None, "size": 1}
    assert (await admin.post(f"{V3}/groups", json={"group": {"name": "h"}})).status == 409
    assert (await admin.patch(path, json={"group": {"domain_id": NOBODY}})).status == 400
    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).status == 404


async def test_groups_are_found_and_come_in_pages(admin):
    for name in ("east", "west"):
        await make(admin, "group", name=name)
    queries = {"name=east": {"east"}, "name__icontains=ST": {"east", "west"}, f"domain_id={NOBODY}": set()}
    for query, names in queries.items():
        found = (await admin.get(f"{V3}/groups?{query}")).json()["groups"]
        assert {one["name"] for one in found} == names
    found = await pages(admin, "groups?limit=1", "groups")
    assert sorted(name for (name,) in found) == ["east", "west"]


async def test_members_come_and_go(admin, other, group):
    path = f"{V3}/groups/{group}/users"
    member = f"{path}/{other.user.id.hex}"
    assert (await admin.request("HEAD", member)).status == 404
    for _ in range(2):
        assert (await admin.put(member)).status == 204
    assert (await admin.request("HEAD", member)).status == 204
    assert (await admin.get(member)).status == 204
    assert [one["name"] for one in (await admin.get(path)).json()["users"]] == ["other"]
    assert (await admin.get(f"{path}?name=nobody")).json()["users"] == []
    of_user = f"{V3}/users/{other.user.id.hex}/groups"
    (shown,) = (await other.get(of_user)).json()["groups"]
    assert (shown["id"], shown["membership_expires_at"]) == (group, None)
    assert (await admin.delete(member)).status == 204
    assert (await admin.delete(member)).status == 404
    for wrong in (f"{path}/{NOBODY}", f"{V3}/groups/{NOBODY}/users/{other.user.id.hex}"):
        assert (await admin.put(wrong)).status == 404


@pytest.mark.parametrize("end", ["member", "group"])
async def test_roles_of_a_group_end_with_the_membership_and_with_the_group(admin, kernel, other, group, end):
    user, project = other.user.id.hex, (await make(admin, "project", name="p"))["id"]
    grant = f"{V3}/projects/{project}/groups/{group}/roles/{await role(admin, 'member')}"
    assert (await admin.put(grant)).status == 204
    assert (await admin.put(f"{V3}/groups/{group}/users/{user}")).status == 204
    held = (await other.get(f"{V3}/users/{user}/projects")).json()["projects"]
    assert {one["name"] for one in held} == {"other", "p"}
    client, token = await login(
        Client(kernel), by_password(named("other"), scope={"project": {"id": project}})
    )
    assert {one["name"] for one in token["roles"]} == {"member", "reader"}
    gone = f"{V3}/groups/{group}" + (f"/users/{user}" if end == "member" else "")
    assert (await admin.delete(gone)).status == 204
    assert (await client.get(f"{V3}/auth/projects")).status == 401
    assert (await other.get(f"{V3}/users/{user}/projects")).json()["projects"][0]["name"] == "other"


async def test_the_manager_of_a_domain_manages_its_groups_and_joins_no_administrators(admin, kernel):
    domain = (await make(admin, "domain", name="d"))["id"]
    user = (await make(admin, "user", name="u", password=PASSWORD, domain_id=domain))["id"]
    for name in ("manager", "reader"):
        grant = f"{V3}/domains/{domain}/users/{user}/roles/{await role(admin, name)}"
        assert (await admin.put(grant)).status == 204
    manager, _ = await login(Client(kernel), by_password({"id": user}, scope={"domain": {"id": domain}}))
    own = await make(manager, "group", name="own")
    assert own["domain_id"] == domain
    member = f"{V3}/groups/{own['id']}/users/{user}"
    assert (await manager.put(member)).status == 204
    assert (await manager.delete(member)).status == 204
    assert [one["name"] for one in (await manager.get(f"{V3}/groups")).json()["groups"]] == ["own"]
    powerful = f"{V3}/domains/{domain}/groups/{own['id']}/roles/{await role(admin, 'admin')}"
    assert (await admin.put(powerful)).status == 204
    assert (await manager.put(member)).status == 403
    elsewhere = await manager.post(f"{V3}/groups", json={"group": {"name": "x", "domain_id": "default"}})
    assert elsewhere.status == 403


async def test_groups_are_none_of_a_members_business(member, group):
    for path in (
        f"{V3}/groups",
        f"{V3}/groups/{group}",
        f"{V3}/groups/{NOBODY}",
        f"{V3}/groups/{group}/users",
    ):
        assert (await member.get(path)).status == 403
    assert (await member.post(f"{V3}/groups", json={"group": {"name": "x"}})).status == 403
