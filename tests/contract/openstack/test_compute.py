"""Conversations with the compute API, over a real store and worker and a simulated host."""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from pileus.core import invariants
from pileus.core.cloud import Cloud
from pileus.core.compute.records import State
from pileus.core.identity.records import Project
from pileus.core.image.records import Image, ImageState, Visibility
from pileus.core.network.records import Network, Subnet
from pileus.core.operations import Operation, Outcome
from pileus.faces.openstack.compute import SERVICES, words
from pileus.faces.wire import ledger
from pileus.workflows.site import Site
from tests.asgi import Client
from tests.contract.openstack.conftest import Person

BASE = "/compute/v2.1"
DEADLINE = 20.0


@pytest.fixture
async def image(site: Site, cloud: Cloud) -> Image:
    async def content() -> AsyncIterator[bytes]:
        yield b"\0" * 1024

    now, key = cloud.now(), uuid4()
    size, md5, sha = await site.images.write(key, content(), max_bytes=1 << 20)
    async with cloud.transaction() as tx:
        project = await tx.one(Project, name="admin")
        assert project is not None
        await tx.charge(project.id, "images", 1)
        return await tx.add(
            Image(
                id=key,
                project=project.id,
                name="cirros",
                state=ImageState.ACTIVE,
                visibility=Visibility.PUBLIC,
                disk_format="raw",
                container_format="bare",
                size=size,
                virtual_size=size,
                checksum=md5,
                sha512=sha,
                created_at=now,
                updated_at=now,
            )
        )


@pytest.fixture
async def network(cloud: Cloud, member: Person) -> Network:
    return await make_network(cloud, member, "private", "10.9.0.0/24")


async def make_network(cloud: Cloud, member: Person, name: str, cidr: str) -> Network:
    now = cloud.now()
    async with cloud.transaction() as tx:
        network = await tx.add(
            Network(id=uuid4(), project=member.project.id, name=name, created_at=now, updated_at=now)
        )
        prefix = cidr.rsplit(".", 1)[0]
        await tx.add(
            Subnet(
                id=uuid4(),
                network=network.id,
                project=member.project.id,
                cidr=cidr,
                gateway=f"{prefix}.1",
                pools=((f"{prefix}.2", f"{prefix}.254"),),
                created_at=now,
                updated_at=now,
            )
        )
        for what in ("networks", "subnets"):
            await tx.charge(member.project.id, what, 1)
        await tx.start("network.sync", subject=network)
        return network


def version(number: str) -> dict[str, str]:
    return {"openstack-api-version": f"compute {number}"}


LATEST = version("2.96")


async def boot(
    who: Person, image: Image, headers: dict[str, str] | None = None, **more: Any
) -> dict[str, Any]:
    body = {"name": "web", "flavorRef": "1", "imageRef": str(image.id), **more}
    reply = await who.post(f"{BASE}/servers", json={"server": body}, headers=headers)
    assert reply.status == 202, reply.text
    made: dict[str, Any] = reply.json()["server"]
    return made


async def show(who: Person, key: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    reply = await who.get(f"{BASE}/servers/{key}", headers=headers)
    assert reply.status == 200, reply.text
    shown: dict[str, Any] = reply.json()["server"]
    return shown


async def until(who: Person, key: str, status: str) -> dict[str, Any]:
    end = time.monotonic() + DEADLINE
    while True:
        shown = await show(who, key)
        if shown["status"] == status and shown["OS-EXT-STS:task_state"] is None:
            return shown
        assert time.monotonic() < end, f"{shown['status']} {shown.get('fault')}, not {status}"
        await asyncio.sleep(0.02)


async def gone(who: Person, key: str) -> None:
    end = time.monotonic() + DEADLINE
    while (await who.get(f"{BASE}/servers/{key}")).status != 404:
        assert time.monotonic() < end, await show(who, key)
        await asyncio.sleep(0.02)


async def act(who: Person, key: str, action: str, content: Any = None, **more: Any) -> Any:
    return await who.post(f"{BASE}/servers/{key}/action", json={action: content}, **more)


async def test_a_server_is_booted_shown_and_deleted_without_a_trace(
    site: Site, cloud: Cloud, member: Person, image: Image, network: Network
) -> None:
    made = await boot(member, image, metadata={"a": "b"}, user_data=base64.b64encode(b"#!/bin/sh").decode())
    assert made["adminPass"]
    shown = await until(member, made["id"], "ACTIVE")
    assert shown["tenant_id"] == member.project.id.hex
    assert [one["addr"] for one in shown["addresses"]["private"]] == ["10.9.0.2"]
    assert shown["OS-EXT-STS:power_state"] == 1
    assert shown["metadata"] == {"a": "b"}
    assert shown["flavor"]["id"] == "1"
    assert shown["image"]["id"] == str(image.id)
    assert await invariants.violations(cloud) == []
    assert (await member.delete(f"{BASE}/servers/{made['id']}")).status == 204
    await gone(member, made["id"])
    assert await invariants.violations(cloud) == []
    host = next(iter(site.hypervisors.values()))
    assert await host.guests() == {}


async def test_the_newest_version_shows_every_field(
    member: Person, admin: Person, image: Image, network: Network
) -> None:
    made = await boot(
        member, image, LATEST, networks="auto", description="d", tags=["x"], hostname="w.example"
    )
    await until(member, made["id"], "ACTIVE")
    shown = await show(member, made["id"], LATEST)
    assert set(shown) >= {
        "locked",
        "description",
        "tags",
        "trusted_image_certificates",
        "server_groups",
        "locked_reason",
        "pinned_availability_zone",
        "OS-EXT-SRV-ATTR:hostname",
    }
    assert shown["flavor"]["original_name"] == "tiny"
    assert shown["flavor"]["extra_specs"] == {}
    seen = await show(admin, made["id"], LATEST)
    assert seen["OS-EXT-SRV-ATTR:host"] == "host-1"
    assert seen["host_status"] == "UP"


VERBS = [
    ("os-stop", None, "SHUTOFF"),
    ("os-start", None, "ACTIVE"),
    ("reboot", {"type": "SOFT"}, "ACTIVE"),
    ("reboot", {"type": "HARD"}, "ACTIVE"),
    ("pause", None, "PAUSED"),
    ("unpause", None, "ACTIVE"),
    ("suspend", None, "SUSPENDED"),
    ("resume", None, "ACTIVE"),
]


async def test_a_server_goes_through_every_power_state(
    cloud: Cloud, member: Person, image: Image, network: Network
) -> None:
    made = await boot(member, image)
    await until(member, made["id"], "ACTIVE")
    for action, content, status in VERBS:
        reply = await act(member, made["id"], action, content)
        assert reply.status == 202, (action, reply.text)
        await until(member, made["id"], status)
    assert await invariants.violations(cloud) == []
    listed = (await member.get(f"{BASE}/servers/{made['id']}/os-instance-actions", headers=LATEST)).json()
    names = [action["action"] for action in listed["instanceActions"]]
    assert names == ["resume", "suspend", "unpause", "pause", "reboot", "reboot", "start", "stop", "create"]
    request = listed["instanceActions"][-1]["request_id"]
    one = (
        await member.get(f"{BASE}/servers/{made['id']}/os-instance-actions/{request}", headers=LATEST)
    ).json()
    assert one["instanceAction"]["events"][0]["result"] == "Success"


async def test_a_verb_in_the_wrong_state_is_refused_in_the_words_of_the_original(
    member: Person, image: Image, network: Network
) -> None:
    made = await boot(member, image)
    await until(member, made["id"], "ACTIVE")
    reply = await act(member, made["id"], "os-start")
    assert reply.status == 409
    fault = reply.json()["conflictingRequest"]["message"]
    assert fault == f"Cannot 'start' instance {made['id']} while it is in vm_state active"


async def test_a_server_of_another_project_does_not_exist(
    member: Person, other: Person, image: Image, network: Network
) -> None:
    made = await boot(member, image)
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/ips"),
        ("GET", "/metadata"),
        ("GET", "/os-interface"),
        ("GET", "/os-volume_attachments"),
        ("GET", "/os-instance-actions"),
        ("GET", "/os-security-groups"),
    ):
        reply = await other.request(method, f"{BASE}/servers/{made['id']}{path}")
        assert reply.status == 404, (method, path, reply.text)
        assert reply.json()["itemNotFound"]["message"] == f"Instance {made['id']} could not be found."
    assert (await act(other, made["id"], "os-stop")).status == 404
    assert (await other.get(f"{BASE}/servers/detail")).json()["servers"] == []


async def test_a_locked_server_is_left_alone(
    admin: Person, member: Person, image: Image, network: Network
) -> None:
    made = await boot(member, image)
    await until(member, made["id"], "ACTIVE")
    assert (await act(member, made["id"], "lock", {"locked_reason": "mine"}, headers=LATEST)).status == 202
    assert (await show(member, made["id"], LATEST))["locked_reason"] == "mine"
    assert (await act(member, made["id"], "os-stop")).status == 409
    assert (await member.delete(f"{BASE}/servers/{made['id']}")).status == 409
    assert (await act(member, made["id"], "unlock")).status == 202
    assert (await member.delete(f"{BASE}/servers/{made['id']}")).status == 204
    await gone(member, made["id"])


async def test_no_capacity_is_explained(
    admin: Person, member: Person, image: Image, network: Network
) -> None:
    flavor = {"name": "huge", "ram": 10_000_000, "vcpus": 1, "disk": 1, "id": "huge"}
    assert (await admin.post(f"{BASE}/flavors", json={"flavor": flavor})).status == 200
    project = member.project.id.hex
    quota = {"quota_set": {"ram": -1}}
    assert (await admin.put(f"{BASE}/os-quota-sets/{project}", json=quota)).status == 200
    made = await boot(member, image, flavorRef="huge")
    shown = await until(member, made["id"], "ERROR")
    assert "1 host: 1 lacks 10000000 MiB memory" in shown["fault"]["message"]
    assert shown["addresses"] == {}
    assert (await member.delete(f"{BASE}/servers/{made['id']}")).status == 204
    await gone(member, made["id"])


async def test_lists_are_paged_sorted_and_filtered(member: Person, image: Image, network: Network) -> None:
    for name in ("alpha", "beta", "gamma"):
        made = await boot(member, image, name=name)
        await until(member, made["id"], "ACTIVE")
    first = (await member.get(f"{BASE}/servers?limit=2&sort_key=display_name&sort_dir=asc")).json()
    assert [server["name"] for server in first["servers"]] == ["alpha", "beta"]
    link = first["servers_links"][0]["href"].removeprefix("http://cloud.test")
    second = (await member.get(link)).json()
    assert [server["name"] for server in second["servers"]] == ["gamma"]
    assert "servers_links" not in second
    for query, names in (
        ("name=et", {"beta"}),
        ("name=^(alpha|gamma)$", {"alpha", "gamma"}),
        ("status=ACTIVE", {"alpha", "beta", "gamma"}),
        ("status=SHUTOFF", set()),
        ("ip=10.9.0.3", {"beta"}),
        (f"image={image.id}", {"alpha", "beta", "gamma"}),
        ("flavor=1", {"alpha", "beta", "gamma"}),
        ("flavor=2", set()),
        ("changes-since=2999-01-01T00:00:00Z", set()),
        ("deleted=true", {"alpha", "beta", "gamma"}),
    ):
        listed = (await member.get(f"{BASE}/servers/detail?{query}")).json()
        assert {server["name"] for server in listed["servers"]} == names, query
    assert (await member.get(f"{BASE}/servers?status=WRONG", headers=LATEST)).status == 400
    assert (await member.get(f"{BASE}/servers?marker={uuid4()}")).status == 400
    assert (await member.get(f"{BASE}/servers?all_tenants=1")).status == 403
    assert (await member.get(f"{BASE}/servers?nonsense=1", headers=LATEST)).status == 400
    assert (await member.get(f"{BASE}/servers?name=(a%2B)%2B$")).status == 400


BAD = [
    ({}, "name"),
    ({"name": ""}, "name"),
    ({"name": " x"}, "name"),
    ({"flavorRef": "none"}, "Flavor none could not be found."),
    ({"imageRef": "none"}, "imageRef"),
    ({"imageRef": str(uuid4())}, "Can not find requested image"),
    ({"key_name": "none"}, "Invalid key_name provided."),
    ({"user_data": "%"}, "base64"),
    ({"min_count": 0}, "min_count"),
    ({"min_count": 3, "max_count": 2}, "min_count must be <= max_count"),
    ({"networks": [{"uuid": "x"}]}, "Bad networks format"),
    ({"networks": [{}]}, "missing 'uuid'"),
    ({"networks": [{"uuid": str(uuid4())}]}, "could not be found"),
    ({"security_groups": [{"name": "none"}]}, "Security group none not found"),
    ({"availability_zone": "none"}, "availability zone"),
    ({"description": "early"}, "description"),
    ({"surprise": 1}, "surprise"),
    ({"metadata": {"a": 1}}, "metadata"),
    ({"block_device_mapping_v2": [{"source_type": "blank", "destination_type": "local"}]}, "local disks"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[str(change)[:40] for change, _ in BAD])
async def test_bad_input_is_named(
    change: dict[str, Any], message: str, member: Person, image: Image, network: Network
) -> None:
    body = {"name": "web", "flavorRef": "1", "imageRef": str(image.id), **change} if change else {}
    reply = await member.post(f"{BASE}/servers", json={"server": body})
    assert reply.status == 400, reply.text
    assert message in reply.json()["badRequest"]["message"]


async def test_a_server_has_only_so_much_metadata(member: Person, image: Image, network: Network) -> None:
    limits = (await member.get(f"{BASE}/limits")).json()["limits"]["absolute"]
    much = {f"k{number}": "v" for number in range(limits["maxServerMeta"] + 1)}
    path = f"{BASE}/servers/{(await boot(member, image))['id']}/metadata"
    body = {"name": "web", "flavorRef": "1", "imageRef": str(image.id), "metadata": much}
    for reply in (
        await member.post(f"{BASE}/servers", json={"server": body}),
        await member.post(path, json={"metadata": much}),
        await member.put(path, json={"metadata": much}),
    ):
        assert reply.status == 403, reply.text
        assert reply.json()["forbidden"]["message"] == "Maximum number of metadata items exceeds 128"


async def test_metadata_and_tags_are_changed(member: Person, image: Image, network: Network) -> None:
    path = f"{BASE}/servers/{(await boot(member, image))['id']}"
    assert (await member.post(f"{path}/metadata", json={"metadata": {"a": "1", "b": "2"}})).status == 200
    assert (await member.put(f"{path}/metadata/b", json={"meta": {"b": "3"}})).json() == {"meta": {"b": "3"}}
    assert (await member.get(f"{path}/metadata")).json() == {"metadata": {"a": "1", "b": "3"}}
    assert (await member.delete(f"{path}/metadata/a")).status == 204
    assert (await member.delete(f"{path}/metadata/a")).status == 404
    assert (await member.put(f"{path}/metadata", json={"metadata": {"c": "4"}})).json() == {
        "metadata": {"c": "4"}
    }
    assert (await member.put(f"{path}/tags/x", headers=LATEST)).status == 201
    assert (await member.put(f"{path}/tags/x", headers=LATEST)).status == 204
    assert (await member.put(f"{path}/tags", json={"tags": ["y", "z"]}, headers=LATEST)).status == 200
    assert (await member.get(f"{path}/tags/y", headers=LATEST)).status == 204
    assert (await member.delete(f"{path}/tags/x", headers=LATEST)).status == 404
    assert (await member.delete(f"{path}/tags", headers=LATEST)).status == 204
    assert (await member.get(f"{path}/tags")).status == 404


async def test_interfaces_come_and_go(
    site: Site, cloud: Cloud, member: Person, image: Image, network: Network
) -> None:
    made = await boot(member, image)
    await until(member, made["id"], "ACTIVE")
    second = await make_network(cloud, member, "second", "10.8.0.0/24")
    path = f"{BASE}/servers/{made['id']}/os-interface"
    reply = await member.post(path, json={"interfaceAttachment": {"net_id": str(second.id)}})
    assert reply.status == 200, reply.text
    port = reply.json()["interfaceAttachment"]["port_id"]
    await settled(cloud)
    guest = UUID(made["id"])
    host = next(iter(site.hypervisors.values()))
    assert UUID(port) in await host.nics(guest)
    assert len((await member.get(path)).json()["interfaceAttachments"]) == 2
    assert (await member.delete(f"{path}/{port}")).status == 202
    await settled(cloud)
    assert UUID(port) not in await host.nics(guest)
    assert len((await member.get(path)).json()["interfaceAttachments"]) == 1


async def test_a_port_that_is_deleted_is_unplugged(
    site: Site, cloud: Cloud, member: Person, image: Image, network: Network
) -> None:
    made = await boot(member, image)
    await until(member, made["id"], "ACTIVE")
    guest, host = UUID(made["id"]), next(iter(site.hypervisors.values()))
    (port,) = await host.nics(guest)
    url = f"/network/v2.0/ports/{port}"
    shown = (await member.get(url)).json()["port"]
    assert (shown["device_id"], shown["device_owner"]) == (made["id"], "compute:nova")
    assert (await member.delete(url)).status == 204
    assert (await member.get(url)).status == 404
    await settled(cloud)
    assert await host.nics(guest) == frozenset()
    assert (await member.get(f"{BASE}/servers/{guest}/os-interface")).json() == {"interfaceAttachments": []}
    assert (await show(member, made["id"]))["status"] == "ACTIVE"


async def settled(cloud: Cloud) -> None:
    """Until no operation is under way."""
    end = time.monotonic() + DEADLINE
    while True:
        async with cloud.view() as look:
            if not await look.count(Operation, outcome=(Outcome.RUNNING, Outcome.UNWINDING)):
                return
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_consoles_and_logs(member: Person, image: Image, network: Network) -> None:
    made = await boot(member, image)
    await until(member, made["id"], "ACTIVE")
    reply = await act(member, made["id"], "os-getConsoleOutput", {"length": 1})
    assert reply.status == 200
    assert "output" in reply.json()
    want = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
    reply = await member.post(f"{BASE}/servers/{made['id']}/remote-consoles", json=want, headers=LATEST)
    assert reply.status == 200, reply.text
    assert "/console/vnc?token=" in reply.json()["remote_console"]["url"]
    assert (await act(member, made["id"], "os-getVNCConsole", {"type": "novnc"})).status == 200
    assert (
        await act(member, made["id"], "os-getVNCConsole", {"type": "novnc"}, headers=LATEST)
    ).status == 404


async def test_many_servers_are_made_at_once(
    cloud: Cloud, member: Person, image: Image, network: Network
) -> None:
    await boot(member, image, min_count=3, max_count=3)
    await settled(cloud)
    listed = (await member.get(f"{BASE}/servers/detail")).json()["servers"]
    assert {server["name"] for server in listed} == {"web-1", "web-2", "web-3"}
    assert {server["status"] for server in listed} == {"ACTIVE"}
    assert len({server["addresses"]["private"][0]["addr"] for server in listed}) == 3


async def test_a_server_boots_from_a_new_volume(
    site: Site, cloud: Cloud, member: Person, image: Image, network: Network
) -> None:
    disk = {
        "source_type": "image",
        "destination_type": "volume",
        "uuid": str(image.id),
        "boot_index": 0,
        "volume_size": 2,
        "delete_on_termination": True,
    }
    made = await boot(member, image, imageRef="", block_device_mapping_v2=[disk])
    shown = await until(member, made["id"], "ACTIVE")
    assert shown["image"] == ""
    held = (await member.get(f"{BASE}/servers/{made['id']}/os-volume_attachments", headers=LATEST)).json()
    assert held["volumeAttachments"][0]["delete_on_termination"] is True
    assert held["volumeAttachments"][0]["device"] == "/dev/vda"
    await member.delete(f"{BASE}/servers/{made['id']}")
    await gone(member, made["id"])
    assert await next(iter(site.pools.values())).volumes() == {}


async def test_key_pairs_are_made_and_imported(member: Person, admin: Person) -> None:
    reply = await member.post(f"{BASE}/os-keypairs", json={"keypair": {"name": "k"}})
    assert reply.status == 200, reply.text
    made = reply.json()["keypair"]
    assert made["private_key"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    again = await member.post(
        f"{BASE}/os-keypairs",
        json={"keypair": {"name": "k2", "public_key": made["public_key"]}},
        headers=LATEST,
    )
    assert again.status == 201
    assert again.json()["keypair"]["fingerprint"] == made["fingerprint"]
    assert (await member.post(f"{BASE}/os-keypairs", json={"keypair": {"name": "k"}})).status == 409
    for public in ("ssh-rsa nonsense", "", " "):
        bad = {"keypair": {"name": "bad", "public_key": public}}
        assert (await member.post(f"{BASE}/os-keypairs", json=bad)).status == 400, public
    assert (
        await member.post(f"{BASE}/os-keypairs", json={"keypair": {"name": "n"}}, headers=LATEST)
    ).status == 400
    listed = (await member.get(f"{BASE}/os-keypairs?limit=1", headers=LATEST)).json()
    assert [one["keypair"]["name"] for one in listed["keypairs"]] == ["k"]
    assert "keypairs_links" in listed
    user = member.user.id.hex
    seen = (await admin.get(f"{BASE}/os-keypairs?user_id={user}", headers=LATEST)).json()
    assert len(seen["keypairs"]) == 2
    assert (await member.delete(f"{BASE}/os-keypairs/k")).status == 202
    assert (await member.get(f"{BASE}/os-keypairs/k")).status == 404


async def test_flavors_are_managed_by_administrators_only(admin: Person, member: Person) -> None:
    want = {
        "flavor": {
            "name": "f",
            "ram": "64",
            "vcpus": 1,
            "disk": 0,
            "id": "auto",
            "os-flavor-access:is_public": False,
        }
    }
    assert (await member.post(f"{BASE}/flavors", json=want)).status == 403
    made = (await admin.post(f"{BASE}/flavors", json=want, headers=LATEST)).json()["flavor"]
    assert made["swap"] == 0
    path = f"{BASE}/flavors/{made['id']}"
    assert (await member.get(path)).status == 404
    grant = {"addTenantAccess": {"tenant": member.project.id.hex}}
    assert (await admin.post(f"{path}/action", json=grant)).status == 200
    assert (await admin.post(f"{path}/action", json=grant)).status == 409
    assert (await member.get(path)).json()["flavor"]["swap"] == ""
    specs = {"extra_specs": {"hw:cpu_policy": "shared"}}
    assert (await admin.post(f"{path}/os-extra_specs", json=specs)).json() == specs
    assert (await admin.get(f"{path}/os-extra_specs/hw:cpu_policy")).json() == {"hw:cpu_policy": "shared"}
    assert (await admin.delete(f"{path}/os-extra_specs/hw:cpu_policy")).status == 200
    assert (await admin.put(path, json={"flavor": {"description": "x"}}, headers=LATEST)).status == 200
    assert (await admin.delete(path)).status == 202
    assert (await admin.get(path)).status == 404
    listed = (await member.get(f"{BASE}/flavors/detail?limit=2")).json()
    assert len(listed["flavors"]) == 2
    assert listed["flavors_links"]


async def test_quotas_refuse_and_are_shown(
    admin: Person, member: Person, image: Image, network: Network
) -> None:
    project = member.project.id.hex
    want = {"quota_set": {"instances": 1}}
    assert (await admin.put(f"{BASE}/os-quota-sets/{project}", json=want)).json()["quota_set"][
        "instances"
    ] == 1
    await boot(member, image)
    body = {"server": {"name": "web", "flavorRef": "1", "imageRef": str(image.id)}}
    assert (await member.post(f"{BASE}/servers", json=body)).status == 403
    detail = (await member.get(f"{BASE}/os-quota-sets/{project}/detail")).json()["quota_set"]
    assert detail["instances"] == {"in_use": 1, "limit": 1, "reserved": 0}
    absolute = (await member.get(f"{BASE}/limits")).json()["limits"]["absolute"]
    assert absolute["totalInstancesUsed"] == 1
    assert (await admin.delete(f"{BASE}/os-quota-sets/{project}")).status == 202
    shown = (await member.get(f"{BASE}/os-quota-sets/{project}", headers=LATEST)).json()["quota_set"]
    assert shown["instances"] == 100
    assert "floating_ips" not in shown


async def test_hypervisors_and_services_have_both_forms_of_ids(admin: Person, member: Person) -> None:
    assert (await member.get(f"{BASE}/os-hypervisors")).status == 403
    old = (await admin.get(f"{BASE}/os-hypervisors/detail")).json()["hypervisors"][0]
    new = (await admin.get(f"{BASE}/os-hypervisors/detail", headers=version("2.53"))).json()["hypervisors"][0]
    assert isinstance(old["id"], int)
    assert isinstance(old["cpu_info"], str)
    assert UUID(new["id"])
    assert isinstance(new["cpu_info"], dict)
    newest = (await admin.get(f"{BASE}/os-hypervisors/{new['id']}", headers=LATEST)).json()["hypervisor"]
    assert "vcpus" not in newest
    assert newest["servers"] == [] if "servers" in newest else True
    assert (await admin.get(f"{BASE}/os-hypervisors/statistics")).status == 200
    services = (await admin.get(f"{BASE}/os-services?binary=nova-compute", headers=LATEST)).json()["services"]
    change = {"status": "disabled", "disabled_reason": "test"}
    path = f"{BASE}/os-services/{services[0]['id']}"
    assert (await admin.put(path, json=change, headers=LATEST)).json()["service"]["disabled_reason"] == "test"
    assert (await admin.put(path, json={"status": "enabled"}, headers=LATEST)).status == 200
    zones = (await member.get(f"{BASE}/os-availability-zone")).json()["availabilityZoneInfo"]
    assert zones == [{"zoneName": "nova", "zoneState": {"available": True}, "hosts": None}]
    assert (await member.get(f"{BASE}/os-availability-zone/detail")).status == 403


async def test_versions_are_told_without_a_token(kernel: Any) -> None:
    anyone = Client(kernel)
    listed = (await anyone.get("/compute/")).json()["versions"]
    assert (listed[0]["min_version"], listed[0]["version"]) == ("2.1", "2.96")
    one = (await anyone.get("/compute/v2.1/")).json()["version"]
    assert one["links"][0]["href"].endswith("/compute/v2.1/")
    assert (await anyone.get("/compute/v2.1/servers")).status == 401


async def test_versions_out_of_range_are_not_acceptable(member: Person) -> None:
    reply = await member.get(f"{BASE}/servers", headers=version("2.999"))
    assert reply.status == 406
    assert "computeFault" in reply.json()
    reply = await member.get(f"{BASE}/servers", headers=version("latest"))
    assert reply.headers["openstack-api-version"] == "compute 2.96"


@pytest.mark.parametrize("table", [words.STATES, words.STATUS, words.POWER])
def test_every_state_has_a_word(table: Any) -> None:
    assert set(table) == set(State)


def test_the_ledger_and_the_operations_agree() -> None:
    found = ledger.load(Path(__file__).parents[3] / "specs" / "openstack-compute.toml")
    assert ledger.check(found, [operation for each in SERVICES for operation in each.operations]) == []
