"""Icons of objects: who may give them, where they are shown, and that they go with their object."""

import base64
from typing import Any

import pytest

from pileus.core.cloud import Cloud
from pileus.core.icons import Icon
from pileus.workflows.worker import Worker
from tests.contract.cloudstack.both import kernel
from tests.contract.cloudstack.conftest import Stack
from tests.contract.cloudstack.people import People, people
from tests.contract.cloudstack.visitors import domain, made

__all__ = ["kernel", "people"]

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
GIF = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + b"\0" * 20 + b"\xff\xd9").decode()
NOWHERE = "00000000-0000-4000-8000-00000000dead"


async def count(cloud: Cloud) -> int:
    async with cloud.view() as look:
        return await look.count(Icon)


def sent(kind: str, *keys: Any, image: str = PNG) -> dict[str, str]:
    return {"resourcetype": kind, "resourceids": ",".join(map(str, keys)), "base64image": image}


async def test_an_icon_is_uploaded_replaced_listed_and_taken_away(
    admin: Stack, member: Stack, cloud: Cloud
) -> None:
    named = {"resourcetype": "account", "resourceids": str(member.account.id)}
    assert await member.call("listResourceIcon", **named) == {}
    for image in (PNG, JPEG, GIF, PNG):
        assert await member.call("uploadResourceIcon", **named, base64image=image) == {"success": True}
        listed = await member.call("listResourceIcon", **named)
        assert listed["icon"] == [
            {"resourcetype": "Account", "resourceid": str(member.account.id), "base64image": image}
        ]
    shown = (await member.call("listAccounts", showicon=True))["account"][0]
    assert shown["icon"]["base64image"] == PNG
    assert "icon" not in (await member.call("listAccounts"))["account"][0]
    # A user without an icon is shown with its account's.
    (user,) = (await member.call("listUsers", showicon=True))["user"]
    assert user["icon"]["resourcetype"] == "Account"
    assert await member.call("deleteResourceIcon", **named) == {"success": True}
    await member.refused("deleteResourceIcon", 431, **named)
    assert await count(cloud) == 0
    for kind, number in (("UPLOAD.RESOURCE.ICON", 4), ("DELETE.RESOURCE.ICON", 4)):
        found = await admin.call("listEvents", type=kind, listall=True)
        assert found["count"] == number
        assert PNG not in str(found)


@pytest.mark.parametrize(
    "image",
    ["", "x", "%%%%", base64.b64encode(b"<svg/>").decode(), PNG[:40], base64.b64encode(b"BM\0\0").decode()],
    ids=["nothing", "no base64", "other letters", "svg", "half a picture", "no whole bitmap"],
)
async def test_what_is_no_picture_is_refused(member: Stack, cloud: Cloud, image: str) -> None:
    await member.refused("uploadResourceIcon", 431, **sent("Account", member.account.id, image=image))
    assert await count(cloud) == 0


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("Volume", "doesn't support resource icons"),
        ("Vpc", "Unable to find resource by uuid"),
        ("Nonsense", "Invalid resource type Nonsense"),
        ("GuestOsCategory", "resourceids"),
        ("Zone", "resourceids"),
        ("UserVm", "resourceids"),
        ("Domain", "resourceids"),
    ],
)
async def test_types_without_icons_and_unknown_objects_are_refused(
    admin: Stack, cloud: Cloud, kind: str, text: str
) -> None:
    assert text in await admin.refused("uploadResourceIcon", 431, **sent(kind, NOWHERE))
    assert await count(cloud) == 0


async def test_all_of_several_objects_get_it_or_none(admin: Stack, cloud: Cloud) -> None:
    await admin.refused("uploadResourceIcon", 431, **sent("Account", admin.account.id, NOWHERE))
    assert await count(cloud) == 0
    ann = await made(admin, "ann")
    await admin.call("uploadResourceIcon", **sent("Account", admin.account.id, ann["id"]))
    listed = await admin.call("listResourceIcon", **sent("Account", ann["id"], NOWHERE, admin.account.id))
    assert listed["count"] == 2


async def test_only_who_may_change_an_object_gives_it_an_icon(people: People, cloud: Cloud) -> None:
    user, other = people["User"], people["Neighbour"]
    own = sent("Account", user.account.id)
    for who, code in (("Neighbour", 431), ("Stranger", 431)):
        await people[who].refused("uploadResourceIcon", code, **own)
        await people[who].refused("uploadResourceIcon", code, **sent("User", user.user.id))
    for who in ("User", "DomainAdmin", "Admin"):
        await people[who].call("uploadResourceIcon", **own)
        await people[who].call("uploadResourceIcon", **sent("User", user.user.id))
    await other.refused("deleteResourceIcon", 431, **own)
    assert await other.call("listResourceIcon", **own) == {}
    assert await other.call("listResourceIcon", **sent("User", user.user.id)) == {}
    assert (await people["DomainAdmin"].call("listResourceIcon", **own))["count"] == 1
    sales = sent("Domain", user.user.domain)
    await user.refused("uploadResourceIcon", 531, **sales)
    await people["Stranger"].refused("uploadResourceIcon", 431, **sales)
    await people["DomainAdmin"].call("uploadResourceIcon", **sales)
    zone = sent("Zone", (await user.call("listZones"))["zone"][0]["id"])
    for who in ("User", "DomainAdmin"):
        await people[who].refused("uploadResourceIcon", 531, **zone)
    await people["Admin"].call("uploadResourceIcon", **zone)
    assert (await user.call("listZones", showicon=True))["zone"][0]["icon"]["resourcetype"] == "Zone"


async def test_icons_of_identity_go_with_their_objects(admin: Stack, worker: Worker, cloud: Cloud) -> None:
    sales = await domain(admin, "sales")
    account = await made(admin, "ann", domainid=sales["id"])
    project = (await admin.job(worker, "createProject", name="p"))["project"]["id"]
    key = account["user"][0]["id"]
    for kind, subject, command, name in (
        ("Domain", sales["id"], "listDomains", "domain"),
        ("Account", account["id"], "listAccounts", "account"),
        ("User", key, "listUsers", "user"),
        ("Project", project, "listProjects", "project"),
    ):
        await admin.call("uploadResourceIcon", **sent(kind, subject))
        (found,) = (await admin.call(command, id=subject, listall=True, showicon=True))[name]
        assert found["icon"]["resourceid"] == subject
    (child,) = (await admin.call("listDomainChildren", showicon=True))["domain"]
    assert child["icon"]["resourcetype"] == "Domain"
    await admin.call("deleteProject", id=project)
    await admin.call("deleteUser", id=key)
    await worker.idle()
    assert await count(cloud) == 2
    await admin.job(worker, "deleteDomain", id=sales["id"], cleanup=True)
    assert await count(cloud) == 0


async def test_a_machine_shows_its_own_icon_or_its_templates_or_its_systems(
    admin: Stack, member: Stack, worker: Worker, place: dict[str, str], cloud: Cloud
) -> None:
    server = (await member.job(worker, "deployVirtualMachine", name="web", **place))["virtualmachine"]["id"]

    async def icon(who: Stack = member) -> str:
        (found,) = (await who.call("listVirtualMachines", showicon=True))["virtualmachine"]
        return str(found.get("icon", {}).get("resourcetype", ""))

    assert await icon() == ""
    categories = (await admin.call("listOsCategories"))["oscategory"]
    other = next(each["id"] for each in categories if each["name"] == "Other")
    await admin.call("uploadResourceIcon", **sent("GuestOsCategory", other))
    assert await icon() == "GuestOsCategory"
    assert "icon" in (await admin.call("listOsCategories", id=other, showicon=True))["oscategory"][0]
    template = sent("Template", place["templateid"])
    await member.refused("uploadResourceIcon", 531, **template)
    await admin.call("uploadResourceIcon", **template)
    assert await icon() == "Template"
    listed = await member.call("listTemplates", templatefilter="featured", showicon=True)
    assert listed["template"][0]["icon"]["resourcetype"] == "Template"
    await member.call("uploadResourceIcon", **sent("UserVm", server))
    assert await icon() == "UserVm"
    await member.job(worker, "destroyVirtualMachine", id=server, expunge=True)
    assert await count(cloud) == 2


async def test_a_networks_icon_goes_with_it(
    member: Stack, other: Stack, worker: Worker, cloud: Cloud
) -> None:
    offerings = (await member.call("listNetworkOfferings"))["networkoffering"]
    isolated = next(each["id"] for each in offerings if each["guestiptype"] == "Isolated")
    zone = (await member.call("listZones"))["zone"][0]["id"]
    made = await member.call("createNetwork", name="n", networkofferingid=isolated, zoneid=zone)
    key = made["network"]["id"]
    await other.refused("uploadResourceIcon", 431, **sent("Network", key))
    await member.call("uploadResourceIcon", **sent("Network", key))
    (found,) = (await member.call("listNetworks", id=key, showicon=True))["network"]
    assert found["icon"]["resourceid"] == key
    await worker.idle()
    await member.job(worker, "deleteNetwork", id=key)
    assert await count(cloud) == 0
