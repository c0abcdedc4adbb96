"""Long work through the console's API and the operator's command."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
import uvicorn
from click.testing import CliRunner

from pileus.app import running
from pileus.cli.main import main
from pileus.config import Config
from pileus.drivers.errors import Unreachable
from pileus.faces.wire import Kernel
from pileus.workflows import engine, server_deploy
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests.contract.openstack.conftest import Person

STEPS = [step.name for step in server_deploy.WORKFLOW.steps]


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for its platform does so until it is woken."""
    monkeypatch.setattr(engine, "RETRY", (300.0,))


@pytest.fixture
async def waiting(patient: None, member: Person, server: dict[str, Any], site: Site) -> dict[str, Any]:
    """The operation of a second server that waits for its host."""
    (hypervisor,) = site.hypervisors.values()
    hypervisor.fail("define", Unreachable("the host is away"))  # type: ignore[attr-defined]
    images = (await member.get("/image/v2/images")).json()["images"]
    wanted = {"name": "t", "flavorRef": "1", "imageRef": images[0]["id"], "networks": "none"}
    headers = {"openstack-api-version": "compute 2.37"}
    made = await member.post("/compute/v2.1/servers", json={"server": wanted}, headers=headers)
    path = f"/console/operations?subject={made.json()['server']['id']}"
    async with asyncio.timeout(20):
        while not (shown := (await member.get(path)).json()["operations"][0])["why"]:
            await asyncio.sleep(0.01)
    return dict(shown)


async def ended(who: Person, operation: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            shown = (await who.get(f"/console/operations/{operation}")).json()["operation"]
            if shown["finished_at"]:
                return dict(shown)
            await asyncio.sleep(0.01)


async def test_an_operation_is_shown_to_its_project_and_to_no_other(
    member: Person, other: Person, admin: Person, deployed: str
) -> None:
    for who in (member, admin):
        shown = (await who.get(f"/console/operations/{deployed}")).json()["operation"]
        assert (shown["workflow"], shown["outcome"], shown["kind"]) == ("server.deploy", "done", "server")
    for path in ("", "/cancel", "/retry"):
        method = "POST" if path else "GET"
        assert (await other.request(method, f"/console/operations/{deployed}{path}")).status == 404
    assert (await member.get(f"/console/operations/{uuid4()}")).status == 404


async def test_an_operation_shows_each_of_its_steps_with_its_time(member: Person, deployed: str) -> None:
    steps = (await member.get(f"/console/operations/{deployed}")).json()["operation"]["steps"]
    assert [(step["name"], step["state"]) for step in steps] == [(name, "done") for name in STEPS]
    assert all(step["ms"] >= 0 and step["at"] and step["tries"] >= 1 for step in steps)


async def test_operations_are_listed_newest_first_a_page_at_a_time(
    member: Person, admin: Person, other: Person, deployed: str
) -> None:
    everything = (await admin.get("/console/operations")).json()["operations"]
    order = [each["sequence"] for each in everything]
    assert order == sorted(order, reverse=True)
    seen, path = [], "/console/operations?limit=1"
    while path:
        page = (await admin.get(path)).json()
        seen += [each["id"] for each in page["operations"]]
        path = page["next"] and page["next"].partition("cloud.test")[2]
    assert seen == [each["id"] for each in everything]
    mine = (await member.get("/console/operations")).json()["operations"]
    assert {each["project"] for each in mine} == {str(member.project.id)}
    assert (await other.get("/console/operations")).json() == {"operations": [], "next": None}


@pytest.mark.parametrize(
    ("query", "hit"),
    [
        ("workflow=server.deploy", True),
        ("workflow=server.delete", False),
        ("outcome=done", True),
        ("outcome=flagged", False),
        ("live=true", False),
    ],
)
async def test_filters_narrow_the_list(member: Person, deployed: str, query: str, hit: bool) -> None:
    found = (await member.get(f"/console/operations?{query}")).json()["operations"]
    assert (deployed in [each["id"] for each in found]) == hit


async def test_a_project_may_not_list_another_ones(member: Person, admin: Person, deployed: str) -> None:
    path = "/console/operations?project="
    assert (await member.get(f"{path}{admin.project.id}")).status == 403
    assert (await member.get("/console/operations?outcome=odd")).status == 400
    shown = (await admin.get(f"{path}{member.project.id}")).json()["operations"]
    assert deployed in [each["id"] for each in shown]


async def test_a_cancelled_operation_is_undone_and_says_by_whom(
    member: Person, waiting: dict[str, Any]
) -> None:
    assert (waiting["step"], waiting["cancellable"]) == ("define", True)
    reply = await member.post(f"/console/operations/{waiting['id']}/cancel")
    assert (reply.status, reply.json()["operation"]["cancelled"]) == (202, True)
    shown = await ended(member, waiting["id"])
    assert (shown["outcome"], shown["fault"]) == ("failed", "It was cancelled by demo.")
    states = {step["name"]: step["state"] for step in shown["steps"]}
    assert (states["disks"], states["define"], states["start"]) == ("undone", "undone", "ahead")
    server = (await member.get(f"/compute/v2.1/servers/{waiting['subject']}")).json()["server"]
    assert (server["status"], server["fault"]["message"]) == ("ERROR", "It was cancelled by demo.")
    again = await member.post(f"/console/operations/{waiting['id']}/cancel")
    assert again.status == 409
    assert "it has ended, failed, because: It was cancelled by demo." in again.text


async def test_an_operation_that_waits_is_tried_again_when_asked(
    member: Person, waiting: dict[str, Any]
) -> None:
    reply = await member.post(f"/console/operations/{waiting['id']}/retry")
    assert reply.status == 202, reply.text
    shown = await ended(member, waiting["id"])
    assert shown["outcome"] == "done"
    assert {step["name"]: step["tries"] for step in shown["steps"]}["define"] == 2
    assert (await member.post(f"/console/operations/{waiting['id']}/retry")).status == 409


async def test_a_delete_cannot_be_cancelled(
    member: Person, server: dict[str, Any], site: Site, worker: Worker, patient: None
) -> None:
    (hypervisor,) = site.hypervisors.values()
    hypervisor.fail("undefine", Unreachable("the host is away"))  # type: ignore[attr-defined]
    await member.delete(f"/compute/v2.1/servers/{server['id']}")
    path = f"/console/operations?subject={server['id']}&workflow=server.delete"
    async with asyncio.timeout(20):
        while not (shown := (await member.get(path)).json()["operations"][0])["why"]:
            await asyncio.sleep(0.01)
    reply = await member.post(f"/console/operations/{shown['id']}/cancel")
    assert reply.status == 409
    assert "so it goes on to its end" in reply.text
    assert (await member.post(f"/console/operations/{shown['id']}/retry")).status == 202
    assert (await ended(member, shown["id"]))["outcome"] == "done"


async def test_the_command_lists_shows_cancels_and_wakes(
    member: Person, waiting: dict[str, Any], deployed: str, kernel: Kernel, config: Config
) -> None:
    server = uvicorn.Server(uvicorn.Config(kernel, port=0, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    running.note(Config(state=config.state, port=port))

    async def pileus(*words: str) -> tuple[int, str]:
        asked = ["operation", words[0], "--state", str(config.state), *words[1:]]
        result = await asyncio.to_thread(CliRunner().invoke, main, asked)
        return result.exit_code, result.output

    try:
        code, output = await pileus("list", "--workflow", "server.deploy")
        lines = output.splitlines()
        assert (code, lines[0].split()) == (
            0,
            ["ID", "WORKFLOW", "SUBJECT", "OUTCOME", "CREATED", "TOOK"],
        )
        assert [line.split()[0] for line in lines[1:]] == [waiting["id"], deployed]
        code, output = await pileus("show", waiting["id"])
        assert (code, "waits for  the host is away" in output) == (0, True), output
        assert f"trace      {waiting['trace']}" in output
        marks = [line.split()[:2] for line in output.splitlines() if line.startswith(("define", "start"))]
        assert marks == [["define", "current"], ["start", "ahead"]]
        code, output = await pileus("cancel", waiting["id"])
        assert (code, "running (cancelled)" in output) == (0, True), output
        await ended(member, waiting["id"])
        code, output = await pileus("show", waiting["id"])
        assert (code, "It was cancelled by admin." in output) == (0, True), output
        code, output = await pileus("retry", waiting["id"])
        assert (code, "it has ended, failed" in output) == (1, True), output
    finally:
        server.should_exit = True
        await serving
