"""What the core says of volumes to any face."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from msgspec.structs import replace

from pileus.core import limits
from pileus.core.block import kinds, snapshots, sources, volumes
from pileus.core.block.limits import RESOURCES, change
from pileus.core.block.records import VolumeKind, VolumeState
from pileus.core.caller import Caller
from pileus.core.errors import Conflict, Forbidden, InUse, Invalid, NotFound, QuotaExceeded
from pileus.core.image.records import Image
from pileus.core.quota import DEFAULTS
from tests.unit.workflows.storage import world

__all__ = ["world"]


def person(*roles, project=None, visible=None):
    return Caller(user=uuid4(), project=project or uuid4(), roles=frozenset(roles), visible=visible)


def admin(world):
    return person("admin", "member", "reader", project=world.caller.home)


class TestLists:
    async def test_a_domains_administrator_lists_several_projects_at_once(self, world):
        """As CloudStack's domain admins do."""
        other = person("member", "reader")
        mine = await world.volume()
        want = volumes.Create(project=other.home, size_gib=1)
        theirs = (await volumes.create(world.cloud, other, want)).resource
        await world.quiet()
        both = [world.caller.home, other.home]
        seeing = replace(world.caller, visible=frozenset(both))
        found = await volumes.listing(world.cloud, seeing, project=both, order=("created_at",))
        assert [volume.id for volume in found] == [mine.id, theirs.id]
        assert await volumes.totals(world.cloud, seeing, project=both) == (2, 2)
        assert (await volumes.show(world.cloud, seeing, theirs.id)).id == theirs.id
        with pytest.raises(NotFound):
            await volumes.show(world.cloud, world.caller, theirs.id)

    async def test_root_disks_are_listed_and_can_be_left_out(self, world):
        volume = await world.volume()
        async with world.cloud.transaction() as tx:
            await tx.put(replace(volume, ephemeral=True))
        project = world.caller.home
        assert await volumes.listing(world.cloud, world.caller, project=project, ephemeral=False) == []
        assert len(await volumes.listing(world.cloud, world.caller, project=project, root=False)) == 1

    async def test_everybodys_is_for_administrators(self, world):
        await world.volume()
        for asked in (volumes.listing, volumes.totals, snapshots.listing, snapshots.count):
            with pytest.raises(Forbidden):
                await asked(world.cloud, world.caller, project=None)
        assert len(await volumes.listing(world.cloud, admin(world), project=None)) == 1


class TestRules:
    async def test_a_reader_changes_nothing(self, world):
        volume = await world.volume()
        reader = person("reader", project=world.caller.home)
        assert await volumes.show(world.cloud, reader, volume.id)
        for asked in (
            volumes.create(world.cloud, reader, volumes.Create(project=reader.home, size_gib=1)),
            volumes.update(world.cloud, reader, volume.id, name="x"),
            volumes.extend(world.cloud, reader, volume.id, 2),
            volumes.delete(world.cloud, reader, volume.id),
            snapshots.create(world.cloud, reader, snapshots.Create(volume=volume.id)),
        ):
            with pytest.raises(Forbidden):
                await asked

    async def test_quota_refuses_before_anything_is_made(self, world):
        await change(world.cloud, admin(world), world.caller.home, {"volumes": 1, "volume_gib": 3})
        volume = await world.volume()
        with pytest.raises(QuotaExceeded):
            await world.volume()
        with pytest.raises(QuotaExceeded):
            await volumes.extend(world.cloud, world.caller, volume.id, 4)
        await volumes.extend(world.cloud, world.caller, volume.id, 3)
        await world.quiet()
        assert await limits.show(world.cloud, world.caller, world.caller.home, RESOURCES) == {
            "volumes": (1, 1),
            "volume_gib": (3, 3),
            "snapshots": (0, DEFAULTS["snapshots"]),
        }
        with pytest.raises(Invalid, match="existing resources"):
            await change(world.cloud, admin(world), world.caller.home, {"volume_gib": 2})
        assert await world.faults() == []

    @pytest.mark.parametrize(
        ("size", "least"),
        [(0, 0), (-1, 0), (volumes.MAX_GIB + 1, 0), (1, 2)],
    )
    async def test_sizes_that_cannot_be(self, world, size, least):
        source = {"volume": (await world.volume(size_gib=least)).id} if least else {}
        with pytest.raises(Invalid):
            await volumes.create(
                world.cloud, world.caller, volumes.Create(project=world.caller.home, size_gib=size, **source)
            )

    async def test_one_source_at_most(self, world):
        volume = await world.volume()
        both = {"volume": volume.id, "image": uuid4()}
        with pytest.raises(Invalid, match="not from several"):
            await volumes.create(world.cloud, world.caller, volumes.Create(project=world.caller.home, **both))

    async def test_a_state_is_reset_only_where_nothing_is_under_way(self, world):
        volume = await world.volume()
        with pytest.raises(Forbidden):
            await volumes.reset_state(world.cloud, world.caller, volume.id, VolumeState.ERROR)
        reset = await volumes.reset_state(world.cloud, admin(world), volume.id, VolumeState.ERROR)
        assert reset.state is VolumeState.ERROR
        for state in (VolumeState.IN_USE, VolumeState.CREATING, VolumeState.RETAINED):
            with pytest.raises(Invalid):
                await volumes.reset_state(world.cloud, admin(world), volume.id, state)
        async with world.cloud.transaction() as tx:
            await tx.put(replace(reset, state=VolumeState.EXTENDING, operation=uuid4()))
        with pytest.raises(Conflict, match="wait for the end"):
            await volumes.reset_state(world.cloud, admin(world), volume.id, VolumeState.AVAILABLE)


class TestKinds:
    async def test_a_kind_that_is_not_public_is_for_administrators(self, world):
        kind = await kinds.create(world.cloud, admin(world), name="secret", public=False)
        want = volumes.Create(project=world.caller.home, size_gib=1, kind=kind.id)
        with pytest.raises(NotFound):
            await volumes.create(world.cloud, world.caller, want)
        assert (await volumes.create(world.cloud, admin(world), want)).resource.kind == kind.id
        assert kind.id not in {each.id for each in await kinds.listing(world.cloud, world.caller)}

    async def test_a_kind_in_use_and_the_default_one_stay(self, world):
        kind = await kinds.create(world.cloud, admin(world), name="small", size_gib=3)
        volume = await world.volume(size_gib=0, kind=kind.id)
        assert volume.size_gib == 3
        with pytest.raises(InUse):
            await kinds.delete(world.cloud, admin(world), kind.id)
        with pytest.raises(InUse):
            await kinds.revise(world.cloud, admin(world), kind.id, lambda _: {}, unused=True)
        with pytest.raises(Conflict):
            await kinds.delete(world.cloud, admin(world), (await kinds.default(world.cloud)).id)

    async def test_without_a_default_one_must_be_named(self, world):
        async with world.cloud.transaction() as tx:
            for kind in await tx.list(VolumeKind):
                await tx.remove(kind)
        with pytest.raises(Invalid, match="No default volume kind"):
            await volumes.create(
                world.cloud, world.caller, volumes.Create(project=world.caller.home, size_gib=1)
            )


@pytest.mark.parametrize(
    ("size", "virtual", "least", "expected"),
    [(None, None, 0, 1), (10, None, 0, 1), (10, 1 << 30, 0, 1), (10, (1 << 30) + 1, 0, 2), (10, 1, 7, 7)],
)
def test_the_smallest_disk_that_holds_an_image(size, virtual, least, expected):
    now = datetime(2026, 1, 1, tzinfo=UTC)
    image = Image(
        id=uuid4(),
        project=uuid4(),
        size=size,
        virtual_size=virtual,
        min_disk_gib=least,
        created_at=now,
        updated_at=now,
    )
    assert sources.least_gib(image) == expected
