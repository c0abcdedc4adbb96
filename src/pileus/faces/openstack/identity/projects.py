"""/v3/projects and their tags."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.errors import Invalid, NotFound, Unsupported
from pileus.core.identity import projects as core
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import Project
from pileus.faces.openstack.identity.domains import text
from pileus.faces.openstack.identity.refs import (
    ShortName,
    domain_id,
    domain_key,
    filter_key,
    known_key,
    on,
    paged,
    self_link,
    target,
    url,
)
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request


class CreateProject(msgspec.Struct, frozen=True, kw_only=True):
    name: ShortName
    domain_id: str | None = None
    parent_id: str | None = None
    description: str | None = None
    enabled: bool = True
    is_domain: bool = False
    tags: tuple[str, ...] = ()


class UpdateProject(msgspec.Struct, frozen=True, kw_only=True):
    name: ShortName | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    domain_id: str | UnsetType = UNSET
    parent_id: str | UnsetType | None = UNSET


class ProjectQuery(msgspec.Struct, frozen=True, kw_only=True):
    name: str | None = None
    domain_id: str | None = None
    parent_id: str | None = None
    enabled: str | None = None
    is_domain: str | None = None
    tags: str | None = None
    tags_any: str | None = msgspec.field(default=None, name="tags-any")
    not_tags: str | None = msgspec.field(default=None, name="not-tags")
    not_tags_any: str | None = msgspec.field(default=None, name="not-tags-any")
    limit: int | None = None
    marker: str | None = None


def view(request: Request, project: Project) -> dict[str, Any]:
    key = project.id.hex
    domain = domain_id(project.domain)
    return {
        "id": key,
        "name": project.name,
        "domain_id": domain,
        "description": project.description,
        "enabled": project.enabled,
        "parent_id": project.parent.hex if project.parent else domain,
        "is_domain": False,
        "tags": list(project.tags),
        "options": {},
        "links": self_link(request, "projects", key),
    }


def target_of(project: Project) -> dict[str, str]:
    return target(project__id=project.id, project__domain_id=project.domain)


async def found(request: Request, rule: str, project: UUID) -> Project:
    """The project, when the rule lets the caller do this to it."""
    held = await core.show(request.cloud, request.caller, project)
    request.enforce(rule, target_of(held))
    return held


def tagged(project: Project, query: ProjectQuery) -> bool:
    """Whether the tags of a project pass the four filters."""
    tags = set(project.tags)

    def given(value: str | None) -> set[str] | None:
        return None if value is None else set(value.split(","))

    every, some = given(query.tags), given(query.tags_any)
    not_every, none = given(query.not_tags), given(query.not_tags_any)
    return (
        (every is None or every <= tags)
        and (some is None or bool(some & tags))
        and (not_every is None or not not_every <= tags)
        and (none is None or not none & tags)
    )


@SERVICE.operation("GET", "/v3/projects", policy="identity:list_projects", query=ProjectQuery)
async def list_all(request: Request, query: ProjectQuery) -> dict[str, Any]:
    domain, parent = filter_key(query.domain_id), filter_key(query.parent_id)
    request.enforce("identity:list_projects", target(domain_id=domain or request.caller.domain))
    of_domain = query.parent_id is not None and query.parent_id == domain_id(parent or ROOT)
    want = core.ProjectFilter(
        domain=domain,
        name=query.name,
        enabled=on(query.enabled) if query.enabled is not None else None,
        parent=parent,
    )
    shown = await core.list_all(request.cloud, request.caller, want)
    if of_domain and not shown:
        want = msgspec.structs.replace(want, domain=domain or parent, parent=None)
        shown = [
            project
            for project in await core.list_all(request.cloud, request.caller, want)
            if project.parent is None and project.domain == parent
        ]
    shown = [] if on(query.is_domain) else [project for project in shown if tagged(project, query)]
    return paged(
        request,
        "projects",
        shown,
        view,
        lambda project: project.id.hex,
        limit=query.limit,
        marker=query.marker,
    )


@SERVICE.operation(
    "POST",
    "/v3/projects",
    policy="identity:create_project",
    body=("project", CreateProject),
    status=201,
)
async def create(request: Request, body: CreateProject) -> dict[str, Any]:
    if body.is_domain:
        raise Unsupported("A project cannot act as a domain here; create a domain.")
    domain, parent = _place(request, body)
    request.enforce("identity:create_project", target(project__domain_id=domain))
    want = core.CreateProject(
        name=body.name,
        domain=domain,
        parent=parent,
        description=body.description or "",
        enabled=body.enabled,
        tags=body.tags,
    )
    return {"project": view(request, await core.create(request.cloud, request.caller, want))}


def _place(request: Request, body: CreateProject) -> tuple[UUID, UUID | None]:
    """The domain (by default the caller's) and the parent; a parent that is the domain is none."""
    caller = request.caller
    given = domain_key(body.domain_id) if body.domain_id is not None else None
    parent = domain_key(body.parent_id) if body.parent_id is not None else None
    domain = given or caller.domain or caller.project_domain or ROOT
    return domain, None if parent == domain else parent


@SERVICE.operation("GET", "/v3/projects/{project}", policy="identity:get_project")
async def show(request: Request, project: UUID) -> dict[str, Any]:
    return {"project": view(request, await found(request, "identity:get_project", project))}


@SERVICE.operation(
    "PATCH",
    "/v3/projects/{project}",
    policy="identity:update_project",
    body=("project", UpdateProject),
)
async def update(request: Request, project: UUID, body: UpdateProject) -> dict[str, Any]:
    held = await found(request, "identity:update_project", project)
    if isinstance(body.domain_id, str) and domain_key(body.domain_id) != held.domain:
        raise Invalid("A project cannot be moved to another domain; create one there.")
    if isinstance(body.parent_id, str) and known_key(body.parent_id, "Project") != held.parent:
        raise Invalid("A project cannot be moved under another parent; create one there.")
    want = core.UpdateProject(
        name=body.name, description=text(body.description), enabled=body.enabled, tags=body.tags
    )
    return {"project": view(request, await core.update(request.cloud, request.caller, project, want))}


@SERVICE.operation("DELETE", "/v3/projects/{project}", policy="identity:delete_project", status=204)
async def delete(request: Request, project: UUID) -> None:
    await found(request, "identity:delete_project", project)
    await core.delete(request.cloud, request.caller, project)


class Tags(msgspec.Struct, frozen=True, kw_only=True):
    tags: tuple[str, ...]


async def retag(request: Request, project: UUID, tags: tuple[str, ...]) -> Project:
    want = core.UpdateProject(tags=tags)
    return await core.update(request.cloud, request.caller, project, want)


def tags_view(request: Request, project: Project) -> dict[str, Any]:
    links = {"self": url(request, "projects", project.id.hex, "tags"), "previous": None, "next": None}
    return {"tags": list(project.tags), "links": links}


@SERVICE.operation("GET", "/v3/projects/{project}/tags", policy="identity:list_project_tags")
async def list_tags(request: Request, project: UUID) -> dict[str, Any]:
    return tags_view(request, await found(request, "identity:list_project_tags", project))


@SERVICE.operation("PUT", "/v3/projects/{project}/tags", policy="identity:update_project_tags", body=Tags)
async def replace_tags(request: Request, project: UUID, body: Tags) -> dict[str, Any]:
    await found(request, "identity:update_project_tags", project)
    return tags_view(request, await retag(request, project, body.tags))


@SERVICE.operation("DELETE", "/v3/projects/{project}/tags", policy="identity:delete_project_tags", status=204)
async def delete_tags(request: Request, project: UUID) -> None:
    await found(request, "identity:delete_project_tags", project)
    await retag(request, project, ())


@SERVICE.operation("GET", "/v3/projects/{project}/tags/{tag}", policy="identity:get_project_tag", status=204)
async def check_tag(request: Request, project: UUID, tag: str) -> None:
    held = await found(request, "identity:get_project_tag", project)
    if tag not in held.tags:
        raise NotFound("Project tag", tag[:64])


@SERVICE.operation(
    "PUT", "/v3/projects/{project}/tags/{tag}", policy="identity:create_project_tag", status=201
)
async def add_tag(request: Request, project: UUID, tag: str) -> None:
    held = await found(request, "identity:create_project_tag", project)
    await retag(request, project, (*held.tags, tag))


@SERVICE.operation(
    "DELETE", "/v3/projects/{project}/tags/{tag}", policy="identity:delete_project_tag", status=204
)
async def remove_tag(request: Request, project: UUID, tag: str) -> None:
    held = await found(request, "identity:delete_project_tag", project)
    if tag not in held.tags:
        raise NotFound("Project tag", tag[:64])
    await retag(request, project, tuple(kept for kept in held.tags if kept != tag))
