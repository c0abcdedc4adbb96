"""A cloud with an external network, for tests of everything above the network driver."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pileus.core.records
import pileus.workflows.network_sync  # registers the workflows
from pileus.config import Config
from pileus.core import quota
from pileus.core.caller import ADMIN, MEMBER, Caller
from pileus.core.cloud import Cloud
from pileus.core.compute.records import Server
from pileus.core.network import networks, subnets
from pileus.core.network.networks import NetworkWant
from pileus.core.network.records import Network
from pileus.core.network.subnets import SubnetWant
from pileus.core.operations import LIVE, Operation
from pileus.drivers.network.fake import FakeNetwork
from pileus.store import open_store
from pileus.workflows.engine import WORKFLOWS, advance
from pileus.workflows.site import Site
from tests import schema

assert pileus.core.records
assert pileus.workflows.network_sync


@dataclass
class Place:
    cloud: Cloud
    site: Site
    network: FakeNetwork
    me: Caller
    admin: Caller
    external: Network

    async def work(self) -> None:
        """Run what was started, one operation after another, as a worker would."""
        for _ in range(100):
            async with self.cloud.view() as look:
                due = await look.list(Operation, outcome=tuple(LIVE), order=("sequence",), limit=1)
            if not due:
                return
            await advance(self.site, WORKFLOWS[due[0].workflow], due[0])
        raise AssertionError("the operations do not end")

    async def used(self) -> dict[str, int]:
        """What the caller's project is charged for."""
        async with self.cloud.view() as look:
            every = await quota.usages(look.rows, self.me.home)
        return {name: used for name, (used, _) in every.items() if used}

    def server(self, name: str = "web", **more: Any) -> Server:
        now = self.cloud.now()
        return Server(
            id=uuid4(),
            project=self.me.home,
            user=self.me.user,
            name=name,
            hostname=name,
            size=uuid4(),
            vcpus=1,
            memory_mib=64,
            disk_gib=1,
            created_at=now,
            updated_at=now,
            **more,
        )

    async def inside(self, cidr: str = "10.7.0.0/24", **more: Any) -> tuple[Network, UUID]:
        """A network of the caller's with one subnet."""
        network, _ = await networks.create(self.cloud, self.me, NetworkWant(name="inside"))
        subnet = await subnets.create(self.cloud, self.me, SubnetWant(network=network.id, cidr=cidr, **more))
        return network, subnet.id


@asynccontextmanager
async def place(url: str, directory: Path) -> AsyncIterator[Place]:
    await schema.create(url)
    store = await open_store(url)
    try:
        cloud = Cloud(Config(state=directory), store, now=lambda: datetime.now(UTC))
        network = FakeNetwork()
        site = Site(cloud, hypervisors={}, network=network, pools={}, images=None)  # type: ignore[arg-type]
        me = Caller(user=uuid4(), project=uuid4(), roles=frozenset({MEMBER, "reader"}))
        admin = Caller(user=uuid4(), project=uuid4(), roles=frozenset({ADMIN, MEMBER, "reader"}))
        outside, _ = await networks.create(cloud, admin, NetworkWant(name="outside", external=True))
        want = SubnetWant(network=outside.id, cidr="203.0.113.0/24", dhcp=False)
        await subnets.create(cloud, admin, want)
        found = Place(cloud, site, network, me, admin, outside)
        await found.work()
        yield found
    finally:
        await store.close()
