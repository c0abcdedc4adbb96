"""Conversations with Keystone's API about who has which role where: groups, inheritance, domains' own roles."""

from itertools import product

import pytest

from tests.asgi import Client
from tests.contract.openstack.test_identity import NOBODY, TOKENS, V3, by_password, login, named


@pytest.fixture
def anyone(kernel):
    return Client(kernel)


async def make(admin, collection, one, **values):
    reply = await admin.post(f"{V3}/{collection}", json={one: values})
    assert reply.status == 201, reply.text
    return reply.json()[one]["id"]


@pytest.fixture
async def team(admin, other):
    """A group that the other user is in."""
    group = await make(admin, "groups", "group", name="team")
    assert (await admin.put(f"{V3}/groups/{group}/users/{other.user.id.hex}")).status == 204
    return group


async def role_id(admin, name):
    return (await admin.get(f"{V3}/roles?name={name}")).json()["roles"][0]["id"]


PLACES = {"project": "projects/{project}", "domain": "domains/default", "system": "system"}
KINDS = [
    (place, actor, inherited)
    for place, actor, inherited in product(PLACES, ("users", "groups"), (False, True))
    if not (inherited and place == "system")
]


@pytest.mark.parametrize(("place", "actor", "inherited"), KINDS)
async def test_a_grant_from_making_to_revoking(admin, other, team, place, actor, inherited):
    who = other.user.id.hex if actor == "users" else team
    where = PLACES[place].format(project=other.project.id.hex)
    role = await role_id(admin, "manager")
    roles = f"{V3}/{'OS-INHERIT/' if inherited else ''}{where}/{actor}/{who}/roles"
    tail = "/inherited_to_projects" if inherited else ""
    path = f"{roles}/{role}{tail}"
    assert (await admin.head(path)).status == 404
    assert (await admin.delete(path)).status == 404
    for _ in range(2):
        assert (await admin.put(path)).status == 204
    assert (await admin.get(path)).status == 204
    assert (await admin.head(path)).status == 204
    if not (inherited and place == "project"):
        listed = (await admin.get(roles + tail)).json()["roles"]
        assert "manager" in [found["name"] for found in listed]
    query = f"{actor[:-1]}.id={who}&role.id={role}"
    found = (await admin.get(f"{V3}/role_assignments?{query}")).json()["role_assignments"]
    assert [one["links"]["assignment"] for one in found] == [f"http://cloud.test{path}"]
    assert (await other.put(path)).status == 403
    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).status == 404


@pytest.mark.parametrize("wrong", ["group", "role", "project"])
async def test_a_grant_to_a_group_of_what_does_not_exist(admin, other, team, wrong):
    known = {"group": team, "role": await role_id(admin, "member"), "project": other.project.id.hex}
    known[wrong] = NOBODY
    path = "/projects/{project}/groups/{group}/roles/{role}".format(**known)
    reply = await admin.put(V3 + path)
    assert reply.status == 404
    assert reply.json()["error"]["message"] == f"Could not find {wrong}: {NOBODY}."


async def test_a_domains_own_role_says_only_what_it_implies(anyone, admin, other):
    own = await make(admin, "roles", "role", name="local", domain_id="default")
    path = f"{V3}/projects/{other.project.id.hex}/users/{other.user.id.hex}/roles/{own}"
    assert (await admin.put(path)).status == 204
    scope = {"project": {"id": other.project.id.hex}}

    async def roles():
        _, shown = await login(anyone, by_password(named("other"), scope=scope))
        return [role["name"] for role in shown["roles"]]

    assert await roles() == ["member", "reader"]
    manager = await role_id(admin, "manager")
    assert (await admin.put(f"{V3}/roles/{own}/implies/{manager}")).status == 201
    assert await roles() == ["manager", "member", "reader"]
    query = f"user.id={other.user.id.hex}&effective"
    found = (await admin.get(f"{V3}/role_assignments?{query}")).json()["role_assignments"]
    assert own not in {one["role"]["id"] for one in found}
    elsewhere = await make(admin, "domains", "domain", name="elsewhere")
    foreign = await make(admin, "roles", "role", name="foreign", domain_id=elsewhere)
    assert (await admin.put(path.replace(own, foreign))).status == 403


async def test_a_role_that_is_immutable_and_one_with_more_attributes(admin):
    fields = {"name": "fixed", "options": {"immutable": True}, "colour": "blue"}
    made = (await admin.post(f"{V3}/roles", json={"role": fields})).json()["role"]
    path = f"{V3}/roles/{made['id']}"
    assert (made["colour"], made["options"], made["description"]) == ("blue", {"immutable": True}, None)
    assert (await admin.patch(path, json={"role": {"description": "x"}})).status == 403
    assert (await admin.delete(path)).status == 403
    assert (await admin.patch(path, json={"role": {"options": {"immutable": False}}})).status == 200
    changed = await admin.patch(path, json={"role": {"description": "x", "shape": "round"}})
    assert changed.json()["role"]["shape"] == "round"
    assert changed.json()["role"]["colour"] == "blue"
    assert (await admin.patch(path, json={"role": {"domain_id": "default"}})).status == 400
    assert (await admin.patch(path, json={"role": {}})).status == 400
    unknown = {"role": {"name": "x", "options": {"unheard": 1}}}
    assert (await admin.post(f"{V3}/roles", json=unknown)).status == 400
    assert [r["name"] for r in (await admin.get(f"{V3}/roles?name__icontains=IXE")).json()["roles"]] == [
        "fixed"
    ]
    assert (await admin.delete(path)).status == 204


async def test_what_roles_may_imply(admin):
    one, two, own = [
        await make(admin, "roles", "role", name=name, **more)
        for name, more in (("one", {}), ("two", {}), ("own", {"domain_id": "default"}))
    ]
    path = f"{V3}/roles/{one}/implies"
    assert (await admin.put(f"{path}/{two}")).status == 201
    assert (await admin.put(f"{path}/{two}")).status == 409
    assert (await admin.put(f"{V3}/roles/{two}/implies/{one}")).status == 201
    assert (await admin.put(f"{path}/{await role_id(admin, 'admin')}")).status == 403
    assert (await admin.put(f"{path}/{own}")).status == 403
    assert (await admin.put(f"{path}/{NOBODY}")).status == 404
    missing = await admin.get(f"{path}/{own}")
    assert missing.json()["error"]["message"] == f"{one} does not imply {own}."
    assert (await admin.delete(f"{path}/{own}")).status == 404


# --- the list


async def test_the_effective_list_names_group_place_and_prior_role(admin, other, team):
    parent = await make(admin, "projects", "project", name="parent")
    child = await make(admin, "projects", "project", name="child", parent_id=parent)
    role = await role_id(admin, "manager")
    user = other.user.id.hex
    granted = f"OS-INHERIT/projects/{parent}/groups/{team}/roles/{role}/inherited_to_projects"
    assert (await admin.put(f"{V3}/{granted}")).status == 204
    base = f"http://cloud.test{V3}"

    async def found(query):
        reply = await admin.get(f"{V3}/role_assignments?{query}")
        assert reply.status == 200, reply.text
        return reply.json()["role_assignments"]

    (made,) = await found(f"group.id={team}&include_names")
    assert made["group"] == {"id": team, "name": "team", "domain": {"id": "default", "name": "Default"}}
    assert made["scope"]["OS-INHERIT:inherited_to"] == "projects"
    assert made["links"] == {"assignment": f"{base}/{granted}"}
    listed = await found(f"user.id={user}&scope.project.id={child}&effective&include_names")
    assert [one["role"]["name"] for one in listed] == ["manager", "member", "reader"]
    assert {one["user"]["id"] for one in listed} == {user}
    assert listed[0]["links"] == {
        "assignment": f"{base}/{granted}",
        "membership": f"{base}/groups/{team}/users/{user}",
    }
    member = listed[1]["role"]["id"]
    assert listed[1]["links"]["prior_role"] == f"{base}/prior_role/{member}/implies/{role}"
    assert await found(f"user.id={user}&scope.project.id={parent}&effective") == []
    tree = await found(f"scope.project.id={parent}&include_subtree&effective")
    assert {one["scope"]["project"]["id"] for one in tree} == {child}
    inherited = "scope.OS-INHERIT:inherited_to=projects"
    assert len(await found(f"{inherited}&user.id={user}&effective")) == 3
    assert len(await found(inherited)) == 1
    for wrong in (
        f"user.id={user}&group.id={team}",
        f"group.id={team}&effective",
        f"scope.domain.id=default&effective&{inherited}",
        "scope.domain.id=default&scope.system=all",
        "include_subtree",
    ):
        assert (await admin.get(f"{V3}/role_assignments?{wrong}")).status == 400, wrong


async def test_what_an_account_was_given_is_shown_of_each_of_its_users(admin, cloud, other):
    from pileus.core.caller import system
    from pileus.core.identity import users
    from pileus.core.identity.authorization import assignments, roles
    from pileus.core.identity.records import Actor, Scope

    account = other.project.id
    for name in ("first", "second"):
        want = users.CreateUser(name=name, domain=other.user.domain, account=account)
        await users.create(cloud, system(), want)
    (role,) = await roles.list_all(cloud, system(), name="manager")
    place = assignments.Place(Scope.PROJECT, admin.project.id)
    await assignments.grant(cloud, system(), account, role.id, place, kind=Actor.ACCOUNT)
    query = f"role.id={role.id.hex}&scope.project.id={admin.project.id.hex}&include_names"
    for effective in ("", "&effective"):
        reply = await admin.get(f"{V3}/role_assignments?{query}{effective}")
        found = reply.json()["role_assignments"]
        names = {one["user"]["name"] for one in found}
        assert {"first", "second"} <= names


async def test_a_lost_group_role_ends_application_credentials_made_on_it(anyone, admin, other, team):
    project = await make(admin, "projects", "project", name="shared")
    role = await role_id(admin, "member")
    path = f"{V3}/projects/{project}/groups/{team}/roles/{role}"
    assert (await admin.put(path)).status == 204
    client, _ = await login(anyone, by_password(named("other"), scope={"project": {"id": project}}))
    applications = f"{V3}/users/{other.user.id.hex}/application_credentials"
    made = await client.post(applications, json={"application_credential": {"name": "robot"}})
    made = made.json()["application_credential"]
    proof = {"id": made["id"], "secret": made["secret"]}
    body = {"auth": {"identity": {"methods": ["application_credential"], "application_credential": proof}}}
    assert (await anyone.post(TOKENS, json=body)).status == 201
    assert (await admin.delete(path)).status == 204
    assert (await client.get(f"{V3}/auth/projects")).status == 401
    assert (await admin.put(path)).status == 204
    assert (await anyone.post(TOKENS, json=body)).status == 401
