"""Bringing the rows of a domain in line with its directory: now and then, and before they are listed."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

import structlog

from pileus.core.cloud import Cloud
from pileus.core.errors import CoreError, Unavailable
from pileus.core.identity.directories import directory, directory_settings, shadows
from pileus.core.identity.directories.directory import Binding, Directory, Entry, Team, group_id, user_id
from pileus.core.identity.records import Domain, Group, Membership, Source, User

T = TypeVar("T")

log = structlog.get_logger("pileus.directory")

STALE = timedelta(minutes=1)
BATCH = 100
"""Users or groups in one transaction."""


async def freshen(cloud: Cloud, domain: UUID | None) -> None:
    """Refresh a domain whose directory was not read for a minute. Where that fails, what is known is shown; the
    reason is logged, and the next try waits as long."""
    if domain is None:
        return
    try:
        binding = await directory_settings.of(cloud, domain)
        if binding is not None and binding.whole:
            await refresh(cloud, binding, older=STALE)
    except Unavailable as error:
        log.warning("directory away", domain=domain.hex, error=error.private or error.public)


async def refresh_all(cloud: Cloud) -> None:
    """Every domain with a directory. One that is away does not keep the others."""
    async with cloud.view() as look:
        domains = [domain.id for domain in await look.list(Domain)]
    held = []
    for domain in domains:
        try:
            binding = await directory_settings.of(cloud, domain)
            if binding is not None:
                held.append(domain)
                await refresh(cloud, binding, older=STALE / 2)
        except CoreError as error:
            log.warning("directory away", domain=domain.hex, error=error.private or error.public)
    await directory.of(cloud).keep(held)


async def refresh(cloud: Cloud, binding: Binding, *, older: timedelta = timedelta(0)) -> None:
    """Read it and change what differs, unless it was read less than `older` ago. Raises Unavailable."""
    opened = directory.of(cloud)
    async with opened.lock(binding.domain):
        asked = opened.asked.get(binding.domain)
        if asked is not None and cloud.now() - asked < older:
            return
        opened.asked[binding.domain] = cloud.now()
        if not binding.whole and not await _known(cloud, binding):
            return
        there = await opened.at(binding)
        people = {user_id(binding.domain, entry.id): entry for entry in await _people(there, binding)}
        teams = await there.groups() if binding.whole else []
        await _users(cloud, binding, people)
        if binding.whole:
            await _groups(cloud, binding, teams)


async def _people(there: Directory, binding: Binding) -> list[Entry]:
    """Of a domain that is linked to parts of the directory, those in them."""
    if binding.whole or not binding.links:
        return await there.people()
    return [entry for link in binding.links for entry in await there.people((link.kind, link.name))]


async def _known(cloud: Cloud, binding: Binding) -> list[User]:
    async with cloud.view() as look:
        return await look.list(User, domain=binding.domain, source=Source.LDAP)


async def _users(cloud: Cloud, binding: Binding, people: dict[UUID, Entry]) -> None:
    known = {user.id: user for user in await _known(cloud, binding)}
    gone = [user.id for user in known.values() if user.id not in people and (user.external or user.enabled)]
    for keys in batches(gone):
        async with cloud.transaction() as tx:
            for user in await tx.list(User, id=tuple(keys)):
                await shadows.vanish(tx, user)
    wanted = [entry for key, entry in people.items() if binding.whole or key in known]
    differing = [entry for entry in wanted if differs(known.get(user_id(binding.domain, entry.id)), entry)]
    for entries in batches(differing):
        async with cloud.transaction() as tx:
            for entry in entries:
                await shadows.keep(tx, binding, entry)


def differs(user: User | None, entry: Entry) -> bool:
    """Whether a transaction is worth while: most users never change."""
    if user is None or (user.default_project is None and entry.default_project):
        return True
    here = shadows.is_disabled_here(user)
    if user.external != (entry.dn if entry.enabled or here else "") or user.enabled != (
        entry.enabled and not here
    ):
        return True
    seen = (entry.name, entry.email, entry.first_name, entry.last_name, entry.description)
    if seen != (user.name, user.email, user.first_name, user.last_name, user.description):
        return True
    return any(user.extra.get(name) != value for name, value in entry.extra.items())


async def _groups(cloud: Cloud, binding: Binding, teams: Sequence[Team]) -> None:
    there = {group_id(binding.domain, team.id) for team in teams}
    users = {user.id for user in await _known(cloud, binding)}
    async with cloud.view() as look:
        known = {g.id: g for g in await look.list(Group, domain=binding.domain, source=Source.LDAP)}
        members: dict[UUID, set[UUID]] = {}
        for member in await look.list(Membership, group=tuple(known)) if known else []:
            members.setdefault(member.group, set()).add(member.user)
    async with cloud.transaction() as tx:
        for held in known.values():
            if held.id not in there and (held.external or members.get(held.id)):
                await shadows.lose_group(tx, held)
    for some in batches(teams):
        async with cloud.transaction() as tx:
            for team in some:
                group: Group | None = known.get(group_id(binding.domain, team.id))
                seen = (group.name, group.description, group.external) if group else None
                if group is None or seen != (team.name, team.description, team.dn):
                    group = await shadows.keep_group(tx, binding, team)
                wanted = {user_id(binding.domain, entry) for entry in team.members} & users
                if group is not None and members.get(group.id, set()) != wanted:
                    await shadows.fill(tx, group, wanted)


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
