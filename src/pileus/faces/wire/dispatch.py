"""From a request to the one operation that serves it: path, method, version, caller, policy, action."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from pileus.core.errors import Invalid
from pileus.faces.wire.call import UUID_TEXT, Call, check_media, missing_action
from pileus.faces.wire.decoding import action
from pileus.faces.wire.errors import ErrorForm, WireError, WireKind
from pileus.faces.wire.policy import Enforcer
from pileus.faces.wire.request import Request
from pileus.faces.wire.response import Response, Stream
from pileus.faces.wire.routing import Node
from pileus.faces.wire.service import Service
from pileus.faces.wire.versions import text

Leaf = dict[str, "Calls"]
DECIDED = frozenset({"project_id", "tenant_id", "user_id"})
"""Keys of the default target: a rule that mentions no other can be decided before the handler."""


class Calls:
    """What one method of one path does, by version, and by action where the body names one."""

    __slots__ = ("actions", "plain")

    def __init__(self) -> None:
        self.plain: list[Call] = []
        self.actions: dict[str, list[Call]] = {}


class Dispatcher:
    """Serves one service; owns its routes and its policy."""

    def __init__(self, service: Service, policy_directory: Path | None = None) -> None:
        self.service = service
        self.errors: ErrorForm = service.errors
        self.enforcer = Enforcer(
            service.policies, policy_file(service.name, policy_directory), scopes=service.scopes
        )
        self._root: Node[Leaf] = Node()
        for operation in service.operations:
            self._route(Call(operation))
        check(service)

    def _route(self, call: Call) -> None:
        node = self._root.grow(call.operation.path)
        if node.leaf is None:
            node.leaf = {}
        calls = node.leaf.setdefault(call.operation.method, Calls())
        if call.operation.action is None:
            calls.plain.append(call)
        else:
            calls.actions.setdefault(call.operation.action, []).append(call)
        if calls.plain and calls.actions:
            raise ValueError(
                f"{self.service.name}: {call.operation.key}: a path takes actions or a body, not both"
            )

    async def answer(self, request: Request) -> Response | Stream:
        service = self.service
        request.authenticator, request.enforcer = service.authenticate, self.enforcer
        request.max_body_bytes = service.max_body_bytes or request.max_body_bytes
        request.max_upload_bytes = service.max_upload_bytes or request.max_upload_bytes
        leaf, values = self._find(request)
        calls = leaf.get(request.method)
        if calls is None and request.method == "HEAD":
            calls = leaf.get("GET")
        if calls is None:
            return wrong_method(request, leaf)
        return await self._serve(request, calls, values)

    def decorate(self, request: Request) -> Mapping[str, str]:
        """Headers that every answer of the service carries, refusals too."""
        service = self.service
        headers = {} if service.vary is None else {"vary": service.vary}
        if service.versions is not None:
            headers = service.versions.headers(request.version if request.version[0] else None)
        if service.request_id_header is not None:
            headers[service.request_id_header] = request.id
        return headers

    def _find(self, request: Request) -> tuple[Leaf, tuple[str, ...]]:
        tail = request.tail
        if self.service.project_in_path and tail and UUID_TEXT.fullmatch(tail[0]):
            found = self._root.find(tail[1:])
            if found is not None and len(tail) > 1:
                request.state["project_in_path"] = tail[0]
                return found
        found = self._root.find(tail)
        if found is None:
            raise WireError(WireKind.NO_ROUTE, "The resource could not be found.")
        return found

    async def _serve(self, request: Request, calls: Calls, values: tuple[str, ...]) -> Response | Stream:
        sample = calls.plain[0] if calls.plain else next(iter(calls.actions.values()))[0]
        versions = self.service.versions
        if versions is not None and sample.operation.versioned:
            request.version = versions.wanted(request.headers)
        if not sample.operation.public:
            await request.authenticate()
            same_project(request)
        content: bytes | None = None
        among = calls.plain
        if calls.actions:
            check_media(request, sample.operation.media)
            name, content = action(await request.body())
            if name not in calls.actions:
                raise missing_action(name)
            among = calls.actions[name]
        call = self._pick(request, among)
        return await self._run(request, call, values, content)

    def _pick(self, request: Request, among: list[Call]) -> Call:
        for call in among:
            if call.operation.serves(request.version):
                return call
        raise WireError(
            WireKind.NO_ROUTE,
            f"The resource could not be found: it is not part of version {text(request.version)}.",
        )

    async def _run(
        self, request: Request, call: Call, values: tuple[str, ...], content: bytes | None
    ) -> Response | Stream:
        operation = call.operation
        request.state["operation"] = operation.key
        rule = None if operation.public else operation.policy
        if not operation.public and request.anonymous:
            await request.authenticate()
            same_project(request)
        if rule is not None and not operation.targeted and self.enforcer.keys(rule) <= DECIDED:
            request.enforce(rule)
        result: Response | Stream = await call(request, values, content)
        if rule is not None and not request.enforced:
            raise RuntimeError(
                f"{operation.key}: rule {rule} needs its target, but the handler enforced nothing"
            )
        return result


def wrong_method(request: Request, leaf: Leaf) -> Response:
    methods = set(leaf) | {"OPTIONS"} | ({"HEAD"} if "GET" in leaf else set())
    allow = ", ".join(sorted(methods))
    if request.method == "OPTIONS":
        return Response(200, None, {"allow": allow})
    raise WireError(
        WireKind.BAD_METHOD,
        f"The method {request.method[:20]} is not allowed for this resource; it takes {allow}.",
        headers={"allow": allow},
    )


def same_project(request: Request) -> None:
    """A project in the path is the caller's own, or the address is a mistake."""
    named = request.state.get("project_in_path")
    if named is None:
        return
    own: Any = request.caller.credentials.get("project_id")
    if own is None or UUID(named).hex != str(own).replace("-", "").lower():
        raise Invalid("Malformed request url: the project in the path is not the project of the token.")


def policy_file(name: str, directory: Path | None) -> Path | None:
    """Where an operator's rules for a service stand; the file may appear later."""
    if directory is None:
        return None
    other = directory / f"{name}.json"
    return other if other.exists() else directory / f"{name}.yaml"


def check(service: Service) -> None:
    """A service that nobody could call is a mistake that must show at start."""
    closed = [operation for operation in service.operations if not operation.public]
    if closed and service.authenticate is None:
        raise ValueError(f"{service.name}: set Service.authenticate, or declare its operations public")
    rules = {operation.policy for operation in closed if operation.policy is not None}
    undefined = sorted(rules - service.policies.keys())
    if undefined:
        raise ValueError(f"{service.name}: no policy defines {', '.join(undefined)}")
