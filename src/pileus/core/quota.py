"""Limits of projects, users and domains, charged in the transaction that makes the record; recomputable from the
records (core/uses.py).

A limit and a use belong to a holder: a project; a user, for key pairs; a domain, whose limit is on the sum of all in and
below it (core/identity/domain_limits.py). The limit of the holder EVERYONE is the default of projects and users.

What a server uses counts a second time for each trait that its size demands, as `servers@trait`: a limit on the servers,
say, that need a GPU. Where no such limit is set, the one without the tag holds.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from pileus.core.errors import QuotaExceeded
from pileus.core.identity.records import Domain, Project, User
from pileus.store import Record, Transaction, View, ne, table

UNLIMITED = -1
HIGHEST = (1 << 31) - 1
"""The largest limit that every API can show."""
EVERYONE = UUID(int=0)
KEY_PAIRS, PROJECTS = "key_pairs", "projects"
DEEPEST = 32
"""Domains above one another; a guard against a tree that is none."""

DEFAULTS: Mapping[str, int] = {
    "servers": 100,
    "vcpus": 200,
    "memory_mib": 512_000,
    "volumes": 100,
    "volume_gib": 10_000,
    "snapshots": 100,
    "images": 200,
    "networks": 100,
    "subnets": 100,
    "ports": 500,
    "routers": 50,
    "addresses": 100,
    "security_groups": 50,
    "security_rules": 500,
    KEY_PAIRS: 100,
    "server_groups": 10,
    "server_group_members": 10,
}
"""Limits of a project that has none of its own, until the operator sets others. Key pairs count by user; members, of
which none are charged, by group."""
TAG = "@"
WITH_TAGS = ("servers", "vcpus", "memory_mib")
"""What is also counted by tag: a trait that the size of the server demands."""
OF_DOMAINS = frozenset({*DEFAULTS, PROJECTS} - {"server_group_members"})
"""What a domain can be limited in. Its projects are counted when one is made, not charged."""


def tagged(resource: str, tag: str) -> str:
    return f"{resource}{TAG}{tag}"


def untagged(resource: str) -> str:
    return resource.partition(TAG)[0]


def countable(resource: str) -> bool:
    """Whether it is a resource, or one that is counted by tag with its tag."""
    plain, at, tag = resource.partition(TAG)
    return plain in DEFAULTS if not at else plain in WITH_TAGS and bool(tag)


def by_tags(uses: Mapping[str, int], tags: Iterable[str]) -> dict[str, int]:
    """The uses, and the same for each tag; always in one order, in which they are locked."""
    return {**uses, **{tagged(name, tag): used for tag in sorted(tags) for name, used in uses.items()}}


@table("quota_limit", key=("project", "resource"), indexes=(("resource",),))
class Limit(Record):
    project: UUID
    """Its holder."""
    resource: str
    limit: int
    description: str = ""


@table("quota_usage", key=("project", "resource"))
class Usage(Record):
    """`above`: the domains above the holder that are limited in the resource; each has a Usage of its own."""

    project: UUID
    resource: str
    used: int
    above: tuple[UUID, ...] = ()


async def limit(view: View, holder: UUID, resource: str, *, within: UUID | None = None) -> int:
    """Of a project; or of a user, for whom else the limit of the project holds `within` which it acts."""
    heirs = (holder, EVERYONE) if within is None else (holder, within, EVERYONE)
    found = {row.project: row.limit for row in await view.list(Limit, project=heirs, resource=resource)}
    known = next((found[heir] for heir in heirs if heir in found), None)
    if known is not None:
        return known
    # With a tag: nothing that the limit without it, which is charged too, does not hold already.
    return UNLIMITED if TAG in resource else DEFAULTS[resource]


async def charge(
    tx: Transaction, holder: UUID, resource: str, amount: int, *, within: UUID | None = None
) -> None:
    """Add `amount` (negative: give back) to what the holder uses, and to what the limited domains above it use. Raises
    QuotaExceeded when that passes a limit."""
    if amount == 0:
        return
    usage = await tx.get(Usage, holder, resource) or await begun(tx, holder, resource)
    if amount > 0:
        allowed = await limit(tx, holder, resource, within=within)
        if allowed != UNLIMITED and usage.used + amount > allowed:
            raise QuotaExceeded(resource, limit=allowed, used=usage.used, wanted=amount)
    used = max(0, usage.used + amount)
    await tx.put(Usage(project=holder, resource=resource, used=used, above=usage.above))
    for domain in usage.above:
        await _charge_domain(tx, domain, resource, amount)


async def _charge_domain(tx: Transaction, domain: UUID, resource: str, amount: int) -> None:
    """Those who charge one domain wait here for each other, so the row is read before the limit."""
    usage = await tx.get_or_insert(Usage(project=domain, resource=resource, used=0))
    used = usage.used
    if amount > 0:
        held = await tx.get(Limit, domain, resource)
        if held is not None and held.limit != UNLIMITED and used + amount > held.limit:
            known = await tx.list(Domain, id=domain)
            name = f"domain {known[0].name if known else domain}"
            raise QuotaExceeded(resource, limit=held.limit, used=used, wanted=amount, of=name)
    await tx.update(Usage(project=domain, resource=resource, used=max(0, used + amount)))


async def begun(tx: Transaction, holder: UUID, resource: str) -> Usage:
    """The first row of a holder's use, locked like every other one."""
    above = await limited_above(tx, await domain_of(tx, holder), resource)
    return await tx.get_or_insert(Usage(project=holder, resource=resource, used=0, above=above))


async def domain_of(view: View, holder: UUID) -> UUID | None:
    """Of a project or a user; None of what is gone. Locks nothing: see domain_limits."""
    project = await view.list(Project, id=holder)
    if project:
        return project[0].domain
    user = await view.list(User, id=holder)
    return user[0].domain if user else None


async def lineage(view: View, domain: UUID | None) -> list[UUID]:
    """The domain and those above it, without locking them."""
    found: list[UUID] = []
    while domain is not None and len(found) < DEEPEST:
        held = await view.list(Domain, id=domain)
        if not held:
            break
        found.append(domain)
        domain = held[0].parent
    return found


async def limited_above(view: View, domain: UUID | None, resource: str) -> tuple[UUID, ...]:
    """The domain and those above it that have a limit, the nearest first."""
    line = await lineage(view, domain)
    held = (
        await view.list(Limit, ne("limit", UNLIMITED), project=tuple(line), resource=resource) if line else []
    )
    limited = {row.project for row in held}
    return tuple(one for one in line if one in limited)


async def usages(view: View, holder: UUID, tags: Iterable[str] = ()) -> dict[str, tuple[int, int]]:
    """(used, limit) of every resource, and of what is counted by the tags."""
    used = {u.resource: u.used for u in await view.list(Usage, project=holder)}
    allowed = await defaults(view)
    allowed |= {row.resource: row.limit for row in await view.list(Limit, project=holder)}
    names = (*DEFAULTS, *(tagged(name, tag) for tag in tags for name in WITH_TAGS))
    return {name: (used.get(name, 0), allowed.get(name, allowed[untagged(name)])) for name in names}


async def defaults(view: View) -> dict[str, int]:
    """Of every resource: the operator's, or else ours."""
    held = {row.resource: row.limit for row in await view.list(Limit, project=EVERYONE)}
    return {name: held.get(name, ours) for name, ours in DEFAULTS.items()}


async def keep(
    tx: Transaction, holder: UUID, resource: str, limit: int, *, description: str | None = None
) -> Limit:
    """Write the limit of a project or user, or the default; a description stays unless another is given."""
    held = await tx.get(Limit, holder, resource)
    words = description if description is not None else held.description if held else ""
    made = Limit(project=holder, resource=resource, limit=limit, description=words)
    await tx.put(made)
    return made


async def forget(tx: Transaction, holder: UUID) -> None:
    """Of a project or user that goes: its limits, and what it still uses, of itself and of the domains above it."""
    for usage in await tx.list(Usage, project=holder):
        await charge(tx, holder, usage.resource, -usage.used)
    await tx.delete_where(Limit, project=holder)
    await tx.delete_where(Usage, project=holder)


def differences(recorded: Mapping[Any, int], counted: Mapping[Any, int]) -> dict[Any, tuple[int, int]]:
    """(recorded, counted) where the two disagree; always empty in a sound cloud."""
    keys = recorded.keys() | counted.keys()
    return {
        key: (recorded.get(key, 0), counted.get(key, 0))
        for key in keys
        if recorded.get(key, 0) != counted.get(key, 0)
    }
