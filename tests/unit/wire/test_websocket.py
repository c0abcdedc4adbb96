"""WebSockets, as an ASGI server drives them."""

from typing import Any

import pytest
import structlog

from pileus.core.errors import Forbidden
from pileus.faces.wire import Disconnected, Kernel, WebSocket


def scope(path: str) -> dict[str, Any]:
    return {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"token=t",
        "scheme": "ws",
        "headers": [(b"host", b"cloud.test")],
        "subprotocols": ["binary"],
        "client": ("192.0.2.7", 1),
    }


async def talk(handler: Any, *sent: Any, path: str = "/console/7/ws") -> list[dict[str, Any]]:
    kernel = Kernel([], cloud="the cloud")
    kernel.websocket("/console/{server}/ws", handler)
    incoming = [{"type": "websocket.connect"}]
    incoming += [{"type": "websocket.receive", "text" if isinstance(m, str) else "bytes": m} for m in sent]
    incoming += [{"type": "websocket.disconnect", "code": 1000}]
    told: list[dict[str, Any]] = []

    async def receive() -> Any:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        told.append(message)

    await kernel(scope(path), receive, send)
    return told


async def echo(socket: WebSocket) -> None:
    await socket.accept(socket.offered[0])
    facts = (socket.parameters, socket.request.query["token"], socket.request.cloud, socket.request.base_url)
    await socket.send(str(facts))
    while (message := await socket.receive()) is not None:
        await socket.send(message)


async def test_messages_go_both_ways():
    told = await talk(echo, "text", b"bytes", "")
    assert [(m["type"], m.get("text", m.get("bytes"))) for m in told] == [
        ("websocket.accept", None),
        ("websocket.send", "({'server': '7'}, 't', 'the cloud', 'http://cloud.test')"),
        ("websocket.send", "text"),
        ("websocket.send", b"bytes"),
        ("websocket.send", ""),
    ]
    assert told[0]["subprotocol"] == "binary"


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (Forbidden("no console for you"), 1008, "no console for you"),
        (ZeroDivisionError("secret"), 1011, "req-"),
    ],
)
@pytest.mark.parametrize("accepted", [True, False])
async def test_a_failure_closes_with_its_reason(error, code, reason, accepted):
    async def fail(socket: WebSocket) -> None:
        if accepted:
            await socket.accept()
        raise error

    with structlog.testing.capture_logs():
        told = await talk(fail)
    assert (told[-1]["type"], told[-1]["code"]) == ("websocket.close", code)
    assert reason in told[-1]["reason"]
    assert "secret" not in told[-1]["reason"]


async def test_an_unknown_path_is_refused():
    told = await talk(echo, path="/console/7")
    assert [(m["type"], m["code"]) for m in told] == [("websocket.close", 1008)]


async def test_a_handler_that_returns_closes():
    async def greet(socket: WebSocket) -> None:
        await socket.accept()

    told = await talk(greet)
    assert [m["type"] for m in told] == ["websocket.accept", "websocket.close"]


async def test_nothing_is_sent_to_a_client_that_left():
    async def late(socket: WebSocket) -> None:
        await socket.accept()
        assert await socket.receive() is None
        with pytest.raises(Disconnected):
            await socket.send("x")

    assert [m["type"] for m in await talk(late)] == ["websocket.accept"]


def test_a_path_has_one_handler():
    kernel = Kernel([])
    kernel.websocket("/ws", echo)
    with pytest.raises(ValueError, match="/ws are served twice"):
        kernel.websocket("/ws", echo)
