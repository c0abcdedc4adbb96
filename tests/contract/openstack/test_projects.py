"""Conversations with Keystone's API about projects, their tags, and domains."""

import pytest

from tests.asgi import Client
from tests.contract.openstack.logins import NOBODY, PASSWORD, V3, by_password, login, make, pages, role


async def test_a_project_from_create_to_delete(admin):
    made = await admin.post(
        f"{V3}/projects",
        json={"project": {"name": " p ", "description": "d", "tags": ["b", "a"], "colour": "red"}},
    )
    project = made.json()["project"]
    path = f"{V3}/projects/{project['id']}"
    assert made.status == 201
    assert (project["domain_id"], project["parent_id"], project["is_domain"]) == ("default", "default", False)
    assert (project["name"], project["tags"], project["colour"]) == ("p", ["a", "b"], "red")
    child = await make(admin, "project", name="q", parent_id=project["id"])
    assert child["parent_id"] == project["id"]
    assert (await admin.delete(path)).status == 403
    found = (await admin.get(f"{V3}/projects?parent_id={project['id']}")).json()["projects"]
    assert [one["id"] for one in found] == [child["id"]]
    top = (await admin.get(f"{V3}/projects?parent_id=default")).json()["projects"]
    assert project["id"] in {one["id"] for one in top}
    assert child["id"] not in {one["id"] for one in top}
    assert (await admin.delete(f"{V3}/projects/{child['id']}")).status == 204
    changed = await admin.patch(path, json={"project": {"enabled": False, "description": None, "size": 1}})
    assert changed.json()["project"] == project | {
        "enabled": False,
        "description": None,
        "size": 1,
        "extra": {"colour": "red", "size": 1},
    }
    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).status == 404


BAD_PROJECTS = [
    {"name": ""},
    {"name": " "},
    {"name": "x" * 65},
    {"name": "x", "domain_id": "nowhere"},
    {"name": "x", "parent_id": "nothing"},
    {"name": "x", "parent_id": NOBODY},
    {"name": "x", "options": {"unknown": True}},
    {"name": "x", "tags": ["a,b"]},
    {"name": "x", "is_domain": True, "parent_id": "default"},
]


@pytest.mark.parametrize("project", BAD_PROJECTS)
async def test_a_malformed_project_is_refused(admin, project):
    assert (await admin.post(f"{V3}/projects", json={"project": project})).status == 400


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"domain_id": NOBODY}, 400),
        ({"parent_id": NOBODY}, 403),
        ({"is_domain": True}, 400),
        ({"id": NOBODY}, 400),
        ({}, 200),
        ({"domain_id": "default", "parent_id": "default", "is_domain": False}, 200),
    ],
)
async def test_a_project_stays_where_it_is(admin, change, status):
    project = await make(admin, "project", name="p")
    assert (await admin.patch(f"{V3}/projects/{project['id']}", json={"project": change})).status == status


async def chain(admin, length):
    """Projects below one another, the top one first."""
    found = []
    for number in range(length):
        above = {"parent_id": found[-1]} if found else {}
        found.append((await make(admin, "project", name=f"p{number}", **above))["id"])
    return found


async def test_projects_go_five_deep(admin):
    keys = await chain(admin, 5)
    reply = await admin.post(f"{V3}/projects", json={"project": {"name": "q", "parent_id": keys[-1]}})
    assert reply.status == 403
    assert "Max hierarchy depth" in reply.json()["error"]["message"]


async def test_what_is_around_a_project(admin):
    top, middle, bottom = await chain(admin, 3)
    path = f"{V3}/projects/{middle}"
    shown = (await admin.get(f"{path}?parents_as_ids&subtree_as_ids")).json()["project"]
    assert shown["parents"] == {top: {"default": None}}
    assert shown["subtree"] == {bottom: None}
    assert (await admin.get(f"{V3}/projects/{bottom}?subtree_as_ids")).json()["project"]["subtree"] is None
    lists = f"{path}?parents_as_list&subtree_as_list"
    shown = (await admin.get(lists)).json()["project"]
    assert (shown["parents"], shown["subtree"]) == ([], [])
    member = await role(admin, "member")
    for key in (top, bottom):
        grant = f"{V3}/projects/{key}/users/{admin.user.id.hex}/roles/{member}"
        assert (await admin.put(grant)).status == 204
    shown = (await admin.get(lists)).json()["project"]
    assert [one["project"]["id"] for one in shown["parents"]] == [top]
    assert [one["project"]["id"] for one in shown["subtree"]] == [bottom]
    assert (await admin.get(f"{path}?parents_as_list&parents_as_ids")).status == 400
    assert "parents" not in (await admin.get(f"{path}?parents_as_list=0")).json()["project"]


async def test_a_branch_is_disabled_from_below_and_enabled_from_above(admin):
    top, bottom = await chain(admin, 2)

    async def switch(key, on):
        return (await admin.patch(f"{V3}/projects/{key}", json={"project": {"enabled": on}})).status

    assert await switch(top, False) == 403
    assert await switch(bottom, False) == 200
    assert await switch(top, False) == 200
    assert await switch(bottom, True) == 403
    below = await admin.post(f"{V3}/projects", json={"project": {"name": "q", "parent_id": top}})
    assert below.status == 400
    assert await switch(top, True) == 200
    assert await switch(bottom, True) == 200


@pytest.mark.parametrize("kind", ["project", "domain"])
async def test_what_is_immutable_stays_until_that_option_goes(admin, kind):
    made = await make(admin, kind, name="x", options={"immutable": True})
    path = f"{V3}/{kind}s/{made['id']}"
    assert made["options"] == {"immutable": True}
    assert (await admin.patch(path, json={kind: {"name": "y"}})).status == 403
    assert (await admin.delete(path)).status == 403
    changed = await admin.patch(path, json={kind: {"options": {"immutable": None}}})
    assert changed.json()[kind]["options"] == {}
    assert (await admin.patch(path, json={kind: {"enabled": False}})).status == 200
    assert (await admin.delete(path)).status == 204


async def test_projects_come_in_pages(admin):
    for number in range(3):
        await make(admin, "project", name=f"page{number}", tags=["Red" if number else "red"])
    found = await pages(admin, "projects?name__startswith=page&limit=2", "projects")
    assert [len(page) for page in found] == [2, 1]
    assert {name for page in found for name in page} == {"page0", "page1", "page2"}
    found = await pages(admin, "projects?tags=Red&limit=1", "projects")
    assert [len(page) for page in found] == [1, 1]
    assert {name for page in found for name in page} == {"page1", "page2"}


async def test_the_tags_of_a_project(admin, other):
    path = f"{V3}/projects/{other.project.id.hex}/tags"
    assert (await admin.put(path, json={"tags": ["x", 'y"%']})).json()["tags"] == ["x", 'y"%']
    assert (await admin.put(path, json={"tags": ["x", "y"]})).json()["tags"] == ["x", "y"]
    added = await admin.put(path + "/z")
    assert (added.status, added.headers["location"]) == (201, f"http://cloud.test{path}/z")
    assert (await admin.get(path + "/z")).status == 204
    assert (await admin.request("HEAD", path + "/z")).status == 204
    assert (await admin.delete(path + "/x")).status == 204
    assert (await admin.delete(path + "/x")).status == 404
    assert (await admin.get(path)).json()["tags"] == ["y", "z"]
    every = len((await admin.get(f"{V3}/projects")).json()["projects"])
    queries = {
        "tags=y,z": 1,
        "tags=y,x": 0,
        "tags-any=y,x": 1,
        "not-tags=y,z": every - 1,
        "not-tags=y,x": every,
        "not-tags-any=y,x": every - 1,
    }
    for query, count in queries.items():
        assert len((await admin.get(f"{V3}/projects?{query}")).json()["projects"]) == count, query
    assert (await admin.put(path, json={"tags": ["a/b"]})).status == 400
    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).json()["tags"] == []


async def test_a_project_that_owns_something_is_not_deleted(admin):
    reply = await admin.delete(f"{V3}/projects/{admin.project.id.hex}")
    assert reply.status == 409


# --- domains


async def test_a_domain_is_disabled_before_it_is_deleted(admin):
    domain = await make(admin, "domain", name="d", tags=["t"], colour="red")
    path = f"{V3}/domains/{domain['id']}"
    assert (domain["enabled"], domain["tags"], domain["colour"]) == (True, ["t"], "red")
    user = (await make(admin, "user", name="u", domain_id=domain["id"]))["id"]
    above = (await make(admin, "project", name="p", domain_id=domain["id"]))["id"]
    below = (await make(admin, "project", name="q", domain_id=domain["id"], parent_id=above))["id"]
    group = (await make(admin, "group", name="g", domain_id=domain["id"]))["id"]
    assert (await admin.delete(path)).status == 403
    assert (await admin.patch(path, json={"domain": {"enabled": False}})).status == 200
    assert (await admin.delete(path)).status == 204
    gone = (
        f"domains/{domain['id']}",
        f"users/{user}",
        f"projects/{above}",
        f"projects/{below}",
        f"groups/{group}",
    )
    assert {(await admin.get(f"{V3}/{one}")).status for one in gone} == {404}


async def test_the_default_domain_has_its_old_id_and_stays(admin, member):
    shown = (await member.get(f"{V3}/domains/default")).json()["domain"]
    assert (shown["id"], shown["name"]) == ("default", "Default")
    path = f"{V3}/domains/default"
    assert (await admin.patch(path, json={"domain": {"enabled": False}})).status == 403
    assert (await admin.delete(path)).status == 403
    assert (await admin.get(f"{V3}/domains/nowhere")).status == 404


async def test_a_domain_may_be_given_its_id(admin):
    chosen = "a" * 32
    assert (await make(admin, "domain", name="d", explicit_domain_id=chosen))["id"] == chosen
    for wrong in ("x", "A" * 32, f"{'a' * 8}-aaaa-aaaa-aaaa-{'a' * 12}"):
        body = {"domain": {"name": "e", "explicit_domain_id": wrong}}
        assert (await admin.post(f"{V3}/domains", json=body)).status == 400
    body = {"domain": {"name": "e", "explicit_domain_id": chosen}}
    assert (await admin.post(f"{V3}/domains", json=body)).status == 409


async def test_domains_are_found_and_come_in_pages(admin):
    for name in ("east", "west"):
        await make(admin, "domain", name=name, enabled=name == "east")
    queries = {"name=east": {"east"}, "name__icontains=ST": {"east", "west"}, "enabled=0": {"west"}}
    for query, names in queries.items():
        found = (await admin.get(f"{V3}/domains?{query}")).json()["domains"]
        assert {one["name"] for one in found} == names
    assert [len(page) for page in await pages(admin, "domains?limit=2", "domains")] == [2, 1]


async def test_a_domain_is_shown_as_a_project_too(admin):
    made = await make(admin, "project", name="d", is_domain=True, description="x", tags=["t"])
    assert (made["is_domain"], made["domain_id"], made["parent_id"]) == (True, None, None)
    path = f"{V3}/projects/{made['id']}"
    assert (await admin.get(path)).json()["project"] == made
    assert (await admin.get(f"{V3}/domains/{made['id']}")).json()["domain"]["name"] == "d"
    listed = (await admin.get(f"{V3}/projects?is_domain=true&tags=t")).json()["projects"]
    assert listed == [made]
    named = (await admin.get(f"{V3}/projects?is_domain=true")).json()["projects"]
    assert {one["name"] for one in named} == {"Default", "d"}
    assert (await admin.get(f"{V3}/projects?is_domain=true&domain_id=default")).json()["projects"] == []
    assert (await admin.put(f"{path}/tags/u")).status == 201
    body = {"project": {"enabled": False, "name": "e"}}
    changed = (await admin.patch(path, json=body)).json()["project"]
    assert (changed["name"], changed["enabled"], changed["tags"]) == ("e", False, ["t", "u"])
    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).status == 404


@pytest.mark.parametrize("kind", ["project", "domain"])
async def test_a_disabled_place_ends_the_tokens_for_it_at_once(admin, kernel, kind):
    domain = (await make(admin, "domain", name="d"))["id"]
    project = (await make(admin, "project", name="p", domain_id=domain))["id"]
    user = (await make(admin, "user", name="u", password=PASSWORD))["id"]
    grant = f"{V3}/projects/{project}/users/{user}/roles/{await role(admin, 'member')}"
    assert (await admin.put(grant)).status == 204
    client, _ = await login(Client(kernel), by_password({"id": user}, scope={"project": {"id": project}}))
    assert (await client.get(f"{V3}/auth/projects")).status == 200
    place = {"project": project, "domain": domain}[kind]
    reply = await admin.patch(f"{V3}/{kind}s/{place}", json={kind: {"enabled": False}})
    assert reply.status == 200
    assert (await client.get(f"{V3}/auth/projects")).status == 401
