"""What every host has left, in memory: fed by the commits of this process, read anew when it grows old.

It only proposes; the claim's transaction decides. So a stale figure costs one more try, never an overbooked host.
"""

import asyncio
import time
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from uuid import UUID

import msgspec

from pileus.core.cloud import Cloud
from pileus.core.compute.records import Host
from pileus.core.identity.percloud import per_cloud

FRESH = 30.0
"""Seconds after which other processes' claims are worth a new reading."""


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What a consumer takes of a host."""

    vcpus: int
    memory_mib: int
    disk_gib: int


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What a host may still give, with its ratios and reservation counted in."""

    host: UUID
    hostname: str
    zone: UUID
    vcpus: int
    memory_mib: int
    disk_gib: int
    most_vcpus: int
    """Of one consumer: never more processors than the host really has."""
    enabled: bool
    reason: str
    up: bool

    def fits(self, need: Need) -> bool:
        return (
            self.enabled
            and self.up
            and need.memory_mib <= self.memory_mib
            and need.vcpus <= self.vcpus
            and need.vcpus <= self.most_vcpus
            and need.disk_gib <= self.disk_gib
        )


def room(host: Host) -> Room:
    return Room(
        host=host.id,
        hostname=host.hostname,
        zone=host.zone,
        vcpus=int(host.vcpus * host.vcpu_ratio) - host.vcpus_used,
        memory_mib=int((host.memory_mib - host.memory_mib_reserved) * host.memory_ratio)
        - host.memory_mib_used,
        disk_gib=int(host.disk_gib * host.disk_ratio) - host.disk_gib_used,
        most_vcpus=host.vcpus,
        enabled=host.enabled,
        reason=host.disabled_reason,
        up=host.up,
    )


class Inventory:
    """Rooms by host, and sorted by free memory, so that the emptiest host is looked at first."""

    def __init__(self) -> None:
        self._rooms: dict[UUID, Room] = {}
        self._generations: dict[UUID, int] = {}
        self._order: list[tuple[int, int, UUID]] = []
        """Free memory, the host's id as a number (ids themselves compare slowly), and the id."""
        self.read_at = float("-inf")
        self.reading = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._rooms)

    def __iter__(self) -> Iterator[Room]:
        return iter(self._rooms.values())

    def see(self, host: Host) -> None:
        """Take a committed host in; one that is older than what is known already is ignored."""
        if host.generation < self._generations.get(host.id, -1):
            return
        self.forget(host.id)
        made = room(host)
        self._rooms[host.id] = made
        self._generations[host.id] = host.generation
        insort(self._order, (made.memory_mib, host.id.int, host.id))

    def forget(self, host: UUID) -> None:
        old = self._rooms.pop(host, None)
        self._generations.pop(host, None)
        if old is not None:
            del self._order[bisect_left(self._order, (old.memory_mib, host.int, host))]

    def fill(self, hosts: Iterable[Host]) -> None:
        """Replace everything by a reading of all hosts, but for what a commit told of since."""
        rooms: dict[UUID, Room] = {}
        generations: dict[UUID, int] = {}
        for host in hosts:
            known = self._generations.get(host.id, -1)
            rooms[host.id] = room(host) if host.generation > known else self._rooms[host.id]
            generations[host.id] = max(host.generation, known)
        self._rooms, self._generations = rooms, generations
        self._order = sorted((made.memory_mib, made.host.int, made.host) for made in rooms.values())

    @property
    def stale(self) -> bool:
        return time.monotonic() - self.read_at > FRESH

    def descending(self, need: Need) -> Iterator[Room]:
        """Hosts with memory enough, the emptiest first."""
        for memory, _, host in reversed(self._order):
            if memory < need.memory_mib:
                return
            yield self._rooms[host]


_of = per_cloud(lambda cloud: Inventory())


def known(cloud: Cloud) -> Inventory:
    """The inventory as it is, for those who feed it."""
    return _of(cloud)


async def current(cloud: Cloud, *, anew: bool = False) -> Inventory:
    """The inventory, read anew where it is stale or `anew` is asked; those who ask together share one reading."""
    inventory, asked = _of(cloud), time.monotonic()
    if anew or inventory.stale:
        async with inventory.reading:
            if inventory.read_at < asked:
                began = time.monotonic()
                async with cloud.view() as look:
                    inventory.fill(await look.list(Host))
                inventory.read_at = began
    return inventory
