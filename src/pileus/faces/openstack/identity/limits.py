"""/v3/registered_limits and /v3/limits: Keystone's unified limits, which for this cloud's own services are its quotas."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pileus.core.errors import Invalid, NotFound
from pileus.core.identity import unified_limits as core
from pileus.core.identity.services.catalogue_records import RegisteredLimit
from pileus.core.identity.unified_limits import Held
from pileus.core.quota import HIGHEST
from pileus.faces.openstack.identity.attributes import text
from pileus.faces.openstack.identity.filters import Paged, cut
from pileus.faces.openstack.identity.refs import (
    Name,
    domain_id,
    domain_key,
    filter_key,
    known_key,
    self_link,
    target,
)
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request

Number = Annotated[int, Meta(ge=-1, le=HIGHEST)]
MODEL = {
    "name": "flat",
    "description": "A limit is held against its own project or domain; projects above or below play no part in it.",
}


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Nothing else is taken."""


class Register(Struct, frozen=True, kw_only=True):
    service_id: str
    resource_name: Name
    default_limit: Number
    region_id: str | None = None
    description: str | None = None


class Amend(Struct, frozen=True, kw_only=True):
    service_id: str | UnsetType = UNSET
    region_id: str | UnsetType | None = UNSET
    resource_name: Name | UnsetType = UNSET
    default_limit: Number | UnsetType = UNSET
    description: str | UnsetType | None = UNSET


class Create(Struct, frozen=True, kw_only=True):
    """One of `project_id` and `domain_id` must be there."""

    service_id: str
    resource_name: Name
    resource_limit: Number
    region_id: str | None = None
    project_id: str | UnsetType | None = UNSET
    domain_id: str | UnsetType | None = UNSET
    description: str | None = None


class Change(Struct, frozen=True, kw_only=True):
    resource_limit: Number | UnsetType = UNSET
    description: str | UnsetType | None = UNSET


Some = Annotated[str, Meta(min_length=1)]
ServiceId = Annotated[str, Meta(pattern=r"\A([0-9a-fA-F]{32}|[0-9a-fA-F-]{36})\Z")]


class RegisteredQuery(Paged, frozen=True, kw_only=True):
    service_id: ServiceId | None = None
    region_id: Some | None = None
    resource_name: Some | None = None


class LimitQuery(RegisteredQuery, frozen=True, kw_only=True):
    project_id: Some | None = None
    domain_id: Some | None = None


def service_key(given: str, what: str) -> UUID:
    try:
        return known_key(given, "Service")
    except NotFound as error:
        raise Invalid(
            f"Expecting to find service_id in {what}: {given[:64]} is no id of a service."
        ) from error


def registered_view(request: Request, one: RegisteredLimit) -> dict[str, Any]:
    return {
        "id": one.id.hex,
        "service_id": one.service.hex,
        "region_id": one.region,
        "resource_name": one.name,
        "default_limit": one.default,
        "description": one.description or None,
        "links": self_link(request, "registered_limits", one.id.hex),
    }


def view(request: Request, one: Held) -> dict[str, Any]:
    return bare(one) | {"links": self_link(request, "limits", one.id.hex)}


def bare(one: Held) -> dict[str, Any]:
    return {
        "id": one.id.hex,
        "project_id": one.project.hex if one.project else None,
        "domain_id": domain_id(one.domain) if one.domain else None,
        "resource_limit": one.limit,
        "description": one.description or None,
        "service_id": one.registered.service.hex,
        "region_id": one.registered.region,
        "resource_name": one.registered.name,
    }


@SERVICE.operation(
    "GET", "/v3/registered_limits", policy="identity:list_registered_limits", query=RegisteredQuery
)
async def list_registered(request: Request, query: RegisteredQuery) -> dict[str, Any]:
    which = core.Which(service=filter_key(query.service_id), region=query.region_id, name=query.resource_name)
    found = await core.list_registered(request.cloud, which)
    return cut(request, "registered_limits", [registered_view(request, one) for one in found], query)


@SERVICE.operation(
    "POST",
    "/v3/registered_limits",
    policy="identity:create_registered_limits",
    body=("registered_limits", Annotated[tuple[Register, ...], Meta(min_length=1)]),
    status=201,
)
async def register(request: Request, body: tuple[Register, ...]) -> dict[str, Any]:
    wanted = [
        core.Register(
            service=service_key(one.service_id, "registered_limit"),
            region=one.region_id,
            name=one.resource_name,
            default=one.default_limit,
            description=one.description or "",
        )
        for one in body
    ]
    made = await core.register(request.cloud, request.caller, wanted)
    return {"registered_limits": [registered_view(request, one) for one in made]}


@SERVICE.operation("GET", "/v3/registered_limits/{limit}", policy="identity:get_registered_limit")
async def show_registered(request: Request, limit: UUID) -> dict[str, Any]:
    return {"registered_limit": registered_view(request, await core.show_registered(request.cloud, limit))}


@SERVICE.operation(
    "PATCH",
    "/v3/registered_limits/{limit}",
    policy="identity:update_registered_limit",
    body=("registered_limit", Amend),
)
async def amend(request: Request, limit: UUID, body: Amend) -> dict[str, Any]:
    service = body.service_id
    want = core.Amend(
        service=UNSET if service is UNSET else service_key(service, "registered_limit"),
        region=body.region_id,
        name=body.resource_name,
        default=body.default_limit,
        description=text(body.description),
    )
    amended = await core.amend(request.cloud, request.caller, limit, want)
    return {"registered_limit": registered_view(request, amended)}


@SERVICE.operation(
    "DELETE", "/v3/registered_limits/{limit}", policy="identity:delete_registered_limit", status=204
)
async def unregister(request: Request, limit: UUID) -> None:
    await core.unregister(request.cloud, request.caller, limit)


@SERVICE.operation("GET", "/v3/limits/model", policy="identity:get_limit_model")
async def model(request: Request) -> dict[str, Any]:
    return {"model": MODEL}


@SERVICE.operation("GET", "/v3/limits", policy="identity:list_limits", query=LimitQuery)
async def list_all(request: Request, query: LimitQuery) -> dict[str, Any]:
    which = core.Which(
        service=filter_key(query.service_id),
        region=query.region_id,
        name=query.resource_name,
        project=filter_key(query.project_id),
        domain=filter_key(query.domain_id),
    )
    found = await core.list_all(request.cloud, request.caller, which)
    return cut(request, "limits", [view(request, one) for one in found], query)


@SERVICE.operation(
    "POST",
    "/v3/limits",
    policy="identity:create_limits",
    body=("limits", Annotated[tuple[Create, ...], Meta(min_length=1)]),
    status=201,
)
async def create(request: Request, body: tuple[Create, ...]) -> dict[str, Any]:
    made = await core.create(request.cloud, request.caller, [wanted(one) for one in body])
    return {"limits": [view(request, one) for one in made]}


def wanted(one: Create) -> core.Create:
    """Raises Invalid."""
    if (one.project_id is UNSET) == (one.domain_id is UNSET):
        raise Invalid("Invalid input for field/attribute limits: give one of project_id and domain_id.")
    return core.Create(
        service=service_key(one.service_id, "limit"),
        region=one.region_id,
        name=one.resource_name,
        limit=one.resource_limit,
        project=holder(one.project_id, "project_id"),
        domain=holder(one.domain_id, "domain_id"),
        description=one.description or "",
    )


def holder(given: str | UnsetType | None, field: str) -> UUID | None:
    if given is UNSET:
        return None
    try:
        return domain_key(given or "")
    except NotFound as error:
        raise Invalid(
            f"Expecting to find {field} in limit: {(given or 'null')[:64]} is no such id."
        ) from error


@SERVICE.operation("GET", "/v3/limits/{limit}", policy="identity:get_limit", targeted=True)
async def show(request: Request, limit: UUID) -> dict[str, Any]:
    found = await core.find(request.cloud, limit)
    request.enforce("identity:get_limit", target_of(found))
    if found is None:
        raise NotFound("Limit", limit.hex)
    return {"limit": view(request, found)}


async def require(request: Request, rule: str, limit: UUID) -> None:
    """Whoever may not change a limit is told first that there is none, as Keystone does."""
    found = await core.find(request.cloud, limit)
    if found is None:
        raise NotFound("Limit", limit.hex)
    request.enforce(rule, target_of(found))


def target_of(found: Held | None) -> dict[str, str]:
    if found is None:
        return {}
    if found.project is not None:
        return target(limit__project_id=found.project, limit__project__domain_id=found.place)
    return target(limit__domain__id=found.domain)


@SERVICE.operation(
    "PATCH", "/v3/limits/{limit}", policy="identity:update_limit", targeted=True, body=("limit", Change)
)
async def change(request: Request, limit: UUID, body: Change) -> dict[str, Any]:
    await require(request, "identity:update_limit", limit)
    changed = await core.change(
        request.cloud, request.caller, limit, body.resource_limit, text(body.description)
    )
    return {"limit": view(request, changed)}


@SERVICE.operation("DELETE", "/v3/limits/{limit}", policy="identity:delete_limit", targeted=True, status=204)
async def delete(request: Request, limit: UUID) -> None:
    await require(request, "identity:delete_limit", limit)
    await core.delete(request.cloud, request.caller, limit)
