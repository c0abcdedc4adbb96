"""Registered limits and limits as Keystone answers: everything beside what this cloud charges itself."""

from typing import Any

import pytest

from pileus.core.caller import READER, system
from pileus.core.cloud import Cloud
from pileus.core.identity import domains
from pileus.core.identity.authorization.assignments import Place
from pileus.core.identity.records import Scope
from pileus.core.identity.unified_limits import CHARGED
from tests.asgi import Client
from tests.contract.openstack.conftest import Person, give, token

V3 = "/identity/v3"
REGISTERED, LIMITS = f"{V3}/registered_limits", f"{V3}/limits"
NOBODY = "0" * 32


@pytest.fixture
async def service(admin: Person) -> str:
    reply = await admin.post(f"{V3}/services", json={"service": {"type": "lab", "name": "lab"}})
    return str(reply.json()["service"]["id"])


@pytest.fixture
async def two(admin: Person, service: str) -> list[dict[str, Any]]:
    """Registered limits, made in one request."""
    wanted = [
        {"service_id": service, "resource_name": "rooms", "default_limit": 5},
        {"service_id": service, "resource_name": "chairs", "default_limit": -1, "description": "To sit on"},
    ]
    reply = await admin.post(REGISTERED, json={"registered_limits": wanted})
    assert reply.status == 201, reply.text
    return list(reply.json()["registered_limits"])


def limit(service: str, name: str, number: int, **holder: str | None) -> dict[str, Any]:
    return {"limits": [{"service_id": service, "resource_name": name, "resource_limit": number, **holder}]}


async def make(admin: Person, body: dict[str, Any]) -> dict[str, Any]:
    reply = await admin.post(LIMITS, json=body)
    assert reply.status == 201, reply.text
    return dict(reply.json()["limits"][0])


async def ids(who: Client, query: str = "") -> set[str]:
    reply = await who.get(f"{LIMITS}{query}")
    assert reply.status == 200, reply.text
    return {one["id"] for one in reply.json()["limits"]}


async def test_the_model_is_flat(member: Person) -> None:
    assert (await member.get(f"{LIMITS}/model")).json()["model"]["name"] == "flat"


async def test_registered_limits_are_made_shown_and_found(
    admin: Person, member: Person, service: str, two: list[dict[str, Any]]
) -> None:
    rooms, chairs = two
    link = rooms.pop("links")["self"]
    assert link == f"http://cloud.test{REGISTERED}/{rooms['id']}"
    assert rooms == {
        "id": rooms["id"],
        "service_id": service,
        "region_id": None,
        "resource_name": "rooms",
        "default_limit": 5,
        "description": None,
    }
    assert (await member.get(f"{REGISTERED}/{chairs['id']}")).json()["registered_limit"] == chairs
    for query, names in (
        (f"service_id={service}", ["rooms", "chairs"]),
        (f"service_id={service}&resource_name=rooms", ["rooms"]),
        (f"service_id={service}&region_id=RegionOne", []),
        (f"service_id={NOBODY}", []),
    ):
        found = (await member.get(f"{REGISTERED}?{query}")).json()["registered_limits"]
        assert [one["resource_name"] for one in found] == names
    own = [name for names in CHARGED.values() for name in names]
    found = (await member.get(REGISTERED)).json()["registered_limits"]
    assert {one["resource_name"] for one in found} == {*own, "rooms", "chairs"}


async def test_registered_limits_are_changed_and_deleted(
    admin: Person, member: Person, two: list[dict[str, Any]]
) -> None:
    path = f"{REGISTERED}/{two[0]['id']}"
    change = {"registered_limit": {"default_limit": 7, "description": "All"}}
    assert (await member.patch(path, json=change)).status == 403
    shown = (await admin.patch(path, json=change)).json()["registered_limit"]
    assert (shown["default_limit"], shown["description"]) == (7, "All")
    twice = await admin.patch(path, json={"registered_limit": {"resource_name": "chairs"}})
    assert twice.status == 409
    assert (await admin.patch(path, json={"registered_limit": {"nonsense": 1}})).status == 400
    assert (await member.delete(path)).status == 403
    assert (await admin.delete(path)).status == 204
    assert (await admin.delete(path)).status == 404
    assert (await admin.get(f"{REGISTERED}/nope")).status == 404


@pytest.mark.parametrize(
    ("status", "change"),
    [
        (409, {"resource_name": "rooms"}),
        (400, {"service_id": NOBODY}),
        (400, {"service_id": "nope"}),
        (400, {"region_id": "nowhere"}),
        (400, {"resource_name": ""}),
        (400, {"default_limit": "5"}),
        (400, {"default_limit": -2}),
        (400, {"default_limit": 1 << 31}),
    ],
    ids=str,
)
async def test_what_cannot_be_registered(
    admin: Person, service: str, two: list[dict[str, Any]], status: int, change: dict[str, Any]
) -> None:
    good = {"service_id": service, "resource_name": "doors", "default_limit": 5}
    refused = await admin.post(REGISTERED, json={"registered_limits": [good, good | change]})
    assert refused.status == status, refused.text
    found = (await admin.get(f"{REGISTERED}?service_id={service}")).json()["registered_limits"]
    assert len(found) == 2, "nothing is half made"
    assert (await admin.post(REGISTERED, json={"registered_limits": []})).status == 400


async def test_limits_of_projects_and_domains(
    admin: Person, member: Person, service: str, two: list[dict[str, Any]]
) -> None:
    project = member.project.id.hex
    made = await make(admin, limit(service, "rooms", 9, project_id=project, description="More"))
    assert made | {"id": "", "links": {}} == {
        "id": "",
        "links": {},
        "project_id": project,
        "domain_id": None,
        "resource_limit": 9,
        "description": "More",
        "service_id": service,
        "region_id": None,
        "resource_name": "rooms",
    }
    assert (await admin.post(LIMITS, json=limit(service, "rooms", 8, project_id=project))).status == 409
    whole = await make(admin, limit(service, "rooms", 90, project_id="default"))
    assert (whole["project_id"], whole["domain_id"]) == (None, "default")
    assert await ids(admin, f"?service_id={service}") == {made["id"], whole["id"]}
    assert await ids(admin, f"?project_id={project}&service_id={service}") == {made["id"]}
    assert await ids(admin, "?domain_id=default") == {whole["id"]}
    assert await ids(member) == {made["id"]}
    path = f"{LIMITS}/{made['id']}"
    changed = (await admin.patch(path, json={"limit": {"resource_limit": 0, "description": None}})).json()
    assert (changed["limit"]["resource_limit"], changed["limit"]["description"]) == (0, None)
    assert (await admin.patch(path, json={"limit": {"service_id": service}})).status == 400
    used = await admin.delete(f"{REGISTERED}/{two[0]['id']}")
    assert used.status == 403
    assert "there are project limits associated with it" in used.text
    change = {"registered_limit": {"default_limit": 1}}
    assert (await admin.patch(f"{REGISTERED}/{two[0]['id']}", json=change)).status == 403
    assert (await admin.delete(path)).status == 204
    for method in ("GET", "DELETE"):
        assert (await admin.request(method, path)).status == 404


@pytest.mark.parametrize(
    ("status", "name", "holder"),
    [
        (403, "nothing", {"project_id": "own"}),
        (400, "rooms", {"project_id": NOBODY}),
        (400, "rooms", {"domain_id": NOBODY}),
        (400, "rooms", {"project_id": None}),
        (400, "rooms", {}),
        (400, "rooms", {"project_id": "own", "domain_id": "default"}),
        (400, "rooms", {"project_id": "own", "region_id": "nowhere"}),
    ],
    ids=str,
)
async def test_what_cannot_be_a_limit(
    admin: Person, service: str, two: list[dict[str, Any]], status: int, name: str, holder: dict[str, Any]
) -> None:
    own = {key: admin.project.id.hex if value == "own" else value for key, value in holder.items()}
    refused = await admin.post(LIMITS, json=limit(service, name, 1, **own))
    assert refused.status == status, refused.text
    assert await ids(admin) == set()


async def test_who_sees_a_limit(
    admin: Person, member: Person, other: Person, cloud: Cloud, service: str, two: list[dict[str, Any]]
) -> None:
    made = await make(admin, limit(service, "rooms", 9, project_id=member.project.id.hex))
    path = f"{LIMITS}/{made['id']}"
    assert (await member.get(path)).status == 200
    assert (await other.get(path)).status == 403
    assert await ids(other) == set()
    await give(cloud, system(), other.user.id, READER, Place(Scope.DOMAIN, domains.ROOT))
    held = token(cloud, other.user.id, Scope.DOMAIN, domains.ROOT)
    of_domain = Client(other.app, {"x-auth-token": held})
    assert (await of_domain.get(path)).status == 200
    assert await ids(of_domain) == {made["id"]}
    for method, body in (("PATCH", {"limit": {"resource_limit": 1}}), ("DELETE", None)):
        assert (await member.request(method, path, json=body)).status == 403
    assert (await member.post(LIMITS, json=limit(service, "rooms", 1, domain_id="default"))).status == 403


async def test_what_the_cloud_charges_itself_stays_registered(admin: Person) -> None:
    (one,) = (await admin.get(f"{REGISTERED}?resource_name=class:VCPU")).json()["registered_limits"]
    path = f"{REGISTERED}/{one['id']}"
    refused = await admin.delete(path)
    assert refused.status == 403
    assert "set its default to -1" in refused.text
    change = {"registered_limit": {"resource_name": "cores"}}
    assert (await admin.patch(path, json=change)).status == 403
    change = {"registered_limit": {"description": "Cores"}}
    assert (await admin.patch(path, json=change)).json()["registered_limit"]["description"] == "Cores"
