"""Keystone's v3 API under /identity."""

from collections.abc import Mapping
from uuid import UUID

from pileus.core.errors import CoreError, NotFound
from pileus.faces.openstack.identity.policies import POLICIES, SCOPES
from pileus.faces.openstack.identity.refs import domain_id
from pileus.faces.openstack.wire import Errors, authenticate, keystone_error
from pileus.faces.wire import Request, Response, Service
from pileus.faces.wire.errors import WireError

FOUND_BY_ID = frozenset(
    {"user", "group", "project", "domain", "role", "credential", "region", "service", "endpoint"}
)
"""Of these Keystone says "Could not find user: ..."."""


SENTENCES: Mapping[str, str] = {
    "policydocument": "Could not find policy: {}.",
    "endpointgroup": "Could not find Endpoint Group: {}.",
    "registered limit": "Could not find registered limit for {}.",
    "limit": "Could not find limit for {}.",
    "consumer": "Consumer not found",
    "access token": "Access token not found",
    "request token": "Request token not found",
    "policy association": "Could not find policy association.",
}
"""What it says of others."""


class KeystoneErrors(Errors):
    def word(self, code: int, error: CoreError | WireError, request: Request) -> Response:
        if not isinstance(error, NotFound):
            return super().word(code, error, request)
        what, key = error.what.lower(), plain(error.key)
        if what in FOUND_BY_ID:
            message = f"Could not find {what}: {key}."
        elif what in SENTENCES:
            message = SENTENCES[what].format(key)
        elif what.endswith((" for", " for domain")):
            message = f"Could not find {error.what} {key}."
        else:
            return super().word(code, error, request)
        return Response(code, {"error": keystone_error(code, message)})


def plain(key: str) -> str:
    """An id as Keystone writes it."""
    try:
        return domain_id(UUID(key))
    except ValueError:
        return key


SERVICE = Service(
    "identity",
    "/identity",
    errors=KeystoneErrors(),
    policies=POLICIES,
    scopes=SCOPES,
    authenticate=authenticate,
    vary="X-Auth-Token",
)
