"""/v3/roles, and which role implies which."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.errors import NotFound
from pileus.core.identity import roles as core
from pileus.core.identity.records import Role
from pileus.faces.openstack.identity.domains import text
from pileus.faces.openstack.identity.refs import (
    Name,
    domain_id,
    domain_key,
    filter_key,
    here,
    listed,
    self_link,
)
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request


class CreateRole(msgspec.Struct, frozen=True, kw_only=True):
    name: Name
    domain_id: str | None = None
    description: str | None = None


class UpdateRole(msgspec.Struct, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    description: str | UnsetType | None = UNSET


class RoleQuery(msgspec.Struct, frozen=True, kw_only=True):
    name: str | None = None
    domain_id: str | None = None


def view(request: Request, role: Role) -> dict[str, Any]:
    key = role.id.hex
    return {
        "id": key,
        "name": role.name,
        "domain_id": domain_id(role.domain) if role.domain else None,
        "description": role.description,
        "options": {"immutable": True} if role.domain is None and role.name in core.FIXED else {},
        "links": self_link(request, "roles", key),
    }


def brief(request: Request, role: Role) -> dict[str, Any]:
    return {"id": role.id.hex, "name": role.name, "links": self_link(request, "roles", role.id.hex)}


@SERVICE.operation("GET", "/v3/roles", policy="identity:list_roles", query=RoleQuery)
async def list_all(request: Request, query: RoleQuery) -> dict[str, Any]:
    found = await core.list_all(
        request.cloud, request.caller, name=query.name, domain=filter_key(query.domain_id)
    )
    return listed(request, "roles", [view(request, role) for role in found])


@SERVICE.operation("POST", "/v3/roles", policy="identity:create_role", body=("role", CreateRole), status=201)
async def create(request: Request, body: CreateRole) -> dict[str, Any]:
    domain = domain_key(body.domain_id) if body.domain_id is not None else None
    want = core.CreateRole(name=body.name, domain=domain, description=body.description or "")
    return {"role": view(request, await core.create(request.cloud, request.caller, want))}


@SERVICE.operation("GET", "/v3/roles/{role}", policy="identity:get_role")
async def show(request: Request, role: UUID) -> dict[str, Any]:
    return {"role": view(request, await core.show(request.cloud, request.caller, role))}


@SERVICE.operation("PATCH", "/v3/roles/{role}", policy="identity:update_role", body=("role", UpdateRole))
async def update(request: Request, role: UUID, body: UpdateRole) -> dict[str, Any]:
    want = core.UpdateRole(name=body.name, description=text(body.description))
    return {"role": view(request, await core.update(request.cloud, request.caller, role, want))}


@SERVICE.operation("DELETE", "/v3/roles/{role}", policy="identity:delete_role", status=204)
async def delete(request: Request, role: UUID) -> None:
    await core.delete(request.cloud, request.caller, role)


@SERVICE.operation("GET", "/v3/role_inferences", policy="identity:list_role_inference_rules")
async def list_inferences(request: Request) -> dict[str, Any]:
    known = await core.every(request.cloud, request.caller)
    shown = [inference(request, role, known) for role in known.values() if role.implies]
    return listed(request, "role_inferences", shown)


def inference(request: Request, prior: Role, known: Mapping[UUID, Role]) -> dict[str, Any]:
    implied = [brief(request, known[key]) for key in prior.implies if key in known]
    return {"prior_role": brief(request, prior), "implies": implied}


@SERVICE.operation("GET", "/v3/roles/{prior}/implies", policy="identity:list_implied_roles")
async def list_implied(request: Request, prior: UUID) -> dict[str, Any]:
    known = await core.every(request.cloud, request.caller)
    role = await core.show(request.cloud, request.caller, prior)
    return {"role_inference": inference(request, role, known), "links": {"self": here(request)}}


@SERVICE.operation(
    "PUT", "/v3/roles/{prior}/implies/{implied}", policy="identity:create_implied_role", status=201
)
async def imply(request: Request, prior: UUID, implied: UUID) -> dict[str, Any]:
    return pair(request, await core.imply(request.cloud, request.caller, prior, implied))


def pair(request: Request, roles: tuple[Role, Role]) -> dict[str, Any]:
    shown = {"prior_role": brief(request, roles[0]), "implies": brief(request, roles[1])}
    return {"role_inference": shown, "links": {"self": here(request)}}


@SERVICE.operation("GET", "/v3/roles/{prior}/implies/{implied}", policy="identity:get_implied_role")
async def show_implied(request: Request, prior: UUID, implied: UUID) -> dict[str, Any]:
    role = await core.show(request.cloud, request.caller, prior)
    if implied not in role.implies:
        raise NotFound("Implied role", implied.hex)
    return pair(request, (role, await core.show(request.cloud, request.caller, implied)))


@SERVICE.operation(
    "HEAD",
    "/v3/roles/{prior}/implies/{implied}",
    policy="identity:check_implied_role",
    status=204,
)
async def check_implied(request: Request, prior: UUID, implied: UUID) -> None:
    await show_implied(request, prior, implied)


@SERVICE.operation(
    "DELETE",
    "/v3/roles/{prior}/implies/{implied}",
    policy="identity:delete_implied_role",
    status=204,
)
async def unimply(request: Request, prior: UUID, implied: UUID) -> None:
    await core.unimply(request.cloud, request.caller, prior, implied)
