"""The same cloud as under the OpenStack faces, with a server in it."""

from typing import Any

import pytest

from pileus.core.cloud import Cloud
from pileus.core.operations import Operation
from pileus.workflows.worker import Worker
from tests.contract.openstack.conftest import *  # noqa: F403 (its fixtures)
from tests.contract.openstack.conftest import Person


@pytest.fixture
async def server(member: Person, admin: Person, worker: Worker) -> dict[str, Any]:
    image = {"name": "i", "disk_format": "raw", "container_format": "bare", "visibility": "public"}
    made = (await admin.post("/image/v2/images", json=image)).json()
    octets = {"content-type": "application/octet-stream"}
    await admin.put(f"/image/v2/images/{made['id']}/file", data=b"\0" * 1024, headers=octets)
    wanted = {"name": "s", "flavorRef": "1", "imageRef": made["id"], "networks": "none"}
    headers = {"openstack-api-version": "compute 2.37"}
    reply = await member.post("/compute/v2.1/servers", json={"server": wanted}, headers=headers)
    assert reply.status == 202, reply.text
    await worker.idle()
    return dict(reply.json()["server"])


@pytest.fixture
async def deployed(cloud: Cloud, server: dict[str, Any]) -> str:
    """The id of the operation that built the server."""
    async with cloud.view() as look:
        built = await look.one(Operation, workflow="server.deploy")
    assert built is not None
    assert str(built.subject) == server["id"]
    return str(built.id)
