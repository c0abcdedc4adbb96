"""/v3/projects/{project}/tags."""

from typing import Any
from urllib.parse import quote

import msgspec

from pileus.core.errors import NotFound
from pileus.core.identity import domains as core_domains
from pileus.core.identity import projects as core
from pileus.core.identity.records import Domain
from pileus.faces.openstack.identity.attributes import distinct
from pileus.faces.openstack.identity.projects import Place, found, place_id
from pileus.faces.openstack.identity.refs import url
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request, Response

PATH = "/v3/projects/{project}/tags"


class Tags(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    tags: tuple[str, ...]


async def retag(request: Request, place: Place, tags: tuple[str, ...]) -> Place:
    if isinstance(place, Domain):
        want = core_domains.UpdateDomain(tags=tags)
        return await core_domains.update(request.cloud, request.caller, place.id, want)
    return await core.update(request.cloud, request.caller, place.id, core.UpdateProject(tags=tags))


def view(request: Request, place: Place) -> dict[str, Any]:
    return {"links": {"self": url(request, "projects", place_id(place), "tags")}, "tags": list(place.tags)}


@SERVICE.operation("GET", PATH, policy="identity:list_project_tags")
async def list_all(request: Request, project: str) -> dict[str, Any]:
    return view(request, await found(request, "identity:list_project_tags", project))


@SERVICE.operation("PUT", PATH, policy="identity:update_project_tags", body=Tags)
async def replace(request: Request, project: str, body: Tags) -> dict[str, Any]:
    held = await found(request, "identity:update_project_tags", project)
    distinct(body.tags)
    return view(request, await retag(request, held, body.tags)) | {"tags": list(body.tags)}


@SERVICE.operation("DELETE", PATH, policy="identity:delete_project_tags", status=204)
async def delete_all(request: Request, project: str) -> None:
    await retag(request, await found(request, "identity:delete_project_tags", project), ())


@SERVICE.operation("GET", PATH + "/{tag}", policy="identity:get_project_tag", status=204)
async def check(request: Request, project: str, tag: str) -> None:
    held = await found(request, "identity:get_project_tag", project)
    if tag not in held.tags:
        raise NotFound("project tag", tag[:64])


@SERVICE.operation("PUT", PATH + "/{tag}", policy="identity:create_project_tag", status=201)
async def add(request: Request, project: str, tag: str) -> Response:
    held = await found(request, "identity:create_project_tag", project)
    await retag(request, held, (*held.tags, tag))
    return Response(
        201, None, {"location": url(request, "projects", place_id(held), "tags", quote(tag, safe=""))}
    )


@SERVICE.operation("DELETE", PATH + "/{tag}", policy="identity:delete_project_tag", status=204)
async def delete(request: Request, project: str, tag: str) -> None:
    held = await found(request, "identity:delete_project_tag", project)
    if tag not in held.tags:
        raise NotFound("project tag", tag[:64])
    await retag(request, held, tuple(kept for kept in held.tags if kept != tag))
