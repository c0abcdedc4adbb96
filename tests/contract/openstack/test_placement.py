"""The placement API tells what hosts have and what servers take of it."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pileus.faces.openstack.placement import SERVICE
from pileus.faces.wire import ledger
from tests.asgi import Client
from tests.contract.openstack.conftest import Person

BASE = "/placement"


def version(number: str) -> dict[str, str]:
    return {"openstack-api-version": f"placement {number}"}


LATEST = version("1.39")


async def read(who: Person, path: str, headers: dict[str, str] = LATEST) -> Any:
    reply = await who.get(f"{BASE}{path}", headers=headers)
    assert reply.status == 200, reply.text
    return reply.json()


async def test_the_root_needs_no_token(kernel: Any) -> None:
    shown = (await Client(kernel).get(f"{BASE}/")).json()["versions"][0]
    assert (shown["min_version"], shown["max_version"]) == ("1.0", "1.39")


async def test_a_host_is_a_provider_with_all_its_parts(admin: Person) -> None:
    provider = (await read(admin, "/resource_providers"))["resource_providers"][0]
    assert provider["name"] == "host-1"
    for link in provider["links"]:
        reply = await admin.get(link["href"], headers=LATEST)
        assert reply.status == 200, (link, reply.text)
        assert reply.headers["cache-control"] == "no-cache"
    held = (await read(admin, f"/resource_providers/{provider['uuid']}/inventories"))["inventories"]
    assert held["VCPU"]["total"] == 64
    assert {
        link["rel"]
        for link in (await read(admin, "/resource_providers", version("1.0")))["resource_providers"][0][
            "links"
        ]
    } == {
        "self",
        "inventories",
        "usages",
    }


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("name=host-1", 1),
        ("name=other", 0),
        ("resources=VCPU:1,MEMORY_MB:64", 1),
        ("resources=VCPU:65", 0),
        ("required=COMPUTE_NODE", 1),
        ("required=!COMPUTE_NODE", 0),
        ("required=in:COMPUTE_NODE,COMPUTE_STATUS_DISABLED", 1),
        (f"member_of={uuid4()}", 0),
        (f"in_tree={uuid4()}", 0),
    ],
)
async def test_providers_are_filtered(admin: Person, query: str, count: int) -> None:
    assert len((await read(admin, f"/resource_providers?{query}"))["resource_providers"]) == count


async def test_candidates_can_take_what_is_asked(admin: Person) -> None:
    found = await read(admin, "/allocation_candidates?resources=VCPU:2,MEMORY_MB:128&limit=1")
    (host, taken), *_ = found["allocation_requests"][0]["allocations"].items()
    assert taken["resources"] == {"VCPU": 2, "MEMORY_MB": 128}
    assert found["allocation_requests"][0]["mappings"] == {"": [host]}
    assert found["provider_summaries"][host]["resources"]["VCPU"]["used"] == 0
    none = await read(
        admin, "/allocation_candidates?resources1=VCPU:1&resources2=VCPU:1&group_policy=isolate"
    )
    assert none["allocation_requests"] == []


@pytest.mark.parametrize(
    "query",
    [
        "",
        "resources=VCPU",
        "resources=VCPU:0",
        "resources=NONSENSE:1",
        "nonsense=1",
        "resources=VCPU:1&required=NONE",
    ],
)
async def test_a_bad_query_is_refused_in_the_form_of_the_original(admin: Person, query: str) -> None:
    reply = await admin.get(f"{BASE}/allocation_candidates?{query}", headers=LATEST)
    assert reply.status == 400
    error = reply.json()["errors"][0]
    assert error["code"] == "placement.query.bad_value"
    assert error["request_id"].startswith("req-")


async def test_members_see_only_the_usage_of_their_project(member: Person, admin: Person) -> None:
    assert (await member.get(f"{BASE}/resource_providers", headers=LATEST)).status == 403
    assert await read(member, f"/usages?project_id={member.project.id.hex}", version("1.9")) == {"usages": {}}
    other = await member.get(f"{BASE}/usages?project_id={admin.project.id.hex}", headers=LATEST)
    assert other.status == 403


async def test_a_version_out_of_range_is_not_acceptable(admin: Person) -> None:
    reply = await admin.get(f"{BASE}/resource_providers", headers=version("1.99"))
    assert reply.status == 406
    assert reply.json()["errors"][0]["max_version"] == "1.39"


def test_the_ledger_and_the_operations_agree() -> None:
    found = ledger.load(Path(__file__).parents[3] / "specs" / "openstack-placement.toml")
    assert ledger.check(found, SERVICE.operations) == []
