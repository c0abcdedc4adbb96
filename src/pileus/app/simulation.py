"""A cloud without guests: every host, disk and network is simulated, everything above is real."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from pileus.config import Config
from pileus.core.block.records import Snapshot, SnapshotState, StoragePool, Volume, VolumeState
from pileus.core.cloud import Cloud, Tx
from pileus.core.compute.records import Cluster, Pod, Zone
from pileus.drivers.hypervisor.protocol import HostFacts, Hypervisor
from pileus.drivers.hypervisor.simulator import Journal
from pileus.drivers.network.protocol import NetworkDriver
from pileus.drivers.simulated import REALISTIC, SimulatedWorld
from pileus.drivers.volume.images import DirectoryImages
from pileus.drivers.volume.protocol import ImageStore, Pool

NAMES = UUID("0f2c1f4e-6b7e-5a51-9f8e-6f6f8e3f1a55")
RACK = 40
"""Hosts of a rack at most: a pod with one cluster."""
TRAITS = ((1, "HW_CPU_X86_AVX2"), (2, "STORAGE_DISK_SSD"), (4, "HW_CPU_X86_AVX512F"), (10, "CUSTOM_GPU"))
"""Every so many-th host has it."""


class Simulation:
    """Guests and images are kept in the state directory; disks are made again from their records."""

    def __init__(self, config: Config) -> None:
        self.config = config
        directory = config.state / "simulated"
        self._journal = Journal(directory / "guests.journal")
        self.world = SimulatedWorld(
            config.simulate_seed,
            clock=time.time,
            latency=REALISTIC if config.simulate_latency == "realistic" else None,
            journal=self._journal,
        )
        self._racks: list[Cluster] = []

    @property
    def hosts(self) -> list[Hypervisor]:
        return list(self.world.hosts.values())

    async def start(self) -> None:
        self._journal.path.parent.mkdir(exist_ok=True)
        self._journal.open()
        config = self.config
        for number in range(1, config.simulate + 1):
            name = name_of(number)
            facts = HostFacts(
                hostname=name,
                vcpus=config.simulate_vcpus,
                memory_mib=config.simulate_memory_mib,
                hypervisor="Simulator",
                version=1_000_000,
                acceleration="none",
                reason="simulated",
            )
            self.world.host(uuid5(NAMES, name), facts)

    @property
    def network(self) -> NetworkDriver:
        return self.world.network

    def pool(self, path: str) -> Pool:
        return self.world.pool(Path(path).name, self.config.simulate_disk_gib)

    def image_store(self, path: str) -> ImageStore:
        """Images in files where qemu-img can check them; else in memory, where they end with the process."""
        if shutil.which("qemu-img"):
            return DirectoryImages(Path(path), self.config.max_image_virtual_gib << 30)
        return self.world.images

    # --- where the hosts are

    async def arrange(self, cloud: Cloud) -> None:
        """Make the zones and racks that the hosts need and that are not there; the first of each always is."""
        per_rack = min(RACK, -(-self.config.simulate // self.config.simulate_zones))
        racks = -(-self.config.simulate // per_rack)
        async with cloud.transaction() as tx:
            zones = [await self._zone(tx, number) for number in range(min(racks, self.config.simulate_zones))]
            pods = {pod.name: pod for pod in await tx.list(Pod)}
            clusters = {cluster.name: cluster for cluster in await tx.list(Cluster)}
            for number in range(1, racks + 1):
                zone = zones[(number - 1) % len(zones)]
                cluster = clusters.get(f"cluster-{number}") or await rack(tx, zone, number, pods)
                self._racks.append(cluster)

    async def _zone(self, tx: Tx, number: int) -> Zone:
        """With a storage pool."""
        name = self.config.zone if number == 0 else f"{self.config.zone}-{number + 1}"
        held = await tx.one(Zone, name=name)
        if held is not None:
            return held
        now, new = tx.cloud.now(), tx.cloud.new_id
        zone = await tx.add(Zone(id=new(), name=name, region=self.config.region, created_at=now))
        pool = f"primary-{number + 1}"
        path = str(self.config.state / f"pool-{number + 1}")
        await tx.add(
            StoragePool(id=new(), name=pool, driver="memory", path=path, zone=zone.id, created_at=now)
        )
        return zone

    def place_of(self, hostname: str) -> Mapping[str, Any]:
        """Of a new host: its rack, and what it can do."""
        number = int(hostname.removeprefix("sim-"))
        at = self._racks[(number - 1) % len(self._racks)]
        traits = tuple(trait for every, trait in TRAITS if number % every == 0)
        return {"zone": at.zone, "pod": at.pod, "cluster": at.id, "traits": traits}

    # --- what outlives the process

    async def restore(self, cloud: Cloud, pools: Mapping[UUID, Pool]) -> None:
        """Make the recorded disks and their snapshots again, empty: a simulated guest reads none of them. Also those that
        are being created, for the work on them may be past the step that made them."""
        async with cloud.view() as look:
            volumes = await look.list(Volume)
            snapshots = await look.list(Snapshot, state=(SnapshotState.CREATING, SnapshotState.AVAILABLE))
            paths = {pool.id: pool.path for pool in await look.list(StoragePool)}
        made = [one for one in volumes if one.state is not VolumeState.ERROR]
        for key, path in paths.items():
            of_pool = [(volume.id, volume.size_gib) for volume in made if volume.pool == key]
            self.world.pool(Path(path).name).adopt(of_pool)
        for snapshot in snapshots:
            self.world.snapshot(snapshot.volume, snapshot.id)

    def begin(self) -> None:
        """From here on latencies count."""
        self.world.begin()

    async def release(self) -> None:
        for host in self.hosts:
            await host.close()
        self._journal.close()


def name_of(number: int) -> str:
    return f"sim-{number}"


async def rack(tx: Tx, zone: Zone, number: int, pods: Mapping[str, Pod]) -> Cluster:
    now, new = tx.cloud.now(), tx.cloud.new_id
    name = f"pod-{number}"
    pod = pods.get(name) or await tx.add(Pod(id=new(), zone=zone.id, name=name, created_at=now))
    cluster = Cluster(
        id=new(),
        zone=pod.zone,
        pod=pod.id,
        name=f"cluster-{number}",
        hypervisor="Simulator",
        created_at=now,
    )
    return await tx.add(cluster)
