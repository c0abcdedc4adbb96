"""Records that contradict each other are one alert; there are none, so the tests make some."""

from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from pileus.core import alerts
from pileus.core.block.records import Volume, VolumeState
from pileus.core.caller import system
from pileus.core.compute.records import TRANSITIONAL, Host, Server, State
from pileus.core.operations import Operation, Outcome
from pileus.core.placement.records import Claim
from pileus.reconcile import soundness
from pileus.reconcile.reactions import Drift
from tests.unit.workflows.test_servers import World, world

__all__ = ["world"]


async def told(world: World) -> dict[str, str]:
    await soundness.look(world.site)
    page = await alerts.listing(world.cloud, system(), project=None, cleared_at=None)
    return {alert.kind: alert.text for alert in page.items}


async def change(
    world: World, cls: type[Server] | type[Volume] | type[Host], key: UUID, **fields: object
) -> None:
    async with world.cloud.transaction() as tx:
        await tx.rows.update(replace(await tx.get(cls, key), **fields))


async def test_a_sound_cloud_tells_nothing(world: World) -> None:
    await world.active()
    assert await told(world) == {}


@pytest.mark.parametrize("state", sorted(TRANSITIONAL))
async def test_a_transitional_state_needs_a_live_operation(world: World, state: State) -> None:
    server = await world.active()
    for operation in (None, uuid4()):
        await change(world, Server, server.id, state=state, operation=operation)
        assert f"server {server.id} is {state.value}" in (await told(world))[Drift.UNSOUND.value]
    await change(world, Server, server.id, state=State.ACTIVE, operation=None)
    assert await told(world) == {}


async def test_a_steady_state_names_no_operation(world: World) -> None:
    server = await world.active()
    await change(world, Server, server.id, operation=uuid4())
    assert "names operation" in (await told(world))[Drift.UNSOUND.value]


async def test_every_kind_that_is_worked_on_is_looked_at(world: World) -> None:
    await world.active()
    async with world.cloud.view() as look:
        volume = (await look.list(Volume))[0]
    await change(world, Volume, volume.id, state=VolumeState.DETACHING)
    assert f"volume {volume.id} is detaching" in (await told(world))[Drift.UNSOUND.value]


async def test_the_counters_of_a_host_are_its_claims_and_its_servers(world: World) -> None:
    server = await world.active()
    assert server.host is not None
    async with world.cloud.view() as look:
        host = await look.get(Host, server.host)
    await change(world, Host, host.id, vcpus_used=host.vcpus_used + 1)
    assert "its claims sum to" in (await told(world))[Drift.UNSOUND.value]
    await change(world, Host, host.id, vcpus_used=host.vcpus_used)
    async with world.cloud.transaction() as tx:
        await tx.rows.delete(Claim, server.id)
    text = (await told(world))[Drift.UNSOUND.value]
    assert text.startswith("2 records")
    assert "without a claim" in text


async def test_an_operation_that_needs_a_person_is_told(world: World) -> None:
    server = await world.active()
    async with world.cloud.transaction() as tx:
        flagged = await tx.start("server.stop", subject=server)
        await tx.rows.update_where(
            Operation, {"outcome": Outcome.FLAGGED, "why": "the host burns", "owner": "x"}, id=flagged.id
        )
    assert "the host burns" in (await told(world))[Drift.FLAGGED.value]
