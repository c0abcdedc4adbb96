"""What may happen to a snapshot at the same time as its workflows run."""

import asyncio

import pytest

from pileus.core.block import snapshots, volumes
from pileus.core.block.records import SnapshotState, VolumeState
from pileus.core.compute import lifecycle
from pileus.core.errors import Conflict, NotFound
from pileus.drivers.errors import Refused
from pileus.workflows import snapshots as workflows  # noqa: F401
from tests.unit.workflows.storage import state_of, world

__all__ = ["world"]


async def of_free(world):
    return await world.snapshot(await world.volume())


async def test_a_delete_calls_off_what_is_being_made(world, monkeypatch):
    volume = await world.volume()
    reached, go_on = asyncio.Event(), asyncio.Event()
    make = world.pool.snapshot

    async def slowly(*arguments):
        reached.set()
        await go_on.wait()
        await make(*arguments)

    monkeypatch.setattr(world.pool, "snapshot", slowly)
    made = await snapshots.create(world.cloud, world.caller, snapshots.Create(volume=volume.id))
    await reached.wait()
    first = await snapshots.delete(world.cloud, world.caller, made.resource.id)
    again = await snapshots.delete(world.cloud, world.caller, made.resource.id)
    assert again.operation.id == first.operation.id
    go_on.set()
    await world.quiet()
    assert await state_of(world, made.resource) is None
    assert await world.faults() == []


async def test_a_volume_is_not_attached_while_its_snapshot_is_made(world, monkeypatch):
    volume, server = await world.volume(), await world.server()
    reached, go_on = asyncio.Event(), asyncio.Event()
    make = world.pool.snapshot

    async def slowly(*arguments):
        reached.set()
        await go_on.wait()
        await make(*arguments)

    monkeypatch.setattr(world.pool, "snapshot", slowly)
    await snapshots.create(world.cloud, world.caller, snapshots.Create(volume=volume.id))
    await reached.wait()
    with pytest.raises(Conflict, match="snapshot of volume"):
        await volumes.attach(world.cloud, world.caller, volume.id, server.id)
    copy = volumes.Create(project=world.caller.home, volume=volume.id)
    with pytest.raises(Conflict, match="snapshot of volume"):
        await volumes.create(world.cloud, world.caller, copy)
    go_on.set()
    await world.quiet()
    await volumes.attach(world.cloud, world.caller, volume.id, server.id)
    await world.quiet()
    assert await world.faults() == []


async def test_the_pool_is_asked_when_the_guest_stopped_meanwhile(world, monkeypatch):
    volume, server = await world.held()

    async def stops(*arguments):
        await world.host.stop(server.id, force=True)
        raise Refused("the guest is off")

    monkeypatch.setattr(world.host, "snapshot_disk", stops)
    snapshot = await world.snapshot(volume)
    assert snapshot.state is SnapshotState.AVAILABLE
    assert snapshot.id in await world.pool.snapshots(volume.id)


async def test_a_suspended_guests_disk_is_closed_and_can_be_pictured(world):
    volume, server = await world.held()
    await world.host.suspend(server.id)
    snapshot = await world.snapshot(volume)
    assert snapshot.state is SnapshotState.AVAILABLE
    assert world.host.calls["snapshot_disk"] == 0
    await snapshots.delete(world.cloud, world.caller, snapshot.id)
    await world.quiet()
    assert await state_of(world, snapshot) is None


async def test_a_snapshot_under_way_is_whole_before_its_server_goes(world, monkeypatch):
    volume, server = await world.held()
    reached, go_on = asyncio.Event(), asyncio.Event()
    make = world.host.snapshot_disk

    async def slowly(*arguments):
        reached.set()
        await go_on.wait()
        await make(*arguments)

    monkeypatch.setattr(world.host, "snapshot_disk", slowly)
    want = snapshots.Create(volume=volume.id, force=True)
    made = (await snapshots.create(world.cloud, world.caller, want)).resource
    await reached.wait()
    await lifecycle.delete(world.cloud, world.caller, server.id)
    go_on.set()
    await world.quiet()
    assert await state_of(world, made) is SnapshotState.AVAILABLE
    assert await state_of(world, volume) is VolumeState.AVAILABLE
    await snapshots.delete(world.cloud, world.caller, made.id)
    await world.quiet()
    assert await state_of(world, made) is None


async def test_a_retained_volume_is_gone_for_everybody(world):
    volume = await world.volume()
    snapshot = await world.snapshot(volume)
    await volumes.delete(world.cloud, world.caller, volume.id, keep_snapshots=True)
    await world.quiet()
    assert await state_of(world, volume) is VolumeState.RETAINED
    project = world.caller.home
    assert await volumes.listing(world.cloud, world.caller, project=project) == []
    for asked in (
        volumes.show(world.cloud, world.caller, volume.id),
        volumes.delete(world.cloud, world.caller, volume.id),
        volumes.extend(world.cloud, world.caller, volume.id, 9),
        volumes.update(world.cloud, world.caller, volume.id, name="x"),
        snapshots.create(world.cloud, world.caller, snapshots.Create(volume=volume.id)),
        volumes.create(world.cloud, world.caller, volumes.Create(project=project, volume=volume.id)),
    ):
        with pytest.raises(NotFound):
            await asked
    copy = await world.volume(snapshot=snapshot.id)
    assert copy.state is VolumeState.AVAILABLE
    await world.remove_everything()
