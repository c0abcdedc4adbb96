"""Limits by the tags that offerings demand of a host: set, charged with the machine, shown, recounted."""

from typing import Any

import msgspec
import pytest

from pileus.core import uses
from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.faces.cloudstack.limits import HOST_TAGGED, STORAGE_TAGGED, kinds
from pileus.workflows.worker import Worker
from tests.contract.cloudstack.conftest import Stack
from tests.contract.cloudstack.people import People, people

__all__ = ["people"]

USER_VM, CPU, MEMORY, VOLUME, NETWORK = (
    kinds()[name] for name in ("user_vm", "cpu", "memory", "volume", "network")
)


@pytest.fixture(autouse=True)
def tags(cloud: Cloud) -> None:
    cloud.config = msgspec.structs.replace(cloud.config, resource_limit_host_tags=("gpu", "fast"))


@pytest.fixture
async def offering(admin: Stack) -> dict[str, str]:
    """Of machines that need a host with both tags."""
    want = {"cpunumber": 2, "cpuspeed": 500, "memory": 256, "hosttags": "gpu,fast"}
    made = await admin.call("createServiceOffering", name="g", displaytext="g", **want)
    (host,) = (await admin.call("listHosts", type="Routing"))["host"]
    await admin.call("updateHost", id=host["id"], hosttags="gpu,fast")
    return {"serviceofferingid": made["serviceoffering"]["id"]}


def of(held: Stack) -> dict[str, str]:
    return {"account": held.account.name, "domainid": str(held.account.domain)}


async def shown(who: Stack, tag: str, **params: Any) -> dict[str, tuple[int, int, int]]:
    """(limit, total, available) of the caller's account, by kind."""
    (account,) = (await who.call("listAccounts", tag=tag, **params))["account"]
    found = account.get("taggedresources", [])
    assert {each["tag"] for each in found} <= {tag}
    return {each["resourcetypename"]: (each["limit"], each["total"], each["available"]) for each in found}


async def exact(cloud: Cloud) -> bool:
    return await uses.verify(cloud, system()) == []


async def test_a_limit_by_tag_holds_for_machines_whose_offering_has_the_tag(
    admin: Stack, member: Stack, worker: Worker, place: dict[str, str], offering: dict[str, str], cloud: Cloud
) -> None:
    update = {**of(member), "resourcetype": USER_VM}
    (limit,) = [(await admin.call("updateResourceLimit", **update, max=1, tag="gpu"))["resourcelimit"]]
    assert (limit["tag"], limit["max"], limit["resourcetypename"]) == ("gpu", 1, "user_vm")
    await member.job(worker, "deployVirtualMachine", name="a", **place)
    first = await member.job(worker, "deployVirtualMachine", name="b", **{**place, **offering})
    text = await member.refused("deployVirtualMachine", 535, name="c", **{**place, **offering})
    assert "servers with the tag gpu is 1: 1 are used" in text
    await member.job(worker, "deployVirtualMachine", name="d", **place)
    assert (await shown(member, "gpu"))["user_vm"] == (1, 1, 0)
    assert (await shown(member, "gpu"))["cpu"][1] == (await shown(member, "fast"))["cpu"][1] == 2
    assert (await shown(member, "fast"))["memory"][1] == 256
    assert await exact(cloud)
    await member.job(worker, "destroyVirtualMachine", id=first["virtualmachine"]["id"], expunge=True)
    assert (await shown(member, "gpu"))["user_vm"] == (1, 0, 1)
    assert await exact(cloud)
    await member.call("deployVirtualMachine", name="e", **{**place, **offering})


async def test_a_limit_by_tag_of_a_domain_is_on_the_sum_below_it(
    people: People, place: dict[str, str], offering: dict[str, str], worker: Worker, cloud: Cloud
) -> None:
    admin, user, neighbour = people["Admin"], people["User"], people["Neighbour"]
    sales = str(user.account.domain)
    await user.job(worker, "deployVirtualMachine", name="a", **{**place, **offering})
    await admin.call("updateResourceLimit", domainid=sales, resourcetype=CPU, max=3, tag="gpu")
    assert await exact(cloud)
    text = await neighbour.refused("deployVirtualMachine", 535, name="b", **{**place, **offering})
    assert "vcpus with the tag gpu of domain sales, with all below it, is 3: 2 are used" in text
    (found,) = (await admin.call("listDomains", id=sales, tag="gpu"))["domain"]
    cpu = next(each for each in found["taggedresources"] if each["resourcetypename"] == "cpu")
    assert (cpu["limit"], cpu["total"], cpu["available"]) == (3, 2, 1)
    elsewhere = (await admin.call("createDomain", name="over"))["domain"]["id"]
    await admin.call("updateResourceLimit", domainid=elsewhere, resourcetype=MEMORY, max=300, tag="fast")
    await admin.call("moveDomain", domainid=sales, parentdomainid=elsewhere)
    assert await exact(cloud)
    await neighbour.refused("deployVirtualMachine", 535, name="b", **{**place, **offering})


async def test_lists_show_the_tags_of_the_settings_and_of_the_question(
    admin: Stack, member: Stack, cloud: Cloud
) -> None:
    await admin.call("updateResourceLimit", **of(member), resourcetype=USER_VM, max=7)

    async def listed(**params: Any) -> list[tuple[str, str, int]]:
        found = (await member.call("listResourceLimits", **params))["resourcelimit"]
        return [(each["resourcetypename"], each.get("tag", ""), each["max"]) for each in found]

    every = await listed()
    assert {(name, tag) for name, tag, _ in every if tag} == {
        (name, tag) for name in HOST_TAGGED for tag in ("fast", "gpu")
    }
    # Without a limit of its own a tag has the limit without it.
    assert await listed(resourcetype=USER_VM) == [
        ("user_vm", "", 7),
        ("user_vm", "fast", 7),
        ("user_vm", "gpu", 7),
    ]
    assert await listed(resourcetype=USER_VM, tag="gpu") == [("user_vm", "", 7), ("user_vm", "gpu", 7)]
    assert await listed(resourcetype=USER_VM, tag="nothing") == [("user_vm", "", 7)]
    assert await listed(resourcetypename="volume", tag="gpu") == [("volume", "", 100)]
    assert await shown(member, "nothing") == {}
    cloud.config = msgspec.structs.replace(cloud.config, resource_limit_host_tags=())
    assert not [tag for _, tag, _ in await listed() if tag]
    assert "taggedresources" not in (await member.call("listAccounts"))["account"][0]


async def test_counts_by_tag_are_recounted(
    admin: Stack, member: Stack, worker: Worker, place: dict[str, str], offering: dict[str, str], cloud: Cloud
) -> None:
    await member.job(worker, "deployVirtualMachine", name="a", **{**place, **offering})

    async def counted(**params: Any) -> dict[tuple[str, str], int]:
        found = (await admin.call("updateResourceCount", **params))["resourcecount"]
        return {(each["resourcetypename"], each.get("tag", "")): each["resourcecount"] for each in found}

    for holder in (of(member), {"domainid": str(member.account.domain)}):
        every = await counted(**holder)
        assert (every["user_vm", ""], every["user_vm", "gpu"], every["memory", "fast"]) == (1, 1, 256)
        assert ("volume", "gpu") not in every
        assert await counted(**holder, resourcetype=CPU, tag="gpu") == {("cpu", "gpu"): 2}
        await admin.refused("updateResourceCount", 431, **holder, resourcetype=NETWORK, tag="gpu")
    async with cloud.transaction() as tx:
        await tx.charge(member.account.id, "servers@gpu", 5)
        await tx.charge(member.account.id, "servers@other", 5)
    assert not await exact(cloud)
    assert (await counted(**of(member)))["user_vm", "gpu"] == 1
    assert await exact(cloud)


@pytest.mark.parametrize(
    ("params", "text"),
    [
        (
            {"resourcetype": NETWORK, "tag": "gpu"},
            "Resource limit with a tag is not supported for resource type",
        ),
        ({"resourcetype": VOLUME, "tag": "gpu"}, "nothing here that a limit of volume with the tag gpu"),
        (
            {"resourcetype": USER_VM, "tag": "nothing"},
            "nothing here that a limit of user_vm with the tag nothing",
        ),
        (
            {"resourcetype": USER_VM, "tag": "gpu", "max": 101},
            "Maximum untagged resource limit for account demo",
        ),
    ],
    ids=["no tags at all", "no tags of disks", "unknown tag", "above the limit without it"],
)
async def test_what_no_limit_by_tag_can_be_is_refused(
    admin: Stack, member: Stack, params: dict[str, Any], text: str
) -> None:
    assert text in await admin.refused("updateResourceLimit", 431, **{**of(member), "max": 1, **params})
    await member.refused("updateResourceLimit", 432, **{**of(member), "max": 1, **params})


async def test_a_domains_administrator_gives_no_more_than_the_domain_may(people: People) -> None:
    admin, boss, user = people["Admin"], people["DomainAdmin"], people["User"]
    sales = str(user.account.domain)
    await admin.call("updateResourceLimit", domainid=sales, resourcetype=USER_VM, max=3, tag="gpu")
    await admin.refused("updateResourceLimit", 431, domainid=sales, resourcetype=99, max=3, tag="gpu")
    gpu = {"resourcetype": USER_VM, "tag": "gpu"}
    await boss.refused("updateResourceLimit", 431, **of(user), **gpu, max=4)
    await boss.call("updateResourceLimit", **of(user), **gpu, max=3)
    assert set(STORAGE_TAGGED) == {"volume", "primary_storage"}
