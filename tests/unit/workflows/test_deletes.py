"""Delete is accepted in every state, by enumeration: while every workflow is held at each of its steps, what it works on
or with is deleted, twice; then it is gone, and nothing is leaked, stuck or miscounted."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from pileus.core import invariants
from pileus.core.block import snapshots, volumes
from pileus.core.block.records import Snapshot, Volume
from pileus.core.compute import servers
from pileus.core.compute.records import Server, State
from pileus.core.errors import InUse
from pileus.core.image.records import Image, ImageState
from pileus.core.network.records import Network
from pileus.core.operations import Accepted
from pileus.drivers.errors import Refused
from pileus.workflows.engine import WORKFLOWS
from tests.unit.workflows.deleting import (
    BEFORE,
    DELETE,
    Case,
    Hold,
    N,
    S,
    V,
    active,
    attach,
    attach_then_drop,
    being,
    build,
    build_on_volumes,
    built_of,
    create_for,
    deploy,
    detach,
    drop,
    drop_snapshot,
    drop_snapshot_of,
    drop_third,
    dropped,
    empty,
    export,
    exported,
    extend,
    extend_in_use,
    external,
    fetch,
    group,
    home,
    image_and_volume,
    in_use,
    in_use_with_snapshot,
    isolate,
    making,
    making_from,
    nothing,
    on_server,
    pair,
    picture,
    picture_in_use,
    pictured,
    pictured_in_use,
    plug,
    queued,
    quick,
    renamed,
    route,
    snapshot_of_new,
    unplug,
    verb,
    with_server,
)
from tests.unit.workflows.storage import DEADLINE, World, state_of, world

__all__ = ["quick", "world"]

KEEP, ALONG = {"keep_snapshots": True}, {"with_snapshots": True}
CASES = (
    Case("volume empty", "volume.create", V.CREATING, making(), nothing),
    Case("volume of image", "volume.create", V.CREATING, making(of="image"), World.image),
    Case("volume of snapshot", "volume.create", V.CREATING, making(of="snapshot"), snapshot_of_new),
    Case("volume of volume", "volume.create", V.CREATING, making(of="volume")),
    Case("volume being copied", "volume.create", V.AVAILABLE, making_from("volume")),
    Case("snapshot being copied", "volume.create", S.AVAILABLE, making_from("snapshot"), snapshot_of_new),
    Case("image being copied", "volume.create", ImageState.ACTIVE, making_from("image"), World.image),
    Case("volume growing", "volume.extend", V.EXTENDING, extend),
    Case("volume on its way", "volume.attach", V.ATTACHING, attach, with_server),
    Case("volume on its way back", "volume.detach", V.DETACHING, detach, in_use),
    Case("volume for a server", "volume.create_for", V.CREATING, create_for, active),
    Case("volume becoming an image", "image.from_volume", V.UPLOADING, exported),
    Case("volume pictured, kept", "snapshot.create", V.AVAILABLE, pictured, how=KEEP),
    Case("volume pictured, along", "snapshot.create", V.AVAILABLE, pictured, how=ALONG),
    Case("volume losing its snapshot", "snapshot.delete", V.AVAILABLE, drop_snapshot_of, pair),
    Case("volume losing its snapshot, kept", "snapshot.delete", V.AVAILABLE, drop_snapshot_of, pair, KEEP),
    Case("volume losing its snapshot, along", "snapshot.delete", V.AVAILABLE, drop_snapshot_of, pair, ALONG),
    Case("volume again", "volume.delete", V.DELETING, drop, skip=frozenset({"base"})),
    Case("snapshot", "snapshot.create", S.CREATING, picture),
    Case("snapshot in use", "snapshot.create", S.CREATING, picture_in_use, in_use),
    Case(
        "snapshot again",
        "snapshot.delete",
        S.DELETING,
        drop_snapshot,
        snapshot_of_new,
        skip=frozenset({"base"}),
    ),
    Case(
        "snapshot taken along",
        "volume.delete",
        S.DELETING,
        dropped(1, **ALONG),
        pair,
        skip=frozenset({"base"}),
    ),
    Case("snapshot left behind", "volume.delete", S.AVAILABLE, dropped(1, **KEEP), pair),
    Case("image fetched", "image.fetch", ImageState.SAVING, fetch, nothing),
    Case("image of volume", "image.from_volume", ImageState.SAVING, export),
    Case("image again", "image.delete", ImageState.DELETING, drop, World.image, skip=frozenset({"bases"})),
    Case("image of a build", "server.deploy", ImageState.ACTIVE, built_of, World.image),
    Case("server", "server.deploy", State.BUILDING, build, World.image),
    Case("server on volumes", "server.deploy", State.BUILDING, build_on_volumes, image_and_volume),
    Case("server again", "server.delete", State.DELETING, drop, active),
    Case("server attach", "volume.attach", State.ACTIVE, on_server(attach), with_server),
    Case("server detach", "volume.detach", State.ACTIVE, on_server(detach), in_use),
    Case("server grow", "volume.extend", State.ACTIVE, on_server(extend_in_use), in_use),
    Case("server snapshot", "snapshot.create", State.ACTIVE, on_server(pictured_in_use), in_use),
    Case("server unsnapshot", "snapshot.delete", State.ACTIVE, on_server(drop_third), in_use_with_snapshot),
    Case("server volume going", "volume.attach", State.ACTIVE, on_server(attach_then_drop), with_server),
    Case("server nic", "server.attach_nic", State.ACTIVE, plug, active),
    Case("server nic away", "server.detach_nic", State.ACTIVE, unplug, active),
    Case("server start", "server.start", State.STARTING, verb(servers.start), being(State.STOPPED)),
    Case("server stop", "server.stop", State.STOPPING, verb(servers.stop), active),
    Case("server reboot", "server.reboot", State.REBOOTING, verb(servers.reboot), active),
    Case(
        "server hard reboot",
        "server.reboot_hard",
        State.REBOOTING_HARD,
        verb(servers.reboot, hard=True),
        active,
    ),
    Case("server pause", "server.pause", State.PAUSING, verb(servers.pause), active),
    Case("server unpause", "server.unpause", State.UNPAUSING, verb(servers.unpause), being(State.PAUSED)),
    Case("server suspend", "server.suspend", State.SUSPENDING, verb(servers.suspend), active),
    Case("server resume", "server.resume", State.RESUMING, verb(servers.resume), being(State.SUSPENDED)),
    Case("server destroy", "server.destroy", State.DESTROYING, verb(servers.destroy), active),
    Case("network", "network.sync", N.ACTIVE, renamed, home),
    Case("isolated network", "network.build", N.BUILDING, isolate, external),
    Case("router", "router.sync", N.ACTIVE, route, nothing),
    Case("security group", "group.sync", None, group, nothing),
)

EVERY = [
    pytest.param(case, step.name, id=f"{case.name}-{step.name}")
    for case in CASES
    for step in WORKFLOWS[case.workflow].steps
    if step.name not in case.skip
]


@pytest.mark.parametrize(("case", "step"), EVERY)
async def test_a_delete_takes_over_at_the_next_step(
    world: World, monkeypatch: pytest.MonkeyPatch, case: Case, step: str
) -> None:
    given = await case.prepare(world)
    hold = Hold(case.workflow, step)
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, case.workflow, hold.workflow())
        record = await case.start(world, given)
        async with asyncio.timeout(DEADLINE):
            await hold.reached.wait()
        if case.state is not None:
            assert await state_of(world, record) is case.state
        asked = await DELETE[type(record)](world.cloud, world.caller, record.id, **case.how)
        if isinstance(asked, Accepted) and not isinstance(record, Network):
            assert await state_of(world, record) is type(case.state).DELETING
            again = await DELETE[type(record)](world.cloud, world.caller, record.id)
            assert again.operation.id == asked.operation.id
        hold.let_go.set()
        await world.quiet()
    left = await state_of(world, record) if type(record) in (Volume, Snapshot, Image, Server) else None
    assert left is (V.RETAINED if await kept(world, record) else None)
    assert await invariants.violations(world.cloud) == []
    await empty(world)


async def kept(world: World, record: Any) -> bool:
    async with world.cloud.view() as look:
        return isinstance(record, Volume) and await look.count(Snapshot, volume=record.id) > 0


# What is at rest


async def set_image(world: World, state: ImageState) -> Image:
    image = await world.image()
    async with world.cloud.transaction() as tx:
        return await tx.put(replace(image, state=state))


async def failed_volume(world: World) -> Volume:
    world.pool.fail("create", Refused("no"))
    return await world.volume()


async def failed_snapshot(world: World) -> Snapshot:
    volume = await world.volume()
    world.pool.fail("snapshot", Refused("no"))
    return await world.snapshot(volume)


async def failed_server(world: World) -> Server:
    world.host.fail("define", Refused("no"))
    server = await deploy(world, image=(await world.image()).id)
    await world.quiet()
    return server


async def recovering(world: World) -> Server:
    server = await being(State.DESTROYED)(world)
    await world.worker.stop()  # until the delete is there
    await servers.recover(world.cloud, world.caller, server.id)
    return server


REST: tuple[tuple[Any, Callable[[World], Awaitable[Any]]], ...] = (
    (V.AVAILABLE, World.volume),
    (V.ERROR, failed_volume),
    (S.AVAILABLE, snapshot_of_new),
    (S.ERROR, failed_snapshot),
    (ImageState.QUEUED, queued),
    (ImageState.ACTIVE, World.image),
    (ImageState.DEACTIVATED, lambda world: set_image(world, ImageState.DEACTIVATED)),
    (ImageState.ERROR, lambda world: set_image(world, ImageState.ERROR)),
    (State.ERROR, failed_server),
    (State.RECOVERING, recovering),
    *((state, being(state)) for state in (State.ACTIVE, *BEFORE)),
)
ELSEWHERE = (V.IN_USE, V.RETAINED)
"""What a relation protects, and what nobody sees."""


@pytest.mark.parametrize(("state", "prepare"), REST, ids=[repr(state) for state, _ in REST])
async def test_what_is_at_rest_is_deleted(world: World, state: Any, prepare: Any) -> None:
    record = await prepare(world)
    assert await state_of(world, record) is state
    await DELETE[type(record)](world.cloud, world.caller, record.id)
    await world.restart()
    await world.quiet()
    assert await state_of(world, record) is None
    await empty(world)


def test_every_state_is_among_the_cases() -> None:
    met = {
        repr(state) for state in (*(case.state for case in CASES), *(state for state, _ in REST), *ELSEWHERE)
    }
    assert {repr(state) for kind in (V, S, ImageState, State) for state in kind} - met == set()


async def test_only_what_a_server_has_is_refused_and_the_error_says_what_to_do(world: World) -> None:
    volume, server = await in_use(world)
    with pytest.raises(InUse, match=f"held by server {server.id}; detach it first"):
        await volumes.delete(world.cloud, world.caller, volume.id)
    async with world.cloud.view() as look:
        root = (await volumes.of_server(look, server.id))[0]
    with pytest.raises(InUse, match=f"held by server {server.id}; delete the server first"):
        await volumes.delete(world.cloud, world.caller, root.id)
    await empty(world)


async def test_a_volume_with_snapshots_is_refused_until_they_are_being_deleted(world: World) -> None:
    volume, snapshot = await pair(world)
    with pytest.raises(InUse, match="has 1 snapshots; delete them first"):
        await volumes.delete(world.cloud, world.caller, volume.id)
    await snapshots.delete(world.cloud, world.caller, snapshot.id)
    await volumes.delete(world.cloud, world.caller, volume.id)
    await world.quiet()
    assert await state_of(world, volume) is None
    await empty(world)
