"""Details in which clients would tell us from the original Keystone: each was found by asking both the same."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from pileus.faces.openstack.identity import SERVICE
from tests.asgi import Client
from tests.contract.openstack.logins import (
    NOBODY,
    PASSWORD,
    TOKENS,
    V3,
    by_password,
    login,
    make,
    role,
)

UUID_OF_NOBODY = "f" * 32
Change = dict[str, Any]


@pytest.fixture
def anyone(kernel) -> Client:
    return Client(kernel)


@pytest.fixture
async def known(admin) -> dict[str, str]:
    """By the words in the tables: a domain with a project, one below it, a user, a group and a role of its own."""
    domain = (await make(admin, "domain", name="east"))["id"]
    project = (await make(admin, "project", name="top", domain_id=domain))["id"]
    below = (await make(admin, "project", name="below", domain_id=domain, parent_id=project))["id"]
    user = (await make(admin, "user", name="ann", domain_id=domain, password=PASSWORD))["id"]
    group = (await make(admin, "group", name="team", domain_id=domain))["id"]
    own = (await make(admin, "role", name="own", domain_id=domain))["id"]
    other = (await make(admin, "domain", name="west"))["id"]
    return {
        "domain": domain,
        "project": project,
        "below": below,
        "user": user,
        "group": group,
        "own": own,
        "other": other,
    }


def filled(value: Any, known: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: filled(inner, known) for name, inner in value.items()}
    return value.format(**known) if isinstance(value, str) else value


ANSWERS: list[tuple[str, str, Change | None, int]] = [
    ("POST", "users", {"user": {"name": "u", "domain_id": None}}, 400),
    ("POST", "users", {"user": {"name": "u", "domain_id": ""}}, 400),
    ("POST", "users", {"user": {"name": "u", "default_project_id": "{domain}"}}, 400),
    ("PATCH", "users/{user}", {"user": {"default_project_id": "{domain}"}}, 400),
    ("POST", "users/{user}/password", {"user": {"original_password": "a", "password": "b", "x": 1}}, 400),
    ("POST", "groups", {"group": {"name": "y" * 64}}, 201),
    ("POST", "groups", {"group": {"name": "y" * 65}}, 400),
    ("POST", "groups", {"group": {"name": "g", "domain_id": None}}, 400),
    ("POST", "domains", {"domain": {"name": "d", "description": "x" * 256}}, 400),
    ("POST", "domains", {"domain": {"name": "d", "explicit_domain_id": None}}, 400),
    ("POST", "domains", {"domain": {"name": "d", "tags": ["a", "a"]}}, 400),
    ("POST", "projects", {"project": {"name": "p", "tags": ["a", "a"]}}, 400),
    ("PATCH", "projects/{project}", {"project": {"tags": ["a", "a"]}}, 400),
    ("PATCH", "projects/{project}", {"project": {}}, 200),
    ("PUT", "projects/{project}/tags", {"tags": ["a", "a"]}, 400),
    ("PUT", "projects/{project}/tags", {"tags": ["a"], "more": 1}, 400),
    ("POST", "roles", {"role": {"name": "r", "description": "x" * 256}}, 400),
    ("PATCH", "roles/{own}", {"role": {"domain_id": "nowhere"}}, 400),
    ("PUT", "system/users/{user}/roles/{own}", None, 400),
    ("PUT", "system/groups/{group}/roles/{own}", None, 400),
    *(
        ("GET", f"{many}?{query}", None, status)
        for many in ("users", "groups", "projects", "domains", "roles")
        for query, status in (("name=", 400), ("limit=-1", 200), ("marker=", 200))
    ),
    *(("GET", f"{many}?domain_id=", None, 400) for many in ("users", "groups", "projects", "roles")),
    ("GET", "projects?parent_id=", None, 400),
    ("GET", "projects?parent_id=nowhere", None, 400),
    ("GET", f"role_assignments?user.id={UUID_OF_NOBODY}", None, 200),
    ("GET", f"role_assignments?user.id={UUID_OF_NOBODY}&effective", None, 404),
    ("GET", f"role_assignments?scope.project.id={UUID_OF_NOBODY}&effective", None, 404),
    ("GET", "role_assignments?include_subtree=0", None, 400),
    ("GET", "role_assignments?user.id={user}&group.id={group}", None, 400),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), ANSWERS, ids=lambda value: str(value)[:60])
async def test_a_request_is_answered_as_the_original_does(admin, known, method, path, body, status):
    reply = await admin.request(method, f"{V3}/{path.format(**known)}", json=filled(body, known))
    assert reply.status == status, reply.text
    assert reply.headers["vary"] == "X-Auth-Token"


EXTRA = {"colour": "red", "description": "d"}
TEXTS: list[tuple[str, Change, Callable[[Change], object], object]] = [
    ("project", {}, lambda shown: shown["description"], ""),
    ("project", {"description": None}, lambda shown: shown["description"], None),
    ("domain", {"description": None}, lambda shown: shown["description"], None),
    ("group", {"description": None}, lambda shown: shown["description"], None),
    ("role", {}, lambda shown: shown["description"], None),
    ("role", {"description": ""}, lambda shown: shown["description"], ""),
    ("user", {}, lambda shown: {"description", "email"} & shown.keys(), set()),
    (
        "user",
        {"description": None, "email": ""},
        lambda shown: (shown["description"], shown["email"]),
        (None, ""),
    ),
    ("user", {"extra": {"a": 1}}, lambda shown: "extra" in shown, False),
    ("project", {"extra": {"a": 1}}, lambda shown: "extra" in shown, False),
    (
        "domain",
        {"parent_id": "x", "domain_id": "x"},
        lambda shown: {"parent_id", "domain_id"} & shown.keys(),
        set(),
    ),
    *(
        (one, {"name": "  padded "}, lambda shown: shown["name"], "padded")
        for one in ("user", "group", "domain")
    ),
]


@pytest.mark.parametrize(("one", "fields", "seen", "expected"), TEXTS)
async def test_what_was_given_is_shown(admin, one, fields, seen, expected):
    made = await make(admin, one, **{"name": "n", **fields})
    assert seen(made) == expected
    shown = (await admin.get(f"{V3}/{one}s/{made['id']}")).json()[one]
    assert shown == made
    later = {"description": "now"}
    changed = (await admin.patch(f"{V3}/{one}s/{made['id']}", json={one: later})).json()[one]
    assert changed["description"] == "now"


@pytest.mark.parametrize(("one", "own"), [("user", {"description": "d"}), ("project", {})])
async def test_an_update_shows_undeclared_attributes_once_more(admin, one, own):
    made = await make(admin, one, name="n", **EXTRA)
    changed = await admin.patch(f"{V3}/{one}s/{made['id']}", json={one: {"size": 1}})
    assert changed.json()[one]["extra"] == {"colour": "red", "size": 1} | own


SAME = ("{many}?name__contains=IXT", "{many}?name__startswith=MI", "{many}?name__endswith=Ture")


@pytest.mark.parametrize("one", ["user", "group", "project", "domain", "role"])
async def test_names_are_compared_as_written_unless_asked_otherwise(admin, one):
    await make(admin, one, name="Mixture")
    for path in SAME:
        strict = path.format(many=f"{one}s")
        assert (await admin.get(f"{V3}/{strict}")).json()[f"{one}s"] == []
        loose = (await admin.get(f"{V3}/{strict.replace('__', '__i')}")).json()[f"{one}s"]
        assert [found["name"] for found in loose] == ["Mixture"]


@pytest.mark.parametrize("word", ["admin", "manager", "member", "reader"])
async def test_a_token_of_a_domain_lists_nothing_of_another(admin, anyone, known, word):
    held = await role(admin, word)
    await admin.put(f"{V3}/domains/{known['domain']}/users/{known['user']}/roles/{held}")
    client, _ = await login(
        anyone, by_password({"id": known["user"]}, scope={"domain": {"id": known["domain"]}})
    )
    for many in ("users", "groups", "projects"):
        reply = await client.get(f"{V3}/{many}?domain_id={known['other']}")
        assert (reply.status, reply.json().get(many)) == (200, []), many
        inside = (await client.get(f"{V3}/{many}?domain_id={known['domain']}")).json()[many]
        assert {found["domain_id"] for found in inside} == {known["domain"]}


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
async def test_who_names_no_token_is_asked_first_whether_others_may_be_asked_about(admin, member, method):
    assert (await member.request(method, TOKENS)).status == 403
    assert (await admin.request(method, TOKENS)).status == 404
    assert (await member.request(method, TOKENS, headers={"x-subject-token": "bad"})).status == 404


async def test_a_refusal_names_the_rule(member, known):
    for path, rule in (
        ("users/{user}", "get_user"),
        ("groups/{group}", "get_group"),
        ("groups/{group}/users", "list_users_in_group"),
        ("projects/{project}", "get_project"),
        ("projects/{project}/tags", "list_project_tags"),
        ("domains/{domain}", "get_domain"),
        ("roles/{own}", "get_domain_role"),
    ):
        reply = await member.get(f"{V3}/{path.format(**known)}")
        words = f"You are not authorized to perform the requested action: identity:{rule}."
        assert (reply.status, reply.json()["error"]["message"]) == (403, words), path


async def test_names_win_over_ids_in_a_login(anyone, known):
    both = {"id": known["user"], "name": "ann"}
    assert (await anyone.post(TOKENS, json=by_password(both))).status == 400
    domain = {"domain": {"id": known["domain"]}}
    assert (await anyone.post(TOKENS, json=by_password(both | domain))).status == 201
    assert (await anyone.post(TOKENS, json=by_password(both | domain | {"name": "nobody"}))).status == 401


async def test_scopes_that_are_disabled_are_listed_too(admin, anyone, known):
    held = await role(admin, "member")
    await admin.put(f"{V3}/projects/{known['below']}/users/{known['user']}/roles/{held}")
    await admin.patch(f"{V3}/projects/{known['below']}", json={"project": {"enabled": False}})
    client, _ = await login(anyone, by_password({"id": known["user"]}))
    shown = (await client.get(f"{V3}/auth/projects")).json()["projects"]
    assert [(one["id"], one["enabled"]) for one in shown] == [(known["below"], False)]
    assert (await client.get(f"{V3}/auth/system?x=1")).json()["links"]["self"].endswith("/v3/auth/system")


async def test_flags_of_assignments_are_on_unless_they_are_0(admin, known):
    held = await role(admin, "member")
    await admin.put(f"{V3}/projects/{known['project']}/users/{known['user']}/roles/{held}")
    path = f"{V3}/role_assignments?user.id={known['user']}"
    for value, count, named in (("0", 1, False), ("false", 2, True), ("", 2, True)):
        found = (await admin.get(f"{path}&effective={value}&include_names={value}")).json()[
            "role_assignments"
        ]
        assert (len(found), "name" in found[0]["role"]) == (count, named)
    assert len((await admin.get(f"{path}&scope.system=some")).json()["role_assignments"]) == 1


async def test_a_domain_is_shown_as_a_project_with_its_projects(admin, known):
    path = f"{V3}/projects/{known['domain']}"
    ids = (await admin.get(f"{path}?parents_as_ids&subtree_as_ids")).json()["project"]
    assert ids["parents"] is None
    assert ids["subtree"] == {known["project"]: {known["below"]: None}}
    lists = (await admin.get(f"{path}?parents_as_list&subtree_as_list")).json()["project"]
    assert (lists["parents"], lists["subtree"]) == ([], [])


async def test_relatives_are_shown_with_their_limits(admin, anyone, known):
    held = await role(admin, "reader")
    service = (await make(admin, "service", type="lab"))["id"]
    registered = {"service_id": service, "resource_name": "benches", "default_limit": 5}
    await admin.post(f"{V3}/registered_limits", json={"registered_limits": [registered]})
    limit = {"service_id": service, "resource_name": "benches", "resource_limit": 3}
    made = {}
    for word in ("project", "below"):
        await admin.put(f"{V3}/projects/{known[word]}/users/{known['user']}/roles/{held}")
        body = {"limits": [limit | {"project_id": known[word]}]}
        made[word] = (await admin.post(f"{V3}/limits", json=body)).json()["limits"][0]
        made[word].pop("links")
    scope = {"project": {"id": known["project"]}}
    client, _ = await login(anyone, by_password({"id": known["user"]}, scope=scope))
    path = f"{V3}/projects/{known['project']}?subtree_as_list"
    assert "limits" not in (await client.get(path)).json()["project"]["subtree"][0]["project"]
    shown = (await client.get(f"{path}&include_limits")).json()["project"]
    assert shown["subtree"][0]["project"]["limits"] == [made["below"]]
    assert "limits" not in shown
    scope = {"project": {"id": known["below"]}}
    client, _ = await login(anyone, by_password({"id": known["user"]}, scope=scope))
    path = f"{V3}/projects/{known['below']}?parents_as_list&include_limits"
    shown = (await client.get(path)).json()["project"]
    assert shown["parents"][0]["project"]["limits"] == [made["project"]]


async def test_inferences_come_without_links(admin):
    assert (await admin.get(f"{V3}/role_inferences")).json().keys() == {"role_inferences"}


async def test_tags_come_back_in_the_order_given(admin, known):
    path = f"{V3}/projects/{known['project']}/tags"
    assert (await admin.put(path, json={"tags": ["b", "a"]})).json()["tags"] == ["b", "a"]
    assert (await admin.get(path)).json()["tags"] == ["a", "b"]


async def test_nobody_is_not_a_parent(admin):
    assert (await admin.get(f"{V3}/projects?parent_id={NOBODY}")).json()["projects"] == []


HOME = {"accept": "application/json-home"}
UNNAMED = re.compile(r"\{[^}]*\}")


async def test_the_home_document_names_addresses_that_are_served(anyone):
    served = {UNNAMED.sub("{}", operation.path) for operation in SERVICE.operations}
    reply = await anyone.get("/identity/", headers=HOME)
    assert (reply.status, reply.headers["content-type"]) == (200, HOME["accept"])
    found = reply.json()["resources"]
    addresses = {one.get("href") or one["href-template"] for one in found.values()}
    assert {UNNAMED.sub("{}", address) for address in addresses} <= served
    below = (await anyone.get(V3, headers=HOME)).json()["resources"]
    assert {"/v3" + (one.get("href") or one["href-template"]) for one in below.values()} == addresses


@pytest.mark.parametrize(
    "accept", ["application/json", "*/*", "text/html", f"{HOME['accept']}, application/json"]
)
async def test_everybody_else_gets_the_versions(anyone, accept):
    reply = await anyone.get(V3, headers={"accept": accept})
    assert (reply.json().keys(), reply.headers["content-type"]) == ({"version"}, "application/json")
