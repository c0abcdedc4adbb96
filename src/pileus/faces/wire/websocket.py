"""WebSockets: the same request facts, then messages both ways."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

import structlog

from pileus.core.errors import CoreError
from pileus.faces.wire.errors import Disconnected, WireError
from pileus.faces.wire.forwarding import Proxies
from pileus.faces.wire.request import Receive, Request, Send
from pileus.faces.wire.routing import Node, parameters, segments

log = structlog.get_logger("pileus.wire")

POLICY_VIOLATION = 1008
INTERNAL = 1011


class WebSocket:
    """One connection; `request` has headers, query, cloud and site, `parameters` what the path named."""

    def __init__(self, request: Request, parameters: dict[str, str], receive: Receive, send: Send) -> None:
        self.request = request
        self.parameters = parameters
        self.offered: tuple[str, ...] = tuple(request.scope.get("subprotocols") or ())
        self.accepted = False
        self.closed = False
        self._receive = receive
        self._send = send

    async def accept(self, subprotocol: str | None = None) -> None:
        message = await self._receive()
        if message["type"] != "websocket.connect":
            self.closed = True
            raise Disconnected
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol})
        self.accepted = True

    async def receive(self) -> str | bytes | None:
        """The next message; None when the client has closed."""
        if self.closed:
            return None
        message = await self._receive()
        if message["type"] != "websocket.receive":
            self.closed = True
            return None
        data: bytes | None = message.get("bytes")
        if data is not None:
            return data
        told: str = message.get("text") or ""
        return told

    async def send(self, data: str | bytes) -> None:
        """Raises Disconnected when the client has gone."""
        if self.closed:
            raise Disconnected
        key = "text" if isinstance(data, str) else "bytes"
        try:
            await self._send({"type": "websocket.send", key: data})
        except (OSError, RuntimeError) as error:
            self.closed = True
            raise Disconnected from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """May be repeated; before `accept` it refuses the connection."""
        if self.closed:
            return
        self.closed = True
        await self._send({"type": "websocket.close", "code": code, "reason": reason[:120]})


SocketHandler = Callable[[WebSocket], Awaitable[None]]


class Routes:
    """Which handler serves which path."""

    def __init__(self) -> None:
        self._root: Node[tuple[list[str], SocketHandler]] = Node()

    def add(self, template: str, handler: SocketHandler) -> None:
        node = self._root.grow(template)
        if node.leaf is not None:
            raise ValueError(f"WebSockets at {template} are served twice")
        node.leaf = (parameters(template), handler)

    async def serve(self, request: Request, proxies: Proxies, receive: Receive, send: Send) -> None:
        socket = WebSocket(request, {}, receive, send)
        context = structlog.contextvars.bind_contextvars(request_id=request.id)
        try:
            request.settle(proxies)
            await self._talk(socket)
        except Disconnected:
            socket.closed = True
        except (CoreError, WireError) as error:
            await socket.close(POLICY_VIOLATION, error.public)
        except Exception:
            log.exception("websocket failed", id=request.id, path=request.path)
            await socket.close(INTERNAL, request.id)
        finally:
            structlog.contextvars.reset_contextvars(**context)

    async def _talk(self, socket: WebSocket) -> None:
        scope = socket.request.scope
        parts = segments(scope.get("raw_path") or quote(scope["path"]).encode())
        found = self._root.find(tuple(parts))
        if found is None:
            await socket.close(POLICY_VIOLATION, "no such path")
            return
        (names, handler), values = found
        socket.parameters = dict(zip(names, values, strict=True))
        await handler(socket)
        await socket.close()
