import asyncio
from uuid import UUID

import msgspec
import pytest
from structlog.testing import capture_logs

from pileus.config import Config
from pileus.core.cloud import Cloud
from pileus.core.errors import Unauthenticated
from pileus.core.identity import users
from pileus.core.identity.authentication import failures, passwords
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.authentication.credential_records import LoginFailures
from pileus.core.identity.domains import ROOT
from pileus.core.identity.named import Named
from pileus.store import open_store
from tests import schema
from tests.blocked import DEADLINE, blocked

KEY = failures.of_key("access")
SOMEBODY = Named(name="u", domain=Named(id=ROOT))


@pytest.fixture
async def user(cloud, admin):
    return await users.create(cloud, admin, users.CreateUser(name="u", domain=ROOT, password="right"))


async def fail(cloud, times, *keys, source=""):
    for _ in range(times):
        await failures.failed(cloud, *keys, reason="wrong", source=source)


async def allowed(cloud, *keys, source=""):
    try:
        await failures.allow(cloud, *keys, source=source)
    except Unauthenticated:
        return False
    return True


async def rows(cloud):
    async with cloud.view() as look:
        return await look.list(LoginFailures)


def test_the_wait_begins_late_doubles_and_ends_somewhere():
    patience = failures.PATIENCE[failures.USER]
    waits = [failures.wait(patience.free + over, patience) for over in range(-1, 8)]
    assert waits == [0, 1, 2, 4, 8, 16, 30, 30, 30]
    assert failures.wait(10**6, patience) == 30


async def test_after_some_failures_the_next_tries_wait_and_do_not_count(cloud, clock):
    await fail(cloud, 4, KEY)
    assert await allowed(cloud, KEY)
    await fail(cloud, 1, KEY)
    assert not await allowed(cloud, KEY)
    clock.move(1)
    assert await allowed(cloud, KEY)
    await fail(cloud, 1, KEY)
    clock.move(1)
    assert not await allowed(cloud, KEY)
    assert await allowed(cloud, failures.of_key("another"))


async def test_a_success_forgets_the_failures_of_its_key_and_writes_nothing_without_any(cloud):
    await fail(cloud, 5, KEY, source="192.0.2.1")
    await failures.succeeded(cloud, KEY)
    assert [row.key for row in await rows(cloud)] == ["source:192.0.2.1"]
    cloud.transaction = None
    await failures.succeeded(cloud, KEY)


async def test_a_source_waits_late_and_shortly(cloud, clock):
    await fail(cloud, 99, source="192.0.2.1")
    assert await allowed(cloud, source="192.0.2.1")
    await fail(cloud, 50, source="192.0.2.1")
    assert not await allowed(cloud, source="192.0.2.1")
    assert await allowed(cloud, source="192.0.2.2")
    clock.move(5)
    assert await allowed(cloud, source="192.0.2.1")


async def test_failures_are_forgotten_after_a_while(cloud, clock):
    cloud.config = msgspec.structs.replace(cloud.config, lockout_duration=0)
    await fail(cloud, 20, KEY)
    clock.move(failures.FORGOTTEN.total_seconds() + 1)
    await fail(cloud, 1, failures.of_key("another"))
    assert [row.key for row in await rows(cloud)] == ["key:another"]


async def test_guesses_at_the_same_time_are_no_way_around(cloud, user):
    guesses = [f"guess {number}" for number in range(12)] + ["right"]

    async def guess(password):
        try:
            return await passwords.check(cloud, SOMEBODY, password)
        except Unauthenticated:
            return None

    found = await asyncio.gather(*(guess(password) for password in guesses))
    assert found == [None] * len(guesses)


async def test_the_log_says_why_and_from_where_and_no_secret(cloud, user):
    with capture_logs() as logs, pytest.raises(Unauthenticated):
        await passwords.check(cloud, SOMEBODY, "a guess", source="192.0.2.1")
    assert logs == [
        {
            "event": "login refused",
            "log_level": "warning",
            "reason": "wrong password, or no such user",
            "source": "192.0.2.1",
            "user": user.id.hex,
        }
    ]


async def test_eight_logins_at_once_leave_the_loop_to_others(cloud, user):
    before = vault.AT_ONCE
    done = 0

    async def others():
        nonlocal done
        while True:
            await asyncio.sleep(0)
            done += 1

    other = asyncio.create_task(others())
    logins = [passwords.check(cloud, Named(id=user.id), "right") for _ in range(8)]
    assert [one.id for one in await asyncio.gather(*logins)] == [user.id] * 8
    other.cancel()
    assert before == 2
    assert done > 8


async def test_an_unknown_user_has_failures_too(cloud):
    with pytest.raises(Unauthenticated):
        await passwords.check(cloud, Named(id=UUID(int=5)), "x")
    assert [row.failures for row in await rows(cloud)] == [1]


async def test_failures_that_come_first_at_one_moment_all_count(postgres_url, tmp_path):
    await schema.create(postgres_url)
    stores = [await open_store(postgres_url) for _ in range(2)]
    first, second = (Cloud(Config(state=tmp_path), store) for store in stores)
    try:
        async with asyncio.timeout(DEADLINE):
            async with first.transaction() as tx:
                await tx.rows.insert(LoginFailures(id=failures._id(KEY), key=KEY, failures=1, at=first.now()))
                waiting = asyncio.create_task(fail(second, 1, KEY))
                await blocked(first.store)
            await waiting
        assert [row.failures for row in await rows(first)] == [2]
    finally:
        for store in stores:
            await store.close()
