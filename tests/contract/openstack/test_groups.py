"""Host aggregates, server groups, scheduler hints, traits, and hosts that take nothing new."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from pileus.app.bootstrap import join_host
from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.core.compute import hosts as core
from pileus.core.compute import places
from pileus.core.compute.records import Host, ServerGroupMember
from pileus.core.image.records import Image
from pileus.drivers.hypervisor.simulator import SimulatedHypervisor
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests.contract.openstack.conftest import FACTS, POOL_FACTS, Person
from tests.contract.openstack.test_compute import BASE, LATEST, boot, image, version

__all__ = ["image"]

PLACEMENT = {"openstack-api-version": "placement 1.39"}


@pytest.fixture
async def hosts(site: Site, cloud: Cloud) -> list[Host]:
    """The first one and two more."""
    async with cloud.view() as look:
        found = await look.list(Host)
    for number in (2, 3):
        facts = msgspec.structs.replace(FACTS, hostname=f"host-{number}")
        made = await join_host(cloud, "simulator", facts, POOL_FACTS)
        site.hypervisors[made.id] = SimulatedHypervisor(made.id, facts)
        found.append(made)
    return found


async def ask(
    who: Person, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None
) -> Any:
    """A request that must go well."""
    sent = {} if body is None else {"json": body}
    reply = await who.request(method, path, headers=headers or LATEST, **sent)
    assert 200 <= reply.status < 300, f"{method} {path}: {reply.status} {reply.text}"
    return reply.json() if reply.body else None


async def refused(
    who: Person, status: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> str:
    sent = {} if body is None else {"json": body}
    reply = await who.request(method, path, headers=headers or LATEST, **sent)
    assert reply.status == status, f"{method} {path}: {reply.status} {reply.text}"
    return reply.text


async def aggregate(admin: Person, name: str, zone: str | None = None, *members: str) -> int:
    made = await ask(
        admin, "POST", f"{BASE}/os-aggregates", {"aggregate": {"name": name, "availability_zone": zone}}
    )
    for member in members:
        await act(admin, made["aggregate"]["id"], "add_host", host=member)
    return int(made["aggregate"]["id"])


async def act(admin: Person, key: int, action: str, **fields: Any) -> Any:
    return (await ask(admin, "POST", f"{BASE}/os-aggregates/{key}/action", {action: fields}))["aggregate"]


async def group(who: Person, policy: str, **rules: int) -> str:
    body = {"name": policy, "policy": policy, **({"rules": rules} if rules else {})}
    made = await ask(who, "POST", f"{BASE}/os-server-groups", {"server_group": body})
    return str(made["server_group"]["id"])


async def settled(who: Person, worker: Worker, key: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        await worker.idle()
    shown: dict[str, Any] = (await ask(who, "GET", f"{BASE}/servers/{key}"))["server"]
    return shown


async def hinted(who: Person, image: Image, **hints: Any) -> str:
    body = {
        "server": {"name": "web", "flavorRef": "1", "imageRef": str(image.id), "networks": "none"},
        "os:scheduler_hints": hints,
    }
    return str((await ask(who, "POST", f"{BASE}/servers", body))["server"]["id"])


async def test_an_aggregate_is_made_changed_and_removed(admin: Person, hosts: list[Host]) -> None:
    key = await aggregate(admin, "ssd")
    path = f"{BASE}/os-aggregates/{key}"
    assert "already exists" in await refused(admin, 409, "POST", f"{BASE}/os-aggregates", named("ssd"))
    shown = await act(admin, key, "add_host", host="host-1")
    assert (shown["hosts"], shown["metadata"], shown["availability_zone"]) == (["host-1"], {}, None)
    body = {"add_host": {"host": "host-1"}}
    assert f"Aggregate {key} already has host host-1." in await refused(
        admin, 409, "POST", f"{path}/action", body
    )
    await refused(admin, 404, "POST", f"{path}/action", {"add_host": {"host": "nowhere"}})
    shown = await act(admin, key, "set_metadata", metadata={"ssd": "true", "rack": "7"})
    shown = await act(admin, key, "set_metadata", metadata={"rack": None})
    assert shown["metadata"] == {"ssd": "true"}
    changed = await ask(admin, "PUT", path, named("fast"))
    assert changed["aggregate"]["name"] == "fast"
    assert "not empty" in await refused(admin, 400, "DELETE", path)
    assert (await act(admin, key, "remove_host", host="host-1"))["hosts"] == []
    await refused(admin, 404, "POST", f"{path}/action", {"remove_host": {"host": "host-1"}})
    (listed,) = (await ask(admin, "GET", f"{BASE}/os-aggregates"))["aggregates"]
    assert listed["id"] == key
    await ask(admin, "DELETE", path)
    await refused(admin, 404, "GET", path)
    await refused(admin, 400, "GET", f"{BASE}/os-aggregates/x")
    await refused(admin, 404, "GET", f"{BASE}/os-aggregates/-1")


def named(name: str) -> dict[str, Any]:
    return {"aggregate": {"name": name}}


async def test_the_id_of_an_aggregate_is_shown_from_2_41_on(admin: Person) -> None:
    key = await aggregate(admin, "a")
    for number, has in (("2.40", False), ("2.41", True)):
        shown = await ask(admin, "GET", f"{BASE}/os-aggregates/{key}", headers=version(number))
        assert ("uuid" in shown["aggregate"]) is has


async def test_only_administrators_see_aggregates(member: Person) -> None:
    await refused(member, 403, "GET", f"{BASE}/os-aggregates")
    await refused(member, 403, "POST", f"{BASE}/os-aggregates", named("mine"))


async def zones(who: Person) -> dict[str, list[str]]:
    listed = (await ask(who, "GET", f"{BASE}/os-availability-zone/detail"))["availabilityZoneInfo"]
    return {zone["zoneName"]: sorted(zone["hosts"]) for zone in listed}


async def test_an_aggregate_with_a_zone_makes_a_part_of_a_zone(
    admin: Person, member: Person, hosts: list[Host], image: Image, worker: Worker
) -> None:
    (first,) = await zones(admin)
    key = await aggregate(admin, "racks", "az1", "host-2")
    assert await zones(admin) == {first: ["host-1", "host-3"], "az1": ["host-2"]}
    plain = (await ask(member, "GET", f"{BASE}/os-availability-zone"))["availabilityZoneInfo"]
    assert {zone["zoneName"] for zone in plain} == {first, "az1"}
    services = (await ask(admin, "GET", f"{BASE}/os-services?host=host-2"))["services"]
    assert [service["zone"] for service in services] == ["az1"]

    made = await boot(member, image, LATEST, networks="none", availability_zone="az1")
    shown = await settled(member, worker, made["id"])
    assert (shown["status"], shown["OS-EXT-AZ:availability_zone"]) == ("ACTIVE", "az1")
    assert shown["pinned_availability_zone"] == "az1"
    seen = await ask(admin, "GET", f"{BASE}/servers/{made['id']}")
    assert seen["server"]["OS-EXT-SRV-ATTR:host"] == "host-2"
    for zone, count in (("az1", 1), (first, 0)):
        found = await ask(admin, "GET", f"{BASE}/servers/detail?all_tenants=1&availability_zone={zone}")
        assert len(found["servers"]) == count

    text = await refused(
        admin, 400, "PUT", f"{BASE}/os-aggregates/{key}", {"aggregate": {"availability_zone": "az2"}}
    )
    assert "has servers in zone az1" in text
    body = {"server": {"name": "w", "flavorRef": "1", "imageRef": str(image.id), "networks": "none"}}
    body["server"]["availability_zone"] = "nowhere"
    assert "not available" in await refused(member, 400, "POST", f"{BASE}/servers", body)


async def test_a_host_is_in_one_zone_and_one_part_of_it(
    admin: Person, cloud: Cloud, hosts: list[Host]
) -> None:
    await aggregate(admin, "one", "az1", "host-1")
    two = await aggregate(admin, "two", "az2")
    plain = await aggregate(admin, "plain", None, "host-1")
    body = {"add_host": {"host": "host-1"}}
    text = await refused(admin, 409, "POST", f"{BASE}/os-aggregates/{two}/action", body)
    assert f"Cannot add host to aggregate {two}. Reason: Host host-1 is already in zone az1" in text
    for method, path, wish in (
        ("PUT", f"{BASE}/os-aggregates/{plain}", {"aggregate": {"availability_zone": "az2"}}),
        (
            "POST",
            f"{BASE}/os-aggregates/{plain}/action",
            {"set_metadata": {"metadata": {"availability_zone": "az2"}}},
        ),
    ):
        assert "is already in zone az1" in await refused(admin, 400, method, path, wish)
    await act(admin, plain, "set_metadata", metadata={"availability_zone": "az1"})

    far = await places.create_zone(cloud, system(), "far")
    other = await aggregate(admin, "other", far.name)
    body = {"add_host": {"host": "host-2"}}
    text = await refused(admin, 409, "POST", f"{BASE}/os-aggregates/{other}/action", body)
    assert "Host host-2 is of another zone than far" in text


POLICIES = [("2.1", "affinity"), ("2.14", "anti-affinity"), ("2.15", "soft-affinity"), ("2.63", "affinity")]


@pytest.mark.parametrize(("number", "policy"), POLICIES)
async def test_a_server_group_before_2_64(member: Person, number: str, policy: str) -> None:
    headers = version(number)
    body = {"server_group": {"name": "g", "policies": [policy]}}
    made = (await ask(member, "POST", f"{BASE}/os-server-groups", body, headers=headers))["server_group"]
    assert (made["policies"], made["members"], made["metadata"]) == ([policy], [], {})
    assert ("project_id" in made) is (number != "2.1")
    modern = (await ask(member, "GET", f"{BASE}/os-server-groups/{made['id']}"))["server_group"]
    assert (modern["policy"], modern["rules"]) == (policy, {})


async def test_what_a_server_group_cannot_be(member: Person) -> None:
    path = f"{BASE}/os-server-groups"
    old = {"server_group": {"name": "g", "policies": ["soft-affinity"]}}
    await refused(member, 400, "POST", path, old, version("2.14"))
    for body in (
        {"name": "g", "policies": ["affinity"]},
        {"name": "g", "policy": "x"},
        {"name": "g", "policy": "affinity", "rules": {"max_server_per_host": 2}},
        {"name": "g", "policy": "anti-affinity", "rules": {"max_server_per_host": 0}},
        {"policy": "affinity"},
    ):
        await refused(member, 400, "POST", path, {"server_group": body})
    for _ in range(10):
        await group(member, "affinity")
    text = await refused(member, 403, "POST", path, {"server_group": {"name": "g", "policy": "affinity"}})
    assert "Quota exceeded, too many server groups." in text


async def test_server_groups_are_listed_shown_and_removed(
    member: Person, other: Person, admin: Person
) -> None:
    mine, theirs = await group(member, "affinity"), await group(other, "anti-affinity", max_server_per_host=3)
    path = f"{BASE}/os-server-groups"

    async def listed(who: Person, query: str = "") -> list[str]:
        return [each["id"] for each in (await ask(who, "GET", path + query))["server_groups"]]

    assert await listed(member) == await listed(member, "?all_projects=true") == [mine]
    assert set(await listed(admin, "?all_projects=true")) == {mine, theirs}
    assert await listed(admin, "?all_projects=true&limit=1&offset=1") == [theirs]
    assert await listed(admin) == []
    await refused(member, 404, "GET", f"{path}/{theirs}")
    await refused(member, 404, "DELETE", f"{path}/{theirs}")
    assert (await ask(other, "GET", f"{path}/{theirs}"))["server_group"]["rules"] == {
        "max_server_per_host": 3
    }
    await ask(member, "DELETE", f"{path}/{mine}")
    await refused(member, 404, "DELETE", f"{path}/{mine}")
    used = (await ask(member, "GET", f"{BASE}/limits"))["limits"]["absolute"]
    assert (used["totalServerGroupsUsed"], used["maxServerGroups"]) == (0, 10)


async def test_servers_join_a_group_and_leave_it_when_they_are_deleted(
    member: Person, hosts: list[Host], image: Image, worker: Worker, cloud: Cloud
) -> None:
    key = await group(member, "anti-affinity")
    made = [await hinted(member, image, group=key) for _ in range(2)]
    shown = [await settled(member, worker, each) for each in made]
    assert [each["server_groups"] for each in shown] == [[key], [key]]
    assert len({each["hostId"] for each in shown}) == 2
    assert (await ask(member, "GET", f"{BASE}/os-server-groups/{key}"))["server_group"]["members"] == made
    await ask(member, "DELETE", f"{BASE}/servers/{made[0]}")
    async with asyncio.timeout(20):
        await worker.idle()
    assert (await ask(member, "GET", f"{BASE}/os-server-groups/{key}"))["server_group"]["members"] == made[1:]
    await ask(member, "DELETE", f"{BASE}/os-server-groups/{key}")
    assert (await ask(member, "GET", f"{BASE}/servers/{made[1]}"))["server"]["server_groups"] == []
    async with cloud.view() as look:
        assert await look.count(ServerGroupMember) == 0


async def test_hints_put_servers_together_and_apart(
    member: Person, hosts: list[Host], image: Image, worker: Worker
) -> None:
    first = await hinted(member, image)
    home = (await settled(member, worker, first))["hostId"]
    near = await hinted(member, image, same_host=first)
    far = await hinted(member, image, different_host=[first])
    assert (await settled(member, worker, near))["hostId"] == home
    assert (await settled(member, worker, far))["hostId"] != home


HINTS: list[dict[str, Any]] = [
    {"query": '["=", "$free_ram_mb", 1]'},
    {"build_near_host_ip": "192.0.2.1"},
    {"group": str(UUID(int=7))},
    {"group": "x"},
    {"group": [str(UUID(int=7)), str(UUID(int=8))]},
    {"same_host": str(UUID(int=7))},
    {"different_host": ["x"]},
]


@pytest.mark.parametrize("hints", HINTS, ids=str)
async def test_hints_that_cannot_be_obeyed_are_refused(
    member: Person, image: Image, hints: dict[str, Any]
) -> None:
    server = {"name": "w", "flavorRef": "1", "imageRef": str(image.id), "networks": "none"}
    await refused(member, 400, "POST", f"{BASE}/servers", {"server": server, "os:scheduler_hints": hints})


async def test_a_group_of_another_project_is_not_found(member: Person, other: Person, image: Image) -> None:
    theirs = await group(other, "affinity")
    server = {"name": "w", "flavorRef": "1", "imageRef": str(image.id), "networks": "none"}
    body = {"server": server, "os:scheduler_hints": {"group": theirs}}
    assert f"Instance group {theirs} could not be found." in await refused(
        member, 400, "POST", f"{BASE}/servers", body
    )


async def test_a_group_has_so_many_members_and_no_more(member: Person, admin: Person, image: Image) -> None:
    limits = {"quota_set": {"server_group_members": 1}}
    path = f"{BASE}/os-quota-sets/{member.project.id.hex}"
    assert (await ask(admin, "PUT", path, limits))["quota_set"]["server_group_members"] == 1
    key = await group(member, "soft-anti-affinity")
    await hinted(member, image, group=key)
    server = {"name": "w", "flavorRef": "1", "imageRef": str(image.id), "networks": "none"}
    body = {"server": server, "os:scheduler_hints": {"group": key}}
    text = await refused(member, 403, "POST", f"{BASE}/servers", body)
    assert "Quota exceeded, too many servers in group" in text


async def test_traits_are_made_written_on_hosts_and_required(
    admin: Person, member: Person, hosts: list[Host], image: Image, worker: Worker
) -> None:
    async def placement(method: str, path: str, body: Any = None) -> Any:
        return await ask(admin, method, f"/placement{path}", body, headers=PLACEMENT)

    await placement("PUT", "/traits/CUSTOM_GPU")
    await placement("PUT", "/traits/CUSTOM_GPU")
    await placement("GET", "/traits/CUSTOM_GPU")
    await refused(admin, 400, "PUT", "/placement/traits/GPU", headers=PLACEMENT)
    path = f"/resource_providers/{hosts[1].id}/traits"
    before = await placement("GET", path)
    body = {"traits": [*before["traits"], "CUSTOM_GPU", "HW_CPU_X86_AVX2"]}
    body["resource_provider_generation"] = before["resource_provider_generation"]
    written = await placement("PUT", path, body)
    assert {"CUSTOM_GPU", "HW_CPU_X86_AVX2", "COMPUTE_NODE"} <= set(written["traits"])
    text = await refused(admin, 409, "PUT", f"/placement{path}", body, PLACEMENT)
    assert "generation already changed" in text
    unknown = {**written, "traits": ["CUSTOM_NOBODY"]}
    await refused(admin, 400, "PUT", f"/placement{path}", unknown, PLACEMENT)
    associated = await placement("GET", "/traits?associated=true&name=startswith:CUSTOM_")
    assert associated["traits"] == ["CUSTOM_GPU"]
    await refused(admin, 409, "DELETE", "/placement/traits/CUSTOM_GPU", headers=PLACEMENT)

    found = await placement("GET", "/allocation_candidates?resources=VCPU:1&required=CUSTOM_GPU")
    assert list(found["provider_summaries"]) == [str(hosts[1].id)]
    found = await placement("GET", "/allocation_candidates?resources=VCPU:1&required=!CUSTOM_GPU")
    assert str(hosts[1].id) not in found["provider_summaries"]

    flavor = {"flavor": {"name": "gpu", "ram": 64, "vcpus": 1, "disk": 1}}
    made = (await ask(admin, "POST", f"{BASE}/flavors", flavor))["flavor"]["id"]
    specs = {"trait:CUSTOM_GPU": "required", "trait:HW_CPU_X86_SGX": "forbidden", "mine": "x"}
    await ask(admin, "POST", f"{BASE}/flavors/{made}/os-extra_specs", {"extra_specs": specs})
    assert (await ask(admin, "GET", f"{BASE}/flavors/{made}/os-extra_specs"))["extra_specs"] == specs
    wrong = {"extra_specs": {"trait:CUSTOM_GPU": "preferred"}}
    await refused(admin, 400, "POST", f"{BASE}/flavors/{made}/os-extra_specs", wrong)
    server = await boot(member, image, LATEST, networks="none", flavorRef=made)
    await settled(member, worker, server["id"])
    shown = await ask(admin, "GET", f"{BASE}/servers/{server['id']}")
    assert shown["server"]["OS-EXT-SRV-ATTR:host"] == "host-2"
    await ask(admin, "DELETE", f"{BASE}/flavors/{made}/os-extra_specs/trait:CUSTOM_GPU")

    await placement("DELETE", path)
    assert "CUSTOM_GPU" not in (await placement("GET", path))["traits"]
    await placement("DELETE", "/traits/CUSTOM_GPU")
    await refused(admin, 404, "GET", "/placement/traits/CUSTOM_GPU", headers=PLACEMENT)
    await refused(admin, 400, "DELETE", "/placement/traits/HW_CPU_X86_AVX2", headers=PLACEMENT)


async def test_aggregates_are_placements_aggregates_too(admin: Person, hosts: list[Host]) -> None:
    key = await aggregate(admin, "fast", None, "host-3")
    inside = (await ask(admin, "GET", f"{BASE}/os-aggregates/{key}"))["aggregate"]["uuid"]

    async def found(query: str) -> set[str]:
        reply = await ask(admin, "GET", f"/placement/resource_providers?{query}", headers=PLACEMENT)
        return {each["name"] for each in reply["resource_providers"]}

    path = f"/placement/resource_providers/{hosts[2].id}/aggregates"
    assert (await ask(admin, "GET", path, headers=PLACEMENT))["aggregates"] == [inside]
    assert await found(f"member_of={inside}") == {"host-3"}
    assert await found(f"member_of=in:{inside},{uuid4()}") == {"host-3"}
    assert await found(f"member_of=!{inside}") == {"host-1", "host-2"}
    assert await found(f"member_of={inside}&member_of={uuid4()}") == set()
    candidates = f"/placement/allocation_candidates?resources=VCPU:1&member_of={inside}"
    listed = await ask(admin, "GET", candidates, headers=PLACEMENT)
    assert list(listed["provider_summaries"]) == [str(hosts[2].id)]


async def test_a_flavor_asks_for_the_metadata_of_aggregates(
    admin: Person, member: Person, hosts: list[Host], image: Image, worker: Worker
) -> None:
    key = await aggregate(admin, "fast", None, "host-3")
    await act(admin, key, "set_metadata", metadata={"ssd": "true"})
    flavor = {"flavor": {"name": "fast", "ram": 64, "vcpus": 1, "disk": 1}}
    made = (await ask(admin, "POST", f"{BASE}/flavors", flavor))["flavor"]["id"]
    specs = {"aggregate_instance_extra_specs:ssd": "true"}
    await ask(admin, "POST", f"{BASE}/flavors/{made}/os-extra_specs", {"extra_specs": specs})
    for _ in range(2):
        server = await boot(member, image, LATEST, networks="none", flavorRef=made)
        await settled(member, worker, server["id"])
        shown = await ask(admin, "GET", f"{BASE}/servers/{server['id']}")
        assert shown["server"]["OS-EXT-SRV-ATTR:host"] == "host-3"


async def service_of(admin: Person, host: str) -> dict[str, Any]:
    (found,) = (await ask(admin, "GET", f"{BASE}/os-services?host={host}"))["services"]
    shown: dict[str, Any] = found
    return shown


async def test_a_service_is_disabled_and_forced_down(admin: Person, cloud: Cloud, hosts: list[Host]) -> None:
    path = f"{BASE}/os-services/{hosts[0].id}"
    await ask(admin, "PUT", path, {"status": "disabled", "disabled_reason": "disk"})
    shown = await service_of(admin, "host-1")
    assert (shown["status"], shown["disabled_reason"]) == ("disabled", "disk")
    down = (await ask(admin, "PUT", path, {"forced_down": True}))["service"]
    assert (down["forced_down"], down["state"]) == (True, "down")
    await core.seen(cloud, hosts[0].id, {})
    assert (await service_of(admin, "host-1"))["state"] == "down"
    body = {"host": "host-1", "binary": "nova-compute", "forced_down": False}
    up = await ask(admin, "PUT", f"{BASE}/os-services/force-down", body, headers=version("2.11"))
    assert up["service"]["forced_down"] is False
    await ask(admin, "PUT", path, {"status": "enabled"})
    shown = await service_of(admin, "host-1")
    assert (shown["status"], shown["state"], shown["forced_down"]) == ("enabled", "up", False)
    await refused(admin, 400, "PUT", path, {})
    await refused(admin, 400, "PUT", path, {"disabled_reason": "why"})
