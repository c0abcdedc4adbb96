"""How late events reach a client: for tools/bench.py, or by hand on a running cloud."""

import asyncio
import contextlib
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

CHANGES = 200
IDLE = 100
PAUSE = 0.02
PATIENCE = 30.0


class Lag:
    """Milliseconds from an event's time, which is in its transaction and before the commit, to the client."""

    def __init__(self, taken: list[float]) -> None:
        self.taken = sorted(taken)

    @property
    def p50(self) -> float:
        return statistics.median(self.taken)

    @property
    def p99(self) -> float:
        return self.taken[min(len(self.taken) - 1, int(len(self.taken) * 0.99))]

    def __str__(self) -> str:
        return f"p50 {self.p50:.1f} p99 {self.p99:.1f} ms"


def measure(url: str, token: str, *, changes: int = CHANGES, idle: int = IDLE) -> Lag:
    """Networks are made and deleted through the API at `url` with an administrator's token, while one stream
    waits for them and `idle` others wait for what never comes. On the cloud's own machine, for the clock."""
    return asyncio.run(_measure(url, token, changes, idle))


async def _measure(url: str, token: str, changes: int, idle: int) -> Lag:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(idle):
            await stack.enter_async_context(stream(url, token, f"resource={uuid4()}"))
        heard = await stack.enter_async_context(stream(url, token, "kind=network&action=create"))
        taken: list[float] = []
        listening = asyncio.create_task(listen(heard, taken, changes))
        for number in range(changes):
            body = {"network": {"name": f"lag-{number}"}}
            made = await call(url, token, "POST", "/network/v2.0/networks", body)
            await asyncio.sleep(PAUSE)
            await call(url, token, "DELETE", f"/network/v2.0/networks/{made['network']['id']}")
        await asyncio.wait_for(listening, PATIENCE)
    return Lag(taken)


async def listen(reader: asyncio.StreamReader, taken: list[float], count: int) -> None:
    while len(taken) < count:
        line = await reader.readline()
        if not line:
            raise AssertionError("the stream ended")
        if line.startswith(b"data: "):
            at = datetime.fromisoformat(json.loads(line.removeprefix(b"data: "))["at"]).timestamp()
            taken.append((time.time() - at) * 1000)


@contextlib.asynccontextmanager
async def stream(url: str, token: str, query: str) -> AsyncIterator[asyncio.StreamReader]:
    """An open stream, after its first block."""
    reader, writer = await connect(url)
    try:
        accept = "Accept: text/event-stream\r\n"
        writer.write(head(url, token, "GET", f"/console/events?{query}", accept))
        status = await reader.readline()
        if b" 200 " not in status:
            raise AssertionError(f"no stream: {status!r}")
        while not (await reader.readline()).startswith(b"id: "):
            continue
        yield reader
    finally:
        writer.close()


async def call(url: str, token: str, method: str, path: str, body: Any = None) -> Any:
    data = b"" if body is None else json.dumps(body).encode()
    reader, writer = await connect(url)
    try:
        more = f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\nConnection: close\r\n"
        writer.write(head(url, token, method, path, more) + data)
        answer = await reader.read()
    finally:
        writer.close()
    status, _, content = answer.partition(b"\r\n\r\n")
    if status.split(b" ", 2)[1][:1] != b"2":
        raise AssertionError(f"{method} {path}: {answer[:300]!r}")
    return json.loads(content) if content else None


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(url)
    return await asyncio.open_connection(parts.hostname, parts.port or 80)


def head(url: str, token: str, method: str, path: str, more: str) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\nX-Auth-Token: {token}\r\n{more}\r\n".encode()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: bench_events.py URL TOKEN")
    print(f"commit -> event in a client, {IDLE} idle streams: {measure(sys.argv[1], sys.argv[2])}")
