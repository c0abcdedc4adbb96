"""Platforms that hang: the step that asked is cut off, waits with its reason, and comes to its end when they are back."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from pileus.core.compute import servers
from pileus.core.compute.records import Server, State
from pileus.core.operations import LIVE, Operation, Outcome
from pileus.drivers.faults import Fault, FaultKind, Faulty
from pileus.workflows.engine import WORKFLOWS
from tests.unit.workflows.deleting import (
    Given,
    active,
    attach,
    being,
    build,
    create_for,
    deploy,
    detach,
    drop,
    empty,
    export,
    extend,
    fetch,
    home,
    image_and_volume,
    in_use,
    making,
    nothing,
    picture,
    plug,
    quick,
    renamed,
    snapshot_of_new,
    unplug,
    verb,
    with_server,
)
from tests.unit.workflows.storage import DEADLINE, World, world

__all__ = ["quick", "world"]  # fixtures

LIMIT = 0.1
ENDLESS = 1e9


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch, world: World) -> None:
    """Every step of every workflow is cut off soon; the world has loaded them all."""
    for name, known in tuple(WORKFLOWS.items()):
        steps = tuple(replace(step, limit=LIMIT) for step in known.steps)
        monkeypatch.setitem(WORKFLOWS, name, replace(known, steps=steps))


def hang(platform: Faulty, call: str) -> Callable[[], bool]:
    """Lets that call hang until what is returned is called."""
    key = platform.impose(Fault(kind=FaultKind.HANGING, call=call, seconds=ENDLESS))
    return lambda: platform.lift(key)


async def until(true: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(DEADLINE):
        while not (found := await true()):
            await asyncio.sleep(0.01)
    return found


async def cut_off(world: World) -> Operation | None:
    async with world.cloud.view() as look:
        live = await look.list(Operation, outcome=tuple(LIVE))
    return next((one for one in live if "the platform may hang" in one.why), None)


def host(world: World) -> Faulty:
    return world.host


def pool(world: World) -> Faulty:
    return world.pool


def images(world: World) -> Faulty:
    return world.images


def network(world: World) -> Faulty:
    found = world.site.network
    assert isinstance(found, Faulty)
    return found


async def made(world: World, image: Any) -> Server:
    return await build(world, image)


@dataclass(frozen=True)
class Held:
    """The call that hangs while `start` has its work done."""

    on: Callable[[World], Faulty]
    call: str
    prepare: Callable[[World], Awaitable[Given]]
    start: Callable[[World, Given], Awaitable[Any]]

    @property
    def name(self) -> str:
        return f"{self.on.__name__} {self.call} {self.start.__name__} {self.prepare.__name__}"


HELD = (
    Held(images, "write", nothing, fetch),
    Held(images, "inspect", nothing, fetch),
    Held(images, "adopt", World.volume, export),
    Held(images, "delete", World.image, drop),
    Held(pool, "create", nothing, lambda world, _: making()(world, None)),
    Held(pool, "create_from_volume", World.volume, making(of="volume")),
    Held(pool, "create_from_snapshot", snapshot_of_new, making(of="snapshot")),
    Held(pool, "make_base", World.image, making(of="image")),
    Held(pool, "make_base", World.image, made),
    Held(pool, "create_from_base", World.image, made),
    Held(pool, "write_config_drive", World.image, made),
    Held(pool, "snapshot", World.volume, picture),
    Held(pool, "delete_snapshot", snapshot_of_new, drop),
    Held(pool, "extend", World.volume, extend),
    Held(pool, "export", World.volume, export),
    Held(pool, "delete", World.volume, drop),
    Held(pool, "delete_config_drive", active, drop),
    Held(host, "define", World.image, made),
    Held(host, "start", World.image, made),
    Held(host, "power", active, verb(servers.stop)),
    Held(host, "stop", active, verb(servers.stop)),
    Held(host, "stop", active, verb(servers.reboot, hard=True)),
    Held(host, "pause", active, verb(servers.pause)),
    Held(host, "resume", being(State.PAUSED), verb(servers.unpause)),
    Held(host, "suspend", active, verb(servers.suspend)),
    Held(host, "start", being(State.SUSPENDED), verb(servers.resume)),
    Held(host, "start", being(State.STOPPED), verb(servers.start)),
    Held(host, "undefine", active, drop),
    Held(host, "attach_disk", with_server, attach),
    Held(host, "attach_disk", active, create_for),
    Held(host, "detach_disk", in_use, detach),
    Held(host, "attach_nic", active, plug),
    Held(host, "detach_nic", active, unplug),
    Held(network, "apply_network", home, renamed),
    Held(network, "apply_port", World.image, made),
    Held(network, "remove_port", active, drop),
)


@pytest.mark.parametrize("held", HELD, ids=lambda held: held.name)
async def test_what_hangs_waits_with_its_reason_and_is_done_when_the_platform_is_back(
    world: World, short: None, held: Held
) -> None:
    given = await held.prepare(world)
    await world.quiet()
    lift = hang(held.on(world), held.call)
    await held.start(world, given)
    waiting = await until(lambda: cut_off(world))
    assert waiting.why.endswith(f"did not come to an end within {LIMIT:g} s; the platform may hang")
    assert lift()
    await world.quiet()
    async with world.cloud.view() as look:
        ended = await look.get(Operation, waiting.id)
        assert await look.count(Operation, outcome=tuple(LIVE)) == 0
    assert (ended.outcome, ended.fault) == (Outcome.DONE, "")
    await empty(world)


async def test_a_delete_during_a_hang_takes_over_at_the_limit(world: World, short: None) -> None:
    """The call hangs for ever; what it was for is gone all the same."""
    image, _ = await image_and_volume(world)
    hang(world.host, "start")
    server = await deploy(world, image=image.id)

    async def starting() -> int:
        return world.host.calls["start"]

    await until(starting)
    accepted = await servers.delete(world.cloud, world.caller, server.id)
    await world.quiet()
    async with world.cloud.view() as look:
        assert await look.maybe(Server, server.id) is None
        assert (await look.get(Operation, accepted.operation.id)).outcome is Outcome.DONE
    assert await world.host.guests() == {}
    await empty(world)
