"""Declared operations of one API: what router, validation, policy, ledger, tests and documentation read."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pileus.faces.wire.errors import ErrorForm, PlainErrors
from pileus.faces.wire.request import Authenticate
from pileus.faces.wire.routing import split
from pileus.faces.wire.versions import Span, Version, Versions

Handler = Callable[..., Awaitable[Any]]
H = TypeVar("H", bound=Handler)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method and path (and action), in a range of versions."""

    service: str
    method: str
    path: str
    policy: str | None
    status: int
    handler: Handler
    action: str | None = None
    body: Any = None
    query: Any = None
    since: Version | None = None
    until: Version | None = None
    public: bool = False
    targeted: bool = False
    versioned: bool = True
    strict_query: bool | Version = False
    media: frozenset[str] = frozenset()
    fields: Mapping[str, Span] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """How ledgers and logs name it: `POST /servers/{server}/action os-start`."""
        route = f"{self.method} {self.path}"
        return route if self.action is None else f"{route} {self.action}"

    @property
    def versions(self) -> tuple[Version | None, Version | None]:
        return self.since, self.until

    def serves(self, version: Version) -> bool:
        return (self.since is None or version >= self.since) and (self.until is None or version <= self.until)

    def strict(self, version: Version) -> bool:
        """Whether unknown query parameters are refused."""
        rule = self.strict_query
        return version >= rule if isinstance(rule, tuple) else rule


class Service:
    """One API under one prefix. The face fills it at import; the kernel reads it when it is built.

    `strict_query` refuses unknown query parameters, always or from a version on. With `project_in_path` a
    first segment that is a project id is accepted and must be the caller's. `scopes`: by rule, the scopes of a token
    (system, domain, project) with which it can hold; a rule without an entry holds with any. `vary`:
    the request's headers on which answers depend, for caches on the way.
    """

    def __init__(
        self,
        name: str,
        prefix: str,
        *,
        errors: ErrorForm | None = None,
        versions: Versions | None = None,
        public: bool = False,
        policies: Mapping[str, Any] | None = None,
        scopes: Mapping[str, frozenset[str]] | None = None,
        authenticate: Authenticate | None = None,
        strict_query: bool | Version = False,
        project_in_path: bool = False,
        request_id_header: str | None = None,
        vary: str | None = None,
        max_body_bytes: int | None = None,
        max_upload_bytes: int | None = None,
    ) -> None:
        self.name = name
        self.prefix = "/" + prefix.strip("/")
        self.errors: ErrorForm = errors or PlainErrors()
        self.versions = versions
        self.public = public
        self.policies: Mapping[str, Any] = policies if policies is not None else {}
        self.scopes: Mapping[str, frozenset[str]] = scopes if scopes is not None else {}
        self.authenticate = authenticate
        self.strict_query = strict_query
        self.project_in_path = project_in_path
        self.request_id_header = request_id_header
        self.vary = vary
        self.max_body_bytes = max_body_bytes
        self.max_upload_bytes = max_upload_bytes
        self.operations: list[Operation] = []
        self._alike: dict[tuple[str, str, str | None], list[Operation]] = {}

    def operation(
        self,
        method: str,
        path: str,
        *,
        policy: str | None = None,
        body: Any = None,
        query: Any = None,
        status: int = 200,
        since: Version | None = None,
        until: Version | None = None,
        public: bool | None = None,
        targeted: bool = False,
        versioned: bool = True,
        strict_query: bool | Version | None = None,
        media: tuple[str, ...] = (),
        fields: Mapping[str, Span] | None = None,
    ) -> Callable[[H], H]:
        """Declare a handler: called with the request, path parameters by name, then `query` and `body`.

        `body`: a type, `("envelope", type)`, or Versioned of them; `media`: content types besides JSON ones;
        `fields`: wire names that are read and shown only from a version on. `targeted`: the rule is about an
        object, and the handler decides it by `request.enforce`; so it is for every rule that reads more of its
        target than the ids of project and user.
        """

        def declare(handler: H) -> H:
            self._add(
                Operation(
                    service=self.name,
                    method=method.upper(),
                    path=path,
                    policy=policy,
                    status=status,
                    handler=handler,
                    body=body,
                    query=query,
                    since=since,
                    until=until,
                    public=self.public if public is None else public,
                    targeted=targeted,
                    versioned=versioned,
                    strict_query=self.strict_query if strict_query is None else strict_query,
                    media=frozenset(media),
                    fields=fields or {},
                )
            )
            return handler

        return declare

    def action(
        self,
        path: str,
        name: str,
        *,
        policy: str | None = None,
        status: int = 202,
        body: Any = None,
        since: Version | None = None,
        until: Version | None = None,
        targeted: bool = False,
        fields: Mapping[str, Span] | None = None,
    ) -> Callable[[H], H]:
        """Declare what a POST does whose body has the single key `name`; `body` is the type under the key."""

        def declare(handler: H) -> H:
            self._add(
                Operation(
                    service=self.name,
                    method="POST",
                    path=path,
                    action=name,
                    policy=policy,
                    status=status,
                    handler=handler,
                    body=body,
                    since=since,
                    until=until,
                    public=self.public,
                    targeted=targeted,
                    strict_query=self.strict_query,
                    fields=fields or {},
                )
            )
            return handler

        return declare

    def _add(self, operation: Operation) -> None:
        alike = self._alike.setdefault(shape(operation), [])
        if any(overlap(other, operation) for other in alike):
            raise ValueError(f"{self.name}: {operation.key} is declared twice for the same versions")
        alike.append(operation)
        self.operations.append(operation)


def shape(operation: Operation) -> tuple[str, str, str | None]:
    """What two operations share when a request cannot tell them apart."""
    parts = [
        ("{:path}" if part.endswith(":path}") else "{}") if part[0] == "{" else part
        for part in split(operation.path)
    ]
    return operation.method, "/".join(parts), operation.action


def overlap(one: Operation, other: Operation) -> bool:
    lowest, highest = (0, 0), (1 << 30, 0)
    return (one.since or lowest) <= (other.until or highest) and (other.since or lowest) <= (
        one.until or highest
    )
