"""An ASGI client in memory: tests talk to an app without a socket."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

App = Callable[..., Awaitable[None]]
Data = bytes | str | Iterable[bytes] | AsyncIterable[bytes]
DEADLINE = 30.0


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes
    complete: bool = True
    chunks: tuple[bytes, ...] = field(default=(), repr=False)

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """`headers` given here go with every request; a Host header is always sent."""

    def __init__(self, app: App, headers: Mapping[str, str] | None = None, host: str = "cloud.test") -> None:
        self.app = app
        self.headers = {"host": host, **(headers or {})}

    async def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = msgspec.UNSET,
        headers: Mapping[str, str] | None = None,
        data: Data | None = None,
        gone_after: int | None = None,
    ) -> Reply:
        """Ask and gather the whole answer. `gone_after`: leave after so many chunks of it."""
        sent = {name.lower(): value for name, value in {**self.headers, **(headers or {})}.items()}
        if json is not msgspec.UNSET:
            data = msgspec.json.encode(json)
            sent.setdefault("content-type", "application/json")
        if isinstance(data, str):
            data = data.encode()
        if isinstance(data, bytes):
            sent.setdefault("content-length", str(len(data)))
        elif data is not None:
            sent.setdefault("transfer-encoding", "chunked")
        exchange = Exchange(data, gone_after)
        async with asyncio.timeout(DEADLINE):
            await self.app(scope(method, path, sent), exchange.receive, exchange.send)
        return exchange.reply()

    async def get(self, path: str, **more: Any) -> Reply:
        return await self.request("GET", path, **more)

    async def head(self, path: str, **more: Any) -> Reply:
        return await self.request("HEAD", path, **more)

    async def post(self, path: str, **more: Any) -> Reply:
        return await self.request("POST", path, **more)

    async def put(self, path: str, **more: Any) -> Reply:
        return await self.request("PUT", path, **more)

    async def patch(self, path: str, **more: Any) -> Reply:
        return await self.request("PATCH", path, **more)

    async def delete(self, path: str, **more: Any) -> Reply:
        return await self.request("DELETE", path, **more)


def scope(method: str, path: str, headers: Mapping[str, str]) -> dict[str, Any]:
    parts = urlsplit(path) if not path.startswith("//") else urlsplit(f"http://x{path}")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(parts.path),
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.7", 40000),
        "server": ("127.0.0.1", 8774),
    }


class Exchange:
    """The two sides of one request."""

    def __init__(self, data: Any, gone_after: int | None) -> None:
        self._data = pieces(data)
        self._sent = False
        self._gone_after = gone_after
        self._ended = asyncio.Event()
        self._status = 0
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._complete = False
        if gone_after == 0:
            self._ended.set()

    async def receive(self) -> dict[str, Any]:
        if not self._sent:
            chunk = await anext(self._data, None)
            if chunk is not None:
                return {"type": "http.request", "body": chunk, "more_body": True}
            self._sent = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            for name, value in message["headers"]:
                self._headers[name.decode()] = value.decode()
            return
        self._chunks.append(bytes(message.get("body", b"")))
        if not message.get("more_body", False):
            self._complete = True
            self._ended.set()
        if self._gone_after is not None and len(self._chunks) >= self._gone_after:
            self._ended.set()
        await asyncio.sleep(0)

    def reply(self) -> Reply:
        body = b"".join(self._chunks)
        return Reply(self._status, self._headers, body, self._complete, tuple(self._chunks))


async def pieces(data: Any) -> Any:
    if data is None:
        return
    if isinstance(data, bytes):
        yield data
    elif isinstance(data, AsyncIterable):
        async for chunk in data:
            yield chunk
    else:
        for chunk in data:
            yield chunk
