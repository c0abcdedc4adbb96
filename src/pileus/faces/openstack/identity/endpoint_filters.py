"""/v3/OS-EP-FILTER: which endpoints stand in the tokens of a project."""

from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.errors import Invalid
from pileus.core.identity.records import Project
from pileus.core.identity.services import endpoint_filters as core
from pileus.core.identity.services.catalogue_records import EndpointGroup
from pileus.faces.openstack.identity import endpoints, projects
from pileus.faces.openstack.identity.attributes import changes, text
from pileus.faces.openstack.identity.refs import Name, listed, self_link
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request

ROOT = "/v3/OS-EP-FILTER"
GROUPS = f"{ROOT}/endpoint_groups"


class Filters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    service_id: str | UnsetType = UNSET
    region_id: str | UnsetType | None = UNSET
    interface: Literal["public", "internal", "admin"] | UnsetType = UNSET


class CreateGroup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    filters: Filters
    description: str | None = None


class UpdateGroup(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Null filters are what clients send that do not change them."""

    name: Name | UnsetType = UNSET
    filters: Filters | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET


class GroupQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name | None = None


def view(request: Request, group: EndpointGroup) -> dict[str, Any]:
    key = group.id.hex
    return {
        "id": key,
        "name": group.name,
        "description": group.description or None,
        "filters": group.filters,
        "links": self_link(request, "OS-EP-FILTER", "endpoint_groups", key),
    }


def chosen(filters: Filters) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(filters)
    return found


def listed_projects(request: Request, found: list[Project]) -> dict[str, Any]:
    return listed(request, "projects", [projects.view(request, project) for project in found])


@SERVICE.operation("GET", GROUPS, policy="identity:list_endpoint_groups", query=GroupQuery)
async def list_all(request: Request, query: GroupQuery) -> dict[str, Any]:
    found = await core.list_groups(request.cloud, request.caller, name=query.name)
    return listed(request, "endpoint_groups", [view(request, group) for group in found])


@SERVICE.operation(
    "POST", GROUPS, policy="identity:create_endpoint_group", body=("endpoint_group", CreateGroup), status=201
)
async def create(request: Request, body: CreateGroup) -> dict[str, Any]:
    filters = chosen(body.filters)
    if not filters:
        raise Invalid("The field filters is required and cannot be empty.")
    want = core.CreateGroup(name=body.name, filters=filters, description=body.description or "")
    return {"endpoint_group": view(request, await core.create_group(request.cloud, request.caller, want))}


@SERVICE.operation("GET", GROUPS + "/{group}", policy="identity:get_endpoint_group")
async def show(request: Request, group: UUID) -> dict[str, Any]:
    return {"endpoint_group": view(request, await core.show_group(request.cloud, request.caller, group))}


@SERVICE.operation(
    "PATCH",
    GROUPS + "/{group}",
    policy="identity:update_endpoint_group",
    body=("endpoint_group", UpdateGroup),
)
async def update(request: Request, group: UUID, body: UpdateGroup) -> dict[str, Any]:
    await changes(request, "endpoint_group", UpdateGroup, group.hex)
    want = core.UpdateGroup(
        name=body.name,
        filters=UNSET if body.filters is UNSET or body.filters is None else chosen(body.filters),
        description=text(body.description),
    )
    updated = await core.update_group(request.cloud, request.caller, group, want)
    return {"endpoint_group": view(request, updated)}


@SERVICE.operation("DELETE", GROUPS + "/{group}", policy="identity:delete_endpoint_group", status=204)
async def delete(request: Request, group: UUID) -> None:
    await core.delete_group(request.cloud, request.caller, group)


@SERVICE.operation(
    "GET", GROUPS + "/{group}/endpoints", policy="identity:list_endpoints_associated_with_endpoint_group"
)
async def list_endpoints_in(request: Request, group: UUID) -> dict[str, Any]:
    found = await core.endpoints_in(request.cloud, request.caller, group)
    return listed(request, "endpoints", [endpoints.view(request, endpoint) for endpoint in found])


@SERVICE.operation(
    "GET", GROUPS + "/{group}/projects", policy="identity:list_projects_associated_with_endpoint_group"
)
async def list_projects_with(request: Request, group: UUID) -> dict[str, Any]:
    return listed_projects(request, await core.projects_with(request.cloud, request.caller, group))


@SERVICE.operation(
    "GET", GROUPS + "/{group}/projects/{project}", policy="identity:get_endpoint_group_in_project"
)
async def show_group_in_project(request: Request, group: UUID, project: UUID) -> dict[str, Any]:
    await core.check_group(request.cloud, request.caller, group, project)
    link = f"/OS-EP-FILTER/endpoint_groups/{group.hex}/projects/{project.hex}"
    shown = {"endpoint_group_id": group.hex, "project_id": project.hex, "links": {"self": link}}
    return {"project_endpoint_group": shown}


@SERVICE.operation(
    "PUT",
    GROUPS + "/{group}/projects/{project}",
    policy="identity:add_endpoint_group_to_project",
    status=204,
)
async def give_group(request: Request, group: UUID, project: UUID) -> None:
    await core.give_group(request.cloud, request.caller, group, project)


@SERVICE.operation(
    "DELETE",
    GROUPS + "/{group}/projects/{project}",
    policy="identity:remove_endpoint_group_from_project",
    status=204,
)
async def take_group(request: Request, group: UUID, project: UUID) -> None:
    await core.take_group(request.cloud, request.caller, group, project)


@SERVICE.operation(
    "GET", ROOT + "/endpoints/{endpoint}/projects", policy="identity:list_projects_for_endpoint"
)
async def list_projects_of(request: Request, endpoint: UUID) -> dict[str, Any]:
    return listed_projects(request, await core.projects_of(request.cloud, request.caller, endpoint))


@SERVICE.operation(
    "GET", ROOT + "/projects/{project}/endpoints", policy="identity:list_endpoints_for_project"
)
async def list_endpoints_of(request: Request, project: UUID) -> dict[str, Any]:
    found = await core.endpoints_of(request.cloud, request.caller, project)
    return listed(request, "endpoints", [endpoints.view(request, endpoint) for endpoint in found])


@SERVICE.operation(
    "GET", ROOT + "/projects/{project}/endpoint_groups", policy="identity:list_endpoint_groups_for_project"
)
async def list_groups_of(request: Request, project: UUID) -> dict[str, Any]:
    found = await core.groups_of(request.cloud, request.caller, project)
    return listed(request, "endpoint_groups", [view(request, group) for group in found])


@SERVICE.operation(
    "GET",
    ROOT + "/projects/{project}/endpoints/{endpoint}",
    policy="identity:check_endpoint_in_project",
    status=204,
)
async def check(request: Request, project: UUID, endpoint: UUID) -> None:
    await core.check(request.cloud, request.caller, project, endpoint)


@SERVICE.operation(
    "PUT",
    ROOT + "/projects/{project}/endpoints/{endpoint}",
    policy="identity:add_endpoint_to_project",
    status=204,
)
async def give(request: Request, project: UUID, endpoint: UUID) -> None:
    await core.give(request.cloud, request.caller, project, endpoint)


@SERVICE.operation(
    "DELETE",
    ROOT + "/projects/{project}/endpoints/{endpoint}",
    policy="identity:remove_endpoint_from_project",
    status=204,
)
async def take(request: Request, project: UUID, endpoint: UUID) -> None:
    await core.take(request.cloud, request.caller, project, endpoint)
