"""What every host has left, in memory: fed by the commits of this process, read anew when it grows old.

It only proposes; the claim's transaction decides. So a stale figure costs one more try, never an overbooked host.
"""

import time
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from uuid import UUID

import msgspec

from pileus.core.cloud import Cloud, Look
from pileus.core.compute.records import Host
from pileus.core.identity.percloud import per_cloud

FRESH = 5.0
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
        self._order: list[tuple[int, UUID]] = []
        self._read_at = float("-inf")

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
        insort(self._order, (made.memory_mib, host.id))

    def forget(self, host: UUID) -> None:
        old = self._rooms.pop(host, None)
        self._generations.pop(host, None)
        if old is not None:
            del self._order[bisect_left(self._order, (old.memory_mib, host))]

    def fill(self, hosts: Iterable[Host]) -> None:
        """Replace everything by a reading of all hosts."""
        listed = list(hosts)
        self._rooms = {host.id: room(host) for host in listed}
        self._generations = {host.id: host.generation for host in listed}
        self._order = sorted((made.memory_mib, made.host) for made in self._rooms.values())
        self._read_at = time.monotonic()

    @property
    def stale(self) -> bool:
        return time.monotonic() - self._read_at > FRESH

    def descending(self, need: Need) -> Iterator[Room]:
        """Hosts with memory enough, the emptiest first."""
        for memory, host in reversed(self._order):
            if memory < need.memory_mib:
                return
            yield self._rooms[host]


_of = per_cloud(lambda cloud: Inventory())


def known(cloud: Cloud) -> Inventory:
    """The inventory as it is, for those who feed it."""
    return _of(cloud)


async def current(cloud: Cloud, *, anew: bool = False) -> Inventory:
    """The inventory, read anew where it is stale or `anew` is asked."""
    inventory = _of(cloud)
    if anew or inventory.stale:
        async with cloud.view() as look:
            await refill(inventory, look)
    return inventory


async def refill(inventory: Inventory, look: Look) -> None:
    inventory.fill(await look.list(Host))
