"""Records on a database of their own, for comparing real platforms with them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

from pileus.app.bootstrap import join_host
from pileus.config import Config
from pileus.core import alerts, records
from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.core.compute.records import Server, State
from pileus.drivers.hypervisor.protocol import Hypervisor
from pileus.drivers.network.fake import FakeNetwork
from pileus.drivers.volume.fake import MemoryImages
from pileus.drivers.volume.protocol import PoolFacts
from pileus.store import open_store
from pileus.workflows import catalogue
from pileus.workflows.site import Site
from tests import schema
from tests.unit.workflows.storage import places

assert records
ROOM = PoolFacts(total_bytes=1 << 40, used_bytes=0, available_bytes=1 << 40)


@asynccontextmanager
async def one_host(directory: Path, hypervisor: Hypervisor) -> AsyncIterator[tuple[Site, UUID]]:
    """A cloud of one host."""
    catalogue.load()
    url = f"sqlite:///{directory / 'pileus.db'}"
    await schema.create(url)
    store = await open_store(url)
    try:
        cloud = Cloud(Config(state=directory), store)
        await places(cloud)
        host = await join_host(cloud, "libvirt", await hypervisor.facts(), ROOM)
        site = Site(
            cloud,
            hypervisors={host.id: hypervisor},
            network=FakeNetwork(),
            pools={},
            images=MemoryImages(),
        )
        yield site, host.id
    finally:
        await store.close()


async def record(site: Site, host: UUID, key: UUID) -> Server:
    """An active server without disks and ports."""
    now = site.cloud.now()
    made = Server(
        id=key,
        project=uuid4(),
        user=uuid4(),
        name="web",
        hostname="web",
        size=uuid4(),
        vcpus=1,
        memory_mib=128,
        disk_gib=1,
        state=State.ACTIVE,
        host=host,
        created_at=now,
        updated_at=now,
    )
    async with site.cloud.transaction() as tx:
        return await tx.add(made)


async def shown(site: Site, server: Server) -> Server:
    async with site.cloud.view() as look:
        return await look.get(Server, server.id)


async def standing(cloud: Cloud) -> set[str]:
    """The kinds of the open alerts."""
    page = await alerts.listing(cloud, system(), project=None, cleared_at=None)
    return {alert.kind for alert in page.items}
