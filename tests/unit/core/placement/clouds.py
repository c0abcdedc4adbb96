"""A zone of five small hosts, and workers that place servers on them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from pileus.app.bootstrap import bootstrap, join_hosts, join_pool
from pileus.config import Config
from pileus.core.block.records import StoragePool
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.compute import servers
from pileus.core.compute.records import Server, Size
from pileus.core.identity.records import Project, User
from pileus.core.image.records import Image, ImageState, Visibility
from pileus.drivers.hypervisor.protocol import HostFacts
from pileus.drivers.hypervisor.simulator import SimulatedHypervisor
from pileus.drivers.network.fake import FakeNetwork
from pileus.drivers.volume.fake import MemoryImages, MemoryPool
from pileus.drivers.volume.protocol import PoolFacts
from pileus.store import Store, open_store
from pileus.workflows import catalogue
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests import schema

DEADLINE = 60.0
HOSTS, SLOTS = 5, 10
ROOM = PoolFacts(total_bytes=1 << 40, used_bytes=0, available_bytes=1 << 40)
SIZE_MIB = 192
"""Of the size that is asked for; two fit on a host."""


@dataclass
class World:
    """Two clouds over one database, each with a worker (SQLite: one cloud, for one process owns the file)."""

    clouds: list[Cloud]
    caller: Caller
    size: UUID
    image: UUID
    workers: list[Worker] = field(default_factory=list)

    async def create(self, number: int, **wanted: Any) -> UUID:
        want = servers.Deploy(
            project=self.caller.home,
            name=f"s-{number}",
            size=self.size,
            image=self.image,
            no_network=True,
            **wanted,
        )
        cloud = self.clouds[number % len(self.clouds)]
        made: UUID = (await servers.deploy(cloud, self.caller, want))[0].resource.id
        return made

    async def create_all(self, count: int, **wanted: Any) -> list[Server]:
        made = await asyncio.gather(*(self.create(number, **wanted) for number in range(count)))
        await self.quiet()
        async with self.clouds[0].view() as look:
            return [await look.get(Server, key) for key in made]

    async def quiet(self) -> None:
        async with asyncio.timeout(DEADLINE):
            for worker in self.workers:
                await worker.idle()


async def image(cloud: Cloud, store: MemoryImages, project: UUID) -> UUID:
    async def content() -> AsyncIterator[bytes]:
        yield b"\0" * 512

    key, now = uuid4(), cloud.now()
    size, md5, sha = await store.write(key, content(), max_bytes=4096)
    made = Image(
        id=key,
        project=project,
        state=ImageState.ACTIVE,
        visibility=Visibility.PUBLIC,
        disk_format="raw",
        size=size,
        virtual_size=size,
        checksum=md5,
        sha512=sha,
        created_at=now,
        updated_at=now,
    )
    async with cloud.transaction() as tx:
        await tx.add(made)
        await tx.charge(project, "images", 1)
    return key


async def built(clouds: list[Cloud]) -> World:
    """Five hosts, each with memory for two servers."""
    catalogue.load()
    cloud = clouds[0]
    await bootstrap(cloud)
    facts = [
        HostFacts(
            hostname=f"h-{number}",
            vcpus=8,
            memory_mib=2 * SIZE_MIB,
            hypervisor="Simulator",
            version=1,
            acceleration="none",
        )
        for number in range(HOSTS)
    ]
    hosts = await join_hosts(cloud, "simulator", facts, ROOM)
    async with cloud.view() as look:
        pool = (await look.list(StoragePool))[0]
        project, user = await look.one(Project, name="demo"), await look.one(User, name="demo")
        size = await look.one(Size, ref="1")
    assert project is not None
    assert user is not None
    assert size is not None
    assert size.memory_mib == SIZE_MIB
    await join_pool(cloud, pool, ROOM)
    images = MemoryImages()
    machines = {host.id: SimulatedHypervisor(host.id, each) for host, each in zip(hosts, facts, strict=True)}
    network, disks = FakeNetwork(), MemoryPool()
    caller = Caller(user=user.id, project=project.id, roles=frozenset({"member", "reader"}), request="req-1")
    world = World(clouds, caller, size.id, await image(cloud, images, project.id))
    for each in clouds:
        site = Site(each, hypervisors=machines, network=network, pools={pool.id: disks}, images=images)
        world.workers.append(Worker(site, alone=len(clouds) == 1))
    return world


@asynccontextmanager
async def opened(url: str, state: Path) -> AsyncIterator[World]:
    """Everything at work, nothing asked of it yet."""
    config = Config(state=state, simulate=HOSTS, memory_overcommit=1.0, reserved_memory_mib=0)
    if url.startswith("sqlite"):
        await schema.start(url, config)
    else:
        await schema.create(url)
    stores: list[Store] = [await open_store(url) for _ in range(1 if url.startswith("sqlite") else 2)]
    started: list[Worker] = []
    try:
        made = await built([Cloud(config, store) for store in stores])
        for worker in made.workers:
            await worker.start()
            started.append(worker)
        await made.quiet()
        yield made
    finally:
        for worker in started:
            await worker.stop()
        for store in stores:
            await store.close()
