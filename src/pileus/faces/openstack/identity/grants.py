"""Roles of users on projects, domains and the system: granting them one by one, and the list of all."""

from typing import Any
from uuid import UUID

import msgspec

from pileus.core.errors import Invalid
from pileus.core.identity import assignments as core
from pileus.core.identity.assignments import Granted, Place
from pileus.core.identity.records import Domain, Project, Scope
from pileus.faces.openstack.identity import roles
from pileus.faces.openstack.identity.refs import domain_id, domain_key, filter_key, listed, on, target, url
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request

PROJECT = "/v3/projects/{project}/users/{user}/roles"
DOMAIN = "/v3/domains/{domain}/users/{user}/roles"
SYSTEM = "/v3/system/users/{user}/roles"


async def enforce(request: Request, rule: str, place: Place) -> None:
    """Hold the rule against the domain that the place is in."""
    request.enforce(rule, target(domain_id=await core.domain_of(request.cloud, place)))


async def list_there(request: Request, user: UUID, place: Place) -> dict[str, Any]:
    found = await core.of(request.cloud, request.caller, user, place)
    return listed(request, "roles", [roles.view(request, role) for role in found])


@SERVICE.operation("GET", PROJECT, policy="identity:list_grants")
async def list_on_project(request: Request, project: UUID, user: UUID) -> dict[str, Any]:
    place = Place(Scope.PROJECT, project)
    await enforce(request, "identity:list_grants", place)
    return await list_there(request, user, place)


@SERVICE.operation("PUT", PROJECT + "/{role}", policy="identity:create_grant", status=204)
async def grant_on_project(request: Request, project: UUID, user: UUID, role: UUID) -> None:
    place = Place(Scope.PROJECT, project)
    await enforce(request, "identity:create_grant", place)
    await core.grant(request.cloud, request.caller, user, role, place)


@SERVICE.operation("GET", PROJECT + "/{role}", policy="identity:check_grant", status=204)
async def check_on_project(request: Request, project: UUID, user: UUID, role: UUID) -> None:
    place = Place(Scope.PROJECT, project)
    await enforce(request, "identity:check_grant", place)
    await core.check(request.cloud, request.caller, user, role, place)


@SERVICE.operation("DELETE", PROJECT + "/{role}", policy="identity:revoke_grant", status=204)
async def revoke_on_project(request: Request, project: UUID, user: UUID, role: UUID) -> None:
    place = Place(Scope.PROJECT, project)
    await enforce(request, "identity:revoke_grant", place)
    await core.revoke(request.cloud, request.caller, user, role, place)


@SERVICE.operation("GET", DOMAIN, policy="identity:list_grants")
async def list_on_domain(request: Request, domain: str, user: UUID) -> dict[str, Any]:
    place = Place(Scope.DOMAIN, domain_key(domain))
    await enforce(request, "identity:list_grants", place)
    return await list_there(request, user, place)


@SERVICE.operation("PUT", DOMAIN + "/{role}", policy="identity:create_grant", status=204)
async def grant_on_domain(request: Request, domain: str, user: UUID, role: UUID) -> None:
    place = Place(Scope.DOMAIN, domain_key(domain))
    await enforce(request, "identity:create_grant", place)
    await core.grant(request.cloud, request.caller, user, role, place)


@SERVICE.operation("GET", DOMAIN + "/{role}", policy="identity:check_grant", status=204)
async def check_on_domain(request: Request, domain: str, user: UUID, role: UUID) -> None:
    place = Place(Scope.DOMAIN, domain_key(domain))
    await enforce(request, "identity:check_grant", place)
    await core.check(request.cloud, request.caller, user, role, place)


@SERVICE.operation("DELETE", DOMAIN + "/{role}", policy="identity:revoke_grant", status=204)
async def revoke_on_domain(request: Request, domain: str, user: UUID, role: UUID) -> None:
    place = Place(Scope.DOMAIN, domain_key(domain))
    await enforce(request, "identity:revoke_grant", place)
    await core.revoke(request.cloud, request.caller, user, role, place)


@SERVICE.operation("GET", SYSTEM, policy="identity:list_system_grants_for_user")
async def list_on_system(request: Request, user: UUID) -> dict[str, Any]:
    return await list_there(request, user, core.SYSTEM)


@SERVICE.operation("PUT", SYSTEM + "/{role}", policy="identity:create_system_grant_for_user", status=204)
async def grant_on_system(request: Request, user: UUID, role: UUID) -> None:
    await core.grant(request.cloud, request.caller, user, role, core.SYSTEM)


@SERVICE.operation("GET", SYSTEM + "/{role}", policy="identity:check_system_grant_for_user", status=204)
async def check_on_system(request: Request, user: UUID, role: UUID) -> None:
    await core.check(request.cloud, request.caller, user, role, core.SYSTEM)


@SERVICE.operation("DELETE", SYSTEM + "/{role}", policy="identity:revoke_system_grant_for_user", status=204)
async def revoke_on_system(request: Request, user: UUID, role: UUID) -> None:
    await core.revoke(request.cloud, request.caller, user, role, core.SYSTEM)


class AssignmentQuery(msgspec.Struct, frozen=True, kw_only=True):
    user: str | None = msgspec.field(default=None, name="user.id")
    group: str | None = msgspec.field(default=None, name="group.id")
    role: str | None = msgspec.field(default=None, name="role.id")
    project: str | None = msgspec.field(default=None, name="scope.project.id")
    domain: str | None = msgspec.field(default=None, name="scope.domain.id")
    system: str | None = msgspec.field(default=None, name="scope.system")
    inherited: str | None = msgspec.field(default=None, name="scope.OS-INHERIT:inherited_to")
    effective: str | None = None
    include_names: str | None = None
    include_subtree: str | None = None


@SERVICE.operation(
    "GET", "/v3/role_assignments", policy="identity:list_role_assignments", query=AssignmentQuery
)
async def list_assignments(request: Request, query: AssignmentQuery) -> dict[str, Any]:
    place = place_of(query)
    domain = await core.domain_of(request.cloud, place) if place else request.caller.domain
    request.enforce("identity:list_role_assignments", target(domain_id=domain))
    if query.group is not None or query.inherited is not None:
        return listed(request, "role_assignments", [])
    want = core.AssignmentFilter(
        user=filter_key(query.user),
        role=filter_key(query.role),
        place=place,
        effective=on(query.effective),
        below=on(query.include_subtree),
    )
    found = await core.list_all(request.cloud, request.caller, want)
    named = await names_of_domains(request, found) if on(query.include_names) else None
    shown = [assignment_view(request, granted, named) for granted in found]
    return listed(request, "role_assignments", shown)


def place_of(query: AssignmentQuery) -> Place | None:
    """The one scope that is filtered by. Raises Invalid for several."""
    given = [value for value in (query.project, query.domain, query.system) if value is not None]
    if len(given) > 1:
        raise Invalid("Only one of scope.project.id, scope.domain.id and scope.system can be filtered by.")
    if on(query.include_subtree) and query.project is None:
        raise Invalid("include_subtree needs scope.project.id; name the project.")
    project, domain = filter_key(query.project), filter_key(query.domain)
    if project is not None:
        return Place(Scope.PROJECT, project)
    if domain is not None:
        return Place(Scope.DOMAIN, domain)
    return core.SYSTEM if on(query.system) else None


async def names_of_domains(request: Request, found: list[Granted]) -> dict[UUID, str]:
    wanted = {granted.user.domain for granted in found}
    wanted |= {granted.project.domain for granted in found if granted.project is not None}
    return await core.domain_names(request.cloud, wanted)


def assignment_view(request: Request, granted: Granted, domains: dict[UUID, str] | None) -> dict[str, Any]:
    """With the names of everything when those of the domains are given."""
    user, role = granted.user, granted.role
    shown_user: dict[str, Any] = {"id": user.id.hex}
    shown_role: dict[str, Any] = {"id": role.id.hex}
    if domains is not None:
        shown_user |= {"name": user.name, "domain": domain_of(user.domain, domains)}
        shown_role["name"] = role.name
        if role.domain is not None:
            shown_role["domain"] = domain_of(role.domain, domains)
    scope, path = scope_view(granted.project, granted.domain, domains)
    links = {"assignment": url(request, *path, "users", user.id.hex, "roles", (granted.prior or role).id.hex)}
    if granted.prior is not None:
        links["prior_role"] = url(request, "prior_role", granted.prior.id.hex, "implies", role.id.hex)
    return {"role": shown_role, "user": shown_user, "scope": scope, "links": links}


def scope_view(
    project: Project | None, domain: Domain | None, domains: dict[UUID, str] | None
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The scope, and the beginning of the path by which its grants are reached."""
    if project is not None:
        shown: dict[str, Any] = {"id": project.id.hex}
        if domains is not None:
            shown |= {"name": project.name, "domain": domain_of(project.domain, domains)}
        return {"project": shown}, ("projects", project.id.hex)
    if domain is not None:
        key = domain_id(domain.id)
        named = {"id": key, "name": domain.name} if domains is not None else {"id": key}
        return {"domain": named}, ("domains", key)
    return {"system": {"all": True}}, ("system",)


def domain_of(key: UUID, domains: dict[UUID, str]) -> dict[str, str]:
    return {"id": domain_id(key), "name": domains.get(key, "")}
