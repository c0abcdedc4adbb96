"""What all OpenStack services share: tokens, how refusals look, ids, times, links and version documents."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.errors import CoreError, Invalid, Kind, Unauthenticated
from pileus.core.identity import access
from pileus.core.identity.access import Session
from pileus.faces.wire.errors import STATUS, WireError, status
from pileus.faces.wire.request import Request
from pileus.faces.wire.response import Response

FACE = "openstack"
UNAUTHENTICATED = "The request you have made requires authentication."
SECONDS = "%Y-%m-%dT%H:%M:%S"


async def authenticate(request: Request) -> Caller:
    """The caller by `X-Auth-Token`; its session stays in `request.state`.

    `X-Service-Token` needs no attention: in the original it lets services act for users, and here none does.
    """
    text = request.headers.get("x-auth-token", "")
    if not text:
        raise Unauthenticated(UNAUTHENTICATED)
    found = await access.present(request.cloud, text)
    request.state["session"] = found
    return msgspec.structs.replace(found.caller, request=request.id, trace=request.trace, face=FACE)


def session(request: Request) -> Session:
    """What the caller's token stands for, in an operation that needs one."""
    found: Session = request.state["session"]
    return found


def public_url(request: Request) -> str:
    """How clients reach us: as configured, else as this one did."""
    return (request.cloud.config.public_url or request.base_url).rstrip("/")


class Errors:
    """An error form: a missing or bad token is answered alike by all services, the rest in a service's own words."""

    table: Mapping[Kind, int] = STATUS

    def render(self, error: CoreError | WireError, request: Request) -> Response:
        if isinstance(error, Unauthenticated):
            return unauthorized(request)
        return self.word(status(error, self.table), error, request)

    def word(self, code: int, error: CoreError | WireError, request: Request) -> Response:
        """Keystone's form."""
        return Response(code, {"error": keystone_error(code, error.public)})


def unauthorized(request: Request) -> Response:
    headers = {"www-authenticate": f'Keystone uri="{public_url(request)}/identity/v3"'}
    return Response(401, {"error": keystone_error(401, UNAUTHENTICATED)}, headers)


def keystone_error(code: int, message: str) -> dict[str, Any]:
    return {"code": code, "title": title(code), "message": message}


def title(code: int) -> str:
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "Error"


FAULTS: Mapping[int, str] = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}
OTHER_FAULT = "computeFault"


class Faults(Errors):
    """Nova's and Cinder's form: `{"<name of the status>": {"code", "message"}}`."""

    def __init__(self, table: Mapping[Kind, int] = STATUS) -> None:
        self.table = table

    def word(self, code: int, error: CoreError | WireError, request: Request) -> Response:
        fault = {"code": code, "message": error.public}
        return Response(code, {FAULTS.get(code, OTHER_FAULT): fault})


def hex_id(key: UUID | None) -> str | None:
    """Ids of projects and users, as Keystone writes them."""
    return key.hex if key is not None else None


def parse_id(text: str, what: str) -> UUID:
    """An id with or without dashes. Raises Invalid that names what was meant."""
    try:
        return UUID(text)
    except ValueError:
        raise Invalid(f"{what} {text[:64]!r} is not an id; ids have 32 hexadecimal digits.") from None


def moment(at: datetime | None) -> str | None:
    """Seconds and Z, as Nova and Glance write times."""
    return f"{seconds(at)}Z" if at is not None else None


def precise(at: datetime | None) -> str | None:
    """Microseconds and Z, as Keystone and Cinder write times."""
    return f"{seconds(at)}.{at.microsecond:06d}Z" if at is not None else None


def seconds(at: datetime) -> str:
    """A time in UTC, without its fraction and zone."""
    text: str = msgspec.to_builtins(at if at.tzinfo is UTC else at.astimezone(UTC))
    return text[:19]


def rel(name: str, href: str) -> dict[str, str]:
    return {"rel": name, "href": href}


def version_document(
    id: str,
    url: str,
    *,
    state: str = "CURRENT",
    minimum: str | None = None,
    maximum: str | None = None,
    updated: str = "2026-04-01T00:00:00Z",
    media_types: Iterable[Mapping[str, str]] | None = None,
    maximum_name: str = "version",
) -> dict[str, Any]:
    """One version as discovery reads it; `url` is the address that clients then use."""
    shown: dict[str, Any] = {"id": id, "status": state, "updated": updated, "links": [rel("self", url)]}
    if minimum is not None or maximum is not None:
        shown |= {maximum_name: maximum or "", "min_version": minimum or ""}
    if media_types is not None:
        shown["media-types"] = list(media_types)
    return shown
