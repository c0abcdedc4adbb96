"""Virtual machines, key pairs, offerings and jobs, with the real worker and simulated platforms."""

import base64
from typing import Any
from uuid import uuid4

import pytest

from pileus.core.caller import MEMBER, system
from pileus.core.cloud import Cloud
from pileus.core.compute.records import Server
from pileus.core.compute.records import State as ServerState
from pileus.core.identity import domains, projects
from pileus.core.identity.authorization.assignments import Place
from pileus.core.identity.records import Scope
from pileus.core.network import networks, subnets
from pileus.core.network.networks import NetworkWant
from pileus.core.network.subnets import SubnetWant
from pileus.faces.cloudstack.commands import COMMANDS
from pileus.faces.cloudstack.server_view import STATE
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests.contract.cloudstack.conftest import Stack, give

VERBS = ("startVirtualMachine", "stopVirtualMachine", "rebootVirtualMachine", "destroyVirtualMachine",
         "recoverVirtualMachine", "expungeVirtualMachine", "updateVirtualMachine")  # fmt: skip


@pytest.fixture
async def network(cloud: Cloud, member: Stack) -> str:
    from pileus.core.identity.authentication.keys import caller_of

    caller = await caller_of(cloud, member.user)
    made = await networks.create(cloud, caller, NetworkWant(project=member.account.id, name="net"))
    key = made[0].id
    await subnets.create(
        cloud, caller, SubnetWant(network=key, cidr="10.9.0.0/24", project=member.account.id)
    )
    return str(key)


async def deploy(who: Stack, worker: Worker, place: dict[str, str], **more: Any) -> dict[str, Any]:
    made = await who.job(worker, "deployVirtualMachine", **place, **more)
    found: dict[str, Any] = made["virtualmachine"]
    return found


async def state_of(who: Stack, key: str) -> str:
    (found,) = (await who.call("listVirtualMachines", id=key))["virtualmachine"]
    return str(found["state"])


def test_every_state_has_a_word() -> None:
    assert set(STATE) == set(ServerState)


async def test_a_machine_is_deployed_with_all_that_was_asked(
    member: Stack, worker: Worker, place: dict[str, str], network: str, cloud: Cloud
) -> None:
    await member.call("createSSHKeyPair", name="key")
    data = base64.b64encode(b"#!/bin/sh\n" + bytes(range(256))).decode()
    started = await member.call(
        "deployVirtualMachine",
        **place,
        name="web",
        displayname="The web",
        networkids=network,
        ipaddress="10.9.0.77",
        keypair="key",
        userdata=data,
        **{"details[0].color": "blue"},
    )
    pending = await member.call("queryAsyncJobResult", jobid=started["jobid"])
    assert pending["jobinstanceid"] == started["id"]
    await worker.idle()
    done = await member.call("queryAsyncJobResult", jobid=started["jobid"])
    assert (done["jobstatus"], done["jobresulttype"], done["jobinstancetype"]) == (
        1,
        "object",
        "VirtualMachine",
    )
    (listed,) = (await member.call("listVirtualMachines"))["virtualmachine"]
    assert listed == done["jobresult"]["virtualmachine"]
    assert (listed["id"], listed["name"], listed["displayname"]) == (started["id"], "web", "The web")
    assert (listed["state"], listed["account"], listed["domain"]) == ("Running", "demo", "ROOT")
    assert (listed["keypairs"], listed["details"]) == ("key", {"color": "blue"})
    assert (listed["nic"][0]["networkid"], listed["ipaddress"]) == (network, "10.9.0.77")
    assert listed["nic"][0]["isdefault"] is True
    assert (listed["templateid"], listed["serviceofferingname"]) == (place["templateid"], "small")
    assert "hostid" not in listed
    (shown,) = (await member.call("listVirtualMachines", userdata="true"))["virtualmachine"]
    assert shown["userdata"] == data
    async with cloud.view() as look:
        assert (await look.get(Server, listed["id"])).user_data == base64.b64decode(data)


async def test_user_data_may_come_in_a_form(member: Stack, worker: Worker, place: dict[str, str]) -> None:
    data = base64.b64encode(b"x" * 20_000).decode()
    form = {"content-type": "application/x-www-form-urlencoded"}
    signed = member.signed("deployVirtualMachine", **place, userdata=data)
    reply = await member.post("/client/api", data=signed, headers=form)
    assert reply.status == 200, reply.text
    await worker.idle()
    assert await state_of(member, reply.json()["deployvirtualmachineresponse"]["id"]) == "Running"


async def test_a_machine_lives_from_deploy_to_expunge(
    member: Stack, admin: Stack, worker: Worker, place: dict[str, str]
) -> None:
    key = (await deploy(member, worker, place))["id"]
    for command, more, state in (
        ("stopVirtualMachine", {}, "Stopped"),
        ("startVirtualMachine", {}, "Running"),
        ("rebootVirtualMachine", {}, "Running"),
        ("rebootVirtualMachine", {"forced": True}, "Running"),
        ("stopVirtualMachine", {"forced": True}, "Stopped"),
        ("destroyVirtualMachine", {}, "Destroyed"),
    ):
        result = await member.job(worker, command, id=key, **more)
        assert result["virtualmachine"]["state"] == state == await state_of(member, key)
    assert (await member.call("recoverVirtualMachine", id=key))["virtualmachine"]["state"] == "Stopped"
    assert await state_of(member, key) == "Stopped"
    await member.refused("expungeVirtualMachine", 431, id=key)
    await member.job(worker, "destroyVirtualMachine", id=key)
    assert await member.job(worker, "expungeVirtualMachine", id=key) == {"success": True}
    assert await member.call("listVirtualMachines") == {}
    key = (await deploy(member, worker, place, startvm=False))["id"]
    assert await state_of(admin, key) == "Stopped"
    await member.job(worker, "destroyVirtualMachine", id=key, expunge=True)
    assert await admin.call("listVirtualMachines", listall=True) == {}


async def test_a_root_disk_and_a_data_disk_of_ones_own(
    member: Stack, worker: Worker, place: dict[str, str], cloud: Cloud
) -> None:
    from pileus.core.block.records import Volume, VolumeKind

    async with cloud.view() as look:
        kind = await look.one(VolumeKind, name="standard")
    assert kind is not None
    made = await deploy(member, worker, place, rootdisksize=7, diskofferingid=kind.id, size=3)
    assert made["templateid"] == place["templateid"]
    async with cloud.view() as look:
        disks = await look.list(Volume, server=made["id"])
    assert sorted((disk.root, disk.size_gib) for disk in disks) == [(False, 3), (True, 7)]


async def test_lists_are_filtered_and_counted(
    member: Stack, admin: Stack, worker: Worker, place: dict[str, str], network: str
) -> None:
    one = await deploy(member, worker, place, name="one", networkids=network)
    two = await deploy(member, worker, place, name="two", networkids=network, startvm=False)
    keys = {one["id"], two["id"]}
    for filters, expected in (
        ({}, keys),
        ({"id": one["id"]}, {one["id"]}),
        ({"ids": ",".join(keys)}, keys),
        ({"name": "two"}, {two["id"]}),
        ({"keyword": "wo"}, {two["id"]}),
        ({"state": "Stopped"}, {two["id"]}),
        ({"state": "present"}, keys),
        ({"state": "Nonsense"}, set()),
        ({"networkid": network}, keys),
        ({"zoneid": place["zoneid"]}, keys),
        ({"zoneid": str(uuid4())}, set()),
        ({"templateid": place["templateid"]}, keys),
        ({"serviceofferingid": str(uuid4())}, set()),
        ({"tags[0].key": "a", "tags[0].value": "b"}, set()),
        ({"details": "min"}, keys),
    ):
        found = await member.call("listVirtualMachines", **filters)
        assert {each["id"] for each in found.get("virtualmachine", [])} == expected, filters
        assert found.get("count", 0) == len(expected)
    paged = await member.call("listVirtualMachines", page=1, pagesize=1)
    assert (paged["count"], len(paged["virtualmachine"])) == (2, 1)
    (seen,) = (await admin.call("listVirtualMachines", id=one["id"]))["virtualmachine"]
    assert seen["hostname"] == "host-1"
    assert (
        len((await admin.call("listVirtualMachines", listall=True, hostid=seen["hostid"]))["virtualmachine"])
        == 2
    )
    await member.refused("listVirtualMachines", 531, hostid=seen["hostid"])


@pytest.mark.parametrize("command", VERBS)
async def test_anothers_machine_is_not_found(
    command: str, member: Stack, other: Stack, worker: Worker, place: dict[str, str]
) -> None:
    made = await deploy(member, worker, place)
    said = await other.refused(command, 431, id=made["id"])
    unknown = str(uuid4())
    assert said.replace(made["id"], unknown) == await other.refused(command, 431, id=unknown)
    assert await state_of(member, made["id"]) == "Running"
    assert await other.call("listVirtualMachines", id=made["id"]) == {}
    assert await other.call("listVirtualMachines", listall=True) == {}


async def test_a_job_is_its_owners_only(
    member: Stack, other: Stack, admin: Stack, worker: Worker, place: dict[str, str]
) -> None:
    started = await member.call("deployVirtualMachine", **place)
    await other.refused("queryAsyncJobResult", 431, jobid=started["jobid"])
    await other.refused("queryAsyncJobResult", 431, resourceid=started["id"], resourcetype="VirtualMachine")
    assert await other.call("listAsyncJobs", listall=True) == {}
    await worker.idle()
    assert (await admin.call("queryAsyncJobResult", jobid=started["jobid"]))["jobstatus"] == 1
    latest = await member.call("queryAsyncJobResult", resourceid=started["id"], resourcetype="VirtualMachine")
    assert latest["jobid"] == started["jobid"]
    jobs = (await member.call("listAsyncJobs"))["asyncjobs"]
    assert started["jobid"] in {job["jobid"] for job in jobs}
    stopped = await member.call("stopVirtualMachine", id=started["id"])
    await worker.idle()
    found = (await member.call("listAsyncJobs", keyword="stopVirtual"))["asyncjobs"]
    assert [job["jobid"] for job in found] == [stopped["jobid"]]


async def test_a_job_that_fails_says_why(
    member: Stack, worker: Worker, place: dict[str, str], site: Site
) -> None:
    (hypervisor,) = site.hypervisors.values()
    hypervisor.fail("define", RuntimeError("no"))  # type: ignore[attr-defined]
    result = await member.failed(worker, "deployVirtualMachine", **place)
    assert result["errorcode"] == 530
    assert result["errortext"]


async def test_a_machine_without_a_host_says_what_kept_every_host_out(
    member: Stack, admin: Stack, worker: Worker, place: dict[str, str]
) -> None:
    wanted = {"name": "huge", "displaytext": "huge", "cpunumber": 65, "cpuspeed": 1000, "memory": 512}
    huge = (await admin.call("createServiceOffering", **wanted))["serviceoffering"]
    result = await member.failed(worker, "deployVirtualMachine", **place | {"serviceofferingid": huge["id"]})
    assert result["errorcode"] == 533
    assert result["errortext"].startswith("No valid host was found for 65 vCPU, 512 MiB memory, ")
    assert result["errortext"].endswith(
        " 1 host: 1 has fewer than 65 processors (64). It would fit with 64 vCPU instead of 65."
    )


async def test_a_listed_machine_names_its_live_job(
    member: Stack, worker: Worker, place: dict[str, str]
) -> None:
    await worker.stop()
    started = await member.call("deployVirtualMachine", **place)
    (seen,) = (await member.call("listVirtualMachines"))["virtualmachine"]
    assert (seen["jobid"], seen["jobstatus"], seen["state"]) == (started["jobid"], 0, "Starting")
    again = await member.refused("startVirtualMachine", 431, id=started["id"])
    assert started["id"] in again


async def test_names_and_details_change(member: Stack, worker: Worker, place: dict[str, str]) -> None:
    key = (await deploy(member, worker, place, name="web"))["id"]
    changed = await member.call(
        "updateVirtualMachine", id=key, displayname="shown", name="db", **{"details[0].a": "1"}
    )
    shown = changed["virtualmachine"]
    assert (shown["displayname"], shown["name"], shown["details"]) == ("shown", "db", {"a": "1"})
    assert (
        "details"
        not in (await member.call("updateVirtualMachine", id=key, cleanupdetails=True))["virtualmachine"]
    )
    await member.refused("updateVirtualMachine", 431, id=key, name="not a host name")
    await member.refused("updateVirtualMachine", 431, id=key, userdata="not base64!")


async def test_a_machine_of_a_project_is_shown_with_its_project_only(
    member: Stack, admin: Stack, other: Stack, worker: Worker, place: dict[str, str], cloud: Cloud
) -> None:
    me = system()
    project = await projects.create(cloud, me, projects.CreateProject(name="team", domain=domains.ROOT))
    await give(cloud, me, member.user.id, MEMBER, Place(Scope.PROJECT, project.id))
    made = await deploy(member, worker, place, projectid=project.id)
    assert (made["project"], made.get("account")) == ("team", None)
    assert await member.call("listVirtualMachines", listall=True) == {}
    assert await admin.call("listVirtualMachines", listall=True) == {}
    for who in (member, admin):
        for key in (project.id, -1):
            assert (await who.call("listVirtualMachines", projectid=key))["count"] == 1
        assert (await who.call("listVirtualMachines", id=made["id"]))["count"] == 1
    await other.refused("listVirtualMachines", 431, projectid=project.id)
    await other.refused("deployVirtualMachine", 431, **place, projectid=project.id)
    await member.job(worker, "stopVirtualMachine", id=made["id"])
    assert (await member.call("listProjects"))["project"][0]["vmtotal"] == 1


async def test_an_administrator_makes_things_for_others_and_nobody_else_does(
    member: Stack, admin: Stack, other: Stack, worker: Worker, place: dict[str, str]
) -> None:
    mine = {"account": "demo", "domainid": str(domains.ROOT)}
    made = await deploy(admin, worker, place, **mine)
    assert (made["account"], (await member.call("listVirtualMachines"))["count"]) == ("demo", 1)
    assert (await admin.call("listVirtualMachines", **mine))["count"] == 1
    await other.refused("deployVirtualMachine", 431, **place, **mine)
    await other.refused("listVirtualMachines", 431, **mine)


async def test_a_console_opens_once_for_its_owner(
    member: Stack, other: Stack, worker: Worker, place: dict[str, str]
) -> None:
    key = (await deploy(member, worker, place))["id"]
    seen = (await member.call("createConsoleEndpoint", virtualmachineid=key))["consoleendpoint"]
    assert seen["success"] is True
    assert seen["url"] == f"http://cloud.test/console/vnc?token={seen['websocket']['token']}"
    await other.refused("createConsoleEndpoint", 431, virtualmachineid=key)
    await member.job(worker, "stopVirtualMachine", id=key)
    await member.refused("createConsoleEndpoint", 431, virtualmachineid=key)


async def test_key_pairs(member: Stack, other: Stack) -> None:
    made = (await member.call("createSSHKeyPair", name="mine"))["keypair"]
    assert made["privatekey"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    await member.refused("createSSHKeyPair", 431, name="mine")
    await member.refused("registerSSHKeyPair", 431, name="bad", publickey="nonsense")
    (listed,) = (await member.call("listSSHKeyPairs"))["sshkeypair"]
    assert (listed["name"], listed["fingerprint"], listed["account"]) == ("mine", made["fingerprint"], "demo")
    assert await other.call("listSSHKeyPairs", listall=True) == {}
    await other.refused("deleteSSHKeyPair", 431, name="mine")
    assert await member.call("deleteSSHKeyPair", name="mine") == {"success": True}
    assert await member.call("listSSHKeyPairs") == {}


async def test_offerings_are_made_by_administrators_only(admin: Stack, member: Stack) -> None:
    want = {"name": "huge", "displaytext": "Huge", "cpunumber": 8, "memory": 4096, "cpuspeed": 2000}
    assert COMMANDS["createServiceOffering"].allows("User") is False
    await member.refused("createServiceOffering", 432, **want)
    made = (await admin.call("createServiceOffering", **want))["serviceoffering"]
    assert (made["cpunumber"], made["memory"], made["cpuspeed"]) == (8, 4096, 2000)
    assert (await member.call("listServiceOfferings", id=made["id"]))["count"] == 1
    await admin.call("updateServiceOffering", id=made["id"], name="vast", state="Inactive")
    assert await member.call("listServiceOfferings", id=made["id"]) == {}
    assert await admin.call("deleteServiceOffering", id=made["id"]) == {"success": True}
    assert await admin.call("listServiceOfferings", name="vast") == {}
    await admin.refused("createServiceOffering", 431, **want | {"memory": 0})


async def test_the_quota_is_refused_in_cloudstacks_code(
    member: Stack, place: dict[str, str], cloud: Cloud
) -> None:
    from pileus.core.quota import Limit

    async with cloud.transaction() as tx:
        await tx.rows.put(Limit(project=member.account.id, resource="servers", limit=0))
    await member.refused("deployVirtualMachine", 535, **place)
    limits = (await member.call("listResourceLimits", resourcetype=0))["resourcelimit"]
    assert [(each["max"], each["resourcetypename"]) for each in limits] == [(0, "user_vm")]


async def test_bad_wishes_make_nothing(member: Stack, place: dict[str, str], network: str) -> None:
    for code, more in (
        (431, {"networkids": str(uuid4())}),
        (431, {"ipaddress": "10.9.0.9"}),
        (431, {"networkids": network, "ipaddress": "192.0.2.1"}),
        (431, {"keypair": "unknown"}),
        (431, {"keypairs": "a,b"}),
        (431, {"userdata": "%%%"}),
        (431, {"rootdisksize": 0}),
        (431, {"diskofferingid": str(uuid4())}),
        (431, {"securitygroupids": str(uuid4())}),
        (431, {"iptonetworklist[0].networkid": "nonsense"}),
        (431, {"iptonetworklist[0].networkid": network, "networkids": network}),
        (531, {"hostid": str(uuid4())}),
    ):
        await member.refused("deployVirtualMachine", code, **place, **more)
    assert await member.call("listVirtualMachines") == {}
    assert await member.call("listAsyncJobs") == {}
