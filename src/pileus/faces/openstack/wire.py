"""What all OpenStack services share: tokens, how refusals look, ids, times, links and version documents."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.errors import CoreError, Forbidden, Invalid, Kind, NotFound, Unauthenticated
from pileus.core.identity.authentication import client_certificates
from pileus.core.identity.authentication.credential_records import AccessRule
from pileus.core.identity.authorization import access
from pileus.core.identity.authorization.access import Session
from pileus.core.identity.delegation import access_rules
from pileus.faces.wire.certificates import presented
from pileus.faces.wire.errors import STATUS, WireError, status
from pileus.faces.wire.request import Request
from pileus.faces.wire.response import Response

FACE = "openstack"
DENIED = re.compile(r"Policy doesn't allow (\S+) to be performed\.")
UNAUTHENTICATED = "The request you have made requires authentication."
TYPES: Mapping[str, tuple[str, ...]] = {
    "/identity": ("identity",),
    "/compute": ("compute",),
    "/placement": ("placement",),
    "/network": ("network",),
    "/image": ("image",),
    "/volume": ("block-storage", "block-store", "volume", "volumev2", "volumev3"),
}
"""The types by which access rules name our services."""
SECONDS = "%Y-%m-%dT%H:%M:%S"


async def authenticate(request: Request) -> Caller:
    """The caller by `X-Auth-Token`; its session stays in `request.state`. A token that is bound to some requests is good
    for no others.

    `X-Service-Token` needs no attention: in the original it lets services act for users, and here none does.
    """
    text = request.headers.get("x-auth-token", "")
    if not text:
        raise Unauthenticated(UNAUTHENTICATED)
    found = await access.present(request.cloud, text, bound=True)
    client_certificates.require_holder(found.token.thumbprint, presented(request))
    if found.access_rules is not None:
        require_fitting(request, found.access_rules)
    request.state["session"] = found
    return msgspec.structs.replace(found.caller, request=request.id, trace=request.trace, face=FACE)


def require_fitting(request: Request, rules: Iterable[AccessRule]) -> None:
    """Raises Unauthenticated for a request that none of the rules allows. A token can always be asked about."""
    path = request.path
    mount = path[: path.find("/", 1)]
    if mount == "/identity" and request.method == "GET" and path.endswith("/v3/auth/tokens"):
        return
    paths = (path, path.removeprefix(mount))
    if not access_rules.allow(rules, TYPES.get(mount, ()), request.method, paths):
        raise Unauthenticated(UNAUTHENTICATED, private="no access rule allows the request")


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
            return unauthorized(request, error.public)
        return self.word(status(error, self.table), error, request)

    def word(self, code: int, error: CoreError | WireError, request: Request) -> Response:
        """Keystone's form."""
        return Response(code, {"error": keystone_error(code, worded(error))})


def worded(error: CoreError | WireError) -> str:
    """What Keystone says of things that are missing and rules that deny, which its clients have seen for years."""
    text = error.public
    if isinstance(error, NotFound) and text == f"{error.what} {error.key} could not be found.":
        what = error.what if " " in error.what else error.what.lower()
        return f"Could not find {what}: {error.key}."
    if isinstance(error, Forbidden) and (denied := DENIED.fullmatch(text)):
        return f"You are not authorized to perform the requested action: {denied[1]}."
    return text


def unauthorized(request: Request, message: str = UNAUTHENTICATED) -> Response:
    headers = {"www-authenticate": f'Keystone uri="{public_url(request)}/identity/v3"'}
    return Response(401, {"error": keystone_error(401, message)}, headers)


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
