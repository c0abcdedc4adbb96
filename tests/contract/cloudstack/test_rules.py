"""Public addresses with their NAT and firewall rules, and security groups; and as Neutron sees them."""

from typing import Any
from uuid import UUID

from pileus.core.cloud import Cloud
from pileus.core.network.records import Address, FirewallRule, Network, PortForwarding, SecurityRule
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests.contract.cloudstack.both import (
    EGRESS_DENIED,
    Deploy,
    asked,
    bad,
    deploy,
    kernel,
    network,
    openstack,
    unknown,
    zone,
)
from tests.contract.cloudstack.conftest import Stack
from tests.contract.openstack.conftest import Person

__all__ = ["deploy", "kernel", "openstack"]

V2 = "/network/v2.0"
HTTP = {"protocol": "tcp", "publicport": 80, "privateport": 8080}


async def acquired(stack: Stack, worker: Worker, net: str, **params: Any) -> dict[str, Any]:
    done = await stack.job(worker, "associateIpAddress", networkid=net, **params)
    address: dict[str, Any] = done["ipaddress"]
    return address


async def rows(cloud: Cloud, cls: Any) -> int:
    async with cloud.view() as look:
        return await look.count(cls)


async def router(cloud: Cloud, site: Site, net: str) -> Any:
    """What the platform was told of the network's router."""
    async with cloud.view() as look:
        key = (await look.get(Network, UUID(net))).router
    fake: Any = site.network
    return fake.routers[key]


async def test_an_address_is_acquired_listed_and_released(
    member: Stack, other: Stack, worker: Worker, cloud: Cloud, site: Site
) -> None:
    net = await network(member)
    started = await member.call("associateIpAddress", networkid=net["id"])
    assert started.keys() == {"id", "jobid"}
    await worker.idle()
    address = (await member.call("queryAsyncJobResult", jobid=started["jobid"]))["jobresult"]["ipaddress"]
    assert (address["id"], address["associatednetworkid"]) == (started["id"], net["id"])
    assert (address["issourcenat"], address["isstaticnat"], address["account"]) == (False, False, "demo")
    async with cloud.view() as look:
        assert (await look.get(Address, UUID(address["id"]))).guarded
    assert address["ipaddress"] in {str(each) for each in (await router(cloud, site, net["id"])).guarded}
    for params, count in (
        ({}, 2),
        ({"issourcenat": True}, 1),
        ({"issourcenat": False}, 1),
        ({"isstaticnat": True}, 0),
        ({"associatednetworkid": net["id"]}, 2),
        ({"associatednetworkid": unknown()}, 0),
        ({"ipaddress": address["ipaddress"]}, 1),
        ({"zoneid": await zone(member)}, 2),
        ({"state": "Free"}, 0),
        ({"forvirtualnetwork": False}, 0),
        ({"vlanid": address["vlanid"], "networkid": address["networkid"]}, 2),
        ({"forloadbalancing": True}, 0),
    ):
        found = await member.call("listPublicIpAddresses", **params)
        expected = 243 if params == {"state": "Free"} else count
        assert found.get("count", 0) == expected, params
    assert await other.call("listPublicIpAddresses", listall=True) == {}
    for stack, params in (
        (other, {"id": address["id"]}),
        (member, {"id": unknown()}),
        (member, {"zoneid": unknown()}),
    ):
        await bad(stack, cloud, "listPublicIpAddresses", 431, **params)
    await bad(other, cloud, "disassociateIpAddress", 431, id=address["id"])
    await bad(other, cloud, "disassociateIpAddress", 431, ipaddress=address["ipaddress"])
    await bad(member, cloud, "disassociateIpAddress", 431)
    assert await member.job(worker, "disassociateIpAddress", ipaddress=address["ipaddress"]) == {
        "success": True
    }
    await bad(member, cloud, "disassociateIpAddress", 431, id=address["id"])
    assert (await member.call("listPublicIpAddresses"))["count"] == 1


async def test_free_addresses_are_listed_and_can_be_asked_for(
    member: Stack, worker: Worker, cloud: Cloud
) -> None:
    net = await network(member)
    every = await member.call("listPublicIpAddresses", allocatedonly=False)
    assert every["count"] == 245
    assert [each["state"] for each in every["publicipaddress"][:2]] == ["Allocated", "Free"]
    assert len({each["ipaddress"] for each in every["publicipaddress"]}) == 245
    page = await member.call("listPublicIpAddresses", allocatedonly=False, page=2, pagesize=100)
    assert (page["count"], page["publicipaddress"]) == (245, every["publicipaddress"][100:200])
    last = (await member.call("listPublicIpAddresses", state="Free", keyword="4.254"))["publicipaddress"]
    assert [each["ipaddress"] for each in last] == ["172.24.4.254"]
    address = await acquired(member, worker, net["id"], ipaddress="172.24.4.254")
    assert address["ipaddress"] == "172.24.4.254"
    await bad(member, cloud, "associateIpAddress", 533, networkid=net["id"], ipaddress="172.24.4.254")
    for params in (
        {},
        {"networkid": unknown()},
        {"zoneid": unknown()},
        {"networkid": net["id"], "ipaddress": "192.0.2.1"},
        {"networkid": net["id"], "ipaddress": "x"},
        {"vpcid": unknown()},
    ):
        await bad(member, cloud, "associateIpAddress", 431, **params)
    loose = (await member.job(worker, "associateIpAddress", zoneid=await zone(member)))["ipaddress"]
    assert "associatednetworkid" not in loose
    await member.job(worker, "disassociateIpAddress", id=loose["id"])


async def test_static_nat_and_the_firewall_before_it(
    member: Stack, other: Stack, worker: Worker, deploy: Deploy, cloud: Cloud, site: Site
) -> None:
    net = await network(member)
    machine, address = await deploy(net["id"]), await acquired(member, worker, net["id"])
    on = {"ipaddressid": address["id"], "virtualmachineid": machine["id"]}
    for params in (
        {**on, "networkid": unknown()},
        {**on, "vmguestip": "10.1.1.250"},
        {**on, "virtualmachineid": unknown()},
        {**on, "ipaddressid": unknown()},
    ):
        await bad(member, cloud, "enableStaticNat", 431, **params)
    await bad(other, cloud, "enableStaticNat", 431, **on)
    await bad(member, cloud, "disableStaticNat", 431, ipaddressid=address["id"])
    assert await member.call("enableStaticNat", **on) == {"success": True}
    (seen,) = (await member.call("listPublicIpAddresses", isstaticnat=True))["publicipaddress"]
    assert (seen["id"], seen["virtualmachineid"]) == (address["id"], machine["id"])
    assert seen["vmipaddress"] == machine["nic"][0]["ipaddress"]
    (nic,) = (await member.call("listNics", virtualmachineid=machine["id"]))["nic"]
    assert (nic["publicip"], nic["publicipid"]) == (address["ipaddress"], address["id"])
    applied = await router(cloud, site, net["id"])
    assert address["ipaddress"] in {str(rule.external) for rule in applied.nat if rule.kind == "static"}
    assert applied.filters == ()
    rule = await member.job(
        worker,
        "createFirewallRule",
        ipaddressid=address["id"],
        protocol="tcp",
        startport=22,
        endport=23,
        cidrlist=["192.0.2.0/24", "198.51.100.7/32"],
    )
    made = rule["firewallrule"]
    assert (made["startport"], made["endport"], made["cidrlist"]) == (22, 23, "192.0.2.0/24,198.51.100.7/32")
    assert (made["networkid"], made["traffictype"], made["state"]) == (net["id"], "Ingress", "Active")
    assert len((await router(cloud, site, net["id"])).filters) == 1
    await bad(
        member, cloud, "createPortForwardingRule", 537, ipaddressid=address["id"],
        virtualmachineid=machine["id"], **HTTP,
    )  # fmt: skip
    assert await member.job(worker, "disableStaticNat", ipaddressid=address["id"]) == {"success": True}
    assert (await member.call("listPublicIpAddresses", isstaticnat=True)) == {}
    await member.job(worker, "disassociateIpAddress", id=address["id"])
    assert await rows(cloud, FirewallRule) == 0


async def test_firewall_rules_are_made_listed_and_deleted(
    member: Stack, other: Stack, worker: Worker, cloud: Cloud
) -> None:
    net = await network(member)
    address = await acquired(member, worker, net["id"])
    started = await member.call(
        "createFirewallRule", ipaddressid=address["id"], protocol="icmp", icmptype=-1, icmpcode=-1
    )
    assert started.keys() == {"id", "jobid"}
    await worker.idle()
    rule = (await member.call("queryAsyncJobResult", jobid=started["jobid"]))["jobresult"]["firewallrule"]
    assert (rule["icmptype"], rule["icmpcode"], rule["cidrlist"]) == (-1, -1, "0.0.0.0/0")
    every = await member.job(worker, "createFirewallRule", ipaddressid=address["id"], protocol="all")
    assert every["firewallrule"].keys().isdisjoint({"startport", "icmptype"})
    for params, count in (
        ({}, 2),
        ({"id": rule["id"]}, 1),
        ({"ipaddressid": address["id"]}, 2),
        ({"networkid": net["id"]}, 2),
        ({"keyword": "icm"}, 1),
    ):
        assert (await member.call("listFirewallRules", **params)).get("count", 0) == count, params
    assert await member.call("listEgressFirewallRules") == {}
    on = {"ipaddressid": address["id"]}
    await bad(member, cloud, "createFirewallRule", 537, **on, protocol="all")
    for params in (
        {"protocol": "carrier pigeon"},
        {"protocol": "tcp", "startport": 0, "endport": 10},
        {"protocol": "tcp", "startport": 9, "endport": 8},
        {"protocol": "udp", "startport": 1, "endport": 65536},
        {"protocol": "tcp", "endport": 8},
        {"protocol": "tcp", "startport": 8, "cidrlist": "everywhere"},
        {"protocol": "icmp", "startport": 8},
        {"protocol": "icmp", "icmptype": 300},
        {"protocol": "tcp", "icmptype": 3},
        {"protocol": "tcp", "ipaddressid": unknown()},
    ):
        await bad(member, cloud, "createFirewallRule", 431, **{**on, **params})
    for command in ("listFirewallRules", "deleteFirewallRule"):
        await bad(other, cloud, command, 431, id=rule["id"])
        await bad(member, cloud, command, 431, id=unknown())
    await bad(member, cloud, "deleteEgressFirewallRule", 431, id=rule["id"])
    await bad(member, cloud, "listEgressFirewallRules", 431, id=unknown())
    assert await member.job(worker, "deleteFirewallRule", id=rule["id"]) == {"success": True}
    assert (await member.call("listFirewallRules"))["count"] == 1


async def test_egress_rules_are_for_networks_that_deny_egress(
    member: Stack, worker: Worker, cloud: Cloud, site: Site
) -> None:
    closed, open_ = await network(member, EGRESS_DENIED), await network(member, name="open")
    made = await member.job(
        worker,
        "createEgressFirewallRule",
        networkid=closed["id"],
        protocol="tcp",
        startport=443,
        endport=443,
        cidrlist="10.1.1.0/24",
        destcidrlist="192.0.2.0/24",
    )
    rule = made["firewallrule"]
    assert (rule["networkid"], rule["destcidrlist"], rule["traffictype"]) == (
        closed["id"],
        "192.0.2.0/24",
        "Egress",
    )
    assert "ipaddressid" not in rule
    assert (await member.call("listEgressFirewallRules", networkid=closed["id"]))["firewallrule"] == [rule]
    assert await member.call("listEgressFirewallRules", networkid=open_["id"]) == {}
    assert await member.call("listFirewallRules") == {}
    await bad(member, cloud, "createEgressFirewallRule", 431, networkid=open_["id"], protocol="all")
    await bad(member, cloud, "createEgressFirewallRule", 431, networkid=unknown(), protocol="all")
    await bad(member, cloud, "createEgressFirewallRule", 431, networkid=closed["id"], protocol="x")
    await bad(member, cloud, "deleteFirewallRule", 431, id=rule["id"])
    assert len((await router(cloud, site, closed["id"])).filters) == 1
    await member.job(worker, "deleteEgressFirewallRule", id=rule["id"])
    assert await member.call("listEgressFirewallRules") == {}


async def test_a_forwarding_opens_the_firewall_and_closes_it_when_it_goes(
    member: Stack, other: Stack, worker: Worker, deploy: Deploy, cloud: Cloud, site: Site
) -> None:
    net = await network(member)
    machine, address = await deploy(net["id"]), await acquired(member, worker, net["id"])
    on = {"ipaddressid": address["id"], "virtualmachineid": machine["id"]}
    started = await member.call("createPortForwardingRule", **on, **HTTP, cidrlist="192.0.2.0/24")
    assert started.keys() == {"id", "jobid"}
    await worker.idle()
    done = await member.call("queryAsyncJobResult", jobid=started["jobid"])
    rule = done["jobresult"]["portforwardingrule"]
    assert (rule["publicport"], rule["privateport"], rule["protocol"]) == ("80", "8080", "tcp")
    assert (rule["virtualmachineid"], rule["ipaddress"]) == (machine["id"], address["ipaddress"])
    assert (rule["networkid"], rule["vmguestip"]) == (net["id"], machine["nic"][0]["ipaddress"])
    (opened,) = (await member.call("listFirewallRules"))["firewallrule"]
    assert (opened["startport"], opened["endport"], opened["cidrlist"]) == (80, 80, "192.0.2.0/24")
    applied = await router(cloud, site, net["id"])
    assert (len(applied.forwardings), len(applied.filters)) == (1, 1)
    for params, count in (
        ({}, 1),
        ({"id": rule["id"]}, 1),
        ({"ipaddressid": address["id"]}, 1),
        ({"networkid": net["id"]}, 1),
    ):
        assert (await member.call("listPortForwardingRules", **params)).get("count", 0) == count, params
    await bad(member, cloud, "enableStaticNat", 537, **on)
    await bad(member, cloud, "createPortForwardingRule", 537, **on, **HTTP)
    await bad(member, cloud, "createPortForwardingRule", 537, **on, protocol="tcp", publicport=70,
              publicendport=90, privateport=70, privateendport=90)  # fmt: skip
    moved = await member.job(worker, "updatePortForwardingRule", id=rule["id"], privateport=9090)
    assert moved["portforwardingrule"]["privateport"] == "9090"
    await bad(other, cloud, "deletePortForwardingRule", 431, id=rule["id"])
    assert await member.job(worker, "deletePortForwardingRule", id=rule["id"]) == {"success": True}
    assert (await rows(cloud, FirewallRule), await rows(cloud, PortForwarding)) == (0, 0)
    applied = await router(cloud, site, net["id"])
    assert (applied.forwardings, applied.filters) == ((), ())


async def test_forwardings_of_ranges_with_and_without_the_firewall(
    member: Stack, worker: Worker, deploy: Deploy, cloud: Cloud
) -> None:
    net = await network(member)
    machine, address = await deploy(net["id"]), await acquired(member, worker, net["id"])
    on = {"ipaddressid": address["id"], "virtualmachineid": machine["id"]}
    made = await member.job(
        worker, "createPortForwardingRule", **on, protocol="UDP", publicport=100, publicendport=104,
        privateport=200, openfirewall=False,
    )  # fmt: skip
    rule = made["portforwardingrule"]
    assert (rule["publicendport"], rule["privateendport"], rule["protocol"]) == ("104", "204", "udp")
    assert await member.call("listFirewallRules") == {}
    own = await member.job(
        worker, "createFirewallRule", ipaddressid=address["id"], protocol="tcp", startport=80, endport=80
    )
    second = await member.job(worker, "createPortForwardingRule", **on, **HTTP)
    await member.job(worker, "deletePortForwardingRule", id=second["portforwardingrule"]["id"])
    (left,) = (await member.call("listFirewallRules"))["firewallrule"]
    assert left["id"] == own["firewallrule"]["id"]
    await member.job(worker, "deletePortForwardingRule", id=rule["id"])
    for params in (
        {"protocol": "icmp"},
        {"publicport": 0},
        {"publicport": 70_000},
        {"publicendport": 79},
        {"publicendport": 85, "privateendport": 8081},
        {"publicport": 1, "publicendport": 5000},
        {"vmguestip": "10.1.1.250"},
        {"networkid": unknown()},
        {"ipaddressid": unknown()},
        {"virtualmachineid": unknown()},
        {"openfirewall": False, "cidrlist": "192.0.2.0/24"},
        {"cidrlist": "nowhere"},
    ):
        await bad(member, cloud, "createPortForwardingRule", 431, **{**on, **HTTP, **params})
    for command in ("deletePortForwardingRule", "updatePortForwardingRule", "listPortForwardingRules"):
        await bad(member, cloud, command, 431, id=unknown())


async def test_neutrons_floating_ips_are_public_addresses(
    member: Stack, openstack: Person, worker: Worker, deploy: Deploy, cloud: Cloud
) -> None:
    net = await network(member)
    machine = await deploy(net["id"])
    (external,) = (await asked(openstack, "GET", f"{V2}/networks?router:external=true"))["networks"]
    body = {"floatingip": {"floating_network_id": external["id"], "port_id": machine["nic"][0]["id"]}}
    floating = (await asked(openstack, "POST", f"{V2}/floatingips", body))["floatingip"]
    await worker.idle()
    (seen,) = (await member.call("listPublicIpAddresses", id=floating["id"]))["publicipaddress"]
    assert (seen["ipaddress"], seen["isstaticnat"]) == (floating["floating_ip_address"], True)
    assert (seen["virtualmachineid"], seen["associatednetworkid"]) == (machine["id"], net["id"])
    await bad(member, cloud, "createFirewallRule", 431, ipaddressid=floating["id"], protocol="all")
    await member.job(worker, "disableStaticNat", ipaddressid=floating["id"])
    shown = (await asked(openstack, "GET", f"{V2}/floatingips/{floating['id']}"))["floatingip"]
    assert shown["port_id"] is None
    made = await member.job(
        worker, "createPortForwardingRule", ipaddressid=floating["id"], virtualmachineid=machine["id"], **HTTP
    )
    rule = made["portforwardingrule"]
    path = f"{V2}/floatingips/{floating['id']}/port_forwardings"
    (forwarding,) = (await asked(openstack, "GET", path))["port_forwardings"]
    assert (forwarding["id"], forwarding["external_port"], forwarding["internal_port"]) == (
        rule["id"],
        80,
        8080,
    )
    await asked(openstack, "DELETE", f"{path}/{rule['id']}")
    await worker.idle()
    assert await member.call("listPortForwardingRules") == {}
    await member.job(worker, "disassociateIpAddress", id=floating["id"])
    assert (await openstack.get(f"{V2}/floatingips/{floating['id']}")).status == 404


async def test_a_deleted_machine_takes_its_rules_along(
    member: Stack, worker: Worker, deploy: Deploy, cloud: Cloud
) -> None:
    net = await network(member)
    machine, address = await deploy(net["id"]), await acquired(member, worker, net["id"])
    await member.call("enableStaticNat", ipaddressid=address["id"], virtualmachineid=machine["id"])
    await member.job(worker, "destroyVirtualMachine", id=machine["id"], expunge=True)
    (seen,) = (await member.call("listPublicIpAddresses", id=address["id"]))["publicipaddress"]
    assert (seen["isstaticnat"], seen["associatednetworkid"]) == (False, net["id"])
    await member.job(worker, "deleteNetwork", id=net["id"])
    assert await rows(cloud, Address) == 0


async def test_a_security_group_lives_from_creation_to_deletion(
    member: Stack, other: Stack, worker: Worker, cloud: Cloud
) -> None:
    (default,) = (await member.call("listSecurityGroups"))["securitygroup"]
    assert (default["name"], default["egressrule"]) == ("default", [])
    group = (await member.call("createSecurityGroup", name="web", description="Web servers"))["securitygroup"]
    assert (group["ingressrule"], group["egressrule"], group["account"]) == ([], [], "demo")
    await bad(member, cloud, "createSecurityGroup", 431, name="web")
    await bad(member, cloud, "createSecurityGroup", 431, name="default")
    done = await member.job(
        worker, "authorizeSecurityGroupIngress", securitygroupid=group["id"], protocol="tcp",
        startport=80, endport=81, cidrlist=["192.0.2.0/24", "2001:db8::/32"],
    )  # fmt: skip
    first, second = done["securitygroup"]["ingressrule"]
    assert (first["protocol"], first["startport"], first["endport"], first["cidr"]) == (
        "tcp",
        80,
        81,
        "192.0.2.0/24",
    )
    assert second["cidr"] == "2001:db8::/32"
    row = {"usersecuritygrouplist[0].account": "demo", "usersecuritygrouplist[0].group": "default"}
    done = await member.job(
        worker,
        "authorizeSecurityGroupIngress",
        securitygroupname="web",
        protocol="icmp",
        icmptype=8,
        icmpcode=0,
        **row,
    )
    ping = done["securitygroup"]["ingressrule"][2]
    assert (ping["icmptype"], ping["icmpcode"]) == (8, 0)
    assert (ping["securitygroupname"], ping["account"]) == ("default", "demo")
    for params, names in (
        ({"securitygroupname": "web"}, ["web"]),
        ({"keyword": "we"}, ["web"]),
        ({"id": group["id"]}, ["web"]),
        ({}, ["default", "web"]),
    ):
        found = (await member.call("listSecurityGroups", **params))["securitygroup"]
        assert [each["name"] for each in found] == names, params
    assert await member.job(worker, "revokeSecurityGroupIngress", id=first["ruleid"]) == {"success": True}
    await bad(member, cloud, "revokeSecurityGroupIngress", 431, id=first["ruleid"])
    await bad(member, cloud, "revokeSecurityGroupEgress", 431, id=second["ruleid"])
    await bad(other, cloud, "revokeSecurityGroupIngress", 431, id=second["ruleid"])
    await bad(other, cloud, "deleteSecurityGroup", 431, id=group["id"])
    await bad(other, cloud, "listSecurityGroups", 431, id=group["id"])
    await bad(member, cloud, "deleteSecurityGroup", 431, name="default")
    await bad(member, cloud, "deleteSecurityGroup", 431)
    assert await member.call("deleteSecurityGroup", name="web") == {"success": True}
    assert await rows(cloud, SecurityRule) > 0
    await bad(member, cloud, "deleteSecurityGroup", 431, id=group["id"])


async def test_bad_rules_of_groups_are_refused(member: Stack, cloud: Cloud) -> None:
    await member.call("listSecurityGroups")
    group = (await member.call("createSecurityGroup", name="web"))["securitygroup"]["id"]
    on = {"securitygroupid": group, "cidrlist": "192.0.2.0/24"}
    for params in (
        {"securitygroupid": group},
        {"cidrlist": "192.0.2.0/24"},
        {**on, "securitygroupid": unknown()},
        {"securitygroupname": "nobody", "cidrlist": "192.0.2.0/24"},
        {**on, "cidrlist": "nowhere"},
        {**on, "protocol": "pigeon"},
        {**on, "startport": 10, "endport": 9},
        {**on, "startport": 0, "endport": 70_000},
        {**on, "protocol": "icmp", "icmptype": 999},
        {**on, "protocol": "icmp", "startport": 9},
        {**on, "protocol": "tcp", "icmptype": 9},
        {**on, "cidrlist": "192.0.2.0/24,192.0.2.0/24", "code": 537},
        {"securitygroupid": group, "usersecuritygrouplist[0].account": "demo"},
        {
            "securitygroupid": group,
            "usersecuritygrouplist[0].account": "demo",
            "usersecuritygrouplist[0].group": "x",
        },
        {
            "securitygroupid": group,
            "usersecuritygrouplist[0].account": "nobody",
            "usersecuritygrouplist[0].group": "x",
        },
    ):
        sent: dict[str, Any] = dict(params)
        code = int(sent.pop("code", 431))
        for command in ("authorizeSecurityGroupIngress", "authorizeSecurityGroupEgress"):
            await bad(member, cloud, command, code, **sent)


async def test_the_first_egress_rule_restricts_and_the_last_one_frees(
    member: Stack, worker: Worker, openstack: Person
) -> None:
    group = (await member.call("createSecurityGroup", name="web"))["securitygroup"]["id"]

    async def leaving() -> set[tuple[str | None, str | None]]:
        shown = (await asked(openstack, "GET", f"{V2}/security-groups/{group}"))["security_group"]
        rules = [rule for rule in shown["security_group_rules"] if rule["direction"] == "egress"]
        return {(rule["protocol"], rule["remote_ip_prefix"]) for rule in rules}

    assert await leaving() == {(None, None)}
    ids = []
    for port in (53, 443):
        done = await member.job(
            worker, "authorizeSecurityGroupEgress", securitygroupid=group, protocol="tcp",
            startport=port, endport=port, cidrlist="192.0.2.0/24",
        )  # fmt: skip
        ids = [rule["ruleid"] for rule in done["securitygroup"]["egressrule"]]
    assert len(ids) == 2
    assert await leaving() == {("tcp", "192.0.2.0/24")}
    for key in ids:
        await member.job(worker, "revokeSecurityGroupEgress", id=key)
    assert await leaving() == {(None, None)}
    (shown,) = (await member.call("listSecurityGroups", id=group))["securitygroup"]
    assert shown["egressrule"] == []


async def test_a_group_knows_its_machines_and_cannot_go_before_them(
    member: Stack, admin: Stack, place: dict[str, str], worker: Worker, cloud: Cloud
) -> None:
    shared = await network(
        admin, "DefaultSharedNetworkOfferingWithSGService", name="all", gateway="10.9.0.1",
        netmask="255.255.255.0", startip="10.9.0.10", endip="10.9.0.99",
    )  # fmt: skip
    group = (await member.call("createSecurityGroup", name="web"))["securitygroup"]
    done = await member.job(
        worker, "deployVirtualMachine", **place, networkids=shared["id"], securitygroupids=group["id"]
    )
    machine = done["virtualmachine"]
    assert [each["id"] for each in machine["securitygroup"]] == [group["id"]]
    (seen,) = (await member.call("listSecurityGroups", virtualmachineid=machine["id"]))["securitygroup"]
    assert (seen["virtualmachineids"], seen["virtualmachinecount"]) == ([machine["id"]], 1)
    await bad(member, cloud, "deleteSecurityGroup", 536, id=group["id"])
    await bad(member, cloud, "listSecurityGroups", 431, virtualmachineid=unknown())


async def test_a_group_is_renamed_by_an_administrator(admin: Stack, cloud: Cloud) -> None:
    group = (await admin.call("createSecurityGroup", name="web"))["securitygroup"]
    assert (await admin.call("updateSecurityGroup", id=group["id"], name="www"))["securitygroup"][
        "name"
    ] == "www"
    await bad(admin, cloud, "updateSecurityGroup", 431, id=group["id"], name="default")
    await bad(admin, cloud, "updateSecurityGroup", 431, id=unknown(), name="x")
