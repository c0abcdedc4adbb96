"""Disk offerings, volumes and snapshots, as CloudStack's clients use them; and as Cinder sees them."""

from typing import Any
from uuid import UUID

import pytest

from pileus.core.block.records import SnapshotState, Volume, VolumeState
from pileus.core.cloud import Cloud
from pileus.core.quota import Usage
from pileus.drivers.hypervisor.simulator import SimulatedHypervisor
from pileus.drivers.volume.fake import MemoryPool
from pileus.faces.cloudstack import snapshots, volumes
from pileus.faces.wire import Kernel
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests.contract.cloudstack.both import Deploy, asked, bad, deploy, kernel, openstack, unknown, zone
from tests.contract.cloudstack.conftest import Stack
from tests.contract.openstack.conftest import Person

__all__ = ["deploy", "kernel", "openstack"]

GIB = 1 << 30


async def custom(stack: Stack) -> str:
    found = (await stack.call("listDiskOfferings"))["diskoffering"]
    return str(next(each["id"] for each in found if each["iscustomized"]))


async def made(stack: Stack, worker: Worker, size: int = 1, **params: Any) -> dict[str, Any]:
    params = {"name": "data", "zoneid": await zone(stack), "diskofferingid": await custom(stack)} | params
    done = await stack.job(worker, "createVolume", size=size, **params)
    volume: dict[str, Any] = done["volume"]
    return volume


def content(site: Site) -> set[UUID]:
    (pool,) = site.pools.values()
    assert isinstance(pool, MemoryPool)
    return set(pool.disks)


async def used(cloud: Cloud, project: UUID, resource: str) -> int:
    async with cloud.view() as look:
        found = await look.maybe(Usage, project, resource)
    return found.used if found else 0


def test_every_state_has_a_word() -> None:
    assert volumes.STATE.keys() == set(VolumeState)
    assert snapshots.STATE.keys() == set(SnapshotState)


async def test_disk_offerings_are_made_changed_and_deleted_by_administrators(
    admin: Stack, member: Stack, cloud: Cloud
) -> None:
    created = (await admin.call("createDiskOffering", name="fast", displaytext="Fast one", disksize=7))[
        "diskoffering"
    ]
    assert (created["disksize"], created["iscustomized"], created["state"]) == (7, False, "Active")
    assert (await member.call("listDiskOfferings", id=created["id"]))["diskoffering"] == [created]
    changed = (await admin.call("updateDiskOffering", id=created["id"], displaytext="Faster"))["diskoffering"]
    assert (changed["displaytext"], changed["name"]) == ("Faster", "fast")
    free = (await admin.call("createDiskOffering", name="any", customized=True))["diskoffering"]
    assert (free["iscustomized"], free["disksize"]) == (True, 0)
    assert await admin.call("deleteDiskOffering", id=created["id"]) == {"success": True}
    await bad(member, cloud, "listDiskOfferings", 431, id=created["id"])
    await bad(member, cloud, "createDiskOffering", 432, name="x", disksize=1)
    for params in (
        {"name": "x"},
        {"name": "x", "disksize": 0},
        {"name": "x", "disksize": -1},
        {"name": "x", "disksize": 1 << 40},
        {"name": "x", "customized": True, "disksize": 1},
        {"name": "any", "disksize": 1},
        {"name": "x", "disksize": 1, "provisioningtype": "fat"},
        {"name": "x", "disksize": 1, "tags": "ssd"},
        {"name": "x", "disksize": 1, "encrypt": True},
    ):
        await bad(admin, cloud, "createDiskOffering", 431, **params)


async def test_a_volume_lives_from_creation_to_deletion(
    member: Stack, cloud: Cloud, site: Site, worker: Worker
) -> None:
    before = await used(cloud, member.account.id, "volume_gib")
    started = await member.call(
        "createVolume", name="data", zoneid=await zone(member), diskofferingid=await custom(member), size=2
    )
    assert started.keys() == {"id", "jobid"}
    await worker.idle()
    job = await member.call("queryAsyncJobResult", jobid=started["jobid"])
    assert (job["jobstatus"], job["jobinstancetype"]) == (1, "Volume")
    volume = job["jobresult"]["volume"]
    assert volume["id"] == started["id"] == job["jobinstanceid"]
    assert (volume["size"], volume["state"], volume["type"]) == (2 * GIB, "Ready", "DATADISK")
    assert (volume["account"], volume["hypervisor"]) == ("demo", "Simulator")
    assert "virtualmachineid" not in volume
    assert UUID(volume["id"]) in content(site)
    assert (await member.call("listVolumes", id=volume["id"]))["volume"] == [volume]
    assert await used(cloud, member.account.id, "volume_gib") == before + 2
    grown = (await member.job(worker, "resizeVolume", id=volume["id"], size=3))["volume"]
    assert (grown["size"], grown["state"]) == (3 * GIB, "Ready")
    assert await used(cloud, member.account.id, "volume_gib") == before + 3
    assert await member.call("deleteVolume", id=volume["id"]) == {"success": True}
    assert UUID(volume["id"]) not in content(site)
    assert await member.call("listVolumes") == {}
    assert await used(cloud, member.account.id, "volume_gib") == before


async def test_an_offering_says_the_size_and_a_volume_can_change_to_another(
    admin: Stack, member: Stack, worker: Worker
) -> None:
    five = (await admin.call("createDiskOffering", name="five", disksize=5))["diskoffering"]["id"]
    other = (await admin.call("createDiskOffering", name="five too", disksize=5))["diskoffering"]["id"]
    volume = (
        await member.job(worker, "createVolume", zoneid=await zone(member), diskofferingid=five, size=1)
    )["volume"]
    assert (volume["size"], volume["diskofferingname"]) == (5 * GIB, "five")
    assert volume["name"].startswith("DATA-")
    changed = (await member.job(worker, "resizeVolume", id=volume["id"], diskofferingid=other))["volume"]
    assert (changed["size"], changed["diskofferingid"]) == (5 * GIB, other)
    free = await custom(member)
    grown = (await member.job(worker, "resizeVolume", id=volume["id"], diskofferingid=free, size=6))["volume"]
    assert (grown["size"], grown["diskofferingid"]) == (6 * GIB, free)


async def test_a_volume_is_attached_and_detached_in_both_ways_of_naming_it(
    member: Stack, worker: Worker, deploy: Deploy, cloud: Cloud
) -> None:
    machine = await deploy()
    volume = await made(member, worker)
    held = (await member.job(worker, "attachVolume", id=volume["id"], virtualmachineid=machine["id"]))[
        "volume"
    ]
    assert (held["virtualmachineid"], held["deviceid"], held["vmstate"]) == (machine["id"], 1, "Running")
    assert (held["vmname"], held["state"]) == (machine["name"], "Ready")
    await bad(member, cloud, "deleteVolume", 536, id=volume["id"])
    await bad(member, cloud, "destroyVolume", 536, id=volume["id"], expunge=True)
    grown = (await member.job(worker, "resizeVolume", id=volume["id"], size=2))["volume"]
    assert (grown["size"], grown["virtualmachineid"]) == (2 * GIB, machine["id"])
    free = (await member.job(worker, "detachVolume", id=volume["id"]))["volume"]
    assert "virtualmachineid" not in free
    third = await member.job(
        worker, "attachVolume", id=volume["id"], virtualmachineid=machine["id"], deviceid=3
    )
    assert third["volume"]["deviceid"] == 3
    await member.job(worker, "detachVolume", virtualmachineid=machine["id"], deviceid=3)
    for params in (
        {},
        {"virtualmachineid": machine["id"]},
        {"virtualmachineid": machine["id"], "deviceid": 0},
        {"virtualmachineid": machine["id"], "deviceid": 3},
        {"id": volume["id"]},
        {"id": unknown()},
    ):
        await bad(member, cloud, "detachVolume", 431, **params)
    for params in ({"deviceid": 0}, {"deviceid": 26}, {"deviceid": -1}):
        await bad(
            member, cloud, "attachVolume", 431, id=volume["id"], virtualmachineid=machine["id"], **params
        )


async def test_root_disks_are_listed_as_root_and_stay_with_their_machine(
    member: Stack, admin: Stack, worker: Worker, deploy: Deploy, cloud: Cloud
) -> None:
    machine, volume = await deploy(), await made(member, worker)
    (root,) = (await member.call("listVolumes", type="ROOT"))["volume"]
    assert (root["virtualmachineid"], root["deviceid"]) == (machine["id"], 0)
    assert (root["serviceofferingid"], root["templateid"]) == (
        machine["serviceofferingid"],
        machine["templateid"],
    )
    assert "diskofferingid" not in root
    (data,) = (await member.call("listVolumes", type="DATADISK"))["volume"]
    assert data["id"] == volume["id"]
    await bad(member, cloud, "resizeVolume", 431, id=root["id"], size=50)
    await bad(member, cloud, "detachVolume", 431, id=root["id"])
    host = (await admin.call("listHosts"))["host"][0]
    (seen,) = (await admin.call("listVolumes", hostid=host["id"], listall=True))["volume"]
    assert (seen["id"], seen["storage"]) == (root["id"], "primary")
    assert "storage" not in root


async def test_lists_are_filtered_and_cut(
    member: Stack, other: Stack, admin: Stack, worker: Worker, deploy: Deploy, cloud: Cloud
) -> None:
    machine = await deploy()
    one, two = await made(member, worker, name="one"), await made(member, worker, name="two")
    await member.job(worker, "attachVolume", id=one["id"], virtualmachineid=machine["id"])
    place = (await admin.call("listPods"))["pod"][0]
    for params, names in (
        ({"name": "one"}, {"one"}),
        ({"keyword": "tw"}, {"two"}),
        ({"ids": [one["id"], two["id"]]}, {"one", "two"}),
        ({"virtualmachineid": machine["id"], "type": "DATADISK"}, {"one"}),
        ({"zoneid": await zone(member), "type": "datadisk"}, {"one", "two"}),
        ({"diskofferingid": one["diskofferingid"], "type": "DATADISK"}, {"one", "two"}),
        ({"state": "Ready", "keyword": "o"}, {"one", "two", f"ROOT-{machine['displayname']}"}),
        ({"state": "Expunging"}, set()),
        ({"serviceofferingid": machine["serviceofferingid"], "type": "DATADISK"}, {"one"}),
        ({"account": "demo", "domainid": one["domainid"], "type": "DATADISK"}, {"one", "two"}),
        ({"tags[0].key": "a", "tags[0].value": "b"}, set()),
    ):
        found = await member.call("listVolumes", **params)
        assert {each["name"] for each in found.get("volume", [])} == names, params
        assert found.get("count", 0) == len(names)
    assert (await admin.call("listVolumes", podid=place["id"], listall=True))["count"] == 2
    page = await member.call("listVolumes", page=2, pagesize=2)
    assert (page["count"], len(page["volume"])) == (3, 1)
    assert await member.call("listVolumes", retrieveonlyresourcecount=True) == {"count": 3, "volume": []}
    assert await other.call("listVolumes", listall=True) == {}
    assert await admin.call("listVolumes") == {}
    assert (await admin.call("listVolumes", listall=True))["count"] == 3
    for stack, params in (
        (other, {"id": one["id"]}),
        (member, {"id": unknown()}),
        (member, {"zoneid": unknown()}),
        (member, {"virtualmachineid": unknown()}),
        (other, {"virtualmachineid": machine["id"]}),
        (member, {"type": "FLOPPY"}),
    ):
        await bad(stack, cloud, "listVolumes", 431, **params)


async def test_nobody_touches_the_volumes_of_others(
    member: Stack, other: Stack, worker: Worker, cloud: Cloud
) -> None:
    volume = await made(member, worker)
    snapshot = (await member.job(worker, "createSnapshot", volumeid=volume["id"]))["snapshot"]
    for command, params in (
        ("deleteVolume", {"id": volume["id"]}),
        ("destroyVolume", {"id": volume["id"], "expunge": True}),
        ("resizeVolume", {"id": volume["id"], "size": 9}),
        ("detachVolume", {"id": volume["id"]}),
        ("attachVolume", {"id": volume["id"], "virtualmachineid": unknown()}),
        ("createSnapshot", {"volumeid": volume["id"]}),
        ("deleteSnapshot", {"id": snapshot["id"]}),
        ("createVolume", {"snapshotid": snapshot["id"]}),
        ("listSnapshots", {"volumeid": volume["id"]}),
        ("listSnapshots", {"id": snapshot["id"]}),
    ):
        text = await bad(other, cloud, command, 431, **params)
        assert "due to incorrect long value format, or entity does not exist" in text


async def test_bad_volumes_are_refused_and_nothing_is_made(
    member: Stack, admin: Stack, worker: Worker, cloud: Cloud
) -> None:
    place, kind = await zone(member), await custom(member)
    for params in (
        {"diskofferingid": kind, "size": 1},
        {"zoneid": place, "size": 1},
        {"zoneid": place, "diskofferingid": kind},
        {"zoneid": place, "diskofferingid": kind, "size": 0},
        {"zoneid": place, "diskofferingid": kind, "size": -5},
        {"zoneid": place, "diskofferingid": kind, "size": 1 << 50},
        {"zoneid": unknown(), "diskofferingid": kind, "size": 1},
        {"zoneid": place, "diskofferingid": unknown(), "size": 1},
        {"snapshotid": unknown()},
        {"zoneid": place, "diskofferingid": kind, "size": 1, "virtualmachineid": unknown()},
        {"zoneid": place, "diskofferingid": kind, "size": 1, "account": "nobody"},
        {"zoneid": place, "diskofferingid": kind, "size": 1, "projectid": unknown()},
        {"zoneid": place, "diskofferingid": kind, "size": 1, "miniops": 5},
    ):
        await bad(member, cloud, "createVolume", 431, **params)
    await bad(member, cloud, "createVolume", 535, zoneid=place, diskofferingid=kind, size=60_000)
    volume = await made(member, worker, size=2)
    wrong: list[dict[str, Any]] = [
        {},
        {"size": 1},
        {"size": 1, "shrinkok": True},
        {"size": 2},
        {"diskofferingid": unknown()},
    ]
    for params in wrong:
        await bad(member, cloud, "resizeVolume", 431, id=volume["id"], **params)
    assert "expunge=true" in await bad(member, cloud, "destroyVolume", 431, id=volume["id"])
    assert await member.job(worker, "destroyVolume", id=volume["id"], expunge=True) == {"success": True}
    await bad(member, cloud, "destroyVolume", 431, id=volume["id"], expunge=True)
    await bad(admin, cloud, "updateVolume", 431, name="x")
    await bad(admin, cloud, "updateVolume", 431, id=unknown(), name="x")


async def test_a_volume_is_renamed(admin: Stack, worker: Worker) -> None:
    volume = await made(admin, worker)
    assert (await admin.job(worker, "updateVolume", id=volume["id"], name="new"))["volume"]["name"] == "new"


async def test_a_snapshot_is_made_listed_used_and_deleted(
    member: Stack, worker: Worker, deploy: Deploy, cloud: Cloud
) -> None:
    machine, volume = await deploy(), await made(member, worker, size=2)
    started = await member.call("createSnapshot", volumeid=volume["id"], name="monday")
    assert started.keys() == {"id", "jobid"}
    await worker.idle()
    snapshot = (await member.call("queryAsyncJobResult", jobid=started["jobid"]))["jobresult"]["snapshot"]
    assert (snapshot["id"], snapshot["name"], snapshot["state"]) == (started["id"], "monday", "BackedUp")
    assert (snapshot["volumeid"], snapshot["volumename"], snapshot["volumetype"]) == (
        volume["id"],
        "data",
        "DATADISK",
    )
    await member.job(worker, "attachVolume", id=volume["id"], virtualmachineid=machine["id"])
    unnamed = (await member.job(worker, "createSnapshot", volumeid=volume["id"]))["snapshot"]
    assert unnamed["name"].startswith(f"{machine['name']}_data_")
    for params, count in (
        ({}, 2),
        ({"id": snapshot["id"]}, 1),
        ({"ids": [snapshot["id"], unnamed["id"]]}, 2),
        ({"volumeid": volume["id"]}, 2),
        ({"name": "monday"}, 1),
        ({"keyword": "mon"}, 1),
        ({"snapshottype": "MANUAL", "intervaltype": "MANUAL"}, 2),
        ({"snapshottype": "RECURRING"}, 0),
        ({"zoneid": await zone(member)}, 2),
    ):
        assert (await member.call("listSnapshots", **params)).get("count", 0) == count, params
    await member.job(worker, "detachVolume", id=volume["id"])
    copy = (await member.job(worker, "createVolume", snapshotid=snapshot["id"], name="copy"))["volume"]
    assert (copy["size"], copy["snapshotid"]) == (2 * GIB, snapshot["id"])
    assert await member.job(worker, "deleteSnapshot", id=unnamed["id"]) == {"success": True}
    await bad(member, cloud, "deleteSnapshot", 431, id=unnamed["id"])
    await bad(member, cloud, "createSnapshot", 431, volumeid=volume["id"], quiescevm=True)
    await bad(member, cloud, "createSnapshot", 431, volumeid=unknown())
    await bad(member, cloud, "listSnapshots", 431, id=unnamed["id"])


async def test_snapshots_outlive_their_volume(member: Stack, worker: Worker) -> None:
    volume = await made(member, worker)
    snapshot = (await member.job(worker, "createSnapshot", volumeid=volume["id"]))["snapshot"]
    await member.call("deleteVolume", id=volume["id"])
    assert await member.call("listVolumes") == {}
    (left,) = (await member.call("listSnapshots"))["snapshot"]
    assert (left["id"], left["state"], left["volumestate"]) == (snapshot["id"], "BackedUp", "Expunged")
    copy = (await member.job(worker, "createVolume", snapshotid=snapshot["id"]))["volume"]
    assert copy["state"] == "Ready"
    await member.call("deleteVolume", id=copy["id"])
    await member.job(worker, "deleteSnapshot", id=snapshot["id"])
    assert await member.call("listSnapshots") == {}


async def test_a_volume_is_made_for_a_machine_and_attached_to_it(
    member: Stack, worker: Worker, deploy: Deploy, cloud: Cloud, site: Site
) -> None:
    machine, source = await deploy(), await made(member, worker, size=2)
    snapshot = (await member.job(worker, "createSnapshot", volumeid=source["id"]))["snapshot"]
    done = await member.job(
        worker, "createVolume", snapshotid=snapshot["id"], virtualmachineid=machine["id"], name="given"
    )
    volume = done["volume"]
    assert (volume["virtualmachineid"], volume["deviceid"], volume["state"]) == (machine["id"], 1, "Ready")
    (hypervisor,) = site.hypervisors.values()
    assert isinstance(hypervisor, SimulatedHypervisor)
    guest = hypervisor._machines[UUID(machine["id"])].guest
    assert UUID(volume["id"]) in {disk.volume for disk in guest.disks}
    await member.job(worker, "detachVolume", id=volume["id"])
    await member.call("deleteVolume", id=volume["id"])


async def test_a_volume_that_cannot_be_filled_is_given_to_nobody(
    member: Stack, worker: Worker, deploy: Deploy, site: Site, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = await deploy()
    (pool,) = site.pools.values()

    async def full(*wanted: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(pool, "create", full)
    failed = await member.failed(
        worker,
        "createVolume",
        diskofferingid=await custom(member),
        size=1,
        virtualmachineid=machine["id"],
    )
    assert (failed["errorcode"], failed["errortext"]) == (530, "no space left")
    async with cloud.view() as look:
        (volume,) = await look.list(Volume, root=False)
    assert (volume.state, volume.server, volume.operation) == (VolumeState.ERROR, None, None)
    (shown,) = (await member.call("listVolumes", type="DATADISK"))["volume"]
    assert (shown["state"], shown["status"]) == ("Error", "no space left")
    monkeypatch.undo()
    await member.call("deleteVolume", id=str(volume.id))


async def test_cinder_and_cloudstack_see_each_others_volumes(
    member: Stack, openstack: Person, worker: Worker, kernel: Kernel
) -> None:
    v3 = f"/volume/v3/{openstack.project.id.hex}"
    mine = await made(member, worker, size=2)
    shown = (await asked(openstack, "GET", f"{v3}/volumes/{mine['id']}"))["volume"]
    assert (shown["name"], shown["size"], shown["status"]) == ("data", 2, "available")
    theirs = (await asked(openstack, "POST", f"{v3}/volumes", {"volume": {"name": "theirs", "size": 1}}))[
        "volume"
    ]
    await worker.idle()
    (seen,) = (await member.call("listVolumes", id=theirs["id"]))["volume"]
    assert (seen["name"], seen["size"], seen["state"]) == ("theirs", GIB, "Ready")
    await member.call("deleteVolume", id=theirs["id"])
    assert (await openstack.get(f"{v3}/volumes/{theirs['id']}")).status == 404
    await asked(openstack, "DELETE", f"{v3}/volumes/{mine['id']}")
    await worker.idle()
    assert await member.call("listVolumes") == {}
