"""Plugging in again what was unplugged behind our back, by enumeration."""

from uuid import UUID

import pytest

from pileus.core.compute.records import Server, State
from pileus.drivers.hypervisor.protocol import Power
from pileus.workflows import server_replug
from pileus.workflows.engine import WORKFLOWS
from tests.unit.workflows.test_servers import WHENS, World, breaking, in_state, names, twice, with_step, world

__all__ = ["world"]

WORKFLOW = server_replug.WORKFLOW
Held = tuple[frozenset[UUID], frozenset[UUID]]


async def devices(world: World, server: Server) -> Held:
    return await world.host.disks(server.id), await world.host.nics(server.id)


async def unplugged(world: World) -> tuple[Server, Held]:
    server = await world.active()
    before = await devices(world, server)
    for port in before[1]:
        await world.host.detach_nic(server.id, port)
    for volume in before[0] - {server.id}:
        await world.host.detach_disk(server.id, volume)
    assert await devices(world, server) != before
    return server, before


async def replug(world: World, server: Server) -> None:
    async with world.cloud.transaction() as tx:
        await tx.start(WORKFLOW.name, subject=server)
    await world.quiet()


@pytest.mark.parametrize("step", names(WORKFLOW))
async def test_everything_recorded_is_plugged_in_again(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    server, before = await unplugged(world)
    monkeypatch.setitem(WORKFLOWS, WORKFLOW.name, with_step(WORKFLOW, step, twice))
    await replug(world, server)
    assert await devices(world, server) == before
    assert await world.show(server.id) == server


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("step", names(WORKFLOW))
async def test_a_failure_changes_no_record_and_may_be_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    server, before = await unplugged(world)
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, WORKFLOW.name, with_step(WORKFLOW, step, breaking(when)))
        await replug(world, server)
    assert await world.show(server.id) == server
    await replug(world, server)
    assert await devices(world, server) == before


async def test_a_guest_that_is_off_is_left_as_it_is(world: World) -> None:
    server = await in_state(world, State.STOPPED)
    for port in await world.host.nics(server.id):
        await world.host.detach_nic(server.id, port)
    await replug(world, server)
    assert await world.host.nics(server.id) == frozenset()
    assert await world.host.power(server.id) is Power.OFF


async def test_a_server_that_is_gone_needs_nothing(world: World) -> None:
    server = await world.active()
    async with world.cloud.transaction() as tx:
        await tx.rows.delete(Server, server.id)
    await replug(world, server)
