"""Servers: verbs that fail and that end well, deletes that call off a build, guests and hosts that go their own way.
What befalls each step of their workflows is tests/prove's."""

import asyncio
import importlib
import pkgutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace as changed
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from argon2 import PasswordHasher
from msgspec.structs import replace

import pileus.workflows
from pileus.app.bootstrap import join_host, join_pool
from pileus.config import Config
from pileus.core import invariants, records  # noqa: F401 (declares every table)
from pileus.core.block import volumes
from pileus.core.block.records import StoragePool, Volume, VolumeState
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.compute import servers
from pileus.core.compute.records import Host, Server, Size, State
from pileus.core.compute.states import Verb
from pileus.core.facets import Facet
from pileus.core.identity.authentication import secrets
from pileus.core.identity.records import Project, User
from pileus.core.image.records import Image, ImageState, Visibility
from pileus.core.network.records import FixedAddress, Network, Port, PortUse, Subnet
from pileus.core.quota import Usage
from pileus.drivers.errors import Refused
from pileus.drivers.hypervisor.protocol import HostFacts, Power
from pileus.drivers.hypervisor.simulator import SimulatedHypervisor
from pileus.drivers.network.fake import FakeNetwork
from pileus.drivers.network.protocol import Kind
from pileus.drivers.volume.fake import MemoryImages, MemoryPool
from pileus.drivers.volume.protocol import PoolFacts
from pileus.reconcile.servers import Servers
from pileus.store import open_store
from pileus.workflows import server_delete, server_deploy, server_power
from pileus.workflows.engine import WORKFLOWS, Do, Run, Workflow
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests import schema

DEADLINE = 20.0
FACTS = HostFacts(
    hostname="h", vcpus=8, memory_mib=16384, hypervisor="Simulator", version=1, acceleration="tcg"
)
ROOM = PoolFacts(total_bytes=1 << 40, used_bytes=0, available_bytes=1 << 40)


class World:
    """A site with what a server needs, and a worker that may die."""

    def __init__(self, site: Site, caller: Caller, size: UUID, image: UUID, network: UUID) -> None:
        self.site, self.cloud, self.caller = site, site.cloud, caller
        self.size, self.image, self.network = size, image, network
        self.worker = Worker(site)

    @property
    def host(self) -> SimulatedHypervisor:
        found = next(iter(self.site.hypervisors.values()))
        assert isinstance(found, SimulatedHypervisor)
        return found

    @property
    def pool(self) -> MemoryPool:
        found = next(iter(self.site.pools.values()))
        assert isinstance(found, MemoryPool)
        return found

    async def restart(self) -> None:
        await self.worker.stop()
        self.worker = Worker(self.site)
        await self.worker.start()

    async def deploy(self) -> Server:
        want = servers.Deploy(
            project=self.caller.home,
            name="Web One",
            size=self.size,
            image=self.image,
            config_drive=True,
            admin_password="secret",
            facets={"face": {"a": 1}},
        )
        return (await servers.deploy(self.cloud, self.caller, want))[0].resource  # type: ignore[no-any-return]

    async def active(self) -> Server:
        server = await self.deploy()
        await self.quiet()
        shown = await self.show(server.id)
        assert (shown.state, shown.fault) == (State.ACTIVE, "")
        return shown

    async def quiet(self) -> None:
        async with asyncio.timeout(DEADLINE):
            await self.worker.idle()

    async def show(self, key: UUID) -> Server:
        return await servers.show(self.cloud, self.caller, key)

    async def leaks(self, *, server: bool = False) -> list[str]:
        """What is left besides an (optional) server's record."""
        async with self.cloud.view() as look:
            left = [f"volume {volume.id}" for volume in await look.list(Volume)]
            ports = await look.list(Port, use=PortUse.SERVER)
            left += [f"port {port.id}" for port in ports]
            left += [
                f"address {one.address}"
                for one in await look.list(FixedAddress)
                if one.port in {p.id for p in ports}
            ]
            left += [] if server else [f"facet {facet}" for facet in await look.list(Facet)]
            left += [] if server else [f"server {each.id}" for each in await look.list(Server)]
            for use in await look.list(Usage, project=self.caller.home):
                if use.used and use.resource in ("ports", "volumes", "volume_gib"):
                    left.append(f"usage {use}")
        left += [f"guest {guest}" for guest in await self.host.guests()]
        left += [f"disk {volume}" for volume in await self.pool.volumes()]
        left += [f"drive {drive}" for drive in await self.pool.config_drives()]
        left += [f"network port {port}" for port in (await self.site.network.known())[Kind.PORT]]
        return left + await invariants.violations(self.cloud)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(secrets, "ARGON2", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    for module in pkgutil.iter_modules(pileus.workflows.__path__):
        importlib.import_module(f"pileus.workflows.{module.name}")
    url = f"sqlite:///{tmp_path / 'pileus.db'}"
    config = Config(state=tmp_path / "state", simulate=1)
    await schema.start(url, config)
    store = await open_store(url)
    cloud = Cloud(config, store)
    async with cloud.view() as look:
        pool = (await look.list(StoragePool))[0]
    host = await join_host(cloud, "simulator", FACTS, ROOM)
    await join_pool(cloud, pool, ROOM)
    site = Site(
        cloud,
        hypervisors={host.id: SimulatedHypervisor(host.id, FACTS)},
        network=FakeNetwork(),
        pools={pool.id: MemoryPool()},
        images=MemoryImages(),
    )
    made = await furnish(site)
    await made.worker.start()
    await made.quiet()
    try:
        yield made
    finally:
        await made.worker.stop()
        await store.close()


async def furnish(site: Site) -> World:
    cloud, now, key = site.cloud, site.cloud.now(), uuid4()

    async def content() -> AsyncIterator[bytes]:
        yield b"\0" * 512

    size, md5, sha = await site.images.write(key, content(), max_bytes=4096)
    async with cloud.transaction() as tx:
        project, user = await tx.one(Project, name="demo"), await tx.one(User, name="demo")
        assert project is not None
        assert user is not None
        stamps = {"created_at": now, "updated_at": now}
        image = Image(
            id=key,
            project=project.id,
            state=ImageState.ACTIVE,
            visibility=Visibility.PUBLIC,
            disk_format="raw",
            size=size,
            virtual_size=size,
            checksum=md5,
            sha512=sha,
            **stamps,
        )
        await tx.add(image)
        network = await tx.add(Network(id=uuid4(), project=project.id, name="n", **stamps))
        await tx.add(
            Subnet(
                id=uuid4(),
                network=network.id,
                project=project.id,
                cidr="10.0.0.0/24",
                gateway="10.0.0.1",
                pools=(("10.0.0.2", "10.0.0.254"),),
                **stamps,
            )
        )
        for resource in ("images", "networks", "subnets"):
            await tx.charge(project.id, resource, 1)
        await tx.start("network.sync", subject=network)
        offered = await tx.one(Size, ref="1")
        assert offered is not None
    caller = Caller(user=user.id, project=project.id, roles=frozenset({"member", "reader"}), request="req-1")
    return World(site, caller, offered.id, key, network.id)


def with_step(workflow: Workflow, name: str, change: Callable[[Do], Do]) -> Workflow:
    steps = tuple(changed(step, do=change(step.do)) if step.name == name else step for step in workflow.steps)
    return changed(workflow, steps=steps)


def breaking(when: str) -> Callable[[Do], Do]:
    def change(do: Do) -> Do:
        async def broken(run: Run) -> None:
            if when == "after":
                while await do(run) is not None and run.operation.tries < 0:
                    continue
            raise Refused("injected")

        return broken

    return change


def twice(do: Do) -> Do:
    async def repeated(run: Run) -> object:
        await do(run)
        return await do(run)

    return repeated


WHENS = ["before", "after"]
DEPLOY, DELETE = server_deploy.WORKFLOW, server_delete.WORKFLOW


def names(workflow: Workflow) -> list[str]:
    return [step.name for step in workflow.steps]


class Stopper:
    """Holds a step where the process will end."""

    def __init__(self, after: bool) -> None:
        self.after, self.reached = after, asyncio.Event()

    def __call__(self, do: Do) -> Do:
        async def held(run: Run) -> None:
            if self.after:
                await do(run)
            self.reached.set()
            await asyncio.Event().wait()

        return held


@pytest.mark.parametrize("step", names(DEPLOY))
async def test_a_delete_calls_off_a_build_at_any_step(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    reached, let_go = asyncio.Event(), asyncio.Event()

    def waiting(do: Do) -> Do:
        async def held(run: Run) -> object:
            reached.set()
            await let_go.wait()
            return await do(run)

        return held

    monkeypatch.setitem(WORKFLOWS, DEPLOY.name, with_step(DEPLOY, step, waiting))
    server = await world.deploy()
    async with asyncio.timeout(DEADLINE):
        await reached.wait()
    await servers.delete(world.cloud, world.caller, server.id)
    let_go.set()
    await world.quiet()
    assert await world.leaks() == []


VERBS: dict[Verb, tuple[State, Callable[..., Awaitable[object]]]] = {
    Verb.START: (State.STOPPED, servers.start),
    Verb.STOP: (State.ACTIVE, servers.stop),
    Verb.REBOOT: (State.ACTIVE, servers.reboot),
    Verb.REBOOT_HARD: (State.ACTIVE, lambda *of: servers.reboot(*of, hard=True)),
    Verb.PAUSE: (State.ACTIVE, servers.pause),
    Verb.UNPAUSE: (State.PAUSED, servers.unpause),
    Verb.SUSPEND: (State.ACTIVE, servers.suspend),
    Verb.RESUME: (State.SUSPENDED, servers.resume),
    Verb.DESTROY: (State.ACTIVE, servers.destroy),
    Verb.RECOVER: (State.DESTROYED, servers.recover),
}
BEFORE: dict[State, Callable[..., Awaitable[object]]] = {
    State.STOPPED: servers.stop,
    State.PAUSED: servers.pause,
    State.SUSPENDED: servers.suspend,
    State.DESTROYED: servers.destroy,
}


async def in_state(world: World, state: State) -> Server:
    server = await world.active()
    if state in BEFORE:
        await BEFORE[state](world.cloud, world.caller, server.id)
        await world.quiet()
    return await world.show(server.id)


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize(
    ("verb", "step"),
    [(verb, step.name) for verb, flow in server_power.WORKFLOWS.items() for step in flow.steps],
)
async def test_a_verb_that_fails_leaves_the_state_that_the_platform_has(
    world: World, monkeypatch: pytest.MonkeyPatch, verb: Verb, step: str, when: str
) -> None:
    before, ask = VERBS[verb]
    server = await in_state(world, before)
    flow = server_power.WORKFLOWS[verb]
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, flow.name, with_step(flow, step, breaking(when)))
        await ask(world.cloud, world.caller, server.id)
        await world.quiet()
    shown = await world.show(server.id)
    assert (shown.state, shown.fault, shown.operation) == (before, "injected", None)
    await Servers(world.site).look()
    assert (await world.show(server.id)).state in seen(await world.host.power(server.id))
    assert await invariants.violations(world.cloud) == []


def seen(power: Power | None) -> set[State]:
    return {
        Power.ON: {State.ACTIVE},
        Power.OFF: {State.STOPPED, State.DESTROYED},
        Power.PAUSED: {State.PAUSED},
        Power.SUSPENDED: {State.SUSPENDED},
        None: {State.STOPPED, State.DESTROYED},
    }[power]


@pytest.mark.parametrize("verb", list(server_power.WORKFLOWS))
async def test_a_verb_ends_where_its_table_says(world: World, verb: Verb) -> None:
    before, ask = VERBS[verb]
    server = await in_state(world, before)
    await ask(world.cloud, world.caller, server.id)
    await world.quiet()
    after = server_power.VERBS[verb].after
    assert (await world.show(server.id)).state is after
    assert await invariants.violations(world.cloud) == []


@pytest.mark.parametrize("state", [*BEFORE, State.ACTIVE, State.ERROR])
async def test_a_delete_is_accepted_in_every_state(world: World, state: State) -> None:
    server = await in_state(world, state)
    if state is State.ERROR:
        world.host.crash(server.id)
        await Servers(world.site).look()
        assert (await world.show(server.id)).state is State.ERROR
    await servers.delete(world.cloud, world.caller, server.id)
    await servers.delete(world.cloud, world.caller, server.id)
    await world.quiet()
    assert await world.leaks() == []


async def test_a_deaf_guest_is_powered_off_in_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_power, "GRACE", 0.2)
    server = await world.active()
    world.host.deafen(server.id)
    await servers.stop(world.cloud, world.caller, server.id)
    await world.quiet()
    assert (await world.show(server.id)).state is State.STOPPED
    assert await world.host.power(server.id) is Power.OFF


async def test_a_volume_survives_its_server_unless_it_was_to_go_with_it(world: World) -> None:
    server = await world.active()
    kept, dropped = [
        (
            await volumes.create(
                world.cloud, world.caller, volumes.Create(project=world.caller.home, size_gib=1)
            )
        ).resource
        for _ in range(2)
    ]
    await world.quiet()
    await volumes.attach(world.cloud, world.caller, kept.id, server.id)
    await volumes.attach(world.cloud, world.caller, dropped.id, server.id, delete_with_server=True)
    await world.quiet()
    await servers.delete(world.cloud, world.caller, server.id)
    await world.quiet()
    async with world.cloud.view() as look:
        left = await look.list(Volume)
    assert [(volume.id, volume.state, volume.server) for volume in left] == [
        (kept.id, VolumeState.AVAILABLE, None)
    ]


# The reconciler


async def test_drift_is_recorded(world: World) -> None:
    server, look = await world.active(), Servers(world.site)
    await world.host.stop(server.id, force=True)
    await look.look()
    assert (await world.show(server.id)).state is State.STOPPED
    await world.host.start(server.id)
    await look.look()
    assert (await world.show(server.id)).state is State.ACTIVE
    await world.host.undefine(server.id)
    await look.look()
    shown = await world.show(server.id)
    assert shown.state is State.STOPPED
    assert "start makes it again" in shown.fault
    await servers.start(world.cloud, world.caller, server.id)
    await world.quiet()
    assert await world.host.power(server.id) is Power.ON


async def test_a_guest_without_a_record_goes_at_the_second_look(world: World) -> None:
    server, look = await world.active(), Servers(world.site)
    async with world.cloud.transaction() as tx:
        record = await tx.get(Server, server.id)
        await tx.rows.delete(Server, server.id)
    await look.look()
    assert server.id in await world.host.guests()
    await look.look()
    assert await world.host.guests() == {}
    assert record.id == server.id


async def test_a_destroyed_server_is_expunged_when_its_time_is_over(world: World) -> None:
    server = await in_state(world, State.DESTROYED)
    await Servers(world.site).look()
    await world.quiet()
    assert (await world.show(server.id)).state is State.DESTROYED
    async with world.cloud.transaction() as tx:
        await tx.put(replace(server, destroyed_at=server.created_at.replace(year=2000)))
    await Servers(world.site).look()
    await world.quiet()
    assert await world.leaks() == []


async def test_a_host_that_does_not_answer_gets_no_server_and_a_build_waits_for_none(world: World) -> None:
    world.host.reachable = False
    await Servers(world.site).look()
    async with world.cloud.view() as look:
        assert not (await look.list(Host))[0].up
    server = await world.deploy()
    await world.quiet()
    shown = await world.show(server.id)
    assert shown.state is State.ERROR
    assert "1 host: 1 down" in shown.fault
    world.host.reachable = True
    await Servers(world.site).look()
    await world.active()
