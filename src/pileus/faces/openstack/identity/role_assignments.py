"""/v3/role_assignments: who has which role where."""

from typing import Any
from uuid import UUID

import msgspec

from pileus.core.errors import Invalid, NotFound
from pileus.core.identity.authorization import assignment_list as core
from pileus.core.identity.authorization import assignments
from pileus.core.identity.authorization.assignment_list import Granted
from pileus.core.identity.authorization.assignments import SYSTEM, Place
from pileus.core.identity.records import Group, Scope
from pileus.faces.openstack.identity.filters import asked
from pileus.faces.openstack.identity.refs import domain_id, filter_key, listed, target, url
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request

PROJECTS = "projects"
Names = dict[UUID, str]


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
    "GET",
    "/v3/role_assignments",
    policy="identity:list_role_assignments",
    targeted=True,
    query=AssignmentQuery,
)
async def list_all(request: Request, query: AssignmentQuery) -> dict[str, Any]:
    place = place_of(query)
    below, effective = asked(request, "include_subtree"), asked(request, "effective")
    if below:
        await enforce_tree(request, place)
    else:
        request.enforce("identity:list_role_assignments", target(domain_id=request.caller.domain))
    if effective:
        await refuse_useless(request, query)
    want = core.AssignmentFilter(
        user=filter_key(query.user or None),
        group=filter_key(query.group or None),
        role=filter_key(query.role or None),
        place=place,
        inherited=None if query.inherited is None else query.inherited == PROJECTS,
        effective=effective,
        below=below,
    )
    found = await core.list_all(request.cloud, request.caller, want)
    named = await names_of_domains(request, found) if asked(request, "include_names") else None
    return listed(request, "role_assignments", [view(request, granted, named) for granted in found])


async def enforce_tree(request: Request, place: Place | None) -> None:
    if place is None or place.scope is not Scope.PROJECT:
        request.enforce("identity:list_role_assignments_for_tree", target(domain_id=request.caller.domain))
        raise Invalid("scope.project.id must be specified if include_subtree is also specified")
    domain = await assignments.domain_of(request.cloud, place)
    about = target(domain_id=domain, project__id=place.target, project__domain_id=domain)
    request.enforce("identity:list_role_assignments_for_tree", about)
    if domain is None:
        raise NotFound("project", place.target.hex)


def place_of(query: AssignmentQuery) -> Place | None:
    """The one scope that is filtered by. Raises Invalid for several, and for what nothing can pass."""
    if query.user and query.group:
        raise Invalid("Specify a user or group, not both")
    if query.include_subtree is not None and not query.project:
        raise Invalid("scope.project.id must be specified if include_subtree is also specified")
    if query.domain and query.project:
        raise Invalid("Specify a domain or project, not both")
    if query.domain and query.system:
        raise Invalid("Specify system or domain, not both")
    if query.project and query.system:
        raise Invalid("Specify system or project, not both")
    project, domain = filter_key(query.project or None), filter_key(query.domain or None)
    if project is not None:
        return Place(Scope.PROJECT, project)
    if domain is not None:
        return Place(Scope.DOMAIN, domain)
    return SYSTEM if query.system == "all" else None


async def refuse_useless(request: Request, query: AssignmentQuery) -> None:
    """Of what roles come to. Raises Invalid for filters which nothing can pass, NotFound for a user or project that is
    not there."""
    if query.group:
        raise Invalid("Combining effective and group filter will always result in an empty list.")
    if query.inherited == PROJECTS and query.domain:
        raise Invalid(
            "Combining effective, domain and inherited filters will always result in an empty list."
        )
    await core.require_known(
        request.cloud, user=filter_key(query.user or None), project=filter_key(query.project or None)
    )


async def names_of_domains(request: Request, found: list[Granted]) -> Names:
    wanted = {granted.actor.domain for granted in found}
    wanted |= {granted.project.domain for granted in found if granted.project is not None}
    wanted |= {granted.role.domain for granted in found if granted.role.domain is not None}
    return await assignments.domain_names(request.cloud, wanted)


def view(request: Request, granted: Granted, domains: Names | None) -> dict[str, Any]:
    """With the names of everything when those of the domains are given."""
    actor, role = granted.actor, granted.role
    who: dict[str, Any] = {"id": actor.id.hex}
    what: dict[str, Any] = {"id": role.id.hex}
    if domains is not None:
        who |= {"name": actor.name, "domain": domain_of(actor.domain, domains)}
        what["name"] = role.name
        if role.domain is not None:
            what["domain"] = domain_of(role.domain, domains)
    scope = scope_view(granted, domains)
    if granted.inherited:
        scope["OS-INHERIT:inherited_to"] = PROJECTS
    kind = "group" if isinstance(actor, Group) else "user"
    return {kind: who, "role": what, "scope": scope, "links": links(request, granted, kind)}


def links(request: Request, granted: Granted, kind: str) -> dict[str, str]:
    """Where the assignment was made, and what resolved it to this."""
    actor, role, prior = granted.actor, granted.role, granted.prior
    by = ("groups", granted.group.hex) if granted.group is not None else (f"{kind}s", actor.id.hex)
    path = [*place_path(granted.source or granted.place), *by, "roles", (prior or role).id.hex]
    if granted.inherited:
        path = ["OS-INHERIT", *path, "inherited_to_projects"]
    found = {"assignment": url(request, *path)}
    if granted.group is not None:
        found["membership"] = url(request, "groups", granted.group.hex, "users", actor.id.hex)
    if prior is not None:
        found["prior_role"] = url(request, "prior_role", role.id.hex, "implies", prior.id.hex)
    return found


def place_path(place: Place) -> tuple[str, ...]:
    if place.scope is Scope.SYSTEM:
        return ("system",)
    if place.scope is Scope.DOMAIN:
        return "domains", domain_id(place.target)
    return "projects", place.target.hex


def scope_view(granted: Granted, domains: Names | None) -> dict[str, Any]:
    project, domain = granted.project, granted.domain
    if project is not None:
        shown: dict[str, Any] = {"id": project.id.hex}
        if domains is not None:
            shown |= {"name": project.name, "domain": domain_of(project.domain, domains)}
        return {"project": shown}
    if domain is not None:
        key = domain_id(domain.id)
        return {"domain": {"id": key, "name": domain.name} if domains is not None else {"id": key}}
    return {"system": {"all": True}}


def domain_of(key: UUID, domains: Names) -> dict[str, str]:
    return {"id": domain_id(key), "name": domains.get(key, "")}
