"""Sends spans to a collector by OTLP/HTTP, in its JSON form."""

import asyncio
import os
import socket
import urllib.request
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import msgspec
import structlog

from pileus.tracing import Attribute, Span

log = structlog.get_logger()

PATH = "/v1/traces"
BATCH = 512
"""Spans in one request."""
MOST = 20_000
"""Spans kept while the collector is away; the oldest are lost first."""
PAUSE = 1.0
"""Seconds between two requests."""
PATIENCE = 5.0
FAILED = 2
"""OTLP's code of a span that ended in an error."""


class Exporter:
    """`take` is where spans go. `start` needs an event loop; `stop` sends what is left, once."""

    def __init__(self, endpoint: str) -> None:
        """`endpoint`: as in http://127.0.0.1:4318. ValueError for what is no http(s) address."""
        if not endpoint.startswith(("http://", "https://")):
            raise ValueError(f"otlp_endpoint {endpoint!r}: expected http://HOST:PORT of a collector")
        self.url = endpoint.rstrip("/").removesuffix(PATH) + PATH
        self._resource: dict[str, Attribute] = {
            "service.name": "pileus",
            "service.version": version("pileus"),
            "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
        }
        self._spans: deque[Span] = deque(maxlen=MOST)
        self._sending: asyncio.Task[None] | None = None
        self._away = False

    def take(self, span: Span) -> None:
        self._spans.append(span)

    async def start(self) -> None:
        self._sending = asyncio.create_task(self._run(), name="traces")

    async def stop(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            with suppress(asyncio.CancelledError):
                await self._sending
        await self.flush()

    async def flush(self) -> None:
        """Send what there is; what the collector does not take waits for the next time."""
        while self._spans:
            batch = [self._spans.popleft() for _ in range(min(BATCH, len(self._spans)))]
            try:
                await asyncio.to_thread(self._post, batch)
            except (OSError, ValueError) as error:
                self._spans.extendleft(reversed(batch[: MOST - len(self._spans)]))
                if not self._away:
                    log.warning("traces not sent; trying on", url=self.url, error=str(error))
                self._away = True
                return
            self._away = False

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PAUSE)
            await self.flush()

    def _post(self, batch: Sequence[Span]) -> None:
        headers, body = {"Content-Type": "application/json"}, encode(self._resource, batch)
        request = urllib.request.Request(self.url, body, headers, method="POST")  # noqa: S310 (checked above)
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            answer.read()


def encode(resource: Mapping[str, Attribute], spans: Iterable[Span]) -> bytes:
    scope = {"scope": {"name": "pileus"}, "spans": [encoded(span) for span in spans]}
    return msgspec.json.encode(
        {"resourceSpans": [{"resource": {"attributes": pairs(resource)}, "scopeSpans": [scope]}]}
    )


def encoded(span: Span) -> dict[str, Any]:
    """Ids stand in hexadecimal and 64-bit numbers as texts: OTLP's own form of protobuf's JSON."""
    return {
        "traceId": span.trace,
        "spanId": span.id,
        "parentSpanId": span.parent,
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": str(span.began),
        "endTimeUnixNano": str(span.ended),
        "attributes": pairs(span.attributes),
        "status": {"code": FAILED, "message": span.fault} if span.fault else {},
    }


def pairs(attributes: Mapping[str, Attribute]) -> Sequence[dict[str, Any]]:
    return [{"key": key, "value": value_of(value)} for key, value in attributes.items()]


def value_of(value: Attribute) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
