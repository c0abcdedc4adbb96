from datetime import timedelta

import pytest
from msgspec.structs import replace

from pileus.core.identity import groups, users
from pileus.core.identity.authorization.holding import actors
from pileus.core.identity.changes import change_count
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import Membership


@pytest.fixture
async def member(cloud, admin):
    """A user in a group for an hour."""
    user = await users.create(cloud, admin, users.CreateUser(name="u", domain=ROOT))
    group = await groups.create(cloud, admin, groups.CreateGroup(name="g", domain=ROOT))
    await groups.add_member(cloud, admin, group.id, user.id)
    async with cloud.transaction() as tx:
        (held,) = await tx.list(Membership)
        await tx.put(replace(held, expires_at=cloud.now() + timedelta(hours=1)))
    return user, group


async def changes(cloud):
    async with cloud.view() as look:
        return await change_count(look)


async def acting(cloud, user):
    async with cloud.view() as look:
        return await actors(look, user.id)


async def test_a_membership_that_has_ended_goes_and_sessions_are_looked_up_again(cloud, clock, member):
    user, group = member
    before = await changes(cloud)
    assert await groups.expire(cloud) == 0
    assert await changes(cloud) == before
    assert await acting(cloud, user) == (user.id, group.id)
    clock.move(3600)
    assert await groups.expire(cloud) == 1
    assert await changes(cloud) > before
    assert await acting(cloud, user) == (user.id,)


async def test_a_membership_that_is_given_by_hand_ends_no_more_by_itself(cloud, clock, admin, member):
    user, group = member
    await groups.add_member(cloud, admin, group.id, user.id)
    clock.move(3601)
    assert await groups.expire(cloud) == 0
    assert await groups.has_member(cloud, admin, group.id, user.id)
