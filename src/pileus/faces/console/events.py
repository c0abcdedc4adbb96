"""The events: a page of them, or a stream by server-sent events or WebSocket that can be taken up where it broke off."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from typing import Any
from uuid import UUID

import msgspec

from pileus.core import following, stream, tickets
from pileus.core.errors import Invalid
from pileus.core.events import Event, Wanted
from pileus.core.following import Batch
from pileus.core.identity.percloud import per_cloud
from pileus.faces.console.service import EVENTS, POLICIES, SERVICE, TICKETS, session_of
from pileus.faces.wire import (
    Disconnected,
    Enforcer,
    Kernel,
    Request,
    Response,
    Stream,
    WebSocket,
    WireError,
    WireKind,
)
from pileus.faces.wire.decoding import QueryShape
from pileus.faces.wire.dispatch import policy_file

SSE = "text/event-stream"
READ = "console:events:read"
MOST = 1000
RETRY_MILLISECONDS = 1000
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
GOING_AWAY = 1001
encode = msgspec.json.Encoder().encode


class EventQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    after: str = ""
    """A number, -N (N numbers before the last), latest or oldest."""
    follow: bool | None = None
    """Whether to go on with what comes; default: when the client accepts text/event-stream."""
    limit: int = 100
    """Of a page."""
    project: UUID | None = None
    resource: UUID | None = None
    kind: str = ""
    """Several are separated by commas; so are actions."""
    action: str = ""
    ticket: str = ""
    """Instead of a token."""

    @property
    def wanted(self) -> Wanted:
        return Wanted(
            project=self.project, resource=self.resource, kinds=words(self.kind), actions=words(self.action)
        )


def words(text: str) -> frozenset[str] | None:
    return frozenset(part.strip() for part in text.split(",")) if text else None


def place(text: str, default: stream.After) -> stream.After:
    if text in ("latest", "oldest"):
        return "latest" if text == "latest" else "oldest"
    if not text:
        return default
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise Invalid(f"after={text[:40]!r} is no place in the events: send a number, -N, latest or oldest.")
    return int(text)


def view(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "at": event.at,
        "kind": event.kind,
        "action": event.action,
        "resource": event.subject,
        "project": event.project,
        "user": event.user,
        "operation": event.operation,
        "request": event.request,
        "trace": event.trace,
        "change": event.change,
    }


@SERVICE.operation("GET", EVENTS, policy=READ, query=EventQuery)
async def read(request: Request, query: EventQuery) -> Response | Stream:
    """Follow for those who ask for it or accept nothing else, a page for all others."""
    follows = query.follow if query.follow is not None else SSE in request.headers.get("accept", "").lower()
    try:
        if follows:
            return await streamed(request, query)
        if not 1 <= query.limit <= MOST:
            raise Invalid(f"limit is {query.limit}; it must be from 1 to {MOST}.")
        after = place(query.after, "oldest")
        found = await stream.page(request.cloud, request.caller, query.wanted, after, query.limit)
    except stream.Removed as error:
        raise gone(error) from error
    return Response(
        200,
        {"events": [view(event) for event in found.events], "next": found.next, "more": found.more},
        {"cache-control": "no-store"},
    )


def gone(error: stream.Removed) -> WireError:
    return WireError(WireKind.GONE, error.public, headers={"x-pileus-oldest": str(error.oldest)})


async def streamed(request: Request, query: EventQuery) -> Stream:
    """What an EventSource says on connecting again stands above the address, which it never changes."""
    after = place(request.headers.get("last-event-id") or query.after, "latest")
    batches = following.follow(request.cloud, session_of(request), query.wanted, after)
    first = await anext(batches)  # everything that can be refused is refused before the head is sent
    return Stream(200, HEADERS, Chunks(first, batches), content_type=f"{SSE}; charset=utf-8")


class Chunks:
    """The bytes of a stream; closing it before it has begun ends the following too."""

    def __init__(self, first: Batch, batches: AsyncGenerator[Batch, None]) -> None:
        self._first: Batch | None = first
        self._batches = batches

    def __aiter__(self) -> "Chunks":
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, None
        if first is not None:
            return b"retry: %d\nid: %d\n\n" % (RETRY_MILLISECONDS, first.position)
        return b"".join(blocks(await anext(self._batches)))

    async def aclose(self) -> None:
        await self._batches.aclose()


def blocks(batch: Batch) -> list[bytes]:
    """A block without data is no event, but its id tells where to go on: so a quiet client's place never grows old."""
    if batch.end:
        said = encode({"reason": batch.end, "next": batch.position})
        return [b"event: end\nid: %d\ndata: %b\n\n" % (batch.position, said)]
    if not batch.events:
        return [b": keep-alive\nid: %d\n\n" % batch.position]
    return [
        b"id: %d\nevent: %b\ndata: %b\n\n" % (event.seq, name(event).encode(), encode(view(event)))
        for event in batch.events
    ]


def name(event: Event) -> str:
    return f"{event.kind}.{event.action}"


@SERVICE.operation("POST", TICKETS, policy=READ, status=201)
async def ticket(request: Request) -> Response:
    """For a browser's EventSource or WebSocket, which cannot send headers."""
    made = await tickets.issue(request.cloud, session_of(request), tickets.EVENTS)
    return Response(201, {"ticket": made, "seconds": tickets.SECONDS}, {"cache-control": "no-store"})


enforcer = per_cloud(
    lambda cloud: Enforcer(POLICIES, overrides=policy_file(SERVICE.name, cloud.config.state / "policy"))
)
QUERY = QueryShape(EventQuery)


async def talk(socket: WebSocket) -> None:
    """The same by WebSocket: a message is one event, an empty one a sign of life; what the client says is passed over."""
    request = socket.request
    request.authenticator, request.enforcer = SERVICE.authenticate, enforcer(request.cloud)
    await request.authenticate()
    request.enforce(READ)
    query: EventQuery = QUERY.decode(request.query, True)
    after = place(query.after, "latest")
    session = session_of(request)
    async with aclosing(following.follow(request.cloud, session, query.wanted, after)) as batches:
        first = await anext(batches)
        await socket.accept()
        await socket.send(encode({"event": "begin", "id": first.position}).decode())
        sending = asyncio.create_task(send(socket, batches))
        listening = asyncio.create_task(listen(socket))
        await asyncio.wait((sending, listening), return_when=asyncio.FIRST_COMPLETED)
        for task in (sending, listening):
            task.cancel()
        for task in (sending, listening):
            with suppress(asyncio.CancelledError, Disconnected):
                await task


async def listen(socket: WebSocket) -> None:
    while await socket.receive() is not None:
        continue


async def send(socket: WebSocket, batches: AsyncIterator[Batch]) -> None:
    async for batch in batches:
        for event in batch.events:
            message = {"id": event.seq, "event": name(event), "data": view(event)}
            await socket.send(encode(message).decode())
        if batch.end:
            await socket.send(
                encode({"id": batch.position, "event": "end", "data": {"reason": batch.end}}).decode()
            )
            await socket.close(GOING_AWAY, batch.end)
        elif not batch.events:
            await socket.send(encode({"id": batch.position}).decode())


def mount(kernel: Kernel) -> None:
    kernel.websocket(f"{SERVICE.prefix}{EVENTS}", talk)
    kernel.websocket(f"{SERVICE.prefix}{EVENTS}/ws", talk)
