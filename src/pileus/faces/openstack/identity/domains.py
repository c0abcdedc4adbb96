"""/v3/domains."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.errors import Invalid
from pileus.core.identity import domains as core
from pileus.core.identity.records import Domain
from pileus.faces.openstack.identity.attributes import (
    changes,
    distinct,
    extras,
    kept,
    text,
    trimmed,
)
from pileus.faces.openstack.identity.attributes import shown as shown_text
from pileus.faces.openstack.identity.filters import flag, names, part, shown
from pileus.faces.openstack.identity.options import ProjectOptions, changed, given
from pileus.faces.openstack.identity.refs import (
    Description,
    ShortName,
    domain_id,
    domain_key,
    self_link,
    target,
)
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request

ELSEWHERE = frozenset({"domain_id", "parent_id", "is_domain"})
"""What a project has and a domain has not."""


class CreateDomain(msgspec.Struct, frozen=True, kw_only=True):
    name: ShortName
    description: Description | None = None
    enabled: bool = True
    explicit_domain_id: str | UnsetType = UNSET
    tags: tuple[str, ...] = ()
    options: ProjectOptions | UnsetType = UNSET


class UpdateDomain(msgspec.Struct, frozen=True, kw_only=True):
    name: ShortName | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    options: ProjectOptions | UnsetType = UNSET


class DomainQuery(msgspec.Struct, frozen=True, kw_only=True):
    name: ShortName | None = None
    enabled: str | None = None
    limit: int | None = None
    marker: str | None = None


def view(request: Request, domain: Domain) -> dict[str, Any]:
    key = domain_id(domain.id)
    return {
        **domain.extra,
        "id": key,
        "name": domain.name,
        "description": shown_text(domain.description, domain.extra),
        "enabled": domain.enabled,
        "tags": list(domain.tags),
        "options": domain.options,
        "links": self_link(request, "domains", key),
    }


@SERVICE.operation("GET", "/v3/domains", policy="identity:list_domains", query=DomainQuery)
async def list_all(request: Request, query: DomainQuery) -> dict[str, Any]:
    request.enforce("identity:list_domains", target(domain__id=request.caller.domain))
    window = part(query.limit, query.marker)
    want = core.DomainFilter(
        name=query.name,
        enabled=flag(query.enabled, "enabled"),
        names=names(request),
        within=request.caller.domain,
    )
    found = await core.list_page(request.cloud, request.caller, want, window)
    return shown(request, "domains", found, window, view)


@SERVICE.operation(
    "POST",
    "/v3/domains",
    policy="identity:create_domain",
    body=("domain", CreateDomain),
    status=201,
)
async def create(request: Request, body: CreateDomain) -> dict[str, Any]:
    distinct(body.tags)
    extra = await extras(request, "domain", CreateDomain, texts=True)
    want = core.CreateDomain(
        name=body.name.strip(),
        id=explicit(body.explicit_domain_id),
        description=body.description or "",
        enabled=body.enabled,
        tags=body.tags,
        options=given(body.options),
        extra=own(extra),
    )
    return {"domain": view(request, await core.create(request.cloud, request.caller, want))}


def own(extra: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in extra.items() if name not in ELSEWHERE}


def explicit(text: str | UnsetType) -> UUID | None:
    """An id that the caller chose, in the one form that Keystone takes. Raises Invalid."""
    if text is UNSET:
        return None
    try:
        key = UUID(text)
    except ValueError:
        key = None
    if key is None or key.hex != text:
        raise Invalid(
            f"Invalid explicit_domain_id {text[:64]!r}: it must have 32 lower-case hexadecimal digits."
        )
    return key


@SERVICE.operation("GET", "/v3/domains/{domain}", policy="identity:get_domain")
async def show(request: Request, domain: str) -> dict[str, Any]:
    key = domain_key(domain)
    request.enforce("identity:get_domain", target(domain__id=key))
    return {"domain": view(request, await core.show(request.cloud, request.caller, key))}


@SERVICE.operation(
    "PATCH",
    "/v3/domains/{domain}",
    policy="identity:update_domain",
    targeted=True,
    body=("domain", UpdateDomain),
)
async def update(request: Request, domain: str, body: UpdateDomain) -> dict[str, Any]:
    key = domain_key(domain)
    await core.require_known(request.cloud, key)
    request.enforce("identity:update_domain")
    extra = await changes(request, "domain", UpdateDomain, domain, texts=True)
    distinct(body.tags)
    want = core.UpdateDomain(
        name=trimmed(body.name),
        description=text(body.description),
        enabled=body.enabled,
        tags=body.tags,
        options=changed(body.options),
        extra=kept(own(extra)),
    )
    return {"domain": view(request, await core.update(request.cloud, request.caller, key, want))}


@SERVICE.operation("DELETE", "/v3/domains/{domain}", policy="identity:delete_domain", status=204)
async def delete(request: Request, domain: str) -> None:
    await core.delete(request.cloud, request.caller, domain_key(domain))
