"""Domains: a tree, whose root is Keystone's `default` and CloudStack's ROOT."""

from uuid import UUID, uuid5

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Conflict, Exists, Forbidden, Invalid
from pileus.core.identity import authority, departures, projects, users
from pileus.core.identity.changes import changed, given
from pileus.core.identity.records import Domain, Project, User

ROOT = uuid5(UUID("6f0f6e5c-6d58-5c53-9d5b-1f0f5b1f7a10"), "domain/default")
"""The same in every cloud, so that tools may rely on it."""


class CreateDomain(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    parent: UUID = ROOT
    description: str = ""
    enabled: bool = True


class UpdateDomain(msgspec.Struct, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


async def create(cloud: Cloud, caller: Caller, want: CreateDomain) -> Domain:
    caller.require_admin("domain.create")
    async with cloud.transaction(caller) as tx:
        parent = await tx.get(Domain, want.parent)
        if parent.parent is None and parent.name == want.name:
            raise Exists(f"A domain named {want.name} exists already; choose another name.")
        return await tx.add(
            Domain(
                id=cloud.new_id(),
                name=want.name,
                parent=parent.id,
                description=want.description,
                enabled=want.enabled,
                created_at=cloud.now(),
            )
        )


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Domain:
    """A domain is seen by those who read it, and by everybody in it."""
    async with cloud.view() as look:
        if key not in (caller.domain, caller.project_domain, caller.user_domain):
            await authority.require_reads(look, caller, key, "domain.read")
        return await look.get(Domain, key)


async def list_all(
    cloud: Cloud, caller: Caller, *, name: str | None = None, enabled: bool | None = None
) -> list[Domain]:
    """All of them, or those at and under the caller's."""
    equals = {key: value for key, value in (("name", name), ("enabled", enabled)) if value is not None}
    async with cloud.view() as look:
        if authority.reads_everything(caller):
            return await look.list(Domain, order=("created_at",), **equals)
        if caller.domain is None:
            raise Forbidden("You are not authorized to perform the requested action: domain.read.")
        return await look.list(Domain, id=tuple(await authority.below(look, caller.domain)), **equals)


async def update(cloud: Cloud, caller: Caller, key: UUID, want: UpdateDomain) -> Domain:
    caller.require_admin("domain.update")
    async with cloud.transaction(caller) as tx:
        held = await tx.get(Domain, key)
        if held.parent is None and want.enabled is False:
            raise Forbidden("The root domain cannot be disabled; disable its projects or users one by one.")
        updated = await tx.put(msgspec.structs.replace(held, **given(want)))
        await changed(tx)
    return updated


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """With its users, roles and (empty) projects. It must be disabled first."""
    caller.require_admin("domain.delete")
    async with cloud.transaction(caller) as tx:
        held = await tx.get(Domain, key)
        if held.parent is None:
            raise Forbidden("The root domain cannot be deleted.")
        if held.enabled:
            raise Forbidden(f"Cannot delete domain {held.name}, which is enabled; disable it first.")
        if await tx.count(Domain, parent=key):
            raise Conflict(f"Domain {held.name} has domains below it; delete those first.")
        for project in await tx.list(Project, domain=key):
            await projects.remove(tx, project)
        for user in await tx.list(User, domain=key):
            await users.remove(tx, user)
        await departures.groups_and_roles(tx, key)
        await departures.clear(tx, departures.DOMAIN, key)
        await tx.remove(held)
        await changed(tx)


async def named(look: Look, name: str) -> Domain | None:
    """The domain that a name alone means: the root or one directly below it before those deeper."""
    found = await look.list(Domain, name=name)
    near = [domain for domain in found if domain.parent in (None, ROOT)]
    chosen = near or found
    if len(chosen) > 1:
        raise Invalid(f"Several domains are named {name}; use the id of the one you mean.")
    return chosen[0] if chosen else None
