"""Snapshots' workflows by enumeration, and what may happen to a snapshot at the same time."""

import asyncio

import pytest

from pileus.core.block import snapshots, volumes
from pileus.core.block.records import SnapshotState, Volume, VolumeState
from pileus.core.compute import lifecycle
from pileus.core.errors import Conflict, NotFound
from pileus.core.image import images
from pileus.drivers.errors import Refused
from pileus.workflows import snapshots as workflows  # noqa: F401
from tests.unit.workflows.storage import Scenario, World, cases, enumerate_one, set_state, state_of, world

__all__ = ["world"]


def creates(name, prepare):
    async def start(world, volume):
        await snapshots.create(world.cloud, world.caller, snapshots.Create(volume=volume.id, force=True))

    async def done(world, volume):
        (found,) = await snapshots.listing(world.cloud, world.caller, project=world.caller.home)
        return found.state is SnapshotState.AVAILABLE

    return Scenario(f"create {name}", "snapshot.create", prepare, start, done)


async def held(world):
    return (await world.held())[0]


async def delete(world, snapshot):
    await snapshots.delete(world.cloud, world.caller, snapshot.id)


async def is_gone(world, snapshot):
    return await state_of(world, snapshot) is None


async def of_free(world):
    return await world.snapshot(await world.volume())


async def of_held(world):
    return await world.snapshot(await held(world))


async def last_of_retained(world):
    """The volume is deleted, and so is its image: with the snapshot disk and base go too."""
    image = await world.image()
    volume = await world.volume(image=image.id)
    snapshot = await world.snapshot(volume)
    await volumes.delete(world.cloud, world.caller, volume.id, keep_snapshots=True)
    await images.delete(world.cloud, world.caller, image.id)
    await world.quiet()
    assert await world.pool.bases() == {image.id}
    return snapshot


async def disk_is_gone_too(world, snapshot):
    return await is_gone(world, snapshot) and not await world.pool.volumes() and not await world.pool.bases()


SCENARIOS = (
    creates("free", World.volume),
    creates("held", held),
    Scenario("delete free", "snapshot.delete", of_free, delete, is_gone),
    Scenario("delete held", "snapshot.delete", of_held, delete, is_gone),
    Scenario("delete last of retained", "snapshot.delete", last_of_retained, delete, disk_is_gone_too),
)


@pytest.mark.parametrize(("scenario", "step", "how"), cases(SCENARIOS))
async def test_nothing_is_left_whatever_a_step_does(world, scenario, step, how, monkeypatch):
    await enumerate_one(world, scenario, step, how, monkeypatch)


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
    await snapshots.delete(world.cloud, world.caller, made.resource.id)
    with pytest.raises(Conflict, match="being deleted already"):
        await snapshots.delete(world.cloud, world.caller, made.resource.id)
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


async def test_a_snapshot_queued_behind_a_servers_deletion_ends(world, monkeypatch):
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
    assert await state_of(world, made) is SnapshotState.ERROR
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


async def test_a_snapshot_is_kept_while_a_volume_is_made_from_it(world):
    snapshot = await of_free(world)
    copy = await world.volume(snapshot=snapshot.id)
    await set_state(world, copy, state=VolumeState.CREATING)
    with pytest.raises(Conflict, match="being made from snapshot"):
        await snapshots.delete(world.cloud, world.caller, snapshot.id)
    async with world.cloud.view() as look:
        source = await look.get(Volume, snapshot.volume)
    with pytest.raises(Conflict, match="being made from one of the snapshots"):
        await volumes.delete(world.cloud, world.caller, source.id, with_snapshots=True)
