"""Putting an answer on the wire: whole, in pieces, or only its head."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import structlog

from pileus.faces.wire.request import Request, Send
from pileus.faces.wire.response import BODILESS, Response, Stream, head

log = structlog.get_logger("pileus.wire")


class Ready:
    """An answer of which everything that can fail has been done: encoded, and its head checked."""

    __slots__ = ("body", "lines", "status", "stream")

    def __init__(self, answer: Response | Stream, extra: Mapping[str, str]) -> None:
        headers = {**answer.headers, **extra}
        self.status = answer.status
        self.body = b""
        self.stream: AsyncIterator[bytes] | None = None
        if isinstance(answer, Stream):
            self.lines = head(answer.status, headers, answer.content_type, answer.length)
            self.stream = answer.content
        else:
            self.body, kind = answer.content()
            self.lines = head(answer.status, headers, kind, len(self.body))


async def finish(request: Request, answer: Ready, send: Send) -> bool:
    """Send the answer; False when the client left or the content broke off before its end."""
    bodiless = request.method == "HEAD" or answer.status in BODILESS
    try:
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.lines})
        if answer.stream is None or bodiless:
            await send({"type": "http.response.body", "body": b"" if bodiless else answer.body})
            return True
        if request.pending:
            return await pump(request, answer.stream, send)
        return await watched(request, answer.stream, send)
    finally:
        await close(answer.stream)


async def close(content: AsyncIterator[bytes] | None) -> None:
    """Let a generator release what it holds, even when nobody read it to its end."""
    closing = getattr(content, "aclose", None)
    if closing is not None:
        await closing()


async def watched(request: Request, content: AsyncIterator[bytes], send: Send) -> bool:
    """Send pieces while watching for the client to leave, so that endless streams end with it."""
    pumping = asyncio.create_task(pump(request, content, send))
    watching = asyncio.create_task(request.gone())
    try:
        await asyncio.wait((pumping, watching), return_when=asyncio.FIRST_COMPLETED)
        return pumping.done() and pumping.result()
    finally:
        for task in (pumping, watching):
            task.cancel()
        await asyncio.gather(pumping, watching, return_exceptions=True)


async def pump(request: Request, content: AsyncIterator[bytes], send: Send) -> bool:
    """After the head nothing can be refused: a broken content leaves the answer visibly unfinished."""
    try:
        async for chunk in content:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except Exception:
        log.exception("answer broke off", id=request.id, method=request.method, path=request.path)
        return False
    await send({"type": "http.response.body", "body": b""})
    return True
