"""Network offerings, networks, interfaces and public addresses, as CloudStack's clients use them; and as Neutron sees them."""

from typing import Any
from uuid import UUID

from msgspec.structs import replace

from pileus.core.cloud import Cloud
from pileus.core.network.records import FixedAddress, NetState, Network, Port, Router, Subnet
from pileus.core.quota import Usage
from pileus.drivers.errors import Refused
from pileus.faces.cloudstack import network_view
from pileus.faces.cloudstack.network_offerings import OFFERINGS
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests.contract.cloudstack.both import (
    EGRESS_DENIED,
    SOURCE_NAT,
    Deploy,
    asked,
    bad,
    deploy,
    kernel,
    network,
    offering,
    openstack,
    unknown,
    zone,
)
from tests.contract.cloudstack.conftest import Stack
from tests.contract.openstack.conftest import Person

__all__ = ["deploy", "kernel", "openstack"]

V2 = "/network/v2.0"
L2 = "DefaultL2NetworkOffering"
SHARED = "DefaultSharedNetworkOffering"
GROUPS = "DefaultSharedNetworkOfferingWithSGService"
UNROUTED = "DefaultIsolatedNetworkOffering"
RANGE = {"gateway": "10.9.0.1", "netmask": "255.255.255.0", "startip": "10.9.0.10", "endip": "10.9.0.99"}


async def usage(cloud: Cloud, project: UUID) -> dict[str, int]:
    async with cloud.view() as look:
        return {row.resource: row.used for row in await look.list(Usage, project=project) if row.used}


def test_every_state_has_a_word() -> None:
    assert network_view.STATE.keys() == set(NetState)


async def test_offerings_are_the_same_in_every_cloud_and_say_what_they_have(
    member: Stack, cloud: Cloud
) -> None:
    listed = (await member.call("listNetworkOfferings"))["networkoffering"]
    assert [each["name"] for each in listed] == [each.name for each in OFFERINGS]
    assert len({each["id"] for each in listed}) == len(listed)
    assert all("serviceofferingid" in each for each in listed)
    by_name = {each["name"]: each for each in listed}
    first = by_name[SOURCE_NAT]
    assert first["id"] == str(OFFERINGS[0].id)
    assert {each["name"] for each in first["service"]} == {
        "Dhcp", "Dns", "UserData", "SourceNat", "StaticNat", "PortForwarding", "Firewall",
    }  # fmt: skip
    assert (first["guestiptype"], first["egressdefaultpolicy"], first["state"]) == (
        "Isolated",
        True,
        "Enabled",
    )
    for params, names in (
        ({"guestiptype": "L2"}, {L2}),
        ({"guestiptype": "Shared"}, {SHARED, GROUPS}),
        ({"supportedservices": ["SourceNat", "Dhcp"]}, {SOURCE_NAT, EGRESS_DENIED}),
        ({"sourcenatsupported": True, "isdefault": True}, {SOURCE_NAT}),
        ({"availability": "Required"}, {SOURCE_NAT}),
        ({"specifyvlan": True, "keyword": "with security"}, {GROUPS}),
        ({"forvpc": True}, set()),
        ({"state": "Disabled"}, set()),
        ({"id": first["id"], "zoneid": await zone(member), "traffictype": "guest"}, {SOURCE_NAT}),
        ({"istagged": True}, set()),
    ):
        found = (await member.call("listNetworkOfferings", **params)).get("networkoffering", [])
        assert {each["name"] for each in found} == names, params
    assert len((await member.call("listNetworkOfferings", page=2, pagesize=4))["networkoffering"]) == 2
    for params in ({"id": unknown()}, {"zoneid": unknown()}, {"networkid": unknown()}):
        await bad(member, cloud, "listNetworkOfferings", 431, **params)


async def test_an_isolated_network_comes_with_router_and_source_nat_and_goes_without_trace(
    member: Stack, cloud: Cloud, worker: Worker, site: Site
) -> None:
    await worker.idle()
    before = await usage(cloud, member.account.id)
    made = await network(member, networkdomain="in.example", dns1="192.0.2.53")
    assert (made["type"], made["state"], made["networkofferingname"]) == (
        "Isolated",
        "Implemented",
        SOURCE_NAT,
    )
    assert (made["cidr"], made["gateway"], made["netmask"]) == ("10.1.1.0/24", "10.1.1.1", "255.255.255.0")
    assert (made["networkdomain"], made["dns1"], made["displaytext"]) == (
        "in.example",
        "192.0.2.53",
        "The inside",
    )
    assert (made["account"], made["acltype"], made["canusefordeploy"]) == ("demo", "Account", True)
    assert "SourceNat" in {each["name"] for each in made["service"]}
    assert (await member.call("listNetworks", id=made["id"]))["network"] == [made]
    (address,) = (await member.call("listPublicIpAddresses"))["publicipaddress"]
    assert (address["issourcenat"], address["associatednetworkid"]) == (True, made["id"])
    assert (address["state"], address["isstaticnat"], address["hasrules"]) == ("Allocated", False, False)
    await bad(member, cloud, "disassociateIpAddress", 431, id=address["id"])
    (own,) = (await member.call("listNetworkOfferings", networkid=made["id"]))["networkoffering"]
    assert own["name"] == SOURCE_NAT
    assert await member.job(worker, "deleteNetwork", id=made["id"]) == {"success": True}
    assert await member.call("listNetworks") == {}
    assert await member.call("listPublicIpAddresses") == {}
    assert await usage(cloud, member.account.id) == before
    async with cloud.view() as look:
        assert await look.count(Router) == 0
        assert await look.count(FixedAddress) == 0
    await bad(member, cloud, "deleteNetwork", 431, id=made["id"])


async def test_addresses_of_an_isolated_network_are_as_asked(
    member: Stack, deploy: Deploy, worker: Worker
) -> None:
    made = await network(member, **RANGE)
    assert (made["cidr"], made["gateway"]) == ("10.9.0.0/24", "10.9.0.1")
    await worker.idle()
    machine = await deploy(made["id"])
    (nic,) = machine["nic"]
    assert 10 <= int(nic["ipaddress"].rpartition(".")[2]) <= 99
    assert (nic["networkname"], nic["type"], nic["gateway"]) == ("inside", "Isolated", "10.9.0.1")


async def test_egress_is_allowed_unless_the_offering_denies_it(member: Stack, cloud: Cloud) -> None:
    for name, denied in ((SOURCE_NAT, False), (EGRESS_DENIED, True)):
        made = await network(member, name)
        assert (made["networkofferingname"], made["egressdefaultpolicy"]) == (name, not denied)
        async with cloud.view() as look:
            router = await look.get(Router, (await look.get(Network, UUID(made["id"]))).router)
        assert router.egress_default_deny is denied


async def test_networks_without_a_router(member: Stack, admin: Stack, cloud: Cloud, worker: Worker) -> None:
    flat = await network(member, L2)
    assert (flat["type"], flat["service"], flat["networkofferingname"]) == ("L2", [], L2)
    assert flat.keys().isdisjoint({"cidr", "gateway", "egressdefaultpolicy"})
    lonely = await network(member, UNROUTED, gateway="10.8.0.1", netmask="255.255.255.0")
    assert (lonely["type"], lonely["gateway"], lonely["cidr"]) == ("Isolated", "10.8.0.1", "10.8.0.0/24")
    assert {each["name"] for each in lonely["service"]} == {"Dhcp", "Dns", "UserData"}
    await bad(member, cloud, "associateIpAddress", 431, networkid=lonely["id"])
    shared = await network(admin, GROUPS, name="all", **RANGE)
    assert (shared["type"], shared["acltype"], shared["subdomainaccess"]) == ("Shared", "Domain", True)
    tagged = await network(admin, SHARED, name="tagged", vlan="120", **{**RANGE, "gateway": "10.9.0.2"})
    assert (tagged["vlan"], tagged["broadcasturi"], tagged["broadcastdomaintype"]) == (
        "120",
        "vlan://120",
        "Vlan",
    )
    seen = {each["name"]: each for each in (await member.call("listNetworks"))["network"]}
    assert seen.keys() == {"inside", "all", "tagged"}
    assert "vlan" not in seen["tagged"] or seen["tagged"]["vlan"] == "120"
    assert {each["type"] for each in (await member.call("listNetworks", type="shared"))["network"]} == {
        "Shared"
    }
    for name in (flat, lonely):
        await member.job(worker, "deleteNetwork", id=name["id"])
    await bad(member, cloud, "deleteNetwork", 531, id=shared["id"])
    await admin.job(worker, "deleteNetwork", id=shared["id"])


async def test_bad_networks_are_refused_and_nothing_is_made(
    member: Stack, admin: Stack, cloud: Cloud
) -> None:
    place, nat = await zone(member), await offering(member, SOURCE_NAT)
    good = {"name": "x", "zoneid": place, "networkofferingid": nat}
    flat, open_ = await offering(member, L2), await offering(member, SHARED)
    for params in (
        {"zoneid": unknown()},
        {"networkofferingid": unknown()},
        {"physicalnetworkid": unknown()},
        {"gateway": "10.1.1.1"},
        {"netmask": "255.255.255.0"},
        {"gateway": "nonsense", "netmask": "255.255.255.0"},
        {"gateway": "10.1.1.1", "netmask": "255.0.255.0"},
        {"gateway": "10.1.1.0", "netmask": "255.255.255.0"},
        {"gateway": "10.1.1.1", "netmask": "0.0.0.0"},
        {"startip": "10.1.1.5"},
        {"gateway": "10.1.1.1", "netmask": "255.255.255.0", "endip": "10.1.1.9"},
        {"gateway": "10.1.1.1", "netmask": "255.255.255.0", "startip": "x"},
        {"gateway": "10.1.1.1", "netmask": "255.255.255.0", "startip": "10.2.0.5"},
        {"gateway": "10.1.1.1", "netmask": "255.255.255.0", "startip": "10.1.1.9", "endip": "10.1.1.3"},
        {"gateway": "10.1.1.1", "netmask": "255.255.255.0", "startip": "10.1.1.1", "endip": "10.1.1.3"},
        {"dns1": "nonsense"},
        {"dns1": "192.0.2.1", "dns2": "192.0.2.1"},
        {"acltype": "domain"},
        {"vlan": "12"},
        {"vpcid": unknown()},
        {"account": "nobody", "domainid": unknown()},
        {"networkofferingid": flat, "gateway": "10.1.1.1", "netmask": "255.255.255.0"},
    ):
        await bad(member, cloud, "createNetwork", 431, **{**good, **params})
    await bad(member, cloud, "createNetwork", 531, **{**good, "networkofferingid": open_, **RANGE})
    for params in (
        {},
        {"gateway": "10.9.0.1", "netmask": "255.255.255.0"},
        {**RANGE, "vlan": "5000"},
        {**RANGE, "vlan": "x"},
        {**RANGE, "acltype": "account"},
    ):
        await bad(admin, cloud, "createNetwork", 431, **{**good, "networkofferingid": open_, **params})


async def test_when_no_public_address_is_left_it_is_said(member: Stack, cloud: Cloud) -> None:
    first = await network(member)
    async with cloud.transaction() as tx:
        (outer,) = await tx.list(Network, external=True)
        (subnet,) = await tx.list(Subnet, network=outer.id)
        (held,) = await tx.list(FixedAddress, subnet=subnet.id)
        await tx.put(replace(subnet, pools=((held.address, held.address),)))
    good = {"name": "x", "zoneid": await zone(member), "networkofferingid": first["networkofferingid"]}
    await bad(member, cloud, "createNetwork", 533, **good)
    await bad(member, cloud, "associateIpAddress", 533, networkid=first["id"])


async def test_a_network_is_changed_and_restarted(member: Stack, worker: Worker, cloud: Cloud) -> None:
    made = await network(member)
    changed = await member.job(
        worker,
        "updateNetwork",
        id=made["id"],
        name="new",
        displaytext="New",
        dns1="192.0.2.1",
        dns2="192.0.2.2",
    )
    seen = changed["network"]
    assert (seen["name"], seen["displaytext"]) == ("new", "New")
    assert (seen["dns1"], seen["dns2"]) == ("192.0.2.1", "192.0.2.2")
    assert await member.job(worker, "restartNetwork", id=made["id"], cleanup=True) == {"success": True}
    await bad(member, cloud, "restartNetwork", 431, id=made["id"], makeredundant=True)
    await bad(member, cloud, "restartNetwork", 431, id=unknown())
    await bad(member, cloud, "updateNetwork", 431, id=made["id"], dns1="x")
    await bad(member, cloud, "updateNetwork", 431, id=unknown(), name="x")


async def test_a_restart_applies_what_the_platform_has_lost(
    member: Stack, worker: Worker, site: Site, deploy: Deploy
) -> None:
    made = await network(member)
    machine = await deploy(made["id"])
    fake: Any = site.network
    port = UUID(machine["nic"][0]["id"])
    await fake.remove_port(port)
    await member.job(worker, "restartNetwork", id=made["id"])
    assert port in fake.ports


async def test_lists_of_networks_are_filtered(
    member: Stack, other: Stack, admin: Stack, cloud: Cloud
) -> None:
    place = await zone(member)
    routed, flat = await network(member, name="routed"), await network(member, L2, name="flat")
    await network(other, L2, name="foreign")
    for params, names in (
        ({}, {"routed", "flat"}),
        ({"type": "Isolated"}, {"routed"}),
        ({"zoneid": place}, {"routed", "flat"}),
        ({"keyword": "rou"}, {"routed"}),
        ({"name": "flat"}, {"flat"}),
        ({"supportedservices": ["StaticNat"]}, {"routed"}),
        ({"networkofferingid": flat["networkofferingid"]}, {"flat"}),
        ({"physicalnetworkid": routed["physicalnetworkid"]}, {"routed", "flat"}),
        ({"physicalnetworkid": unknown()}, set()),
        ({"acltype": "Account"}, {"routed", "flat"}),
        ({"acltype": "Domain"}, set()),
        ({"restartrequired": True}, set()),
        ({"canusefordeploy": True}, {"routed", "flat"}),
        ({"issystem": True}, set()),
        ({"traffictype": "Public"}, set()),
        ({"traffictype": "Guest", "issystem": False}, {"routed", "flat"}),
        ({"forvpc": True}, set()),
        ({"forvpc": False}, {"routed", "flat"}),
        ({"networkfilter": "Account"}, {"routed", "flat"}),
        ({"networkfilter": "Shared"}, set()),
        ({"listall": True}, {"routed", "flat"}),
        ({"vpcid": unknown()}, set()),
    ):
        found = (await member.call("listNetworks", **params)).get("network", [])
        assert {each["name"] for each in found} == names, params
    every = (await admin.call("listNetworks", listall=True))["network"]
    assert {each["name"] for each in every} == {"routed", "flat", "foreign"}
    (public,) = (await admin.call("listNetworks", traffictype="Public"))["network"]
    assert (public["name"], public["traffictype"], public["canusefordeploy"]) == ("public", "Public", False)
    page = await member.call("listNetworks", page=2, pagesize=1)
    assert (page["count"], [each["name"] for each in page["network"]]) == (2, ["flat"])
    assert await member.call("listNetworks", retrieveonlyresourcecount=True) == {"count": 2, "network": []}
    for stack, params in (
        (other, {"id": routed["id"]}),
        (member, {"id": unknown()}),
        (member, {"zoneid": unknown()}),
    ):
        await bad(stack, cloud, "listNetworks", 431, **params)
    for command in ("deleteNetwork", "updateNetwork", "restartNetwork"):
        await bad(other, cloud, command, 431, id=routed["id"])


async def test_a_machine_gets_and_loses_interfaces(
    member: Stack, other: Stack, worker: Worker, deploy: Deploy, cloud: Cloud
) -> None:
    one, two = await network(member), await network(member, name="second", **RANGE)
    machine = await deploy(one["id"])
    started = await member.call("addNicToVirtualMachine", virtualmachineid=machine["id"], networkid=two["id"])
    assert started.keys() == {"jobid"}
    await worker.idle()
    job = await member.call("queryAsyncJobResult", jobid=started["jobid"])
    assert (job["jobstatus"], job["jobinstancetype"]) == (1, "VirtualMachine")
    first, second = job["jobresult"]["virtualmachine"]["nic"]
    assert (first["isdefault"], second["isdefault"]) == (True, False)
    assert (second["networkid"], first["networkid"]) == (two["id"], one["id"])
    listed = (await member.call("listNics", virtualmachineid=machine["id"]))["nic"]
    assert [nic["id"] for nic in listed] == [first["id"], second["id"]]
    for params, ids in (
        ({"nicid": second["id"]}, [second["id"]]),
        ({"networkid": one["id"]}, [first["id"]]),
        ({"keyword": "second"}, [second["id"]]),
        ({"page": 2, "pagesize": 1}, [second["id"]]),
    ):
        found = (await member.call("listNics", virtualmachineid=machine["id"], **params))["nic"]
        assert [nic["id"] for nic in found] == ids, params
    await bad(
        member, cloud, "removeNicFromVirtualMachine", 431, virtualmachineid=machine["id"], nicid=first["id"]
    )
    gone = await member.job(
        worker, "removeNicFromVirtualMachine", virtualmachineid=machine["id"], nicid=second["id"]
    )
    assert [nic["id"] for nic in gone["virtualmachine"]["nic"]] == [first["id"]]
    async with cloud.view() as look:
        assert await look.maybe(Port, UUID(second["id"])) is None
    for command, params in (
        ("removeNicFromVirtualMachine", {"virtualmachineid": machine["id"], "nicid": second["id"]}),
        ("removeNicFromVirtualMachine", {"virtualmachineid": unknown(), "nicid": first["id"]}),
        ("addNicToVirtualMachine", {"virtualmachineid": machine["id"], "networkid": unknown()}),
        ("addNicToVirtualMachine", {"virtualmachineid": unknown(), "networkid": two["id"]}),
        (
            "addNicToVirtualMachine",
            {"virtualmachineid": machine["id"], "networkid": two["id"], "ipaddress": "192.0.2.9"},
        ),
        (
            "addNicToVirtualMachine",
            {"virtualmachineid": machine["id"], "networkid": two["id"], "macaddress": "x"},
        ),
        ("listNics", {"virtualmachineid": machine["id"], "nicid": unknown()}),
        ("listNics", {"virtualmachineid": unknown()}),
    ):
        await bad(member, cloud, command, 431, **params)
    for command in ("listNics", "addNicToVirtualMachine"):
        await bad(other, cloud, command, 431, virtualmachineid=machine["id"], networkid=two["id"])
    asked_for = {"ipaddress": "10.9.0.44", "macaddress": "52:54:00:00:00:44"}
    done = await member.job(
        worker, "addNicToVirtualMachine", virtualmachineid=machine["id"], networkid=two["id"], **asked_for
    )
    assert {name: done["virtualmachine"]["nic"][1][name] for name in asked_for} == asked_for
    await bad(member, cloud, "deleteNetwork", 536, id=two["id"])


async def test_an_interface_that_cannot_be_plugged_leaves_nothing(
    member: Stack, worker: Worker, deploy: Deploy, cloud: Cloud, site: Site
) -> None:
    one, two = await network(member), await network(member, name="second", **RANGE)
    machine = await deploy(one["id"])
    hypervisor: Any = next(iter(site.hypervisors.values()))
    async with cloud.view() as look:
        before = await look.count(Port)
    hypervisor.fail("attach_nic", OSError("the bus is full"))
    failed = await member.failed(
        worker, "addNicToVirtualMachine", virtualmachineid=machine["id"], networkid=two["id"]
    )
    assert failed == {"errorcode": 530, "errortext": "the bus is full"}
    async with cloud.view() as look:
        assert await look.count(Port) == before
    assert len((await member.call("listNics", virtualmachineid=machine["id"]))["nic"]) == 1


async def test_the_physical_side_is_listed_for_administrators(
    admin: Stack, member: Stack, cloud: Cloud
) -> None:
    (physical,) = (await admin.call("listPhysicalNetworks", zoneid=await zone(admin)))["physicalnetwork"]
    assert (physical["state"], physical["isolationmethods"]) == ("Enabled", "GENEVE")
    # The catalogue names another object for it than CloudStack answers, so its fields are not compared.
    reply = await admin.ask("listTrafficTypes", physicalnetworkid=physical["id"])
    kinds = reply.json()["listtraffictypesresponse"]["traffictype"]
    assert [kind["traffictype"] for kind in kinds] == ["Guest", "Management", "Public"]
    (public,) = (await admin.call("listVlanIpRanges", forvirtualnetwork=True))["vlaniprange"]
    assert (public["startip"], public["endip"], public["gateway"]) == (
        "172.24.4.10",
        "172.24.4.254",
        "172.24.4.1",
    )
    assert (await admin.call("listVlanIpRanges", id=public["id"]))["vlaniprange"] == [public]
    assert await admin.call("listVlanIpRanges", forvirtualnetwork=False) == {}
    for command in ("listPhysicalNetworks", "listVlanIpRanges"):
        await bad(member, cloud, command, 432)
    await bad(admin, cloud, "listTrafficTypes", 431, physicalnetworkid=unknown())
    await bad(admin, cloud, "listPhysicalNetworks", 431, id=unknown())


async def test_neutrons_networks_are_shown_as_what_they_are(
    member: Stack, openstack: Person, worker: Worker, cloud: Cloud
) -> None:
    made = (await asked(openstack, "POST", f"{V2}/networks", {"network": {"name": "n"}}))["network"]

    async def seen() -> dict[str, Any]:
        (found,) = (await member.call("listNetworks", id=made["id"]))["network"]
        return dict(found)

    assert (await seen())["type"] == "L2"
    body = {"subnet": {"network_id": made["id"], "ip_version": 4, "cidr": "10.7.0.0/24"}}
    subnet = (await asked(openstack, "POST", f"{V2}/subnets", body))["subnet"]
    shown = await seen()
    assert (shown["type"], shown["networkofferingname"], shown["cidr"]) == (
        "Isolated",
        UNROUTED,
        "10.7.0.0/24",
    )
    (external,) = (await asked(openstack, "GET", f"{V2}/networks?router:external=true"))["networks"]
    gateway = {"external_gateway_info": {"network_id": external["id"]}}
    router = (await asked(openstack, "POST", f"{V2}/routers", {"router": gateway}))["router"]
    await asked(
        openstack, "PUT", f"{V2}/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]}
    )
    assert (await seen())["networkofferingname"] == SOURCE_NAT
    assert {each["id"] for each in (await member.call("listNetworks"))["network"]} == {made["id"]}
    address = (await member.job(worker, "associateIpAddress", networkid=made["id"]))["ipaddress"]
    (floating,) = (await asked(openstack, "GET", f"{V2}/floatingips"))["floatingips"]
    assert (floating["id"], floating["floating_ip_address"]) == (address["id"], address["ipaddress"])
    await bad(member, cloud, "deleteNetwork", 536, id=made["id"])


async def test_neutron_sees_and_deletes_cloudstacks_networks(
    member: Stack, openstack: Person, worker: Worker
) -> None:
    made, flat = await network(member), await network(member, L2, name="flat")
    found = {each["id"]: each for each in (await asked(openstack, "GET", f"{V2}/networks"))["networks"]}
    assert found[made["id"]]["name"] == "inside"
    assert found[made["id"]]["status"] == "ACTIVE"
    (subnet,) = (await asked(openstack, "GET", f"{V2}/subnets?network_id={made['id']}"))["subnets"]
    assert subnet["cidr"] == made["cidr"]
    for one in (made, flat):
        await asked(openstack, "DELETE", f"{V2}/networks/{one['id']}")
    await worker.idle()
    assert await member.call("listNetworks") == {}


async def test_a_network_that_the_platform_refuses_says_so_and_a_restart_heals_it(
    member: Stack, worker: Worker, site: Site
) -> None:
    fake: Any = site.network
    fake.fail("apply_network", Refused("no bridge"), times=2)
    params = {
        "name": "x",
        "zoneid": await zone(member),
        "networkofferingid": await offering(member, SOURCE_NAT),
    }
    text = await member.refused("createNetwork", 530, **params)
    assert "no bridge" in text
    await worker.idle()
    (seen,) = (await member.call("listNetworks", restartrequired=True))["network"]
    assert (seen["name"], seen["state"]) == ("x", "Shutdown")
    await member.job(worker, "restartNetwork", id=seen["id"])
    (healed,) = (await member.call("listNetworks", id=seen["id"]))["network"]
    assert (healed["state"], healed["restartrequired"]) == ("Implemented", False)
