"""Domains as a tree that its managers shape: made below, renamed, moved, and deleted with all that is in them."""

from collections.abc import Iterable
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core import deletion
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Conflict, Exists, Forbidden, InUse, Invalid, NotFound
from pileus.core.identity import departures, domain_limits, new_ids
from pileus.core.identity.authorization import authority
from pileus.core.identity.changes import changed
from pileus.core.identity.records import Domain, Project, User
from pileus.core.identity.tenancy import accounts
from pileus.core.operations import LIVE, Accepted, Operation

DELETE = "domain.delete"
DEEPEST = 255
"""Parts of a path; a guard against a tree that nobody can walk."""


class CreateDomain(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    parent: UUID
    network_domain: str = ""
    id: UUID | None = None


class UpdateDomain(msgspec.Struct, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    network_domain: str | UnsetType = UNSET


async def create(cloud: Cloud, caller: Caller, want: CreateDomain) -> Domain:
    """Below one that the caller manages. Raises Exists, Conflict, NotFound, Invalid."""
    accounts.network_domain(want.network_domain)
    named(want.name)
    async with cloud.transaction(caller) as tx:
        parent = await managed(tx, caller, want.parent, "domain.create")
        if not parent.enabled:
            raise Conflict(f"The domain cannot be made, because {parent.name} above it is disabled.")
        await _free(tx, parent.id, want.name)
        return await tx.add(
            Domain(
                id=await new_ids.fresh(tx, want.id),
                name=want.name,
                parent=parent.id,
                network_domain=want.network_domain,
                created_at=cloud.now(),
            )
        )


def named(name: str) -> None:
    """A name is a part of a path. Raises Invalid."""
    if not name.strip() or "/" in name or len(name) > DEEPEST:
        raise Invalid(f"{name[:80]!r} cannot name a domain: it needs 1 to 255 characters, and no slash.")


async def _free(look: Look, parent: UUID, name: str) -> None:
    if await look.count(Domain, parent=parent, name=name):
        raise Exists(f"Domain with name [{name}] already exists for the parent with ID [{parent}].")


async def managed(look: Look, caller: Caller, key: UUID, verb: str) -> Domain:
    """Raises NotFound, also for one that the caller may not see; Forbidden."""
    held = await look.maybe(Domain, key)
    if held is None or not (key == caller.user_domain or await authority.reads(look, caller, key)):
        raise NotFound("Domain", key)
    await authority.require_manages(look, caller, key, verb)
    return held


async def update(cloud: Cloud, caller: Caller, key: UUID, want: UpdateDomain) -> Domain:
    async with cloud.transaction(caller) as tx:
        held = await managed(tx, caller, key, "domain.update")
        changes: dict[str, object] = {}
        if want.name is not UNSET and want.name != held.name:
            named(want.name)
            if held.parent is None:
                raise Invalid("The ROOT domain cannot be given another name.")
            await _free(tx, held.parent, want.name)
            changes["name"] = want.name
        if want.network_domain is not UNSET:
            changes["network_domain"] = accounts.network_domain(want.network_domain)
        updated = await tx.put(msgspec.structs.replace(held, **changes))
        await changed(tx)
    return updated


async def move(cloud: Cloud, caller: Caller, key: UUID, parent: UUID) -> Domain:
    """With all below it, under another. Raises Invalid for a place that cannot be, Exists for a name that is taken."""
    async with cloud.transaction(caller) as tx:
        held = await managed(tx, caller, key, "domain.move")
        above = await managed(tx, caller, parent, "domain.move")
        if held.parent is None:
            raise Invalid("The domain to be moved cannot be the ROOT domain.")
        if held.id == above.id:
            raise Invalid("The domain to be moved and the new parent domain cannot be the same.")
        if held.parent == above.id:
            raise Invalid(f"Domain {held.name} is below {above.name} already.")
        if held.id in await authority.lineage(tx, above.id):
            raise Invalid("The new parent domain of the domain cannot be one of its children.")
        await _free(tx, above.id, held.name)
        updated = await tx.put(msgspec.structs.replace(held, parent=above.id))
        await domain_limits.moved(tx, key, held.parent)
        await changed(tx)
    return updated


async def delete(cloud: Cloud, caller: Caller, key: UUID, *, cleanup: bool, command: str = "") -> Accepted:
    """Start deleting it: it is disabled at once. With `cleanup` all accounts, projects, users and domains in it go along;
    without, raises InUse when there are any. A second call is answered with the first. Raises Forbidden for ROOT, and
    for the domain that the caller is in.
    """
    async with cloud.transaction(caller) as tx:
        held = await managed(tx, caller, key, "domain.delete")
        if held.parent is None:
            raise Forbidden("Can't delete ROOT domain")
        inside = await authority.below(tx, key)
        if caller.user_domain in inside:
            raise Forbidden("You cannot delete the domain that you are in; ask another administrator.")
        first = await under_way(tx, key)
        if first is not None:
            await deletion.wake(tx, first)
            return Accepted(held, first)
        words = [] if cleanup else await left(tx, inside)
        if words:
            raise InUse(f"Can't delete the domain yet because it has {', '.join(words)} to cleanup")
        for domain in await tx.list(Domain, id=tuple(inside)):
            await tx.put(msgspec.structs.replace(domain, enabled=False))
        await changed(tx)
        return Accepted(held, await tx.start(DELETE, subject=held, command=command))


async def under_way(look: Look, key: UUID) -> Operation | None:
    """The deletion of the domain."""
    return await look.one(Operation, key=key, workflow=DELETE, outcome=tuple(LIVE))


async def left(look: Look, domains: Iterable[UUID]) -> list[str]:
    """What is in the domains, the first of which is the one to be deleted: "2 accounts and projects", ..."""
    keys = tuple(domains)
    counts = {
        "accounts and projects": await look.count(Project, domain=keys),
        "users": await look.count(User, domain=keys),
        "sub-domains": len(keys) - 1,
    }
    return [f"{count} {what}" for what, count in counts.items() if count]


async def network_domain(look: Look, project: UUID) -> str:
    """The DNS suffix of networks made in an account or project: its own, or of the nearest domain that has one."""
    held = await look.get(Project, project)
    if held.network_domain:
        return held.network_domain
    for key in await authority.lineage(look, held.domain):
        domain = await look.get(Domain, key)
        if domain.network_domain:
            return domain.network_domain
    return ""


async def forget(tx: Tx, domain: Domain) -> None:
    """The record of one that is empty, with what belongs to it and means nothing without it."""
    await departures.groups_and_roles(tx, domain.id)
    await departures.clear(tx, departures.DOMAIN, domain.id)
    await tx.remove(domain)
    await changed(tx)
