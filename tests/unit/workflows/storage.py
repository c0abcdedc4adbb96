"""A site for the workflows of volumes, snapshots and images: prepared, and searched for leaks."""

import asyncio
import importlib
import pkgutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

import pileus.workflows
from pileus.app.bootstrap import join_host, join_pool
from pileus.config import Config
from pileus.core import records  # noqa: F401 (declares every table)
from pileus.core.block import snapshots, volumes
from pileus.core.block.records import (
    VOLUME_TRANSITIONAL,
    Snapshot,
    SnapshotState,
    StoragePool,
    Volume,
    VolumeKind,
    VolumeState,
)
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.compute.records import Cluster, Pod, Server, State, Zone
from pileus.core.image import images
from pileus.core.image.records import Image, ImageState
from pileus.core.operations import Operation, Outcome
from pileus.core.quota import Usage
from pileus.drivers.hypervisor.protocol import Guest, HostFacts
from pileus.drivers.hypervisor.simulator import SimulatedHypervisor
from pileus.drivers.network.fake import FakeNetwork
from pileus.drivers.volume.fake import MemoryImages, MemoryPool
from pileus.drivers.volume.protocol import PoolFacts
from pileus.store import open_store
from pileus.workflows.image_upload import receive
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests import schema

DEADLINE = 20.0
INJECTED = "injected"
CONTENT = b"boot" * 2048
HOW = ("before", "after", "repeat", "dies")


class OneFile(SimulatedHypervisor):
    """A guest's snapshots lie in the very file that the pool sees, as they do on a real platform."""

    pool: MemoryPool

    async def snapshot_disk(self, guest: UUID, volume: UUID, snapshot: UUID) -> None:
        await super().snapshot_disk(guest, volume, snapshot)
        self._machines[guest].snapshots = frozenset()
        disk = self.pool.disks[volume]
        disk.snapshots.setdefault(snapshot, disk.copy(disk.virtual_bytes))

    async def delete_disk_snapshot(self, guest: UUID, volume: UUID, snapshot: UUID) -> None:
        await super().delete_disk_snapshot(guest, volume, snapshot)
        self.pool.disks[volume].snapshots.pop(snapshot, None)


class World:
    """A zone, a host, a pool, a project, and a worker that may die."""

    def __init__(self, site: Site, caller: Caller, host: UUID) -> None:
        self.site, self.cloud, self.caller = site, site.cloud, caller
        self.worker = Worker(site)
        self.host_id = host

    @property
    def host(self) -> SimulatedHypervisor:
        found = self.site.hypervisors[self.host_id]
        assert isinstance(found, SimulatedHypervisor)
        return found

    @property
    def pool(self) -> MemoryPool:
        found = next(iter(self.site.pools.values()))
        assert isinstance(found, MemoryPool)
        return found

    @property
    def images(self) -> MemoryImages:
        assert isinstance(self.site.images, MemoryImages)
        return self.site.images

    async def quiet(self) -> None:
        async with asyncio.timeout(DEADLINE):
            await self.worker.idle()

    async def restart(self) -> None:
        await self.worker.stop()
        self.worker = Worker(self.site)
        await self.worker.start()

    async def volume(self, **fields: Any) -> Volume:
        want = volumes.Create(project=self.caller.home, **{"size_gib": 1, **fields})
        made = (await volumes.create(self.cloud, self.caller, want)).resource
        await self.quiet()
        return await volumes.show(self.cloud, self.caller, made.id)

    async def snapshot(self, volume: Volume) -> Snapshot:
        want = snapshots.Create(volume=volume.id, force=True)
        made = (await snapshots.create(self.cloud, self.caller, want)).resource
        await self.quiet()
        return await snapshots.show(self.cloud, self.caller, made.id)

    async def image(self) -> Image:
        want = images.Create(project=self.caller.home, name="i", disk_format="raw", container_format="bare")
        made = await images.create(self.cloud, self.caller, want)
        assert isinstance(made, Image)

        async def content() -> AsyncIterator[bytes]:
            yield CONTENT

        return await receive(self.site, self.caller, made.id, content())

    async def server(self, state: State = State.ACTIVE) -> Server:
        now = self.cloud.now()
        made = Server(
            id=uuid4(),
            project=self.caller.home,
            user=self.caller.user,
            name="s",
            hostname="s",
            size=uuid4(),
            vcpus=1,
            memory_mib=64,
            disk_gib=1,
            state=state,
            host=self.host_id,
            created_at=now,
            updated_at=now,
        )
        async with self.cloud.transaction() as tx:
            await tx.add(made)
        await self.host.define(Guest(id=made.id, name="s", vcpus=1, memory_mib=64))
        if state is State.ACTIVE:
            await self.host.start(made.id)
        return made

    async def held(self, **fields: Any) -> tuple[Volume, Server]:
        volume, server = await self.volume(**fields), await self.server()
        await volumes.attach(self.cloud, self.caller, volume.id, server.id)
        await self.quiet()
        return await volumes.show(self.cloud, self.caller, volume.id), server

    async def faults(self) -> list[str]:
        """Whatever is not as the records say, or is left between two states."""
        async with self.cloud.view() as look:
            kept, taken = await look.list(Volume), await look.list(Snapshot)
            pictures, live = await look.list(Image), await look.count(Operation, outcome=Outcome.RUNNING)
            used = {u.resource: u.used for u in await look.list(Usage, project=self.caller.home) if u.used}
        found = [f"{live} operations still run"] if live else []
        found += [
            f"volume {v.id} is {v.state}" for v in kept if v.state in VOLUME_TRANSITIONAL or v.operation
        ]
        lasting = (SnapshotState.AVAILABLE, SnapshotState.ERROR)
        found += [f"snapshot {s.id} is {s.state}" for s in taken if s.state not in lasting or s.operation]
        passing = (ImageState.SAVING, ImageState.DELETING)
        found += [f"image {i.id} is {i.state}" for i in pictures if i.state in passing or i.operation]
        found += await self._disks(kept, taken) + await self._contents(kept, pictures)
        charged = [v for v in kept if v.state is not VolumeState.RETAINED]
        counted = {
            "volumes": len(charged),
            "volume_gib": sum(v.size_gib for v in charged),
            "snapshots": len(taken),
            "images": len(pictures),
        }
        wrong = {name: number for name, number in counted.items() if used.get(name, 0) != number}
        return found + ([f"usage is {used}, counted {wrong}"] if wrong else [])

    async def _disks(self, kept: list[Volume], taken: list[Snapshot]) -> list[str]:
        there = set(await self.pool.volumes())
        found = [f"disk {key} has no record" for key in there - {v.id for v in kept}]
        needed = {s.volume for s in taken if s.state is SnapshotState.AVAILABLE}
        sound = {v.id for v in kept if v.state is not VolumeState.ERROR}
        sound -= {v.id for v in kept if v.state is VolumeState.RETAINED and v.id not in needed}
        found += [f"volume {key} has no disk" for key in sound - there]
        held = {v.id for v in kept if v.state is VolumeState.IN_USE}
        plugged = set[UUID]()
        inside = {key for disk in self.pool.disks.values() for key in disk.snapshots}
        for machine in self.host._machines.values():
            plugged |= {disk.volume for disk in machine.guest.disks}
        found += [f"guests hold {plugged}, records say {held}"] if plugged != held else []
        found += [f"snapshot {key} has no record" for key in inside - {s.id for s in taken}]
        good = {s.id for s in taken if s.state is SnapshotState.AVAILABLE}
        return found + [f"snapshot {key} has no content" for key in good - inside]

    async def _contents(self, kept: list[Volume], pictures: list[Image]) -> list[str]:
        explained = {i.id for i in pictures} | {v.image for v in kept}
        found = [f"base {key} is left" for key in await self.pool.bases() - explained]
        stored = await self.images.images()
        active = {i.id for i in pictures if i.state is ImageState.ACTIVE}
        broken = {i.id for i in pictures if i.state is ImageState.ERROR}
        found += [f"content {key} is left" for key in stored - active - broken]
        found += [f"image {key} has no content" for key in active - stored]
        exports = self.cloud.config.state / "exports"
        return found + [f"{path} is left" for path in (exports.iterdir() if exports.exists() else ())]

    async def remove_everything(self) -> None:
        """Every object can be deleted, whatever became of it."""
        async with self.cloud.view() as look:
            kept, taken = await look.list(Volume), await look.list(Snapshot)
            pictures = await look.list(Image)
        for volume in kept:
            if volume.state is VolumeState.IN_USE:
                await volumes.detach(self.cloud, self.caller, volume.id)
        await self.quiet()
        for snapshot in taken:
            await snapshots.delete(self.cloud, self.caller, snapshot.id)
        await self.quiet()
        for volume in kept:
            if volume.state is not VolumeState.RETAINED:
                await volumes.delete(self.cloud, self.caller, volume.id)
        for image in pictures:
            await images.delete(self.cloud, self.caller, image.id)
        await self.quiet()
        async with self.cloud.view() as look:
            for cls in (Volume, Snapshot, Image):
                assert await look.list(cls) == []
        assert await self.faults() == []
        assert not await self.pool.volumes()
        assert not await self.images.images()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr("pileus.workflows.engine.RETRY", (0.01,))
    for module in pkgutil.iter_modules(pileus.workflows.__path__):
        importlib.import_module(f"pileus.workflows.{module.name}")
    url = f"sqlite:///{tmp_path / 'pileus.db'}"
    await schema.create(url)
    store = await open_store(url)
    cloud = Cloud(Config(state=tmp_path / "state", simulate=1), store)
    facts = HostFacts(
        hostname="h", vcpus=8, memory_mib=16384, hypervisor="Simulator", version=1, acceleration="tcg"
    )
    room = PoolFacts(total_bytes=1 << 40, used_bytes=0, available_bytes=1 << 40)
    pool = await places(cloud)
    host = await join_host(cloud, "simulator", facts, room)
    await join_pool(cloud, pool, room)
    hypervisor, disks = OneFile(host.id, facts), MemoryPool()
    hypervisor.pool = disks
    site = Site(
        cloud,
        hypervisors={host.id: hypervisor},
        network=FakeNetwork(),
        pools={pool.id: disks},
        images=MemoryImages(),
    )
    caller = Caller(user=uuid4(), project=uuid4(), roles=frozenset({"member", "reader"}), face="test")
    made = World(site, caller, host.id)
    await made.worker.start()
    try:
        yield made
    finally:
        await made.worker.stop()
        await store.close()


async def places(cloud: Cloud) -> StoragePool:
    now = cloud.now()
    async with cloud.transaction() as tx:
        zone = await tx.add(Zone(id=uuid4(), name="z", region="r", created_at=now))
        pod = await tx.add(Pod(id=uuid4(), zone=zone.id, name="p", created_at=now))
        await tx.add(
            Cluster(id=uuid4(), zone=zone.id, pod=pod.id, name="c", hypervisor="Simulator", created_at=now)
        )
        await tx.add(VolumeKind(id=uuid4(), name="standard", default=True, created_at=now))
        return await tx.add(
            StoragePool(id=uuid4(), name="primary", driver="memory", path="", zone=zone.id, created_at=now)
        )


async def state_of(world: World, record: Volume | Snapshot | Image) -> Any:
    """None when it is gone."""
    async with world.cloud.view() as look:
        found = await look.maybe(type(record), record.id)
    return found.state if found else None


async def set_state(world: World, volume: Volume, **fields: Any) -> None:
    async with world.cloud.transaction() as tx:
        await tx.put(replace(await tx.get(Volume, volume.id), **fields))
