"""The catalogue: made from what the cloud serves, so it can be read and not written."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid5

import msgspec

from pileus.core.errors import NotFound, Unsupported
from pileus.core.identity.domains import ROOT
from pileus.faces.openstack.identity.refs import filter_key, listed, self_link
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.openstack.wire import public_url
from pileus.faces.wire import Request

SERVED = (
    ("identity", "keystone", "/identity/v3"),
    ("compute", "nova", "/compute/v2.1"),
    ("placement", "placement", "/placement"),
    ("network", "neutron", "/network"),
    ("image", "glance", "/image"),
    ("block-storage", "cinder", "/volume/v3"),
    ("volumev3", "cinderv3", "/volume/v3"),
)
"""(type, name, path)."""
INTERFACES = ("public", "internal", "admin")
FIXED = "The catalogue is made from what the cloud serves; set region, public_url and listen in pileus.toml to change it."


class Endpoint(msgspec.Struct, frozen=True):
    id: UUID
    service: UUID
    interface: str
    url: str


def service_key(kind: str) -> UUID:
    return uuid5(ROOT, f"service/{kind}")


def endpoints(request: Request, kind: str, path: str) -> list[Endpoint]:
    address = f"{public_url(request)}{path}"
    key = service_key(kind)
    return [Endpoint(uuid5(key, interface), key, interface, address) for interface in INTERFACES]


def catalog(request: Request) -> list[dict[str, Any]]:
    """As it stands in tokens."""
    region = request.cloud.config.region
    return [
        {
            "id": service_key(kind).hex,
            "type": kind,
            "name": name,
            "endpoints": [
                {
                    "id": endpoint.id.hex,
                    "interface": endpoint.interface,
                    "region_id": region,
                    "region": region,
                    "url": endpoint.url,
                }
                for endpoint in endpoints(request, kind, path)
            ],
        }
        for kind, name, path in SERVED
    ]


def service_view(request: Request, kind: str, name: str) -> dict[str, Any]:
    key = service_key(kind).hex
    return {
        "id": key,
        "type": kind,
        "name": name,
        "description": "",
        "enabled": True,
        "links": self_link(request, "services", key),
    }


def endpoint_view(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    region = request.cloud.config.region
    return {
        "id": endpoint.id.hex,
        "interface": endpoint.interface,
        "region_id": region,
        "region": region,
        "service_id": endpoint.service.hex,
        "url": endpoint.url,
        "enabled": True,
        "links": self_link(request, "endpoints", endpoint.id.hex),
    }


def region_view(request: Request) -> dict[str, Any]:
    region = request.cloud.config.region
    return {
        "id": region,
        "description": "",
        "parent_region_id": None,
        "links": self_link(request, "regions", region),
    }


def every_endpoint(request: Request) -> Iterator[Endpoint]:
    for kind, _, path in SERVED:
        yield from endpoints(request, kind, path)


class ServiceQuery(msgspec.Struct, frozen=True, kw_only=True):
    name: str | None = None
    type: str | None = None


@SERVICE.operation("GET", "/v3/services", policy="identity:list_services", query=ServiceQuery)
async def list_services(request: Request, query: ServiceQuery) -> dict[str, Any]:
    shown = [
        service_view(request, kind, name)
        for kind, name, _ in SERVED
        if query.type in (None, kind) and query.name in (None, name)
    ]
    return listed(request, "services", shown)


@SERVICE.operation("GET", "/v3/services/{service}", policy="identity:get_service")
async def show_service(request: Request, service: UUID) -> dict[str, Any]:
    for kind, name, _ in SERVED:
        if service_key(kind) == service:
            return {"service": service_view(request, kind, name)}
    raise NotFound("Service", service.hex)


class EndpointQuery(msgspec.Struct, frozen=True, kw_only=True):
    interface: str | None = None
    service_id: str | None = None
    region_id: str | None = None


@SERVICE.operation("GET", "/v3/endpoints", policy="identity:list_endpoints", query=EndpointQuery)
async def list_endpoints(request: Request, query: EndpointQuery) -> dict[str, Any]:
    service = filter_key(query.service_id)
    shown = [
        endpoint_view(request, endpoint)
        for endpoint in every_endpoint(request)
        if query.interface in (None, endpoint.interface)
        and service in (None, endpoint.service)
        and query.region_id in (None, request.cloud.config.region)
    ]
    return listed(request, "endpoints", shown)


@SERVICE.operation("GET", "/v3/endpoints/{endpoint}", policy="identity:get_endpoint")
async def show_endpoint(request: Request, endpoint: UUID) -> dict[str, Any]:
    for found in every_endpoint(request):
        if found.id == endpoint:
            return {"endpoint": endpoint_view(request, found)}
    raise NotFound("Endpoint", endpoint.hex)


@SERVICE.operation("GET", "/v3/regions", policy="identity:list_regions")
async def list_regions(request: Request) -> dict[str, Any]:
    return listed(request, "regions", [region_view(request)])


@SERVICE.operation("GET", "/v3/regions/{region}", policy="identity:get_region")
async def show_region(request: Request, region: str) -> dict[str, Any]:
    if region != request.cloud.config.region:
        raise NotFound("Region", region[:64])
    return {"region": region_view(request)}


@SERVICE.operation("POST", "/v3/services", policy="identity:create_service", status=201)
async def create_service(request: Request) -> None:
    raise Unsupported(FIXED)


@SERVICE.operation("POST", "/v3/endpoints", policy="identity:create_endpoint", status=201)
async def create_endpoint(request: Request) -> None:
    raise Unsupported(FIXED)


@SERVICE.operation("POST", "/v3/regions", policy="identity:create_region", status=201)
async def create_region(request: Request) -> None:
    raise Unsupported(FIXED)
