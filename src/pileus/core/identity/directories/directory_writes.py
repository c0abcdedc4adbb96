"""Changes of users and groups that are kept in a directory: they are made there first, then in their rows.

Each of these is asked before the row is changed, and does nothing for users and groups of our own. Raises Forbidden
where the domain's configuration does not allow the change.
"""

from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Conflict, Exists, Forbidden, Invalid
from pileus.core.identity.authentication.revocations import end_tokens
from pileus.core.identity.authorization import authority
from pileus.core.identity.changes import changed
from pileus.core.identity.directories import directory, directory_settings, shadows
from pileus.core.identity.directories.directory import Binding, Directory, Entry, user_id
from pileus.core.identity.records import Group, Membership, Project, Source, User

READ_ONLY = "LDAP does not support write operations"
"""As Keystone says it."""
THEIRS = ("name", "email", "first_name", "last_name", "description", "enabled")
"""What the directory keeps of a user, besides the password; the rest is in the row only."""
TEAMS = ("name", "description")


async def create_user(cloud: Cloud, caller: Caller, want: msgspec.Struct) -> User | None:
    """`want`: what users.create takes, of a caller who may. None: the domain keeps its users itself."""
    fields = msgspec.structs.asdict(want)
    binding = await directory_settings.of(cloud, fields["domain"])
    if binding is None or not binding.whole:
        return None
    async with cloud.view() as look:
        for project in {fields["account"], fields["default_project"]} - {None}:
            await look.get(Project, project)
        if await look.count(User, domain=binding.domain, name=fields["name"]):
            raise taken("user", fields["name"])
    there = await directory.of(cloud).at(binding)
    given = {name: fields[name] for name in THEIRS if name != "name"}
    entry = await there.add_person(fields["name"], fields["password"], given)
    async with cloud.transaction(caller) as tx:
        user = await shadows.keep(tx, binding, entry)
        if user is None:
            raise taken("user", fields["name"])
        ours = ("account", "default_project", "timezone", "options", "extra")
        return await tx.put(replace(user, **{name: fields[name] for name in ours if name in fields}))


async def update_user(cloud: Cloud, caller: Caller, key: UUID, changes: dict[str, Any]) -> dict[str, Any]:
    """Write what the directory keeps; what is returned is left for the row. A new password ends the user's tokens."""
    user, binding = await _user(cloud, caller, key, "user.update")
    if user is None or binding is None:
        return changes
    there = {
        name: changes[name] for name in THEIRS if name in changes and changes[name] != getattr(user, name)
    }
    ours = ("enabled",) if there.get("enabled") and shadows.is_disabled_here(user) else ()
    there = _without(there, *ours)
    password = changes.get("password")
    if not binding.whole:
        if password:
            raise Forbidden(READ_ONLY)
        return _without(changes, "password")
    opened = await directory.of(cloud).at(binding)
    if password == "":
        raise Invalid("A user of a directory keeps a password; give a new one.")
    dn = await _dn(opened, user) if there or password else ""
    if there:
        entry = await opened.change_person(dn, there)
        dn = entry.dn
        async with cloud.transaction(caller) as tx:
            await shadows.keep(tx, binding, entry)
    if password:
        await opened.set_password(dn, password)
        await _end(cloud, caller, key)
    return _without(changes, "password", *(name for name in THEIRS if name not in ours))


async def delete_user(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """Who vanished from the directory needs no leave to go."""
    user, binding = await _user(cloud, caller, key, "user.delete")
    if user is None or binding is None or not binding.whole or key == caller.user:
        return
    opened = await directory.of(cloud).at(binding)
    entry = await _entry(opened, user)
    if entry is not None:
        await opened.remove_person(entry.dn)


async def change_password(cloud: Cloud, user: User, original: str, new: str) -> bool:
    """By the user, whose old one was right. False: the password is kept here."""
    if user.source is not Source.LDAP:
        return False
    binding = await directory_settings.of(cloud, user.domain)
    if binding is None or not binding.whole:
        raise Forbidden(READ_ONLY)
    await (await directory.of(cloud).at(binding)).set_password(user.external, new, original)
    await _end(cloud, Caller(user=user.id, user_name=user.name, user_domain=user.domain), user.id)
    return True


async def create_group(cloud: Cloud, caller: Caller, want: msgspec.Struct) -> Group | None:
    """As `create_user`. Asks itself whether the caller may."""
    fields = msgspec.structs.asdict(want)
    binding = await directory_settings.of(cloud, fields["domain"])
    if binding is None or not binding.whole:
        return None
    async with cloud.view() as look:
        await authority.require_manages(look, caller, binding.domain, "group.create")
        if await look.count(Group, domain=binding.domain, name=fields["name"]):
            raise taken("group", fields["name"])
    team = await (await directory.of(cloud).at(binding)).add_group(fields["name"], fields["description"])
    async with cloud.transaction(caller) as tx:
        group = await shadows.keep_group(tx, binding, team)
        if group is None:
            raise taken("group", fields["name"])
        return await tx.put(replace(group, extra=fields["extra"]))


async def update_group(cloud: Cloud, caller: Caller, key: UUID, changes: dict[str, Any]) -> dict[str, Any]:
    group, binding = await _group(cloud, caller, key, "group.update")
    if group is None or binding is None:
        return changes
    there = {
        name: changes[name] for name in TEAMS if name in changes and changes[name] != getattr(group, name)
    }
    if there:
        team = await (await directory.of(cloud).at(binding)).change_group(group.external, there)
        async with cloud.transaction(caller) as tx:
            await shadows.keep_group(tx, binding, team)
    return _without(changes, *TEAMS)


async def delete_group(cloud: Cloud, caller: Caller, key: UUID) -> None:
    group, binding = await _group(cloud, caller, key, "group.delete")
    if group is not None and binding is not None and group.external:
        await (await directory.of(cloud).at(binding)).remove_group(group.external)


async def join(cloud: Cloud, caller: Caller, key: UUID, user: UUID) -> None:
    """Raises Forbidden also for a user of another directory, or of none."""
    group, binding = await _group(cloud, caller, key, "group.add_member")
    async with cloud.view() as look:
        member = await look.maybe(User, user)
    if group is None or binding is None or member is None:
        return
    if member.source is not Source.LDAP or member.domain != group.domain:
        raise Forbidden(
            "Group membership across backend boundaries is not allowed. Group in question is "
            f"{group.id.hex}, user is {user.hex}."
        )
    opened = await directory.of(cloud).at(binding)
    await opened.join(group.external, await _dn(opened, member))


async def leave(cloud: Cloud, caller: Caller, key: UUID, user: UUID) -> None:
    group, binding = await _group(cloud, caller, key, "group.remove_member")
    async with cloud.view() as look:
        member = await look.maybe(User, user)
        held = await look.one(Membership, group=key, user=user)
    if group is not None and binding is not None and member is not None and held is not None:
        opened = await directory.of(cloud).at(binding)
        await opened.leave(group.external, await _dn(opened, member))


async def _user(cloud: Cloud, caller: Caller, key: UUID, verb: str) -> tuple[User | None, Binding | None]:
    """A user of a directory, when the caller may do this to it. Raises Forbidden."""
    async with cloud.view() as look:
        held = await look.maybe(User, key)
        if held is None or held.source is not Source.LDAP:
            return None, None
        await authority.require_manages_user(look, caller, held, verb)
    return held, await directory_settings.of(cloud, held.domain)


async def _entry(opened: Directory, user: User) -> Entry | None:
    """The user's, also where it is disabled there."""
    found = await opened.find(dn=user.external) if user.external else None
    found = found or await opened.find(name=user.name)
    return found if found is not None and user_id(user.domain, found.id) == user.id else None


async def _dn(opened: Directory, user: User) -> str:
    entry = await _entry(opened, user)
    if entry is None:
        raise Conflict(f"User {user.name} is not in the directory any more.")
    return entry.dn


async def _group(cloud: Cloud, caller: Caller, key: UUID, verb: str) -> tuple[Group | None, Binding | None]:
    async with cloud.view() as look:
        held = await look.maybe(Group, key)
        if held is None or held.source is not Source.LDAP:
            return None, None
        await _require_group(look, caller, held, verb)
    binding = await directory_settings.of(cloud, held.domain)
    return held, binding if binding is not None and binding.whole else None


async def _require_group(look: Look, caller: Caller, group: Group, verb: str) -> None:
    await authority.require_manages(look, caller, group.domain, verb)
    if not caller.admin and await authority.administers(look, group.id):
        raise Forbidden(f"Group {group.name} is one of administrators; only they may do {verb}.")


async def _end(cloud: Cloud, caller: Caller, user: UUID) -> None:
    async with cloud.transaction(caller) as tx:
        await end_tokens(tx, user)
        await changed(tx)


def _without(changes: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name not in names}


def taken(what: str, name: str) -> Exists:
    return Exists(f"A {what} named {name} exists already in this domain; choose another name.")
