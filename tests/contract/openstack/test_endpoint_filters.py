"""Conversations with Keystone's OS-EP-FILTER."""

import pytest

from tests.contract.openstack.test_catalogue import made, offered
from tests.contract.openstack.test_identity import NOBODY, V3

FILTER = f"{V3}/OS-EP-FILTER"


@pytest.fixture
async def endpoint(admin):
    """A public one of a service that this cloud does not serve."""
    service = (await made(admin, "services", "service", type="dns"))["id"]
    common = {"service_id": service, "url": "http://dns", "region": "south"}
    await made(admin, "endpoints", "endpoint", **common, interface="admin")
    return await made(admin, "endpoints", "endpoint", **common, interface="public")


async def group(admin, **filters):
    return await made(admin, "OS-EP-FILTER/endpoint_groups", "endpoint_group", name="g", filters=filters)


async def test_a_project_with_endpoints_of_its_own_sees_no_others(admin, member, endpoint):
    path = f"{FILTER}/projects/{member.project.id.hex}/endpoints/{endpoint['id']}"
    assert (await admin.get(path)).status == 404
    assert (await admin.put(path)).status == 204
    assert (await admin.put(path)).status == 409
    assert (await admin.get(path)).status == 204
    assert (await admin.head(path)).status == 204
    assert await offered(member) == {"dns": ["http://dns"]}
    assert len(await offered(admin)) == 8
    of_project = (await admin.get(f"{FILTER}/projects/{member.project.id.hex}/endpoints")).json()
    assert of_project["endpoints"] == [endpoint]
    projects = (await admin.get(f"{FILTER}/endpoints/{endpoint['id']}/projects")).json()["projects"]
    assert [project["id"] for project in projects] == [member.project.id.hex]
    assert (await admin.delete(path)).status == 204
    assert (await admin.delete(path)).status == 404
    assert len(await offered(member)) == 8


async def test_a_group_chooses_endpoints_by_service_region_and_interface(admin, endpoint):
    service = endpoint["service_id"]
    for filters, found in (
        ({"service_id": service}, 2),
        ({"service_id": service, "interface": "public"}, 1),
        ({"region_id": "south"}, 2),
        ({"region_id": "RegionOne", "service_id": service}, 0),
        ({"region_id": None}, 0),
    ):
        key = (await group(admin, **filters))["id"]
        chosen = (await admin.get(f"{FILTER}/endpoint_groups/{key}/endpoints")).json()["endpoints"]
        assert len(chosen) == found, filters


async def test_a_group_is_made_changed_and_removed(admin, member, endpoint):
    first = await group(admin, interface="public")
    path = f"{FILTER}/endpoint_groups/{first['id']}"
    assert (await admin.get(path)).json() == {"endpoint_group": first}
    assert (await admin.get(f"{FILTER}/endpoint_groups?name=g")).json()["endpoint_groups"] == [first]
    assert (await admin.get(f"{FILTER}/endpoint_groups?name=x")).json()["endpoint_groups"] == []
    change = {"name": "h", "filters": {"interface": "admin"}, "description": "d"}
    changed = (await admin.patch(path, json={"endpoint_group": change})).json()["endpoint_group"]
    assert {name: changed[name] for name in change} == change
    same = (await admin.patch(path, json={"endpoint_group": {"filters": None}})).json()["endpoint_group"]
    assert same == changed
    for bad in (
        {},
        {"filters": {"colour": "x"}},
        {"filters": {"interface": "x"}},
        {"id": NOBODY},
        {"foo": 1},
    ):
        assert (await admin.patch(path, json={"endpoint_group": bad})).status == 400, bad
    for bad in ({"name": "g"}, {"name": "g", "filters": {}}, {"filters": {"interface": "public"}}):
        reply = await admin.post(f"{FILTER}/endpoint_groups", json={"endpoint_group": bad})
        assert reply.status == 400, bad
    assert (await member.get(path)).status == 403
    assert (await admin.delete(path)).status == 204
    assert (await admin.get(path)).status == 404


async def test_a_project_sees_the_endpoints_of_its_groups(admin, member, endpoint):
    first = await group(admin, service_id=endpoint["service_id"], interface="public")
    project = member.project.id.hex
    path = f"{FILTER}/endpoint_groups/{first['id']}/projects/{project}"
    assert (await admin.get(path)).status == 404
    assert (await admin.put(path)).status == 204
    assert (await admin.put(path)).status == 409
    assert (await admin.get(path)).json()["project_endpoint_group"]["project_id"] == project
    assert await offered(member) == {"dns": ["http://dns"]}
    shown = (await admin.get(f"{FILTER}/projects/{project}/endpoint_groups")).json()["endpoint_groups"]
    assert shown == [first]
    assert len((await admin.get(f"{FILTER}/projects/{project}/endpoints")).json()["endpoints"]) == 1
    with_it = (await admin.get(f"{FILTER}/endpoint_groups/{first['id']}/projects")).json()["projects"]
    assert [each["id"] for each in with_it] == [project]
    assert (await admin.delete(path)).status == 204
    assert (await admin.delete(path)).status == 404
    await admin.put(path)
    await admin.delete(f"{FILTER}/endpoint_groups/{first['id']}")
    assert len(await offered(member)) == 8


async def test_what_does_not_exist_is_given_to_nobody(admin, member, endpoint):
    project = member.project.id.hex
    for path in (
        f"projects/{NOBODY}/endpoints/{endpoint['id']}",
        f"projects/{project}/endpoints/{NOBODY}",
        f"endpoint_groups/{NOBODY}/projects/{project}",
    ):
        assert (await admin.put(f"{FILTER}/{path}")).status == 404, path
    of = ("projects/{}/endpoints", "endpoints/{}/projects", "endpoint_groups/{}/projects")
    for path in (path.format(NOBODY) for path in of):
        assert (await admin.get(f"{FILTER}/{path}")).status == 404, path
