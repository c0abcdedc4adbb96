"""The same job with the unmodified client `cs`; and each API sees and deletes what the other made."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.cloud import Login, RealCloud, until

USER_DATA = "#!/bin/sh\necho cs > /var/lib/user-data-ran\n"


@pytest.fixture(scope="module")
def zone(cloud: RealCloud) -> str:
    return str(cloud.cs("listZones")["zone"][0]["id"])


@pytest.fixture(scope="module")
def template(cloud: RealCloud, image: str) -> str:
    listed = cloud.cs("listTemplates", templatefilter="executable")["template"]
    return str(next(each["id"] for each in listed if each["name"] == image))


@pytest.fixture(scope="module")
def offering(cloud: RealCloud) -> str:
    listed = cloud.cs("listServiceOfferings")["serviceoffering"]
    return str(next(each["id"] for each in listed if each["name"] == "tiny"))


@pytest.fixture(scope="module")
def network(cloud: RealCloud, zone: str) -> Iterator[dict[str, Any]]:
    offerings = cloud.cs("listNetworkOfferings", guestiptype="Isolated", state="Enabled")["networkoffering"]
    chosen = next(o for o in offerings if "SourceNat" in {s["name"] for s in o["service"]})
    made = cloud.cs(
        "createNetwork", name="isolated", displaytext="isolated", zoneid=zone, networkofferingid=chosen["id"]
    )
    yield made["network"]
    cloud.cs("deleteNetwork", id=made["network"]["id"])
    assert made["network"]["id"] not in cloud.nb("list", "Logical_Switch")


@pytest.fixture(scope="module")
def machine(
    cloud: RealCloud, zone: str, template: str, offering: str, network: dict[str, Any], key: Path
) -> Iterator[dict[str, Any]]:
    cloud.cs("registerSSHKeyPair", name="cs-key", publickey=key.with_suffix(".pub").read_text().strip())
    made = cloud.cs(
        "deployVirtualMachine",
        name="cs-web",
        zoneid=zone,
        templateid=template,
        serviceofferingid=offering,
        networkids=network["id"],
        keypair="cs-key",
        userdata=base64.b64encode(USER_DATA.encode()).decode(),
    )["virtualmachine"]
    yield made
    cloud.cs("deleteSSHKeyPair", name="cs-key")


def test_a_machine_answers_ssh_through_static_nat_and_a_firewall_rule(
    cloud: RealCloud, network: dict[str, Any], machine: dict[str, Any], key: Path
) -> None:
    assert machine["state"] == "Running"
    address = cloud.cs("associateIpAddress", networkid=network["id"])["ipaddress"]
    assert cloud.cs("enableStaticNat", ipaddressid=address["id"], virtualmachineid=machine["id"])[
        "success"
    ] in (True, "true")
    ssh = Login(address["ipaddress"], key)
    until(
        "the guest is up",
        lambda: "boot finished" in cloud.openstack("console", "log", "show", machine["id"]),
        300,
    )
    assert not ssh.tries("true"), "the firewall lets nothing in before there is a rule"
    rule = cloud.cs(
        "createFirewallRule",
        ipaddressid=address["id"],
        protocol="tcp",
        startport="22",
        endport="22",
        cidrlist="0.0.0.0/0",
    )["firewallrule"]
    ssh.wait(60)
    assert ssh("hostname") == "cs-web"
    until("user data", lambda: ssh.tries("grep -q cs /var/lib/user-data-ran"), 60)
    cloud.cs("deleteFirewallRule", id=rule["id"])
    until("the firewall is shut", lambda: not ssh.tries("true"), 30)
    cloud.cs("disableStaticNat", ipaddressid=address["id"])
    forwarding = cloud.cs(
        "createPortForwardingRule",
        ipaddressid=address["id"],
        protocol="tcp",
        publicport="22",
        privateport="22",
        virtualmachineid=machine["id"],
        openfirewall="true",
    )["portforwardingrule"]
    ssh.wait(60)
    cloud.cs("deletePortForwardingRule", id=forwarding["id"])
    cloud.cs("disassociateIpAddress", id=address["id"])
    assert address["ipaddress"] not in cloud.nat()


def test_a_volume_is_made_attached_resized_and_snapshotted(
    cloud: RealCloud, zone: str, machine: dict[str, Any]
) -> None:
    offerings = cloud.cs("listDiskOfferings")["diskoffering"]
    custom = next(o for o in offerings if o["iscustomized"])
    volume = cloud.cs("createVolume", name="cs-data", zoneid=zone, diskofferingid=custom["id"], size="1")[
        "volume"
    ]
    cloud.cs("attachVolume", id=volume["id"], virtualmachineid=machine["id"])
    assert volume["id"] in cloud.disks()
    assert volume["id"] in cloud.virsh("dumpxml", machine["id"])
    snapshot = cloud.cs("createSnapshot", volumeid=volume["id"])["snapshot"]
    cloud.cs("deleteSnapshot", id=snapshot["id"])
    cloud.cs("detachVolume", id=volume["id"])
    resized = cloud.cs("resizeVolume", id=volume["id"], size="2")["volume"]
    assert resized["size"] == 2 << 30
    assert cloud.openstack("volume", "show", volume["id"], "-f", "json")["size"] == 2
    cloud.cs("deleteVolume", id=volume["id"])
    assert volume["id"] not in cloud.disks()


def test_each_api_sees_and_deletes_what_the_other_made(
    cloud: RealCloud,
    zone: str,
    template: str,
    offering: str,
    network: dict[str, Any],
    machine: dict[str, Any],
) -> None:
    listed = {s["ID"]: s["Status"] for s in cloud.openstack("server", "list", "-f", "json")}
    assert listed[machine["id"]] == "ACTIVE"
    cloud.openstack(
        "server",
        "create",
        "by-nova",
        "--flavor",
        "tiny",
        "--image",
        template,
        "--network",
        network["id"],
        "--wait",
        "-f",
        "json",
    )
    machines = {m["name"]: m for m in cloud.cs("listVirtualMachines")["virtualmachine"]}
    assert machines["by-nova"]["state"] == "Running"
    cloud.cs("destroyVirtualMachine", id=machines["by-nova"]["id"], expunge="true")
    cloud.openstack("server", "delete", machine["id"], "--wait")
    assert cloud.cs("listVirtualMachines") in ({}, {"count": 0})
    assert not {machine["id"], machines["by-nova"]["id"]} & cloud.guests()


def test_stop_destroy_and_recover(
    cloud: RealCloud, zone: str, template: str, offering: str, network: dict[str, Any]
) -> None:
    made = cloud.cs(
        "deployVirtualMachine",
        name="cs-2",
        zoneid=zone,
        templateid=template,
        serviceofferingid=offering,
        networkids=network["id"],
    )["virtualmachine"]
    assert (
        cloud.cs("stopVirtualMachine", id=made["id"], forced="true")["virtualmachine"]["state"] == "Stopped"
    )
    assert cloud.cs("startVirtualMachine", id=made["id"])["virtualmachine"]["state"] == "Running"
    assert (
        cloud.cs("rebootVirtualMachine", id=made["id"], forced="true")["virtualmachine"]["state"] == "Running"
    )
    assert cloud.cs("destroyVirtualMachine", id=made["id"])["virtualmachine"]["state"] == "Destroyed"
    assert cloud.cs("recoverVirtualMachine", id=made["id"])["virtualmachine"]["state"] == "Stopped"
    cloud.cs("destroyVirtualMachine", id=made["id"])
    cloud.cs("expungeVirtualMachine", id=made["id"])
    assert made["id"] not in cloud.guests() | cloud.disks()
