"""/v3/services."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.identity.services import catalogue as core
from pileus.core.identity.services.catalogue_records import Service
from pileus.faces.openstack.identity.attributes import changes, extras, kept, shown_texts, text
from pileus.faces.openstack.identity.filters import Paged, cut, names
from pileus.faces.openstack.identity.refs import Name, self_link
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request


class CreateService(msgspec.Struct, frozen=True, kw_only=True):
    type: Name
    name: Name = ""
    description: str | None = None
    enabled: bool = True


class UpdateService(msgspec.Struct, frozen=True, kw_only=True):
    type: Name | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class ServiceQuery(Paged, frozen=True, kw_only=True):
    name: str | None = None
    type: str | None = None


def view(request: Request, service: Service) -> dict[str, Any]:
    key = service.id.hex
    return {
        **service.extra,
        "id": key,
        "type": service.type,
        "name": service.name,
        **shown_texts(service.extra, description=service.description),
        "enabled": service.enabled,
        "links": self_link(request, "services", key),
    }


@SERVICE.operation("GET", "/v3/services", policy="identity:list_services", query=ServiceQuery)
async def list_all(request: Request, query: ServiceQuery) -> dict[str, Any]:
    where = [match.condition(field) for field in ("name", "type") for match in names(request, field)]
    found = await core.list_services(request.cloud, request.caller, *where, type=query.type, name=query.name)
    return cut(request, "services", [view(request, service) for service in found], query)


@SERVICE.operation(
    "POST", "/v3/services", policy="identity:create_service", body=("service", CreateService), status=201
)
async def create(request: Request, body: CreateService) -> dict[str, Any]:
    want = core.CreateService(
        type=body.type,
        name=body.name,
        description=body.description or "",
        enabled=body.enabled,
        extra=await extras(request, "service", CreateService, texts=True),
    )
    return {"service": view(request, await core.create_service(request.cloud, request.caller, want))}


@SERVICE.operation("GET", "/v3/services/{service}", policy="identity:get_service")
async def show(request: Request, service: UUID) -> dict[str, Any]:
    return {"service": view(request, await core.show_service(request.cloud, request.caller, service))}


@SERVICE.operation(
    "PATCH", "/v3/services/{service}", policy="identity:update_service", body=("service", UpdateService)
)
async def update(request: Request, service: UUID, body: UpdateService) -> dict[str, Any]:
    want = core.UpdateService(
        type=body.type,
        name=body.name,
        description=text(body.description),
        enabled=body.enabled,
        extra=kept(await changes(request, "service", UpdateService, service.hex, texts=True)),
    )
    updated = await core.update_service(request.cloud, request.caller, service, want)
    return {"service": view(request, updated)}


@SERVICE.operation("DELETE", "/v3/services/{service}", policy="identity:delete_service", status=204)
async def delete(request: Request, service: UUID) -> None:
    await core.delete_service(request.cloud, request.caller, service)
