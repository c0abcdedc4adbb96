"""The rows that stand for the people and groups of a directory, so that everything else finds ordinary users.

A user whom the directory has no more, or has disabled, is disabled without a name there (`external` empty) until it
comes back. One that has its name there and is disabled was disabled here, and stays so.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import UUID

import structlog
from msgspec.structs import replace

from pileus.core.cloud import Look, Tx
from pileus.core.identity.authentication.revocations import end_tokens
from pileus.core.identity.changes import changed
from pileus.core.identity.directories.directory import Binding, Entry, Team, group_id, user_id
from pileus.core.identity.records import Group, Membership, Project, Source, User

log = structlog.get_logger("pileus.directory")


async def keep(tx: Tx, binding: Binding, entry: Entry) -> User | None:
    """The user for an entry, made or brought up to date. None: another user of the domain has its name."""
    held = await tx.maybe(User, user_id(binding.domain, entry.id))
    if not await _free(tx, User, binding.domain, entry.name, held):
        log.warning("name taken", domain=binding.domain.hex, user=entry.name)
        return None
    fields = await _fields(tx, entry, held)
    if held is None:
        key = user_id(binding.domain, entry.id)
        made = User(id=key, domain=binding.domain, created_at=tx.cloud.now(), **fields)
        await changed(tx)
        return await tx.add(made)
    updated = replace(held, **fields)
    if updated != held:
        await tx.put(updated)
        if held.enabled and not updated.enabled:
            await end_tokens(tx, held.id)
        await changed(tx)
    return updated


async def _fields(look: Look, entry: Entry, held: User | None) -> dict[str, Any]:
    disabled_here = held is not None and is_disabled_here(held)
    fields: dict[str, Any] = {
        "name": entry.name,
        "email": entry.email,
        "first_name": entry.first_name,
        "last_name": entry.last_name,
        "description": entry.description,
        "enabled": entry.enabled and not disabled_here,
        "source": Source.LDAP,
        "external": entry.dn if entry.enabled or disabled_here else "",
        "password": "",
    }
    if entry.extra:
        fields["extra"] = {**(held.extra if held else {}), **entry.extra}
    if entry.default_project:
        project = await _project(look, entry.default_project)
        fields |= {"default_project": project.id} if project else {}
    return fields


def is_disabled_here(user: User) -> bool:
    return bool(user.external) and not user.enabled


async def _project(look: Look, text: str) -> Project | None:
    try:
        return await look.maybe(Project, UUID(text))
    except ValueError:
        return None


async def _free(tx: Tx, cls: type[User] | type[Group], domain: UUID, name: str, held: Any) -> bool:
    """Whether the name may be given. Who vanished from the directory gives it up."""
    if held is not None and held.name == name:
        return True
    other = await tx.one(cls, domain=domain, name=name)
    if other is None:
        return True
    if other.source is not Source.LDAP or other.external:
        return False
    await tx.put(replace(other, name=f"{name} (gone {other.id.hex[:8]})"))
    return True


async def vanish(tx: Tx, user: User) -> None:
    """The directory has the user no more: it is out at once. May be repeated."""
    if not user.external and not user.enabled:
        return
    await tx.put(replace(user, enabled=False, external=""))
    await end_tokens(tx, user.id)
    await changed(tx)


async def keep_group(tx: Tx, binding: Binding, team: Team) -> Group | None:
    """As `keep`, of a group; its members come by themselves."""
    key = group_id(binding.domain, team.id)
    held = await tx.maybe(Group, key)
    if not await _free(tx, Group, binding.domain, team.name, held):
        log.warning("name taken", domain=binding.domain.hex, group=team.name)
        return None
    fields: dict[str, Any] = {
        "name": team.name,
        "description": team.description,
        "source": Source.LDAP,
        "external": team.dn,
    }
    if held is None:
        return await tx.add(Group(id=key, domain=binding.domain, created_at=tx.cloud.now(), **fields))
    return await tx.put(replace(held, **fields))


async def lose_group(tx: Tx, group: Group) -> None:
    """The directory has the group no more: nobody is in it. What it was granted waits for it to come back."""
    for membership in await tx.list(Membership, group=group.id):
        await tx.remove(membership)
    if group.external:
        await tx.put(replace(group, external=""))
    await changed(tx)


async def place(tx: Tx, user: User, groups: Iterable[UUID]) -> None:
    """Make the user a member of these groups of its directory, and of no others of it."""
    ours = {group.id for group in await tx.list(Group, domain=user.domain, source=Source.LDAP)}
    wanted = set(groups) & ours
    held = {one.group: one for one in await tx.list(Membership, user=user.id) if one.group in ours}
    for group in held.keys() - wanted:
        await tx.remove(held[group])
    for group in wanted - held.keys():
        await tx.add(_membership(tx, group, user.id))
    if held.keys() != wanted:
        await changed(tx)


async def fill(tx: Tx, group: Group, wanted: Collection[UUID], users: Sequence[UUID]) -> None:
    """Of these users, those who are wanted are in the group of a directory, and the others are not."""
    there = {user.id for user in await tx.list(User, id=tuple(wanted))} if wanted else set()
    held = {one.user: one for one in await tx.list(Membership, group=group.id, user=tuple(users))}
    for user in held.keys() - there:
        await tx.remove(held[user])
    for user in there - held.keys():
        await tx.add(_membership(tx, group.id, user))
    if held.keys() != there:
        await changed(tx)


def _membership(tx: Tx, group: UUID, user: UUID) -> Membership:
    return Membership(id=tx.cloud.new_id(), group=group, user=user, created_at=tx.cloud.now())
