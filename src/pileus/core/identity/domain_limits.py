"""Limits of domains: each is on the sum of what all projects (of key pairs: all users) in and below the domain use.

A domain that has a limit keeps a sum, and every use below it names the domain (Usage.above), so that charging where there
are no such limits costs nothing. Who sets a limit locks the domains below, against projects that are just being made
(core/identity/projects.py locks its domain), and all the uses that the sum is made of; who charges holds the lock of its
own use before it looks for domains. So no charge is left out, on whichever database.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

from pileus.core import quota
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Forbidden, Invalid, NotFound, QuotaExceeded
from pileus.core.identity.authorization import authority
from pileus.core.identity.records import Domain, Project, ProjectKind, User
from pileus.core.quota import EVERYONE, HIGHEST, KEY_PAIRS, OF_DOMAINS, PROJECTS, UNLIMITED, Limit, Usage
from pileus.store import Duplicate, ne

Numbers = dict[str, tuple[int, int]]
"""(used, limit) by resource."""


async def change(cloud: Cloud, caller: Caller, domain: UUID, limits: Mapping[str, int]) -> None:
    """Set limits of a domain, none of them above what the domain over it may have; UNLIMITED is -1. Managers of a domain
    may for those below their own. Raises Forbidden, Invalid, NotFound."""
    async with cloud.transaction(caller) as tx:
        held = await tx.maybe(Domain, domain)
        await authority.require_manages(tx, caller, held.parent if held else None, "quota.update")
        if held is None:
            raise NotFound("Domain", domain.hex)
        for resource, limit in limits.items():
            if quota.TAG in resource:
                most, _ = await effective(tx, domain, quota.untagged(resource))
                refuse_above_untagged(f"domain {held.name}", resource, limit, most)
            if held.parent is not None:
                await require_within(tx, held.parent, resource, limit)
            await keep(tx, domain, resource, limit)


async def require_within(look: Look, domain: UUID, resource: str, limit: int) -> None:
    """Raises Invalid for a limit that is above what the domain itself may have."""
    most, of = await effective(look, domain, resource)
    if most == UNLIMITED and quota.TAG in resource:
        most, of = await effective(look, domain, quota.untagged(resource))
    if most != UNLIMITED and limit > most:
        raise Invalid(
            f"Domain {of} has maximum allowed resource limit {most} for {resource}; "
            f"please specify a value less than or equal to {most}, or raise that one first."
        )


def refuse_above_untagged(of: str, resource: str, limit: int, most: int) -> None:
    """Raises Invalid for a limit with a tag that is above the one without, which no use could reach."""
    if most > 0 and limit > most:
        name = quota.untagged(resource)
        raise Invalid(
            f"Maximum untagged resource limit for {of} for resource type {name} is {most}, please specify a value "
            "less than or equal to that"
        )


async def effective(look: Look, domain: UUID, resource: str) -> tuple[int, str]:
    """The limit of a domain, or else of the nearest one above it that has one; with that one's name."""
    for at in await quota.lineage(look.rows, domain):
        held = await look.list(Limit, project=at, resource=resource)
        if held:
            named = await look.list(Domain, id=at)
            return held[0].limit, named[0].name
    return UNLIMITED, ""


async def keep(tx: Tx, domain: UUID, resource: str, limit: int, *, description: str | None = None) -> Limit:
    """Write the limit, and the sum that is held against it. Raises Invalid."""
    known = resource in OF_DOMAINS or quota.countable(resource)
    if not known or not UNLIMITED <= limit <= HIGHEST:
        raise Invalid(
            f"The limit {limit} of {resource} cannot be set for a domain; limits are -1 (none) or more."
        )
    tree = await locked_below(tx, domain)
    made = await quota.keep(tx.rows, domain, resource, limit, description=description)
    await settle(tx, domain, tree, resource)
    return made


async def drop(tx: Tx, domain: UUID, resource: str) -> None:
    """Back to what the domains above it allow."""
    tree = await locked_below(tx, domain)
    await tx.rows.delete(Limit, domain, resource)
    await settle(tx, domain, tree, resource)


async def locked_below(tx: Tx, domain: UUID) -> list[UUID]:
    """The domain and those below it, to none of which a domain or project is added before the end."""
    found, level = [], [domain]
    while level:
        for key in level:
            await tx.maybe(Domain, key)
        found.extend(level)
        level = sorted(child.id for child in await tx.list(Domain, parent=tuple(level)))
    return found


async def settle(tx: Tx, domain: UUID, tree: Sequence[UUID], resource: str) -> None:
    """Let every use in the tree name the limited domains above it, and make the domain's sum."""
    if resource == PROJECTS:
        return
    for at in tree:
        keys = await holders(tx, (at,), resource)
        above = await quota.limited_above(tx.rows, at, resource)
        known = {usage.project for usage in await tx.list(Usage, project=keys, resource=resource)}
        for key in keys:
            if key not in known:
                await _begin(tx, key, resource)
        # Only now that all are there: a charge may have made one since the last look.
        await tx.rows.update_where(Usage, {"above": above}, project=keys, resource=resource)
    await total(tx, domain, tree, resource)


async def _begin(tx: Tx, holder: UUID, resource: str) -> None:
    """A use of nothing, unless a charge begins it at this moment."""
    with suppress(Duplicate):
        await tx.rows.insert(Usage(project=holder, resource=resource, used=0))


async def total(tx: Tx, domain: UUID, tree: Sequence[UUID], resource: str) -> None:
    """The domain's sum; none where it has no limit. The sum is locked before it is made: what is charged at this moment
    is in the uses by then, or is added to the new sum."""
    held = await tx.rows.get(Limit, domain, resource)
    if held is None or held.limit == UNLIMITED:
        await tx.rows.delete(Usage, domain, resource)
        return
    await tx.rows.get_or_insert(Usage(project=domain, resource=resource, used=0))
    keys = await holders(tx, tree, resource)
    used = await tx.rows.total(Usage, "used", project=keys, resource=resource)
    await tx.rows.update(Usage(project=domain, resource=resource, used=used))


async def holders(look: Look, domains: Sequence[UUID], resource: str) -> tuple[UUID, ...]:
    cls: Any = User if resource == KEY_PAIRS else Project
    return tuple(sorted(held.id for held in await look.list(cls, domain=tuple(domains))))


async def moved(tx: Tx, domain: UUID, before: UUID | None) -> None:
    """After a domain was moved from below the domain `before`: the sums of those above it, then and now."""
    tree = await locked_below(tx, domain)
    old, new = await quota.lineage(tx.rows, before), await quota.lineage(tx.rows, domain)
    depths = {at: depth for line in (old, new) for depth, at in enumerate(reversed(line))}
    lines = sorted(depths, key=depths.__getitem__, reverse=True)  # as who charges locks them
    touched = (*lines, *tree)
    limited = {row.resource for row in await tx.list(Limit, project=touched) if quota.TAG in row.resource}
    for resource in sorted((OF_DOMAINS - {PROJECTS}) | limited):
        await settle(tx, domain, tree, resource)
        for at in lines:
            await total(tx, at, await authority.below(tx, at), resource)


async def room_for_project(tx: Tx, domain: UUID) -> None:
    """Before a project (no account) is made in the domain, which is locked. Raises QuotaExceeded, NotFound."""
    await tx.get(Domain, domain)
    line = await quota.lineage(tx.rows, domain)
    held = await tx.list(Limit, ne("limit", UNLIMITED), project=tuple(line), resource=PROJECTS)
    for limited in sorted(held, key=lambda row: line.index(row.project)):
        locked = await tx.get(Domain, limited.project)
        tree = tuple(await authority.below(tx, limited.project))
        used = await tx.count(Project, domain=tree, kind=ProjectKind.PROJECT)
        if used + 1 > limited.limit:
            name = f"domain {locked.name}"
            raise QuotaExceeded(PROJECTS, limit=limited.limit, used=used, wanted=1, of=name)


async def require_reads(look: Look, caller: Caller, domain: UUID) -> None:
    """Raises Forbidden."""
    if not await authority.reads(look, caller, domain):
        raise Forbidden("You are not authorized to perform the requested action: quota.read.")


async def usages(look: Look, domains: Sequence[UUID], tags: Sequence[str] = ()) -> dict[UUID, Numbers]:
    """What is used in and below each of some domains (also by tags), and the limits that hold for them: their own, or the
    nearest one's above them. Those who ask have been let in by the face that shows the domains."""
    names = OF_DOMAINS | {quota.tagged(name, tag) for tag in tags for name in quota.WITH_TAGS}
    tree = {held.id: held.parent for held in await look.list(Domain)}
    limits: dict[tuple[UUID, str], int] = {}
    for row in await look.list(Limit, ne("project", EVERYONE), resource=tuple(names)):
        limits[row.project, row.resource] = row.limit

    def limit(domain: UUID, name: str) -> int:
        line = _line(tree, domain)
        kinds = (name, quota.untagged(name))
        return next((limits[at, kind] for kind in kinds for at in line if (at, kind) in limits), UNLIMITED)

    used = await _used(look, tree, set(domains))
    return {
        domain: {name: (used[domain].get(name, 0), limit(domain, name)) for name in sorted(names)}
        for domain in domains
    }


async def _used(
    look: Look, tree: Mapping[UUID, UUID | None], wanted: set[UUID]
) -> dict[UUID, dict[str, int]]:
    """By wanted domain and resource."""
    inside = {at: [up for up in _line(tree, at) if up in wanted] for at in tree}
    reached = tuple(at for at, up in inside.items() if up)
    owners: dict[UUID, UUID] = {}
    sums: dict[UUID, dict[str, int]] = {domain: {} for domain in wanted}

    def add(domain: UUID, resource: str, number: int) -> None:
        for up in inside[domain]:
            sums[up][resource] = sums[up].get(resource, 0) + number

    for project in await look.list(Project, domain=reached):
        owners[project.id] = project.domain
        if project.kind is ProjectKind.PROJECT:
            add(project.domain, PROJECTS, 1)
    for user in await look.list(User, domain=reached):
        owners[user.id] = user.domain
    for usage in await look.list(Usage, project=tuple(owners)):
        add(owners[usage.project], usage.resource, usage.used)
    return sums


def _line(tree: Mapping[UUID, UUID | None], domain: UUID) -> list[UUID]:
    found: list[UUID] = []
    at: UUID | None = domain
    while at is not None and at in tree and len(found) < quota.DEEPEST:
        found.append(at)
        at = tree[at]
    return found
