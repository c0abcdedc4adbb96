"""The compute API's frame: paths, versions, policy, and how it words refusals."""

from collections.abc import Mapping
from typing import Any

from pileus.core.compute.states import HostUnready, Locked, StateConflict
from pileus.core.errors import CoreError, Kind, NotFound, QuotaExceeded
from pileus.faces.openstack import wire
from pileus.faces.openstack.compute.policies import POLICIES
from pileus.faces.openstack.compute.words import attribute
from pileus.faces.wire import STATUS, Request, Response, Service, Versions, WireError

ROOT = "/compute"
PREFIX = "/compute/v2.1"
VERSIONS = Versions(
    "compute", (2, 1), (2, 96), legacy_header="X-OpenStack-Nova-API-Version", aliases=("nova",)
)
MAX_LIMIT = 1000
STATUSES: Mapping[Kind, int] = {**STATUS, Kind.NO_CAPACITY: 500, Kind.UNSUPPORTED: 400}
WORDS = {
    "Server": "Instance",
    "Size": "Flavor",
    "Key pair": "Keypair",
    "ServerGroup": "Instance group",
    "Host group": "Aggregate",
}
"""The original's names of what was not found."""
ACTIONS = {
    "reboot hard": "reboot",
    "recover": "restore",
    "attach_nic": "attach_interface",
    "detach_nic": "detach_interface",
}


class Errors(wire.Faults):
    """Nova's sentences for what the core says in its own."""

    def word(self, code: int, error: CoreError | WireError, request: Request) -> Response:
        fault = {"code": code, "message": sentence(error)}
        return Response(code, {wire.FAULTS.get(code, wire.OTHER_FAULT): fault})


def sentence(error: CoreError | WireError) -> str:
    match error:
        case StateConflict():
            action = ACTIONS.get(error.verb, error.verb)
            return f"Cannot '{action}' instance {error.server} while it is in {attribute(error.state)}"
        case Locked():
            return f"Instance {error.server} is locked"
        case HostUnready():
            return f"Instance {error.server} is not ready: {error.public}"
        case QuotaExceeded() if error.of:
            return f"Quota exceeded: {error.public}"
        case QuotaExceeded(resource="metadata_items"):
            return f"Maximum number of metadata items exceeds {error.limit}"
        case QuotaExceeded(resource="server_groups"):
            return "Quota exceeded, too many server groups."
        case QuotaExceeded(resource="server_group_members"):
            return "Quota exceeded, too many servers in group"
        case NotFound():
            return f"{WORDS.get(error.what, error.what)} {error.key} could not be found."
    return error.public


service = Service(
    "compute",
    PREFIX,
    errors=Errors(STATUSES),
    versions=VERSIONS,
    policies=POLICIES,
    authenticate=wire.authenticate,
    project_in_path=True,
    request_id_header="x-compute-request-id",
)
root = Service("compute-root", ROOT, errors=Errors(STATUSES), public=True)

MEDIA = ({"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"},)


def described(request: Request) -> dict[str, Any]:
    return wire.version_document(
        "v2.1",
        f"{wire.public_url(request)}{PREFIX}/",
        minimum="2.1",
        maximum=f"{VERSIONS.maximum[0]}.{VERSIONS.maximum[1]}",
        updated="2013-07-23T11:33:21Z",
    )


@root.operation("GET", "/")
async def versions(request: Request) -> dict[str, Any]:
    """The versions of the API, without a token."""
    return {"versions": [described(request)]}


@service.operation("GET", "/", public=True, versioned=False)
async def version(request: Request) -> dict[str, Any]:
    """This version, without a token."""
    help_ = {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/api-ref/compute/"}
    shown = described(request)
    return {"version": {**shown, "links": [*shown["links"], help_], "media-types": list(MEDIA)}}


def links(request: Request, collection: str, key: object) -> list[dict[str, str]]:
    return [
        wire.rel("self", f"{wire.public_url(request)}{PREFIX}/{collection}/{key}"),
        bookmark(request, collection, key),
    ]


def bookmark(request: Request, collection: str, key: object) -> dict[str, str]:
    """The address without a version."""
    return wire.rel("bookmark", f"{wire.public_url(request)}{ROOT}/{collection}/{key}")
