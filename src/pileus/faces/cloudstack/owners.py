"""Accounts, projects and domains: whose things a command lists or makes, and how an owner is shown."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Look
from pileus.core.errors import Forbidden, Unauthenticated
from pileus.core.identity import domains
from pileus.core.identity.authentication import keys
from pileus.core.identity.authorization import authority
from pileus.core.identity.authorization.holding import actors
from pileus.core.identity.names import names
from pileus.core.identity.records import Assignment, Domain, Project, ProjectKind
from pileus.core.identity.records import Scope as RoleScope
from pileus.core.listing import Page, owned
from pileus.faces.cloudstack.commands import Call
from pileus.faces.cloudstack.errors import PARAMETER, ApiError, invalid_id
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import EVERY_PROJECT, OwnedListing, Placed
from pileus.store import Condition, Record, not_in

ROOT_NAME = "ROOT"
R = TypeVar("R", bound=Record)


class Scope(msgspec.Struct, frozen=True):
    """Of a list: the projects to look in (None: all) and what to leave out."""

    projects: tuple[UUID, ...] | None
    where: tuple[Condition, ...] = ()


async def acting(call: Call, params: Placed) -> Caller:
    """The caller as it acts for the account or project that the parameters name; its own account otherwise.
    `caller.home` is then the owner of what is made. Raises ApiError 431 for one that the caller cannot act for."""
    if params.project is not None:
        return await _as(call, params.project, "projectid")
    if not params.account:
        if params.domain not in (None, call.user.domain):
            raise ApiError(PARAMETER, "domainid names the domain of an account; name the account too.")
        return call.caller
    async with call.cloud.view() as look:
        found = await account_named(look, call, params.account, params.domain)
    return await _as(call, found.id, "account")


async def _as(call: Call, project: UUID, parameter: str) -> Caller:
    if project == call.caller.project:
        return call.caller
    sent = call.sent.get(parameter, str(project))
    try:
        caller = await keys.caller_of(call.cloud, call.user, project)
    except (Unauthenticated, Forbidden) as error:
        await _refuse_asleep(call, project)
        raise invalid_id(call.name, parameter, sent) from error
    return msgspec.structs.replace(caller, request=call.caller.request, face=call.caller.face)


async def _refuse_asleep(call: Call, key: UUID) -> None:
    """Tell who sees a project or account that it is suspended or disabled. Raises Forbidden."""
    async with call.cloud.view() as look:
        held = await look.maybe(Project, key)
    if held is not None and not held.enabled and call.caller.sees(key):
        what = "account" if held.kind is ProjectKind.ACCOUNT else "project"
        raise Forbidden(f"Can't add resources to the {what} {held.name} as it's no longer active")


async def account_named(look: Look, call: Call, name: str, domain: UUID | None) -> Project:
    """Raises ApiError 431, alike for accounts that there are not and that the caller may not see."""
    place = domain or call.user.domain
    found = await look.one(Project, domain=place, name=name, kind=ProjectKind.ACCOUNT)
    if found is None or not call.caller.sees(found.id):
        raise ApiError(
            PARAMETER,
            f"Unable to find account {name[:100]} in domain {place}; name the account and its domainid.",
            exception="InvalidParameterValueException",
        )
    return found


async def scope(call: Call, look: Look, params: OwnedListing) -> Scope:
    """What a list shows: by id anything that the caller may see; else the caller's account, or what the parameters
    of ownership ask for. What belongs to projects is shown for `projectid` only."""
    project = getattr(params, "project", None)
    if project is not None and params.account:
        raise ApiError(PARAMETER, "Account and projectId can't be specified together")
    if project == EVERY_PROJECT:
        return await _every_project(call, look, own=params.all)
    if project is not None:
        if not call.caller.sees(project) or await look.maybe(Project, project) is None:
            raise invalid_id(call.name, "projectid", str(project))
        return Scope((project,))
    if params.account:
        return Scope(((await account_named(look, call, params.account, params.domain)).id,))
    if params.domain is not None:
        return await _of_domain(call, look, params.domain, params.recursive)
    if getattr(params, "id", None) is not None or getattr(params, "ids", None):
        return Scope(None if call.admin else reach(call.caller))
    if not params.all:
        return Scope((call.account,))
    if call.admin:
        hidden = [held.id for held in await look.list(Project, kind=ProjectKind.PROJECT)]
        return Scope(None, (not_in("project", hidden),) if hidden else ())
    return Scope(await _kinds(look, reach(call.caller), ProjectKind.ACCOUNT))


async def listed(
    call: Call,
    look: Look,
    params: OwnedListing,
    cls: type[R],
    *where: Condition,
    order: Sequence[str] = ("created_at",),
    **equals: Any,
) -> Page[R]:
    """The page that is asked for, of the records that the parameters of ownership ask for."""
    among = await scope(call, look, params)
    skip, limit = window(params)
    return await owned(
        look,
        call.caller,
        cls,
        *where,
        *among.where,
        projects=among.projects,
        order=order,
        skip=skip,
        limit=limit,
        **equals,
    )


def reach(caller: Caller) -> tuple[UUID, ...]:
    """All that a caller who is no administrator may see."""
    return tuple({caller.home, *(caller.visible or ())})


async def _kinds(look: Look, projects: tuple[UUID, ...] | None, kind: ProjectKind) -> tuple[UUID, ...]:
    """Those of the projects (None: of all) that are of the kind."""
    among = {} if projects is None else {"id": projects}
    return tuple(held.id for held in await look.list(Project, kind=kind, **among))


async def _every_project(call: Call, look: Look, *, own: bool) -> Scope:
    """Of administrators all projects, of others those that they are in; `own`: and what is not in projects."""
    if call.admin:
        return Scope(None if own else await _kinds(look, None, ProjectKind.PROJECT))
    found = await _kinds(look, await joined(look, call.caller), ProjectKind.PROJECT)
    return Scope((*found, call.account) if own else found)


async def joined(look: Look, caller: Caller) -> tuple[UUID, ...]:
    """The projects in which the caller, its account or a group of it has a role."""
    acting = await actors(look, caller.user)
    held = await look.list(Assignment, actor=acting, scope=RoleScope.PROJECT, inherited=False)
    return tuple({each.target for each in held if caller.sees(each.target)})


async def _of_domain(call: Call, look: Look, domain: UUID, recursive: bool) -> Scope:
    if not await authority.reads(look, call.caller, domain):
        if domain != call.user.domain:
            raise invalid_id(call.name, "domainid", str(domain))
        return Scope((call.account,))
    if await look.maybe(Domain, domain) is None:
        raise invalid_id(call.name, "domainid", str(domain))
    inside = tuple(await authority.below(look, domain)) if recursive else (domain,)
    found = await look.list(Project, domain=inside, kind=ProjectKind.ACCOUNT)
    return Scope(tuple(held.id for held in found))


async def shown(look: Look, projects: Iterable[UUID]) -> dict[UUID, dict[str, Any]]:
    """By project: account or project with its domain, as every object shows its owner. Fields that a response does
    not have are dropped when it is rendered."""
    wanted = tuple(set(projects))
    held = await look.list(Project, id=wanted) if wanted else []
    places = await domains_shown(look, {project.domain for project in held})
    return {project.id: owner(project, places[project.domain]) for project in held}


def owner(project: Project, place: dict[str, Any]) -> dict[str, Any]:
    if project.kind is ProjectKind.ACCOUNT:
        return {"account": project.name, "accountid": project.id, **place}
    return {"projectid": project.id, "project": project.name, **place}


async def domains_shown(look: Look, keys: Iterable[UUID]) -> dict[UUID, dict[str, Any]]:
    """By domain: its id, name and path. The root is ROOT, whatever OpenStack calls it."""
    lines = {key: await authority.lineage(look, key) for key in set(keys)}
    known = await names(look, Domain, {each for line in lines.values() for each in line})
    return {
        key: {
            "domainid": key,
            "domain": domain_name(key, known.get(key, "")),
            "domainpath": "/".join(domain_name(each, known.get(each, "")) for each in reversed(line)),
        }
        for key, line in lines.items()
    }


def domain_name(key: UUID, name: str) -> str:
    return ROOT_NAME if key == domains.ROOT else name
