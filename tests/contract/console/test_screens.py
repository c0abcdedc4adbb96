"""The way from a console link to a guest's screen, over a real server and a real WebSocket."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from pileus.faces import console
from pileus.faces.wire import Kernel
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests.contract.openstack.conftest import Person


@pytest.fixture
async def address(site: Site) -> AsyncIterator[str]:
    """Where the console face is served."""
    kernel = Kernel((), cloud=site.cloud, site=site, access_log=False)
    console.mount(kernel)
    server = uvicorn.Server(uvicorn.Config(kernel, port=0, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(20):
        while not server.started:
            await asyncio.sleep(0.01)
    yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


async def link(member: Person, server: dict[str, Any]) -> str:
    body = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
    headers = {"openstack-api-version": "compute 2.6"}
    path = f"/compute/v2.1/servers/{server['id']}/remote-consoles"
    reply = await member.post(path, json=body, headers=headers)
    assert reply.status == 200, reply.text
    return str(reply.json()["remote_console"]["url"])


def socket(address: str, url: str) -> Any:
    return websockets.connect(f"ws://{address}/console/ws?{urlsplit(url).query}", subprotocols=["binary"])


async def test_a_link_opens_the_screen_once(member: Person, server: dict[str, Any], address: str) -> None:
    url = await link(member, server)
    assert urlsplit(url).path == "/console/vnc"
    async with socket(address, url) as screen:
        assert screen.subprotocol == "binary"
        greeting = await asyncio.wait_for(screen.recv(), 20)
        assert greeting == b"RFB 003.008\n"
        await screen.send(b"RFB 003.008\n")
        assert (await asyncio.wait_for(screen.recv(), 20))[:1] == b"\x01"
    with pytest.raises((InvalidStatus, ConnectionClosed)):
        async with socket(address, url) as screen:
            await screen.recv()


async def test_a_token_that_nobody_issued_opens_nothing(server: dict[str, Any], address: str) -> None:
    for query in ("token=guess", "token=", ""):
        with pytest.raises((InvalidStatus, ConnectionClosed)):
            async with socket(address, f"http://x/console/vnc?{query}") as screen:
                await screen.recv()


async def test_a_server_that_is_off_has_no_screen(
    member: Person, server: dict[str, Any], worker: Worker
) -> None:
    path = f"/compute/v2.1/servers/{server['id']}"
    assert (await member.post(f"{path}/action", json={"os-stop": None})).status == 202
    await worker.idle()
    body = {"remote_console": {"protocol": "vnc", "type": "novnc"}}
    headers = {"openstack-api-version": "compute 2.6"}
    assert (await member.post(f"{path}/remote-consoles", json=body, headers=headers)).status == 409


async def test_the_page_runs_only_scripts_of_its_own(site: Site) -> None:
    from tests.asgi import Client

    kernel = Kernel((), cloud=site.cloud, site=site, access_log=False)
    console.mount(kernel)
    page = await Client(kernel).get("/console/vnc?token=x")
    assert page.status == 200
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for part in ("screen.js", "screen.css", "novnc/core/rfb.js"):
        assert (await Client(kernel).get(f"/console/static/{part}")).status == 200
    assert (await Client(kernel).get("/console/static/../screens.py")).status == 404
