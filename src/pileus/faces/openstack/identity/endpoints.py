"""/v3/endpoints."""

from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pileus.core.errors import Invalid
from pileus.core.identity.services import catalogue as core
from pileus.core.identity.services.catalogue_records import Endpoint
from pileus.faces.openstack.identity.attributes import changes, extras, kept
from pileus.faces.openstack.identity.catalog import OWN, addresses
from pileus.faces.openstack.identity.filters import Paged, cut
from pileus.faces.openstack.identity.refs import filter_key, self_link
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request

Interface = Literal["public", "internal", "admin"]
Url = Annotated[str, Meta(pattern=r"^[a-zA-Z0-9+.-]+:.+|^\$\(public_url\)s", max_length=225)]
Region = Annotated[str, Meta(max_length=255)]


class CreateEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """`region` (of Keystone's API v2) makes the region where it is missing; `region_id` does not."""

    service_id: str
    interface: Interface
    url: Url
    region_id: Region | None = None
    region: Region | None = None
    name: str = ""
    enabled: bool = True


class UpdateEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    service_id: str | UnsetType = UNSET
    interface: Interface | UnsetType = UNSET
    url: Url | UnsetType = UNSET
    region_id: Region | UnsetType | None = UNSET
    region: Region | UnsetType | None = UNSET
    name: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class EndpointQuery(Paged, frozen=True, kw_only=True):
    interface: Interface | None = None
    service_id: str | None = None
    region_id: str | None = None


def view(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    """An own address is shown as clients reach it; places for ids stay as they were written."""
    key, named = endpoint.id.hex, {"name": endpoint.name} if endpoint.name else {}
    return {
        **endpoint.extra,
        **named,
        "id": key,
        "interface": endpoint.interface,
        "region_id": endpoint.region,
        "region": endpoint.region,
        "service_id": endpoint.service.hex,
        "url": endpoint.url.replace(OWN, addresses(request)["public_url"]),
        "enabled": endpoint.enabled,
        "links": self_link(request, "endpoints", key),
    }


def service_key(text: str) -> UUID:
    """Raises Invalid: a service in a body that is none is a mistake of the body."""
    try:
        return UUID(text)
    except ValueError:
        raise Invalid(
            f"There is no service {text[:64]!r}; an endpoint needs the id of one that exists."
        ) from None


Place = TypeVar("Place", str | None, str | UnsetType | None)


def where(region_id: Place, region: Place) -> tuple[Place, bool]:
    """The region meant by the two ways to name one, and whether it is made where it is missing."""
    return (region, True) if not region_id and region else (region_id, False)


@SERVICE.operation("GET", "/v3/endpoints", policy="identity:list_endpoints", query=EndpointQuery)
async def list_all(request: Request, query: EndpointQuery) -> dict[str, Any]:
    asked = {
        "interface": query.interface,
        "service": filter_key(query.service_id),
        "region": query.region_id,
    }
    equals = {name: value for name, value in asked.items() if value is not None}
    found = await core.list_endpoints(request.cloud, request.caller, **equals)
    return cut(request, "endpoints", [view(request, endpoint) for endpoint in found], query)


@SERVICE.operation(
    "POST", "/v3/endpoints", policy="identity:create_endpoint", body=("endpoint", CreateEndpoint), status=201
)
async def create(request: Request, body: CreateEndpoint) -> dict[str, Any]:
    region, make = where(body.region_id, body.region)
    want = core.CreateEndpoint(
        service=service_key(body.service_id),
        interface=body.interface,
        url=body.url,
        region=region,
        make_region=make,
        name=body.name,
        enabled=body.enabled,
        extra=await extras(request, "endpoint", CreateEndpoint),
    )
    return {"endpoint": view(request, await core.create_endpoint(request.cloud, request.caller, want))}


@SERVICE.operation("GET", "/v3/endpoints/{endpoint}", policy="identity:get_endpoint")
async def show(request: Request, endpoint: UUID) -> dict[str, Any]:
    return {"endpoint": view(request, await core.show_endpoint(request.cloud, request.caller, endpoint))}


@SERVICE.operation(
    "PATCH", "/v3/endpoints/{endpoint}", policy="identity:update_endpoint", body=("endpoint", UpdateEndpoint)
)
async def update(request: Request, endpoint: UUID, body: UpdateEndpoint) -> dict[str, Any]:
    region, make = where(body.region_id, body.region)
    want = core.UpdateEndpoint(
        service=UNSET if body.service_id is UNSET else service_key(body.service_id),
        interface=body.interface,
        url=body.url,
        region=region,
        make_region=make,
        name=body.name,
        enabled=body.enabled,
        extra=kept(await changes(request, "endpoint", UpdateEndpoint, endpoint.hex)),
    )
    updated = await core.update_endpoint(request.cloud, request.caller, endpoint, want)
    return {"endpoint": view(request, updated)}


@SERVICE.operation("DELETE", "/v3/endpoints/{endpoint}", policy="identity:delete_endpoint", status=204)
async def delete(request: Request, endpoint: UUID) -> None:
    await core.delete_endpoint(request.cloud, request.caller, endpoint)
