"""One HTTP request as every face sees it."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from pileus.core.errors import Forbidden, Invalid, TooLarge, Unauthenticated
from pileus.faces.wire.errors import Disconnected
from pileus.faces.wire.forwarding import HOST, SCHEMES, Proxies, Reached
from pileus.faces.wire.policy import Enforcer
from pileus.faces.wire.query import Query, parse
from pileus.faces.wire.versions import UNVERSIONED, Version
from pileus.tracing import traceparent

if TYPE_CHECKING:
    from pileus.core.caller import Caller
    from pileus.core.cloud import Cloud
    from pileus.workflows.site import Site

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Authenticate = Callable[["Request"], Awaitable["Caller"]]

REQUEST_ID = re.compile(r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


class Request:
    """`path` is the whole decoded path; `prefix` the part that chose the service, `tail` the rest."""

    __slots__ = (
        "_base",
        "_body",
        "_caller",
        "_granted",
        "_query",
        "_reached",
        "_read",
        "_receive",
        "_whole",
        "authenticator",
        "client",
        "cloud",
        "enforced",
        "enforcer",
        "enforcers",
        "explainers",
        "global_id",
        "headers",
        "id",
        "max_body_bytes",
        "max_upload_bytes",
        "method",
        "path",
        "prefix",
        "query_string",
        "scope",
        "site",
        "state",
        "tail",
        "version",
    )

    cloud: "Cloud"
    site: "Site"

    def __init__(self, scope: Scope, receive: Receive, *, cloud: Any = None, site: Any = None) -> None:
        self.scope = scope
        self._receive = receive
        self.cloud = cloud
        self.site = site
        self.method: str = scope.get("method", "GET")
        self.path: str = scope["path"]
        self.prefix = ""
        self.tail: tuple[str, ...] = ()
        self.query_string: bytes = scope.get("query_string", b"")
        self.headers: Mapping[str, str] = fold(scope["headers"])
        address = scope.get("client")
        self.client: str = address[0] if address else ""
        """The address of who asks: the peer's, until `settle` finds that the peer asks for somebody else."""
        self._reached: Reached | None = None
        self.version: Version = UNVERSIONED
        self.state: dict[str, Any] = {}
        self.authenticator: Authenticate | None = None
        self.enforcer: Enforcer | None = None
        self.explainers: Mapping[str, Any] = {}
        self.enforcers: Mapping[str, Any] = {}
        """Of all services, by name."""
        self.enforced = False
        self.max_body_bytes = 2 << 20
        self.max_upload_bytes = 64 << 30
        self._caller: Caller | None = None
        self._base: str | None = None
        self._granted: dict[str, bool] = {}
        self._query: Query | None = None
        self._body: bytes | None = None
        self._read = False
        self._whole = False
        sent = self.headers.get("x-openstack-request-id", "")
        self.global_id: str | None = sent if REQUEST_ID.fullmatch(sent) else None
        self.id: str = self.global_id or f"req-{uuid4()}"

    @property
    def caller(self) -> "Caller":
        """Who asks; Unauthenticated where nobody has been authenticated (a public operation)."""
        if self._caller is None:
            raise Unauthenticated("The request you have made requires authentication.")
        return self._caller

    @property
    def anonymous(self) -> bool:
        return self._caller is None

    @property
    def trace(self) -> str:
        """W3C traceparent of the request's span, for the caller to carry."""
        return traceparent()

    async def authenticate(self) -> "Caller":
        """Ask the service's hook once; public operations call this when a token is optional."""
        if self._caller is None:
            if self.authenticator is None:
                raise Unauthenticated("The request you have made requires authentication.")
            self._caller = await self.authenticator(self)
        return self._caller

    @property
    def query(self) -> Query:
        if self._query is None:
            self._query = parse(self.query_string)
        return self._query

    @property
    def base_url(self) -> str:
        """scheme://host[:port] as the client reached us."""
        if self._base is None:
            self._base = self._address()
        return self._base

    def settle(self, proxies: Proxies) -> None:
        """Who asks, and how, when one of these proxies does it for somebody. Raises Invalid: see Proxies."""
        self._reached = proxies.reached(self.client, self.headers)
        if self._reached is not None:
            self.client = self._reached.client

    @property
    def proxied(self) -> bool:
        """Whether it came through a proxy of ours, so that what such a one alone writes may be believed."""
        return self._reached is not None

    def _address(self) -> str:
        said = self._reached or Reached(self.client)
        scheme = said.scheme or SCHEMES.get(self.scope.get("scheme", "http"), "http")
        host = said.host or self.headers.get("host", "")
        if not HOST.fullmatch(host):
            name, port = self.scope.get("server") or ("localhost", None)
            host = f"[{name}]" if ":" in name else name
            host = f"{host}:{port}" if port else host
        return f"{scheme}://{host}"

    @property
    def url(self) -> str:
        """The address asked for, without its query."""
        return f"{self.base_url}{quote(self.path)}"

    def allowed(self, rule: str, target: Mapping[str, Any] | None = None) -> bool:
        """Whether the service's policy lets the caller do this to the target (default: the caller's own)."""
        if self.enforcer is None:
            return False
        self.enforced = True
        credentials = self.caller.credentials
        if target is not None:
            return self.enforcer.allowed(rule, target, credentials)
        if rule not in self._granted:
            self._granted[rule] = self.enforcer.allowed(rule, own(credentials), credentials)
        return self._granted[rule]

    def enforce(self, rule: str, target: Mapping[str, Any] | None = None) -> None:
        """Raises Forbidden where `allowed` says no."""
        if not self.allowed(rule, target):
            raise Forbidden(f"Policy doesn't allow {rule} to be performed.")

    async def body(self, limit: int | None = None) -> bytes:
        """The whole body. Raises TooLarge past the limit, before reading it where its length is declared."""
        if self._body is None:
            bound = self.max_body_bytes if limit is None else limit
            self._body = b"".join([chunk async for chunk in self.stream(bound)])
        return self._body

    async def stream(self, limit: int | None = None) -> AsyncIterator[bytes]:
        """The body in pieces, read once. Raises TooLarge past the limit, Disconnected when it breaks off."""
        if self._read:
            raise RuntimeError("the body of the request has been read already")
        bound = self.max_upload_bytes if limit is None else limit
        if self.length is not None and self.length > bound:
            raise TooLarge(f"The body has {self.length} bytes; at most {bound} are accepted here.")
        self._read = True
        taken = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            chunk: bytes = message.get("body", b"")
            taken += len(chunk)
            if taken > bound:
                raise TooLarge(f"The body has more than {bound} bytes; at most {bound} are accepted here.")
            if chunk:
                yield chunk
            if not message.get("more_body", False):
                self._whole = True
                return

    @property
    def length(self) -> int | None:
        """The declared length of the body; None when it comes in chunks or there is none."""
        declared = self.headers.get("content-length")
        if declared is None:
            return None
        if not (declared.isascii() and declared.isdigit() and len(declared) < 20):
            raise Invalid(f"The header Content-Length is not a number: {declared[:40]}")
        return int(declared)

    @property
    def pending(self) -> bool:
        """Whether a body is declared that has not come in whole."""
        return not self._whole and ("transfer-encoding" in self.headers or bool(self.length))

    async def gone(self) -> None:
        """Return when the client has gone away; what is left of the body is discarded."""
        self._read = True
        while (await self._receive())["type"] != "http.disconnect":
            continue


def fold(lines: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header lines as a lower-case mapping, repeated ones joined by commas; UTF-8, or else Latin-1."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in lines:
        name = raw_name.decode("latin-1").lower()
        try:
            value = raw_value.decode()
        except UnicodeDecodeError:
            value = raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def own(credentials: Mapping[str, Any]) -> dict[str, Any]:
    """The default target of a rule: what the caller would own itself.

    An id that the caller lacks is left out: None must not be equal to None.
    """
    target: dict[str, Any] = {}
    project, user = credentials.get("project_id"), credentials.get("user_id")
    if project is not None:
        target["project_id"] = target["tenant_id"] = project
    if user is not None:
        target["user_id"] = user
    return target
