"""Discovery: the list of versions, and the one there is."""

from typing import Any

from pileus.faces.openstack.identity.refs import url
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.openstack.wire import version_document
from pileus.faces.wire import Request, Response

MEDIA_TYPE = {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}


def document(request: Request) -> dict[str, Any]:
    return version_document(
        "v3.14",
        url(request, ""),
        state="stable",
        updated="2020-04-07T00:00:00Z",
        media_types=[MEDIA_TYPE],
    )


@SERVICE.operation("GET", "/", public=True)
async def versions(request: Request) -> Response:
    shown = {"versions": {"values": [document(request)]}}
    return Response(300, shown, {"location": url(request, "")})


@SERVICE.operation("GET", "/v3", public=True)
async def version(request: Request) -> dict[str, Any]:
    return {"version": document(request)}
