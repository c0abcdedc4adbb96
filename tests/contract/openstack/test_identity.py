"""Conversations with Keystone's API."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pileus.core.caller import system
from pileus.core.events import Event
from pileus.core.identity import domains, users
from pileus.faces.openstack.identity import SERVICE
from pileus.faces.wire import Kernel, ledger
from tests.asgi import Client

V3 = "/identity/v3"
TOKENS = f"{V3}/auth/tokens"
LEDGER = Path(__file__).parents[3] / "specs" / "openstack-identity.toml"
PASSWORD = "secret"
NOBODY = "0" * 32
UNAUTHORIZED = {
    "error": {
        "code": 401,
        "title": "Unauthorized",
        "message": "The request you have made requires authentication.",
    }
}


def by_password(user, password=PASSWORD, scope=None, **more):
    auth = {
        "identity": {"methods": ["password"], "password": {"user": {**user, "password": password, **more}}}
    }
    return {"auth": auth | ({"scope": scope} if scope is not None else {})}


def by_token(token, scope=None):
    auth = {"identity": {"methods": ["token"], "token": {"id": token}}}
    return {"auth": auth | ({"scope": scope} if scope is not None else {})}


def by_application(credential, secret):
    proof = {"id": credential, "secret": secret}
    return {"auth": {"identity": {"methods": ["application_credential"], "application_credential": proof}}}


def named(name):
    return {"name": name, "domain": {"id": "default"}}


@pytest.fixture
def anyone(kernel):
    return Client(kernel)


async def login(anyone, body):
    reply = await anyone.post(TOKENS, json=body)
    assert reply.status == 201, reply.text
    return Client(anyone.app, {"x-auth-token": reply.headers["x-subject-token"]}), reply.json()["token"]


async def grant(admin, user, role, place):
    found = (await admin.get(f"{V3}/roles?name={role}")).json()["roles"][0]["id"]
    path = f"{V3}/{place}/users/{user}/roles/{found}"
    assert (await admin.put(path)).status == 204
    return path


# --- discovery


async def test_the_root_lists_the_one_version_and_points_at_it(anyone):
    reply = await anyone.get("/identity")
    version = reply.json()["versions"]["values"][0]
    assert (reply.status, reply.headers["location"]) == (300, "http://cloud.test/identity/v3/")
    assert (version["id"], version["status"]) == ("v3.14", "stable")
    assert version["links"] == [{"rel": "self", "href": "http://cloud.test/identity/v3/"}]
    assert (await anyone.get(V3)).json() == {"version": version}
    assert (await anyone.get(V3 + "/")).json() == {"version": version}


async def test_a_public_url_of_the_configuration_stands_in_every_address(anyone, cloud):
    cloud.config = type(cloud.config)(state=cloud.config.state, public_url="https://cloud.example")
    assert (await anyone.get(V3)).json()["version"]["links"][0][
        "href"
    ] == "https://cloud.example/identity/v3/"


# --- tokens


async def test_a_password_and_a_project_by_name_give_a_scoped_token_with_a_catalogue(anyone, other):
    scope = {"project": named("other")}
    _, token = await login(anyone, by_password(named("other"), scope=scope))
    assert token["methods"] == ["password"]
    assert token["user"]["domain"] == {"id": "default", "name": "Default"}
    assert token["project"]["id"] == other.project.id.hex
    assert [role["name"] for role in token["roles"]] == ["member", "reader"]
    assert len(token["audit_ids"]) == 1
    assert token["is_domain"] is False
    for key in ("issued_at", "expires_at"):
        assert datetime.strptime(token[key], "%Y-%m-%dT%H:%M:%S.%fZ")
    types = {entry["type"]: entry for entry in token["catalog"]}
    assert set(types) == {
        "identity", "compute", "placement", "network", "image", "block-storage", "volumev3",
    }  # fmt: skip
    endpoints = types["compute"]["endpoints"]
    assert {(e["interface"], e["url"], e["region"]) for e in endpoints} == {
        (interface, "http://cloud.test/compute/v2.1", "RegionOne")
        for interface in ("public", "internal", "admin")
    }


async def test_scopes(anyone, admin, other):
    user = {"id": other.user.id.hex}
    project = {"project": {"id": other.project.id.hex}}
    _, unscoped = await login(anyone, by_password(user))
    assert "project" not in unscoped
    assert "catalog" not in unscoped
    assert "roles" not in unscoped
    assert (await login(anyone, by_password(user, scope=project)))[1]["project"]["name"] == "other"
    await grant(admin, user["id"], "member", "domains/default")
    await grant(admin, user["id"], "reader", "system")
    _, token = await login(anyone, by_password(user, scope={"domain": {"name": "Default"}}))
    assert token["domain"] == {"id": "default", "name": "Default"}
    _, token = await login(anyone, by_password(user, scope={"system": {"all": True}}))
    assert token["system"] == {"all": True}


async def test_the_default_project_is_the_scope_unless_none_is_asked_for(anyone, admin, other):
    body = {"user": {"default_project_id": other.project.id.hex}}
    assert (await admin.patch(f"{V3}/users/{other.user.id.hex}", json=body)).status == 200
    user = {"id": other.user.id.hex}
    assert (await login(anyone, by_password(user)))[1]["project"]["id"] == other.project.id.hex
    for scope in ("unscoped", {"unscoped": {}}):
        assert "project" not in (await login(anyone, by_password(user, scope=scope)))[1]


WRONG = {
    "wrong password": by_password(named("other"), "wrong"),
    "unknown user": by_password(named("nobody")),
    "unknown user id": by_password({"id": NOBODY}),
    "an id of no form": by_password({"id": "no-such-form"}),
    "unknown domain": by_password({"name": "other", "domain": {"name": "nowhere"}}),
    "unknown project": by_password(named("other"), scope={"project": {"id": NOBODY}}),
    "a project without a role": by_password(named("other"), scope={"project": named("admin")}),
    "a domain without a role": by_password(named("other"), scope={"domain": {"id": "default"}}),
    "the system without a role": by_password(named("other"), scope={"system": {"all": True}}),
    "an unknown application credential": by_application(NOBODY, "x"),
    "no methods": {"auth": {"identity": {"methods": []}}},
    "a very long password": by_password(named("other"), "x" * 5000),
}


@pytest.mark.parametrize("body", WRONG.values(), ids=WRONG)
async def test_whatever_is_wrong_the_answer_is_the_same(anyone, other, body):
    reply = await anyone.post(TOKENS, json=body)
    assert (reply.status, reply.json()) == (401, UNAUTHORIZED)
    assert reply.headers["www-authenticate"] == 'Keystone uri="http://cloud.test/identity/v3"'


MALFORMED = {
    "nothing": {},
    "an unknown method without its proof": {"auth": {"identity": {"methods": ["nothing"]}}},
    "a method without its proof": {"auth": {"identity": {"methods": ["password"]}}},
    "a user without a domain": by_password({"name": "other"}),
    "a user without a name": by_password({}),
    "two scopes": by_password(named("other"), scope={"project": named("other"), "system": {"all": True}}),
    "an unknown scope": by_password(named("other"), scope="everything"),
    "a scope without content": by_password(named("other"), scope={}),
    "a password that is a number": by_password(named("other"), 5),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_login_is_told_what_is_wrong(anyone, other, body):
    reply = await anyone.post(TOKENS, json=body)
    assert reply.status == 400
    assert reply.json()["error"]["title"] == "Bad Request"


@pytest.mark.parametrize("header", [{}, {"x-auth-token": ""}, {"x-auth-token": "x" * 9000}])
async def test_without_a_good_token_nothing_is_served(anyone, header):
    reply = await anyone.get(f"{V3}/auth/projects", headers=header)
    assert (reply.status, reply.json()) == (401, UNAUTHORIZED)


async def test_a_service_token_besides_changes_nothing(other):
    reply = await other.get(f"{V3}/auth/projects", headers={"x-service-token": "whatever"})
    assert reply.status == 200


async def test_a_token_of_a_token_lives_no_longer_and_remembers_the_first(anyone, other):
    first, before = await login(anyone, by_password(named("other")))
    scope = {"project": {"id": other.project.id.hex}}
    _, token = await login(anyone, by_token(first.headers["x-auth-token"], scope))
    assert set(token["methods"]) == {"password", "token"}
    assert token["expires_at"] == before["expires_at"]
    assert token["audit_ids"][1] == before["audit_ids"][0]
    assert token["project"]["id"] == other.project.id.hex


@pytest.mark.parametrize("token", ["", "gAAAAABmadeup", "revoked"])
async def test_a_token_that_proves_nothing_is_not_found(anyone, other, token):
    if token == "revoked":
        token = other.token
        assert (await other.delete(TOKENS, headers={"x-subject-token": token})).status == 204
    reply = await anyone.post(TOKENS, json=by_token(token))
    assert (reply.status, reply.json()["error"]["code"]) == (404, 404)


async def test_validation_of_ones_own_and_of_other_tokens(admin, member, other):
    subject = {"x-subject-token": other.token}
    shown = await admin.get(TOKENS, headers=subject)
    assert (shown.status, shown.json()["token"]["user"]["id"]) == (200, other.user.id.hex)
    assert shown.headers["x-subject-token"] == other.token
    assert "catalog" not in (await admin.get(TOKENS + "?nocatalog", headers=subject)).json()["token"]
    assert (await admin.head(TOKENS, headers=subject)).status == 200
    assert (await other.get(TOKENS, headers=subject)).status == 200
    assert (await member.get(TOKENS, headers=subject)).status == 403
    assert (await admin.get(TOKENS, headers={"x-subject-token": "bad"})).status == 404
    assert (await admin.get(TOKENS)).status == 404


async def test_a_revoked_token_is_dead_and_its_siblings_live(admin, other, anyone):
    sibling, _ = await login(anyone, by_password(named("other")))
    assert (await other.delete(TOKENS, headers={"x-subject-token": other.token})).status == 204
    assert (await other.get(f"{V3}/auth/projects")).status == 401
    assert (await sibling.get(f"{V3}/auth/projects")).status == 200
    assert (await admin.get(TOKENS, headers={"x-subject-token": other.token})).status == 404


async def test_tokens_expire(admin, other, cloud):
    now = datetime.now(UTC)
    cloud.now = lambda: now + timedelta(seconds=cloud.config.token_seconds - 5)
    assert (await other.get(f"{V3}/auth/projects")).status == 200
    cloud.now = lambda: now + timedelta(seconds=cloud.config.token_seconds + 5)
    assert (await other.get(f"{V3}/auth/projects")).status == 401


async def disable(admin, kind, key, one):
    assert (await admin.patch(f"{V3}/{kind}/{key}", json={one: {"enabled": False}})).status == 200


async def test_a_disabled_user_a_new_password_a_disabled_project_and_a_lost_role_act_at_once(admin, site):
    cloud, me = site.cloud, system()
    for end in ("user", "password", "project", "domain", "role", "deleted user", "deleted project"):
        domain = await domains.create(cloud, me, domains.CreateDomain(name=f"d {end}"))
        place = {"name": "p", "domain_id": domain.id.hex}
        project = (await admin.post(f"{V3}/projects", json={"project": place})).json()["project"]["id"]
        body = {"user": {"name": "u", "domain_id": domain.id.hex, "password": PASSWORD}}
        user = (await admin.post(f"{V3}/users", json=body)).json()["user"]["id"]
        path = await grant(admin, user, "member", f"projects/{project}")
        scope = {"project": {"id": project}}
        client, _ = await login(Client(admin.app), by_password({"id": user}, scope=scope))
        assert (await client.get(f"{V3}/auth/catalog")).status == 200
        if end == "user":
            await disable(admin, "users", user, "user")
        elif end == "password":
            await admin.patch(f"{V3}/users/{user}", json={"user": {"password": "another"}})
        elif end == "project":
            await disable(admin, "projects", project, "project")
        elif end == "domain":
            await disable(admin, "domains", domain.id.hex, "domain")
        elif end == "role":
            assert (await admin.delete(path)).status == 204
        elif end == "deleted user":
            assert (await admin.delete(f"{V3}/users/{user}")).status == 204
        else:
            assert (await admin.delete(f"{V3}/projects/{project}")).status == 204
        assert (await client.get(f"{V3}/auth/catalog")).status == 401, end


async def test_what_a_token_can_be_exchanged_for(anyone, admin, other):
    client, _ = await login(anyone, by_password(named("other")))
    projects = (await client.get(f"{V3}/auth/projects")).json()["projects"]
    assert [project["id"] for project in projects] == [other.project.id.hex]
    assert (await client.get(f"{V3}/auth/domains")).json()["domains"] == []
    assert (await client.get(f"{V3}/auth/system")).json()["system"] == []
    assert (await client.get(f"{V3}/auth/catalog")).status == 403
    assert (await admin.get(f"{V3}/auth/system")).json()["system"] == [{"all": True}]
    assert len((await other.get(f"{V3}/auth/catalog")).json()["catalog"]) == 7


# --- roles


async def test_a_role_from_create_to_delete(admin, other):
    made = await admin.post(f"{V3}/roles", json={"role": {"name": "operator"}})
    role = made.json()["role"]
    path = f"{V3}/roles/{role['id']}"
    assert (made.status, role["domain_id"]) == (201, None)
    assert (await admin.post(f"{V3}/roles", json={"role": {"name": "operator"}})).status == 409
    assert (await admin.patch(path, json={"role": {"name": "op"}})).json()["role"]["name"] == "op"
    await grant(admin, other.user.id.hex, "op", f"projects/{other.project.id.hex}")
    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).status == 404
    assert (await other.get(f"{V3}/auth/projects")).status == 200


@pytest.mark.parametrize("name", ["admin", "manager", "member", "reader", "service"])
async def test_the_first_roles_are_neither_renamed_nor_deleted(admin, name):
    role = (await admin.get(f"{V3}/roles?name={name}")).json()["roles"][0]
    assert (await admin.delete(f"{V3}/roles/{role['id']}")).status == 403
    assert (await admin.patch(f"{V3}/roles/{role['id']}", json={"role": {"name": "x"}})).status == 403


async def test_an_implied_role_is_held_as_long_as_it_is_implied(admin, other):
    member = (await admin.get(f"{V3}/roles?name=member")).json()["roles"][0]["id"]
    extra = (await admin.post(f"{V3}/roles", json={"role": {"name": "extra"}})).json()["role"]["id"]
    path = f"{V3}/roles/{member}/implies/{extra}"
    subject = {"x-subject-token": other.token}

    async def held():
        roles = (await admin.get(TOKENS, headers=subject)).json()["token"]["roles"]
        return "extra" in {role["name"] for role in roles}

    assert not await held()
    assert (await admin.put(path)).status == 201
    assert (await admin.get(path)).json()["role_inference"]["implies"]["id"] == extra
    assert (await admin.head(path)).status == 204
    assert await held()
    rules = (await admin.get(f"{V3}/role_inferences")).json()["role_inferences"]
    assert {rule["prior_role"]["name"] for rule in rules} == {"admin", "manager", "member"}
    listed = (await admin.get(f"{V3}/roles/{member}/implies")).json()["role_inference"]["implies"]
    assert {role["name"] for role in listed} == {"reader", "extra"}
    assert (await admin.delete(path)).status == 204
    assert (await admin.delete(path)).status == 404
    assert not await held()


async def test_no_role_implies_admin(admin):
    roles = {role["name"]: role["id"] for role in (await admin.get(f"{V3}/roles")).json()["roles"]}
    assert (await admin.put(f"{V3}/roles/{roles['reader']}/implies/{roles['admin']}")).status == 403


@pytest.mark.parametrize("place", ["project", "domain", "system"])
async def test_a_grant_on_each_kind_of_place(admin, member, other, place):
    where = {
        "project": f"projects/{other.project.id.hex}",
        "domain": "domains/default",
        "system": "system",
    }[place]
    user = member.user.id.hex
    path = await grant(admin, user, "manager", where)
    assert (await admin.put(path)).status == 204
    assert (await admin.head(path)).status == 204
    assert (await admin.get(path)).status == 204
    collection = path.rpartition("/")[0]
    assert [role["name"] for role in (await admin.get(collection)).json()["roles"]] == ["manager"]
    assert (await other.put(path)).status == 403
    assert (await admin.delete(path)).status == 204
    assert (await admin.head(path)).status == 404
    assert (await admin.delete(path)).status == 404


async def test_a_grant_of_what_does_not_exist(admin, other):
    role = (await admin.get(f"{V3}/roles?name=member")).json()["roles"][0]["id"]
    user, project = other.user.id.hex, other.project.id.hex
    for path in (
        f"projects/{NOBODY}/users/{user}/roles/{role}",
        f"projects/{project}/users/{NOBODY}/roles/{role}",
        f"projects/{project}/users/{user}/roles/{NOBODY}",
        f"domains/nowhere/users/{user}/roles/{role}",
    ):
        assert (await admin.put(f"{V3}/{path}")).status == 404, path


async def test_role_assignments_and_their_filters(admin, member, other):
    async def count(query):
        reply = await admin.get(f"{V3}/role_assignments?{query}")
        assert reply.status == 200, reply.text
        return len(reply.json()["role_assignments"])

    role = (await admin.get(f"{V3}/roles?name=reader")).json()["roles"][0]["id"]
    user, project = other.user.id.hex, other.project.id.hex
    assert await count("") == 4
    assert await count(f"user.id={user}") == 1
    assert await count(f"user.id={user}&effective") == 2
    assert await count(f"role.id={role}") == 0
    assert await count(f"role.id={role}&effective=1&user.id={user}") == 1
    assert await count(f"scope.project.id={project}") == 1
    assert await count(f"scope.project.id={project}&include_subtree=1") == 1
    assert await count("scope.domain.id=default") == 0
    assert await count("scope.system=all") == 1
    assert await count(f"group.id={user}") == 0
    assert await count("user.id=no-such-form") == 0
    both = f"{V3}/role_assignments?scope.project.id={project}&scope.system=all"
    assert (await admin.get(both)).status == 400
    named = await admin.get(f"{V3}/role_assignments?user.id={user}&include_names=true")
    shown = named.json()["role_assignments"][0]
    assert shown["user"]["name"] == "other"
    assert shown["role"]["name"] == "member"
    assert shown["scope"]["project"]["domain"] == {"id": "default", "name": "Default"}


# --- the powers of a domain's manager


@pytest.fixture
async def manager(admin, site, anyone):
    """Who manages a domain with one project and one user."""
    domain = (await admin.post(f"{V3}/domains", json={"domain": {"name": "d"}})).json()["domain"]["id"]
    body = {"user": {"name": "boss", "domain_id": domain, "password": PASSWORD}}
    user = (await admin.post(f"{V3}/users", json=body)).json()["user"]["id"]
    await grant(admin, user, "manager", f"domains/{domain}")
    client, _ = await login(anyone, by_password({"id": user}, scope={"domain": {"id": domain}}))
    client.domain, client.user = domain, user
    return client


async def test_a_manager_makes_projects_and_users_in_the_domain_and_nowhere_else(admin, manager, other):
    made = await manager.post(f"{V3}/projects", json={"project": {"name": "p"}})
    project = made.json()["project"]
    assert (made.status, project["domain_id"]) == (201, manager.domain)
    made = await manager.post(f"{V3}/users", json={"user": {"name": "u"}})
    user = made.json()["user"]
    assert (made.status, user["domain_id"]) == (201, manager.domain)
    path = await grant(manager, user["id"], "member", f"projects/{project['id']}")
    assert (await manager.delete(path)).status == 204
    assert {u["name"] for u in (await manager.get(f"{V3}/users")).json()["users"]} == {"boss", "u"}
    for kind, one in (("projects", "project"), ("users", "user")):
        body = {one: {"name": "x", "domain_id": "default"}}
        assert (await manager.post(f"{V3}/{kind}", json=body)).status == 403
    for path in (f"users/{other.user.id.hex}", f"projects/{other.project.id.hex}"):
        assert (await manager.delete(f"{V3}/{path}")).status == 403
        assert (await manager.get(f"{V3}/{path}")).status == 403


async def test_a_manager_cannot_become_an_administrator(admin, manager, site):
    roles = {role["name"]: role["id"] for role in (await manager.get(f"{V3}/roles")).json()["roles"]}
    own = f"{V3}/domains/{manager.domain}/users/{manager.user}/roles"
    assert (await manager.put(f"{own}/{roles['admin']}")).status == 403
    assert (await manager.put(f"{V3}/system/users/{manager.user}/roles/{roles['reader']}")).status == 403
    body = {"user": {"name": "root", "domain_id": manager.domain, "password": PASSWORD}}
    root = (await admin.post(f"{V3}/users", json=body)).json()["user"]["id"]
    await grant(admin, root, "admin", "system")
    stolen = {"user": {"password": "stolen"}}
    assert (await manager.patch(f"{V3}/users/{root}", json=stolen)).status == 403
    assert (await manager.get(f"{V3}/users/{root}/credentials/OS-EC2")).status == 403


# --- credentials


async def application(client, **more):
    body = {"application_credential": {"name": "ci", **more}}
    return await client.post(f"{V3}/users/{client.user.id.hex}/application_credentials", json=body)


async def test_an_application_credential_from_create_to_delete(anyone, admin, other):
    made = await application(other, roles=[{"name": "reader"}], description="d")
    credential = made.json()["application_credential"]
    path = f"{V3}/users/{other.user.id.hex}/application_credentials"
    assert made.status == 201
    assert credential["project_id"] == other.project.id.hex
    assert [role["name"] for role in credential["roles"]] == ["reader"]
    client, token = await login(anyone, by_application(credential["id"], credential["secret"]))
    assert [role["name"] for role in token["roles"]] == ["reader"]
    assert token["project"]["id"] == other.project.id.hex
    assert token["application_credential"]["restricted"] is True
    assert (await anyone.post(TOKENS, json=by_application(credential["id"], "wrong"))).status == 401
    assert (await application(other)).status == 409
    shown = (await other.get(f"{path}/{credential['id']}")).json()["application_credential"]
    assert "secret" not in shown
    assert len((await other.get(path)).json()["application_credentials"]) == 1
    assert (await other.delete(f"{path}/{credential['id']}")).status == 204
    assert (await client.get(f"{V3}/auth/projects")).status == 401
    assert (
        await anyone.post(TOKENS, json=by_application(credential["id"], credential["secret"]))
    ).status == 401


async def test_an_application_credential_by_name_of_its_user(anyone, other):
    made = await application(other, secret="chosen")
    assert made.json()["application_credential"]["secret"] == "chosen"
    proof = {"name": "ci", "user": {"id": other.user.id.hex}, "secret": "chosen"}
    methods = {"methods": ["application_credential"], "application_credential": proof}
    await login(anyone, {"auth": {"identity": methods}})


async def test_an_application_credential_has_no_more_than_its_maker(admin, member, other):
    assert (await application(other, roles=[{"name": "admin"}])).status == 400
    assert (await application(other, expires_at="2020-01-01T00:00:00")).status == 400
    path = f"{V3}/users/{other.user.id.hex}/application_credentials"
    assert (await admin.post(path, json={"application_credential": {"name": "x"}})).status == 403
    assert (await member.get(path)).status == 403


@pytest.mark.parametrize(("unrestricted", "status"), [(False, 403), (True, 201)])
async def test_a_restricted_application_credential_cannot_make_others(anyone, other, unrestricted, status):
    made = (await application(other, unrestricted=unrestricted)).json()["application_credential"]
    client, _ = await login(anyone, by_application(made["id"], made["secret"]))
    client.user = other.user
    assert (await application(client, name="second")).status == status


async def test_an_application_credential_stays_in_its_project(anyone, admin, other):
    made = (await application(other)).json()["application_credential"]
    body = by_application(made["id"], made["secret"])
    body["auth"]["scope"] = {"project": {"id": other.project.id.hex}}
    assert (await anyone.post(TOKENS, json=body)).status == 401
    client, _ = await login(anyone, by_application(made["id"], made["secret"]))
    await grant(admin, other.user.id.hex, "reader", "system")
    rescoped = by_token(client.headers["x-auth-token"], {"system": {"all": True}})
    assert (await anyone.post(TOKENS, json=rescoped)).status == 403


async def test_a_lost_role_ends_the_application_credentials_of_the_project(anyone, admin, other):
    made = (await application(other)).json()["application_credential"]
    place = f"projects/{other.project.id.hex}"
    path = await grant(admin, other.user.id.hex, "manager", place)
    assert (await admin.delete(path)).status == 204
    assert (await anyone.post(TOKENS, json=by_application(made["id"], made["secret"]))).status == 401


# --- catalogue, groups, ledger


async def test_the_catalogue_is_read_piece_by_piece(admin):
    services = (await admin.get(f"{V3}/services?type=image")).json()["services"]
    assert [service["name"] for service in services] == ["glance"]
    key = services[0]["id"]
    endpoints = (await admin.get(f"{V3}/endpoints?service_id={key}&interface=public")).json()["endpoints"]
    assert [endpoint["url"] for endpoint in endpoints] == ["http://cloud.test/image"]
    assert (await admin.get(f"{V3}/services/{key}")).json()["service"] == services[0]
    assert (await admin.get(f"{V3}/endpoints/{endpoints[0]['id']}")).json()["endpoint"] == endpoints[0]
    region = (await admin.get(f"{V3}/regions")).json()["regions"][0]
    assert (await admin.get(f"{V3}/regions/{region['id']}")).json()["region"] == region
    for kind in ("services", "endpoints", "regions", "groups"):
        assert (await admin.post(f"{V3}/{kind}", json={})).status == 400
        assert (await admin.get(f"{V3}/{kind}/{NOBODY}")).status == 404


def test_every_service_of_the_face_can_be_served(exported):
    assert Kernel(exported).services


MEMBERS_CANNOT = [
    ("GET", "users"),
    ("POST", "users"),
    ("GET", "projects"),
    ("POST", "projects"),
    ("GET", "domains"),
    ("POST", "domains"),
    ("GET", "roles"),
    ("POST", "roles"),
    ("GET", "role_assignments"),
    ("GET", "role_inferences"),
    ("GET", "services"),
    ("GET", "endpoints"),
]


@pytest.mark.parametrize(("method", "kind"), MEMBERS_CANNOT)
async def test_a_member_of_a_project_administers_nothing(member, method, kind):
    more = {"json": {kind[:-1]: {"name": "x"}}} if method == "POST" else {}
    reply = await member.request(method, f"{V3}/{kind}", **more)
    assert (reply.status, reply.json()["error"]["title"]) == (403, "Forbidden")


async def test_the_reader_of_the_system_sees_everything_and_changes_nothing(anyone, admin, other):
    user = other.user.id.hex
    await grant(admin, user, "reader", "system")
    client, _ = await login(anyone, by_password({"id": user}, scope={"system": {"all": True}}))
    for kind in ("users", "projects", "domains", "roles", "role_assignments", "services"):
        assert (await client.get(f"{V3}/{kind}")).status == 200, kind
    assert (await client.post(f"{V3}/users", json={"user": {"name": "x"}})).status == 403


@pytest.mark.parametrize("operation", SERVICE.operations, ids=lambda operation: operation.key)
async def test_every_operation_refuses_a_stranger(anyone, operation):
    if operation.public:
        return
    path = "/identity" + operation.path
    for name in ("user", "project", "role", "prior", "implied", "credential", "service", "endpoint"):
        path = path.replace("{" + name + "}", NOBODY)
    path = path.replace("{", "").replace("}", "")
    reply = await anyone.request(operation.method, path, json={})
    assert reply.status == 401
    assert reply.headers["www-authenticate"].startswith("Keystone uri=")


def test_the_ledger_agrees_with_what_is_registered():
    assert ledger.check(ledger.load(LEDGER), SERVICE.operations) == []


async def test_no_password_and_no_hash_reaches_an_event(site, other):
    await users.update(site.cloud, system(), other.user.id, users.UpdateUser(password="very-secret"))
    async with site.cloud.view() as look:
        events = await look.list(Event, kind="user")
    assert events
    assert not any("argon2" in str(event.change) or "very-secret" in str(event.change) for event in events)
