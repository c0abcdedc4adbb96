"""Discovery: the list of versions, the one there is, and for clients that ask for it the JSON home document."""

import re
from typing import Any

from pileus.faces.openstack.identity.refs import url
from pileus.faces.openstack.identity.relations import PARAMETERS, RELATIONS
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.openstack.wire import version_document
from pileus.faces.wire import Request, Response

MEDIA_TYPE = {"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}
HOME = "application/json-home"
DESCRIBED = "https://docs.openstack.org/api/openstack-identity/3/"
EXPERIMENTAL = ("/limits", "/registered_limits")
"""Below these addresses Keystone promises nothing yet."""


def document(request: Request) -> dict[str, Any]:
    return version_document(
        "v3.14",
        url(request, ""),
        state="stable",
        updated="2020-04-07T00:00:00Z",
        media_types=[MEDIA_TYPE],
    )


def wants_home(request: Request) -> bool:
    """Whether the client takes the home document and not the usual one."""
    accepted = {part.partition(";")[0].strip() for part in request.headers.get("accept", "").split(",")}
    return HOME in accepted and not accepted & {"application/json", "application/*", "*/*"}


def home(prefix: str) -> Response:
    resources = {
        f"{DESCRIBED}{f'ext/{extension}/' if extension else ''}rel/{name}": resource(prefix, template)
        for extension, named in RELATIONS.items()
        for name, template in named.items()
    }
    return Response(200, {"resources": resources}, content_type=HOME)


def resource(prefix: str, template: str) -> dict[str, Any]:
    names = re.findall(r"\{(\w+)\}", template)
    found: dict[str, Any] = {"href-template" if names else "href": prefix + template}
    if names:
        found["href-vars"] = {name: DESCRIBED + PARAMETERS.get(name, f"param/{name}") for name in names}
    if template.startswith(EXPERIMENTAL):
        found["hints"] = {"status": "experimental"}
    return found


@SERVICE.operation("GET", "/", public=True)
async def versions(request: Request) -> Response:
    if wants_home(request):
        return home("/v3")
    shown = {"versions": {"values": [document(request)]}}
    return Response(300, shown, {"location": url(request, "")})


@SERVICE.operation("GET", "/v3", public=True)
async def version(request: Request) -> Response:
    return home("") if wants_home(request) else Response(200, {"version": document(request)})
