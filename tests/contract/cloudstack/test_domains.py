"""Domains of CloudStack: a tree that its managers shape, and that goes with all that is in it."""

from typing import Any

import pytest

from pileus.core.cloud import Cloud
from pileus.core.identity.records import Domain, Project, User
from pileus.core.invariants import violations
from pileus.core.operations import LIVE, Operation
from pileus.workflows.worker import Worker
from tests.contract.cloudstack.both import asked, deploy, kernel, network
from tests.contract.cloudstack.conftest import Stack
from tests.contract.cloudstack.visitors import account_of, client, domain, made
from tests.contract.openstack.conftest import Person, person

__all__ = ["deploy", "kernel"]


async def names(who: Stack, command: str, **params: Any) -> list[str]:
    return [each["name"] for each in (await who.call(command, **params)).get("domain", [])]


async def test_a_domain_has_its_place_in_the_tree(admin: Stack) -> None:
    (root,) = (await admin.call("listDomains", level=0))["domain"]
    assert (root["name"], root["path"], root["haschild"]) == ("ROOT", "ROOT", False)
    sales = await domain(admin, "sales", networkdomain="sales.example")
    emea = await domain(admin, "emea", parentdomainid=sales["id"])
    assert (emea["path"], emea["level"], emea["parentdomainname"]) == ("ROOT/sales/emea", 2, "sales")
    assert (sales["networkdomain"], sales["parentdomainid"], sales["state"]) == (
        "sales.example",
        root["id"],
        "Active",
    )
    (again,) = (await admin.call("listDomains", id=sales["id"]))["domain"]
    assert again["haschild"]


async def test_what_cannot_be_a_domain_is_refused(admin: Stack) -> None:
    sales = await domain(admin, "sales")
    assert "already exists" in await admin.refused("createDomain", 431, name="sales")
    for wrong in ({"name": "a/b"}, {"name": " "}, {"name": "x", "networkdomain": "-x"}):
        await admin.refused("createDomain", 431, **wrong)
    await admin.refused("createDomain", 431, name="x", domainid="17")
    chosen = "0d4f3c38-1c3e-4c9c-9a51-fd6f9f3e2f11"
    assert (await domain(admin, "mine", domainid=chosen))["id"] == chosen
    await admin.refused("updateDomain", 431, id=sales["parentdomainid"], name="top")


async def test_a_domain_is_renamed_and_moved_with_what_is_below(admin: Stack) -> None:
    sales, care = await domain(admin, "sales"), await domain(admin, "care")
    emea = await domain(admin, "emea", parentdomainid=sales["id"])
    done = await admin.call("updateDomain", id=sales["id"], name="trade", networkdomain="trade.example")
    assert (done["domain"]["path"], done["domain"]["networkdomain"]) == ("ROOT/trade", "trade.example")
    moved = await admin.call("moveDomain", domainid=sales["id"], parentdomainid=care["id"])
    assert moved["domain"]["path"] == "ROOT/care/trade"
    (below,) = (await admin.call("listDomains", id=emea["id"]))["domain"]
    assert below["path"] == "ROOT/care/trade/emea"
    root = care["parentdomainid"]
    for place in (
        {"domainid": root, "parentdomainid": care["id"]},
        {"domainid": care["id"], "parentdomainid": emea["id"]},
        {"domainid": care["id"], "parentdomainid": care["id"]},
        {"domainid": care["id"], "parentdomainid": root},
    ):
        await admin.refused("moveDomain", 431, **place)


async def test_lists_say_what_is_there_and_below(admin: Stack) -> None:
    sales = await domain(admin, "sales")
    emea = await domain(admin, "emea", parentdomainid=sales["id"])
    await domain(admin, "bonn", parentdomainid=emea["id"])
    assert await names(admin, "listDomains", listall=True) == ["ROOT", "sales", "emea", "bonn"]
    assert await names(admin, "listDomains", level=2) == ["emea"]
    assert await names(admin, "listDomains", name="bonn") == ["bonn"]
    assert await names(admin, "listDomains", keyword="o", page=1, pagesize=1) == ["ROOT"]
    assert await names(admin, "listDomainChildren") == ["sales"]
    assert await names(admin, "listDomainChildren", isrecursive=True) == ["sales", "emea", "bonn"]
    assert await names(admin, "listDomainChildren", id=emea["id"], name="on") == ["bonn"]
    both = await admin.call("listDomainChildren", isrecursive=True, page=2, pagesize=2)
    assert (both["count"], both["domain"][0]["name"]) == (3, "bonn")


async def test_a_domains_administrator_shapes_what_is_below_and_sees_nothing_else(admin: Stack) -> None:
    sales, care = await domain(admin, "sales"), await domain(admin, "care")
    boss = await client(admin, await made(admin, "boss", accounttype=2, domainid=sales["id"]))
    assert await names(boss, "listDomains") == ["sales"]
    emea = await domain(boss, "emea", parentdomainid=sales["id"])
    assert await names(boss, "listDomains", listall=True) == ["sales", "emea"]
    assert await names(boss, "listDomainChildren", isrecursive=True) == ["emea"]
    for command, params in (
        ("listDomains", {"id": care["id"]}),
        ("listDomainChildren", {"id": care["id"]}),
        ("createDomain", {"name": "x", "parentdomainid": care["id"]}),
        ("deleteDomain", {"id": care["id"]}),
    ):
        assert "care" not in await boss.refused(command, 431, **params)
    await boss.refused("deleteDomain", 531, id=sales["id"])
    await boss.call("deleteDomain", id=emea["id"])


async def test_a_domain_with_something_in_it_needs_cleanup(
    admin: Stack, worker: Worker, cloud: Cloud, openstack_admin: Person
) -> None:
    sales = await domain(admin, "sales")
    emea = await domain(admin, "emea", parentdomainid=sales["id"])
    account = await made(admin, "ann", domainid=emea["id"])
    body = {"project": {"name": "loose", "domain_id": emea["id"].replace("-", "")}}
    await asked(openstack_admin, "POST", "/identity/v3/projects", body)
    body = {"user": {"name": "lone", "domain_id": emea["id"].replace("-", "")}}
    await asked(openstack_admin, "POST", "/identity/v3/users", body)
    text = await admin.refused("deleteDomain", 536, id=sales["id"])
    assert "2 accounts and projects" in text
    ann = await client(admin, account)
    volume = await with_volume(ann, worker)
    await admin.job(worker, "deleteDomain", id=sales["id"], cleanup=True)
    async with cloud.view() as look:
        assert [held.name for held in await look.list(Domain)] == ["Default"]
        assert not await look.count(Project, name=("ann", "loose"))
        assert not await look.count(User, name=("ann", "lone"))
        assert not await look.count(Operation, outcome=tuple(LIVE))
    assert await violations(cloud) == []
    assert (await ann.ask("listZones")).status == 401
    assert volume


async def with_volume(who: Stack, worker: Worker) -> str:
    zone = (await who.call("listZones"))["zone"][0]["id"]
    offering = (await who.call("listDiskOfferings"))["diskoffering"][0]
    size = {"size": 1} if offering.get("iscustomized") else {}
    done = await who.job(
        worker, "createVolume", name="data", zoneid=zone, diskofferingid=offering["id"], **size
    )
    return str(done["volume"]["id"])


async def test_an_empty_domain_goes_by_itself_and_root_never(admin: Stack, worker: Worker) -> None:
    sales = await domain(admin, "sales")
    await admin.refused("deleteDomain", 531, id=sales["parentdomainid"])
    await admin.job(worker, "deleteDomain", id=sales["id"])
    await admin.refused("listDomains", 431, id=sales["id"])


async def test_both_apis_show_one_tree(admin: Stack, openstack_admin: Person) -> None:
    sales = await domain(admin, "sales")
    key = sales["id"].replace("-", "")
    shown = (await asked(openstack_admin, "GET", f"/identity/v3/domains/{key}"))["domain"]
    assert (shown["name"], shown["enabled"]) == ("sales", True)
    account = await made(admin, "ann", domainid=sales["id"])
    ann = await client(admin, account)
    await ann.call("listZones")
    body = {"domain": {"enabled": False}}
    await asked(openstack_admin, "PATCH", f"/identity/v3/domains/{key}", body)
    assert (await ann.ask("listZones")).status == 401
    (seen,) = (await admin.call("listDomains", id=sales["id"]))["domain"]
    assert seen["state"] == "Inactive"
    assert (await account_of(admin, account["id"]))["domainid"] == sales["id"]


@pytest.fixture
async def openstack_admin(kernel: Any, cloud: Cloud) -> Person:
    return await person(kernel, cloud, "admin")


async def test_networks_inherit_the_network_domain(admin: Stack) -> None:
    sales = await domain(admin, "sales", networkdomain="sales.example")
    emea = await domain(admin, "emea", parentdomainid=sales["id"])
    ann = await client(admin, await made(admin, "ann", domainid=emea["id"]))
    assert (await network(ann))["networkdomain"] == "sales.example"
    bob = await client(admin, await made(admin, "bob", domainid=emea["id"], networkdomain="bob.example"))
    assert (await network(bob))["networkdomain"] == "bob.example"
    assert (await network(bob, networkdomain="own.example"))["networkdomain"] == "own.example"
