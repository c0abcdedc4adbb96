"""Affinity groups, which OpenStack calls server groups; tags and maintenance of hosts; zones, pods and clusters."""

from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from pileus.app.bootstrap import join_host
from pileus.core.cloud import Cloud
from pileus.core.compute.records import Affinity, Host
from pileus.drivers.hypervisor.simulator import SimulatedHypervisor
from pileus.faces.cloudstack.affinity_groups import TYPE
from pileus.faces.openstack.compute.server_groups import POLICY
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests.contract.cloudstack.both import asked, bad, deploy, kernel, openstack
from tests.contract.cloudstack.conftest import FACTS, POOL, Stack
from tests.contract.openstack.conftest import Person

__all__ = ["deploy", "kernel", "openstack"]

GROUPS = "/compute/v2.1/os-server-groups"


@pytest.fixture
async def hosts(site: Site, cloud: Cloud) -> list[Host]:
    """The first one and another."""
    async with cloud.view() as look:
        found = await look.list(Host)
    facts = msgspec.structs.replace(FACTS, hostname="host-2")
    made = await join_host(cloud, "simulator", facts, POOL)
    site.hypervisors[made.id] = SimulatedHypervisor(made.id, facts)
    return [*found, made]


async def group(who: Stack, worker: Worker, name: str = "g", type: str = "host anti-affinity") -> str:
    done = await who.job(worker, "createAffinityGroup", name=name, type=type)
    return str(done["affinitygroup"]["id"])


async def machine(who: Stack, worker: Worker, place: dict[str, str], **params: Any) -> dict[str, Any]:
    done = await who.job(worker, "deployVirtualMachine", **place, **params)
    shown: dict[str, Any] = done["virtualmachine"]
    return shown


@pytest.mark.parametrize("table", [TYPE, POLICY], ids=["cloudstack", "openstack"])
def test_every_face_has_a_word_for_every_affinity(table: dict[Affinity, str]) -> None:
    assert set(table) == set(Affinity)
    assert len(set(table.values())) == len(Affinity)


@pytest.mark.parametrize("affinity", list(Affinity), ids=str)
async def test_a_group_of_one_face_is_one_of_the_other(
    member: Stack, openstack: Person, worker: Worker, affinity: Affinity
) -> None:
    types = (await member.call("listAffinityGroupTypes"))["affinityGroupType"]
    assert {"type": TYPE[affinity]} in types
    theirs = await group(member, worker, "theirs", TYPE[affinity])
    body = {"server_group": {"name": "ours", "policies": [POLICY[affinity]]}}
    headers = {"openstack-api-version": "compute 2.15"}
    reply = await openstack.post(GROUPS, json=body, headers=headers)
    ours = reply.json()["server_group"]["id"]

    listed = (await member.call("listAffinityGroups"))["affinitygroup"]
    assert {(each["id"], each["type"]) for each in listed} == {
        (theirs, TYPE[affinity]),
        (ours, TYPE[affinity]),
    }
    seen = (await openstack.get(GROUPS, headers=headers)).json()["server_groups"]
    assert {(each["id"], *each["policies"]) for each in seen} == {
        (theirs, POLICY[affinity]),
        (ours, POLICY[affinity]),
    }
    await member.job(worker, "deleteAffinityGroup", id=ours)
    await asked(openstack, "DELETE", f"{GROUPS}/{theirs}")
    assert await member.call("listAffinityGroups") == {}


async def test_groups_are_found_by_what_is_known_of_them(
    member: Stack, other: Stack, worker: Worker, place: dict[str, str]
) -> None:
    key = await group(member, worker, "web")
    await group(other, worker, "web")
    shown = await machine(member, worker, place, affinitygroupnames="web")
    assert [each["id"] for each in shown["affinitygroup"]] == [key]
    for filters, count in (
        ({}, 1),
        ({"id": key}, 1),
        ({"name": "web"}, 1),
        ({"name": "x"}, 0),
        ({"type": "host anti-affinity"}, 1),
        ({"type": "host affinity"}, 0),
        ({"type": "x"}, 0),
        ({"keyword": "e"}, 1),
        ({"virtualmachineid": shown["id"]}, 1),
    ):
        assert (await member.call("listAffinityGroups", **filters)).get("count", 0) == count, filters
    (found,) = (await member.call("listVirtualMachines", affinitygroupid=key))["virtualmachine"]
    assert found["id"] == shown["id"]
    (listed,) = (await member.call("listAffinityGroups"))["affinitygroup"]
    assert listed["virtualmachineIds"] == [shown["id"]]
    await member.job(worker, "deleteAffinityGroup", name="web")
    assert (await other.call("listAffinityGroups"))["count"] == 1


async def test_what_a_group_cannot_be(member: Stack, other: Stack, cloud: Cloud, worker: Worker) -> None:
    await group(member, worker, "web")
    text = await bad(member, cloud, "createAffinityGroup", 431, name="web", type="host affinity")
    assert text == "Unable to create affinity group, a group with name web already exists."
    assert "invalid affinity group type" in await bad(
        member, cloud, "createAffinityGroup", 431, name="x", type="x"
    )
    theirs = await group(other, worker, "theirs")
    await bad(member, cloud, "deleteAffinityGroup", 431, id=theirs)
    await bad(member, cloud, "deleteAffinityGroup", 431, name="theirs")
    await bad(member, cloud, "deleteAffinityGroup", 431)


async def test_machines_of_a_group_are_apart_and_change_groups_while_stopped(
    member: Stack, admin: Stack, cloud: Cloud, worker: Worker, place: dict[str, str], hosts: list[Host]
) -> None:
    apart, near = (
        await group(member, worker, "apart"),
        await group(member, worker, "near", "non-strict host affinity"),
    )
    made = [await machine(member, worker, place, affinitygroupids=f"{apart},{near}") for _ in range(2)]
    assert [[each["name"] for each in one["affinitygroup"]] for one in made] == [["apart", "near"]] * 2
    placed = (await admin.call("listVirtualMachines", listall=True))["virtualmachine"]
    assert len({each["hostid"] for each in placed}) == 2
    failed = await member.failed(worker, "deployVirtualMachine", **place, affinitygroupids=apart)
    assert "No valid host was found" in failed["errortext"]

    first = made[0]["id"]
    text = await bad(member, cloud, "updateVMAffinityGroup", 431, id=first, affinitygroupids=near)
    assert "stop it before" in text
    await member.job(worker, "stopVirtualMachine", id=first)
    done = await member.job(worker, "updateVMAffinityGroup", id=first, affinitygroupnames="near")
    assert [each["name"] for each in done["virtualmachine"]["affinitygroup"]] == ["near"]
    together = await group(member, worker, "together", "host affinity")
    await member.job(worker, "stopVirtualMachine", id=made[1]["id"])
    await member.job(worker, "updateVMAffinityGroup", id=made[1]["id"], affinitygroupids=together)
    text = await bad(member, cloud, "updateVMAffinityGroup", 431, id=first, affinitygroupids=together)
    assert "on another host" in text
    assert (await member.job(worker, "updateVMAffinityGroup", id=first))["virtualmachine"][
        "affinitygroup"
    ] == []


async def test_administrators_choose_pod_cluster_and_host(
    member: Stack, admin: Stack, cloud: Cloud, worker: Worker, place: dict[str, str], hosts: list[Host]
) -> None:
    chosen = hosts[1]
    for name, value in (("podid", chosen.pod), ("clusterid", chosen.cluster), ("hostid", chosen.id)):
        shown = await machine(admin, worker, place, **{name: str(value)})
        assert name != "hostid" or shown["hostid"] == str(chosen.id)
        await bad(admin, cloud, "deployVirtualMachine", 431, **place, **{name: str(uuid4())})
        await member.refused("deployVirtualMachine", 531, **place, **{name: str(value)})


async def test_tags_of_hosts_are_asked_for_by_offerings(
    member: Stack, admin: Stack, worker: Worker, place: dict[str, str], hosts: list[Host]
) -> None:
    updated = await admin.call("updateHost", id=str(hosts[1].id), hosttags="ssd,CUSTOM_GPU")
    assert updated["host"]["hosttags"] == "CUSTOM_GPU,ssd"
    names = [each["name"] for each in (await admin.call("listHostTags"))["hosttag"]]
    assert names == ["CUSTOM_GPU", "ssd"]
    offering = {"name": "fast", "displaytext": "fast", "cpunumber": 1, "memory": 64, "hosttags": "ssd"}
    made = (await admin.call("createServiceOffering", **offering))["serviceoffering"]
    assert made["hosttags"] == "ssd"
    for _ in range(2):
        shown = await machine(member, worker, {**place, "serviceofferingid": made["id"]})
        (seen,) = (await admin.call("listVirtualMachines", id=shown["id"]))["virtualmachine"]
        assert seen["hostname"] == "host-2"
    changed = (await admin.call("updateServiceOffering", id=made["id"], hosttags="nobody"))["serviceoffering"]
    assert changed["hosttags"] == "nobody"
    place = {**place, "serviceofferingid": made["id"]}
    await member.failed(worker, "deployVirtualMachine", **place)


async def test_openstack_shows_the_tags_that_are_traits(
    admin: Stack, cloud: Cloud, kernel: Any, hosts: list[Host]
) -> None:
    from tests.contract.openstack.conftest import person

    await admin.call("updateHost", id=str(hosts[0].id), hosttags="ssd,CUSTOM_GPU")
    who = await person(kernel, cloud, "admin")
    path = f"/placement/resource_providers/{hosts[0].id}/traits"
    headers = {"openstack-api-version": "placement 1.39"}
    held = (await who.get(path, headers=headers)).json()
    assert "CUSTOM_GPU" in held["traits"]
    assert "ssd" not in held["traits"]
    reply = await who.delete(path, headers=headers)
    assert reply.status == 204
    (shown,) = (await admin.call("listHosts", id=str(hosts[0].id)))["host"]
    assert shown["hosttags"] == "ssd"


async def test_a_host_in_maintenance_takes_nothing_new(
    member: Stack, admin: Stack, cloud: Cloud, worker: Worker, place: dict[str, str], hosts: list[Host]
) -> None:
    first = await machine(admin, worker, place, hostid=str(hosts[0].id))
    done = await admin.job(worker, "prepareHostForMaintenance", id=str(hosts[0].id))
    assert done["host"]["resourcestate"] == "PrepareForMaintenance"
    assert "1 instance still runs here; stop or delete" in done["host"]["details"]["maintenance"]
    for _ in range(3):
        shown = await machine(member, worker, place)
        (seen,) = (await admin.call("listVirtualMachines", id=shown["id"], listall=True))["virtualmachine"]
        assert seen["hostname"] == "host-2"
    text = await bad(admin, cloud, "updateHost", 431, id=str(hosts[0].id), allocationstate="Enable")
    assert "end the maintenance" in text
    for state, count in (("PrepareForMaintenance", 1), ("Maintenance", 0), ("Enabled", 1), ("Disabled", 0)):
        assert (await admin.call("listHosts", resourcestate=state)).get("count", 0) == count, state
    await admin.job(worker, "stopVirtualMachine", id=first["id"])
    (host,) = (await admin.call("listHosts", resourcestate="Maintenance"))["host"]
    assert "may be switched off" in host["details"]["maintenance"]
    text = await bad(admin, cloud, "startVirtualMachine", 431, id=first["id"])
    assert "in maintenance" in text
    done = await admin.job(worker, "cancelHostMaintenance", id=str(hosts[0].id))
    assert done["host"]["resourcestate"] == "Enabled"
    await admin.job(worker, "startVirtualMachine", id=first["id"])
    await bad(admin, cloud, "deleteHost", 536, id=str(hosts[0].id), forced=True)


async def test_a_host_is_disabled_and_deleted(admin: Stack, cloud: Cloud, hosts: list[Host]) -> None:
    key = str(hosts[1].id)
    shown = await admin.call("updateHost", id=key, allocationstate="Disable")
    assert shown["host"]["resourcestate"] == "Disabled"
    await bad(admin, cloud, "updateHost", 431, id=key, allocationstate="x")
    shown = await admin.call("updateHost", id=key, allocationstate="Enable")
    assert shown["host"]["resourcestate"] == "Enabled"
    await admin.call("deleteHost", id=key)
    await bad(admin, cloud, "deleteHost", 431, id=key)
    assert (await admin.call("listHosts"))["count"] == 1


async def test_zones_pods_and_clusters_are_made_and_removed(admin: Stack, cloud: Cloud) -> None:
    wish = {"dns1": "192.0.2.53", "internaldns1": "192.0.2.53", "networktype": "Advanced"}
    zone = (await admin.call("createZone", name="far", **wish))["zone"]["id"]
    await bad(admin, cloud, "createZone", 431, name="far", **wish)
    await bad(admin, cloud, "createZone", 431, name="x", **(wish | {"networktype": "Basic"}))
    pod = (await admin.call("createPod", name="p", zoneid=zone, startip="192.0.2.9"))["pod"]["id"]
    await bad(admin, cloud, "createPod", 431, name="p", zoneid=zone)
    await bad(admin, cloud, "createPod", 431, name="q", zoneid=zone, allocationstate="Disabled")
    wanted = {"clustername": "c", "hypervisor": "KVM", "clustertype": "CloudManaged", "zoneid": zone}
    (made,) = (await admin.call("addCluster", podid=pod, **wanted))["cluster"]
    assert (made["podname"], made["zonename"], made["hypervisortype"]) == ("p", "far", "KVM")
    for wrong in ({"hypervisor": "x"}, {"clustertype": "x"}, {"zoneid": str(UUID(int=9))}, {}):
        await bad(admin, cloud, "addCluster", 431, podid=pod, **(wanted | wrong))
    await bad(admin, cloud, "deletePod", 536, id=pod)
    await bad(admin, cloud, "deleteZone", 536, id=zone)
    assert (await admin.call("updateZone", id=zone, name="near", allocationstate="Disabled"))["zone"][
        "allocationstate"
    ] == "Disabled"
    assert (await admin.call("updatePod", id=pod, name="q"))["pod"]["name"] == "q"
    assert (await admin.call("updateCluster", id=made["id"], clustername="d"))["cluster"]["name"] == "d"
    await bad(admin, cloud, "updateCluster", 431, id=made["id"], managedstate="Unmanaged")
    await admin.call("deleteCluster", id=made["id"])
    await admin.call("deletePod", id=pod)
    await admin.call("deleteZone", id=zone)
    assert (await admin.call("listZones"))["count"] == 1


async def test_capacity_is_what_hosts_and_pools_have(admin: Stack, hosts: list[Host]) -> None:
    found = {each["name"]: each for each in (await admin.call("listCapacity"))["capacity"]}
    assert set(found) == {"MEMORY", "CPU", "CPU_CORE", "STORAGE"}
    assert found["CPU_CORE"]["capacitytotal"] == sum(int(host.vcpus * host.vcpu_ratio) for host in hosts)
    assert found["MEMORY"]["percentused"] == "0.00"
    (memory,) = (await admin.call("listCapacity", type=0, zoneid=found["MEMORY"]["zoneid"]))["capacity"]
    assert memory == found["MEMORY"]
    assert await admin.call("listCapacity", zoneid=str(uuid4())) == {}
