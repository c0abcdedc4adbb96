"""Affinity groups: the core's server groups."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from pileus.core.caller import Caller
from pileus.core.cloud import Look
from pileus.core.compute import server_groups
from pileus.core.compute.records import Affinity, Server, ServerGroup, ServerGroupMember
from pileus.core.errors import Exists, Invalid
from pileus.faces.cloudstack import owners
from pileus.faces.cloudstack.commands import Call, Done, Listed, command, view
from pileus.faces.cloudstack.errors import missing
from pileus.faces.cloudstack.guest_os import cut
from pileus.faces.cloudstack.params import Listing, Params, Placed, ProjectListing, param
from pileus.store import like, literal

TYPE: Mapping[Affinity, str] = {
    Affinity.APART: "host anti-affinity",
    Affinity.TOGETHER: "host affinity",
    Affinity.SOFT_APART: "non-strict host anti-affinity",
    Affinity.SOFT_TOGETHER: "non-strict host affinity",
}
AFFINITY = {name: affinity for affinity, name in TYPE.items()}


class CreateGroup(Placed):
    name: str = param("name", "the name")
    type: str = param(
        "type", "what its machines want of each other, of those that listAffinityGroupTypes lists"
    )
    description: str = param("description", "what it is for", default="")


class DeleteGroup(Placed):
    group: UUID | None = param("id", "the affinity group; or its name", default=None)
    name: str = param("name", "its name; or its id", default="")


class ListGroups(ProjectListing):
    id: UUID | None = param("id", "list by id", default=None)
    name: str = param("name", "list by name", default="")
    type: str = param("type", "list by type", default="")
    server: UUID | None = param("virtualmachineid", "list those of a machine", default=None)


class UpdateServer(Params):
    server: UUID = param("id", "the virtual machine, which must be stopped")
    groups: tuple[UUID, ...] = param(
        "affinitygroupids", "the affinity groups to be in, instead of the present ones", default=()
    )
    names: tuple[str, ...] = param("affinitygroupnames", "the same, by name", default=())


@view(ServerGroup, "affinitygroup", "AffinityGroup")
async def shown(call: Call, look: Look, groups: Sequence[ServerGroup]) -> list[dict[str, Any]]:
    holders = await owners.shown(look, (group.project for group in groups))
    return [
        group_shown(found.group) | {"virtualmachineIds": found.members} | holders.get(found.group.project, {})
        for found in await server_groups.filled(look, groups)
    ]


def group_shown(group: ServerGroup) -> dict[str, Any]:
    return {
        "id": group.id,
        "name": group.name,
        "description": group.description,
        "type": TYPE[group.affinity],
    }


@command("listAffinityGroupTypes", params=Listing, key="affinityGroupType")
async def types(call: Call, params: Listing) -> Listed[Any]:
    """Lists what the machines of an affinity group can want of each other."""
    return cut([{"type": name} for name in AFFINITY if params.keyword.lower() in name], params)


@command("createAffinityGroup", params=CreateGroup, view=shown)
async def create(call: Call, params: CreateGroup) -> Done:
    """Creates an affinity group."""
    caller = await owners.acting(call, params)
    affinity = AFFINITY.get(params.type.lower())
    if affinity is None:
        raise Invalid(
            f"Unable to create affinity group, invalid affinity group type {params.type[:100]}; "
            f"use one of {', '.join(AFFINITY)}."
        )
    want = server_groups.Create(
        project=caller.home,
        name=params.name,
        description=params.description,
        affinity=affinity,
        distinct=True,
    )
    try:
        return Done(record=(await server_groups.create(call.cloud, caller, want)).group)
    except Exists:
        raise Exists(
            f"Unable to create affinity group, a group with name {params.name} already exists."
        ) from None


@command("listAffinityGroups", params=ListGroups, view=shown)
async def listing(call: Call, params: ListGroups) -> Listed[ServerGroup]:
    """Lists affinity groups."""
    where = [like("name", f"%{literal(params.keyword)}%")] if params.keyword else []
    equals: dict[str, Any] = {"name": params.name} if params.name else {}
    if params.type:
        affinity = AFFINITY.get(params.type.lower())
        if affinity is None:
            return Listed([], 0)
        equals["affinity"] = affinity
    async with call.cloud.view() as look:
        keys = {params.id} if params.id else set()
        if params.server is not None:
            await call.caller.find(look.rows, Server, params.server, "server.read")
            inside = {member.group for member in await look.list(ServerGroupMember, server=params.server)}
            keys = keys & inside if keys else inside
            if not keys:
                return Listed([], 0)
        if keys:
            equals["id"] = tuple(keys)
        found = await owners.listed(call, look, params, ServerGroup, *where, **equals)
    return Listed(found.items, found.total)


@command("deleteAffinityGroup", params=DeleteGroup)
async def delete(call: Call, params: DeleteGroup) -> Done:
    """Deletes an affinity group; its machines stay where they are."""
    caller = await owners.acting(call, params)
    if params.group is None and not params.name:
        raise missing(call.name, "id")
    key = params.group or (await by_names(call, caller, caller.home, (params.name,)))[0]
    removed = await server_groups.remove(call.cloud, caller, key)
    return Done(subject=removed.id, kind="server_group")


@command("updateVMAffinityGroup", params=UpdateServer)
async def assign(call: Call, params: UpdateServer) -> Done:
    """Puts a stopped machine into these affinity groups, and out of all others."""
    async with call.cloud.view() as look:
        server = await call.caller.find(look.rows, Server, params.server, "server.update")
    wanted = await chosen(call, call.caller, server.project, params.groups, params.names)
    return Done(record=await server_groups.assign(call.cloud, call.caller, server.id, wanted))


async def chosen(
    call: Call, caller: Caller, project: UUID, keys: tuple[UUID, ...], names: tuple[str, ...]
) -> tuple[UUID, ...]:
    """The groups that are named by id or by name. Raises Invalid for both at once."""
    if keys and names:
        raise Invalid("affinitygroupids and affinitygroupnames exclude each other; send one of them.")
    return keys or await by_names(call, caller, project, names)


async def by_names(call: Call, caller: Caller, project: UUID, names: Sequence[str]) -> tuple[UUID, ...]:
    """Raises Invalid for a name that the project's groups do not have, or several have."""
    found = []
    for name in names:
        held = (await server_groups.listing(call.cloud, caller, projects=(project,), name=name)).items
        if not held:
            raise Invalid(
                f"Unable to find an affinity group with name {name[:100]}; listAffinityGroups lists them."
            )
        if len(held) > 1:
            raise Invalid(f"Several affinity groups have the name {name[:100]}; say which one by its id.")
        found.append(held[0].id)
    return tuple(found)
