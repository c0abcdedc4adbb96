"""Whatever is done to disks and images behind our back, the table says what follows."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from pileus.core import alerts, mark
from pileus.core.block.records import StoragePool, VolumeState
from pileus.core.caller import system
from pileus.core.image.records import ImageStoreRecord
from pileus.drivers.volume.fake import MemoryDisk
from pileus.reconcile.pools import Pools
from pileus.reconcile.reactions import RULES, Drift, Reaction
from tests.unit.workflows.storage import World, set_state, world

__all__ = ["world"]

Harm = Callable[[World], Awaitable[UUID]]
GIB = 1 << 30
DAY = timedelta(days=1, minutes=1)


@pytest.fixture
async def kept(world: World) -> World:
    """Its pool outlives the process, as real ones do, and there is an image store."""
    async with world.cloud.transaction() as tx:
        pool = await tx.one(StoragePool)
        assert pool is not None
        await tx.put(replace(pool, driver="file"))
        store = ImageStoreRecord(
            id=uuid4(),
            name="secondary",
            driver="memory",
            path="",
            zone=pool.zone,
            created_at=world.cloud.now(),
        )
        await tx.add(store)
    return world


async def standing(world: World) -> set[str]:
    page = await alerts.listing(world.cloud, system(), project=None, cleared_at=None)
    return {alert.kind for alert in page.items}


async def a_lost_disk(world: World) -> UUID:
    volume = await world.volume()
    del world.pool.disks[volume.id]
    return volume.id


async def a_left_disk(world: World) -> UUID:
    key = uuid4()
    world.pool.disks[key] = MemoryDisk(GIB)
    return key


async def a_lost_snapshot(world: World) -> UUID:
    volume = await world.volume()
    snapshot = await world.snapshot(volume)
    world.pool.disks[volume.id].snapshots.clear()
    return snapshot.id


async def a_left_snapshot(world: World) -> UUID:
    volume, key = await world.volume(), uuid4()
    world.pool.disks[volume.id].snapshots[key] = MemoryDisk(GIB)
    return key


async def a_left_drive(world: World) -> UUID:
    key = uuid4()
    world.pool.drives[key] = {}
    return key


async def a_lost_image(world: World) -> UUID:
    image = await world.image()
    del world.images.contents[image.id]
    return image.id


async def a_left_image(world: World) -> UUID:
    key = uuid4()
    world.images.contents[key] = b"content"
    return key


HARM: dict[Drift, Harm] = {
    Drift.VOLUME_LOST: a_lost_disk,
    Drift.VOLUME_LEFT: a_left_disk,
    Drift.SNAPSHOT_LOST: a_lost_snapshot,
    Drift.SNAPSHOT_LEFT: a_left_snapshot,
    Drift.DRIVE_LEFT: a_left_drive,
    Drift.IMAGE_LOST: a_lost_image,
    Drift.IMAGE_LEFT: a_left_image,
}


def held(world: World) -> set[UUID]:
    inside = {key for disk in world.pool.disks.values() for key in disk.snapshots}
    return {*world.pool.disks, *world.pool.drives, *world.images.contents, *inside}


@pytest.mark.parametrize("drift", HARM)
async def test_what_is_lost_is_told_and_what_is_left_goes_in_the_end(kept: World, drift: Drift) -> None:
    sound, image = await kept.volume(), await kept.image()
    await Pools(kept.site).look()
    assert await standing(kept) == set()
    key, look = await HARM[drift](kept), Pools(kept.site)
    await look.look()
    assert await standing(kept) == {drift.value}
    before = held(kept)
    await look.look()
    precious = drift in (Drift.VOLUME_LEFT, Drift.SNAPSHOT_LEFT, Drift.IMAGE_LEFT)
    assert (held(kept) == before) is (drift is not Drift.DRIVE_LEFT)
    later = kept.cloud.now() + DAY
    kept.cloud.now = lambda: later
    for _ in range(3):
        await look.look()
    removed = RULES[drift].reaction is Reaction.REMOVE
    assert before - held(kept) == ({key} if removed else set())
    assert await standing(kept) == (set() if removed else {drift.value})
    assert {sound.id, image.id} <= held(kept)
    assert not precious or removed


async def test_a_day_of_orphans_is_counted_over_restarts_but_looks_are_not(kept: World) -> None:
    key = await a_left_disk(kept)
    await Pools(kept.site).look()
    later = kept.cloud.now() + DAY
    kept.cloud.now = lambda: later
    again = Pools(kept.site)
    await again.look()
    assert key in kept.pool.disks
    await again.look()
    assert key not in kept.pool.disks


@pytest.mark.parametrize("drift", [drift for drift in HARM if RULES[drift].reaction is Reaction.REMOVE])
async def test_nothing_is_removed_from_what_carries_another_clouds_mark(kept: World, drift: Drift) -> None:
    other = uuid4()
    kept.pool.mark = kept.images.mark = other
    key, look = await HARM[drift](kept), Pools(kept.site)
    await look.look()
    later = kept.cloud.now() + DAY
    kept.cloud.now = lambda: later
    for _ in range(3):
        await look.look()
    assert key in held(kept)
    assert (kept.pool.mark, kept.images.mark) == (other, other)
    assert await standing(kept) == {drift.value, Drift.POOL_FOREIGN.value, Drift.STORE_FOREIGN.value}


async def test_a_pool_is_marked_at_the_first_look(kept: World) -> None:
    await kept.volume()
    await Pools(kept.site).look()
    own = await mark.identify(kept.cloud.store)
    assert kept.pool.mark == kept.images.mark == own


async def test_a_pool_that_has_none_of_its_disks_and_no_mark_is_away(kept: World) -> None:
    await kept.volume()
    disks = dict(kept.pool.disks)
    kept.pool.disks.clear()
    look = Pools(kept.site)
    await look.look()
    assert await standing(kept) == {Drift.POOL_AWAY.value}
    assert kept.pool.mark is None
    kept.pool.disks.update(disks)
    await look.look()
    assert await standing(kept) == set()


async def test_a_pool_that_does_not_answer_is_told_and_nothing_else_is_over(kept: World) -> None:
    await kept.volume()
    await a_left_disk(kept)
    look = Pools(kept.site)
    await look.look()
    kept.pool.reachable = kept.images.reachable = False
    with pytest.raises(Exception, match="does not answer"):
        await look.look()
    away = {Drift.POOL_AWAY.value, Drift.STORE_AWAY.value}
    assert await standing(kept) == {Drift.VOLUME_LEFT.value, *away}
    kept.pool.reachable = kept.images.reachable = True
    await look.look()
    assert await standing(kept) == {Drift.VOLUME_LEFT.value}


async def test_a_full_pool_is_told(kept: World) -> None:
    look = Pools(kept.site)
    kept.pool._total_bytes = 1000
    kept.pool.disks[uuid4()] = MemoryDisk(GIB, {0: b"x" * 4096})
    await look.look()
    assert Drift.POOL_FULL.value in await standing(kept)
    kept.pool._total_bytes = 1 << 40
    await look.look()
    assert Drift.POOL_FULL.value not in await standing(kept)


UNDER_WAY = [state for state in VolumeState if state not in (VolumeState.AVAILABLE, VolumeState.IN_USE)]


@pytest.mark.parametrize("state", UNDER_WAY)
async def test_a_volume_in_any_other_state_may_have_no_disk(kept: World, state: VolumeState) -> None:
    await kept.volume()
    volume = await kept.volume()
    await set_state(kept, volume, state=state)
    del kept.pool.disks[volume.id]
    await Pools(kept.site).look()
    assert await standing(kept) == set()
