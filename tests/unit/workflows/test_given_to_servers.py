"""What is given to servers that are deleted meanwhile, and ports that are: at every step of the giving."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from pileus.core.block import compound, volumes
from pileus.core.block.records import Volume, VolumeState
from pileus.core.compute import servers
from pileus.core.compute.records import Server, State
from pileus.core.network import ports
from pileus.core.network.ports import NicWant
from pileus.core.network.records import Network, Port, PortUse, Subnet
from pileus.core.operations import Operation
from pileus.drivers.errors import Refused
from pileus.workflows import catalogue
from pileus.workflows.engine import WORKFLOWS, Workflow
from tests.unit.workflows.test_servers import (
    DEADLINE,
    WHENS,
    Stopper,
    World,
    names,
    with_step,
    world,
)

__all__ = ["world"]

catalogue.load()
ATTACH, DETACH = WORKFLOWS["server.attach_nic"], WORKFLOWS["server.detach_nic"]
FOR = WORKFLOWS["volume.create_for"]
EVERY = [(each, step) for each in (ATTACH, DETACH, FOR) for step in names(each)]
ids = [f"{workflow.name}-{step}" for workflow, step in EVERY]


class Given:
    """An active server, with a second network for its interfaces."""

    def __init__(self, world: World, server: Server, network: UUID) -> None:
        self.world, self.server, self.network = world, server, network

    async def begin(self, workflow: Workflow) -> Operation:
        cloud, caller, key = self.world.cloud, self.world.caller, self.server.id
        if workflow is ATTACH:
            return (await servers.attach_nic(cloud, caller, key, NicWant(network=self.network))).operation
        if workflow is DETACH:
            return (await servers.detach_nic(cloud, caller, key, (await self.ports())[-1])).operation
        want = volumes.Create(project=caller.home, name="given", size_gib=1)
        return (await compound.create_for(cloud, caller, want, key)).operation

    async def ports(self) -> list[UUID]:
        async with self.world.cloud.view() as look:
            held = await look.list(Port, use=PortUse.SERVER, order=("position",))
        return [port.id for port in held]

    async def delete_port(self) -> None:
        """The newest, as its owner does it without a word to the server."""
        await ports.delete(self.world.cloud, self.world.caller, (await self.ports())[-1])

    async def volume(self) -> Volume | None:
        async with self.world.cloud.view() as look:
            return await look.one(Volume, name="given")

    def guest(self) -> Any:
        return self.world.host._machines[self.server.id].guest

    async def agree(self) -> None:
        """The guest has what is recorded, and nothing is stuck."""
        assert [nic.port for nic in self.guest().nics] == await self.ports()
        async with self.world.cloud.view() as look:
            held = await look.list(Volume, server=self.server.id)
        assert {disk.volume for disk in self.guest().disks if not disk.cdrom} == {
            volume.id for volume in held
        }
        assert all((volume.state, volume.operation) == (VolumeState.IN_USE, None) for volume in held)
        assert (await self.world.show(self.server.id)).state is State.ACTIVE

    async def remove(self) -> None:
        """Everything, with what was given."""
        await servers.delete(self.world.cloud, self.world.caller, self.server.id)
        await self.world.quiet()
        await self.nothing_left()

    async def nothing_left(self) -> None:
        """The server took along what was its own, and let the volume go."""
        if (left := await self.volume()) is not None:
            assert left.server is None
            await volumes.delete(self.world.cloud, self.world.caller, left.id)
            await self.world.quiet()
        assert await self.world.leaks() == []


@pytest.fixture
async def given(world: World) -> Given:
    server, now = await world.active(), world.cloud.now()
    async with world.cloud.transaction(world.caller) as tx:
        stamps: dict[str, Any] = {"created_at": now, "updated_at": now}
        network = await tx.add(Network(id=uuid4(), project=world.caller.home, name="two", **stamps))
        pools = (("10.5.0.2", "10.5.0.254"),)
        subnet = Subnet(
            id=uuid4(), network=network.id, project=network.project, cidr="10.5.0.0/24", pools=pools, **stamps
        )
        await tx.add(subnet)
        for resource in ("networks", "subnets"):
            await tx.charge(network.project, resource, 1)
        await tx.start("network.sync", subject=network)
    return Given(world, server, network.id)


async def prepare(given: Given, workflow: Workflow) -> None:
    """There has to be an interface before it can be taken."""
    if workflow is DETACH:
        await given.begin(ATTACH)
    await given.world.quiet()


async def check_done(given: Given, workflow: Workflow) -> None:
    assert len(await given.ports()) == (2 if workflow is ATTACH else 1)
    assert (await given.volume() is not None) is (workflow is FOR)
    await given.agree()


@pytest.mark.parametrize(("workflow", "step"), EVERY, ids=ids)
async def test_a_server_that_is_deleted_meanwhile_leaves_nothing(
    given: Given, monkeypatch: pytest.MonkeyPatch, workflow: Workflow, step: str
) -> None:
    await prepare(given, workflow)
    stopper = Stopper(True)
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, workflow.name, with_step(workflow, step, stopper))
        await given.begin(workflow)
        async with asyncio.timeout(DEADLINE):
            await stopper.reached.wait()
        await given.world.worker.stop()
        await servers.delete(given.world.cloud, given.world.caller, given.server.id)
    await given.world.restart()
    await given.world.quiet()
    await given.nothing_left()


@pytest.mark.parametrize("after", [False, True], ids=WHENS)
@pytest.mark.parametrize(("workflow", "step"), EVERY[: -len(names(FOR))], ids=ids[: -len(names(FOR))])
async def test_a_port_that_is_deleted_meanwhile_leaves_the_guest(
    given: Given, monkeypatch: pytest.MonkeyPatch, workflow: Workflow, step: str, after: bool
) -> None:
    await prepare(given, workflow)
    stopper = Stopper(after)
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, workflow.name, with_step(workflow, step, stopper))
        await given.begin(workflow)
        async with asyncio.timeout(DEADLINE):
            await stopper.reached.wait()
        await given.world.worker.stop()
        await given.delete_port()
    await given.world.restart()
    await given.world.quiet()
    await check_done(given, DETACH)
    await given.remove()


async def test_a_deleted_port_that_the_guest_holds_on_to_is_gone_after_a_start(given: Given) -> None:
    await prepare(given, DETACH)
    world, key = given.world, given.server.id
    world.host.fail("detach_nic", Refused("it is held on to"))
    await given.delete_port()
    await world.quiet()
    assert (len(await given.ports()), len(given.guest().nics)) == (1, 2)
    await servers.stop(world.cloud, world.caller, key, force=True)
    await world.quiet()
    await servers.start(world.cloud, world.caller, key)
    await world.quiet()
    await check_done(given, DETACH)
    await given.remove()
