"""Instance actions and their events, of servers that are there and of servers that are gone."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import pytest

from pileus.core.cloud import Cloud
from pileus.core.compute.records import Host, Server
from pileus.core.image.records import Image
from pileus.core.network.records import Network
from pileus.core.operations import Operation, Outcome
from pileus.drivers.errors import Unreachable
from pileus.faces.openstack.compute.history import NAMES
from pileus.faces.openstack.compute.server_view import host_id
from pileus.workflows import catalogue
from pileus.workflows.engine import WORKFLOWS
from pileus.workflows.site import Site
from tests.contract.openstack.conftest import Person
from tests.contract.openstack.test_compute import (
    BASE,
    DEADLINE,
    LATEST,
    act,
    boot,
    gone,
    image,  # noqa: F401 - a fixture
    network,  # noqa: F401 - a fixture
    show,
    until,
    version,
)

catalogue.load()
STEPS = [f"pileus_server_deploy_{step.name.replace(' ', '_')}" for step in WORKFLOWS["server.deploy"].steps]


async def listed(who: Person, key: str, query: str = "", number: str = "2.96") -> list[dict[str, Any]]:
    reply = await who.get(f"{BASE}/servers/{key}/os-instance-actions{query}", headers=version(number))
    assert reply.status == 200, reply.text
    found: list[dict[str, Any]] = reply.json()["instanceActions"]
    return found


async def shown(who: Person, key: str, request: str, number: str = "2.96") -> dict[str, Any]:
    path = f"{BASE}/servers/{key}/os-instance-actions/{request}"
    reply = await who.get(path, headers=version(number))
    assert reply.status == 200, reply.text
    found: dict[str, Any] = reply.json()["instanceAction"]
    return found


@pytest.fixture
async def server(member: Person, image: Image, network: Network) -> str:  # noqa: F811
    made = await boot(member, image)
    await until(member, made["id"], "ACTIVE")
    return str(made["id"])


def test_names_are_of_workflows_that_there_are() -> None:
    assert NAMES.keys() <= WORKFLOWS.keys()


async def test_every_step_is_an_event(server: str, member: Person, admin: Person, cloud: Cloud) -> None:
    (action,) = await listed(member, server)
    assert (action["action"], action["message"]) == ("create", None)
    found = (await shown(admin, server, action["request_id"]))["events"]
    assert [each["event"] for each in found] == STEPS[::-1]
    times = [each["start_time"] for each in found]
    assert times == sorted(times, reverse=True)
    assert all(each["start_time"] <= each["finish_time"] <= action["updated_at"] for each in found)
    async with cloud.view() as look:
        (host,) = await look.list(Host)
    project = member.project.id
    for each in found:
        told = (each["result"], each["traceback"], each["details"], each["host"], each["hostId"])
        assert told == ("Success", None, None, host.hostname, host_id(project, host.id))


FIELDS = {
    "2.1": None,
    "2.50": None,
    "2.51": {"event", "start_time", "finish_time", "result"},
    "2.62": {"event", "start_time", "finish_time", "result", "hostId"},
    "2.84": {"event", "start_time", "finish_time", "result", "hostId"},
}


async def test_fields_by_version_and_by_who_asks(server: str, member: Person, admin: Person) -> None:
    request = (await listed(member, server))[0]["request_id"]
    for number, fields in FIELDS.items():
        action = await shown(member, server, request, number)
        assert ("events" in action) == (fields is not None), number
        assert all(each.keys() == fields for each in action.get("events", [])), number
        assert ("updated_at" in action) == (number >= "2.58" and number != "2.1")
        more = {"traceback"} | ({"host"} if number >= "2.62" else set())
        more |= {"details"} if number == "2.84" else set()
        for each in (await shown(admin, server, request, number))["events"]:
            assert each.keys() == (fields or FIELDS["2.51"] or set()) | more, number


async def test_a_failure_is_told_with_its_undo(
    member: Person,
    admin: Person,
    image: Image,  # noqa: F811
    network: Network,  # noqa: F811
    site: Site,
) -> None:
    (hypervisor,) = site.hypervisors.values()
    hypervisor.fail("define", RuntimeError("no such luck"))  # type: ignore[attr-defined]
    key = (await boot(member, image))["id"]
    await until(member, key, "ERROR")
    (action,) = await listed(member, key)
    assert action["message"] == "Error"
    found = (await shown(admin, key, action["request_id"]))["events"]
    by_name = {each["event"]: each for each in found}
    broken = by_name["pileus_server_deploy_define"]
    assert (broken["result"], broken["traceback"], broken["details"]) == (
        "Error",
        "no such luck",
        "no such luck",
    )
    assert by_name["pileus_server_deploy_undo_place"]["result"] == "Success"
    assert found[-1]["event"] == STEPS[0]
    plain = (await shown(member, key, action["request_id"]))["events"]
    assert "no such luck" not in str(plain)


async def test_what_is_under_way_has_no_result(
    server: str, member: Person, admin: Person, site: Site
) -> None:
    (hypervisor,) = site.hypervisors.values()
    hypervisor.fail("stop", Unreachable("away"), times=100)  # type: ignore[attr-defined]
    assert (await act(member, server, "os-stop")).status == 202
    last, end = (await listed(member, server))[0], time.monotonic() + DEADLINE
    while not (action := await shown(admin, server, last["request_id"]))["events"]:
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
    assert (action["action"], action["message"]) == ("stop", None)
    now = action["events"][0]
    assert now["event"].startswith("pileus_server_stop_")
    assert (now["finish_time"], now["result"], now["traceback"]) == (None, None, None)


async def test_actions_are_paged_and_filtered_by_time(server: str, member: Person) -> None:
    for verb, status in (("os-stop", "SHUTOFF"), ("os-start", "ACTIVE")):
        await act(member, server, verb)
        await until(member, server, status)
    whole = await listed(member, server)
    assert [each["action"] for each in whole] == ["start", "stop", "create"]
    pages, query = [], "?limit=1"
    while query:
        reply = await member.get(f"{BASE}/servers/{server}/os-instance-actions{query}", headers=LATEST)
        body = reply.json()
        pages += body["instanceActions"]
        link = body.get("links", [{"href": ""}])[0]["href"]
        query = "?" + link.partition("?")[2] if link else ""
    assert pages == whole
    at = whole[1]["updated_at"]
    assert await listed(member, server, f"?changes-since={at}") == whole[:2]
    assert await listed(member, server, f"?changes-before={at}") == whole[1:]
    path = f"{BASE}/servers/{server}/os-instance-actions"
    for query, number in (
        (f"?changes-before={at}", "2.65"),
        ("?marker=req-nothing", "2.96"),
        ("?changes-since=x", "2.96"),
        ("?sort_key=x", "2.96"),
        ("?changes-since=2999-01-01&changes-before=2001-01-01", "2.96"),
    ):
        assert (await member.get(f"{path}{query}", headers=version(number))).status == 400, query
    assert await listed(member, server, "?limit=1", "2.57") == [
        {name: value for name, value in each.items() if name != "updated_at"} for each in whole
    ]


async def test_what_was_done_to_a_server_outlives_it(server: str, member: Person, other: Person) -> None:
    assert (await member.delete(f"{BASE}/servers/{server}")).status == 204
    await gone(member, server)
    found = await listed(member, server)
    assert [each["action"] for each in found] == ["delete", "create"]
    for each in found:
        events = (await shown(member, server, each["request_id"]))["events"]
        assert events
        assert {event["hostId"] for event in events} == {""}
        path = f"{BASE}/servers/{server}/os-instance-actions/{each['request_id']}"
        assert (await other.get(path, headers=LATEST)).status == 404
        assert (await member.get(path, headers=version("2.20"))).status == 404


async def test_work_without_a_request_or_without_a_step_is_told(
    server: str, member: Person, admin: Person, cloud: Cloud
) -> None:
    async with cloud.transaction() as tx:
        held = await tx.get(Server, (await tx.list(Server))[0].id)
        made = await tx.start("server.stop", subject=held, key=held.id)
        ends = {"outcome": Outcome.FAILED, "fault": "It was cancelled.", "finished_at": cloud.now()}
        await tx.rows.update_where(Operation, ends, id=made.id)
    action = (await listed(member, server))[0]
    assert (action["request_id"], action["message"]) == (f"req-{made.id}", "Error")
    (event,) = (await shown(admin, server, action["request_id"]))["events"]
    told = (event["event"], event["result"], event["traceback"])
    assert told == ("pileus_server_stop", "Error", "It was cancelled.")


async def test_an_action_that_there_is_not_is_not_found(server: str, member: Person) -> None:
    assert (await show(member, server))["status"] == "ACTIVE"
    path = f"{BASE}/servers/{server}/os-instance-actions/req-{uuid4()}"
    assert (await member.get(path, headers=LATEST)).status == 404
