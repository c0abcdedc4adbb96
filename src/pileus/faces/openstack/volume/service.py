"""The block storage API's frame: paths, versions, policy, and how it words refusals."""

from collections.abc import Mapping
from typing import Any

from pileus.core.errors import CoreError, Kind, NotFound, QuotaExceeded
from pileus.faces.openstack import wire
from pileus.faces.openstack.volume.policies import POLICIES
from pileus.faces.wire import STATUS, Request, Response, Service, Versions, WireError

ROOT = "/volume"
PREFIX = "/volume/v3"
VERSIONS = Versions("volume", (3, 0), (3, 71), aliases=("block-storage", "volumev3"))
MAX_LIMIT = 1000
STATUSES: Mapping[Kind, int] = {
    **STATUS,
    Kind.CONFLICT: 400,
    Kind.IN_USE: 400,
    Kind.QUOTA: 413,
    Kind.NO_CAPACITY: 400,
    Kind.UNSUPPORTED: 400,
}
"""A wrong state is bad input in the original."""
WORDS = {"VolumeKind": "Volume type"}
"""The original's names of what was not found."""
EXCEEDED = {
    "volumes": "Maximum number of volumes allowed ({limit}) exceeded for quota 'volumes'.",
    "snapshots": "Maximum number of snapshots allowed ({limit}) exceeded for quota 'snapshots'.",
    "volume_gib": "Requested volume or snapshot exceeds allowed gigabytes quota. Requested {wanted}G, quota is "
    "{limit}G and {used}G has been consumed.",
}
"""The original's sentences by quota; clients tell a quota from a rate limit by the word "exceed"."""


class Errors(wire.Faults):
    """Cinder's sentences for what the core says in its own."""

    def word(self, code: int, error: CoreError | WireError, request: Request) -> Response:
        message = error.public
        if isinstance(error, NotFound):
            what = WORDS.get(error.what, error.what)
            message = f"{what[:1].upper()}{what[1:]} {error.key} could not be found."
        if isinstance(error, QuotaExceeded) and error.resource in EXCEEDED:
            message = EXCEEDED[error.resource].format(limit=error.limit, used=error.used, wanted=error.wanted)
            message += f" {error.public}" if error.of else ""
        fault: dict[str, Any] = {"code": code, "message": message}
        headers = {}
        if code == 413:
            fault["retryAfter"] = "0"
            headers["retry-after"] = "0"
        return Response(code, {wire.FAULTS.get(code, wire.OTHER_FAULT): fault}, headers)


service = Service(
    "volume",
    PREFIX,
    errors=Errors(STATUSES),
    versions=VERSIONS,
    policies=POLICIES,
    authenticate=wire.authenticate,
    project_in_path=True,
    request_id_header="x-compute-request-id",
)
root = Service("volume-root", ROOT, errors=Errors(STATUSES), public=True)

MEDIA = ({"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"},)
HELP = {
    "rel": "describedby",
    "type": "text/html",
    "href": "https://docs.openstack.org/api-ref/block-storage/",
}


def described(request: Request) -> dict[str, Any]:
    shown = wire.version_document(
        "v3.0",
        f"{wire.public_url(request)}{PREFIX}/",
        minimum="3.0",
        maximum=f"{VERSIONS.maximum[0]}.{VERSIONS.maximum[1]}",
        updated="2023-08-31T00:00:00Z",
        media_types=MEDIA,
    )
    return {**shown, "links": [HELP, *shown["links"]]}


@root.operation("GET", "/", status=300)
async def versions(request: Request) -> dict[str, Any]:
    """The versions of the API, without a token."""
    return {"versions": [described(request)]}


@service.operation("GET", "/", public=True, versioned=False)
async def version(request: Request) -> dict[str, Any]:
    """The same for this version."""
    return {"versions": [described(request)]}


def links(request: Request, collection: str, key: object) -> list[dict[str, str]]:
    base = wire.public_url(request)
    return [
        wire.rel("self", f"{base}{PREFIX}/{collection}/{key}"),
        wire.rel("bookmark", f"{base}{ROOT}/{collection}/{key}"),
    ]
