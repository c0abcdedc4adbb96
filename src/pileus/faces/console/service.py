"""The dashboard's and the operators' API: its service, how callers prove themselves, and its rules."""

import msgspec

from pileus.core import tickets
from pileus.core.caller import Caller
from pileus.core.errors import Unauthenticated
from pileus.core.identity.authentication import client_certificates
from pileus.core.identity.authorization import access
from pileus.core.identity.authorization.access import Session
from pileus.faces.wire import Request, Service
from pileus.faces.wire.certificates import presented

FACE, PREFIX = "console", "/console"
ADMIN = "role:admin"
OWNER = "role:admin or (role:member and project_id:%(project_id)s)"
READER = "role:admin or role:reader"
EVENTS, TICKETS = "/events", "/events/tickets"
TICKETED = frozenset({f"{PREFIX}{EVENTS}", f"{PREFIX}{EVENTS}/ws"})
"""Where a ticket is as good as a token."""
POLICIES = {
    "console:operations:read": READER,
    "console:operations:cancel": OWNER,
    "console:operations:retry": OWNER,
    "console:events:read": READER,
    "console:alerts:read": READER,
    "console:alerts:write": ADMIN,
    "console:placement:explain": READER,
    "console:access:explain": "",
    "console:keys:rotate": ADMIN,
    "console:registrations:read": "role:admin or role:manager",
    "console:registrations:decide": "role:admin or role:manager",
    "console:quota:verify": ADMIN,
    "console:federation:read": ADMIN,
    "console:federation:write": ADMIN,
    "console:webhooks:read": READER,
    "console:webhooks:write": OWNER,
}
"""Rules of the console's own; what depends on the object (its project) the core decides."""


async def authenticate(request: Request) -> Caller:
    """The caller by `X-Auth-Token` or `Authorization: Bearer`, the same tokens as the identity API issues."""
    text = request.headers.get("x-auth-token", "")
    if not text:
        scheme, _, credential = request.headers.get("authorization", "").partition(" ")
        text = credential.strip() if scheme.lower() == "bearer" else ""
    ticket = request.query.get("ticket", "") if request.path in TICKETED and request.method == "GET" else ""
    if text:
        found = await access.present(request.cloud, text)
        client_certificates.require_holder(found.token.thumbprint, presented(request))
    elif ticket:
        found = await tickets.redeem(request.cloud, ticket, tickets.EVENTS)
    else:
        raise Unauthenticated("The request you have made requires authentication.")
    request.state["session"] = found
    return msgspec.structs.replace(found.caller, request=request.id, trace=request.trace, face=FACE)


def session_of(request: Request) -> Session:
    """Of an authenticated request: the token behind it, for what goes on longer than the request."""
    session: Session = request.state["session"]
    return session


SERVICE = Service("console", PREFIX, authenticate=authenticate, policies=POLICIES)
