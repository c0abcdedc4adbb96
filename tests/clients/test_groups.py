"""Groups of hosts and of servers with both unmodified clients, on a simulated cloud."""

from tests.clients.cloud import SimulatedCloud


def test_the_openstack_client_groups_hosts_and_servers(simulated: SimulatedCloud) -> None:
    def ask(*words: str) -> object:
        return simulated.openstack(*words, "-f", "json")

    ask("aggregate", "create", "racks", "--zone", "az1", "--property", "ssd=true")
    ask("aggregate", "add", "host", "racks", "sim-1")
    shown = ask("aggregate", "show", "racks")
    assert (shown["hosts"], shown["availability_zone"]) == (["sim-1"], "az1")  # type: ignore[index]
    zones = ask("availability", "zone", "list", "--compute", "--long")
    assert {zone["Host Name"]: zone["Zone Name"] for zone in zones}["sim-1"] == "az1"  # type: ignore[attr-defined]
    ask("server", "group", "create", "--policy", "soft-anti-affinity", "web")
    (group,) = simulated.cs("listAffinityGroups", name="web")["affinitygroup"]
    assert group["type"] == "non-strict host anti-affinity"
    ask("aggregate", "remove", "host", "racks", "sim-1")
    simulated.openstack("aggregate", "delete", "racks")
    simulated.openstack("server", "group", "delete", "web")
    assert simulated.cs("listAffinityGroups") == {}


def test_cs_makes_a_group_and_empties_a_host(simulated: SimulatedCloud) -> None:
    made = simulated.cs("createAffinityGroup", name="db", type="host anti-affinity")["affinitygroup"]
    (seen,) = simulated.openstack("server", "group", "list", "-f", "json")
    assert (seen["ID"], seen["Policy"]) == (made["id"], "anti-affinity")
    simulated.cs("deleteAffinityGroup", id=made["id"])
    (host,) = simulated.cs("listHosts", name="sim-2")["host"]
    held = simulated.cs("prepareHostForMaintenance", id=host["id"])["host"]
    assert held["resourcestate"] == "Maintenance"
    listed = simulated.openstack("compute", "service", "list", "--host", "sim-2", "-f", "json")
    assert [service["Status"] for service in listed] == ["disabled"]
    assert simulated.cs("cancelHostMaintenance", id=host["id"])["host"]["resourcestate"] == "Enabled"
