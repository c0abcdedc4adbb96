"""Roles of users and groups on projects, domains and the system, there or (OS-INHERIT) at the projects below.

Paths that differ in where, who and how: they are declared by one table.
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from itertools import product
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.identity.authentication.tokens import NIL
from pileus.core.identity.authorization import assignments as core
from pileus.core.identity.authorization.assignments import Place, Subject
from pileus.core.identity.records import Actor, Scope
from pileus.faces.openstack.identity import roles
from pileus.faces.openstack.identity.refs import domain_key, listed, target
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request
from pileus.faces.wire.routing import parameters

PLACES = {
    Scope.PROJECT: "/projects/{project}",
    Scope.DOMAIN: "/domains/{domain}",
    Scope.SYSTEM: "/system",
}
ACTORS = {Actor.USER: "/users/{user}", Actor.GROUP: "/groups/{group}"}


class Asked(msgspec.Struct, frozen=True):
    """Which role (None: all) of whom, and where."""

    place: Place
    kind: Actor
    actor: UUID
    role: UUID | None
    inherited: bool


async def list_there(request: Request, asked: Asked) -> dict[str, Any]:
    found = await core.of(
        request.cloud,
        request.caller,
        asked.actor,
        asked.place,
        kind=asked.kind,
        inherited=asked.inherited,
    )
    return listed(request, "roles", [roles.view(request, role) for role in found])


async def check(request: Request, asked: Asked) -> None:
    assert asked.role is not None
    await core.check(
        request.cloud, request.caller, asked.actor, asked.role, asked.place, inherited=asked.inherited
    )


async def grant(request: Request, asked: Asked) -> None:
    assert asked.role is not None
    await core.grant(
        request.cloud,
        request.caller,
        asked.actor,
        asked.role,
        asked.place,
        kind=asked.kind,
        inherited=asked.inherited,
    )


async def revoke(request: Request, asked: Asked) -> None:
    assert asked.role is not None
    await core.revoke(
        request.cloud,
        request.caller,
        asked.actor,
        asked.role,
        asked.place,
        kind=asked.kind,
        inherited=asked.inherited,
    )


VERBS: Mapping[str, tuple[str, Callable[[Request, Asked], Awaitable[Any]]]] = {
    "list": ("GET", list_there),
    "check": ("GET", check),
    "create": ("PUT", grant),
    "revoke": ("DELETE", revoke),
}
"""By the verb in the names of the rules."""


def rule_of(verb: str, scope: Scope, kind: Actor) -> str:
    noun = "grants" if verb == "list" else "grant"
    return f"identity:{verb}_system_{noun}_for_{kind}" if scope is Scope.SYSTEM else f"identity:{verb}_{noun}"


def against(about: Subject, kind: Actor) -> dict[str, Any]:
    """The target as Keystone's rules read it. A role of all domains has the domain None, which rules ask for."""
    found: dict[str, Any] = {}
    if about.actor is not None:
        ids = {f"{kind}__id": about.actor.id, f"{kind}__domain_id": about.actor.domain}
        found |= target(**ids)
    if about.role is not None:
        found["target.role.name"] = about.role.name
        found["target.role.domain_id"] = about.role.domain.hex if about.role.domain else None
    if about.project is not None:
        found |= target(project__id=about.project.id, project__domain_id=about.project.domain)
    if about.domain is not None:
        found |= target(domain__id=about.domain.id)
    return found


def declare(verb: str, scope: Scope, kind: Actor, inherited: bool) -> None:
    """One operation; its handler takes what stands in the path."""
    method, decide = VERBS[verb]
    path = f"{PLACES[scope]}{ACTORS[kind]}/roles" + ("" if verb == "list" else "/{role}")
    path = f"/v3/OS-INHERIT{path}/inherited_to_projects" if inherited else f"/v3{path}"
    rule = rule_of(verb, scope, kind)
    names = parameters(path)

    async def handler(request: Request, *values: Any) -> Any:
        found = dict(zip(names, values, strict=True))
        key = found.get("project") or (domain_key(found["domain"]) if "domain" in found else NIL)
        asked = Asked(Place(scope, key), kind, found[str(kind)], found.get("role"), inherited)
        about = await core.subject(request.cloud, (kind, asked.actor), asked.role, asked.place)
        request.enforce(rule, against(about, kind))
        return await decide(request, asked)

    handler.__signature__ = signature(names)  # type: ignore[attr-defined]
    status = 200 if verb == "list" else 204
    SERVICE.operation(method, path, policy=rule, targeted=True, status=status)(handler)


def signature(names: list[str]) -> inspect.Signature:
    """What a handler of these parameters of a path declares: ids, but for domains, which have one id that is a word."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parts = [inspect.Parameter("request", kind, annotation=Request)]
    parts += [inspect.Parameter(name, kind, annotation=str if name == "domain" else UUID) for name in names]
    return inspect.Signature(parts)


for _verb, _scope, _kind in product(VERBS, PLACES, ACTORS):
    declare(_verb, _scope, _kind, inherited=False)
    if _scope is Scope.DOMAIN or (_scope is Scope.PROJECT and _verb != "list"):
        declare(_verb, _scope, _kind, inherited=True)
