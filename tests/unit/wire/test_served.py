"""The kernel behind a real server on loopback."""

import asyncio
import http.client
import json
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import uvicorn
import websockets

from pileus.faces.wire import Kernel, WebSocket

from .conftest import KEY, Seen

V = "/things/v2.1"
TOKEN = {"x-auth-token": "member"}
DEADLINE = 20.0


@pytest.fixture
async def port(kernel: Kernel) -> AsyncIterator[int]:
    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        while (message := await socket.receive()) is not None:
            await socket.send(message)

    kernel.websocket("/ws/{name}", echo)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(kernel, log_config=None, lifespan="on"))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        async with asyncio.timeout(DEADLINE):
            while not server.started:
                await asyncio.sleep(0.01)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await serving
        listener.close()


async def ask(
    port: int, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    def exchange() -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        try:
            connection.request(method, path, body, TOKEN | headers)
            reply = connection.getresponse()
            return reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read()
        finally:
            connection.close()

    return await asyncio.to_thread(exchange)


async def test_json_goes_in_and_out(port: int):
    body = json.dumps({"server": {"name": "é", "flavorRef": "1"}})
    status, headers, shown = await ask(
        port, "POST", f"{V}/servers", body.encode(), **{"content-type": "application/json"}
    )
    assert (status, json.loads(shown)["server"]["name"]) == (202, "é")
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{V}/names/a%2Fb", 200),
        ("HEAD", f"{V}/names/x", 200),
        ("DELETE", f"{V}/servers/{KEY}", 204),
        ("OPTIONS", f"{V}/servers", 200),
        ("PUT", f"{V}/servers", 405),
        ("GET", f"{V}/%ff", 400),
        ("GET", f"{V}/boom", 500),
        ("GET", f"{V}/stream", 200),
        ("GET", "/", 404),
    ],
)
async def test_every_kind_of_answer_is_well_formed(port: int, method, path, status):
    answered, headers, body = await ask(port, method, path)
    assert answered == status
    assert headers["x-openstack-request-id"].startswith("req-")
    if method != "HEAD" and status != 204:
        assert int(headers["content-length"]) == len(body)


async def test_an_upload_streams(port: int, seen: Seen):
    def pieces() -> Iterator[bytes]:
        for _ in range(8):
            yield b"x" * 65536

    status, _, body = await ask(port, "PUT", f"{V}/upload", pieces())
    assert (status, json.loads(body)) == (200, {"size": 8 * 65536})


async def test_an_oversized_upload_is_refused_before_it_is_sent(port: int):
    status, headers, _ = await ask(port, "PUT", f"{V}/upload", b"", **{"content-length": str(1 << 40)})
    assert (status, headers["connection"]) == (413, "close")


async def test_leaving_ends_an_endless_stream(port: int, seen: Seen):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {V}/endless HTTP/1.1\r\nhost: x\r\nx-auth-token: member\r\n\r\n".encode())
    async with asyncio.timeout(DEADLINE):
        await reader.readuntil(b"first")
        writer.close()
        await writer.wait_closed()
        await seen.closed.wait()


async def test_a_websocket_talks(port: int):
    async with asyncio.timeout(DEADLINE), websockets.connect(f"ws://127.0.0.1:{port}/ws/a") as connection:
        for message in ("text", b"bytes"):
            await connection.send(message)
            assert await connection.recv() == message


async def test_a_websocket_at_an_unknown_path_is_refused(port: int):
    with pytest.raises(websockets.InvalidStatus):
        async with asyncio.timeout(DEADLINE), websockets.connect(f"ws://127.0.0.1:{port}/none"):
            pass
