"""Faults in a simulated cloud through the console's API: a host loses its power, and the cloud shows it."""

from typing import Any
from uuid import uuid4

import pytest

from pileus.drivers.hypervisor.protocol import Power
from pileus.reconcile.servers import Servers
from pileus.workflows.site import Site
from tests.contract.openstack.conftest import Person

FAULTS = "/console/simulation/faults"


def host_of(site: Site) -> tuple[str, Any]:
    key, driver = next(iter(site.hypervisors.items()))
    return str(key), driver


async def test_a_host_that_loses_its_power_stops_its_servers(
    admin: Person, member: Person, site: Site, server: dict[str, Any]
) -> None:
    key, driver = host_of(site)
    wanted = {"host": key, "fault": "power loss", "lasts": 600}
    reply = await admin.post(FAULTS, json=wanted)
    assert reply.status == 201, reply.text
    fault = reply.json()["fault"]
    assert (fault["fault"], fault["host"], fault["lasts"]) == ("power loss", key, 600)
    listed = (await admin.get(FAULTS)).json()["faults"]
    assert [each["id"] for each in listed] == [fault["id"]]
    assert (await admin.request("DELETE", f"{FAULTS}/{fault['id']}")).status == 204
    assert (await admin.get(FAULTS)).json() == {"faults": []}
    assert set((await driver.guests()).values()) == {Power.OFF}
    await Servers(site).look()
    shown = (await member.get(f"/compute/v2.1/servers/{server['id']}")).json()["server"]
    assert shown["status"] == "SHUTOFF"


async def test_all_faults_end_together(admin: Person, site: Site) -> None:
    for platform in ("network", "images", str(next(iter(site.pools))), host_of(site)[0]):
        reply = await admin.post(FAULTS, json={"host": platform, "fault": "unreachable"})
        assert reply.status == 201, reply.text
    assert len((await admin.get(FAULTS)).json()["faults"]) == 4
    assert (await admin.request("DELETE", FAULTS)).status == 204
    assert (await admin.get(FAULTS)).json() == {"faults": []}


@pytest.mark.parametrize(
    ("wrong", "status", "told"),
    [
        ({"host": str(uuid4())}, 404, "could not be found"),
        ({"fault": "bored"}, 400, "bored"),
        ({"host": "network", "fault": "power loss", "lasts": 9}, 400, "only hosts lose their power"),
        ({"fault": "power loss"}, 400, "say only how many seconds it lasts"),
        ({"call": "boot"}, 400, "boot is no call"),
        ({"chance": 2}, 400, "chance"),
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused(
    admin: Person, site: Site, wrong: dict[str, Any], status: int, told: str
) -> None:
    reply = await admin.post(FAULTS, json={"host": host_of(site)[0], "fault": "slow"} | wrong)
    assert reply.status == status, reply.text
    assert told in reply.text
    assert (await admin.get(FAULTS)).json() == {"faults": []}
    assert (await admin.request("DELETE", f"{FAULTS}/{uuid4()}")).status == 404


async def test_only_administrators_break_the_platforms(admin: Person, member: Person, site: Site) -> None:
    for method, path in (("GET", FAULTS), ("DELETE", FAULTS), ("DELETE", f"{FAULTS}/{uuid4()}")):
        assert (await member.request(method, path)).status == 403
    body = {"host": "network", "fault": "slow"}
    assert (await member.post(FAULTS, json=body)).status == 403


async def test_where_nothing_is_simulated_it_is_said_so(
    admin: Person, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pileus.workflows.simulation.Faulty", type("Other", (), {}))
    for reply in (
        await admin.post(FAULTS, json={"host": "network", "fault": "slow"}),
        await admin.get(FAULTS),
        await admin.request("DELETE", FAULTS),
    ):
        assert reply.status in (400, 501)
        assert "not simulated" in reply.text
