"""An operation made ready to be called: its arguments found, decoded and put in the handler's order."""

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.errors import Invalid, NotFound
from pileus.faces.wire.decoding import Body, QueryShape, refuse_newer, refuse_unknown, visible
from pileus.faces.wire.request import Request
from pileus.faces.wire.response import Response, Stream
from pileus.faces.wire.routing import parameters
from pileus.faces.wire.service import Operation
from pileus.faces.wire.versions import Version, Versioned

UUID_TEXT = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
INT_TEXT = re.compile(r"-?[0-9]{1,18}", re.ASCII)
Convert = Callable[[str], Any]


class Call:
    """One operation with everything precomputed that does not depend on the request."""

    __slots__ = ("_arguments", "_bodies", "_convert", "_queries", "operation")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        names = parameters(operation.path)
        given = inspect.signature(operation.handler).parameters
        self._arguments = order(operation, list(given), names)
        self._convert = [converter(name, annotation(operation.handler, given, name)) for name in names]
        self._bodies = variants(operation.body, body)
        self._queries = variants(operation.query, QueryShape)

    async def __call__(self, request: Request, values: tuple[str, ...], content: bytes | None) -> Any:
        """Run the handler. `content` is what stands under an action's key."""
        operation = self.operation
        found: list[Any] = [convert(value) for convert, value in zip(self._convert, values, strict=True)]
        found.append(self._query(request))
        if operation.body is not None:
            found.append(await self._body(request, content))
        result = await operation.handler(request, *[found[at] for at in self._arguments])
        if isinstance(result, Response | Stream):
            return result
        if operation.fields and isinstance(result, Mapping):
            result = visible(result, operation.fields, request.version)
        return Response(operation.status, result)

    def _query(self, request: Request) -> Any:
        shape: QueryShape | None = at(self._queries, request.version)
        strict = self.operation.strict(request.version)
        if shape is not None:
            return shape.decode(request.query, strict)
        if strict and request.query_string:
            refuse_unknown(request.query, frozenset())
        return None

    async def _body(self, request: Request, content: bytes | None) -> Any:
        declared: Body | None = at(self._bodies, request.version)
        if declared is None:
            return None
        if content is None:
            check_media(request, self.operation.media)
            content = await request.body()
            value = declared.decode(content)
        else:
            value = declared.under(content, self.operation.action or "")
        if self.operation.fields:
            refuse_newer(content, declared.envelope, self.operation.fields, request.version)
        return value


def order(operation: Operation, given: list[str], names: list[str]) -> list[int]:
    """Where each argument of the handler comes from; TypeError at declaration for one that has no source."""
    sources = {name: position for position, name in enumerate(names)}
    if operation.query is not None:
        sources["query"] = len(names)
    if operation.body is not None:
        sources["body"] = len(names) + 1
    unknown = [name for name in given[1:] if name not in sources]
    missing = [name for name in sources if name not in given[1:]]
    if not given or unknown or missing:
        name = getattr(operation.handler, "__qualname__", repr(operation.handler))
        raise TypeError(
            f"{operation.service}: {operation.key}: "
            f"handler {name} must take (request, {', '.join(sources)}); "
            f"without a source: {unknown or 'none'}, not taken: {missing or 'none'}"
        )
    return [sources[name] for name in given[1:]]


def annotation(handler: Any, given: Mapping[str, inspect.Parameter], name: str) -> Any:
    found = given[name].annotation
    if isinstance(found, str):
        found = eval(found, handler.__globals__)  # noqa: S307 - source text of the handler itself
    return str if found is inspect.Parameter.empty else found


def converter(name: str, kind: Any) -> Convert:
    """From a segment of the path to the declared type; what does not fit names nothing that exists."""
    what = name.removesuffix("_id").replace("_", " ")

    def uuid(value: str) -> UUID:
        if not UUID_TEXT.fullmatch(value):
            raise NotFound(what, value)
        return UUID(value)

    def integer(value: str) -> int:
        if not INT_TEXT.fullmatch(value):
            raise NotFound(what, value)
        return int(value)

    def other(value: str) -> Any:
        try:
            return msgspec.convert(value, kind, strict=False)
        except msgspec.ValidationError:
            raise NotFound(what, value) from None

    if kind is str:
        return str
    return {UUID: uuid, int: integer}.get(kind, other)


def body(spec: Any) -> Body:
    if isinstance(spec, tuple):
        envelope, shape = spec
        return Body(shape, envelope)
    return Body(spec, None)


def variants(spec: Any, build: Callable[[Any], Any]) -> Any:
    """The declaration built once, per version where it differs."""
    if spec is None:
        return None
    if isinstance(spec, tuple) and isinstance(spec[1], Versioned):
        envelope, shapes = spec
        return variants(
            Versioned({since: (envelope, each) for since, each in shapes.variants.items()}), build
        )
    if isinstance(spec, Versioned):
        return Versioned({since: variants(each, build) for since, each in spec.variants.items()})
    return build(spec)


def at(built: Any, version: Version) -> Any:
    return built.at(version) if isinstance(built, Versioned) else built


def check_media(request: Request, media: frozenset[str]) -> None:
    """A body without a type counts as JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not kind or kind == "application/json" or kind in media or kind.endswith("+json"):
        return
    accepted = ", ".join(sorted({"application/json", *media}))
    raise Invalid(f"Content type {kind[:100]} is not supported here; send {accepted}.")


def missing_action(name: str) -> Invalid:
    return Invalid(f"There is no such action: {name[:200]}")
