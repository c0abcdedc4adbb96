"""What records use of their holders' limits: the recount of every use, its comparison with what was charged, and repair."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from pileus.core import quota
from pileus.core.block.records import Snapshot, Volume, VolumeState
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.compute.records import KeyPair, Server, ServerGroup
from pileus.core.errors import NotFound
from pileus.core.identity import domain_limits
from pileus.core.identity.authorization import authority
from pileus.core.identity.names import names
from pileus.core.identity.records import Domain, Project, User
from pileus.core.image.records import Image
from pileus.core.network.plugs import CHARGED
from pileus.core.network.records import (
    Address,
    Network,
    Port,
    Router,
    SecurityGroup,
    SecurityRule,
    Subnet,
)
from pileus.core.quota import KEY_PAIRS, PROJECTS, UNLIMITED, Limit, Usage
from pileus.store import Record, ne

Use = Callable[[Any], Mapping[str, int]]


def _volume(volume: Volume) -> Mapping[str, int]:
    """A server's own root disk is part of the server; one kept for its snapshots is nobody's any more."""
    if volume.ephemeral or volume.state is VolumeState.RETAINED:
        return {}
    return {"volumes": 1, "volume_gib": volume.size_gib}


USES: Mapping[type[Record], Use] = {
    Server: lambda one: quota.by_tags(
        {"servers": 1, "vcpus": one.vcpus, "memory_mib": one.memory_mib}, one.host_tags
    ),
    Volume: _volume,
    Snapshot: lambda one: {"snapshots": 1},
    Image: lambda one: {"images": 1},
    Network: lambda one: {"networks": 1},
    Subnet: lambda one: {"subnets": 1},
    Port: lambda one: {"ports": 1} if one.use in CHARGED else {},
    Router: lambda one: {"routers": 1},
    Address: lambda one: {"addresses": 1},
    SecurityGroup: lambda one: {"security_groups": 1},
    SecurityRule: lambda one: {"security_rules": 1},
    KeyPair: lambda one: {"key_pairs": 1},
    ServerGroup: lambda one: {"server_groups": 1},
}
"""What one record uses of its project's limits. The uses of a record are a limit's whole meaning."""

Key = tuple[UUID, str]
"""(holder, resource)."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What was charged to a holder, and what its records say."""

    holder: UUID
    kind: str
    """project, user or domain; empty: of something that is gone."""
    name: str
    resource: str
    recorded: int
    counted: int

    @property
    def text(self) -> str:
        of = " ".join(part for part in (self.kind or "the vanished", self.name or str(self.holder)) if part)
        return f"{self.resource} of {of}: {self.recorded} recorded, {self.counted} counted"


def owner(cls: type[Record]) -> str:
    """The field of a record that names whose limit it counts against."""
    return "user" if cls is KeyPair else "project"


async def counted(look: Look) -> dict[Key, int]:
    """From the records, of every holder; of domains those that keep a sum."""
    found: Counter[Key] = Counter()
    for cls, use in USES.items():
        field = owner(cls)
        for record in await look.list(cls):
            found.update({(getattr(record, field), name): number for name, number in use(record).items()})
    for limited in await look.list(
        Limit, ne("limit", UNLIMITED), ne("resource", PROJECTS), project=await domains(look)
    ):
        tree = await authority.below(look, limited.project)
        keys = await domain_limits.holders(look, tree, limited.resource)
        found[limited.project, limited.resource] = sum(found[key, limited.resource] for key in keys)
    return found


async def domains(look: Look) -> tuple[UUID, ...]:
    return tuple(domain.id for domain in await look.list(Domain))


async def differences(look: Look) -> list[Difference]:
    """None in a sound cloud."""
    recorded = {(use.project, use.resource): use.used for use in await look.list(Usage)}
    wrong = quota.differences(recorded, await counted(look))
    known = await _named(look, {holder for holder, _ in wrong})
    return [
        Difference(
            holder=holder,
            kind=known.get(holder, ("", ""))[0],
            name=known.get(holder, ("", ""))[1],
            resource=resource,
            recorded=kept,
            counted=real,
        )
        for (holder, resource), (kept, real) in sorted(wrong.items())
    ]


async def _named(look: Look, keys: set[UUID]) -> dict[UUID, tuple[str, str]]:
    """(kind, name) by holder."""
    found: dict[UUID, tuple[str, str]] = {}
    for kind, cls in (("project", Project), ("user", User), ("domain", Domain)):
        found |= {key: (kind, name) for key, name in (await names(look, cls, keys)).items()}
    return found


async def verify(cloud: Cloud, caller: Caller, *, repair: bool = False) -> list[Difference]:
    """The differences; with `repair` they are gone afterwards. May be repeated, also while the cloud is in use."""
    caller.require_admin("quota.verify")
    async with cloud.view() as look:
        found = await differences(look)
    if repair:
        for holder in dict.fromkeys(wrong.holder for wrong in found if wrong.kind != "domain"):
            await recount(cloud, caller, holder)
        for wrong in found:
            if wrong.kind == "domain":
                async with cloud.transaction(caller) as tx:
                    await resum(tx, wrong.holder, wrong.resource)
    return found


async def recount(cloud: Cloud, caller: Caller, holder: UUID) -> dict[str, int]:
    """Set what a project or user uses to what its records say, by resource. A use is locked before it is counted, so that
    no charge is under way that the records do not show yet; one at a time, for others charge them in another order."""
    async with cloud.view() as look:
        recorded = {usage.resource: usage.used for usage in await look.list(Usage, project=holder)}
        real = await _of(look, holder)
    for name in sorted(quota.differences(recorded, real)):
        async with cloud.transaction(caller) as tx:
            usage = await _locked(tx, holder, name)
            real[name] = (await _of(tx, holder))[name]
            await _correct(tx, usage, real[name])
    return {name: real[name] for name in (*quota.DEFAULTS, *recorded, *real)}


async def _of(look: Look, holder: UUID) -> Counter[str]:
    """What the records of a holder use."""
    found: Counter[str] = Counter()
    for cls, use in USES.items():
        for record in await look.list(cls, **{owner(cls): holder}):
            found.update(use(record))
    return found


async def _locked(tx: Tx, holder: UUID, resource: str) -> Usage:
    return await tx.rows.get(Usage, holder, resource) or await quota.begun(tx.rows, holder, resource)


async def _correct(tx: Tx, usage: Usage, real: int) -> None:
    if usage.used == real:
        return
    await tx.rows.put(replace(usage, used=real))
    for domain in usage.above:
        summed = await tx.rows.get(Usage, domain, usage.resource)
        if summed is not None:
            await tx.rows.put(replace(summed, used=summed.used + real - usage.used))


async def resum(tx: Tx, domain: UUID, resource: str) -> None:
    """Make a domain's sum, and what names the domain, anew."""
    await domain_limits.settle(tx, domain, await domain_limits.locked_below(tx, domain), resource)


async def recount_project(cloud: Cloud, caller: Caller, project: UUID) -> dict[str, int]:
    """As `recount`, for who manages the project's domain. Raises NotFound, Forbidden."""
    async with cloud.view() as look:
        held = await look.maybe(Project, project)
        await authority.require_manages(look, caller, held.domain if held else None, "quota.verify")
        if held is None:
            raise NotFound("Project", project.hex)
    return await recount(cloud, caller, project)


async def recount_domain(
    cloud: Cloud, caller: Caller, domain: UUID, tags: Sequence[str] = ()
) -> dict[str, int]:
    """Recount all projects and users in and below a domain; what they use together, by resource (and tag)."""
    async with cloud.view() as look:
        await authority.require_manages(look, caller, domain, "quota.verify")
        await look.get(Domain, domain)
        tree = await authority.below(look, domain)
        every = [
            *await domain_limits.holders(look, tree, KEY_PAIRS),
            *await domain_limits.holders(look, tree, ""),
        ]
    for holder in every:
        await recount(cloud, caller, holder)
    async with cloud.view() as look:
        shown = await domain_limits.usages(look, [domain], tags)
    return {name: used for name, (used, _) in shown[domain].items()}
