"""Only so many requests of an account are answered in an interval."""

from datetime import datetime, timedelta

import msgspec
import pytest

from pileus.core.cloud import Cloud
from pileus.faces.cloudstack import throttling
from tests.contract.cloudstack.conftest import Stack


class Clock:
    """Stands still until it is told otherwise."""

    def __init__(self, start: datetime) -> None:
        self.at = start

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(cloud.now())
    monkeypatch.setattr(cloud, "now", clock)
    return clock


def limit(cloud: Cloud, most: int, **more: int) -> None:
    wanted = {"api_throttling_enabled": True, "api_throttling_max": most, "api_throttling_interval": 10}
    cloud.config = msgspec.structs.replace(cloud.config, **wanted | more)


async def test_requests_past_the_limit_are_refused_until_the_interval_ends(
    member: Stack, other: Stack, cloud: Cloud, clock: Clock
) -> None:
    limit(cloud, 3)
    shown = (await member.call("getApiLimit"))["apilimit"]
    assert shown == {
        "accountid": str(member.account.id),
        "account": "demo",
        "apiIssued": 1,
        "apiAllowed": 2,
        "expireAfter": 10_000,
    }
    await member.call("listZones")
    await member.refused("createZone", 432, name="x")
    clock.at += timedelta(seconds=4)
    for command in ("listZones", "getApiLimit", "createZone"):
        text = await member.refused(command, 429)
        assert text.endswith("account api limit, please retry after [6000] ms.")
    await other.call("listZones")
    clock.at += timedelta(seconds=6)
    await member.call("listZones")


async def test_who_is_not_known_is_not_counted(member: Stack, cloud: Cloud, clock: Clock) -> None:
    limit(cloud, 1)
    forger = Stack(member.app, member.key, "wrong", member.user, member.account)
    await forger.refused("listZones", 401)
    await member.call("listZones")
    await member.refused("listZones", 429)


async def test_root_administrators_are_not_limited_and_begin_intervals_anew(
    admin: Stack, member: Stack, other: Stack, cloud: Cloud, clock: Clock
) -> None:
    limit(cloud, 1)
    for _ in range(3):
        await admin.call("listZones")
    for who in (member, other):
        await who.call("listZones")
        await who.refused("listZones", 429)
    assert await admin.call("resetApiLimit", account=member.account.id) == {"success": True}
    await member.call("listZones")
    await other.refused("listZones", 429)
    await admin.call("resetApiLimit")
    for who in (member, other):
        await who.call("listZones")
    await admin.refused("resetApiLimit", 431, account="00000000-0000-4000-8000-00000000dead")
    limit(cloud, 9)
    await member.refused("resetApiLimit", 432)


async def test_only_so_many_accounts_are_remembered(
    member: Stack, other: Stack, cloud: Cloud, clock: Clock
) -> None:
    limit(cloud, 1, api_throttling_cachesize=1)
    await member.call("listZones")
    await other.call("listZones")
    assert list(throttling.counts(cloud).held) == [other.account.id]
    await member.call("listZones")


async def test_without_throttling_there_is_nothing_to_tell(admin: Stack, member: Stack) -> None:
    for who, command in ((member, "getApiLimit"), (admin, "resetApiLimit")):
        text = await who.refused(command, 432)
        assert text == "This api is only available when api.throttling.enabled = true."
