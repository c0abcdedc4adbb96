"""A cloud without guests: every host, disk and network is simulated, everything above is real."""

import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from uuid import UUID, uuid5

from pileus.config import Config
from pileus.core.block.records import Volume, VolumeState
from pileus.core.cloud import Cloud
from pileus.drivers.hypervisor.protocol import HostFacts, Hypervisor
from pileus.drivers.hypervisor.simulator import SimulatedHypervisor
from pileus.drivers.network.fake import FakeNetwork
from pileus.drivers.network.protocol import NetworkDriver
from pileus.drivers.volume.fake import MemoryImages, MemoryPool
from pileus.drivers.volume.images import DirectoryImages
from pileus.drivers.volume.protocol import ImageStore, Pool

NAMES = UUID("0f2c1f4e-6b7e-5a51-9f8e-6f6f8e3f1a55")
HOST = {
    "vcpus": 32,
    "memory_mib": 131_072,
    "hypervisor": "Simulator",
    "version": 1_000_000,
    "acceleration": "none",
}


class Simulation:
    """Guests and images are kept in the state directory; disks are made again from their records."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.hosts: list[Hypervisor] = []
        self._network = FakeNetwork()
        self._pools: list[MemoryPool] = []

    async def start(self) -> None:
        directory = self.config.state / "simulated"
        directory.mkdir(exist_ok=True)
        for number in range(1, self.config.simulate + 1):
            name = f"sim-{number}"
            facts = HostFacts(hostname=name, reason="simulated", **HOST)  # type: ignore[arg-type]
            file = directory / f"{name}.guests"
            self.hosts.append(SimulatedHypervisor(uuid5(NAMES, name), facts, time.time, state=file))

    @property
    def network(self) -> NetworkDriver:
        return self._network

    def pool(self, path: str) -> Pool:
        pool = MemoryPool()
        self._pools.append(pool)
        return pool

    def image_store(self, path: str) -> ImageStore:
        """Images in files where qemu-img can check them; else in memory, where they end with the process."""
        if shutil.which("qemu-img"):
            return DirectoryImages(Path(path), self.config.max_image_virtual_gib << 30)
        return MemoryImages()

    async def restore(self, cloud: Cloud, pools: Mapping[UUID, Pool]) -> None:
        """Make the recorded disks again, empty: a simulated guest reads none of them."""
        async with cloud.view() as look:
            volumes: Iterable[Volume] = await look.list(Volume)
        for volume in volumes:
            if volume.state not in (VolumeState.CREATING, VolumeState.ERROR):
                await pools[volume.pool].create(volume.id, volume.size_gib)

    async def release(self) -> None:
        for host in self.hosts:
            await host.close()
