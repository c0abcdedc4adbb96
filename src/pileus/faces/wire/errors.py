"""What the wire itself refuses, and the form in which a service words every refusal."""

from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from pileus.core.errors import CoreError, Kind
from pileus.faces.wire.response import Response

if TYPE_CHECKING:
    from pileus.faces.wire.request import Request


class WireKind(Enum):
    """A refusal below the core, with its HTTP status."""

    NO_ROUTE = (404, "no such path")
    BAD_METHOD = (405, "method not allowed")
    BAD_VERSION = (400, "malformed version")
    VERSION_RANGE = (406, "version out of range")
    GONE = (410, "no longer kept")
    INTERNAL = (500, "internal error")

    @property
    def status(self) -> int:
        return self.value[0]


class WireError(Exception):
    """`headers` go onto the answer whatever the form renders; `details` are facts for the form."""

    def __init__(
        self,
        kind: WireKind,
        public: str,
        *,
        headers: Mapping[str, str] | None = None,
        details: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(public)
        self.kind = kind
        self.public = public
        self.headers = headers or {}
        self.details = details or {}


class Disconnected(Exception):
    """The client went away before the whole request was read; nobody is left to answer."""


class ErrorForm(Protocol):
    """How one API words refusals. The kernel adds ids, versions and `WireError.headers`."""

    def render(self, error: CoreError | WireError, request: "Request") -> Response: ...


STATUS: Mapping[Kind, int] = {
    Kind.INVALID: 400,
    Kind.UNAUTHENTICATED: 401,
    Kind.FORBIDDEN: 403,
    Kind.NOT_FOUND: 404,
    Kind.EXISTS: 409,
    Kind.CONFLICT: 409,
    Kind.IN_USE: 409,
    Kind.QUOTA: 403,
    Kind.NO_CAPACITY: 503,
    Kind.TOO_LARGE: 413,
    Kind.TOO_MANY: 429,
    Kind.UNSUPPORTED: 501,
    Kind.UNAVAILABLE: 503,
}
"""The usual status of each kind, for forms that have no table of their own."""


def status(error: CoreError | WireError, table: Mapping[Kind, int] = STATUS) -> int:
    return error.kind.status if isinstance(error, WireError) else table[error.kind]


class PlainErrors:
    """The form of paths that belong to no API: `{"error": {"code", "message"}}`."""

    def render(self, error: CoreError | WireError, request: "Request") -> Response:
        code = status(error)
        return Response(code, {"error": {"code": code, "message": error.public}})
