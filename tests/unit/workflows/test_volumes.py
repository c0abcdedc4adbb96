"""What may happen to a volume at the same time as its workflows run."""

import asyncio

import pytest

from pileus.core.block import volumes
from pileus.core.block.records import Volume, VolumeState
from pileus.core.compute import lifecycle
from pileus.core.compute.records import Server, State
from pileus.core.errors import Conflict, InUse
from pileus.core.image import images
from pileus.core.quota import Usage
from pileus.drivers.errors import Missing, Refused, Unreachable
from pileus.workflows import disks, volume_attach, volume_create, volume_delete, volume_extend  # noqa: F401
from tests.unit.workflows.storage import state_of, world

__all__ = ["world"]


@pytest.mark.parametrize("call", ["create", "delete", "extend"])
async def test_a_pool_that_is_away_is_waited_for(world, call):
    world.pool.fail(call, Unreachable("the pool is away"))
    volume = await world.volume()
    await volumes.extend(world.cloud, world.caller, volume.id, 2)
    await world.quiet()
    await volumes.delete(world.cloud, world.caller, volume.id)
    await world.quiet()
    assert await state_of(world, volume) is None
    assert await world.faults() == []


async def test_a_delete_calls_off_a_create(world, monkeypatch):
    reached, go_on = asyncio.Event(), asyncio.Event()
    create = world.pool.create

    async def slowly(*arguments):
        reached.set()
        await go_on.wait()
        await create(*arguments)

    monkeypatch.setattr(world.pool, "create", slowly)
    want = volumes.Create(project=world.caller.home, size_gib=1)
    made = (await volumes.create(world.cloud, world.caller, want)).resource
    await reached.wait()
    first = await volumes.delete(world.cloud, world.caller, made.id)
    again = await volumes.delete(world.cloud, world.caller, made.id)
    assert again.operation.id == first.operation.id
    go_on.set()
    await world.quiet()
    assert await state_of(world, made) is None
    assert await world.faults() == []


async def test_two_last_users_of_a_base_that_leave_at_once_take_it_along(world):
    image = await world.image()
    both = [await world.volume(image=image.id) for _ in range(2)]
    await images.delete(world.cloud, world.caller, image.id)
    await world.quiet()
    assert await world.pool.bases() == {image.id}
    await asyncio.gather(*(volumes.delete(world.cloud, world.caller, volume.id) for volume in both))
    await world.quiet()
    assert await world.faults() == []
    assert not await world.pool.bases()


async def test_an_image_may_go_while_a_volume_of_it_is_made(world, monkeypatch):
    """The volume is whole, or in error with the reason; the base stays as long as it is needed."""
    image = await world.image()
    reached, go_on = asyncio.Event(), asyncio.Event()
    create = world.pool.create_from_base

    async def slowly(*arguments):
        reached.set()
        await go_on.wait()
        await create(*arguments)

    monkeypatch.setattr(world.pool, "create_from_base", slowly)
    want = volumes.Create(project=world.caller.home, size_gib=1, image=image.id)
    made = (await volumes.create(world.cloud, world.caller, want)).resource
    await reached.wait()
    deleted = await images.delete(world.cloud, world.caller, image.id)
    async with asyncio.timeout(20):
        while await state_of(world, deleted.resource) is not None:
            await asyncio.sleep(0.005)
    go_on.set()
    await world.quiet()
    assert await state_of(world, made) is VolumeState.AVAILABLE
    assert await world.faults() == []
    await world.remove_everything()


async def test_sweeping_removes_only_bases_that_nothing_explains(world):
    image, gone = await world.image(), await world.image()
    await world.volume(image=image.id)
    await world.volume(image=gone.id)
    left = await world.image()
    await disks.ensure_base(world.site, next(iter(world.site.pools)), left.id)
    async with world.cloud.transaction() as tx:
        for one in (gone, left):
            await tx.remove(one)
    assert await disks.sweep_bases(world.site) == [left.id]
    assert await world.pool.bases() == {image.id, gone.id}


class TestHolding:
    async def test_an_attach_waits_for_a_building_server_to_be_built(self, world):
        volume, server = await world.volume(), await world.server(State.BUILDING)
        with pytest.raises(Conflict, match="is building"):
            await volumes.attach(world.cloud, world.caller, volume.id, server.id)
        assert await state_of(world, volume) is VolumeState.AVAILABLE

    async def test_an_attach_is_called_off_by_the_servers_deletion(self, world, monkeypatch):
        volume, server = await world.volume(), await world.server()
        reached, go_on = asyncio.Event(), asyncio.Event()
        plug = world.host.attach_disk

        async def slowly(*arguments):
            reached.set()
            await go_on.wait()
            await plug(*arguments)

        monkeypatch.setattr(world.host, "attach_disk", slowly)
        await volumes.attach(world.cloud, world.caller, volume.id, server.id)
        await reached.wait()
        await lifecycle.delete(world.cloud, world.caller, server.id)
        go_on.set()
        await world.quiet()
        async with world.cloud.view() as look:
            assert await look.maybe(Server, server.id) is None
        shown = await volumes.show(world.cloud, world.caller, volume.id)
        assert (shown.state, shown.server, shown.device) == (VolumeState.AVAILABLE, None, "")

    async def test_a_volume_that_a_guest_does_not_let_go_stays_in_use(self, world):
        volume, server = await world.held()
        world.host.fail("detach_disk", Refused("the guest holds on to it"))
        await volumes.detach(world.cloud, world.caller, volume.id)
        await world.quiet()
        shown = await volumes.show(world.cloud, world.caller, volume.id)
        assert shown.state is VolumeState.IN_USE
        assert "holds on" in shown.fault
        assert await world.host.disks(server.id) == {volume.id}

    async def test_a_suspended_guest_keeps_its_disks_as_they_are(self, world):
        volume, server = await world.held()
        other = await world.volume()
        await world.host.suspend(server.id)
        await volumes.extend(world.cloud, world.caller, volume.id, 2)
        await volumes.attach(world.cloud, world.caller, other.id, server.id)
        await world.quiet()
        await volumes.detach(world.cloud, world.caller, volume.id)
        await world.quiet()
        shown = await volumes.show(world.cloud, world.caller, volume.id)
        assert (shown.state, shown.size_gib) == (VolumeState.IN_USE, 1)
        assert await state_of(world, other) is VolumeState.AVAILABLE
        assert await world.faults() == []

    async def test_a_held_volume_is_not_deleted(self, world):
        volume, _ = await world.held()
        with pytest.raises(InUse, match="detach it first"):
            await volumes.delete(world.cloud, world.caller, volume.id)

    @pytest.mark.parametrize("asked", ["/dev/vdb", "vdb", "xvdb", "/dev/sdb"])
    async def test_one_device_name_is_given_once(self, world, asked):
        first, server = await world.held()
        assert first.device == "vdb"
        second = await world.volume()
        with pytest.raises(Conflict, match="in use"):
            await volumes.attach(world.cloud, world.caller, second.id, server.id, device=asked)
        await volumes.attach(world.cloud, world.caller, second.id, server.id)
        await world.quiet()
        assert (await volumes.show(world.cloud, world.caller, second.id)).device == "vdc"

    async def test_of_two_servers_one_gets_the_volume(self, world):
        volume, one, other = await world.volume(), await world.server(), await world.server()
        asked = [volumes.attach(world.cloud, world.caller, volume.id, s.id) for s in (one, other)]
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["Accepted", "Conflict"]
        await world.quiet()
        assert await world.faults() == []


class TestGuestsThatStopByThemselves:
    """Between the look at a guest and the call to it the guest may be gone."""

    @pytest.mark.parametrize("error", [Missing, Refused])
    async def test_the_pool_is_asked_when_the_guest_stopped_meanwhile(self, world, monkeypatch, error):
        volume, server = await world.held()

        async def stops(*arguments):
            await world.host.stop(server.id, force=True)
            raise error("the guest is off")

        monkeypatch.setattr(world.host, "resize_disk", stops)
        await volumes.extend(world.cloud, world.caller, volume.id, 2)
        await world.quiet()
        shown = await volumes.show(world.cloud, world.caller, volume.id)
        assert (shown.state, shown.size_gib) == (VolumeState.IN_USE, 2)

    async def test_the_guest_is_asked_when_it_started_meanwhile(self, world, monkeypatch):
        volume, server = await world.held()
        await world.host.stop(server.id, force=True)

        async def starts(*arguments):
            await world.host.start(server.id)
            raise Refused("the file is locked")

        monkeypatch.setattr(world.pool, "extend", starts)
        await volumes.extend(world.cloud, world.caller, volume.id, 2)
        await world.quiet()
        assert (await volumes.show(world.cloud, world.caller, volume.id)).size_gib == 2

    async def test_a_refusal_that_the_change_does_not_explain_stays_one(self, world):
        volume, _ = await world.held()
        world.host.fail("resize_disk", Refused("no room"))
        await volumes.extend(world.cloud, world.caller, volume.id, 2)
        await world.quiet()
        shown = await volumes.show(world.cloud, world.caller, volume.id)
        assert (shown.state, shown.size_gib, shown.fault) == (VolumeState.IN_USE, 1, "no room")
        assert await world.faults() == []


async def test_quota_is_exact_under_many_hands(world):
    made = await asyncio.gather(
        *(
            volumes.create(
                world.cloud, world.caller, volumes.Create(project=world.caller.home, size_gib=1 + n % 3)
            )
            for n in range(20)
        )
    )
    await asyncio.gather(*(volumes.delete(world.cloud, world.caller, one.resource.id) for one in made[::2]))
    await world.quiet()
    assert await world.faults() == []
    async with world.cloud.view() as look:
        assert (await look.get(Usage, world.caller.home, "volumes")).used == 10
        assert await look.count(Volume) == 10
