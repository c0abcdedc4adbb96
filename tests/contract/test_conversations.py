"""What no test of a service's own asks: the rest of each API, in a cloud where there is one of everything."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
import structlog

from pileus.core.caller import system
from pileus.core.compute.lifecycle import destroy
from pileus.faces import cloudstack
from pileus.workflows.worker import Worker
from tests import quick
from tests.contract.cloudstack.conftest import stack
from tests.contract.openstack.conftest import Person
from tests.contract.world import TAGGED, World, add, ask, opened, public_key, until

pytestmark = pytest.mark.asyncio(loop_scope="module")
V21, V2, V3 = "/compute/v2.1", "/network/v2.0", "/identity/v3"
LATEST = {"openstack-api-version": "compute latest"}
OLDEST = {"openstack-api-version": "compute 2.1"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world() -> AsyncIterator[World]:
    with structlog.testing.capture_logs(), quick.directory() as place:
        async with opened(place, also=mount) as made:
            worker = Worker(made.site)
            await worker.start()
            try:
                yield made
            finally:
                await worker.stop()


async def mount(world: World) -> None:
    cloudstack.mount(world.kernel)


@pytest.fixture
def member(world: World) -> Person:
    return world.member


@pytest.fixture
def admin(world: World) -> Person:
    return world.admin


@pytest.fixture
def server(world: World) -> str:
    return f"{V21}/servers/{world.own['server']}"


async def status(who: Person, method: str, path: str, **more: Any) -> int:
    return (await who.request(method, path, **more)).status


async def is_in(who: Person, server: str, state: str) -> None:
    await until(who, server, lambda shown: shown["server"]["status"] == state and settled(shown["server"]))


def settled(shown: dict[str, Any]) -> bool:
    return shown["OS-EXT-STS:task_state"] is None


@pytest.mark.parametrize("collection", TAGGED)
async def test_tags_of_everything_in_the_network(world: World, member: Person, collection: str) -> None:
    path = f"{V2}/{collection}/{world.own[TAGGED[collection]]}/tags"
    assert await ask(member, "PUT", path, {"tags": ["b", "a"]}) == {"tags": ["a", "b"]}
    assert await status(member, "PUT", f"{path}/c") == 201
    assert await status(member, "GET", f"{path}/c") == 204
    assert await status(member, "DELETE", f"{path}/b") == 204
    assert await ask(member, "GET", path) == {"tags": ["a", "c"]}
    assert await status(member, "DELETE", path) == 204
    assert await ask(member, "GET", path) == {"tags": []}
    assert await status(member, "GET", f"{path}/c") == 404


async def test_parts_of_the_network_are_shown(world: World, admin: Person, member: Person) -> None:
    own = world.own
    found = await ask(member, "GET", f"{V2}/security-group-rules/{own['security_rule']}")
    assert found["security_group_rule"]["port_range_min"] == 22
    rules = (await ask(member, "GET", f"{V2}/security-group-rules"))["security_group_rules"]
    assert own["security_rule"] in [rule["id"] for rule in rules]
    path = f"{V2}/floatingips/{own['floating_ip']}/port_forwardings/{own['forwarding']}"
    assert (await ask(member, "GET", path))["port_forwarding"]["external_port"] == 2222
    assert (await ask(member, "GET", f"{V2}/routers/{own['router']}"))["router"]["name"] == "r"
    group = f"{V2}/security-groups/{own['security_group']}"
    renamed = await ask(member, "PUT", group, {"security_group": {"description": "open"}})
    assert renamed["security_group"]["description"] == "open"
    availability = (await ask(admin, "GET", f"{V2}/network-ip-availabilities"))["network_ip_availabilities"]
    assert own["network"] in [each["network_id"] for each in availability]


async def test_quotas_of_the_network_and_whose_they_are(admin: Person, member: Person) -> None:
    assert (await ask(member, "GET", f"{V2}/quotas/project"))["project"][
        "project_id"
    ] == member.project.id.hex
    assert (await ask(member, "GET", f"{V2}/quotas/tenant"))["tenant"]["tenant_id"] == member.project.id.hex
    assert "quotas" in await ask(admin, "GET", f"{V2}/quotas")


async def test_interfaces_and_security_groups_of_a_server(world: World, member: Person, server: str) -> None:
    own = world.own
    shown = await ask(member, "GET", f"{server}/os-interface/{own['interface']}")
    assert shown["interfaceAttachment"]["net_id"] == own["network"]
    for action, present in (("addSecurityGroup", True), ("removeSecurityGroup", False)):
        reply = await member.post(f"{server}/action", json={action: {"name": "web"}})
        assert reply.status == 202, reply.text
        groups = (await ask(member, "GET", f"{server}/os-security-groups"))["security_groups"]
        assert ("web" in [group["name"] for group in groups]) is present
    addresses = (await ask(member, "GET", f"{server}/ips"))["addresses"]
    assert (await ask(member, "GET", f"{server}/ips/net")) == {"net": addresses["net"]}


async def test_floating_addresses_by_the_old_actions(world: World, member: Person, server: str) -> None:
    path = f"{V2}/floatingips"
    floating = await add(member, path, "floatingip", floating_network_id=world.shared["external"])
    address = (await ask(member, "GET", f"{path}/{floating}"))["floatingip"]["floating_ip_address"]
    for action, given in (("addFloatingIp", world.own["interface"]), ("removeFloatingIp", None)):
        content = {action: {"address": address}}
        reply = await member.post(f"{server}/action", json=content, headers=OLDEST)
        assert reply.status == 202, reply.text
        assert (await ask(member, "GET", f"{path}/{floating}"))["floatingip"]["port_id"] == given


async def test_metadata_tags_and_names_of_a_server(member: Person, server: str) -> None:
    assert await ask(member, "GET", f"{server}/metadata/item") == {"meta": {"item": "value"}}
    assert await ask(member, "GET", f"{server}/tags", headers=LATEST) == {"tags": ["tag"]}
    assert await status(member, "DELETE", f"{server}/tags/tag", headers=LATEST) == 204
    assert await ask(member, "GET", f"{server}/tags", headers=LATEST) == {"tags": []}
    renamed = await ask(member, "PUT", server, {"server": {"name": "renamed"}})
    assert renamed["server"]["name"] == "renamed"


async def test_a_tag_that_is_no_word_has_an_address_all_the_same(member: Person, server: str) -> None:
    reply = await member.put(f"{server}/tags/a%0d%0aX:%20y", headers=LATEST)
    assert reply.status == 201
    assert reply.headers["location"].endswith("/tags/a%0D%0AX%3A%20y")


async def test_volumes_of_a_server(world: World, member: Person, server: str) -> None:
    own, path = world.own, f"{server}/os-volume_attachments"
    volume = f"/volume/v3/{own['project']}/volumes/{own['volume']}"
    made = await ask(member, "POST", path, {"volumeAttachment": {"volumeId": own["volume"]}})
    assert made["volumeAttachment"]["volumeId"] == own["volume"]
    await until(member, volume, lambda shown: shown["volume"]["status"] == "in-use")
    shown = await ask(member, "GET", f"{path}/{own['volume']}")
    assert shown["volumeAttachment"]["serverId"] == own["server"]
    change = {"volumeAttachment": {"volumeId": own["volume"], "delete_on_termination": True}}
    assert await status(member, "PUT", f"{path}/{own['volume']}", json=change, headers=LATEST) == 202
    shown = await ask(member, "GET", f"{path}/{own['volume']}", headers=LATEST)
    assert shown["volumeAttachment"]["delete_on_termination"] is True
    assert await status(member, "DELETE", f"{path}/{own['volume']}") == 202
    await until(member, volume, lambda shown: shown["volume"]["status"] == "available")


async def test_an_administrator_resets_a_state(admin: Person, member: Person, server: str) -> None:
    for state in ("error", "active"):
        reply = await admin.post(f"{server}/action", json={"os-resetState": {"state": state}})
        assert reply.status == 202, reply.text
        await is_in(member, server, state.upper())


async def test_a_server_is_deleted_at_once(world: World, member: Person) -> None:
    body = {"name": "s", "flavorRef": "1", "imageRef": world.own["image"], "networks": "none"}
    made = await ask(member, "POST", f"{V21}/servers", {"server": body}, headers=LATEST)
    path = f"{V21}/servers/{made['server']['id']}"
    await is_in(member, path, "ACTIVE")
    reply = await member.post(f"{path}/action", json={"forceDelete": None})
    assert reply.status in (202, 204), reply.text
    end = time.monotonic() + 20
    while await status(member, "GET", path) != 404:
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


async def test_a_server_that_another_api_destroyed_is_restored(
    world: World, admin: Person, server: str
) -> None:
    await destroy(world.cloud, system(), UUID(world.own["server"]))
    await is_in(admin, server, "SOFT_DELETED")
    reply = await admin.post(f"{server}/action", json={"restore": None})
    assert reply.status == 202, reply.text
    await is_in(admin, server, "SHUTOFF")


async def test_flavors_and_who_may_use_them(admin: Person, member: Person) -> None:
    assert "1" in [each["id"] for each in (await ask(member, "GET", f"{V21}/flavors"))["flavors"]]
    body = {"name": "private", "ram": 64, "vcpus": 1, "disk": 1, "os-flavor-access:is_public": False}
    path = f"{V21}/flavors/{await add(admin, f'{V21}/flavors', 'flavor', **body)}"
    specs = f"{path}/os-extra_specs"
    await ask(admin, "POST", specs, {"extra_specs": {"hw:a": "1"}})
    assert await ask(admin, "PUT", f"{specs}/hw:a", {"hw:a": "2"}) == {"hw:a": "2"}
    assert await ask(admin, "GET", specs) == {"extra_specs": {"hw:a": "2"}}
    tenant = {"tenant": member.project.id.hex}
    for action, holders in (("addTenantAccess", [member.project.id.hex]), ("removeTenantAccess", [])):
        await ask(admin, "POST", f"{path}/action", {action: tenant})
        access = (await ask(admin, "GET", f"{path}/os-flavor-access"))["flavor_access"]
        assert [each["tenant_id"] for each in access] == holders


async def test_what_compute_says_of_itself(world: World, admin: Person, member: Person) -> None:
    pair = await ask(member, "GET", f"{V21}/os-keypairs/{world.own['key_pair']}")
    assert pair["keypair"]["name"] == world.own["key_pair"]
    assert (await ask(member, "GET", f"{V21}/os-quota-sets/{world.own['project']}/defaults"))["quota_set"]
    extensions = (await ask(member, "GET", f"{V21}/extensions"))["extensions"]
    alias = extensions[0]["alias"]
    shown = await ask(member, "GET", f"{V21}/extensions/{alias}")
    assert shown["extension"]["alias"] == alias
    zones = (await ask(admin, "GET", f"{V21}/os-availability-zone/detail"))["availabilityZoneInfo"]
    assert "host-1" in {host for zone in zones for host in zone["hosts"] or {}}


async def test_hypervisors_as_old_clients_ask_for_them(world: World, admin: Person) -> None:
    path = f"{V21}/os-hypervisors"
    (host,) = (await ask(admin, "GET", path, headers=OLDEST))["hypervisors"]
    assert host["hypervisor_hostname"] == "host-1"
    for name in ("search", "servers"):
        (found,) = (await ask(admin, "GET", f"{path}/host/{name}", headers=OLDEST))["hypervisors"]
        assert found["id"] == host["id"]
    assert await status(admin, "GET", f"{path}/{host['id']}/uptime", headers=OLDEST) == 400
    change = {"host": "host-1", "binary": "nova-compute"}
    for action, word in (("disable", "disabled"), ("enable", "enabled")):
        done = await ask(admin, "PUT", f"{V21}/os-services/{action}", change, headers=OLDEST)
        assert done["service"]["status"] == word


async def test_roles_by_id(world: World, admin: Person) -> None:
    shown = await ask(admin, "GET", f"{V3}/roles/{world.shared['role']}")
    assert shown["role"]["name"] == "reader"


async def test_what_placement_keeps_of_hosts_and_servers(world: World, admin: Person) -> None:
    newest = {"openstack-api-version": "placement latest"}

    async def get(path: str) -> dict[str, Any]:
        return await ask(admin, "GET", f"/placement{path}", headers=newest)

    (provider,) = (await get("/resource_providers"))["resource_providers"]
    inventory = await get(f"/resource_providers/{provider['uuid']}/inventories/VCPU")
    assert inventory["total"] == 64
    held = (await get(f"/allocations/{world.own['server']}"))["allocations"]
    assert held[provider["uuid"]]["resources"]["VCPU"] == 1
    assert "VCPU" in [each["name"] for each in (await get("/resource_classes"))["resource_classes"]]
    assert (await get("/resource_classes/VCPU"))["name"] == "VCPU"
    assert "COMPUTE_NODE" in (await get("/traits"))["traits"]
    assert await status(admin, "GET", "/placement/traits/COMPUTE_NODE", headers=newest) == 204


async def test_a_public_key_is_registered(world: World) -> None:
    who = await stack(world.kernel, world.cloud, "demo")
    made = await who.call("registerSSHKeyPair", name="mine", publickey=public_key())
    assert made["keypair"]["name"] == "mine"
    pairs = (await who.call("listSSHKeyPairs", name="mine"))["sshkeypair"]
    assert [pair["fingerprint"] for pair in pairs] == [made["keypair"]["fingerprint"]]
