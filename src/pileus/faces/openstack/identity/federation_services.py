"""/v3/OS-FEDERATION/service_providers: other clouds, to which users of this one can go."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pileus.core.identity.authorization.access import Session
from pileus.core.identity.federation import service_providers as core
from pileus.core.identity.federation.federation_records import ServiceProvider
from pileus.faces.openstack.identity import tokens
from pileus.faces.openstack.identity.attributes import text
from pileus.faces.openstack.identity.federation_providers import identifier, require_change
from pileus.faces.openstack.identity.filters import Paged, cut, flag
from pileus.faces.openstack.identity.refs import self_link
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request

PATH = "/v3/OS-FEDERATION/service_providers"
Url = Annotated[str, Meta(max_length=225, pattern=r"^[a-zA-Z0-9+.-]+:.+")]

Prefix = Annotated[str, Meta(max_length=256)]


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    auth_url: Url
    sp_url: Url
    enabled: bool = False
    description: str | None = None
    relay_state_prefix: Prefix | None = None


class Changed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    auth_url: Url | UnsetType = UNSET
    sp_url: Url | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    relay_state_prefix: Prefix | UnsetType | None = UNSET


class ServiceProviderQuery(Paged, frozen=True, kw_only=True):
    id: str | None = None
    enabled: str | None = None


def view(request: Request, provider: ServiceProvider) -> dict[str, Any]:
    return {
        "id": provider.id,
        "auth_url": provider.auth_url,
        "sp_url": provider.sp_url,
        "enabled": provider.enabled,
        "description": provider.description or None,
        "relay_state_prefix": provider.relay_state_prefix,
        "links": self_link(request, "OS-FEDERATION", "service_providers", provider.id),
    }


async def in_token(request: Request, held: Session) -> dict[str, Any]:
    """Where else the user can go: every token names the enabled ones."""
    offered = await core.offered_to(request.cloud)
    brief = [{"id": each.id, "auth_url": each.auth_url, "sp_url": each.sp_url} for each in offered]
    return {"service_providers": brief} if brief else {}


tokens.ADDED.append(in_token)


@SERVICE.operation("GET", PATH, policy="identity:list_service_providers", query=ServiceProviderQuery)
async def list_all(request: Request, query: ServiceProviderQuery) -> dict[str, Any]:
    equals: dict[str, Any] = {} if query.id is None else {"id": query.id}
    if query.enabled is not None:
        equals["enabled"] = flag(query.enabled, "enabled")
    found = await core.list_all(request.cloud, request.caller, **equals)
    return cut(request, "service_providers", [view(request, provider) for provider in found], query)


@SERVICE.operation(
    "PUT",
    f"{PATH}/{{service_provider}}",
    policy="identity:create_service_provider",
    body=("service_provider", Wanted),
    status=201,
)
async def create(request: Request, service_provider: str, body: Wanted) -> dict[str, Any]:
    want = core.CreateServiceProvider(
        id=identifier(service_provider),
        auth_url=body.auth_url,
        sp_url=body.sp_url,
        enabled=body.enabled,
        description=body.description or "",
        relay_state_prefix="ss:mem:" if body.relay_state_prefix is None else body.relay_state_prefix,
    )
    made = await core.create(request.cloud, request.caller, want)
    return {"service_provider": view(request, made)}


@SERVICE.operation("GET", f"{PATH}/{{service_provider}}", policy="identity:get_service_provider")
async def show(request: Request, service_provider: str) -> dict[str, Any]:
    found = await core.show(request.cloud, request.caller, service_provider)
    return {"service_provider": view(request, found)}


@SERVICE.operation(
    "PATCH",
    f"{PATH}/{{service_provider}}",
    policy="identity:update_service_provider",
    body=("service_provider", Changed),
)
async def update(request: Request, service_provider: str, body: Changed) -> dict[str, Any]:
    require_change(body)
    want = core.UpdateServiceProvider(
        auth_url=body.auth_url,
        sp_url=body.sp_url,
        enabled=body.enabled,
        description=text(body.description),
        relay_state_prefix=text(body.relay_state_prefix),
    )
    changed = await core.update(request.cloud, request.caller, service_provider, want)
    return {"service_provider": view(request, changed)}


@SERVICE.operation(
    "DELETE", f"{PATH}/{{service_provider}}", policy="identity:delete_service_provider", status=204
)
async def delete(request: Request, service_provider: str) -> None:
    await core.delete(request.cloud, request.caller, service_provider)
