"""Which host takes a server: the filters' survivors, the best first by the strategy and the wishes of groups."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from uuid import UUID

from msgspec.structs import replace

from pileus.core.cloud import Cloud, Tx
from pileus.core.compute.records import Affinity, Host, Server
from pileus.core.placement.asking import SOFT, Where, broken, companions_of
from pileus.core.placement.bitmaps import one_of, without
from pileus.core.placement.claims import Full, claim
from pileus.core.placement.filters import FILTERS, Filter, Met
from pileus.core.placement.inventory import Inventory, Need, Room, current

SPREAD, PACK = "spread", "pack"
STRATEGIES = (SPREAD, PACK)
TRIES = 100
"""Hosts that may refuse the claim in one placement, each because another worker was quicker."""
SHOWN = 4
"""The winner and the alternatives of an explanation."""


@dataclass(frozen=True, slots=True)
class Sifted:
    """What the filters made of all hosts: `masks` of those that ask for something, `removed` in their order."""

    inventory: Inventory
    need: Need
    where: Where
    masks: list[tuple[Filter, int]]
    removed: list[tuple[Filter, int]]
    fits: int

    def met(self, hosts: int) -> Met:
        return Met(self.inventory, self.need, self.where, hosts)


@dataclass(frozen=True, slots=True)
class Pick:
    room: Room
    score: float
    points: int
    """Of the soft wishes: servers that it would be with, less those that it would not be apart from."""


def sift(inventory: Inventory, need: Need, where: Where) -> Sifted:
    """Through every filter; a host counts for the first one that removes it."""
    left, masks, removed = inventory.all, [], []
    for each in FILTERS:
        mask = each.passed(inventory, need, where)
        if mask is None or mask == inventory.all:
            continue
        masks.append((each, mask))
        passed = left & mask
        if passed != left:
            removed.append((each, left ^ passed))
            left = passed
    return Sifted(inventory, need, where, masks, removed, left)


def strategy_of(inventory: Inventory, where: Where, default: str) -> str:
    """The size's, or its host groups', or the configured."""
    asked = (where.strategy, inventory.groups.strategy(where.metadata), default)
    return next((each for each in asked if each in STRATEGIES), SPREAD)


def wishes(inventory: Inventory, where: Where) -> dict[int, int]:
    """Points by slot, of the hosts that the server's soft groups have servers on."""
    points: dict[int, int] = {}
    for each in where.companions:
        if each.affinity not in SOFT:
            continue
        sign = 1 if each.affinity is Affinity.SOFT_TOGETHER else -1
        for host, count in each.hosts:
            slot = inventory.slot(host)
            if slot is not None:
                points[slot] = points.get(slot, 0) + sign * count
    return points


def ranked(sifted: Sifted, strategy: str, consumer: int = 0) -> Iterator[Pick]:
    """The hosts that fit, best first. A wish of a group stands above how full a host is: the score is its points and,
    within 0 to 1, how near the host comes to the emptiest (pack: the fullest) of all that fit. Where hosts are equal
    `consumer` says which is first, so that servers placed at one moment do not all meet on one host."""
    if not sifted.fits:
        return
    figures = sifted.inventory.memory_mib
    best = (figures.least if strategy == PACK else figures.greatest)(sifted.fits)[0]
    for points, level in _levels(sifted):
        left = level
        while left:
            free, equal = (figures.least if strategy == PACK else figures.greatest)(left)
            part = max(1, best) / max(1, free) if strategy == PACK else max(1, free) / max(1, best)
            slot = one_of(equal, consumer)
            left ^= 1 << slot
            yield Pick(sifted.inventory.at(slot), points + part, points)


def _levels(sifted: Sifted) -> Iterator[tuple[int, int]]:
    """The hosts that fit, by their points, the most first."""
    sets: dict[int, int] = {}
    for slot, points in wishes(sifted.inventory, sifted.where).items():
        sets[points] = sets.get(points, 0) | 1 << slot
    rest = sifted.fits
    for hosts in sets.values():
        rest = without(rest, hosts)
    sets[0] = sets.get(0, 0) | rest
    for points in sorted(sets, reverse=True):
        yield points, sets[points] & sifted.fits


def choose(
    inventory: Inventory,
    need: Need,
    where: Where,
    *,
    strategy: str = SPREAD,
    consumer: int = 0,
    without: Collection[UUID] = (),
) -> UUID | None:
    """The best host that fits."""
    where = replace(where, taken=(*where.taken, *without)) if without else where
    best = next(ranked(sift(inventory, need, where), strategy, consumer), None)
    return best.room.host if best else None


@dataclass(frozen=True, slots=True)
class Choice:
    """The hosts that fit, the best first and at most SHOWN of them; none: no host does."""

    sifted: Sifted
    strategy: str
    picks: list[Pick]

    @property
    def host(self) -> UUID | None:
        return self.picks[0].room.host if self.picks else None


def chosen(cloud: Cloud, inventory: Inventory, need: Need, where: Where, consumer: UUID | None) -> Choice:
    sifted = sift(inventory, need, where)
    strategy = strategy_of(inventory, where, cloud.config.placement)
    ranking = ranked(sifted, strategy, consumer.int if consumer else 0)
    return Choice(sifted, strategy, [pick for pick, _ in zip(ranking, range(SHOWN), strict=False)])


async def propose(cloud: Cloud, need: Need, where: Where, *, consumer: UUID | None = None) -> Choice:
    """A host for the claim to try. Before it says that there is none, what is known is compared with the records."""
    found = chosen(cloud, await current(cloud), need, where, consumer)
    if found.host is None:
        found = chosen(cloud, await current(cloud, anew=True), need, where, consumer)
    return found


async def take(tx: Tx, server: Server, need: Need, host: UUID) -> Host:
    """The claim of a proposed host, with the conditions of the server's groups as they are committed. Raises Full."""
    group = broken(await companions_of(tx, server.id), host)
    if group:
        raise Full(f"host {host} breaks the condition of group {group}")
    return await claim(tx, server.id, need, host, project=server.project, user=server.user)


__all__ = [
    "PACK",
    "SPREAD",
    "STRATEGIES",
    "TRIES",
    "Choice",
    "Full",
    "Need",
    "Where",
    "choose",
    "propose",
    "take",
]
