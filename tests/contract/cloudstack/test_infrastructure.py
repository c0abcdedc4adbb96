"""Places, accounts, domains, projects, events and what the cloud says of itself."""

from typing import Any
from uuid import uuid4

import pytest

from pileus.core.caller import MANAGER, system
from pileus.core.cloud import Cloud
from pileus.core.identity import domains
from pileus.core.identity.authorization.assignments import Place
from pileus.core.identity.records import Scope
from pileus.faces.cloudstack.catalogue import CATALOGUE
from pileus.faces.cloudstack.commands import COMMANDS
from pileus.faces.cloudstack.event_words import known_types
from pileus.faces.wire import Kernel
from pileus.workflows.worker import Worker
from tests.contract.cloudstack.conftest import Stack, account, give, stack

PLACES = ("listZones", "listPods", "listClusters", "listHosts", "listStoragePools", "listImageStores")


@pytest.mark.parametrize("command", PLACES)
async def test_places_are_listed_by_id_name_and_keyword(command: str, admin: Stack) -> None:
    key = COMMANDS[command].object
    (one,) = (await admin.call(command))[key]
    for filters, count in (
        ({"id": one["id"]}, 1),
        ({"id": str(uuid4())}, 0),
        ({"name": one["name"]}, 1),
        ({"name": "nowhere"}, 0),
        ({"keyword": one["name"][1:-1]}, 1),
        ({"keyword": "%"}, 0),
    ):
        found = await admin.call(command, **filters)
        assert len(found.get(key, [])) == count, filters
    if command != "listZones":
        assert (await admin.call(command, zoneid=one["zoneid"]))["count"] == 1
        assert await admin.call(command, zoneid=str(uuid4())) == {}


async def test_users_see_zones_and_nothing_below_them(member: Stack) -> None:
    assert (await member.call("listZones"))["count"] == 1
    for command in PLACES[1:]:
        await member.refused(command, 432)


async def test_hosts_say_what_they_have(admin: Stack) -> None:
    (host,) = (await admin.call("listHosts", type="Routing"))["host"]
    assert (host["state"], host["resourcestate"], host["hypervisor"]) == ("Up", "Enabled", "Simulator")
    for filters in ({"state": "Down"}, {"type": "SecondaryStorageVM"}, {"hypervisor": "VMware"}):
        assert await admin.call("listHosts", **filters) == {}
    assert (await admin.call("listHypervisors"))["hypervisor"] == [{"name": "Simulator"}]
    assert (await admin.call("listRegions"))["region"][0]["id"] == 1


async def test_an_operating_system_belongs_to_a_category(member: Stack) -> None:
    categories = (await member.call("listOsCategories"))["oscategory"]
    types = (await member.call("listOsTypes"))["ostype"]
    assert {each["oscategoryid"] for each in types} == {each["id"] for each in categories}
    debian = next(each["id"] for each in categories if each["name"] == "Debian")
    inside = (await member.call("listOsTypes", oscategoryid=debian))["ostype"]
    assert inside
    assert all("Debian" in each["name"] for each in inside)


async def test_a_user_sees_its_account_and_an_administrator_all(
    member: Stack, admin: Stack, other: Stack
) -> None:
    (own,) = (await member.call("listAccounts", listall=True))["account"]
    assert (own["name"], own["accounttype"], own["roletype"], own["domainpath"]) == (
        "demo",
        0,
        "User",
        "ROOT",
    )
    assert [user["username"] for user in own["user"]] == ["demo"]
    every = (await admin.call("listAccounts", listall=True))["account"]
    assert {each["name"] for each in every} == {"admin", "demo", "other"}
    (root,) = (await admin.call("listAccounts", accounttype=1, listall=True))["account"]
    assert root["name"] == "admin"
    await member.refused("listAccounts", 431, id=other.account.id)
    assert {user["username"] for user in (await member.call("listUsers", listall=True))["user"]} == {"demo"}
    assert (await admin.call("listUsers", listall=True))["count"] == 3
    await member.refused("listUsers", 531, id=other.user.id)


async def test_keys_are_renewed_and_the_old_ones_end(member: Stack, other: Stack, admin: Stack) -> None:
    shown = (await member.call("getUserKeys", id=member.user.id))["userkeys"]
    assert (shown["apikey"], shown["secretkey"]) == (member.key, member.secret)
    await other.refused("getUserKeys", 431, id=member.user.id)
    await other.refused("registerUserKeys", 531, id=member.user.id)
    found = (await admin.call("getUser", userapikey=member.key))["user"]
    assert found["username"] == "demo"
    await admin.refused("getUser", 431, userapikey="nobody")
    made = (await member.call("registerUserKeys", id=member.user.id))["userkeys"]
    await member.refused("listZones", 401)
    renewed = Stack(member.app, made["apikey"], made["secretkey"], member.user, member.account)  # type: ignore[arg-type]
    await renewed.call("listZones")


async def test_the_root_domain_is_ROOT_and_others_are_below_it(
    admin: Stack, member: Stack, cloud: Cloud
) -> None:
    me = system()
    sales = await domains.create(cloud, me, domains.CreateDomain(name="sales"))
    emea = await domains.create(cloud, me, domains.CreateDomain(name="emea", parent=sales.id))
    found = {each["path"]: each for each in (await admin.call("listDomains"))["domain"]}
    assert found.keys() == {"ROOT", "ROOT/sales", "ROOT/sales/emea"}
    assert (found["ROOT"]["id"], found["ROOT"]["level"], found["ROOT"]["haschild"]) == (
        str(domains.ROOT),
        0,
        True,
    )
    deep = found["ROOT/sales/emea"]
    assert (deep["id"], deep["parentdomainname"], deep["level"], deep["haschild"]) == (
        str(emea.id), "sales", 2, False,
    )  # fmt: skip
    await member.refused("listDomains", 432)


async def test_a_domains_manager_sees_and_acts_on_what_is_in_it(
    kernel: Kernel, cloud: Cloud, admin: Stack, member: Stack, worker: Worker, place: dict[str, str]
) -> None:
    me = system()
    sales = await domains.create(cloud, me, domains.CreateDomain(name="sales"))
    boss, _ = await account(cloud, "boss", sales.id)
    await account(cloud, "clerk", sales.id)
    await give(cloud, me, boss.id, MANAGER, Place(Scope.DOMAIN, sales.id))
    manager, clerk = await stack(kernel, cloud, "boss"), await stack(kernel, cloud, "clerk")
    mine = (await clerk.job(worker, "deployVirtualMachine", **place))["virtualmachine"]
    theirs = (await member.job(worker, "deployVirtualMachine", **place))["virtualmachine"]
    assert mine["domainpath"] == "ROOT/sales"
    assert await manager.call("listVirtualMachines") == {}
    for scope in (
        {"listall": True},
        {"domainid": sales.id},
        {"account": "clerk", "domainid": sales.id},
        {"id": mine["id"]},
    ):
        (seen,) = (await manager.call("listVirtualMachines", **scope))["virtualmachine"]
        assert seen["id"] == mine["id"]
    assert await manager.call("listVirtualMachines", id=theirs["id"]) == {}
    await manager.refused("listVirtualMachines", 431, domainid=domains.ROOT)
    await manager.refused("stopVirtualMachine", 431, id=theirs["id"])
    await manager.job(worker, "stopVirtualMachine", id=mine["id"])
    (role,) = (await manager.call("listAccounts"))["account"]
    assert (role["roletype"], role["accounttype"]) == ("DomainAdmin", 2)
    assert [each["name"] for each in (await manager.call("listDomains"))["domain"]] == ["sales"]
    assert (await admin.call("listVirtualMachines", domainid=domains.ROOT, isrecursive=True))["count"] == 2
    assert (await admin.call("listVirtualMachines", domainid=domains.ROOT))["count"] == 1


async def test_events_tell_a_machines_life(
    member: Stack, other: Stack, worker: Worker, place: dict[str, str]
) -> None:
    key = (await member.job(worker, "deployVirtualMachine", **place))["virtualmachine"]["id"]
    await member.job(worker, "stopVirtualMachine", id=key)
    await member.job(worker, "startVirtualMachine", id=key)
    events = (await member.call("listEvents", resourceid=key))["event"]
    told = [event["type"] for event in reversed(events) if event["state"] == "Started"]
    assert told == ["VM.CREATE", "VM.STOP", "VM.START"]
    for name in told:
        (one,) = (await member.call("listEvents", resourceid=key, type=name, state="Started"))["event"]
        assert one["username"] == "demo"
        assert (await member.call("listEvents", id=one["id"]))["event"] == [one]
        assert await other.call("listEvents", id=one["id"]) == {}
    assert await member.call("listEvents", type="NO.SUCH") == {}
    assert await member.call("listEvents", startdate="2999-01-01") == {}
    assert (await member.call("listEvents", resourceid=key, startdate="2001-01-01 10:00:00"))["count"] == len(
        events
    )


def test_types_of_events_are_cloudstacks() -> None:
    assert known_types() - set(CATALOGUE.facts.event_types) == set()


async def test_types_and_capabilities_are_told(member: Stack) -> None:
    assert (await member.call("listEventTypes"))["count"] > 30
    shown: dict[str, Any] = (await member.call("listCapabilities"))["capability"]
    assert shown["cloudstackversion"] == CATALOGUE.version
    limits = (await member.call("listResourceLimits"))["resourcelimit"]
    assert {each["resourcetype"] for each in limits} == {
        str(n) for n in CATALOGUE.facts.resource_types.values()
    }
