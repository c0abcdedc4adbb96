"""What every host has left, in memory: fed by the commits of this process, read anew when it grows old.

It only proposes; the claim's transaction decides. So a stale figure costs one more try, never an overbooked host.
"""

import asyncio
from collections.abc import Iterable, Iterator
from uuid import UUID

import msgspec

from pileus.core.cloud import Cloud, Look
from pileus.core.compute import traits
from pileus.core.compute.records import Host
from pileus.core.identity.percloud import per_cloud
from pileus.core.placement.bitmaps import Figures, Tagged, of_slots
from pileus.core.placement.groups import Groups

FRESH = 30.0
"""Seconds after which other processes' claims are worth a new reading."""
ARCHITECTURES = {"amd64": "x86_64", "x64": "x86_64", "i386": "x86_64", "i686": "x86_64", "arm64": "aarch64"}
"""Other names, and what runs on a host of another name."""
HYPERVISORS = {"qemu": "kvm"}
"""One driver runs both."""
ANY_HYPERVISOR = "simulator"


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What a consumer takes of a host, and what the host must be. Memory in MiB, disk in GiB."""

    vcpus: int
    memory_mib: int
    disk_gib: int
    required_traits: tuple[str, ...] = ()
    forbidden_traits: tuple[str, ...] = ()
    architecture: str = ""
    hypervisor: str = ""
    """Of the image, as `architecture_of` and `hypervisor_of` write them; empty: any."""


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What a host may still give, with its ratios and reservation counted in."""

    host: UUID
    hostname: str
    number: int
    zone: UUID
    pod: UUID
    cluster: UUID
    vcpus: int
    memory_mib: int
    disk_gib: int
    most_vcpus: int
    """Of one consumer: never more processors than the host really has."""
    enabled: bool
    reason: str
    up: bool
    maintenance: bool
    traits: frozenset[str]
    architecture: str
    hypervisor: str

    def fits(self, need: Need) -> bool:
        """Whether the claim may be made, whatever narrowed the choice."""
        return (
            self.enabled
            and self.up
            and not self.maintenance
            and need.memory_mib <= self.memory_mib
            and need.vcpus <= self.vcpus
            and need.vcpus <= self.most_vcpus
            and need.disk_gib <= self.disk_gib
            and self.traits.issuperset(need.required_traits)
            and self.traits.isdisjoint(need.forbidden_traits)
        )

    def tags(self) -> set[object]:
        found: set[object] = {("trait", trait) for trait in self.traits}
        found |= {("zone", self.zone), ("pod", self.pod), ("cluster", self.cluster)}
        found |= {("architecture", self.architecture), ("hypervisor", self.hypervisor)}
        switches = (("disabled", not self.enabled), ("down", not self.up), ("maintenance", self.maintenance))
        return found | {name for name, on in switches if on}


def architecture_of(text: str) -> str:
    return ARCHITECTURES.get(text.lower(), text.lower())


def hypervisor_of(text: str) -> str:
    return HYPERVISORS.get(text.lower(), text.lower())


def room(host: Host) -> Room:
    return Room(
        host=host.id,
        hostname=host.hostname,
        number=host.number,
        zone=host.zone,
        pod=host.pod,
        cluster=host.cluster,
        vcpus=int(host.vcpus * host.vcpu_ratio) - host.vcpus_used,
        memory_mib=int((host.memory_mib - host.memory_mib_reserved) * host.memory_ratio)
        - host.memory_mib_used,
        disk_gib=int(host.disk_gib * host.disk_ratio) - host.disk_gib_used,
        most_vcpus=host.vcpus,
        enabled=host.enabled,
        reason=host.disabled_reason,
        up=host.up,
        maintenance=host.maintenance,
        traits=traits.of(host),
        architecture=architecture_of(host.architecture),
        hypervisor=hypervisor_of(host.hypervisor_type),
    )


class Inventory:
    """Rooms by host. Each host has a slot; what filters ask about is kept as sets and figures over the slots."""

    def __init__(self) -> None:
        self._rooms: dict[UUID, Room] = {}
        self._generations: dict[UUID, int] = {}
        self._slots: dict[UUID, int] = {}
        self._hosts: list[UUID | None] = []
        self._free: list[int] = []
        self.all = 0
        """The set of all hosts."""
        self.tagged = Tagged()
        self.vcpus, self.memory_mib, self.disk_gib, self.most_vcpus = (Figures() for _ in range(4))
        self.groups = Groups()
        self.stamp = (0, 0, 0)
        """Number of hosts, and the sums of their generations and numbers: equal when nothing has changed."""
        self.read_at = float("-inf")
        self.begun = self.compared = 0
        """Comparisons with the records: how many were begun, and the last that ended well."""
        self.reading = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._rooms)

    def __iter__(self) -> Iterator[Room]:
        return iter(self._rooms.values())

    def at(self, slot: int) -> Room:
        host = self._hosts[slot]
        assert host is not None
        return self._rooms[host]

    def bit(self, host: UUID) -> int:
        """The set of this host; empty for one that is not known."""
        slot = self._slots.get(host)
        return 0 if slot is None else 1 << slot

    def bits(self, hosts: Iterable[UUID]) -> int:
        return of_slots(self._slots[host] for host in hosts if host in self._slots)

    def slot(self, host: UUID) -> int | None:
        return self._slots.get(host)

    def see(self, host: Host) -> None:
        """Take a committed host in; one that is older than what is known already is ignored."""
        known = self._generations.get(host.id, -1)
        if host.generation < known:
            return
        made, old = room(host), self._rooms.get(host.id)
        slot = self._slots.get(host.id)
        if slot is None:
            slot = self._slots[host.id] = self._take_slot(host.id)
        self._turn(slot, old, made)
        self._rooms[host.id] = made
        self._generations[host.id] = host.generation
        count, generations, numbers = self.stamp
        if old is None:
            self.stamp = (count + 1, generations + host.generation, numbers + host.number)
        else:
            self.stamp = (count, generations + host.generation - known, numbers)

    def _take_slot(self, host: UUID) -> int:
        if self._free:
            slot = self._free.pop()
            self._hosts[slot] = host
        else:
            slot = len(self._hosts)
            self._hosts.append(host)
        self.all |= 1 << slot
        self.groups.unfix()
        return slot

    def forget(self, host: UUID) -> None:
        slot = self._slots.pop(host, None)
        if slot is None:
            return
        old, generation = self._rooms.pop(host), self._generations.pop(host)
        self._turn(slot, old, None)
        self._hosts[slot] = None
        self._free.append(slot)
        self.all ^= 1 << slot
        self.groups.unfix()
        count, generations, numbers = self.stamp
        self.stamp = (count - 1, generations - generation, numbers - old.number)

    def _turn(self, slot: int, old: Room | None, new: Room | None) -> None:
        """The sets and figures follow; what is overbooked has nothing left."""
        for name in ("vcpus", "memory_mib", "disk_gib", "most_vcpus"):
            before = max(0, getattr(old, name)) if old else 0
            after = max(0, getattr(new, name)) if new else 0
            if before != after:
                getattr(self, name).change(slot, before, after)
        if old is None or new is None:
            self.tagged.toggle(slot, (new or old).tags())  # type: ignore[union-attr]
        elif _fixed(old) != _fixed(new):
            self.tagged.toggle(slot, old.tags() ^ new.tags())

    def fill(self, hosts: Iterable[Host]) -> None:
        """Replace everything by a reading of all hosts, but for what a commit told of since."""
        read = set()
        for host in hosts:
            read.add(host.id)
            if host.generation > self._generations.get(host.id, -1):
                self.see(host)
        for gone in self._rooms.keys() - read:
            self.forget(gone)

    @property
    def stale(self) -> bool:
        return asyncio.get_running_loop().time() - self.read_at > FRESH


def _fixed(one: Room) -> tuple[object, ...]:
    """What its tags come from: claims change none of it."""
    switches = (one.enabled, one.up, one.maintenance)
    return one.zone, one.pod, one.cluster, one.traits, one.architecture, one.hypervisor, switches


_of = per_cloud(lambda cloud: Inventory())


def known(cloud: Cloud) -> Inventory:
    """The inventory as it is, for those who feed it."""
    return _of(cloud)


async def current(cloud: Cloud, *, anew: bool = False) -> Inventory:
    """The inventory, compared with the records where it is stale or `anew` is asked, and read again where it differs;
    those who ask together share one reading."""
    inventory = _of(cloud)
    asked = inventory.begun
    if anew or inventory.stale:
        async with inventory.reading:
            if inventory.compared <= asked:
                inventory.begun += 1
                await _compare(cloud, inventory, quick=not inventory.stale)
                inventory.compared = inventory.begun
    return inventory


async def _compare(cloud: Cloud, inventory: Inventory, *, quick: bool) -> None:
    began = asyncio.get_running_loop().time()
    async with cloud.view() as look:
        alike = await same(look, inventory.stamp, quick=quick)
        if not alike:
            inventory.fill(await look.list(Host))
        await inventory.groups.refresh(look)
    if not (quick and alike):
        inventory.read_at = began


async def same(look: Look, stamp: tuple[int, int, int], *, quick: bool) -> bool:
    """Whether nothing has changed, a hundred times cheaper than reading the hosts. `quick` overlooks hosts that took the
    place of others in a cloud where nothing else happened: the next comparison that is not quick finds them."""
    count, generations, numbers = stamp
    return (
        await look.count(Host) == count
        and await look.rows.total(Host, "generation") == generations
        and (quick or await look.rows.total(Host, "number") == numbers)
    )
