"""A simulated cloud's places, and what outlives its process."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from argon2 import PasswordHasher

from pileus.app.bootstrap import bootstrap, join_hosts
from pileus.app.simulation import Simulation
from pileus.config import Config
from pileus.core.block.records import StoragePool, Volume, VolumeKind, VolumeState
from pileus.core.cloud import Cloud
from pileus.core.compute.records import Cluster, Host, Pod, Zone
from pileus.core.events import Event
from pileus.core.identity.authentication import secrets
from pileus.core.identity.records import Project, User
from pileus.drivers.hypervisor.protocol import Guest, Power
from pileus.drivers.network.protocol import Kind
from pileus.reconcile.network import Reconciler
from pileus.store import open_store
from pileus.workflows.site import Site
from tests import schema

GUEST = Guest(id=UUID(int=7), name="g", vcpus=1, memory_mib=64)


@asynccontextmanager
async def started(config: Config, url: str) -> AsyncIterator[tuple[Cloud, Simulation]]:
    """As the process starts it."""
    store = await open_store(url)
    simulation = Simulation(config)
    try:
        cloud = Cloud(config, store)
        await simulation.start()
        await bootstrap(cloud)
        await simulation.arrange(cloud)
        async with cloud.view() as look:
            pools = {pool.id: simulation.pool(pool.path) for pool in await look.list(StoragePool)}
        await simulation.restore(cloud, pools)
        room = await next(iter(pools.values())).facts()
        facts = [await host.facts() for host in simulation.hosts]
        await join_hosts(cloud, "simulator", facts, room, simulation.place_of)
        simulation.begin()
        yield cloud, simulation
    finally:
        await simulation.release()
        await store.close()


@pytest.fixture
async def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(secrets, "ARGON2", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    (tmp_path / "state").mkdir()
    made = f"sqlite:///{tmp_path / 'pileus.db'}"
    await schema.create(made)
    return made


async def test_racks_of_hosts_are_spread_over_zones_that_have_pools(tmp_path: Path, url: str) -> None:
    config = Config(state=tmp_path / "state", simulate=100, simulate_zones=3, simulate_vcpus=4)
    for _ in range(2):  # the second start makes nothing more
        async with started(config, url) as (cloud, _), cloud.view() as look:
            zones = {zone.id: zone.name for zone in await look.list(Zone)}
            hosts = await look.list(Host)
            assert sorted(zones.values()) == ["nova", "nova-2", "nova-3"]
            assert Counter(zones[host.zone] for host in hosts) == {"nova": 34, "nova-2": 33, "nova-3": 33}
            clusters = {cluster.id: cluster for cluster in await look.list(Cluster)}
            assert len(clusters) == len(await look.list(Pod)) == 3
            assert all(clusters[host.cluster].zone == host.zone for host in hosts)
            assert {pool.zone for pool in await look.list(StoragePool)} == set(zones)
            assert {host.vcpus for host in hosts} == {4}
            assert sum("CUSTOM_GPU" in host.traits for host in hosts) == 10


async def test_one_zone_has_racks_of_forty(tmp_path: Path, url: str) -> None:
    async with (
        started(Config(state=tmp_path / "state", simulate=90), url) as (cloud, _),
        cloud.view() as look,
    ):
        assert sorted(Counter(host.pod for host in await look.list(Host)).values()) == [30, 30, 30]
        assert len(await look.list(StoragePool)) == 1


async def test_disks_under_way_and_networks_are_there_after_the_next_start(tmp_path: Path, url: str) -> None:
    config = Config(state=tmp_path / "state", simulate=1)
    async with started(config, url) as (cloud, _), cloud.transaction() as tx:
        (pool,) = await tx.list(StoragePool)
        kind, project = (await tx.list(VolumeKind))[0], (await tx.list(Project))[0]
        owner = (await tx.list(User))[0]
        volume = await tx.add(
            Volume(
                id=cloud.new_id(),
                user=owner.id,
                project=project.id,
                kind=kind.id,
                pool=pool.id,
                size_gib=1,
                created_at=cloud.now(),
                updated_at=cloud.now(),
            )
        )
        assert volume.state is VolumeState.CREATING
    async with started(config, url) as (cloud, simulation):
        assert volume.id in await simulation.pool(pool.path).volumes()
        images = simulation.image_store(str(tmp_path / "images"))
        site = Site(cloud, hypervisors={}, network=simulation.network, pools={}, images=images)
        await Reconciler(site).restore()
        assert (await simulation.network.known())[Kind.NETWORK]
        assert (await Reconciler(site).once()).count == 0


async def test_guests_are_there_after_the_next_start(tmp_path: Path, url: str) -> None:
    config = Config(state=tmp_path / "state", simulate=2, simulate_latency="realistic")
    async with started(config, url) as (_, simulation):
        host = simulation.hosts[1]
        await host.define(GUEST)
        await host.start(GUEST.id)
    async with started(config, url) as (_, simulation):
        assert [await host.guests() for host in simulation.hosts] == [{}, {GUEST.id: Power.ON}]


async def test_hosts_that_are_what_they_were_are_no_news(tmp_path: Path, url: str) -> None:
    config, told = Config(state=tmp_path / "state", simulate=5), []
    for _ in range(2):
        async with started(config, url) as (cloud, _), cloud.view() as look:
            told.append(await look.count(Event, kind="host"))
    assert told == [5, 5]
