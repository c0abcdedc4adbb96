"""What keeps a server from a host: a table in the order in which hosts are removed, each filter with its words."""

from collections.abc import Callable
from dataclasses import dataclass

from pileus.core.compute.records import Affinity
from pileus.core.placement.asking import Where
from pileus.core.placement.bitmaps import Figures, without
from pileus.core.placement.groups import PART
from pileus.core.placement.inventory import ANY_HYPERVISOR, Inventory, Need

LEAST_MEMORY = 64
"""MiB below which it is no advice to ask for less."""


@dataclass(frozen=True, slots=True)
class Met:
    """Hosts (a set, not empty) that a filter removed, and what was asked."""

    inventory: Inventory
    need: Need
    where: Where
    hosts: int

    @property
    def count(self) -> int:
        return self.hosts.bit_count()

    @property
    def many(self) -> bool:
        return self.count != 1

    def form(self, one: str, many: str) -> str:
        return many if self.many else one


@dataclass(frozen=True, slots=True)
class Fix:
    """A change that lets some of the hosts (`hosts`) through: "it would fit `text`". The smaller the cost the better;
    from 1 on it is for those who run the cloud."""

    text: str
    cost: float
    hosts: int


Passed = Callable[[Inventory, Need, Where], int | None]
Word = Callable[[Met], str]
Mend = Callable[[Met], Fix | None]


@dataclass(frozen=True, slots=True)
class Filter:
    """`passed`: the hosts that it lets through, None for all; `word`: what the removed ones are or lack, naming none."""

    name: str
    passed: Passed
    word: Word
    fix: Mend


def change(text: Callable[[Met], str], cost: float) -> Mend:
    return lambda met: Fix(text(met), cost, met.hosts)


def on_some(what: str) -> Callable[[Met], str]:
    return lambda met: f"on {'one of ' if met.many else ''}{met.count} {met.form(*what.split('|'))}"


def if_one(what: str, verb: str) -> Callable[[Met], str]:
    return lambda met: f"if {f'one of {met.count} ' if met.many else ''}{met.form(*what.split('|'))} {verb}"


# Places


def _inside(kind: str) -> Passed:
    def passed(inventory: Inventory, need: Need, where: Where) -> int | None:
        key = getattr(where, kind)
        return None if key is None else inventory.tagged[kind, key]

    return passed


def _this_host(inventory: Inventory, need: Need, where: Where) -> int | None:
    return None if where.host is None else inventory.bit(where.host)


def _other_zones(met: Met) -> str:
    found = [
        zone.name
        for key, zone in met.inventory.groups.zones.items()
        if zone.enabled and met.inventory.tagged["zone", key] & met.hosts
    ]
    named = sorted(found)[:3]
    return f"in zone {' or '.join(named)}" if named else "in another zone"


def _open_zones(inventory: Inventory, need: Need, where: Where) -> int | None:
    closed = inventory.groups.closed()
    if not closed:
        return None
    found = 0
    for zone in closed:
        found |= inventory.tagged["zone", zone]
    return without(inventory.all, found)


def _not(name: str) -> Passed:
    def passed(inventory: Inventory, need: Need, where: Where) -> int | None:
        hosts = getattr(where, name)
        return without(inventory.all, inventory.bits(hosts)) if hosts else None

    return passed


def _beside(inventory: Inventory, need: Need, where: Where) -> int | None:
    return None if where.together_with is None else inventory.bits(where.together_with)


# Groups of servers


def _apart(inventory: Inventory, need: Need, where: Where) -> int | None:
    full = [
        host
        for each in where.companions
        if each.affinity is Affinity.APART
        for host, count in each.hosts
        if count >= each.most_per_host
    ]
    return without(inventory.all, inventory.bits(full)) if full else None


def _together(inventory: Inventory, need: Need, where: Where) -> int | None:
    found = inventory.all
    for each in where.companions:
        if each.affinity is Affinity.TOGETHER and each.hosts:
            found &= inventory.bits(host for host, _ in each.hosts)
    return found


def _named(where: Where, affinity: Affinity) -> str:
    return ", ".join(each.name for each in where.companions if each.affinity is affinity and each.hosts)


# What a host is


def _architecture(inventory: Inventory, need: Need, where: Where) -> int | None:
    return inventory.tagged["architecture", need.architecture] if need.architecture else None


def _hypervisor(inventory: Inventory, need: Need, where: Where) -> int | None:
    if not need.hypervisor:
        return None
    # A simulated host stands for one of any kind.
    return inventory.tagged["hypervisor", need.hypervisor] | inventory.tagged["hypervisor", ANY_HYPERVISOR]


def _required(inventory: Inventory, need: Need, where: Where) -> int | None:
    if not need.required_traits:
        return None
    found = inventory.all
    for trait in need.required_traits:
        found &= inventory.tagged["trait", trait]
    return found


def _forbidden(inventory: Inventory, need: Need, where: Where) -> int | None:
    if not need.forbidden_traits:
        return None
    found = inventory.all
    for trait in need.forbidden_traits:
        found = without(found, inventory.tagged["trait", trait])
    return found


def _missing(met: Met) -> str:
    sets = met.inventory.tagged
    return ", ".join(name for name in met.need.required_traits if without(met.hosts, sets["trait", name]))


def _unwanted(met: Met) -> str:
    sets = met.inventory.tagged
    return ", ".join(name for name in met.need.forbidden_traits if met.hosts & sets["trait", name])


def _part(inventory: Inventory, need: Need, where: Where) -> int | None:
    name = where.part
    return inventory.groups.with_metadata(PART, name, inventory.bits) if name else None


def _metadata(inventory: Inventory, need: Need, where: Where) -> int | None:
    if not where.conditions:
        return None
    found = inventory.all
    for key, value in where.conditions:
        found &= inventory.groups.with_metadata(key, value, inventory.bits)
    return found


def conditions(where: Where) -> str:
    return ", ".join(f"{key}={value}" for key, value in where.conditions)


def _unreserved(inventory: Inventory, need: Need, where: Where) -> int | None:
    if where.project is None:
        return None
    kept = inventory.groups.reserved(where.project, inventory.bits)
    return without(inventory.all, kept) if kept else None


def _untagged(name: str) -> Passed:
    def passed(inventory: Inventory, need: Need, where: Where) -> int | None:
        hosts = inventory.tagged[name]
        return without(inventory.all, hosts) if hosts else None

    return passed


# What a host has


def _figures(inventory: Inventory, name: str) -> Figures:
    figures: Figures = getattr(inventory, name)
    return figures


def amount(name: str, asked: str, unit: str, word: Word, least: int = 1) -> Filter:
    """A figure of the host that must be as great as the need's `asked`."""

    def passed(inventory: Inventory, need: Need, where: Where) -> int | None:
        return _figures(inventory, name).at_least(getattr(need, asked), inventory.all)

    def fix(met: Met) -> Fix | None:
        wanted = getattr(met.need, asked)
        value, hosts = _figures(met.inventory, name).greatest(met.hosts)
        if value < least:
            return None
        return Fix(f"with {value} {unit} instead of {wanted}", 1 - value / wanted, hosts)

    return Filter(
        "processors" if name == "most_vcpus" else asked.removesuffix("_mib").removesuffix("_gib"),
        passed,
        word,
        fix,
    )


def greatest(met: Met, name: str) -> int:
    return _figures(met.inventory, name).greatest(met.hosts)[0]


def lack(met: Met, name: str, what: str) -> str:
    free = greatest(met, name)
    return met.form(f"lacks {what} ({free} free)", f"lack {what} (largest free {free})")


FILTERS: tuple[Filter, ...] = (
    Filter(
        "host",
        _this_host,
        lambda met: met.form("is not the host that was asked for", "are not the host that was asked for"),
        change(lambda met: "on another host than the one that was asked for", 0.4),
    ),
    Filter(
        "zone",
        _inside("zone"),
        lambda met: met.form("in another zone", "in other zones"),
        change(_other_zones, 0.4),
    ),
    Filter(
        "part of a zone",
        _part,
        lambda met: f"outside of zone {met.where.part}",
        change(lambda met: f"outside of zone {met.where.part}", 0.4),
    ),
    Filter(
        "closed zone",
        _open_zones,
        lambda met: "in a disabled zone",
        change(lambda met: "if its zone were enabled", 1.2),
    ),
    Filter(
        "pod",
        _inside("pod"),
        lambda met: met.form("in another pod", "in other pods"),
        change(lambda met: "in another pod", 0.4),
    ),
    Filter(
        "cluster",
        _inside("cluster"),
        lambda met: met.form("in another cluster", "in other clusters"),
        change(lambda met: "in another cluster", 0.4),
    ),
    Filter(
        "apart from",
        _not("apart_from"),
        lambda met: "excluded by the request",
        change(on_some("host that the request excludes|hosts that the request excludes"), 0.5),
    ),
    Filter(
        "together with",
        _beside,
        lambda met: met.form("has", "have") + " none of the servers that it must be with",
        change(lambda met: "without the servers that it must be with", 0.5),
    ),
    Filter(
        "group apart",
        _apart,
        lambda met: f"{met.form('has', 'have')} servers of group {_named(met.where, Affinity.APART)} already",
        change(lambda met: f"without the condition APART of group {_named(met.where, Affinity.APART)}", 0.5),
    ),
    Filter(
        "group together",
        _together,
        lambda met: f"{met.form('has', 'have')} no server of group {_named(met.where, Affinity.TOGETHER)}",
        change(
            lambda met: f"without the condition TOGETHER of group {_named(met.where, Affinity.TOGETHER)}", 0.5
        ),
    ),
    Filter(
        "architecture",
        _architecture,
        lambda met: f"of another architecture than {met.need.architecture}",
        change(lambda met: f"with an image for another architecture than {met.need.architecture}", 0.9),
    ),
    Filter(
        "hypervisor",
        _hypervisor,
        lambda met: f"{met.form('runs', 'run')} another hypervisor than {met.need.hypervisor}",
        change(lambda met: f"with an image for another hypervisor than {met.need.hypervisor}", 0.9),
    ),
    Filter(
        "required traits",
        _required,
        lambda met: f"{met.form('lacks', 'lack')} the trait {_missing(met)}",
        change(lambda met: f"without the required trait {_missing(met)}", 0.6),
    ),
    Filter(
        "forbidden traits",
        _forbidden,
        lambda met: f"{met.form('has', 'have')} the forbidden trait {_unwanted(met)}",
        change(lambda met: f"if the trait {_unwanted(met)} were allowed", 0.6),
    ),
    Filter(
        "host group",
        _metadata,
        lambda met: f"in no host group with {conditions(met.where)}",
        change(
            lambda met: f"with a size that does not ask for a host group with {conditions(met.where)}", 0.7
        ),
    ),
    Filter(
        "reserved",
        _unreserved,
        lambda met: "reserved for other projects",
        change(on_some("host reserved for other projects|hosts reserved for other projects"), 1.5),
    ),
    Filter(
        "disabled",
        _untagged("disabled"),
        lambda met: "disabled",
        change(if_one("the disabled host|disabled hosts", "were enabled"), 1.0),
    ),
    Filter(
        "down",
        _untagged("down"),
        lambda met: "down",
        change(if_one("the host that is down|hosts that are down", "came up"), 1.3),
    ),
    Filter(
        "maintenance",
        _untagged("maintenance"),
        lambda met: "in maintenance",
        change(if_one("the host in maintenance|hosts in maintenance", "were back"), 1.1),
    ),
    amount(
        "memory_mib",
        "memory_mib",
        "MiB memory",
        lambda met: lack(met, "memory_mib", f"{met.need.memory_mib} MiB memory"),
        LEAST_MEMORY,
    ),
    amount(
        "most_vcpus",
        "vcpus",
        "vCPU",
        lambda met: (
            f"{met.form('has', 'have')} fewer than {met.need.vcpus} processors "
            f"({met.form('', 'at most ')}{greatest(met, 'most_vcpus')})"
        ),
    ),
    amount("vcpus", "vcpus", "vCPU", lambda met: lack(met, "vcpus", f"{met.need.vcpus} vCPU")),
    amount(
        "disk_gib", "disk_gib", "GiB disk", lambda met: lack(met, "disk_gib", f"{met.need.disk_gib} GiB disk")
    ),
    Filter(
        "taken",
        _not("taken"),
        lambda met: met.form("was", "were") + " taken meanwhile",
        change(lambda met: "when it is tried again", 0.1),
    ),
)
