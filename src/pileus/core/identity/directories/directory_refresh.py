"""Bringing the rows of a domain in line with its directory: now and then, and before they are listed.

Directories may be large: nothing here holds the event loop for longer than a batch takes, nor the writer.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import structlog

from pileus.core.cloud import Cloud
from pileus.core.errors import CoreError, Unavailable
from pileus.core.identity.directories import directory, directory_settings, shadows
from pileus.core.identity.directories.directory import Binding, Directory, Entry, Team, group_id, user_id
from pileus.core.identity.records import Domain, Group, Membership, Source, User
from pileus.store import Condition, Record, gt

T = TypeVar("T")
R = TypeVar("R", bound=Record)

log = structlog.get_logger("pileus.directory")

STALE = timedelta(minutes=1)
SHARE = 10
"""Times as long as a directory took to be read is it then left alone."""
PATIENCE = 5.0
"""Seconds that a list waits for the directory; then it shows what is known, and the reading goes on."""
BATCH = 100
"""Users or groups in one transaction."""
ROWS = 1000
"""Read at a time."""


async def freshen(cloud: Cloud, domain: UUID | None) -> None:
    """Refresh a domain whose directory was not read for a minute. Where that fails, or takes long, what is known is shown;
    the reason is logged, and the next try waits as long."""
    if domain is None:
        return
    reading = directory.of(cloud).reading
    task = reading.get(domain)
    if task is None:
        task = reading[domain] = asyncio.create_task(_freshened(cloud, domain))
        task.add_done_callback(lambda _: reading.pop(domain, None))
    await asyncio.wait({task}, timeout=PATIENCE)


async def _freshened(cloud: Cloud, domain: UUID) -> None:
    try:
        binding = await directory_settings.of(cloud, domain)
        if binding is not None and binding.whole:
            await refresh(cloud, binding, older=STALE)
    except CoreError as error:
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
    """Read it and change what differs, unless it was read less than `older` ago, or lately and with much work. Raises
    Unavailable."""
    opened = directory.of(cloud)
    async with opened.lock(binding.domain):
        asked = opened.asked.get(binding.domain)
        pause = max(older, SHARE * opened.took.get(binding.domain, timedelta(0))) if older else older
        if asked is not None and cloud.now() - asked < pause:
            return
        opened.asked[binding.domain] = cloud.now()
        clock = asyncio.get_running_loop().time
        began = clock()
        await _refreshed(cloud, binding, await opened.at(binding))
        opened.took[binding.domain] = timedelta(seconds=clock() - began)


async def _refreshed(cloud: Cloud, binding: Binding, there: Directory) -> None:
    async with cloud.view() as look:
        anybody = await look.one(User, domain=binding.domain, source=Source.LDAP)
    if anybody is None and not binding.whole:
        return
    read = await _people(there, binding)
    if binding.whole and anybody is not None and not read:
        # Rather a place that was renamed or a right that was lost than a company without people.
        raise Unavailable(
            "The directory that holds the users of this domain shows nobody; its administrator must look into it.",
            private="it shows nobody: are user_tree_dn and user_filter right, and may the configured user read?",
        )
    teams = await there.groups(read) if binding.whole else []
    people: dict[UUID, Entry] = {}
    async for entries in paced(read):
        people.update((user_id(binding.domain, entry.id), entry) for entry in entries)
    known = await _users(cloud, binding, people)
    if binding.whole:
        ids: dict[str, UUID] = {}
        async for some in paced(list(people.items())):
            ids.update((entry.id, key) for key, entry in some if key in known)
        await _groups(cloud, binding, teams, ids)


async def _people(there: Directory, binding: Binding) -> list[Entry]:
    """Of a domain that is linked to parts of the directory, those in them."""
    if binding.whole or not binding.links:
        return await there.people()
    return [entry for link in binding.links for entry in await there.people((link.kind, link.name))]


async def _users(cloud: Cloud, binding: Binding, people: dict[UUID, Entry]) -> set[UUID]:
    """Returns those who have a row then."""
    known: set[UUID] = set()
    gone: list[UUID] = []
    differing: list[Entry] = []
    async for rows in _rows(cloud, User, "name", domain=binding.domain, source=Source.LDAP):
        known.update(user.id for user in rows)
        for user in rows:
            entry = people.get(user.id)
            if entry is None:
                gone += [user.id] if user.external or user.enabled else []
            elif differs(user, entry):
                differing.append(entry)
    for keys in batches(gone):
        async with cloud.transaction() as tx:
            for user in await tx.list(User, id=tuple(keys)):
                await shadows.vanish(tx, user)
    if binding.whole:
        async for some in paced(list(people.items())):
            differing += [entry for key, entry in some if key not in known]
    for entries in batches(differing):
        async with cloud.transaction() as tx:
            kept = [await shadows.keep(tx, binding, entry) for entry in entries]
        known.update(user.id for user in kept if user is not None)
    return known


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


async def _groups(cloud: Cloud, binding: Binding, teams: Sequence[Team], ids: dict[str, UUID]) -> None:
    """`ids`: of the users, by those of their entries."""
    known: dict[UUID, Group] = {}
    async for rows in _rows(cloud, Group, "name", domain=binding.domain, source=Source.LDAP):
        known.update((group.id, group) for group in rows)
    there = {group_id(binding.domain, team.id): team for team in teams}
    async for lost in paced([group for key, group in known.items() if key not in there]):
        members = await _members(cloud, [group.id for group in lost])
        for group in lost:
            if group.external or members.get(group.id):
                async with cloud.transaction() as tx:
                    await shadows.lose_group(tx, group)
    async for some in paced(list(there.items())):
        members = await _members(cloud, [key for key, _ in some])
        for key, team in some:
            held = known.get(key)
            seen = (held.name, held.description, held.external) if held else None
            if seen != (team.name, team.description, team.dn):
                async with cloud.transaction() as tx:
                    held = await shadows.keep_group(tx, binding, team)
            if held is not None:
                wanted = {ids[entry] for entry in team.members if entry in ids}
                await _fill(cloud, held, members.get(key, set()), wanted)


async def _fill(cloud: Cloud, group: Group, held: set[UUID], wanted: set[UUID]) -> None:
    async for users in paced(list(held ^ wanted)):
        async with cloud.transaction() as tx:
            await shadows.fill(tx, group, [user for user in users if user in wanted], users)


async def _members(cloud: Cloud, groups: Iterable[UUID]) -> dict[UUID, set[UUID]]:
    """Users by group."""
    found: dict[UUID, set[UUID]] = {}
    for group in groups:
        async for rows in _rows(cloud, Membership, "user", group=group):
            found.setdefault(group, set()).update(member.user for member in rows)
    return found


async def _rows(cloud: Cloud, cls: type[R], by: str, **equals: Any) -> AsyncIterator[list[R]]:
    """All, in pages, with room for others between them. `by`: a column that tells rows with these values apart, and by
    which with them there is an index: anything else would take longer with each page."""
    where: tuple[Condition, ...] = ()
    while True:
        async with cloud.view() as look:
            rows = await look.rows.list(cls, *where, order=(by,), limit=ROWS, **equals)
        if rows:
            yield rows
        if len(rows) < ROWS:
            return
        where = (gt(by, getattr(rows[-1], by)),)
        await asyncio.sleep(0)


async def paced(items: Sequence[T]) -> AsyncIterator[Sequence[T]]:
    """Batches, with room for others between them."""
    for some in batches(items):
        yield some
        await asyncio.sleep(0)


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]
