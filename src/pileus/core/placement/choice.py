"""Which host takes a server, and, when none does, why not, host by host."""

from collections.abc import Collection
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Tx
from pileus.core.compute.records import Host, Server, Zone
from pileus.core.errors import NoCapacity
from pileus.core.placement.claims import Full, claim
from pileus.core.placement.inventory import Inventory, Need, Room, current

TRIES = 8
"""Hosts tried in one placement; other workers may fill the one that looked best."""


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """What narrows the choice."""

    zone: UUID | None = None
    host: UUID | None = None
    apart_from: tuple[UUID, ...] = ()


def choose(inventory: Inventory, need: Need, where: Where, *, without: Collection[UUID] = ()) -> UUID | None:
    """The emptiest host that fits."""
    for room in inventory.descending(need):
        if room.fits(need) and admitted(room, where) and room.host not in without:
            return room.host
    return None


def admitted(room: Room, where: Where) -> bool:
    return (
        (where.zone is None or room.zone == where.zone)
        and (where.host is None or room.host == where.host)
        and room.host not in where.apart_from
    )


async def propose(cloud: Cloud, need: Need, where: Where, *, without: Collection[UUID] = ()) -> UUID:
    """A host for the claim to try. Raises NoCapacity with the explanation."""
    inventory = await current(cloud)
    host = choose(inventory, need, where, without=without)
    if host is None:
        inventory = await current(cloud, anew=True)
        host = choose(inventory, need, where, without=without)
    if host is None:
        raise await refusal(cloud, inventory, need, where)
    return host


async def take(tx: Tx, server: Server, need: Need, host: UUID) -> Host:
    """The claim of a proposed host. Raises Full."""
    return await claim(tx, server.id, need, host, project=server.project, user=server.user)


async def refusal(cloud: Cloud, inventory: Inventory, need: Need, where: Where) -> NoCapacity:
    async with cloud.view() as look:
        zone = await look.maybe(Zone, where.zone) if where.zone else None
    asked = f"{need.vcpus} vCPU, {need.memory_mib} MiB memory, {need.disk_gib} GiB disk"
    place = f" in zone {zone.name}" if zone else ""
    reasons = explain(inventory, need, where)
    public = f"No valid host was found for {asked}{place}. {summary(len(inventory), reasons)}"
    return NoCapacity(public, private="; ".join(details(inventory, need, where)))


class Reason(msgspec.Struct, frozen=True):
    """Why a group of hosts does not fit. `text` may be shown to anyone: it names no host."""

    hosts: int
    text: str


def obstacle(room: Room, need: Need, where: Where) -> str:
    """The first thing that keeps the server from the host; empty when nothing does."""
    if not admitted(room, where):
        return "elsewhere"
    if not room.enabled:
        return "disabled"
    if not room.up:
        return "down"
    if need.memory_mib > room.memory_mib:
        return "memory"
    if need.vcpus > room.most_vcpus:
        return "processors"
    if need.vcpus > room.vcpus:
        return "vcpus"
    if need.disk_gib > room.disk_gib:
        return "disk"
    return ""


def explain(inventory: Inventory, need: Need, where: Where) -> list[Reason]:
    """Reasons by group of hosts, the largest group first."""
    groups: dict[str, list[Room]] = {}
    for room in inventory:
        groups.setdefault(obstacle(room, need, where), []).append(room)
    reasons = [Reason(len(rooms), word(kind, rooms, need)) for kind, rooms in groups.items() if kind]
    return sorted(reasons, key=lambda reason: -reason.hosts)


def word(kind: str, rooms: list[Room], need: Need) -> str:
    many = len(rooms) != 1
    largest = {
        "memory": max(room.memory_mib for room in rooms),
        "vcpus": max(room.vcpus for room in rooms),
        "processors": max(room.most_vcpus for room in rooms),
        "disk": max(room.disk_gib for room in rooms),
    }.get(kind, 0)
    reasons = sorted({room.reason for room in rooms if room.reason})
    lack = "lack" if many else "lacks"
    return {
        "elsewhere": "outside of what was asked for",
        "disabled": "disabled" + (f": {', '.join(reasons)}" if reasons else ""),
        "down": "down",
        "memory": f"{lack} {need.memory_mib} MiB memory (largest free {max(0, largest)})",
        "vcpus": f"{lack} {need.vcpus} vCPU (most free {max(0, largest)})",
        "processors": f"{'have' if many else 'has'} fewer than {need.vcpus} processors (at most {largest})",
        "disk": f"{lack} {need.disk_gib} GiB disk (largest free {max(0, largest)})",
    }[kind]


def summary(hosts: int, reasons: list[Reason]) -> str:
    if hosts == 0:
        return "There are no hosts; add one."
    listed = ", ".join(f"{reason.hosts} {reason.text}" for reason in reasons)
    return f"{hosts} host{'s' if hosts != 1 else ''}: {listed}."


def details(inventory: Inventory, need: Need, where: Where, limit: int = 50) -> list[str]:
    """Host by host, for administrators."""
    lines = [
        f"{room.hostname}: {word(kind, [room], need)}"
        for room in inventory
        if (kind := obstacle(room, need, where))
    ]
    return lines[:limit]


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """`fits`: how many hosts would take it now."""

    fits: int
    hosts: int
    reasons: list[Reason]
    details: list[str]


async def why(cloud: Cloud, caller: Caller, need: Need, where: Where) -> Explanation:
    """What a placement would meet now; the lines by host are for administrators only."""
    inventory = await current(cloud, anew=True)
    fits = sum(1 for room in inventory if not obstacle(room, need, where))
    lines = details(inventory, need, where) if caller.admin else []
    return Explanation(
        fits=fits, hosts=len(inventory), reasons=explain(inventory, need, where), details=lines
    )


__all__ = [
    "TRIES",
    "Explanation",
    "Full",
    "Need",
    "Reason",
    "Where",
    "choose",
    "explain",
    "propose",
    "take",
    "why",
]
