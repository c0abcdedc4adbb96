"""What this cloud serves, and the catalogue as it stands in tokens."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.identity.authorization.access import Session
from pileus.core.identity.percloud import per_cloud
from pileus.core.identity.services.catalogue import Served, expand
from pileus.core.identity.services.catalogue_records import Endpoint
from pileus.core.identity.services.offers import Catalogue, Offered, catalogue
from pileus.faces.openstack.wire import public_url
from pileus.faces.wire import Request

SERVED = tuple(
    Served(type, name, f"$(public_url)s{path}")
    for type, name, path in (
        ("identity", "keystone", "/identity/v3"),
        ("compute", "nova", "/compute/v2.1"),
        ("placement", "placement", "/placement"),
        ("network", "neutron", "/network"),
        ("image", "glance", "/image"),
        ("block-storage", "cinder", "/volume/v3"),
        ("volumev3", "cinderv3", "/volume/v3"),
    )
)
"""The first start of a cloud writes these into its catalogue, and every further one what is new."""
OWN = "$(public_url)s"
ADDRESSES = 16
"""By which clients may reach us and the catalogue is remembered; a client can send any, so more are forgotten."""


def addresses(request: Request) -> dict[str, str]:
    """What addresses may name that is the same for every reader."""
    public = public_url(request)
    return {"public_url": public, "public_endpoint": public}


class Rendered(msgspec.Struct, frozen=True):
    """An entry of the catalogue with every endpoint whose address is the same for all readers."""

    head: dict[str, Any]
    endpoints: tuple[dict[str, Any] | Endpoint, ...]


class Memory(msgspec.Struct):
    """What was rendered of the catalogue, by the address at which clients reach us."""

    change: int = -1
    rendered: dict[str, tuple[Rendered, ...]] = {}


memory = per_cloud(lambda cloud: Memory())


async def catalog(request: Request, held: Session) -> list[dict[str, Any]]:
    """As it stands in a token: what is enabled, and what the token's project may see. Addresses with a place for what
    the token does not have are left out."""
    known = addresses(request)
    values = known | {"user_id": held.user.id.hex}
    project = held.project.id if held.project else None
    if project is not None:
        values |= {"project_id": project.hex, "tenant_id": project.hex}
    found = await catalogue(request.cloud)
    return [entry(each, values) for each in remembered(request, found, project, known)]


def remembered(
    request: Request, found: Catalogue, project: UUID | None, known: Mapping[str, str]
) -> Sequence[Rendered]:
    """Rendered once for all who see everything; those who see only some are few."""
    offered = found.of(project)
    if offered is not found.everything:
        return [rendered(each, known) for each in offered]
    held, public = memory(request.cloud), known["public_url"]
    if held.change != found.change or (public not in held.rendered and len(held.rendered) >= ADDRESSES):
        held.change, held.rendered = found.change, {}
    if public not in held.rendered:
        held.rendered[public] = tuple(rendered(each, known) for each in offered)
    return held.rendered[public]


def rendered(offered: Offered, known: Mapping[str, str]) -> Rendered:
    service = offered.service
    reached = ((endpoint, expand(endpoint.url, known)) for endpoint in offered.endpoints)
    return Rendered(
        {"id": service.id.hex, "type": service.type, "name": service.name},
        tuple(endpoint if url is None else place(endpoint, url) for endpoint, url in reached),
    )


def entry(each: Rendered, values: Mapping[str, str]) -> dict[str, Any]:
    shown = []
    for endpoint in each.endpoints:
        if not isinstance(endpoint, Endpoint):
            shown.append(endpoint)
        elif (url := expand(endpoint.url, values)) is not None:
            shown.append(place(endpoint, url))
    return {**each.head, "endpoints": shown}


def place(endpoint: Endpoint, url: str) -> dict[str, Any]:
    named = {"name": endpoint.name} if endpoint.name else {}
    return {
        **endpoint.extra,
        **named,
        "id": endpoint.id.hex,
        "interface": endpoint.interface,
        "region_id": endpoint.region,
        "region": endpoint.region,
        "url": url,
    }
