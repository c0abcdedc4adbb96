"""Groups of users: who is in one has the roles that the group has."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Exists, Forbidden, NotFound
from pileus.core.identity import departures
from pileus.core.identity.authorization import authority
from pileus.core.identity.changes import changed, given
from pileus.core.identity.directories import directory_refresh, directory_writes
from pileus.core.identity.listing import Found, Match, Window, equal, page
from pileus.core.identity.records import Domain, Group, Membership, User
from pileus.store import Condition, eq, le


class CreateGroup(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    domain: UUID
    description: str = ""
    extra: dict[str, Any] = {}


class UpdateGroup(msgspec.Struct, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class GroupFilter(msgspec.Struct, frozen=True, kw_only=True):
    domain: UUID | None = None
    name: str | None = None
    names: tuple[Match, ...] = ()
    user: UUID | None = None
    """Only those that the user is in."""
    within: UUID | None = None
    """Only those in the domains at and under this one."""


async def create(cloud: Cloud, caller: Caller, want: CreateGroup) -> Group:
    if (made := await directory_writes.create_group(cloud, caller, want)) is not None:
        return made
    async with cloud.transaction(caller) as tx:
        await authority.require_manages(tx, caller, want.domain, "group.create")
        if await tx.maybe(Domain, want.domain) is None:
            raise NotFound("Domain", want.domain.hex)
        await _free(tx, want.domain, want.name)
        fields = msgspec.structs.asdict(want)
        return await tx.add(Group(id=cloud.new_id(), created_at=cloud.now(), **fields))


async def _free(look: Look, domain: UUID, name: str) -> None:
    if await look.count(Group, domain=domain, name=name):
        raise Exists(f"A group named {name} exists already in this domain; choose another name.")


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Group:
    async with cloud.view() as look:
        held = await look.maybe(Group, key)
        await authority.require_reads(look, caller, held.domain if held else None, "group.read")
        if held is None:
            raise NotFound("Group", key.hex)
        return held


async def list_page(cloud: Cloud, caller: Caller, want: GroupFilter, window: Window) -> Found[Group]:
    """Raises NotFound for a marker that is nothing."""
    await directory_refresh.freshen(cloud, want.domain or caller.domain)
    async with cloud.view() as look:
        domain = want.domain
        where: list[Condition] = []
        if want.user is not None:
            await _require_reads_user(look, caller, want.user)
            held = await look.list(Membership, user=want.user)
            where.append(eq("id", {membership.group for membership in held}))
        elif not authority.reads_everything(caller):
            domain = domain or caller.domain
            await authority.require_reads(look, caller, want.within or domain, "group.read")
        if want.within is not None:
            where.append(eq("domain", tuple(await authority.below(look, want.within))))
        return await page(
            look, Group, window, *where, *equal(domain=domain, name=want.name), names=want.names
        )


async def ends(cloud: Cloud, user: UUID) -> dict[UUID, datetime]:
    """When the user's memberships end, by group, of those that do."""
    async with cloud.view() as look:
        held = await look.list(Membership, user=user)
    return {one.group: one.expires_at for one in held if one.expires_at is not None}


async def _require_reads_user(look: Look, caller: Caller, user: UUID) -> None:
    held = await look.maybe(User, user)
    if caller.user != user:
        await authority.require_reads(look, caller, held.domain if held else None, "group.read")
    if held is None:
        raise NotFound("User", user.hex)


async def update(cloud: Cloud, caller: Caller, key: UUID, want: UpdateGroup) -> Group:
    changes = await directory_writes.update_group(cloud, caller, key, given(want))
    async with cloud.transaction(caller) as tx:
        held = await _managed(tx, caller, key, "group.update")
        if changes.get("name", held.name) != held.name:
            await _free(tx, held.domain, changes["name"])
        if "extra" in changes:
            changes["extra"] = held.extra | changes["extra"]
        return await tx.put(msgspec.structs.replace(held, **changes))


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """With its roles and memberships: at once nobody has a role through it."""
    await directory_writes.delete_group(cloud, caller, key)
    async with cloud.transaction(caller) as tx:
        held = await _managed(tx, caller, key, "group.delete")
        await remove(tx, held)
        await changed(tx)


async def remove(tx: Tx, group: Group) -> None:
    await departures.clear(tx, departures.GROUP, group.id)
    await tx.remove(group)


async def add_member(cloud: Cloud, caller: Caller, key: UUID, user: UUID) -> None:
    """Repeating is fine; a membership that was to end by itself then stays."""
    await directory_writes.join(cloud, caller, key, user)
    async with cloud.transaction(caller) as tx:
        await _managed(tx, caller, key, "group.add_member")
        if await tx.maybe(User, user) is None:
            raise NotFound("User", user.hex)
        held = await tx.one(Membership, group=key, user=user)
        if held is None:
            await tx.add(Membership(id=cloud.new_id(), group=key, user=user, created_at=cloud.now()))
        else:
            await tx.put(msgspec.structs.replace(held, expires_at=None))
        await changed(tx)


async def has_member(cloud: Cloud, caller: Caller, key: UUID, user: UUID) -> bool:
    """Raises NotFound when there is no such group or user."""
    group = await show(cloud, caller, key)
    async with cloud.view() as look:
        if await look.maybe(User, user) is None:
            raise NotFound("User", user.hex)
        held = await look.one(Membership, group=group.id, user=user)
        return held is not None and (held.expires_at is None or held.expires_at > cloud.now())


async def remove_member(cloud: Cloud, caller: Caller, key: UUID, user: UUID) -> None:
    """What the user had through the group ends at once. Raises NotFound when it is not in it."""
    await directory_writes.leave(cloud, caller, key, user)
    async with cloud.transaction(caller) as tx:
        await _managed(tx, caller, key, "group.remove_member")
        held = await tx.one(Membership, group=key, user=user)
        if held is None:
            raise NotFound("User", f"{user.hex} in group {key.hex}")
        await tx.remove(held)
        await changed(tx)


async def expire(cloud: Cloud) -> int:
    """Remove the memberships that have ended, and with them what they gave. Returns how many; repeating is fine."""
    over = le("expires_at", cloud.now())
    async with cloud.view() as look:
        if not await look.count(Membership, over):
            return 0
    async with cloud.transaction() as tx:
        ended = await tx.list(Membership, over)
        for membership in ended:
            await tx.remove(membership)
        await changed(tx)
    return len(ended)


async def _managed(tx: Tx, caller: Caller, key: UUID, verb: str) -> Group:
    """Raises Forbidden. As with users, a domain's manager has no power over a group of administrators, or would join."""
    held = await tx.maybe(Group, key)
    await authority.require_manages(tx, caller, held.domain if held else None, verb)
    if held is None:
        raise NotFound("Group", key.hex)
    if not caller.admin and await authority.administers(tx, key):
        raise Forbidden(
            f"Group {held.name} has the role of an administrator; only administrators may do {verb}."
        )
    return held
