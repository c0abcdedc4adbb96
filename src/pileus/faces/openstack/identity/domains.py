"""/v3/domains."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.identity import domains as core
from pileus.core.identity.records import Domain
from pileus.faces.openstack.identity.refs import (
    ShortName,
    domain_id,
    domain_key,
    on,
    paged,
    self_link,
    target,
)
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request


class CreateDomain(msgspec.Struct, frozen=True, kw_only=True):
    name: ShortName
    description: str | None = None
    enabled: bool = True


class UpdateDomain(msgspec.Struct, frozen=True, kw_only=True):
    name: ShortName | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class DomainQuery(msgspec.Struct, frozen=True, kw_only=True):
    name: str | None = None
    enabled: str | None = None
    limit: int | None = None
    marker: str | None = None


def view(request: Request, domain: Domain) -> dict[str, Any]:
    key = domain_id(domain.id)
    return {
        "id": key,
        "name": domain.name,
        "description": domain.description,
        "enabled": domain.enabled,
        "tags": [],
        "options": {},
        "links": self_link(request, "domains", key),
    }


@SERVICE.operation("GET", "/v3/domains", policy="identity:list_domains", query=DomainQuery)
async def list_all(request: Request, query: DomainQuery) -> dict[str, Any]:
    enabled = on(query.enabled) if query.enabled is not None else None
    found = await core.list_all(request.cloud, request.caller, name=query.name, enabled=enabled)
    return paged(
        request,
        "domains",
        found,
        view,
        lambda domain: domain_id(domain.id),
        limit=query.limit,
        marker=query.marker,
    )


@SERVICE.operation(
    "POST",
    "/v3/domains",
    policy="identity:create_domain",
    body=("domain", CreateDomain),
    status=201,
)
async def create(request: Request, body: CreateDomain) -> dict[str, Any]:
    want = core.CreateDomain(name=body.name, description=body.description or "", enabled=body.enabled)
    return {"domain": view(request, await core.create(request.cloud, request.caller, want))}


@SERVICE.operation("GET", "/v3/domains/{domain}", policy="identity:get_domain")
async def show(request: Request, domain: str) -> dict[str, Any]:
    key = domain_key(domain)
    request.enforce("identity:get_domain", target(domain__id=key))
    return {"domain": view(request, await core.show(request.cloud, request.caller, key))}


@SERVICE.operation(
    "PATCH",
    "/v3/domains/{domain}",
    policy="identity:update_domain",
    body=("domain", UpdateDomain),
)
async def update(request: Request, domain: str, body: UpdateDomain) -> dict[str, Any]:
    want = core.UpdateDomain(name=body.name, description=text(body.description), enabled=body.enabled)
    updated = await core.update(request.cloud, request.caller, domain_key(domain), want)
    return {"domain": view(request, updated)}


def text(value: str | UnsetType | None) -> str | UnsetType:
    """Null stands for no text."""
    return "" if value is None else value


@SERVICE.operation("DELETE", "/v3/domains/{domain}", policy="identity:delete_domain", status=204)
async def delete(request: Request, domain: str) -> None:
    await core.delete(request.cloud, request.caller, domain_key(domain))
