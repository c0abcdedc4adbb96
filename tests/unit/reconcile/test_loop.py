"""The loop looks again and again, whatever one look ends with."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from pileus.core.alerts import Alert
from pileus.core.compute.records import State
from pileus.drivers.errors import Refused
from pileus.reconcile.loop import Loop
from tests.unit.workflows.test_servers import DEADLINE, World, world

__all__ = ["world"]


@pytest.fixture
def quick(world: World) -> None:
    world.cloud.config = msgspec.structs.replace(world.cloud.config, reconcile_seconds=0.01)


async def until(reached: Callable[[], Any]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await reached():
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("quick")
async def test_a_sound_cloud_stays_as_it_is(world: World) -> None:
    server, loop = await world.active(), Loop(world.site)
    await loop.start()

    async def looked_twice() -> bool:
        return world.host.calls["survey"] >= 3 and world.site.network.calls["survey"] >= 3  # type: ignore[attr-defined]

    await until(looked_twice)
    await loop.stop()
    assert await world.show(server.id) == server
    async with world.cloud.view() as look:
        assert await look.count(Alert) == 0


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("error", [Refused("no"), RuntimeError("a bug")], ids=["refused", "broken"])
async def test_a_look_that_fails_is_followed_by_the_next(world: World, error: Exception) -> None:
    server, loop = await world.active(), Loop(world.site)
    for call in ("facts", "survey"):
        world.host.fail(call, error)
    await world.host.stop(server.id, force=True)
    await loop.start()

    async def followed() -> bool:
        return (await world.show(server.id)).state is State.STOPPED

    await until(followed)
    await loop.stop()
