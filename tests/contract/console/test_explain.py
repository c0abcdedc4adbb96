"""Why a server is where it is, or nowhere: through the console, and as the fault that the compute API shows."""

from typing import Any
from uuid import uuid4

import pytest

from pileus.cli import explain as cli
from pileus.workflows.worker import Worker
from tests.contract.openstack.conftest import Person

REFUSED = (
    "No valid host was found for 65 vCPU, 512 MiB memory, 1 GiB disk. "
    "1 host: 1 has fewer than 65 processors (64). It would fit with 64 vCPU instead of 65."
)


@pytest.fixture
async def nowhere(member: Person, admin: Person, worker: Worker, server: dict[str, Any]) -> str:
    """A server with more processors than any host has."""
    flavor = {"name": "huge", "id": "huge", "vcpus": 65, "ram": 512, "disk": 1}
    assert (await admin.post("/compute/v2.1/flavors", json={"flavor": flavor})).status == 200
    image = (await member.get("/image/v2/images")).json()["images"][0]["id"]
    wanted = {"name": "n", "flavorRef": "huge", "imageRef": image, "networks": "none"}
    headers = {"openstack-api-version": "compute 2.37"}
    reply = await member.post("/compute/v2.1/servers", json={"server": wanted}, headers=headers)
    assert reply.status == 202, reply.text
    await worker.idle()
    return str(reply.json()["server"]["id"])


async def explained(who: Person, server: str) -> Any:
    reply = await who.get(f"/console/servers/{server}/explain")
    assert reply.status == 200, reply.text
    return reply.json()


async def test_the_owner_sees_why_and_the_administrator_also_where(
    member: Person, admin: Person, other: Person, server: dict[str, Any]
) -> None:
    theirs = await explained(member, server["id"])
    assert (theirs["server"]["state"], theirs["now"], theirs["earlier"]) == ("active", None, [])
    decision = theirs["decision"]
    assert (decision["placed"], decision["considered"], decision["fits"]) == (True, 1, 1)
    assert decision["strategy"] == "spread"
    assert decision["winner"]["why"].startswith("the only one that fits: ")
    assert "host-1" not in str(theirs)
    ours = await explained(admin, server["id"])
    assert ours["decision"]["winner"]["hostname"] == "host-1"
    assert ours["decision"]["winner"]["host"] == ours["server"]["host"]
    assert (await other.get(f"/console/servers/{server['id']}/explain")).status == 404
    assert (await member.get(f"/console/servers/{uuid4()}/explain")).status == 404


async def test_a_server_without_a_host_says_what_it_met_and_what_it_would_meet_now(
    member: Person, admin: Person, nowhere: str
) -> None:
    shown = (await member.get(f"/compute/v2.1/servers/{nowhere}")).json()["server"]
    assert (shown["status"], shown["fault"]["message"]) == ("ERROR", REFUSED)
    theirs = await explained(member, nowhere)
    for told in (theirs["decision"], theirs["now"]):
        assert told["winner"] is None
        assert told["removed"] == [
            {"filter": "processors", "hosts": 1, "text": "has fewer than 65 processors (64)"}
        ]
        assert told["advice"] == ["with 64 vCPU instead of 65"]
    assert "host-1" not in str(theirs)
    ours = await explained(admin, nowhere)
    assert ours["decision"]["nearest"][0]["hostname"] == "host-1"


async def test_one_asks_beforehand_whether_a_size_fits(member: Person, admin: Person, nowhere: str) -> None:
    fits = (await member.get("/console/placement/explain?size=1&zone=nova")).json()["explanation"]
    assert (fits["fits"], fits["asked"]) == (1, "1 vCPU, 192 MiB memory, 1 GiB disk in zone nova")
    assert fits["winner"]["hostname"] is None
    none = (await admin.get("/console/placement/explain?size=huge")).json()["explanation"]
    assert (none["fits"], none["advice"]) == (0, ["with 64 vCPU instead of 65"])
    for query, status in (("", 400), ("size=none", 404), ("size=1&zone=none", 404), (f"size={uuid4()}", 404)):
        assert (await member.get(f"/console/placement/explain?{query}")).status == status


async def test_the_command_writes_what_a_person_reads(admin: Person, member: Person, nowhere: str) -> None:
    text = "\n".join(cli.told(await explained(admin, nowhere)))
    assert REFUSED in text
    assert "no host of 1 fits" in text
    assert "host-1" in text
    assert "It would fit with 64 vCPU instead of 65." in text
    assert "now it would meet" in text
    assert "host-1" not in "\n".join(cli.told(await explained(member, nowhere)))
