"""What a delete waits for and must not lose: platforms that are away or say no, other deletes, what is saved from the
object, uploads; and what is swept behind them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from pileus.core import deletion
from pileus.core.block import snapshots, volumes
from pileus.core.block.records import Volume
from pileus.core.compute import servers
from pileus.core.compute.records import Server, State
from pileus.core.errors import NotFound
from pileus.core.image import images
from pileus.core.image.records import ImageState
from pileus.core.operations import Operation, Outcome
from pileus.drivers.errors import Refused, Unreachable
from pileus.workflows import disks, image_upload, volume_delete
from pileus.workflows.engine import WORKFLOWS
from tests.unit.workflows.deleting import (
    DELETE,
    Hold,
    S,
    V,
    active,
    attach,
    being,
    deploy,
    detach,
    empty,
    export,
    extend,
    in_use,
    in_use_with_snapshot,
    making,
    picture,
    queued,
    quick,
    snapshot_of_new,
    with_server,
)
from tests.unit.workflows.storage import CONTENT, DEADLINE, World, state_of, world

__all__ = ["quick", "world"]

# Platforms that are away, and that say no


AWAY: tuple[tuple[Callable[[World], Awaitable[Any]], str, str], ...] = (
    (World.volume, "pool", "delete"),
    (snapshot_of_new, "pool", "delete_snapshot"),
    (World.image, "images", "delete"),
    (active, "host", "undefine"),
)


@pytest.mark.parametrize(
    ("prepare", "platform", "call"), AWAY, ids=lambda value: getattr(value, "__name__", value)
)
async def test_a_platform_that_is_away_is_waited_for_an_hour_and_asked_again(
    world: World, monkeypatch: pytest.MonkeyPatch, prepare: Any, platform: str, call: str
) -> None:
    record = await prepare(world)
    now = world.cloud.now
    getattr(world, platform).fail(call, Unreachable("away"), times=10**6)
    asked = await DELETE[type(record)](world.cloud, world.caller, record.id)
    for minutes in (0, 59):
        monkeypatch.setattr(world.cloud, "now", lambda minutes=minutes: now() + timedelta(minutes=minutes))
        assert await waits(world, asked.operation.id) is Outcome.RUNNING
    monkeypatch.setattr(world.cloud, "now", lambda: now() + timedelta(minutes=62))
    await world.quiet()
    assert await state_of(world, record) is type(await state_of(world, record)).ERROR
    getattr(world, platform).heal()
    await DELETE[type(record)](world.cloud, world.caller, record.id)
    await world.quiet()
    assert await state_of(world, record) is None
    await empty(world)


async def waits(world: World, key: UUID) -> Outcome:
    """What it is after two more tries."""
    async with asyncio.timeout(DEADLINE):
        first = (await operation(world, key)).tries
        while (now := await operation(world, key)).outcome is Outcome.RUNNING and now.tries < first + 2:
            await asyncio.sleep(0.005)
    return now.outcome


async def operation(world: World, key: UUID) -> Operation:
    async with world.cloud.view() as look:
        return await look.get(Operation, key)


async def test_a_guest_that_holds_on_keeps_its_volume_and_lets_it_be_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = await in_use(world)
    hold = Hold("volume.detach", "unplug")
    world.host.fail("detach_disk", Refused("it holds on"), times=2)
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "volume.detach", hold.workflow())
        volume = await detach(world, given)
        await hold.reached.wait()
        await volumes.delete(world.cloud, world.caller, volume.id)
        hold.let_go.set()
        await world.quiet()
    shown = await volumes.show(world.cloud, world.caller, volume.id)
    assert (shown.state, shown.server, shown.fault) == (V.IN_USE, given[1].id, "it holds on")
    await volumes.detach(world.cloud, world.caller, volume.id)
    await volumes.delete(world.cloud, world.caller, volume.id)
    await world.quiet()
    assert await state_of(world, volume) is None
    await empty(world)


# What a delete must not lose


async def test_a_server_going_away_loses_no_delete_nor_snapshot_of_its_volumes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, server, snapshot = await in_use_with_snapshot(world)
    hold = Hold("volume.extend", "enlarge")
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "volume.extend", hold.workflow())
        wanted = await picture(world, volume)
        await extend(world, volume)
        await snapshots.delete(world.cloud, world.caller, snapshot.id)
        await hold.reached.wait()
        await servers.delete(world.cloud, world.caller, server.id)
        hold.let_go.set()
        await world.quiet()
    assert await state_of(world, server) is None
    assert await state_of(world, snapshot) is None
    assert await state_of(world, wanted) is S.AVAILABLE
    assert await state_of(world, volume) is V.AVAILABLE
    await empty(world)


async def test_a_volume_that_was_detached_before_its_server_went_stays(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, server = await with_server(world)
    await attach(world, (volume, server))  # to go with its server
    await world.quiet()
    hold = Hold("volume.detach", "unplug")
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "volume.detach", hold.workflow())
        await detach(world, (volume, server))
        await hold.reached.wait()
        await servers.delete(world.cloud, world.caller, server.id)
        hold.let_go.set()
        await world.quiet()
    assert await state_of(world, volume) is V.AVAILABLE
    await empty(world)


async def test_what_is_made_from_a_volume_is_whole_before_it_goes(world: World) -> None:
    for start in (export, picture, making(of="volume")):
        volume = await world.volume()
        made = await start(world, volume)
        await volumes.delete(world.cloud, world.caller, volume.id, keep_snapshots=True)
        await world.quiet()
        assert await state_of(world, made) in (V.AVAILABLE, S.AVAILABLE, ImageState.ACTIVE)
    await empty(world)


async def test_an_attach_is_called_off_by_a_detach(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    given = await with_server(world)
    hold = Hold("volume.attach", "plug")
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "volume.attach", hold.workflow())
        volume = await attach(world, given)
        await hold.reached.wait()
        first = await volumes.detach(world.cloud, world.caller, volume.id)
        assert (await volumes.detach(world.cloud, world.caller, volume.id)).operation.id == first.operation.id
        hold.let_go.set()
        await world.quiet()
    assert await state_of(world, volume) is V.AVAILABLE
    await empty(world)


async def test_a_destroy_takes_over_and_asking_twice_keeps_the_server(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await being(State.STOPPED)(world)
    hold = Hold("server.start", "start")
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, "server.start", hold.workflow())
        await servers.start(world.cloud, world.caller, server.id)
        await hold.reached.wait()
        first = await servers.destroy(world.cloud, world.caller, server.id)
        assert (
            await servers.destroy(world.cloud, world.caller, server.id)
        ).operation.id == first.operation.id
        hold.let_go.set()
        await world.quiet()
    assert await state_of(world, server) is State.DESTROYED
    await servers.destroy(world.cloud, world.caller, server.id)
    await world.quiet()
    assert await state_of(world, server) is State.DESTROYED
    await servers.recover(world.cloud, world.caller, server.id)
    await world.quiet()
    assert await state_of(world, server) is State.STOPPED
    await empty(world)


# Uploads, and what is swept


async def test_an_upload_ends_when_its_image_is_deleted(world: World) -> None:
    image = await queued(world)
    async with world.cloud.transaction() as tx:
        await tx.put(replace(image, disk_format="raw", container_format="bare"))
    sent, go_on = asyncio.Event(), asyncio.Event()

    async def content() -> AsyncIterator[bytes]:
        yield CONTENT
        sent.set()
        await go_on.wait()

    sending = asyncio.create_task(image_upload.receive(world.site, world.caller, image.id, content()))
    await sent.wait()
    assert await state_of(world, image) is ImageState.SAVING
    await images.delete(world.cloud, world.caller, image.id)
    await world.quiet()
    go_on.set()
    with pytest.raises(NotFound):
        await sending
    await empty(world)


async def test_an_upload_of_which_nothing_is_heard_waits_for_content_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = await queued(world)
    async with world.cloud.transaction() as tx:
        await tx.put(replace(image, state=ImageState.SAVING))
    await image_upload.requeue_silent(world.site)
    assert await state_of(world, image) is ImageState.SAVING
    now = world.cloud.now
    monkeypatch.setattr(world.cloud, "now", lambda: now() + image_upload.SILENCE + timedelta(seconds=1))
    await image_upload.requeue_silent(world.site)
    assert await state_of(world, image) is ImageState.QUEUED


async def test_a_volume_that_was_kept_for_snapshots_that_are_gone_is_swept(world: World) -> None:
    needed, left = await world.volume(), await world.volume()
    await world.snapshot(needed)
    await volumes.delete(world.cloud, world.caller, needed.id, keep_snapshots=True)
    await world.quiet()
    async with world.cloud.transaction() as tx:
        await volume_delete.retain(tx, left)
    assert await disks.sweep_retained(world.site) == [left.id]
    assert set(await world.pool.volumes()) == {needed.id}
    await empty(world)


# What a person was called for


async def stuck_build(world: World) -> Server:
    world.host.fail("define", Refused("no"))
    world.host.fail("undefine", Refused("busy"))
    return await deploy(world, image=(await world.image()).id)


async def stuck_volume(world: World) -> Volume:
    world.pool.fail("create", Refused("no"))
    world.pool.fail("delete", Refused("busy"))
    return await making()(world, None)


async def stuck_attach(world: World) -> Volume:
    given = await with_server(world)
    world.host.fail("attach_disk", Refused("no"))
    world.host.fail("detach_disk", Refused("busy"))
    return await attach(world, given)


@pytest.mark.parametrize("prepare", [stuck_build, stuck_volume, stuck_attach])
async def test_what_is_flagged_is_deleted_and_its_undo_comes_to_an_end(
    world: World, monkeypatch: pytest.MonkeyPatch, prepare: Any
) -> None:
    monkeypatch.setattr("pileus.workflows.engine.UNDO_DEADLINE", -1.0)
    record = await prepare(world)
    await world.quiet()
    async with world.cloud.view() as look:
        flagged = await look.one(Operation, outcome=Outcome.FLAGGED)
    assert flagged is not None
    await DELETE[type(record)](world.cloud, world.caller, record.id)
    await world.quiet()
    assert await state_of(world, record) is None
    async with world.cloud.transaction() as tx:
        await deletion.wake(tx, flagged)
    async with asyncio.timeout(DEADLINE):
        while (await operation(world, flagged.id)).outcome is not Outcome.FAILED:
            await asyncio.sleep(0.005)
    await empty(world)
