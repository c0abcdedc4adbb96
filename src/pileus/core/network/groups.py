"""Security groups: what may reach the ports that are in them, and the default group that every project has."""

from collections.abc import Sequence
from uuid import UUID, uuid5

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.network.changes import amend, given, unchanged_since
from pileus.core.network.errors import (
    DefaultGroupExists,
    DefaultGroupRemoved,
    DefaultGroupRenamed,
    GroupInUse,
)
from pileus.core.network.records import Port, SecurityGroup, SecurityRule
from pileus.core.network.sync import sync
from pileus.core.network.visible import projects

DEFAULT = "default"


class GroupWant(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str = ""
    stateful: bool = True
    project: UUID | None = None
    tags: tuple[str, ...] = ()


class GroupChange(msgspec.Struct, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    stateful: bool | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET


def default_id(project: UUID) -> UUID:
    """Known beforehand, so that two first looks cannot make two default groups."""
    return uuid5(project, "default security group")


async def default(tx: Tx, project: UUID) -> SecurityGroup:
    """The project's default group; made, with the rules that let its members talk, where it is missing."""
    found = await tx.maybe(SecurityGroup, default_id(project))
    if found is not None:
        return found
    group = await _add(
        tx, default_id(project), project, GroupWant(name=DEFAULT, description="Default security group")
    )
    for ethertype in (4, 6):
        await add_rule(tx, group, direction="ingress", ethertype=ethertype, remote_group=group.id)
    return group


async def create(cloud: Cloud, caller: Caller, want: GroupWant) -> tuple[SecurityGroup, list[SecurityRule]]:
    return (await create_all(cloud, caller, (want,)))[0]


async def create_all(
    cloud: Cloud, caller: Caller, wants: Sequence[GroupWant]
) -> list[tuple[SecurityGroup, list[SecurityRule]]]:
    """All or none."""
    async with cloud.transaction(caller) as tx:
        made = []
        for want in wants:
            project = want.project or caller.home
            caller.require("security_group.create", project=project)
            await default(tx, project)
            if want.name == DEFAULT:
                raise DefaultGroupExists
            group = await _add(tx, cloud.new_id(), project, want)
            made.append((group, await rules_of(tx, group.id)))
        return made


async def _add(tx: Tx, id: UUID, project: UUID, want: GroupWant) -> SecurityGroup:
    now = tx.cloud.now()
    await tx.charge(project, "security_groups", 1)
    group = await tx.add(
        SecurityGroup(
            id=id,
            project=project,
            name=want.name,
            description=want.description,
            default=id == default_id(project),
            stateful=want.stateful,
            tags=want.tags,
            created_at=now,
            updated_at=now,
        )
    )
    for ethertype in (4, 6):
        await add_rule(tx, group, direction="egress", ethertype=ethertype)
    await sync(tx, group)
    return group


async def add_rule(
    tx: Tx, group: SecurityGroup, *, direction: str, ethertype: int = 4, remote_group: UUID | None = None
) -> SecurityRule:
    """A rule for all protocols, as a new group begins with."""
    await tx.charge(group.project, "security_rules", 1)
    return await tx.add(
        SecurityRule(
            id=tx.cloud.new_id(),
            project=group.project,
            group=group.id,
            direction=direction,
            ethertype=ethertype,
            remote_group=remote_group,
            created_at=tx.cloud.now(),
        )
    )


async def rules_of(look: Look, group: UUID) -> list[SecurityRule]:
    return await look.list(SecurityRule, group=group, order=("created_at", "id"))


async def show(cloud: Cloud, caller: Caller, key: UUID) -> tuple[SecurityGroup, list[SecurityRule]]:
    await ensure_default(cloud, caller)
    async with cloud.view() as look:
        group = await caller.find(look.rows, SecurityGroup, key, "security_group.read")
        return group, await rules_of(look, group.id)


async def list_(
    cloud: Cloud, caller: Caller, **equals: object
) -> list[tuple[SecurityGroup, list[SecurityRule]]]:
    """The caller's groups with their rules, in order of making."""
    await ensure_default(cloud, caller)
    async with cloud.view() as look:
        groups = await look.list(SecurityGroup, **projects(caller, equals), order=("created_at", "id"))
        by_group: dict[UUID, list[SecurityRule]] = {group.id: [] for group in groups}
        for rule in await look.list(SecurityRule, group=tuple(by_group), order=("created_at", "id")):
            by_group[rule.group].append(rule)
        return [(group, by_group[group.id]) for group in groups]


async def ensure_default(cloud: Cloud, caller: Caller) -> None:
    """The first look makes the default group of the caller's project."""
    if caller.project is None:
        return
    async with cloud.view() as look:
        if await look.maybe(SecurityGroup, default_id(caller.project)) is not None:
            return
    async with cloud.transaction(caller) as tx:
        await default(tx, caller.project)


async def update(
    cloud: Cloud, caller: Caller, key: UUID, change: GroupChange, *, revision: int | None = None
) -> tuple[SecurityGroup, list[SecurityRule]]:
    async with cloud.transaction(caller) as tx:
        group = await caller.find(tx.rows, SecurityGroup, key, "security_group.update")
        unchanged_since(group, revision)
        changes = given(change)
        if group.default and changes.get("name", group.name) != group.name:
            raise DefaultGroupRenamed
        if not group.default and changes.get("name") == DEFAULT:
            raise DefaultGroupExists
        group = await amend(tx, group, **changes)
        return group, await rules_of(tx, group.id)


async def delete(cloud: Cloud, caller: Caller, key: UUID, *, revision: int | None = None) -> None:
    async with cloud.transaction(caller) as tx:
        group = await caller.find(tx.rows, SecurityGroup, key, "security_group.delete")
        unchanged_since(group, revision)
        if group.default and not caller.admin:
            raise DefaultGroupRemoved
        if (port := await member(tx, group)) is not None:
            raise GroupInUse(group.id, port.id)
        await remove(tx, group)


async def member(look: Look, group: SecurityGroup) -> Port | None:
    """A port of its project that is in the group."""
    ports = await look.list(Port, project=group.project)
    return next((port for port in ports if group.id in port.groups), None)


async def remove(tx: Tx, group: SecurityGroup) -> None:
    """Take the group away with its rules, and with the rules elsewhere that name it."""
    mine = await rules_of(tx, group.id)
    others = [rule for rule in await tx.list(SecurityRule, remote_group=group.id) if rule.group != group.id]
    for rule in mine + others:
        await tx.charge(rule.project, "security_rules", -1)
        await tx.remove(rule)
    for key in sorted({rule.group for rule in others}):
        await sync(tx, await tx.get(SecurityGroup, key))
    await tx.charge(group.project, "security_groups", -1)
    await tx.remove(group)
    await sync(tx, group)
