"""A placement told: how many hosts each filter removed and why, what nearly fitted, what would have."""

from collections.abc import Iterator
from itertools import combinations, islice

from msgspec.structs import replace

from pileus.core.placement.asking import SOFT, Where
from pileus.core.placement.bitmaps import slots_of, without
from pileus.core.placement.choice import PACK, Choice, Pick, Sifted
from pileus.core.placement.filters import Filter, Fix
from pileus.core.placement.inventory import Inventory, Need
from pileus.core.placement.records import Candidate, Explanation, Miss, Removed

NEAREST = 5
ADVICE = 3
NO_HOST = "No valid host was found"


def explain(choice: Choice) -> Explanation:
    sifted = choice.sifted
    fixes = [] if sifted.inventory.all == sifted.fits else list(mends(sifted))
    candidates = [_candidate(pick, choice) for pick in choice.picks]
    return Explanation(
        asked=asked(sifted.inventory, sifted.need, sifted.where),
        strategy=choice.strategy,
        considered=sifted.inventory.all.bit_count(),
        fits=sifted.fits.bit_count(),
        removed=tuple(
            Removed(filter=each.name, hosts=hosts.bit_count(), text=each.word(sifted.met(hosts)))
            for each, hosts in sorted(sifted.removed, key=lambda one: -one[1].bit_count())
        ),
        nearest=tuple(_misses(sifted, fixes)),
        winner=candidates[0] if candidates else None,
        alternatives=tuple(candidates[1:]),
        advice=() if sifted.fits else tuple(fix.text for fix in fixes[:ADVICE]),
    )


def asked(inventory: Inventory, need: Need, where: Where) -> str:
    """In words that anyone may read who asked for it."""
    text = f"{need.vcpus} vCPU, {need.memory_mib} MiB memory, {need.disk_gib} GiB disk"
    wants = [
        f"{name} {', '.join(values)}"
        for name, values in (
            ("traits", need.required_traits),
            ("without traits", need.forbidden_traits),
            ("architecture", (need.architecture,) if need.architecture else ()),
            ("hypervisor", (need.hypervisor,) if need.hypervisor else ()),
            ("host groups with", tuple(f"{key}={value}" for key, value in where.conditions)),
        )
        if values
    ]
    zone = inventory.groups.zones.get(where.zone) if where.zone else None
    place = zone.name if zone else where.part
    return ", ".join([text, *wants]) + (f" in zone {place}" if place else "")


def sentence(told: Explanation) -> str:
    """For anyone: it names no host."""
    begin = f"{NO_HOST} for {told.asked}."
    if not told.considered:
        return f"{begin} There are no hosts; add one."
    listed = ", ".join(f"{each.hosts} {each.text}" for each in told.removed)
    advice = f" It would fit {told.advice[0]}." if told.advice else ""
    return f"{begin} {told.considered} host{'s' if told.considered != 1 else ''}: {listed}.{advice}"


def private(told: Explanation) -> str:
    """The nearest misses by name, for the log."""
    return "; ".join(f"{miss.hostname}: {miss.lacks}" for miss in told.nearest)


def public(told: Explanation) -> Explanation:
    """Without the hosts, for those who do not run the cloud."""
    winner = replace(told.winner, host=None, hostname="") if told.winner else None
    return replace(
        told,
        nearest=tuple(replace(miss, host=None, hostname="", note="") for miss in told.nearest),
        winner=winner,
        alternatives=tuple(replace(each, host=None, hostname="") for each in told.alternatives),
    )


def mends(sifted: Sifted) -> Iterator[Fix]:
    """What lets a host through, the smallest change first: one filter's, or of two where one is not enough."""
    singles = [
        fix
        for each, hosts in _only(sifted.masks, sifted.inventory.all)
        if (fix := each.fix(sifted.met(hosts))) is not None
    ]
    found = singles if singles or sifted.fits else _pairs(sifted)
    yield from sorted(found, key=lambda fix: fix.cost)


def _only(masks: list[tuple[Filter, int]], everyone: int) -> Iterator[tuple[Filter, int]]:
    """The hosts that one filter alone keeps out, by filter."""
    after = [everyone]
    for _, mask in reversed(masks):
        after.append(after[-1] & mask)
    before = everyone
    for place, (each, mask) in enumerate(masks):
        hosts = without(before & after[len(masks) - place - 1], mask)
        if hosts:
            yield each, hosts
        before &= mask


def _pairs(sifted: Sifted) -> list[Fix]:
    found = []
    for pair in combinations(range(len(sifted.masks)), 2):
        hosts = sifted.inventory.all
        for place, (_, mask) in enumerate(sifted.masks):
            if place not in pair:
                hosts &= mask
        if not hosts:
            continue
        one, two = (sifted.masks[place][0] for place in pair)
        first = one.fix(sifted.met(hosts))
        second = two.fix(sifted.met(first.hosts)) if first else None
        if first and second:
            # Of two switches of one host, say the hosts once.
            text = f"{first.text} and {second.text}"
            found.append(Fix(text, first.cost + second.cost, second.hosts))
    return found


def _misses(sifted: Sifted, fixes: list[Fix]) -> Iterator[Miss]:
    """The hosts of the smallest changes; without any, those that came furthest."""
    sets = [fix.hosts for fix in fixes] or [hosts for _, hosts in sifted.removed[-1:]]
    seen: dict[int, None] = {}
    for hosts in sets:
        seen |= dict.fromkeys(islice(slots_of(hosts), NEAREST))
    for slot in islice(seen, NEAREST):
        room, bit = sifted.inventory.at(slot), 1 << slot
        lacks = [each.word(sifted.met(bit)) for each, mask in sifted.masks if not mask & bit]
        note = "" if room.enabled else room.reason
        yield Miss(host=room.host, hostname=room.hostname, lacks="; ".join(lacks), note=note)


def _candidate(pick: Pick, choice: Choice) -> Candidate:
    room, count = pick.room, choice.sifted.fits.bit_count()
    best = pick is choice.picks[0]
    kind = "fullest" if choice.strategy == PACK else "emptiest"
    rank = "fits"
    if best and not any(each.affinity in SOFT for each in choice.sifted.where.companions):
        rank = f"the {kind} of {count} that fit" if count > 1 else "the only one that fits"
    why = f"{rank}: {room.memory_mib} MiB memory, {room.vcpus} vCPU, {room.disk_gib} GiB disk free"
    if pick.points > 0:
        why += f"; it has {pick.points} of the servers that this one would like to be with"
    elif pick.points < 0:
        why += f"; it has {-pick.points} of the servers that this one would like to be apart from"
    return Candidate(host=room.host, hostname=room.hostname, score=round(pick.score, 4), why=why)
