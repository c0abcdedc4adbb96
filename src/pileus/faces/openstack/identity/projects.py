"""/v3/projects: Keystone shows a domain as a project too, which has no parent and is a domain."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.errors import Forbidden, Invalid, NotFound
from pileus.core.identity import domains as core_domains
from pileus.core.identity import projects as core
from pileus.core.identity import unified_limits
from pileus.core.identity.domains import ROOT
from pileus.core.identity.listing import Found, Window
from pileus.core.identity.records import Domain, Project
from pileus.core.identity.tags import Wanted
from pileus.faces.openstack.identity import limits
from pileus.faces.openstack.identity.attributes import (
    changes,
    distinct,
    extras,
    kept,
    text,
)
from pileus.faces.openstack.identity.attributes import shown as shown_text
from pileus.faces.openstack.identity.filters import asked, flag, names, part, shown
from pileus.faces.openstack.identity.options import ProjectOptions, changed, given
from pileus.faces.openstack.identity.refs import (
    IdText,
    ShortName,
    domain_id,
    domain_key,
    filter_key,
    known_key,
    self_link,
    target,
)
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request

Place = Project | Domain
"""What stands under /v3/projects."""


class CreateProject(msgspec.Struct, frozen=True, kw_only=True):
    name: ShortName
    domain_id: str | None = None
    parent_id: str | None = None
    description: str | None = None
    enabled: bool = True
    is_domain: bool = False
    tags: tuple[str, ...] = ()
    options: ProjectOptions | UnsetType = UNSET


class UpdateProject(msgspec.Struct, frozen=True, kw_only=True):
    name: ShortName | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    options: ProjectOptions | UnsetType = UNSET
    domain_id: str | UnsetType | None = UNSET
    parent_id: str | UnsetType | None = UNSET
    is_domain: bool | UnsetType = UNSET


class ProjectQuery(msgspec.Struct, frozen=True, kw_only=True):
    name: ShortName | None = None
    domain_id: IdText | None = None
    parent_id: str | None = None
    enabled: str | None = None
    is_domain: str | None = None
    tags: str | None = None
    tags_any: str | None = msgspec.field(default=None, name="tags-any")
    not_tags: str | None = msgspec.field(default=None, name="not-tags")
    not_tags_any: str | None = msgspec.field(default=None, name="not-tags-any")
    limit: int | None = None
    marker: str | None = None


def view(request: Request, place: Place) -> dict[str, Any]:
    key = place_id(place)
    return {
        **place.extra,
        "id": key,
        "name": place.name,
        "description": shown_text(place.description, place.extra),
        "enabled": place.enabled,
        "tags": list(place.tags),
        "options": place.options,
        **within(place),
        "links": self_link(request, "projects", key),
    }


def within(place: Place) -> dict[str, Any]:
    if isinstance(place, Domain):
        return {"domain_id": None, "parent_id": None, "is_domain": True}
    domain = domain_id(place.domain)
    parent = place.parent.hex if place.parent else domain
    return {"domain_id": domain, "parent_id": parent, "is_domain": False}


def place_id(place: Place) -> str:
    return domain_id(place.id) if isinstance(place, Domain) else place.id.hex


def target_of(place: Place) -> dict[str, str]:
    if isinstance(place, Domain):
        return target(project__id=place.id)
    return target(project__id=place.id, project__domain_id=place.domain)


async def found(request: Request, rule: str, project: str) -> Place:
    """The project, or the domain shown as one, when the rule lets the caller do this to it."""
    key = domain_key(project)
    held: Place
    try:
        held = await core.show(request.cloud, request.caller, key)
    except (NotFound, Forbidden):
        held = await _domain(request, rule, key)
    request.enforce(rule, target_of(held))
    return held


async def _domain(request: Request, rule: str, key: UUID) -> Domain:
    """Raises NotFound in the words for a project, Forbidden for those who may not know, in the rule's words."""
    try:
        return await core_domains.show(request.cloud, request.caller, key)
    except (NotFound, Forbidden) as error:
        request.enforce(rule, {})
        if isinstance(error, Forbidden):
            raise
        raise NotFound("Project", key.hex) from None


def tagged(query: ProjectQuery) -> Wanted:
    def parts(value: str | None) -> frozenset[str] | None:
        return None if value is None else frozenset(value.split(","))

    return Wanted(
        every=parts(query.tags),
        some=parts(query.tags_any),
        not_every=parts(query.not_tags),
        none=parts(query.not_tags_any),
    )


@SERVICE.operation("GET", "/v3/projects", policy="identity:list_projects", query=ProjectQuery)
async def list_all(request: Request, query: ProjectQuery) -> dict[str, Any]:
    domain, parent = filter_key(query.domain_id), parent_key(query.parent_id)
    request.enforce("identity:list_projects", target(domain_id=request.caller.domain))
    window = part(query.limit, query.marker)
    if flag(query.is_domain, "is_domain"):
        return await list_domains(request, query, window)
    want = core.ProjectFilter(
        domain=domain,
        name=query.name,
        enabled=flag(query.enabled, "enabled"),
        parent=parent,
        names=names(request),
        tags=tagged(query),
        within=request.caller.domain,
    )
    return shown(
        request,
        "projects",
        await core.list_page(request.cloud, request.caller, want, window),
        window,
        view,
    )


def parent_key(text: str | None) -> UUID | None:
    """Raises Invalid for what cannot be an id."""
    try:
        return domain_key(text) if text is not None else None
    except NotFound:
        raise Invalid(
            f"Invalid input for query parameters parent_id: {(text or '')[:64]!r} is no id."
        ) from None


async def list_domains(request: Request, query: ProjectQuery, window: Window) -> dict[str, Any]:
    """Those that act as domains: they are in no domain, and under nothing."""
    if query.domain_id is not None or query.parent_id is not None:
        return shown(request, "projects", Found([]), window, view)
    want = core_domains.DomainFilter(
        name=query.name,
        enabled=flag(query.enabled, "enabled"),
        names=names(request),
        tags=tagged(query),
        within=request.caller.domain,
    )
    held = await core_domains.list_page(request.cloud, request.caller, want, window)
    return shown(request, "projects", held, window, view)


@SERVICE.operation(
    "POST",
    "/v3/projects",
    policy="identity:create_project",
    body=("project", CreateProject),
    status=201,
)
async def create(request: Request, body: CreateProject) -> dict[str, Any]:
    distinct(body.tags)
    extra = await extras(request, "project", CreateProject, texts=True)
    if body.is_domain:
        return {"project": view(request, await create_domain(request, body, extra))}
    try:
        domain, parent = _place(request, body)
        request.enforce("identity:create_project", target(project__domain_id=domain))
        want = core.CreateProject(
            name=body.name,
            domain=domain,
            parent=parent,
            description=body.description or "",
            enabled=body.enabled,
            tags=body.tags,
            options=given(body.options),
            extra=extra,
        )
        return {"project": view(request, await core.create(request.cloud, request.caller, want))}
    except NotFound as error:
        raise Invalid(f"Could not find {error.what.lower()}: {error.key}.") from None


async def create_domain(request: Request, body: CreateProject, extra: dict[str, Any]) -> Domain:
    request.enforce("identity:create_project", {})
    if body.parent_id is not None or body.domain_id is not None:
        raise Invalid("Only root projects are allowed to act as domains; leave out parent_id and domain_id.")
    want = core_domains.CreateDomain(
        name=body.name,
        description=body.description or "",
        enabled=body.enabled,
        tags=body.tags,
        options=given(body.options),
        extra=extra,
    )
    return await core_domains.create(request.cloud, request.caller, want)


def _place(request: Request, body: CreateProject) -> tuple[UUID, UUID | None]:
    """The domain (by default the caller's) and the parent; a parent that is the domain is none."""
    caller = request.caller
    named = domain_key(body.domain_id) if body.domain_id is not None else None
    parent = known(body.parent_id) if body.parent_id is not None else None
    domain = named or caller.domain or ROOT
    return domain, None if parent == domain else parent


def known(text: str) -> UUID:
    """A parent's id: of a project, or of the domain."""
    return ROOT if text == domain_id(ROOT) else known_key(text, "Project")


@SERVICE.operation("GET", "/v3/projects/{project}", policy="identity:get_project")
async def show(request: Request, project: str) -> dict[str, Any]:
    held = await found(request, "identity:get_project", project)
    answer = view(request, held)
    for one, other in (("parents_as_list", "parents_as_ids"), ("subtree_as_list", "subtree_as_ids")):
        if asked(request, one) and asked(request, other):
            raise Invalid(f"Cannot use {one} and {other} query params at the same time.")
    wishes = ("parents_as_list", "parents_as_ids", "subtree_as_list", "subtree_as_ids")
    if any(asked(request, wish) for wish in wishes):
        answer |= await relatives(request, await core.family(request.cloud, request.caller, held))
    return {"project": answer}


async def relatives(request: Request, family: core.Family) -> dict[str, Any]:
    """Those around a project as far as they were asked for: in lists the caller's own, as ids all."""
    found: dict[str, Any] = {}
    for name, around in (("parents", family.above), ("subtree", family.below)):
        if asked(request, f"{name}_as_list"):
            found[name] = await wrapped(request, [one for one in around if one.id in family.own])
    place = family.place
    if asked(request, "parents_as_ids"):
        found["parents"] = above(place.domain, family.above) if isinstance(place, Project) else None
    if asked(request, "subtree_as_ids"):
        found["subtree"] = below(place.id if isinstance(place, Project) else None, family.below)
    return found


async def wrapped(request: Request, around: list[Project]) -> list[dict[str, Any]]:
    """With the limits of each that are not the default, where `include_limits` asks for them."""
    found = [view(request, one) for one in around]
    if asked(request, "include_limits"):
        held = await unified_limits.of_projects(request.cloud, [one.id for one in around])
        for one, answer in zip(around, found, strict=True):
            answer["limits"] = [limits.bare(limit) for limit in held[one.id]]
    return [{"project": answer} for answer in found]


def above(domain: UUID, projects: list[Project]) -> dict[str, Any]:
    """The id of the nearest, with the one above that, up to the domain."""
    ids: dict[str, Any] = {domain_id(domain): None}
    for one in reversed(projects):
        ids = {one.id.hex: ids}
    return ids


def below(key: UUID | None, projects: list[Project]) -> dict[str, Any] | None:
    """The ids under one (None: under the domain), each with those under it; None for none."""
    children = [one.id for one in projects if one.parent == key]
    return {child.hex: below(child, projects) for child in children} or None


@SERVICE.operation(
    "PATCH",
    "/v3/projects/{project}",
    policy="identity:update_project",
    body=("project", UpdateProject),
)
async def update(request: Request, project: str, body: UpdateProject) -> dict[str, Any]:
    held = await found(request, "identity:update_project", project)
    extra = await changes(request, "project", UpdateProject, project, texts=True, empty=True)
    distinct(body.tags)
    refuse_moving(held, body)
    fields: dict[str, Any] = {
        "name": body.name,
        "description": text(body.description),
        "enabled": body.enabled,
        "tags": body.tags,
        "options": changed(body.options),
        "extra": kept(extra),
    }
    updated: Place
    if isinstance(held, Domain):
        want = core_domains.UpdateDomain(**fields)
        updated = await core_domains.update(request.cloud, request.caller, held.id, want)
    else:
        updated = await core.update(request.cloud, request.caller, held.id, core.UpdateProject(**fields))
    extra = {name: value for name, value in updated.extra.items() if name != "description"}
    return {"project": view(request, updated) | {"extra": extra}}


def refuse_moving(held: Place, body: UpdateProject) -> None:
    """A project stays where it is. Raises Invalid, Forbidden."""
    place = within(held)
    if body.domain_id is not UNSET and body.domain_id != place["domain_id"]:
        raise Invalid("Cannot change Domain ID; create a project there.")
    if body.parent_id is not UNSET and body.parent_id != place["parent_id"]:
        raise Forbidden("Update of `parent_id` is not allowed; create a project there.")
    if body.is_domain is not UNSET and body.is_domain != place["is_domain"]:
        raise Invalid("Update of `is_domain` is not allowed.")


@SERVICE.operation("DELETE", "/v3/projects/{project}", policy="identity:delete_project", status=204)
async def delete(request: Request, project: str) -> None:
    held = await found(request, "identity:delete_project", project)
    remove = core_domains.delete if isinstance(held, Domain) else core.delete
    await remove(request.cloud, request.caller, held.id)
