"""Server groups: servers that want to be together on one host, or apart. They join when they are made, or while stopped."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from msgspec.structs import replace

from pileus.core import quota
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.compute.records import Affinity, Server, ServerGroup, ServerGroupMember, State
from pileus.core.errors import Conflict, Exists, Invalid, NotFound, QuotaExceeded
from pileus.core.listing import Page, owned
from pileus.core.quota import UNLIMITED
from pileus.store import Condition

MEMBERS = "server_group_members"


class Create(msgspec.Struct, frozen=True, kw_only=True):
    project: UUID
    name: str
    description: str = ""
    affinity: Affinity
    most_per_host: int = 1
    distinct: bool = False
    """Refuse a name that the project has already."""


class Filled(msgspec.Struct, frozen=True):
    """A group with its members, in the order in which they were made."""

    group: ServerGroup
    members: list[UUID]


async def create(cloud: Cloud, caller: Caller, want: Create) -> Filled:
    """Raises Exists, Invalid, QuotaExceeded."""
    caller.require("server_group.create", project=want.project)
    if not want.name:
        raise Invalid("A server group needs a name.")
    if want.most_per_host < 1 or (want.most_per_host > 1 and want.affinity is not Affinity.APART):
        raise Invalid(
            "How many servers one host may have is said of groups that are apart only, and is at least 1."
        )
    async with cloud.transaction(caller) as tx:
        if want.distinct and await tx.one(ServerGroup, project=want.project, name=want.name):
            raise Exists(f"A server group with name {want.name} already exists in the project.")
        await tx.charge(want.project, "server_groups", 1)
        group = ServerGroup(
            id=cloud.new_id(),
            project=want.project,
            user=caller.user,
            name=want.name,
            description=want.description,
            affinity=want.affinity,
            most_per_host=want.most_per_host,
            created_at=cloud.now(),
        )
        return Filled(await tx.add(group), [])


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Filled:
    async with cloud.view() as look:
        group = await caller.find(look.rows, ServerGroup, key, "server_group.read")
        return (await filled(look, [group]))[0]


async def listing(
    cloud: Cloud,
    caller: Caller,
    *where: Condition,
    projects: Sequence[UUID] | None,
    skip: int = 0,
    limit: int | None = None,
    **equals: object,
) -> Page[ServerGroup]:
    """Of these projects; None: everybody's, for administrators."""
    async with cloud.view() as look:
        return await owned(
            look,
            caller,
            ServerGroup,
            *where,
            projects=projects,
            order=("created_at", "id"),
            skip=skip,
            limit=limit,
            **equals,
        )


async def filled(look: Look, groups: Sequence[ServerGroup]) -> list[Filled]:
    """Two readings for all."""
    members = await look.list(ServerGroupMember, group=tuple(group.id for group in groups)) if groups else []
    wanted = tuple({member.server for member in members})
    made = {server.id: server.created_at for server in await look.list(Server, id=wanted)} if wanted else {}
    inside: dict[UUID, list[UUID]] = {group.id: [] for group in groups}
    for member in sorted(members, key=lambda member: (made[member.server], member.server)):
        inside[member.group].append(member.server)
    return [Filled(group, inside[group.id]) for group in groups]


async def with_members(cloud: Cloud, groups: Sequence[ServerGroup]) -> list[Filled]:
    """Of groups that the caller was given already."""
    async with cloud.view() as look:
        return await filled(look, groups)


async def of_servers(look: Look, servers: Sequence[UUID]) -> dict[UUID, list[ServerGroup]]:
    """The groups of each of these servers, by name."""
    members = await look.list(ServerGroupMember, server=tuple(servers)) if servers else []
    wanted = tuple({member.group for member in members})
    known = {group.id: group for group in await look.list(ServerGroup, id=wanted)} if wanted else {}
    found: dict[UUID, list[ServerGroup]] = {server: [] for server in servers}
    for member in members:
        if member.group in known:
            found[member.server].append(known[member.group])
    return {
        server: sorted(groups, key=lambda group: (group.name, group.id)) for server, groups in found.items()
    }


async def remove(cloud: Cloud, caller: Caller, key: UUID) -> ServerGroup:
    """Its members stay where they are and leave it."""
    async with cloud.transaction(caller) as tx:
        group = await caller.find(tx.rows, ServerGroup, key, "server_group.delete")
        await tx.rows.delete_where(ServerGroupMember, group=key)
        await tx.charge(group.project, "server_groups", -1)
        await tx.remove(group)
        return group


async def join(tx: Tx, caller: Caller, server: Server, groups: Sequence[UUID]) -> list[ServerGroup]:
    """In the transaction that makes or changes the server. Raises NotFound, QuotaExceeded."""
    joined = []
    for key in dict.fromkeys(groups):
        group = await caller.find(tx.rows, ServerGroup, key, "server_group.read")
        if group.project != server.project:
            raise NotFound("ServerGroup", key)
        most = await quota.limit(tx.rows, group.project, MEMBERS)
        held = await tx.count(ServerGroupMember, group=key)
        if most != UNLIMITED and held >= most:
            raise QuotaExceeded(MEMBERS, limit=most, used=held, wanted=1)
        await tx.add(ServerGroupMember(group=key, server=server.id))
        joined.append(group)
    return joined


async def leave(tx: Tx, server: UUID) -> None:
    """All its groups; repeating is fine."""
    await tx.rows.delete_where(ServerGroupMember, server=server)


async def assign(cloud: Cloud, caller: Caller, server: UUID, groups: Sequence[UUID]) -> Server:
    """These groups instead of those it is in. Raises Conflict for a server that is not stopped, and for one whose
    host does not suit the group: it stays on its host."""
    async with cloud.transaction(caller) as tx:
        held = await caller.find(tx.rows, Server, server, "server.update")
        if held.state is not State.STOPPED:
            raise Conflict(f"Server {held.id} is {held.state}; stop it before its server groups are changed.")
        await leave(tx, held.id)
        for group in await join(tx, caller, held, groups):
            await _refuse_unsuited(tx, held, group)
        return await tx.put(replace(held, updated_at=cloud.now()))


async def _refuse_unsuited(look: Look, server: Server, group: ServerGroup) -> None:
    others = [member.server for member in await look.list(ServerGroupMember, group=group.id)]
    placed = [
        other
        for other in await look.list(Server, id=tuple(others))
        if other.id != server.id and other.host is not None
    ]
    here = [other for other in placed if other.host == server.host]
    if group.affinity is Affinity.APART and len(here) >= group.most_per_host:
        raise Conflict(
            f"Server {server.id} is on one host with other servers of group {group.name}, which are to be apart; "
            "make a new server in the group instead."
        )
    if group.affinity is Affinity.TOGETHER and len(here) < len(placed):
        raise Conflict(
            f"Server {server.id} is on another host than the servers of group {group.name}, which are to be "
            "together; make a new server in the group instead."
        )
