"""What can be deleted, what may be under way then, and how to find that nothing is left."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from dataclasses import replace as changed
from typing import Any
from uuid import uuid4

import pytest

from pileus.core import invariants
from pileus.core.block import compound, snapshots, volumes
from pileus.core.block.records import Snapshot, SnapshotState, Volume, VolumeState
from pileus.core.caller import Caller
from pileus.core.compute import servers, sizes
from pileus.core.compute.deploy import DiskWant, Source
from pileus.core.compute.records import Server, State
from pileus.core.image import exports, images
from pileus.core.image.records import Image
from pileus.core.network import groups, isolated, networks, ports, removal, routers, subnets
from pileus.core.network.groups import GroupWant
from pileus.core.network.networks import NetworkWant
from pileus.core.network.ports import NicWant
from pileus.core.network.records import NetState, Network, Router, SecurityGroup
from pileus.core.network.routers import RouterWant
from pileus.core.network.subnets import SubnetWant
from pileus.core.operations import LIVE, Accepted, Operation
from pileus.core.quota import Usage
from pileus.drivers.network.protocol import Kind
from pileus.workflows import catalogue, disks
from pileus.workflows.engine import WORKFLOWS, Run, Workflow
from tests.unit.workflows.storage import CONTENT, World

catalogue.load()
V, S, N = VolumeState, SnapshotState, NetState
ADMIN = Caller(user=uuid4(), project=uuid4(), roles=frozenset({"admin", "member", "reader"}), face="test")
Given = Any


class Hold:
    """Keeps a workflow at one step until it is let go."""

    def __init__(self, workflow: str, step: str) -> None:
        self.good, self.step = WORKFLOWS[workflow], step
        self.reached, self.let_go = asyncio.Event(), asyncio.Event()

    def workflow(self) -> Workflow:
        found = next(one for one in self.good.steps if one.name == self.step)

        async def do(run: Run) -> Any:
            self.reached.set()
            await self.let_go.wait()
            return await found.do(run)

        steps = tuple(changed(one, do=do) if one.name == self.step else one for one in self.good.steps)
        return changed(self.good, steps=steps)


# What there is beside a site for storage


async def deploy(world: World, **fields: Any) -> Server:
    async with world.cloud.view() as look:
        known = [network for network in await look.list(Network) if network.name == "home"]
    network = known[0] if known else await home(world)
    size = sizes.Create(name=str(uuid4()), vcpus=1, memory_mib=64, disk_gib=1)
    want = servers.Deploy(
        project=world.caller.home,
        name="s",
        size=(await sizes.create(world.cloud, ADMIN, size)).id,
        nics=(NicWant(network=network.id),),
        config_drive=True,
        **fields,
    )
    (accepted,) = await servers.deploy(world.cloud, world.caller, want)
    return accepted.resource  # type: ignore[no-any-return]


async def home(world: World) -> Network:
    network, _ = await networks.create(world.cloud, world.caller, NetworkWant(name="home"))
    await subnets.create(world.cloud, world.caller, SubnetWant(network=network.id, cidr="10.1.0.0/24"))
    await world.quiet()
    return network


async def active(world: World) -> Server:
    server = await deploy(world, image=(await world.image()).id)
    await world.quiet()
    shown = await servers.show(world.cloud, world.caller, server.id)
    assert (shown.state, shown.fault) == (State.ACTIVE, "")
    return shown


async def in_use(world: World) -> tuple[Volume, Server]:
    volume, server = await world.volume(), await active(world)
    await volumes.attach(world.cloud, world.caller, volume.id, server.id)
    await world.quiet()
    return await volumes.show(world.cloud, world.caller, volume.id), server


async def empty(world: World) -> None:
    """Everything can be deleted, whatever became of it; then nothing is left."""
    cloud, caller = world.cloud, world.caller
    for cls in (Server, Snapshot, Volume, Image, Router, SecurityGroup, Network):
        async with cloud.view() as look:
            left = await look.list(cls)
        for record in left:
            retained = isinstance(record, Volume) and record.state is V.RETAINED
            if not retained and not getattr(record, "default", False):
                await DELETE[type(record)](cloud, caller, record.id)
        await world.quiet()
    async with cloud.view() as look:
        for gone in (Server, Volume, Snapshot, Image, Router, Network):
            assert await look.list(gone) == []
        used = {use.resource: use.used for use in await look.list(Usage, project=caller.home) if use.used}
        assert await look.count(Operation, outcome=tuple(LIVE)) == 0
    assert used.keys() <= {"security_groups", "security_rules"}
    assert await invariants.violations(cloud) == []
    assert await world.host.guests() == {}
    assert not await world.pool.volumes()
    assert not await world.pool.bases()
    assert not await world.pool.config_drives()
    assert not await world.images.images()
    known = await world.site.network.known()
    assert not any(known[kind] for kind in (Kind.PORT, Kind.NETWORK, Kind.ROUTER))


async def delete_server(*of: Any, **how: Any) -> Accepted:
    return await servers.delete(*of, **how)


DELETE: dict[type[Any], Callable[..., Awaitable[Any]]] = {
    Server: delete_server,
    Volume: volumes.delete,
    Snapshot: snapshots.delete,
    Image: images.delete,
    Network: removal.delete,
    Router: routers.delete,
    SecurityGroup: groups.delete,
}


# What is under way when the delete comes


@dataclass(frozen=True)
class Case:
    """`prepare` brings the world to where `start` begins the workflow; the record that `start` returns, in `state`, is
    deleted."""

    name: str
    workflow: str
    state: Any
    start: Callable[[World, Given], Awaitable[Any]]
    prepare: Callable[[World], Awaitable[Given]] = World.volume
    how: dict[str, Any] = field(default_factory=dict)
    skip: frozenset[str] = frozenset()
    """Steps after which the record is gone."""


async def nothing(world: World) -> None:
    return None


def making(**source: str) -> Callable[[World, Given], Awaitable[Volume]]:
    async def start(world: World, given: Given) -> Volume:
        fields = {name: given.id for name in source.values()}
        want = volumes.Create(project=world.caller.home, size_gib=2, **fields)
        return (await volumes.create(world.cloud, world.caller, want)).resource  # type: ignore[no-any-return]

    return start


def making_from(source: str) -> Callable[[World, Given], Awaitable[Any]]:
    """It is the source that is deleted."""

    async def start(world: World, given: Given) -> Any:
        await making(of=source)(world, given)
        return given

    return start


async def snapshot_of_new(world: World) -> Snapshot:
    return await world.snapshot(await world.volume())


async def extend(world: World, volume: Volume) -> Volume:
    await volumes.extend(world.cloud, world.caller, volume.id, 3)
    return volume


async def with_server(world: World) -> tuple[Volume, Server]:
    return await world.volume(), await active(world)


async def attach(world: World, given: Given) -> Volume:
    volume, server = given
    await volumes.attach(world.cloud, world.caller, volume.id, server.id, delete_with_server=True)
    return volume  # type: ignore[no-any-return]


async def detach(world: World, given: Given) -> Volume:
    volume, _ = given
    await volumes.detach(world.cloud, world.caller, volume.id)
    return volume  # type: ignore[no-any-return]


async def create_for(world: World, server: Server) -> Volume:
    want = volumes.Create(project=world.caller.home, size_gib=1)
    return (await compound.create_for(world.cloud, world.caller, want, server.id)).resource  # type: ignore[no-any-return]


async def export(world: World, volume: Volume) -> Image:
    want = exports.FromVolume(volume=volume.id, name="copy", disk_format="qcow2")
    return (await exports.create(world.cloud, world.caller, want)).resource  # type: ignore[no-any-return]


async def exported(world: World, volume: Volume) -> Volume:
    await export(world, volume)
    return volume


async def picture(world: World, volume: Volume) -> Snapshot:
    want = snapshots.Create(volume=volume.id, force=True)
    return (await snapshots.create(world.cloud, world.caller, want)).resource  # type: ignore[no-any-return]


async def pictured(world: World, volume: Volume) -> Volume:
    await picture(world, volume)
    return volume


async def drop_snapshot(world: World, snapshot: Snapshot) -> Snapshot:
    await snapshots.delete(world.cloud, world.caller, snapshot.id)
    return snapshot


async def drop_snapshot_of(world: World, given: Given) -> Volume:
    volume, snapshot = given
    await snapshots.delete(world.cloud, world.caller, snapshot.id)
    return volume  # type: ignore[no-any-return]


async def pair(world: World) -> tuple[Volume, Snapshot]:
    volume = await world.volume()
    return volume, await world.snapshot(volume)


def dropped(of: int, **how: Any) -> Callable[[World, Given], Awaitable[Any]]:
    """The volume of a pair is deleted; then one of the two."""

    async def start(world: World, given: Given) -> Any:
        await volumes.delete(world.cloud, world.caller, given[0].id, **how)
        return given[of]

    return start


async def drop(world: World, record: Any) -> Any:
    await DELETE[type(record)](world.cloud, world.caller, record.id)
    return record


async def fetch(world: World, _: None) -> Image:
    want = images.Create(
        project=world.caller.home, name="i", disk_format="raw", container_format="bare", url="http://x/y"
    )
    accepted = await images.create(world.cloud, world.caller, want)
    assert isinstance(accepted, Accepted)
    return accepted.resource  # type: ignore[no-any-return]


async def queued(world: World) -> Image:
    want = images.Create(project=world.caller.home, name="i")
    image = await images.create(world.cloud, world.caller, want)
    assert isinstance(image, Image)
    return image


async def build(world: World, image: Image) -> Server:
    return await deploy(world, image=image.id)


async def built_of(world: World, image: Image) -> Image:
    await build(world, image)
    return image


async def build_on_volumes(world: World, given: Given) -> Server:
    image, volume = given
    boot = DiskWant(source=Source.IMAGE, id=image.id, size_gib=1, boot=True, delete_with_server=True)
    data = DiskWant(source=Source.VOLUME, id=volume.id)
    return await deploy(world, disks=(boot, data))


async def image_and_volume(world: World) -> tuple[Image, Volume]:
    return await world.image(), await world.volume()


BEFORE: dict[State, Callable[..., Awaitable[Any]]] = {
    State.STOPPED: servers.stop,
    State.PAUSED: servers.pause,
    State.SUSPENDED: servers.suspend,
    State.DESTROYED: servers.destroy,
}


def being(state: State) -> Callable[[World], Awaitable[Server]]:
    async def prepare(world: World) -> Server:
        server = await active(world)
        if state in BEFORE:
            await BEFORE[state](world.cloud, world.caller, server.id)
            await world.quiet()
        return server

    return prepare


def verb(ask: Callable[..., Awaitable[Any]], **how: Any) -> Callable[[World, Given], Awaitable[Server]]:
    async def start(world: World, server: Server) -> Server:
        await ask(world.cloud, world.caller, server.id, **how)
        return server

    return start


def on_server(start: Callable[[World, Given], Awaitable[Any]]) -> Callable[[World, Given], Awaitable[Server]]:
    """It is the server of (volume, server) that is deleted."""

    async def begin(world: World, given: Given) -> Server:
        await start(world, given)
        return given[1]  # type: ignore[no-any-return]

    return begin


async def picture_in_use(world: World, given: Given) -> Snapshot:
    return await picture(world, given[0])


async def pictured_in_use(world: World, given: Given) -> Volume:
    return await pictured(world, given[0])


async def in_use_with_snapshot(world: World) -> tuple[Volume, Server, Snapshot]:
    volume, server = await in_use(world)
    return volume, server, await world.snapshot(volume)


async def drop_third(world: World, given: Given) -> Snapshot:
    await snapshots.delete(world.cloud, world.caller, given[2].id)
    return given[2]  # type: ignore[no-any-return]


async def attach_then_drop(world: World, given: Given) -> Volume:
    volume = await attach(world, given)
    await volumes.delete(world.cloud, world.caller, volume.id)
    return volume


async def extend_in_use(world: World, given: Given) -> Volume:
    return await extend(world, given[0])


async def plug(world: World, server: Server) -> Server:
    network = await home_of(world)
    await servers.attach_nic(world.cloud, world.caller, server.id, NicWant(network=network.id))
    return server


async def home_of(world: World) -> Network:
    async with world.cloud.view() as look:
        found = await look.one(Network, name="home")
    assert found is not None
    return found


async def unplug(world: World, server: Server) -> Server:
    async with world.cloud.view() as look:
        ((port, _),) = await ports.of_server(look, server.id)
    await servers.detach_nic(world.cloud, world.caller, server.id, port.id)
    return server


async def renamed(world: World, network: Network) -> Network:
    await networks.update(world.cloud, world.caller, network.id, networks.NetworkChange(mtu=1400))
    return network


async def external(world: World) -> None:
    want = NetworkWant(name="outside", external=True, project=world.caller.home)
    network, _ = await networks.create(world.cloud, ADMIN, want)
    await subnets.create(
        world.cloud, ADMIN, SubnetWant(network=network.id, project=world.caller.home, cidr="203.0.113.0/24")
    )
    await world.quiet()


async def isolate(world: World, _: None) -> Network:
    want = isolated.IsolatedWant(name="own")
    return (await isolated.create(world.cloud, world.caller, want)).resource  # type: ignore[no-any-return]


async def route(world: World, _: None) -> Router:
    return (await routers.create(world.cloud, world.caller, RouterWant(name="r"))).router


async def group(world: World, _: None) -> SecurityGroup:
    return (await groups.create(world.cloud, world.caller, GroupWant(name="g")))[0]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    async def content(*_: Any, **__: Any) -> Any:
        yield CONTENT

    monkeypatch.setattr("pileus.workflows.image_fill.content", content)
    monkeypatch.setattr(disks, "COPYING", 0.01)
