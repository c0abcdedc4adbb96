"""/v3/roles, and which role implies which."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.errors import Invalid
from pileus.core.identity import options
from pileus.core.identity.authorization import roles as core
from pileus.core.identity.records import Role
from pileus.faces.openstack.identity.attributes import changes, extras, kept, text
from pileus.faces.openstack.identity.attributes import shown as shown_text
from pileus.faces.openstack.identity.filters import names, part, shown
from pileus.faces.openstack.identity.refs import (
    Description,
    IdText,
    Name,
    domain_id,
    domain_key,
    filter_key,
    here,
    self_link,
)
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request


class RoleOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    immutable: bool | UnsetType | None = UNSET


class CreateRole(msgspec.Struct, frozen=True, kw_only=True):
    name: Name
    domain_id: IdText | None = None
    description: Description | None = None
    options: RoleOptions = RoleOptions()


class UpdateRole(msgspec.Struct, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    domain_id: str | UnsetType | None = UNSET
    description: Description | UnsetType | None = UNSET
    options: RoleOptions | UnsetType = UNSET


class RoleQuery(msgspec.Struct, frozen=True, kw_only=True):
    name: Name | None = None
    domain_id: IdText | None = None
    limit: int | None = None
    marker: str | None = None


def view(request: Request, role: Role) -> dict[str, Any]:
    key = role.id.hex
    return {
        **role.extra,
        "id": key,
        "name": role.name,
        "domain_id": domain_id(role.domain) if role.domain else None,
        "description": shown_text(role.description, role.extra, default=None),
        "options": core.options_of(role),
        "links": self_link(request, "roles", key),
    }


def brief(request: Request, role: Role) -> dict[str, Any]:
    return {"id": role.id.hex, "name": role.name, "links": self_link(request, "roles", role.id.hex)}


async def enforce(request: Request, verb: str, key: UUID) -> None:
    """The rule about a role: another one about a domain's own. Raises NotFound for everybody, and Forbidden."""
    held = await core.find(request.cloud, key)
    domain = held.domain.hex if held.domain else None
    about = {"target.role.name": held.name, "target.role.domain_id": domain}
    own = held.domain is not None
    request.enforce(f"identity:{verb}_domain_role" if own else f"identity:{verb}_role", about)


@SERVICE.operation("GET", "/v3/roles", policy="identity:list_roles", targeted=True, query=RoleQuery)
async def list_all(request: Request, query: RoleQuery) -> dict[str, Any]:
    domain = filter_key(query.domain_id)
    request.enforce("identity:list_roles" if domain is None else "identity:list_domain_roles")
    window = part(query.limit, query.marker)
    found = await core.list_page(
        request.cloud, request.caller, window, name=query.name, names=names(request), domain=domain
    )
    return shown(request, "roles", found, window, view)


@SERVICE.operation(
    "POST", "/v3/roles", policy="identity:create_role", targeted=True, body=("role", CreateRole), status=201
)
async def create(request: Request, body: CreateRole) -> dict[str, Any]:
    own = body.domain_id is not None
    request.enforce("identity:create_domain_role" if own else "identity:create_role")
    want = core.CreateRole(
        name=body.name,
        domain=domain_key(body.domain_id) if body.domain_id is not None else None,
        description=body.description or "",
        options=options.merged({}, msgspec.to_builtins(body.options)),
        extra=await extras(request, "role", CreateRole, texts=True),
    )
    return {"role": view(request, await core.create(request.cloud, request.caller, want))}


@SERVICE.operation("GET", "/v3/roles/{role}", policy="identity:get_role", targeted=True)
async def show(request: Request, role: UUID) -> dict[str, Any]:
    await enforce(request, "get", role)
    return {"role": view(request, await core.show(request.cloud, request.caller, role))}


@SERVICE.operation(
    "PATCH", "/v3/roles/{role}", policy="identity:update_role", targeted=True, body=("role", UpdateRole)
)
async def update(request: Request, role: UUID, body: UpdateRole) -> dict[str, Any]:
    await enforce(request, "update", role)
    extra = await changes(request, "role", UpdateRole, role.hex, texts=True)
    if body.domain_id is not UNSET:
        held = await core.show(request.cloud, request.caller, role)
        if filter_key(body.domain_id) != held.domain:
            raise Invalid("Update of `domain_id` is not allowed.")
    want = core.UpdateRole(
        name=body.name,
        description=text(body.description),
        options=UNSET if body.options is UNSET else msgspec.to_builtins(body.options),
        extra=kept(extra),
    )
    return {"role": view(request, await core.update(request.cloud, request.caller, role, want))}


@SERVICE.operation("DELETE", "/v3/roles/{role}", policy="identity:delete_role", targeted=True, status=204)
async def delete(request: Request, role: UUID) -> None:
    await enforce(request, "delete", role)
    await core.delete(request.cloud, request.caller, role)


@SERVICE.operation("GET", "/v3/role_inferences", policy="identity:list_role_inference_rules")
async def list_inferences(request: Request) -> dict[str, Any]:
    known = await core.every(request.cloud, request.caller)
    found = [inference(request, role, known) for role in known.values() if role.implies]
    return {"role_inferences": found}


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
    found = {"prior_role": brief(request, roles[0]), "implies": brief(request, roles[1])}
    return {"role_inference": found, "links": {"self": here(request)}}


@SERVICE.operation("GET", "/v3/roles/{prior}/implies/{implied}", policy="identity:get_implied_role")
async def show_implied(request: Request, prior: UUID, implied: UUID) -> dict[str, Any]:
    role = await core.show(request.cloud, request.caller, prior)
    if implied not in role.implies:
        raise core.Unimplied(prior, implied)
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
