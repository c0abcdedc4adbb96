"""Keystone's v3 API under /identity."""

from pileus.core.errors import CoreError, NotFound
from pileus.faces.openstack.identity.policies import POLICIES, SCOPES
from pileus.faces.openstack.wire import Errors, authenticate, keystone_error
from pileus.faces.wire import Request, Response, Service
from pileus.faces.wire.errors import WireError

FOUND_BY_ID = frozenset(
    {"user", "group", "project", "domain", "role", "credential", "region", "service", "endpoint"}
)
"""Of these Keystone says "Could not find user: ..."."""


class KeystoneErrors(Errors):
    def word(self, code: int, error: CoreError | WireError, request: Request) -> Response:
        if isinstance(error, NotFound) and error.what.lower() in FOUND_BY_ID:
            message = f"Could not find {error.what.lower()}: {error.key}."
            return Response(code, {"error": keystone_error(code, message)})
        return super().word(code, error, request)


SERVICE = Service(
    "identity",
    "/identity",
    errors=KeystoneErrors(),
    policies=POLICIES,
    scopes=SCOPES,
    authenticate=authenticate,
)
