"""/v3/users, their passwords and projects; groups, of which there are none."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.errors import Invalid, NotFound, Unsupported
from pileus.core.identity import projects as core_projects
from pileus.core.identity import users as core
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import User
from pileus.faces.openstack.identity import projects
from pileus.faces.openstack.identity.domains import text
from pileus.faces.openstack.identity.refs import (
    Name,
    domain_id,
    domain_key,
    filter_key,
    known_key,
    listed,
    on,
    paged,
    self_link,
    target,
)
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request


class CreateUser(msgspec.Struct, frozen=True, kw_only=True):
    name: Name
    password: str | None = None
    domain_id: str | None = None
    default_project_id: str | None = None
    email: str | None = None
    description: str | None = None
    enabled: bool = True


class UpdateUser(msgspec.Struct, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    password: str | UnsetType | None = UNSET
    domain_id: str | UnsetType = UNSET
    default_project_id: str | UnsetType | None = UNSET
    email: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class UserQuery(msgspec.Struct, frozen=True, kw_only=True):
    name: str | None = None
    domain_id: str | None = None
    enabled: str | None = None
    limit: int | None = None
    marker: str | None = None


class ChangePassword(msgspec.Struct, frozen=True, kw_only=True):
    original_password: str
    password: str


def view(request: Request, user: User) -> dict[str, Any]:
    key = user.id.hex
    shown: dict[str, Any] = {
        "id": key,
        "name": user.name,
        "domain_id": domain_id(user.domain),
        "enabled": user.enabled,
        "password_expires_at": None,
        "options": {},
        "links": self_link(request, "users", key),
    }
    if user.default_project is not None:
        shown["default_project_id"] = user.default_project.hex
    if user.email:
        shown["email"] = user.email
    if user.description:
        shown["description"] = user.description
    return shown


def target_of(user: User) -> dict[str, str]:
    return target(user__id=user.id, user__domain_id=user.domain)


async def found(request: Request, rule: str, user: UUID) -> User:
    """The user, when the rule lets the caller do this to it."""
    held = await core.show(request.cloud, request.caller, user)
    request.enforce(rule, target_of(held))
    return held


@SERVICE.operation("GET", "/v3/users", policy="identity:list_users", query=UserQuery)
async def list_all(request: Request, query: UserQuery) -> dict[str, Any]:
    domain = filter_key(query.domain_id)
    request.enforce("identity:list_users", target(domain_id=domain or request.caller.domain))
    want = core.UserFilter(
        domain=domain,
        name=query.name,
        enabled=on(query.enabled) if query.enabled is not None else None,
    )
    shown = await core.list_all(request.cloud, request.caller, want)
    return paged(
        request, "users", shown, view, lambda user: user.id.hex, limit=query.limit, marker=query.marker
    )


@SERVICE.operation("POST", "/v3/users", policy="identity:create_user", body=("user", CreateUser), status=201)
async def create(request: Request, body: CreateUser) -> dict[str, Any]:
    caller = request.caller
    given = domain_key(body.domain_id) if body.domain_id is not None else None
    domain = given or caller.domain or caller.project_domain or ROOT
    request.enforce("identity:create_user", target(user__domain_id=domain))
    project = known_key(body.default_project_id, "Project") if body.default_project_id else None
    want = core.CreateUser(
        name=body.name,
        domain=domain,
        password=body.password or "",
        default_project=project,
        email=body.email or "",
        description=body.description or "",
        enabled=body.enabled,
    )
    return {"user": view(request, await core.create(request.cloud, caller, want))}


@SERVICE.operation("GET", "/v3/users/{user}", policy="identity:get_user")
async def show(request: Request, user: UUID) -> dict[str, Any]:
    return {"user": view(request, await found(request, "identity:get_user", user))}


@SERVICE.operation("PATCH", "/v3/users/{user}", policy="identity:update_user", body=("user", UpdateUser))
async def update(request: Request, user: UUID, body: UpdateUser) -> dict[str, Any]:
    held = await found(request, "identity:update_user", user)
    if isinstance(body.domain_id, str) and domain_key(body.domain_id) != held.domain:
        raise Invalid("A user cannot be moved to another domain; create one there.")
    project: UUID | UnsetType | None = UNSET
    if body.default_project_id is not UNSET:
        project = known_key(body.default_project_id, "Project") if body.default_project_id else None
    want = core.UpdateUser(
        name=body.name,
        password=text(body.password),
        default_project=project,
        email=text(body.email),
        description=text(body.description),
        enabled=body.enabled,
    )
    return {"user": view(request, await core.update(request.cloud, request.caller, user, want))}


@SERVICE.operation("DELETE", "/v3/users/{user}", policy="identity:delete_user", status=204)
async def delete(request: Request, user: UUID) -> None:
    await found(request, "identity:delete_user", user)
    await core.delete(request.cloud, request.caller, user)


@SERVICE.operation(
    "POST", "/v3/users/{user}/password", public=True, body=("user", ChangePassword), status=204
)
async def change_password(request: Request, user: UUID, body: ChangePassword) -> None:
    """Without a token: the old password proves who asks."""
    await core.change_password(request.cloud, user, body.original_password, body.password)


@SERVICE.operation("GET", "/v3/users/{user}/projects", policy="identity:list_user_projects")
async def list_projects(request: Request, user: UUID) -> dict[str, Any]:
    await found(request, "identity:list_user_projects", user)
    held = await core_projects.of_user(request.cloud, request.caller, user)
    return listed(request, "projects", [projects.view(request, project) for project in held])


@SERVICE.operation("GET", "/v3/users/{user}/groups", policy="identity:list_groups_for_user")
async def list_groups_of(request: Request, user: UUID) -> dict[str, Any]:
    await found(request, "identity:list_groups_for_user", user)
    return listed(request, "groups", [])


class GroupQuery(msgspec.Struct, frozen=True, kw_only=True):
    domain_id: str | None = None


@SERVICE.operation("GET", "/v3/groups", policy="identity:list_groups", query=GroupQuery)
async def list_groups(request: Request, query: GroupQuery) -> dict[str, Any]:
    domain = filter_key(query.domain_id) or request.caller.domain
    request.enforce("identity:list_groups", target(domain_id=domain))
    return listed(request, "groups", [])


@SERVICE.operation("GET", "/v3/groups/{group}", policy="identity:get_group")
async def show_group(request: Request, group: str) -> None:
    raise NotFound("Group", group[:64])


@SERVICE.operation("POST", "/v3/groups", policy="identity:create_group", status=201)
async def create_group(request: Request) -> None:
    raise Unsupported("Groups are not supported yet; grant roles to the users themselves.")
