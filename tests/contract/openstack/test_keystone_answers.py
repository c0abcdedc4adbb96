"""How the original Keystone answers about credentials, the catalogue, limits, delegation and federation: each line was
found by asking both the same."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.openstack.logins import NOBODY, V3, make, role

Change = dict[str, Any]


@pytest.fixture
async def known(admin, member) -> dict[str, str]:
    """By the words in the tables."""
    service = (await make(admin, "service", type="dns", name="names"))["id"]
    other = (await make(admin, "service", type="web", description=""))["id"]
    endpoint = (await make(admin, "endpoint", service_id=service, interface="public", url="http://dns"))["id"]
    found = {"service": service, "other": other, "endpoint": endpoint, "nobody": NOBODY}
    found |= {"me": admin.user.id.hex, "user": member.user.id.hex, "project": member.project.id.hex}
    found["group"] = await endpoint_group(admin)
    found["member"] = await role(admin, "member")
    policy = await admin.post(f"{V3}/policies", json={"policy": {"type": "t/x", "blob": "{}"}})
    found["policy"] = policy.json()["policy"]["id"]
    for one, key, body in (
        ("identity_provider", "idp", {}),
        ("service_provider", "sky", {"auth_url": "http://a/x", "sp_url": "http://b/y"}),
    ):
        assert (await admin.put(f"{V3}/OS-FEDERATION/{one}s/{key}", json={one: body})).status == 201
    return found


async def endpoint_group(admin) -> str:
    body = {"endpoint_group": {"name": "g", "filters": {"interface": "public"}}}
    made: str = (await admin.post(f"{V3}/OS-EP-FILTER/endpoint_groups", json=body)).json()["endpoint_group"][
        "id"
    ]
    return made


def filled(value: Any, known: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: filled(inner, known) for name, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, known) for inner in value]
    return value.format(**known) if isinstance(value, str) else value


CREDENTIALS = "users/{me}/application_credentials"
TRUST = {"trustor_user_id": "{me}", "trustee_user_id": "{user}", "impersonation": True}
RULE = {"path": "/v3/users", "method": "GET", "service": "identity"}


def application(**fields: Any) -> Change:
    return {"application_credential": {"name": "a", **fields}}


def trust(*roles: Change, **fields: Any) -> Change:
    return {"trust": {**TRUST, "project_id": "{project}", "roles": list(roles), **fields}}


ANSWERS: list[tuple[str, str, Change | None, int]] = [
    ("POST", "credentials", {"credential": {"blob": "x", "type": "t" * 255, "user_id": "{me}"}}, 201),
    ("POST", "credentials", {"credential": {"blob": "x", "type": "t" * 256, "user_id": "{me}"}}, 400),
    ("POST", "regions", {"region": {"parent_region_id": ""}}, 400),
    ("GET", "regions?parent_region_id=", None, 400),
    ("GET", "regions?limit=1", None, 400),
    ("GET", "OS-EP-FILTER/endpoint_groups?name=", None, 400),
    ("GET", "registered_limits?service_id=x", None, 400),
    ("GET", "registered_limits?region_id=", None, 400),
    ("GET", "registered_limits?resource_name=", None, 400),
    ("GET", "limits?project_id=", None, 400),
    ("GET", "limits?region_id=", None, 400),
    ("POST", CREDENTIALS, application(id="x", project_id="{nobody}", unrestricted=None), 201),
    ("POST", CREDENTIALS, application(access_rules=[RULE]), 201),
    ("POST", CREDENTIALS, application(colour="red"), 400),
    ("POST", CREDENTIALS, application(user_id="{user}"), 400),
    ("POST", CREDENTIALS, application(roles=None), 400),
    ("POST", CREDENTIALS, application(access_rules=None), 400),
    ("POST", CREDENTIALS, application(roles=[{"id": "{nobody}"}]), 400),
    ("POST", CREDENTIALS, application(roles=[{"id": "{member}", "name": "member"}]), 400),
    ("POST", CREDENTIALS, application(roles=[{"name": "nosuch"}]), 404),
    ("POST", CREDENTIALS, application(expires_at="2100-01-01"), 400),
    ("POST", CREDENTIALS, application(expires_at="2100-01-01T00:00:00"), 201),
    ("POST", "OS-TRUST/trusts", trust({}), 400),
    ("POST", "OS-TRUST/trusts", trust({"id": "{member}", "name": "member"}), 400),
    ("POST", "OS-TRUST/trusts", trust({"name": "member"}, expires_at="2100-01-01"), 400),
    ("PATCH", "OS-FEDERATION/identity_providers/idp", {"identity_provider": {}}, 400),
    ("PATCH", "OS-FEDERATION/service_providers/sky", {"service_provider": {}}, 400),
    (
        "PATCH",
        "OS-FEDERATION/service_providers/sky",
        {"service_provider": {"relay_state_prefix": "r" * 257}},
        400,
    ),
    ("GET", "OS-FEDERATION/identity_providers?enabled=perhaps", None, 400),
    ("GET", "OS-FEDERATION/identity_providers?enabled=no", None, 200),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), ANSWERS, ids=lambda value: str(value)[:70])
async def test_a_request_is_answered_as_the_original_does(admin, known, method, path, body, status):
    reply = await admin.request(method, f"{V3}/{path.format(**known)}", json=filled(body, known))
    assert reply.status == status, reply.text


MISSING = [
    ("services/{nobody}", "Could not find service: {nobody}."),
    ("endpoints/{nobody}", "Could not find endpoint: {nobody}."),
    ("policies/{nobody}", "Could not find policy: {nobody}."),
    ("policies/{policy}/OS-ENDPOINT-POLICY/endpoints/{endpoint}", "Could not find policy association."),
    ("endpoints/{nobody}/OS-ENDPOINT-POLICY/policy", "Could not find endpoint: {nobody}."),
    ("OS-EP-FILTER/endpoint_groups/{nobody}", "Could not find Endpoint Group: {nobody}."),
    ("registered_limits/{nobody}", "Could not find registered limit for {nobody}."),
    ("limits/{nobody}", "Could not find limit for {nobody}."),
    ("OS-OAUTH1/consumers/{nobody}", "Consumer not found"),
    ("users/{me}/OS-OAUTH1/access_tokens/{nobody}", "Access token not found"),
    ("domains/default/config", "Could not find any options in domain configuration for domain default."),
    (
        "domains/default/config/ldap/url",
        "Could not find option url in group ldap in domain configuration for domain default.",
    ),
    (
        "OS-FEDERATION/identity_providers/idp/protocols/x",
        "Could not find federated protocol x for Identity Provider: idp.",
    ),
]


@pytest.mark.parametrize(("path", "message"), MISSING, ids=[path for path, _ in MISSING])
async def test_what_is_missing_is_named_as_the_original_does(admin, known, path, message):
    reply = await admin.get(f"{V3}/{path.format(**known)}")
    assert reply.status == 404
    assert reply.json()["error"]["message"] == message.format(**known)


DUPLICATES = [
    ("OS-EP-FILTER/projects/{project}/endpoints/{endpoint}", "project_endpoint"),
    ("OS-EP-FILTER/endpoint_groups/{group}/projects/{project}", "project_endpoint_group"),
]


@pytest.mark.parametrize(("path", "what"), DUPLICATES)
async def test_what_is_given_twice_conflicts(admin, known, path, what):
    assert (await admin.put(f"{V3}/{path.format(**known)}")).status == 204
    reply = await admin.put(f"{V3}/{path.format(**known)}")
    assert reply.status == 409
    message = reply.json()["error"]["message"]
    assert message == f"Conflict occurred attempting to store {what} - Duplicate entry."


PAGES = ("services", "endpoints", "policies", "registered_limits", "OS-FEDERATION/identity_providers")


@pytest.mark.parametrize("path", PAGES)
async def test_a_list_is_shown_in_pages_that_lead_to_all_of_it(admin, known, path):
    many = path.rpartition("/")[2]
    everything = [one["id"] for one in (await admin.get(f"{V3}/{path}")).json()[many]]
    at, found = f"{V3}/{path}?limit=1", []
    while at is not None:
        shown = (await admin.get(at)).json()
        assert len(shown[many]) == 1
        found += [one["id"] for one in shown[many]]
        at = shown["links"]["next"]
        assert shown.get("truncated", False) == (at is not None)
        at = at and at.removeprefix("http://cloud.test")
    assert found == everything
    assert (await admin.get(f"{V3}/{path}?marker=nosuch")).status == 404


COMPARED = [
    ("services?type__contains=n", "services", {"dns"}),
    ("services?type__startswith=w", "services", {"web"}),
    ("policies?type__contains=/x", "policies", {"t/x"}),
    ("policies?type__startswith=x", "policies", set()),
    ("credentials?type__startswith=ce", "credentials", {"cert"}),
    ("credentials?type__endswith=x", "credentials", set()),
]


@pytest.mark.parametrize(("path", "many", "kinds"), COMPARED)
async def test_types_are_compared_by_their_parts(admin, known, path, many, kinds):
    await make(admin, "credential", blob="x", type="cert", user_id=known["me"])
    found = {one["type"] for one in (await admin.get(f"{V3}/{path}")).json()[many]}
    assert found & {"dns", "web", "t/x", "cert"} == kinds


SHOWN: list[tuple[str, str, Callable[[Change], object], object]] = [
    ("services/{service}", "service", lambda shown: "description" in shown, False),
    ("services/{other}", "service", lambda shown: shown["description"], ""),
    ("OS-EP-FILTER/endpoint_groups/{group}", "endpoint_group", lambda shown: shown["description"], None),
]


@pytest.mark.parametrize(("path", "one", "look", "expected"), SHOWN)
async def test_texts_that_were_not_given_are_told_apart(admin, known, path, one, look, expected):
    assert look((await admin.get(f"{V3}/{path.format(**known)}")).json()[one]) == expected


@pytest.mark.parametrize(
    ("given", "shown"), [({}, None), ({"description": None}, None), ({"description": ""}, "")]
)
async def test_a_consumer_has_the_description_that_it_was_given(admin, given, shown):
    reply = await admin.post(f"{V3}/OS-OAUTH1/consumers", json={"consumer": given})
    assert reply.json()["consumer"]["description"] == shown


async def test_an_application_credential_names_its_user_and_the_whole_of_its_roles(admin, known):
    reply = await admin.post(
        f"{V3}/{CREDENTIALS.format(**known)}", json=application(roles=[{"id": known["member"]}])
    )
    shown = reply.json()["application_credential"]
    assert shown["user_id"] == known["me"]
    assert set(shown["roles"][0]) == {"id", "name", "domain_id", "description", "options"}


async def test_whoever_may_not_change_a_limit_learns_that_there_is_none(admin, member, known):
    limits = [{"service_id": known["service"], "resource_name": "zones", "default_limit": 5}]
    registered = await admin.post(f"{V3}/registered_limits", json={"registered_limits": limits})
    assert registered.status == 201, registered.text
    own = {"service_id": known["service"], "resource_name": "zones", "resource_limit": 3}
    body = {"limits": [own | {"project_id": known["project"]}]}
    key = (await admin.post(f"{V3}/limits", json=body)).json()["limits"][0]["id"]
    for limit, status in ((key, 403), (NOBODY, 404)):
        assert (await member.delete(f"{V3}/limits/{limit}")).status == status
        changed = await member.patch(f"{V3}/limits/{limit}", json={"limit": {"resource_limit": 1}})
        assert changed.status == status
