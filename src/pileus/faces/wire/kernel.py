"""The ASGI application under every face: chooses who serves a path, and answers whatever happens."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from copy import copy
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol
from urllib.parse import quote
from uuid import UUID

import structlog

from pileus import store, tracing
from pileus.core.errors import CoreError, Invalid, Kind, Unavailable
from pileus.faces.wire import routing
from pileus.faces.wire.dispatch import Dispatcher
from pileus.faces.wire.errors import Disconnected, ErrorForm, PlainErrors, WireError, WireKind
from pileus.faces.wire.forwarding import Network, Proxies
from pileus.faces.wire.policy import Enforcer
from pileus.faces.wire.request import Receive, Request, Scope, Send
from pileus.faces.wire.response import Response, Stream
from pileus.faces.wire.sending import Ready, close, finish
from pileus.faces.wire.service import Service
from pileus.faces.wire.static import Directory
from pileus.faces.wire.websocket import Routes, SocketHandler

log = structlog.get_logger("pileus.wire")

MountHandler = Callable[[Request], Awaitable[Any]]
CLIENT_GONE = 499
QUIET = frozenset({Kind.UNAVAILABLE, Kind.NO_CAPACITY})


class Target(Protocol):
    """What serves a prefix."""

    errors: ErrorForm

    async def answer(self, request: Request) -> Response | Stream: ...

    def decorate(self, request: Request) -> Mapping[str, str]: ...


class Explainer(Protocol):
    """Tells why a user may do an action of a face, or may not."""

    def knows(self, action: str) -> bool: ...

    async def explain(self, cloud: Any, user: UUID, action: str) -> dict[str, Any]: ...


class Mount:
    """A whole prefix served by one handler that looks at the request itself."""

    def __init__(
        self,
        handler: MountHandler,
        errors: ErrorForm,
        max_body_bytes: int | None,
        max_upload_bytes: int | None,
    ) -> None:
        self.errors = errors
        self._handler = handler
        self._limits = (max_body_bytes, max_upload_bytes)

    async def answer(self, request: Request) -> Response | Stream:
        body, upload = self._limits
        request.max_body_bytes = body or request.max_body_bytes
        request.max_upload_bytes = upload or request.max_upload_bytes
        result = await self._handler(request)
        return result if isinstance(result, Response | Stream) else Response(200, result)

    def decorate(self, request: Request) -> Mapping[str, str]:
        return {}


class Nowhere:
    """Serves the paths that nobody else does."""

    errors: ErrorForm = PlainErrors()

    async def answer(self, request: Request) -> Response | Stream:
        raise WireError(WireKind.NO_ROUTE, f"Nothing is served at {request.path[:200]}.")

    def decorate(self, request: Request) -> Mapping[str, str]:
        return {}


class Kernel:
    """The ASGI app. Services are read now: declare every operation before.

    `policy_directory` may hold `<service>.yaml` or `.json` files with rules that replace the defaults. Peers in
    `trusted_proxies` are believed when they say for whom they ask.
    """

    def __init__(
        self,
        services: Iterable[Service],
        *,
        cloud: Any = None,
        site: Any = None,
        policy_directory: Path | None = None,
        max_body_bytes: int = 2 << 20,
        max_upload_bytes: int = 64 << 30,
        access_log: bool = True,
        trusted_proxies: Iterable[Network] = (),
    ) -> None:
        self._cloud, self._site = cloud, site
        self._limits = (max_body_bytes, max_upload_bytes)
        self._access_log = access_log
        self.proxies = Proxies(trusted_proxies)
        self._nowhere: Target = Nowhere()
        self._prefixes: routing.Prefixes[Target] = routing.Prefixes()
        self._sockets = Routes()
        self.services: tuple[Service, ...] = tuple(services)
        self.enforcers: dict[str, Enforcer] = {}
        """By service: what an explanation of a refusal reads."""
        self.explainers: dict[str, Explainer] = {}
        """Of faces whose rules are not policies, by name."""
        for service in self.services:
            dispatcher = Dispatcher(service, policy_directory)
            self.enforcers[service.name] = dispatcher.enforcer
            self._prefixes.add(service.prefix, dispatcher)

    def serving(self, cloud: Any, site: Any) -> "Kernel":
        """The same routes over another cloud."""
        made = copy(self)
        made._cloud, made._site = cloud, site
        return made

    def mount(
        self,
        prefix: str,
        handler: MountHandler,
        *,
        errors: ErrorForm | None = None,
        max_body_bytes: int | None = None,
        max_upload_bytes: int | None = None,
    ) -> None:
        """Serve every path and method under the prefix; `request.tail` has the rest of the path."""
        target = Mount(handler, errors or PlainErrors(), max_body_bytes, max_upload_bytes)
        self._prefixes.add(prefix, target)

    def static(
        self, prefix: str, directory: Path, *, fallback: str | None = None, policy: str | None = None
    ) -> None:
        """Serve files; `fallback` answers paths without a suffix, for what routes in the browser."""
        self._prefixes.add(prefix, Directory(directory, fallback=fallback, policy=policy))

    def websocket(self, template: str, handler: SocketHandler) -> None:
        """Serve WebSockets at a path; path parameters are in `socket.parameters`."""
        self._sockets.add(template, handler)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind == "http":
            await self._http(scope, receive, send)
        elif kind == "websocket":
            request = Request(scope, receive, cloud=self._cloud, site=self._site)
            await self._sockets.serve(request, self.proxies, receive, send)
        elif kind == "lifespan":
            await lifespan(receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        request = Request(scope, receive, cloud=self._cloud, site=self._site)
        request.max_body_bytes, request.max_upload_bytes = self._limits
        request.enforcers, request.explainers = self.enforcers, self.explainers
        spans = getattr(self._cloud, "spans", None)
        trace = tracing.begin(request.headers.get("traceparent", ""), spans)
        context = structlog.contextvars.bind_contextvars(request_id=request.id, trace=trace.trace)
        status = CLIENT_GONE
        try:
            with tracing.within(trace), tracing.span(request.method, tracing.Kind.SERVER) as span:
                status = await self._exchange(request, send)
                if span is not None:
                    describe(span, request, status)
        finally:
            structlog.contextvars.reset_contextvars(**context)
            if self._access_log:
                log.info(
                    "request",
                    id=request.id,
                    trace=trace.trace,
                    client=request.client,
                    method=request.method,
                    path=request.path,
                    status=status,
                    ms=round((perf_counter() - started) * 1000, 3),
                    operation=request.state.get("operation", ""),
                )

    async def _exchange(self, request: Request, send: Send) -> int:
        """Answer; the status that the client got."""
        try:
            answer = await self._answer(request)
            return answer.status if await finish(request, answer, send) else CLIENT_GONE
        except Disconnected:
            return CLIENT_GONE

    async def _answer(self, request: Request) -> Ready:
        """What to send, whatever happens on the way; only a client that left is not answered."""
        target, answer = self._nowhere, None
        try:
            raw: bytes = request.scope.get("raw_path") or quote(request.path).encode()
            try:
                parts = routing.segments(raw)
            except Invalid:
                target = self._choose(request, routing.pieces(raw))
                raise
            target = self._choose(request, parts)
            request.settle(self.proxies)
            answer = await target.answer(request)
            return ready(request, target, answer)
        except Disconnected:
            raise
        except (CoreError, WireError) as error:
            return refuse(error, request, target)
        except (store.Conflicted, store.Disconnected) as error:
            log.warning("database", id=request.id, method=request.method, path=request.path, error=str(error))
            return refuse(database(error), request, target)
        except Exception:
            log.exception("request failed", id=request.id, method=request.method, path=request.path)
            if isinstance(answer, Stream):
                await close(answer.content)
            return refuse(internal(request), request, target)

    def _choose(self, request: Request, parts: list[str]) -> Target:
        found = self._prefixes.longest(parts)
        if found is None:
            return self._nowhere
        target, depth = found
        request.prefix = "/" + "/".join(parts[:depth]) if depth else ""
        request.tail = tuple(parts[depth:])
        return target


def describe(span: tracing.Span, request: Request, status: int) -> None:
    """In OpenTelemetry's words. The operation's declaration names the span: few spans share a path."""
    operation = request.state.get("operation", "")
    span.name = f"{request.prefix.strip('/')} {operation}".strip() if operation else span.name
    span.attributes |= {
        "http.request.method": request.method,
        "url.path": request.path,
        "http.response.status_code": status,
        "client.address": request.client,
        "pileus.request": request.id,
    }
    if status >= 500:
        span.fault = f"answered with {status}"


def database(error: store.StoreError) -> Unavailable:
    """What a client is told when it came in the way of another, or the database is away."""
    if isinstance(error, store.Conflicted):
        return Unavailable("The request met others that change the same; send it again.")
    return Unavailable(
        "The database does not answer. If this was to change something, look whether it did before you ask again."
    )


def internal(request: Request) -> WireError:
    return WireError(
        WireKind.INTERNAL,
        f"Unexpected error; the operator finds its cause in the log under {request.id}.",
    )


def ready(request: Request, target: Target, answer: Response | Stream) -> Ready:
    return Ready(answer, {"x-openstack-request-id": request.id, **target.decorate(request)})


def refuse(error: CoreError | WireError, request: Request, target: Target) -> Ready:
    """Render a refusal in the service's form; a form that fails is itself an internal error."""
    if isinstance(error, CoreError) and (error.private or error.kind in QUIET):
        log.warning(
            "refused", id=request.id, kind=error.kind.value, public=error.public, private=error.private
        )
    try:
        answer = target.errors.render(error, request)
        headers = dict(answer.headers)
        if isinstance(error, WireError):
            headers.update(error.headers)
        if isinstance(error, CoreError) and error.kind is Kind.TOO_LARGE:
            headers["connection"] = "close"
        return ready(request, target, Response(answer.status, answer.body, headers, answer.content_type))
    except Exception:
        log.exception("error form failed", id=request.id, path=request.path)
        return ready(request, target, PlainErrors().render(internal(request), request))


async def lifespan(receive: Receive, send: Send) -> None:
    """Nothing is started or stopped here: the process that builds the kernel owns what it uses."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
