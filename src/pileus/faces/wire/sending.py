"""Putting an answer on the wire: whole, in pieces, or only its head."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import structlog

from pileus.faces.wire.request import Request, Send
from pileus.faces.wire.response import BODILESS, Response, Stream, head

log = structlog.get_logger("pileus.wire")


async def finish(request: Request, answer: Response | Stream, extra: Mapping[str, str], send: Send) -> bool:
    """Send the answer; False when the client left or the content broke off before its end."""
    headers = {**answer.headers, **extra}
    if isinstance(answer, Stream):
        return await stream(request, answer, headers, send)
    body, kind = answer.content()
    lines = head(answer.status, headers, kind, len(body))
    await send({"type": "http.response.start", "status": answer.status, "headers": lines})
    shown = b"" if request.method == "HEAD" or answer.status in BODILESS else body
    await send({"type": "http.response.body", "body": shown})
    return True


async def stream(request: Request, answer: Stream, headers: Mapping[str, str], send: Send) -> bool:
    """Send pieces while watching for the client to leave, so that endless streams end with it."""
    try:
        lines = head(answer.status, headers, answer.content_type, answer.length)
        await send({"type": "http.response.start", "status": answer.status, "headers": lines})
        if request.method == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return True
        if request.pending:
            return await pump(request, answer.content, send)
        return await watched(request, answer.content, send)
    finally:
        close = getattr(answer.content, "aclose", None)
        if close is not None:
            await close()


async def watched(request: Request, content: AsyncIterator[bytes], send: Send) -> bool:
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
