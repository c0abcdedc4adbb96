"""Conversations with the Neutron face: what clients send, and what they are told."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from pileus.core.cloud import Cloud
from pileus.core.compute.records import Host
from pileus.faces.openstack.network import SERVICE
from pileus.faces.wire import ledger
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker

V2 = "/network/v2.0"
LEDGER = Path(__file__).parents[3] / "specs" / "openstack-network.toml"


async def make(client: Any, path: str, one: str, **values: Any) -> dict[str, Any]:
    reply = await client.post(f"{V2}/{path}", json={one: values})
    assert reply.status == 201, reply.text
    found: dict[str, Any] = reply.json()[one]
    return found


async def refused(reply: Any, status: int, type_: str) -> str:
    assert reply.status == status, reply.text
    error = reply.json()["NeutronError"]
    assert error["type"] == type_, error
    assert error["message"]
    return str(error["message"])


async def inside(
    client: Any, name: str = "inside", cidr: str = "10.7.0.0/24"
) -> tuple[dict[str, Any], dict[str, Any]]:
    network = await make(client, "networks", "network", name=name)
    subnet = await make(client, "subnets", "subnet", network_id=network["id"], ip_version=4, cidr=cidr)
    return network, subnet


async def settled(site: Site) -> None:
    """When nothing is at work any more; the fixture's worker does it."""
    async with asyncio.timeout(20):
        await Worker(site).idle()


def pools(*spans: tuple[str, str]) -> dict[str, Any]:
    """Of a subnet beside the one that is there."""
    listed = [{"start": first, "end": last} for first, last in spans]
    return {"cidr": "10.8.0.0/24", "allocation_pools": listed}


@pytest.fixture
async def external(cloud: Cloud, admin: Any) -> dict[str, Any]:
    network = await make(admin, "networks", "network", name="outside", **{"router:external": True})
    await make(
        admin,
        "subnets",
        "subnet",
        network_id=network["id"],
        ip_version=4,
        cidr="203.0.113.0/24",
        enable_dhcp=False,
    )
    return network


@pytest.fixture
async def routed(member: Any, external: dict[str, Any]) -> dict[str, Any]:
    """A network whose router leads outside, with one port in it."""
    network, subnet = await inside(member)
    gateway = {"network_id": external["id"]}
    router = await make(member, "routers", "router", name="r", external_gateway_info=gateway)
    reply = await member.put(
        f"{V2}/routers/{router['id']}/add_router_interface", json={"subnet_id": subnet["id"]}
    )
    assert reply.status == 200, reply.text
    port = await make(member, "ports", "port", network_id=network["id"])
    return {"network": network, "subnet": subnet, "router": router, "port": port, "interface": reply.json()}


def test_the_ledger_agrees_with_what_is_registered():
    assert ledger.check(ledger.load(LEDGER), SERVICE.operations) == []


async def test_the_versions_are_told_without_a_token(admin: Any, kernel: Any):
    from tests.asgi import Client

    nobody = Client(kernel)
    root = await nobody.get("/network/")
    assert root.status == 200
    assert root.json()["versions"][0]["id"] == "v2.0"
    assert root.json()["versions"][0]["links"][0]["href"] == "http://cloud.test/network/v2.0/"
    for path in (V2, f"{V2}/"):
        assert "resources" in (await nobody.get(path)).json()
    assert (await nobody.get(f"{V2}/networks")).status == 401


async def test_a_network_lives_from_create_to_delete(member: Any):
    network = await make(member, "networks", "network", name="n", description="d")
    assert network["status"] == "ACTIVE"
    assert network["project_id"] == network["tenant_id"] == member.project.id.hex
    assert "provider:network_type" not in network
    reply = await member.put(f"{V2}/networks/{network['id']}", json={"network": {"name": "m"}})
    assert reply.json()["network"]["name"] == "m"
    assert reply.json()["network"]["revision_number"] == network["revision_number"] + 1
    assert (await member.delete(f"{V2}/networks/{network['id']}")).status == 204
    await refused(await member.get(f"{V2}/networks/{network['id']}"), 404, "NetworkNotFound")


async def test_the_platform_holds_what_was_made_and_forgets_what_was_deleted(member: Any, site: Site):
    network, subnet = await inside(member)
    port = await make(member, "ports", "port", network_id=network["id"])
    await settled(site)
    known = {str(key) for keys in (await site.network.known()).values() for key in keys}
    assert {network["id"], port["id"], port["security_groups"][0]} <= known
    for path, one in (("ports", port), ("subnets", subnet), ("networks", network)):
        assert (await member.delete(f"{V2}/{path}/{one['id']}")).status == 204
    await settled(site)
    known = {str(key) for keys in (await site.network.known()).values() for key in keys}
    assert not {network["id"], port["id"]} & known


async def test_a_network_with_dhcp_has_a_metadata_port(member: Any, admin: Any):
    network, subnet = await inside(member)
    reply = await member.get(f"{V2}/ports?network_id={network['id']}")
    (port,) = reply.json()["ports"]
    assert port["device_owner"] == "network:distributed"
    assert port["fixed_ips"][0]["subnet_id"] == subnet["id"]
    await refused(await member.delete(f"{V2}/ports/{port['id']}"), 409, "ServicePortInUse")
    reply = await member.put(f"{V2}/subnets/{subnet['id']}", json={"subnet": {"enable_dhcp": False}})
    assert reply.status == 200, reply.text
    assert (await member.get(f"{V2}/ports?network_id={network['id']}")).json()["ports"] == []


async def test_several_are_made_in_one_request_or_none(member: Any):
    body = {"networks": [{"name": "a"}, {"name": "b"}]}
    reply = await member.post(f"{V2}/networks", json=body)
    assert reply.status == 201
    assert [n["name"] for n in reply.json()["networks"]] == ["a", "b"]
    bad = {
        "ports": [{"network_id": reply.json()["networks"][0]["id"]}, {"network_id": member.project.id.hex}]
    }
    await refused(await member.post(f"{V2}/ports", json=bad), 404, "NetworkNotFound")
    assert (await member.get(f"{V2}/ports")).json()["ports"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("networks", {"network": {"nmae": "x"}}),
        ("networks", {"network": {"name": 5}}),
        ("networks", {"network": {"name": "x" * 256}}),
        ("networks", {"network": {"mtu": 9000}}),
        ("networks", {"network": []}),
        ("networks", {"netwrk": {}}),
        ("networks", []),
        ("networks", {"networks": []}),
        ("networks", {"network": {"id": "00000000-0000-0000-0000-000000000000"}}),
        ("networks", {"network": {"admin_state_up": "maybe"}}),
        ("subnets", {"subnet": {}}),
        ("subnets", {"subnet": {"network_id": "x", "cidr": "10.0.0.0/8", "ip_version": 4}}),
        ("ports", {"port": {"network_id": None}}),
        ("ports", {"port": {"fixed_ips": {}}}),
        ("routers", {"router": {"external_gateway_info": {"x": 1}}}),
        ("routers", {"routers": [{}]}),
        ("floatingips", {"floatingip": {}}),
        ("security-groups", {"security_group": {}}),
        ("security-group-rules", {"security_group_rule": {"direction": "up"}}),
    ],
)
async def test_bad_bodies_are_refused_in_neutrons_form(member: Any, path: str, body: Any):
    reply = await member.post(f"{V2}/{path}", json=body)
    assert reply.status == 400, reply.text
    assert set(reply.json()["NeutronError"]) == {"type", "message", "detail"}


async def test_an_unknown_attribute_is_named(member: Any):
    reply = await member.post(f"{V2}/networks", json={"network": {"nmae": "x"}})
    assert reply.json()["NeutronError"]["message"] == "Unrecognized attribute(s) 'nmae'"


@pytest.mark.parametrize(
    ("values", "status", "type_"),
    [
        ({"cidr": "10.0.0.1/24"}, 400, "HTTPBadRequest"),
        ({"cidr": "10.7.0.0/25"}, 400, "HTTPBadRequest"),
        ({"cidr": "fd00::/64"}, 400, "HTTPBadRequest"),
        ({"cidr": "10.8.0.0/24", "gateway_ip": "10.9.0.1"}, 400, "HTTPBadRequest"),
        (pools(("10.9.0.2", "10.9.0.9")), 400, "OutOfBoundsAllocationPool"),
        (pools(("10.8.0.9", "10.8.0.2")), 400, "InvalidAllocationPool"),
        (pools(("10.8.0.1", "10.8.0.9")), 409, "GatewayConflictWithAllocationPools"),
        (pools(("10.8.0.2", "10.8.0.9"), ("10.8.0.9", "10.8.0.20")), 409, "OverlappingAllocationPools"),
    ],
)
async def test_a_wrong_subnet_is_refused(member: Any, values: dict[str, Any], status: int, type_: str):
    network, _ = await inside(member)
    body = {"subnet": {"network_id": network["id"], "ip_version": 4, **values}}
    await refused(await member.post(f"{V2}/subnets", json=body), status, type_)


async def test_ipv6_subnets_are_static_and_modes_are_refused(member: Any):
    network, _ = await inside(member)
    wanted = {"network_id": network["id"], "ip_version": 6, "cidr": "fd00:7::/64"}
    refused_ = await member.post(f"{V2}/subnets", json={"subnet": {**wanted, "ipv6_ra_mode": "slaac"}})
    assert "static" in await refused(refused_, 400, "BadRequest")
    await make(member, "subnets", "subnet", **wanted)
    port = await make(member, "ports", "port", network_id=network["id"])
    assert [one["ip_address"] for one in port["fixed_ips"]].count("fd00:7::2") == 1
    assert len(port["fixed_ips"]) == 2


async def test_addresses_are_the_lowest_free_ones_or_the_wanted(member: Any):
    network, subnet = await inside(member)
    taken = [await make(member, "ports", "port", network_id=network["id"]) for _ in range(3)]
    assert [p["fixed_ips"][0]["ip_address"] for p in taken] == ["10.7.0.3", "10.7.0.4", "10.7.0.5"]
    assert (await member.delete(f"{V2}/ports/{taken[0]['id']}")).status == 204
    wanted = {"fixed_ips": [{"ip_address": "10.7.0.77"}], "network_id": network["id"]}
    assert (await make(member, "ports", "port", **wanted))["fixed_ips"] == [
        {"subnet_id": subnet["id"], "ip_address": "10.7.0.77"}
    ]
    again = await make(member, "ports", "port", network_id=network["id"])
    assert again["fixed_ips"][0]["ip_address"] == "10.7.0.3"
    await refused(await member.post(f"{V2}/ports", json={"port": wanted}), 409, "IpAddressAlreadyAllocated")
    outside = {"network_id": network["id"], "fixed_ips": [{"ip_address": "10.9.0.7"}]}
    await refused(await member.post(f"{V2}/ports", json={"port": outside}), 400, "InvalidIpForSubnet")


async def test_a_full_subnet_gives_no_address(member: Any):
    network, _ = await inside(member, cidr="10.7.0.0/29")
    for _ in range(4):
        await make(member, "ports", "port", network_id=network["id"])
    body = {"port": {"network_id": network["id"]}}
    await refused(await member.post(f"{V2}/ports", json=body), 409, "IpAddressGenerationFailure")


async def test_a_port_changes_its_addresses_name_and_groups(member: Any):
    network, subnet = await inside(member)
    port = await make(member, "ports", "port", network_id=network["id"], name="p", dns_name="web")
    assert port["dns_assignment"][0]["hostname"] == "web"
    change = {"fixed_ips": [{"subnet_id": subnet["id"], "ip_address": "10.7.0.50"}], "security_groups": []}
    reply = await member.put(f"{V2}/ports/{port['id']}", json={"port": change})
    assert reply.status == 200, reply.text
    assert reply.json()["port"]["fixed_ips"] == change["fixed_ips"]
    assert reply.json()["port"]["security_groups"] == []


async def test_binding_is_an_administrators_to_see_and_set(member: Any, admin: Any):
    network, _ = await inside(member)
    port = await make(member, "ports", "port", network_id=network["id"])
    assert "binding:host_id" not in port
    seen = (await admin.get(f"{V2}/ports/{port['id']}")).json()["port"]
    assert seen["binding:vif_type"] == "unbound"
    body = {"port": {"network_id": network["id"], "binding:host_id": "h"}}
    await refused(await member.post(f"{V2}/ports", json=body), 403, "PolicyNotAuthorized")
    assert (await admin.post(f"{V2}/ports", json=body)).status == 201


async def test_a_port_is_bound_where_an_administrator_says(member: Any, admin: Any, cloud: Cloud):
    async with cloud.view() as look:
        (host, *_) = await look.list(Host)
    network, _ = await inside(member)
    wanted = {"network_id": network["id"], "binding:host_id": host.hostname}
    port = await make(admin, "ports", "port", **wanted)
    path = f"{V2}/ports/{port['id']}"
    for reply in (await admin.get(path), await admin.put(path, json={"port": {"name": "n"}})):
        assert reply.json()["port"]["binding:host_id"] == host.hostname
        assert reply.json()["port"]["binding:vif_type"] == "ovs"
    for name in ("", None, "no host of ours"):
        reply = await admin.put(path, json={"port": {"binding:host_id": name}})
        assert (reply.json()["port"]["binding:host_id"], reply.json()["port"]["binding:vif_type"]) == (
            "",
            "unbound",
        )
        reply = await admin.put(path, json={"port": {"binding:host_id": host.hostname}})
        assert reply.json()["port"]["binding:host_id"] == host.hostname


@pytest.mark.parametrize("name", ["shared", "router:external", "is_default"])
async def test_a_member_makes_nothing_for_others(member: Any, name: str):
    reply = await member.post(f"{V2}/networks", json={"network": {name: True}})
    await refused(reply, 403, "PolicyNotAuthorized")
    assert (await member.post(f"{V2}/networks", json={"network": {name: False}})).status == 201


async def test_only_the_networks_owner_chooses_macs(member: Any, admin: Any, other: Any):
    shared = await make(admin, "networks", "network", shared=True)
    body = {"port": {"network_id": shared["id"], "mac_address": "52:54:00:00:00:07"}}
    await refused(await other.post(f"{V2}/ports", json=body), 403, "PolicyNotAuthorized")
    network, _ = await inside(member)
    body = {"port": {"network_id": network["id"], "mac_address": "52:54:00:00:00:07"}}
    assert (await member.post(f"{V2}/ports", json=body)).status == 201
    await refused(await member.post(f"{V2}/ports", json=body), 409, "MacAddressInUse")


async def test_another_projects_things_are_not_found(member: Any, other: Any, routed: dict[str, Any]):
    found = {
        "networks": routed["network"],
        "subnets": routed["subnet"],
        "ports": routed["port"],
        "routers": routed["router"],
    }
    found["security-groups"] = {"id": routed["port"]["security_groups"][0]}
    for path, one in found.items():
        for method in ("GET", "DELETE"):
            reply = await other.request(method, f"{V2}/{path}/{one['id']}")
            assert reply.status == 404, (method, path, reply.text)
        shown = next(iter((await other.get(f"{V2}/{path}")).json().values()))
        assert one["id"] not in [item["id"] for item in shown]


async def test_a_shared_network_is_seen_but_not_changed(member: Any, admin: Any):
    shared = await make(admin, "networks", "network", name="s", shared=True)
    assert (await member.get(f"{V2}/networks/{shared['id']}")).status == 200
    reply = await member.put(f"{V2}/networks/{shared['id']}", json={"network": {"name": "mine"}})
    await refused(reply, 403, "PolicyNotAuthorized")


async def test_the_subnets_of_an_external_network_are_its_owners(member: Any, admin: Any, external: Any):
    (key,) = (await admin.get(f"{V2}/networks/{external['id']}")).json()["network"]["subnets"]
    assert (await member.get(f"{V2}/networks/{external['id']}")).status == 200
    assert (await member.get(f"{V2}/subnets?network_id={external['id']}")).json()["subnets"] == []
    await refused(await member.get(f"{V2}/subnets/{key}"), 404, "SubnetNotFound")
    assert (await admin.get(f"{V2}/subnets/{key}")).status == 200
    taken = await make(member, "floatingips", "floatingip", floating_network_id=external["id"], subnet_id=key)
    assert taken["floating_ip_address"].startswith("203.0.113.")


async def test_lists_are_filtered_ordered_paged_and_narrowed(member: Any):
    for name in ("b", "a", "c"):
        await make(member, "networks", "network", name=name)

    async def names(query: str) -> list[str]:
        reply = await member.get(f"{V2}/networks?router:external=false&{query}")
        assert reply.status == 200, reply.text
        return [network["name"] for network in reply.json()["networks"] if network["name"] in "abc"]

    assert await names("name=a&name=c") == ["a", "c"]
    assert await names("sort_key=name&sort_dir=desc") == ["c", "b", "a"]
    assert await names("admin_state_up=False") == []
    seen, path = [], f"{V2}/networks?name=a&name=b&name=c&sort_key=name&limit=1&fields=name&fields=id"
    while path:
        body = (await member.get(path)).json()
        seen += [set(network) == {"name", "id"} and network["name"] for network in body["networks"]]
        following = [link["href"] for link in body.get("networks_links", []) if link["rel"] == "next"]
        path = following[0].removeprefix("http://cloud.test") if following else ""
    assert seen == ["a", "b", "c"]
    last = (await member.get(f"{V2}/networks?name=c")).json()["networks"][0]["id"]
    query = f"name=a&name=b&name=c&sort_key=name&limit=1&page_reverse=True&marker={last}"
    assert await names(query) == ["b"]
    for bad in ("limit=x", "sort_key=name&sort_dir=up", "sort_key=nothing", "marker=nothing&limit=1"):
        assert (await member.get(f"{V2}/networks?{bad}")).status == 400, bad


@pytest.mark.parametrize(
    ("filter_", "found"),
    [("ip_address=10.7.0.7", 1), ("ip_address=10.7.0", 0), ("ip_address_substr=10.7.0", 1),
     ("ip_address_substr=7.0.7", 1), ("ip_address_substr=10.8", 0)],
)  # fmt: skip
async def test_ports_are_found_by_their_address_or_a_part_of_it(member: Any, filter_: str, found: int):
    network, _ = await inside(member)
    fixed = [{"ip_address": "10.7.0.7"}]
    port = await make(member, "ports", "port", network_id=network["id"], fixed_ips=fixed)
    reply = await member.get(f"{V2}/ports?network_id={network['id']}&fixed_ips={filter_}")
    listed = [one["id"] for one in reply.json()["ports"]]
    assert (port["id"] in listed) is bool(found), listed


async def test_a_stale_writer_is_told(member: Any):
    network = await make(member, "networks", "network", name="n")
    number = network["revision_number"]
    path, body = f"{V2}/networks/{network['id']}", {"network": {"name": "m"}}
    assert (
        await member.put(path, json=body, headers={"if-match": f"revision_number={number}"})
    ).status == 200
    stale = await member.put(path, json=body, headers={"if-match": f"revision_number={number}"})
    await refused(stale, 412, "RevisionNumberConstraintFailed")
    stale = await member.delete(path, headers={"if-match": f"revision_number={number}"})
    await refused(stale, 412, "RevisionNumberConstraintFailed")


async def test_tags_are_put_found_and_taken_away(member: Any):
    network = await make(member, "networks", "network", name="n")
    path = f"{V2}/networks/{network['id']}/tags"
    assert (await member.put(path, json={"tags": ["red", "blue"]})).json() == {"tags": ["blue", "red"]}
    assert (await member.put(f"{path}/green")).status == 201
    assert (await member.get(f"{path}/green")).status == 204
    for query, count in (
        ("tags=red,blue", 1),
        ("tags=red,black", 0),
        ("tags-any=red,black", 1),
        ("not-tags=red&name=n", 0),
    ):
        assert len((await member.get(f"{V2}/networks?{query}")).json()["networks"]) == count, query
    assert (await member.delete(f"{path}/green")).status == 204
    await refused(await member.delete(f"{path}/green"), 404, "TagNotFound")
    assert (await member.delete(path)).status == 204
    assert (await member.get(path)).json() == {"tags": []}


async def test_a_floating_ip_goes_to_a_port_and_comes_back(member: Any, external: Any, routed: Any):
    body = {"floating_network_id": external["id"], "port_id": routed["port"]["id"]}
    address = await make(member, "floatingips", "floatingip", **body)
    assert address["status"] == "ACTIVE"
    assert address["router_id"] == routed["router"]["id"]
    assert address["fixed_ip_address"] == routed["port"]["fixed_ips"][0]["ip_address"]
    again = await member.post(f"{V2}/floatingips", json={"floatingip": body})
    await refused(again, 409, "FloatingIPPortAlreadyAssociated")
    router = f"{V2}/routers/{routed['router']['id']}"
    gone = await member.put(router, json={"router": {"external_gateway_info": None}})
    await refused(gone, 409, "RouterExternalGatewayInUseByFloatingIp")
    gone = await member.put(f"{router}/remove_router_interface", json={"subnet_id": routed["subnet"]["id"]})
    await refused(gone, 409, "RouterInterfaceInUseByFloatingIP")
    path = f"{V2}/floatingips/{address['id']}"
    reply = await member.put(path, json={"floatingip": {"port_id": None}})
    assert reply.json()["floatingip"]["status"] == "DOWN"
    assert reply.json()["floatingip"]["router_id"] is None
    assert (await member.delete(path)).status == 204
    await refused(await member.get(path), 404, "FloatingIPNotFound")


async def test_a_port_that_goes_lets_its_floating_ip_go(member: Any, external: Any, routed: Any):
    body = {"floating_network_id": external["id"], "port_id": routed["port"]["id"]}
    address = await make(member, "floatingips", "floatingip", **body)
    assert (await member.delete(f"{V2}/ports/{routed['port']['id']}")).status == 204
    seen = (await member.get(f"{V2}/floatingips/{address['id']}")).json()["floatingip"]
    assert (seen["port_id"], seen["fixed_ip_address"], seen["status"]) == (None, None, "DOWN")


async def test_a_floating_ip_needs_a_way_to_its_port(member: Any, external: Any):
    network, _ = await inside(member)
    port = await make(member, "ports", "port", network_id=network["id"])
    body = {"floatingip": {"floating_network_id": external["id"], "port_id": port["id"]}}
    await refused(
        await member.post(f"{V2}/floatingips", json=body), 404, "ExternalGatewayForFloatingIPNotFound"
    )
    assert (await member.get(f"{V2}/floatingips")).json()["floatingips"] == []
    body = {"floatingip": {"floating_network_id": network["id"]}}
    await refused(await member.post(f"{V2}/floatingips", json=body), 400, "BadRequest")


async def test_an_external_network_takes_its_idle_floating_ips_along_and_no_other(
    member: Any, admin: Any, external: Any, routed: Any
):
    wanted = {"floating_network_id": external["id"]}
    idle = await make(member, "floatingips", "floatingip", **wanted)
    busy = await make(member, "floatingips", "floatingip", **wanted, port_id=routed["port"]["id"])
    await refused(await admin.delete(f"{V2}/networks/{external['id']}"), 409, "NetworkInUse")
    assert (await member.get(f"{V2}/floatingips/{idle['id']}")).status == 200
    assert (await member.delete(f"{V2}/floatingips/{busy['id']}")).status == 204
    reply = await member.put(
        f"{V2}/routers/{routed['router']['id']}", json={"router": {"external_gateway_info": {}}}
    )
    assert reply.status == 200, reply.text
    assert (await admin.delete(f"{V2}/networks/{external['id']}")).status == 204
    assert (await member.get(f"{V2}/floatingips")).json()["floatingips"] == []


async def test_port_forwardings(member: Any, external: Any, routed: Any, site: Site):
    address = await make(member, "floatingips", "floatingip", floating_network_id=external["id"])
    path = f"{V2}/floatingips/{address['id']}/port_forwardings"
    wanted = {
        "protocol": "tcp",
        "internal_port_id": routed["port"]["id"],
        "internal_ip_address": routed["port"]["fixed_ips"][0]["ip_address"],
        "internal_port": 22,
        "external_port": 2222,
    }
    reply = await member.post(path, json={"port_forwarding": wanted})
    assert reply.status == 201, reply.text
    made = reply.json()["port_forwarding"]
    assert {name: made[name] for name in wanted} == wanted
    await refused(await member.post(path, json={"port_forwarding": wanted}), 400, "BadRequest")
    reply = await member.put(f"{path}/{made['id']}", json={"port_forwarding": {"external_port": 2223}})
    assert reply.json()["port_forwarding"]["external_port"] == 2223
    use = {"floatingip": {"port_id": routed["port"]["id"]}}
    busy = await member.put(f"{V2}/floatingips/{address['id']}", json=use)
    await refused(busy, 409, "FipInUseByPortForwarding")
    await settled(site)
    assert len((await member.get(path)).json()["port_forwardings"]) == 1
    assert (await member.delete(f"{path}/{made['id']}")).status == 204
    await refused(await member.get(f"{path}/{made['id']}"), 404, "PortForwardingNotFound")


@pytest.mark.parametrize(
    ("path", "key", "type_"),
    [
        ("networks", "network", "NetworkInUse"),
        ("subnets", "subnet", "SubnetInUse"),
        ("routers", "router", "RouterInUse"),
    ],
)
async def test_what_is_used_is_not_deleted(member: Any, routed: Any, path: str, key: str, type_: str):
    await refused(await member.delete(f"{V2}/{path}/{routed[key]['id']}"), 409, type_)


async def test_a_routers_port_goes_with_the_router(member: Any, routed: Any):
    await refused(
        await member.delete(f"{V2}/ports/{routed['interface']['port_id']}"), 409, "ServicePortInUse"
    )
    path = f"{V2}/routers/{routed['router']['id']}"
    twice = await member.put(f"{path}/add_router_interface", json={"subnet_id": routed["subnet"]["id"]})
    await refused(twice, 400, "BadRequest")
    gone = await member.put(
        f"{path}/remove_router_interface", json={"port_id": routed["interface"]["port_id"]}
    )
    assert gone.status == 200, gone.text
    again = await member.put(f"{path}/remove_router_interface", json={"subnet_id": routed["subnet"]["id"]})
    await refused(again, 404, "RouterInterfaceNotFound")
    assert (await member.delete(path)).status == 204


async def test_extra_routes(member: Any, routed: Any):
    path = f"{V2}/routers/{routed['router']['id']}"
    route = {"destination": "192.168.9.0/24", "nexthop": "10.7.0.9"}
    reply = await member.put(path, json={"router": {"routes": [route]}})
    assert reply.json()["router"]["routes"] == [route]
    other = {"destination": "192.168.8.0/24", "nexthop": "10.7.0.9"}
    reply = await member.put(f"{path}/add_extraroutes", json={"router": {"routes": [other]}})
    assert reply.json()["router"]["routes"] == [route, other]
    gone = await member.put(f"{path}/remove_router_interface", json={"subnet_id": routed["subnet"]["id"]})
    await refused(gone, 409, "RouterInterfaceInUseByRoute")
    reply = await member.put(f"{path}/remove_extraroutes", json={"router": {"routes": [route, other]}})
    assert reply.json()["router"]["routes"] == []
    far = {"destination": "192.168.8.0/24", "nexthop": "172.16.0.1"}
    await refused(await member.put(path, json={"router": {"routes": [far]}}), 400, "InvalidRoutes")


async def test_the_default_group_is_there_at_first_look(member: Any):
    (group,) = (await member.get(f"{V2}/security-groups")).json()["security_groups"]
    assert group["name"] == "default"
    rules = {(r["direction"], r["ethertype"], r["remote_group_id"]) for r in group["security_group_rules"]}
    mine = group["id"]
    assert rules == {
        ("egress", "IPv4", None),
        ("egress", "IPv6", None),
        ("ingress", "IPv4", mine),
        ("ingress", "IPv6", mine),
    }
    await refused(
        await member.delete(f"{V2}/security-groups/{mine}"), 409, "SecurityGroupCannotRemoveDefault"
    )
    body = {"security_group": {"name": "default"}}
    await refused(
        await member.post(f"{V2}/security-groups", json=body), 409, "SecurityGroupDefaultAlreadyExists"
    )


async def test_rules_come_once(member: Any):
    group = await make(member, "security-groups", "security_group", name="web")
    assert {rule["direction"] for rule in group["security_group_rules"]} == {"egress"}
    rule = {"security_group_id": group["id"], "direction": "ingress", "protocol": "tcp", "port_range_min": 80}
    rule["port_range_max"] = 80
    made = await make(member, "security-group-rules", "security_group_rule", **rule)
    assert made["ethertype"] == "IPv4"
    for protocol in ("tcp", "TCP", 6):
        again = {"security_group_rule": {**rule, "protocol": protocol}}
        await refused(
            await member.post(f"{V2}/security-group-rules", json=again), 409, "SecurityGroupRuleExists"
        )
    assert (await member.delete(f"{V2}/security-group-rules/{made['id']}")).status == 204
    many = [{**rule, "port_range_min": n, "port_range_max": n} for n in range(1000, 1020)]
    reply = await member.post(f"{V2}/security-group-rules", json={"security_group_rules": many})
    assert len(reply.json()["security_group_rules"]) == 20


@pytest.mark.parametrize(
    ("values", "type_"),
    [
        ({"protocol": "nonsense"}, "SecurityGroupRuleInvalidProtocol"),
        ({"protocol": 256}, "SecurityGroupRuleInvalidProtocol"),
        ({"protocol": "icmpv6"}, "SecurityGroupEthertypeConflictWithProtocol"),
        ({"remote_ip_prefix": "fd00::/64"}, "SecurityGroupRuleParameterConflict"),
        ({"port_range_min": 1, "port_range_max": 2}, "SecurityGroupProtocolRequiredWithPorts"),
        (
            {"protocol": "gre", "port_range_min": 1, "port_range_max": 2},
            "SecurityGroupInvalidProtocolForPort",
        ),
        ({"protocol": "icmp", "port_range_min": 256}, "SecurityGroupInvalidIcmpValue"),
        ({"protocol": "icmp", "port_range_max": 1}, "SecurityGroupMissingIcmpType"),
        ({"protocol": "tcp", "port_range_min": 0, "port_range_max": 2}, "SecurityGroupInvalidPortValue"),
        ({"protocol": "tcp", "port_range_min": -16, "port_range_max": 2}, "SecurityGroupInvalidPortValue"),
        ({"protocol": "tcp", "port_range_min": 1, "port_range_max": 65536}, "SecurityGroupInvalidPortValue"),
        ({"protocol": "tcp", "port_range_min": "x", "port_range_max": 2}, "SecurityGroupInvalidPortValue"),
        ({"protocol": "tcp", "port_range_min": 3, "port_range_max": 2}, "SecurityGroupInvalidPortRange"),
    ],
)
async def test_rules_that_contradict_themselves_are_refused(member: Any, values: dict[str, Any], type_: str):
    group = await make(member, "security-groups", "security_group", name="web")
    body = {"security_group_rule": {"security_group_id": group["id"], "direction": "ingress", **values}}
    await refused(await member.post(f"{V2}/security-group-rules", json=body), 400, type_)


@pytest.mark.parametrize("group", ["no-uuid", str(uuid4()), 7])
async def test_a_rule_names_no_group_that_is_not_there(member: Any, group: Any):
    own = await make(member, "security-groups", "security_group", name="web")
    rule = {"security_group_id": own["id"], "direction": "ingress", "remote_group_id": group}
    reply = await member.post(f"{V2}/security-group-rules", json={"security_group_rule": rule})
    await refused(reply, 404, "SecurityGroupNotFound")


async def test_a_group_in_use_stays(member: Any):
    network, _ = await inside(member)
    group = await make(member, "security-groups", "security_group", name="web")
    port = await make(member, "ports", "port", network_id=network["id"], security_groups=[group["id"]])
    await refused(await member.delete(f"{V2}/security-groups/{group['id']}"), 409, "SecurityGroupInUse")
    assert (await member.delete(f"{V2}/ports/{port['id']}")).status == 204
    assert (await member.delete(f"{V2}/security-groups/{group['id']}")).status == 204


async def test_quotas_are_shown_set_and_kept(member: Any, admin: Any):
    path = f"{V2}/quotas/{member.project.id.hex}"
    assert (await member.get(path)).json()["quota"]["network"] == 100
    assert (await admin.put(path, json={"quota": {"network": 1}})).json()["quota"]["network"] == 1
    await refused(await member.put(path, json={"quota": {"network": 9}}), 403, "PolicyNotAuthorized")
    await make(member, "networks", "network")
    over = await member.post(f"{V2}/networks", json={"network": {}})
    assert await refused(over, 409, "OverQuota") == "Quota exceeded for resources: ['network']."
    details = (await member.get(f"{path}/details.json")).json()["quota"]["network"]
    assert details == {"used": 1, "limit": 1, "reserved": 0}
    below = {"quota": {"network": 0, "check_limit": True}}
    await refused(await admin.put(path, json=below), 400, "HTTPBadRequest")
    assert (await admin.put(path, json={"quota": {"network": 0}})).json()["quota"]["network"] == 0
    assert (await admin.delete(path)).status == 204
    assert (await member.get(f"{path}/default")).json() == (await member.get(path)).json()


async def test_what_pileus_makes_for_itself_costs_nothing(member: Any, routed: Any, external: Any):
    address = await make(
        member, "floatingips", "floatingip", floating_network_id=external["id"], port_id=routed["port"]["id"]
    )
    details = (await member.get(f"{V2}/quotas/{member.project.id.hex}/details")).json()["quota"]
    used = {name: held["used"] for name, held in details.items()}
    assert used == {
        "network": 1, "subnet": 1, "port": 1, "router": 1, "floatingip": 1, "security_group": 1, "security_group_rule": 4,
    }  # fmt: skip
    for path, key in (("floatingips", address["id"]), ("ports", routed["port"]["id"])):
        assert (await member.delete(f"{V2}/{path}/{key}")).status == 204
    router = f"{V2}/routers/{routed['router']['id']}"
    body = {"subnet_id": routed["subnet"]["id"]}
    assert (await member.put(f"{router}/remove_router_interface", json=body)).status == 200
    for path in (router, f"{V2}/networks/{routed['network']['id']}"):
        assert (await member.delete(path)).status == 204
    details = (await member.get(f"{V2}/quotas/{member.project.id.hex}/details")).json()["quota"]
    used = {name: held["used"] for name, held in details.items() if held["used"]}
    assert used == {"security_group": 1, "security_group_rule": 4}


async def test_extensions_zones_and_availability(member: Any, admin: Any):
    aliases = {e["alias"] for e in (await member.get(f"{V2}/extensions")).json()["extensions"]}
    assert {"router", "security-group", "quotas", "port-security"} <= aliases
    assert (await member.get(f"{V2}/extensions/router")).json()["extension"]["alias"] == "router"
    await refused(await member.get(f"{V2}/extensions/trunk"), 404, "ExtensionNotFound")
    zones = (await member.get(f"{V2}/availability_zones?resource=router")).json()["availability_zones"]
    assert [zone["resource"] for zone in zones] == ["router"]
    network, _ = await inside(member)
    path = f"{V2}/network-ip-availabilities"
    await refused(await member.get(path), 403, "PolicyNotAuthorized")
    seen = (await admin.get(f"{path}/{network['id']}")).json()["network_ip_availability"]
    assert (seen["total_ips"], seen["used_ips"]) == (253, 1)
