"""Domains: a tree, whose root is Keystone's `default` and CloudStack's ROOT."""

from typing import Any
from uuid import UUID, uuid5

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Conflict, Exists, Forbidden, Invalid, NotFound
from pileus.core.identity import departures, new_ids, options, projects, users
from pileus.core.identity import tags as tagging
from pileus.core.identity.authorization import authority
from pileus.core.identity.changes import changed, given
from pileus.core.identity.federation import removal
from pileus.core.identity.listing import EVERYTHING, Found, Match, Window, equal, page
from pileus.core.identity.records import Domain, Project, User
from pileus.store import eq

ROOT = uuid5(UUID("6f0f6e5c-6d58-5c53-9d5b-1f0f5b1f7a10"), "domain/default")
"""The same in every cloud, so that tools may rely on it."""


class CreateDomain(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    id: UUID | None = None
    """Chosen by the caller; None: a fresh one."""
    parent: UUID = ROOT
    description: str = ""
    enabled: bool = True
    tags: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    extra: dict[str, Any] = {}


class UpdateDomain(msgspec.Struct, frozen=True, kw_only=True):
    """`options` and `extra` add to those there are."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    options: dict[str, Any] | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET


class DomainFilter(msgspec.Struct, frozen=True, kw_only=True):
    name: str | None = None
    enabled: bool | None = None
    names: tuple[Match, ...] = ()
    tags: tagging.Wanted = tagging.Wanted()
    within: UUID | None = None
    """Only those at and under this one."""


async def create(cloud: Cloud, caller: Caller, want: CreateDomain) -> Domain:
    caller.require_admin("domain.create")
    async with cloud.transaction(caller) as tx:
        parent = await tx.get(Domain, want.parent)
        await _free(tx, parent, want.name)
        return await tx.add(
            Domain(
                id=await new_ids.fresh(tx, want.id),
                name=want.name,
                parent=parent.id,
                description=want.description,
                enabled=want.enabled,
                tags=tagging.checked(want.tags),
                options=options.merged({}, want.options),
                extra=want.extra,
                created_at=cloud.now(),
            )
        )


async def _free(look: Look, parent: Domain, name: str) -> None:
    """The root's name counts as one of those directly below it, for Keystone's clients see them side by side."""
    if (parent.parent is None and parent.name == name) or await look.count(
        Domain, parent=parent.id, name=name
    ):
        raise Exists(f"A domain named {name} exists already; choose another name.")


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Domain:
    """A domain is seen by those who read it, and by everybody in it."""
    async with cloud.view() as look:
        if key not in (caller.domain, caller.project_domain, caller.user_domain):
            await authority.require_reads(look, caller, key, "domain.read")
        held = await look.maybe(Domain, key)
        if held is None:
            raise NotFound("Domain", key.hex)
        return held


async def require_known(cloud: Cloud, key: UUID) -> None:
    """Raises NotFound, to anybody: Keystone tells so of a domain that is to be changed before it asks who may."""
    async with cloud.view() as look:
        await _known(look, key)


async def list_all(
    cloud: Cloud, caller: Caller, *, name: str | None = None, enabled: bool | None = None
) -> list[Domain]:
    """All of them, or those at and under the caller's."""
    want = DomainFilter(name=name, enabled=enabled)
    return (await list_page(cloud, caller, want, EVERYTHING)).items


async def list_page(cloud: Cloud, caller: Caller, want: DomainFilter, window: Window) -> Found[Domain]:
    """As `list_all`. Raises NotFound for a marker that is nothing."""
    async with cloud.view() as look:
        where = want.tags.conditions()
        where += equal(name=want.name, enabled=want.enabled)
        top = want.within
        if not authority.reads_everything(caller):
            if caller.domain is None:
                raise Forbidden("You are not authorized to perform the requested action: domain.read.")
            top = caller.domain
        if top is not None:
            where.append(eq("id", tuple(await authority.below(look, top))))
        exact = want.tags.passes if want.tags.asked else None
        return await page(look, Domain, window, *where, exact=exact, names=want.names)


async def update(cloud: Cloud, caller: Caller, key: UUID, want: UpdateDomain) -> Domain:
    """Being disabled ends the tokens of its users, and those for its projects, at once."""
    caller.require_admin("domain.update")
    changes = given(want)
    async with cloud.transaction(caller) as tx:
        held = await _known(tx, key)
        options.refuse_immutable_update("domain", key, held.options, changes)
        if held.parent is None and changes.get("enabled") is False:
            raise Forbidden("The root domain cannot be disabled; disable its projects or users one by one.")
        if changes.get("name", held.name) != held.name and held.parent is not None:
            await _free(tx, await tx.get(Domain, held.parent), changes["name"])
        if "tags" in changes:
            changes["tags"] = tagging.checked(changes["tags"])
        if "options" in changes:
            changes["options"] = options.merged(held.options, changes["options"])
        if "extra" in changes:
            changes["extra"] = held.extra | changes["extra"]
        updated = await tx.put(msgspec.structs.replace(held, **changes))
        if changes.keys() & projects.SHOWN:
            await changed(tx)
    return updated


async def _known(look: Look, key: UUID) -> Domain:
    held = await look.maybe(Domain, key)
    if held is None:
        raise NotFound("Domain", key.hex)
    return held


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """With its users, roles and (empty) projects. It must be disabled first."""
    caller.require_admin("domain.delete")
    async with cloud.transaction(caller) as tx:
        held = await _known(tx, key)
        options.refuse_immutable_delete("domain", key, held.options)
        if held.parent is None:
            raise Forbidden("The root domain cannot be deleted.")
        if held.enabled:
            raise Forbidden("Cannot delete a domain that is enabled, please disable it first.")
        if await tx.count(Domain, parent=key):
            raise Conflict(f"Domain {held.name} has domains below it; delete those first.")
        for project in await tx.list(Project, domain=key):
            await projects.remove(tx, project)
        await removal.of_domain(tx, key)
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
