"""The dashboard's and the operators' API: its service, how callers prove themselves, and its rules."""

import msgspec

from pileus.core.caller import Caller
from pileus.core.errors import Unauthenticated
from pileus.core.identity import access
from pileus.faces.wire import Request, Service

FACE = "console"
ADMIN = "role:admin"
OWNER = "role:admin or (role:member and project_id:%(project_id)s)"
READER = "role:admin or role:reader"
POLICIES = {
    "console:operations:read": READER,
    "console:operations:cancel": OWNER,
}
"""Rules of the console's own; what depends on the object (its project) the core decides."""


async def authenticate(request: Request) -> Caller:
    """The caller by `X-Auth-Token` or `Authorization: Bearer`, the same tokens as the identity API issues."""
    text = request.headers.get("x-auth-token", "")
    if not text:
        scheme, _, credential = request.headers.get("authorization", "").partition(" ")
        text = credential.strip() if scheme.lower() == "bearer" else ""
    if not text:
        raise Unauthenticated("The request you have made requires authentication.")
    found = await access.present(request.cloud, text)
    return msgspec.structs.replace(found.caller, request=request.id, face=FACE)


SERVICE = Service("console", "/console", authenticate=authenticate, policies=POLICIES)
