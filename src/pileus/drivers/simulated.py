"""Everything outside of a simulated cloud: its hosts, network, pools and images, with one seed and one clock."""

import time
from collections.abc import Callable, Iterator, Mapping
from uuid import UUID

from pileus.drivers.faults import Faulty, Surroundings, Told
from pileus.drivers.hypervisor.protocol import HostFacts
from pileus.drivers.hypervisor.simulator import Journal, SimulatedHypervisor
from pileus.drivers.network.fake import FakeNetwork
from pileus.drivers.volume.fake import GIB, MemoryImages, MemoryPool

REALISTIC: Mapping[str, float] = {
    "": 0.01,
    "facts": 0.004,
    "guests": 0.004,
    "power": 0.002,
    "define": 0.03,
    "start": 0.05,
    "stop": 0.02,
    "reboot": 0.02,
    "suspend": 2.0,
    "undefine": 0.03,
    "attach_disk": 0.05,
    "detach_disk": 0.5,
    "attach_nic": 0.05,
    "detach_nic": 0.5,
    "snapshot_disk": 0.3,
    "make_base": 2.0,
    "create": 0.02,
    "create_from_base": 0.03,
    "create_from_snapshot": 1.0,
    "create_from_volume": 1.0,
    "snapshot": 0.1,
    "write_config_drive": 0.02,
    "known": 0.02,
    "settle": 0.05,
}
"""Seconds that a call takes, in the median."""
STOP_SECONDS = 3.0
"""How long a guest of a realistic world takes to power off when asked."""


class SimulatedWorld:
    """Platforms are made once by name, and join the world. `begin` lets its latencies count: until then calls take no
    time, so that a start with many hosts is quick."""

    def __init__(
        self,
        seed: int = 0,
        *,
        clock: Callable[[], float] = time.time,
        latency: Mapping[str, float] | None = None,
        journal: Journal | None = None,
        tell: Callable[[Told], None] | None = None,
    ) -> None:
        self._latency = latency or {}
        self._journal = journal
        self.surroundings = Surroundings(seed=seed, clock=clock, tell=tell)
        self.hosts: dict[UUID, SimulatedHypervisor] = {}
        self.pools: dict[str, MemoryPool] = {}
        self.network = FakeNetwork()
        self.images = MemoryImages()
        self.network.join(self.surroundings, "network")
        self.images.join(self.surroundings, "images")

    def begin(self) -> None:
        self.surroundings.latency = self._latency
        for platform in self.platforms():
            platform.join(self.surroundings, platform.name)

    def platforms(self) -> Iterator[Faulty]:
        yield from (*self.hosts.values(), self.network, *self.pools.values(), self.images)

    def host(self, id: UUID, facts: HostFacts, *, memory_mib: int = 0) -> SimulatedHypervisor:
        """`memory_mib`: what its running guests may have in all; 0: whatever they want."""
        made = self.hosts[id] = SimulatedHypervisor(
            id,
            facts,
            self.surroundings.clock,
            stop_seconds=STOP_SECONDS if self._latency else 0.0,
            memory_mib=memory_mib,
            journal=self._journal,
            storage=self,
        )
        made.join(self.surroundings, facts.hostname)
        return made

    def pool(self, name: str, size_gib: int = 1 << 20) -> MemoryPool:
        """The pool of that name, made where it is not there yet."""
        if name not in self.pools:
            self.pools[name] = MemoryPool(size_gib * GIB)
            self.pools[name].join(self.surroundings, name)
        return self.pools[name]

    # --- the files of the disks, which guests and pools share

    def grow(self, volume: UUID, size_gib: int) -> None:
        for pool in self._with(volume):
            disk = pool.disks[volume]
            disk.virtual_bytes = max(disk.virtual_bytes, size_gib * GIB)

    def snapshot(self, volume: UUID, snapshot: UUID) -> None:
        for pool in self._with(volume):
            disk = pool.disks[volume]
            disk.snapshots.setdefault(snapshot, disk.copy(disk.virtual_bytes))

    def forget_snapshot(self, volume: UUID, snapshot: UUID) -> None:
        for pool in self._with(volume):
            pool.disks[volume].snapshots.pop(snapshot, None)

    def _with(self, volume: UUID) -> Iterator[MemoryPool]:
        return (pool for pool in self.pools.values() if volume in pool.disks)
