"""Limits through CloudStack's commands, Keystone's unified limits and the quotas of Nova, Cinder, Neutron and Glance: one
number each, whoever sets it."""

from typing import Any
from uuid import UUID

import pytest

from pileus.core.caller import MANAGER, system
from pileus.core.cloud import Cloud
from pileus.core.identity import domains
from pileus.core.identity.authorization.assignments import Place
from pileus.core.identity.records import Scope
from pileus.core.identity.services.catalogue import service_key
from pileus.core.identity.unified_limits import CHARGED
from pileus.core.quota import DEFAULTS, Usage
from pileus.faces.cloudstack.limits import LIMITS, kinds
from pileus.faces.wire import Kernel
from tests.contract.cloudstack.both import *  # noqa: F403 (its fixtures)
from tests.contract.cloudstack.conftest import Stack, account, give, stack
from tests.contract.openstack.conftest import Person, person

V3 = "/identity/v3"
CONSOLE = "/console/quota/verify"


@pytest.fixture
async def operator(kernel: Kernel, cloud: Cloud) -> Person:
    return await person(kernel, cloud, "admin")


@pytest.fixture
async def lab(cloud: Cloud) -> UUID:
    want = domains.CreateDomain(name="lab")
    return (await domains.create(cloud, system(), want)).id


@pytest.fixture
async def boss(kernel: Kernel, cloud: Cloud, lab: UUID) -> Stack:
    """The administrator of the domain."""
    user, _ = await account(cloud, "boss", lab)
    await give(cloud, system(), user.id, MANAGER, Place(Scope.DOMAIN, lab))
    return await stack(kernel, cloud, "boss")


@pytest.fixture
async def worker_bee(kernel: Kernel, cloud: Cloud, lab: UUID) -> Stack:
    await account(cloud, "bee", lab)
    return await stack(kernel, cloud, "bee")


def of(held: Stack) -> dict[str, str]:
    return {"account": held.account.name, "domainid": str(held.account.domain)}


async def listed(who: Stack, **params: Any) -> dict[str, int]:
    found = (await who.call("listResourceLimits", **params))["resourcelimit"]
    return {each["resourcetypename"]: each["max"] for each in found}


async def ask(who: Person, method: str, path: str, status: int = 200, **body: Any) -> Any:
    reply = await who.request(method, path, **({"json": body} if body else {}))
    assert reply.status == status, f"{method} {path}: {reply.status} {reply.text}"
    return reply.json() if reply.body else {}


NOVA, CINDER, NEUTRON = "/compute/v2.1/os-quota-sets", "/volume/v3/os-quota-sets", "/network/v2.0/quotas"
SEEN: dict[str, tuple[str, str, str]] = {
    "servers": (NOVA, "quota_set", "instances"),
    "vcpus": (NOVA, "quota_set", "cores"),
    "memory_mib": (NOVA, "quota_set", "ram"),
    "key_pairs": (NOVA, "quota_set", "key_pairs"),
    "server_groups": (NOVA, "quota_set", "server_groups"),
    "server_group_members": (NOVA, "quota_set", "server_group_members"),
    "volumes": (CINDER, "quota_set", "volumes"),
    "volume_gib": (CINDER, "quota_set", "gigabytes"),
    "snapshots": (CINDER, "quota_set", "snapshots"),
    "networks": (NEUTRON, "quota", "network"),
    "subnets": (NEUTRON, "quota", "subnet"),
    "ports": (NEUTRON, "quota", "port"),
    "routers": (NEUTRON, "quota", "router"),
    "addresses": (NEUTRON, "quota", "floatingip"),
    "security_groups": (NEUTRON, "quota", "security_group"),
    "security_rules": (NEUTRON, "quota", "security_group_rule"),
}
"""Where each of the core's limits is set and shown by its service. Of images only the usage is."""
REGISTERED = {
    resource: (service_key(kind), name) for kind, names in CHARGED.items() for name, resource in names.items()
}


def test_every_limit_of_the_core_is_registered_and_has_a_service_that_shows_it() -> None:
    assert REGISTERED.keys() == DEFAULTS.keys()
    assert SEEN.keys() | {"images"} == DEFAULTS.keys()


@pytest.mark.parametrize("resource", sorted(SEEN))
async def test_a_limit_is_one_number_for_its_service_keystone_and_cloudstack(
    operator: Person, admin: Stack, member: Stack, resource: str
) -> None:
    path, envelope, name = SEEN[resource]
    project = member.account.id.hex
    service, registered = REGISTERED[resource]

    async def seen() -> set[int]:
        shown = await ask(operator, "GET", f"{path}/{project}")
        query = f"project_id={project}&service_id={service.hex}&resource_name={registered}"
        (limit,) = (await ask(operator, "GET", f"{V3}/limits?{query}"))["limits"]
        own = [kind for kind, mine in LIMITS.items() if mine == resource]
        cloudstack = {(await listed(admin, **of(member)))[kind] for kind in own}
        return {shown[envelope][name], limit["resource_limit"], *cloudstack}

    await ask(operator, "PUT", f"{path}/{project}", **{envelope: {name: 77}})
    assert await seen() == {77}
    query = f"project_id={project}&resource_name={registered}"
    (limit,) = (await ask(operator, "GET", f"{V3}/limits?{query}"))["limits"]
    await ask(operator, "PATCH", f"{V3}/limits/{limit['id']}", limit={"resource_limit": 78})
    assert await seen() == {78}
    for kind in (kind for kind, mine in LIMITS.items() if mine == resource):
        await admin.call("updateResourceLimit", **of(member), resourcetype=kinds()[kind], max=79)
        assert await seen() == {79}
    await ask(operator, "DELETE", f"{V3}/limits/{limit['id']}", 204)
    shown = await ask(operator, "GET", f"{path}/{project}")
    assert shown[envelope][name] == DEFAULTS[resource]


async def test_a_default_is_one_number_too(operator: Person, admin: Stack, member: Stack) -> None:
    project = member.account.id.hex

    async def seen() -> set[int]:
        (one,) = (await ask(operator, "GET", f"{V3}/registered_limits?resource_name=servers"))[
            "registered_limits"
        ]
        by_class = await ask(operator, "GET", "/compute/v2.1/os-quota-class-sets/default")
        of_project = await ask(operator, "GET", f"{NOVA}/{project}/defaults")
        return {
            one["default_limit"],
            by_class["quota_class_set"]["instances"],
            of_project["quota_set"]["instances"],
            (await listed(admin, **of(member)))["user_vm"],
        }

    assert await seen() == {100}
    body = {"instances": 5}
    await ask(operator, "PUT", "/compute/v2.1/os-quota-class-sets/default", quota_class_set=body)
    assert await seen() == {5}
    (one,) = (await ask(operator, "GET", f"{V3}/registered_limits?resource_name=servers"))[
        "registered_limits"
    ]
    path = f"{V3}/registered_limits/{one['id']}"
    await ask(operator, "PATCH", path, registered_limit={"default_limit": 6})
    assert await seen() == {6}
    body = {"volumes": 7}
    await ask(operator, "PUT", "/volume/v3/os-quota-class-sets/default", quota_class_set=body)
    shown = await ask(operator, "GET", "/volume/v3/os-quota-class-sets/default")
    assert (shown["quota_class_set"]["volumes"], shown["quota_class_set"]["id"]) == (7, "default")
    assert (await ask(operator, "GET", f"{CINDER}/{project}"))["quota_set"]["volumes"] == 7
    for face in ("/compute/v2.1", "/volume/v3"):
        await ask(operator, "PUT", f"{face}/os-quota-class-sets/gold", 400, quota_class_set={})


async def test_the_image_service_shows_what_is_used(operator: Person, openstack: Person) -> None:
    images = {"image_count_total": {"limit": DEFAULTS["images"], "usage": 0}}
    assert (await ask(openstack, "GET", "/image/v2/info/usage"))["usage"] == images
    service, name = REGISTERED["images"]
    wanted = {"service_id": service.hex, "resource_name": name, "project_id": openstack.project.id.hex}
    await ask(operator, "POST", f"{V3}/limits", 201, limits=[wanted | {"resource_limit": 0}])
    refused = await openstack.post(
        "/image/v2/images", json={"name": "i", "disk_format": "raw", "container_format": "bare"}
    )
    assert refused.status == 413
    assert (await ask(openstack, "GET", "/image/v2/info/usage"))["usage"]["image_count_total"]["limit"] == 0


async def test_a_limit_of_a_domain_is_one_number_and_holds_for_all_in_it(
    operator: Person, admin: Stack, worker_bee: Stack, kernel: Kernel, cloud: Cloud, lab: UUID
) -> None:
    service, name = REGISTERED["images"]
    wanted = {"service_id": service.hex, "resource_name": name, "domain_id": lab.hex, "resource_limit": 3}
    (made,) = (await ask(operator, "POST", f"{V3}/limits", 201, limits=[wanted]))["limits"]
    assert made["domain_id"] == lab.hex
    assert (await listed(admin, domainid=lab))["template"] == 3
    await admin.call("updateResourceLimit", domainid=lab, resourcetype=4, max=1)
    assert (await ask(operator, "GET", f"{V3}/limits/{made['id']}"))["limit"]["resource_limit"] == 1
    bee = await person(kernel, cloud, "bee")
    image = {"name": "i", "disk_format": "raw", "container_format": "bare"}
    assert (await bee.post("/image/v2/images", json=image)).status == 201
    refused = await bee.post("/image/v2/images", json=image)
    assert refused.status == 413
    assert "of domain lab, with all below it, is 1" in refused.text
    (shown,) = (await admin.call("listDomains", id=lab))["domain"]
    assert (shown["templatelimit"], shown["templatetotal"], shown["templateavailable"]) == ("1", 1, "0")
    (shown,) = (await admin.call("listAccounts", id=worker_bee.account.id))["account"]
    assert (shown["templatelimit"], shown["templatetotal"]) == (str(DEFAULTS["images"]), 1)
    assert (shown["gpulimit"], shown["gputotal"]) == ("Unlimited", 0)
    await ask(operator, "DELETE", f"{V3}/limits/{made['id']}", 204)
    assert (await bee.post("/image/v2/images", json=image)).status == 201


async def test_all_kinds_are_listed_by_number_and_by_name(member: Stack, admin: Stack) -> None:
    assert list(await listed(member)) == list(kinds())
    assert await listed(member, resourcetype=0) == {"user_vm": DEFAULTS["servers"]}
    assert await listed(member, resourcetypename="cpu") == {"cpu": DEFAULTS["vcpus"]}
    assert (await listed(member))["secondary_storage"] == -1
    assert "valid resource type" in await member.refused("listResourceLimits", 431, resourcetype=99)
    gpu = of(member) | {"resourcetype": kinds()["gpu"]}
    assert "nothing here" in await admin.refused("updateResourceLimit", 431, **gpu, max=5)
    unlimited = (await admin.call("updateResourceLimit", **gpu))["resourcelimit"]
    assert (unlimited["max"], unlimited["account"]) == (-1, "demo")


async def test_who_may_set_limits(
    admin: Stack, boss: Stack, worker_bee: Stack, member: Stack, lab: UUID
) -> None:
    servers = {"resourcetype": 0, "max": 5}
    await worker_bee.refused("updateResourceLimit", 432, **of(worker_bee), **servers)
    assert (await boss.call("updateResourceLimit", **of(worker_bee), **servers))["resourcelimit"]["max"] == 5
    assert await listed(worker_bee, resourcetype=0) == {"user_vm": 5}
    await boss.refused("updateResourceLimit", 531, **of(boss), **servers)
    await boss.refused("updateResourceLimit", 431, **of(member), **servers)
    await boss.refused("updateResourceLimit", 531, domainid=lab, **servers)
    assert "ROOT domain" in await admin.refused("updateResourceLimit", 531, domainid=domains.ROOT, **servers)
    await admin.call("updateResourceLimit", domainid=lab, resourcetype=0, max=6)
    await boss.refused("updateResourceLimit", 431, **of(worker_bee), resourcetype=0, max=7)
    assert "AccountId or domainId" in await admin.refused("updateResourceLimit", 431, **servers)
    await admin.refused("updateResourceLimit", 431, **of(member), resourcetype=0, max=-2)
    assert (await listed(worker_bee, domainid=lab))["user_vm"] == 5, "users see their own"
    assert (await listed(boss, domainid=lab))["user_vm"] == 6


async def test_counts_are_made_anew(
    admin: Stack, operator: Person, openstack: Person, cloud: Cloud, member: Stack
) -> None:
    wrong = Usage(project=member.account.id, resource="images", used=9)
    async with cloud.transaction() as tx:
        await tx.rows.put(wrong)
    told = await ask(operator, "POST", CONSOLE, verify={})
    assert [one["text"] for one in told["differences"]] == ["images of project demo: 9 recorded, 0 counted"]
    await ask(openstack, "POST", CONSOLE, 403, verify={})
    counted = (await admin.call("updateResourceCount", **of(member), resourcetype=4))["resourcecount"]
    assert [(one["resourcetypename"], one["resourcecount"]) for one in counted] == [("template", 0)]
    assert (await ask(operator, "POST", CONSOLE, verify={}))["differences"] == []
    async with cloud.transaction() as tx:
        await tx.rows.put(wrong)
    counted = (await admin.call("updateResourceCount", domainid=domains.ROOT))["resourcecount"]
    assert {one["resourcetypename"]: one["resourcecount"] for one in counted}["template"] == 0
    assert len(counted) == len(kinds())
    async with cloud.transaction() as tx:
        await tx.rows.put(wrong)
    assert len((await ask(operator, "POST", CONSOLE, verify={"repair": True}))["differences"]) == 1
    assert (await ask(operator, "POST", CONSOLE, verify={}))["differences"] == []


async def test_every_service_says_which_domain_is_full(
    admin: Stack, worker_bee: Stack, kernel: Kernel, cloud: Cloud, lab: UUID
) -> None:
    for name in ("network", "volume", "project"):
        await admin.call("updateResourceLimit", domainid=lab, resourcetype=kinds()[name], max=0)
    bee = await person(kernel, cloud, "bee")
    for path, body in (
        ("/network/v2.0/networks", {"network": {}}),
        ("/volume/v3/volumes", {"volume": {"size": 1}}),
    ):
        refused = await bee.post(path, json=body)
        assert refused.status in (403, 409, 413), refused.text
        assert "of domain lab, with all below it, is 0" in refused.text
    refused = await admin.ask("createProject", name="p", displaytext="p", account="bee", domainid=lab)
    assert refused.status == 535, refused.text
    assert "projects of domain lab" in refused.text
