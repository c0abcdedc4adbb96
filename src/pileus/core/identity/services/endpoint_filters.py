"""Which endpoints a project sees: all, or those given to it one by one or by groups."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Exists, NotFound
from pileus.core.identity import departures
from pileus.core.identity.authorization import authority
from pileus.core.identity.changes import changed, given
from pileus.core.identity.records import Project
from pileus.core.identity.services.catalogue_records import (
    Endpoint,
    EndpointGroup,
    ProjectEndpoint,
    ProjectEndpointGroup,
)
from pileus.core.identity.services.offers import matches

GROUP: departures.Parts = ((ProjectEndpointGroup, "group"),)
TWICE = "Conflict occurred attempting to store {what} - Duplicate entry."


# --- endpoints of projects


async def endpoints_of(cloud: Cloud, caller: Caller, project: UUID) -> list[Endpoint]:
    """Those given to the project, one by one or by groups."""
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "endpoint_filter.read")
        await look.get(Project, project)
        single = {each.endpoint for each in await look.list(ProjectEndpoint, project=project)}
        groups = await _groups(look, project)
        everything = await look.list(Endpoint, order=("created_at",))
    return [
        endpoint
        for endpoint in everything
        if endpoint.id in single or any(matches(group, endpoint) for group in groups)
    ]


async def projects_of(cloud: Cloud, caller: Caller, endpoint: UUID) -> list[Project]:
    """The projects to which the endpoint was given by itself."""
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "endpoint_filter.read")
        await look.get(Endpoint, endpoint)
        given_to = [each.project for each in await look.list(ProjectEndpoint, endpoint=endpoint)]
        return await look.list(Project, id=tuple(given_to), order=("created_at",)) if given_to else []


async def give(cloud: Cloud, caller: Caller, project: UUID, endpoint: UUID) -> None:
    """Raises Exists when the project has it already."""
    caller.require_admin("endpoint_filter.create")
    async with cloud.transaction(caller) as tx:
        await tx.get(Endpoint, endpoint)
        await tx.get(Project, project)
        if await tx.maybe(ProjectEndpoint, project, endpoint) is not None:
            raise Exists(TWICE.format(what="project_endpoint"))
        await tx.add(ProjectEndpoint(project=project, endpoint=endpoint))
        await changed(tx)


async def check(cloud: Cloud, caller: Caller, project: UUID, endpoint: UUID) -> None:
    """Raises NotFound when the endpoint was not given to the project by itself."""
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "endpoint_filter.read")
        await look.get(Endpoint, endpoint)
        await look.get(Project, project)
        await _given(look, project, endpoint)


async def take(cloud: Cloud, caller: Caller, project: UUID, endpoint: UUID) -> None:
    caller.require_admin("endpoint_filter.delete")
    async with cloud.transaction(caller) as tx:
        await tx.remove(await _given(tx, project, endpoint))
        await changed(tx)


async def _given(look: Look, project: UUID, endpoint: UUID) -> ProjectEndpoint:
    found = await look.maybe(ProjectEndpoint, project, endpoint)
    if found is None:
        raise NotFound(f"Endpoint {endpoint.hex} in project", project.hex)
    return found


# --- groups of endpoints


class CreateGroup(msgspec.Struct, frozen=True, kw_only=True):
    """`filters`: values by the names in FILTERS, ids as 32 digits; what must be equal of an endpoint that is in it."""

    name: str
    filters: Mapping[str, Any]
    description: str = ""


class UpdateGroup(msgspec.Struct, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    filters: Mapping[str, Any] | UnsetType = UNSET
    description: str | UnsetType = UNSET


async def create_group(cloud: Cloud, caller: Caller, want: CreateGroup) -> EndpointGroup:
    caller.require_admin("endpoint_group.create")
    async with cloud.transaction(caller) as tx:
        made = await tx.add(
            EndpointGroup(
                id=cloud.new_id(),
                name=want.name,
                description=want.description,
                filters=dict(want.filters),
                created_at=cloud.now(),
            )
        )
        await changed(tx)
    return made


async def list_groups(cloud: Cloud, caller: Caller, *, name: str | None = None) -> list[EndpointGroup]:
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "endpoint_group.read")
        equals = {} if name is None else {"name": name}
        return await look.list(EndpointGroup, order=("created_at",), **equals)


async def show_group(cloud: Cloud, caller: Caller, key: UUID) -> EndpointGroup:
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "endpoint_group.read")
        return await look.get(EndpointGroup, key)


async def update_group(cloud: Cloud, caller: Caller, key: UUID, want: UpdateGroup) -> EndpointGroup:
    caller.require_admin("endpoint_group.update")
    async with cloud.transaction(caller) as tx:
        updated = await tx.put(replace(await tx.get(EndpointGroup, key), **given(want)))
        await changed(tx)
    return updated


async def delete_group(cloud: Cloud, caller: Caller, key: UUID) -> None:
    caller.require_admin("endpoint_group.delete")
    async with cloud.transaction(caller) as tx:
        held = await tx.get(EndpointGroup, key)
        await departures.clear(tx, GROUP, key)
        await tx.remove(held)
        await changed(tx)


async def endpoints_in(cloud: Cloud, caller: Caller, key: UUID) -> list[Endpoint]:
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "endpoint_group.read")
        group = await look.get(EndpointGroup, key)
        everything = await look.list(Endpoint, order=("created_at",))
    return [endpoint for endpoint in everything if matches(group, endpoint)]


async def projects_with(cloud: Cloud, caller: Caller, key: UUID) -> list[Project]:
    """The projects that the group is given to."""
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "endpoint_group.read")
        await look.get(EndpointGroup, key)
        held = [each.project for each in await look.list(ProjectEndpointGroup, group=key)]
        return await look.list(Project, id=tuple(held), order=("created_at",)) if held else []


async def groups_of(cloud: Cloud, caller: Caller, project: UUID) -> list[EndpointGroup]:
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "endpoint_group.read")
        await look.get(Project, project)
        return await _groups(look, project)


async def _groups(look: Look, project: UUID) -> list[EndpointGroup]:
    held = [each.group for each in await look.list(ProjectEndpointGroup, project=project)]
    return await look.list(EndpointGroup, id=tuple(held), order=("created_at",)) if held else []


async def give_group(cloud: Cloud, caller: Caller, group: UUID, project: UUID) -> None:
    """Raises Exists when the project has it already."""
    caller.require_admin("endpoint_group.give")
    async with cloud.transaction(caller) as tx:
        await tx.get(Project, project)
        await tx.get(EndpointGroup, group)
        if await tx.maybe(ProjectEndpointGroup, project, group) is not None:
            raise Exists(TWICE.format(what="project_endpoint_group"))
        await tx.add(ProjectEndpointGroup(project=project, group=group))
        await changed(tx)


async def check_group(cloud: Cloud, caller: Caller, group: UUID, project: UUID) -> None:
    """Raises NotFound when the group is not given to the project."""
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "endpoint_group.read")
        await _given_group(look, group, project)


async def take_group(cloud: Cloud, caller: Caller, group: UUID, project: UUID) -> None:
    caller.require_admin("endpoint_group.take")
    async with cloud.transaction(caller) as tx:
        await tx.remove(await _given_group(tx, group, project))
        await changed(tx)


async def _given_group(look: Look, group: UUID, project: UUID) -> ProjectEndpointGroup:
    await look.get(Project, project)
    await look.get(EndpointGroup, group)
    found = await look.maybe(ProjectEndpointGroup, project, group)
    if found is None:
        raise NotFound(f"Endpoint group {group.hex} in project", project.hex)
    return found
