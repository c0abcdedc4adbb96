"""A guest's screen: the page with noVNC, and the bytes between the browser and the guest's RFB server."""

import asyncio
from contextlib import suppress
from pathlib import Path

from pileus.core.compute import consoles
from pileus.core.errors import Unavailable
from pileus.drivers.errors import DriverError
from pileus.drivers.hypervisor.protocol import Screen
from pileus.faces.wire import Kernel, Request, Response
from pileus.faces.wire.errors import Disconnected
from pileus.faces.wire.websocket import WebSocket

STATIC = Path(__file__).parent / "static"
PAGE = STATIC / "screen.html"
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'"
CHUNK = 64 << 10


def mount(kernel: Kernel) -> None:
    """Serve the screens of servers under /console."""
    kernel.mount("/console/vnc", page)
    kernel.websocket("/console/ws", talk)
    kernel.static("/console/static", STATIC)


async def page(request: Request) -> Response:
    """The page; the token in its address is used by its script, once."""
    headers = {
        "content-security-policy": POLICY,
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
    }
    return Response(200, PAGE.read_bytes(), headers, "text/html; charset=utf-8")


async def talk(socket: WebSocket) -> None:
    """Join the browser and the guest until one of them ends. Only a page of ours may open it."""
    request = socket.request
    server = await consoles.redeem(request.cloud, request.query.get("token") or "")
    assert server.host is not None
    try:
        screen = await request.site.hypervisor(server.host).screen(server.id)
        reader, writer = await _dial(screen)
    except (DriverError, OSError) as error:
        raise Unavailable(f"The screen of server {server.id} does not answer: {error}") from error
    try:
        await socket.accept("binary" if "binary" in socket.offered else None)
        await _join(socket, reader, writer)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _dial(screen: Screen) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if screen.socket:
        return await asyncio.open_unix_connection(screen.socket)
    return await asyncio.open_connection(screen.address, screen.port)


async def _join(socket: WebSocket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    both = [asyncio.create_task(_inward(socket, writer)), asyncio.create_task(_outward(socket, reader))]
    done, pending = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in [*done, *pending]:
        with suppress(asyncio.CancelledError, Disconnected, ConnectionError):
            await task


async def _inward(socket: WebSocket, writer: asyncio.StreamWriter) -> None:
    while (message := await socket.receive()) is not None:
        writer.write(message if isinstance(message, bytes) else message.encode())
        await writer.drain()


async def _outward(socket: WebSocket, reader: asyncio.StreamReader) -> None:
    while chunk := await reader.read(CHUNK):
        await socket.send(chunk)
