"""Groups of hosts and of servers: who joins what, and what is refused and leaves nothing behind."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec.structs import replace

from pileus.config import Config
from pileus.core.caller import MEMBER, Caller, system
from pileus.core.cloud import Cloud
from pileus.core.compute import host_groups, hosts, places, server_groups, traits
from pileus.core.compute.records import (
    Affinity,
    Host,
    HostGroupMember,
    Server,
    ServerGroup,
    ServerGroupMember,
    State,
)
from pileus.core.errors import Conflict, Exists, Forbidden, InUse, Invalid, NotFound, QuotaExceeded
from pileus.core.quota import Limit
from pileus.store import open_store
from tests import schema

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADMIN = system()
PROJECT = uuid4()
ME = Caller(user=uuid4(), project=PROJECT, roles=frozenset({MEMBER}))
STRANGER = Caller(user=uuid4(), project=uuid4(), roles=frozenset({MEMBER}))


@asynccontextmanager
async def opened(url: str, state: Path) -> AsyncIterator[Cloud]:
    await schema.create(url)
    store = await open_store(url)
    try:
        yield Cloud(Config(state=state), store)
    finally:
        await store.close()


@pytest.fixture
async def cloud(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Cloud]:
    async with opened(sqlite_url, tmp_path) as made:
        yield made


async def place(cloud: Cloud) -> tuple[UUID, UUID, UUID]:
    zone = await places.create_zone(cloud, ADMIN, f"zone-{uuid4()}")
    pod = await places.create_pod(cloud, ADMIN, zone.id, "pod")
    cluster = await places.create_cluster(cloud, ADMIN, pod.id, "cluster", "KVM")
    return zone.id, pod.id, cluster.id


async def host(cloud: Cloud, name: str, at: tuple[UUID, UUID, UUID]) -> Host:
    async with cloud.transaction() as tx:
        return await tx.add(
            Host(
                id=uuid4(),
                number=await tx.next_number("host"),
                zone=at[0],
                pod=at[1],
                cluster=at[2],
                hostname=name,
                hypervisor="simulator",
                hypervisor_type="Simulator",
                hypervisor_version=1,
                vcpus=8,
                memory_mib=8192,
                disk_gib=100,
                seen_at=NOW,
                created_at=NOW,
            )
        )


async def server(cloud: Cloud, at: UUID | None = None, **more: Any) -> Server:
    made = Server(
        id=uuid4(),
        project=PROJECT,
        user=ME.user,
        name="s",
        hostname="s",
        size=uuid4(),
        vcpus=1,
        memory_mib=64,
        disk_gib=1,
        state=State.STOPPED,
        host=at,
        created_at=NOW,
        updated_at=NOW,
    )
    async with cloud.transaction() as tx:
        return await tx.add(replace(made, **more))


async def group(cloud: Cloud, affinity: Affinity, **more: Any) -> UUID:
    want = server_groups.Create(project=PROJECT, name="g", affinity=affinity, **more)
    return (await server_groups.create(cloud, ME, want)).group.id


async def test_a_host_is_in_one_part_of_its_own_zone(cloud: Cloud) -> None:
    at, far = await place(cloud), await place(cloud)
    await host(cloud, "a", at)
    async with cloud.view() as look:
        (zone,) = [zone for zone in await hosts.zones(cloud) if zone.id == far[0]]
    one = await host_groups.create(cloud, ADMIN, "one", zone_name="part")
    await host_groups.create(cloud, ADMIN, "two", zone_name="other")
    theirs = await host_groups.create(cloud, ADMIN, "far", zone_name=zone.name)
    assert theirs.group.zone == zone.id
    await host_groups.add_host(cloud, ADMIN, one.group.number, "a")
    with pytest.raises(Exists):
        await host_groups.add_host(cloud, ADMIN, one.group.id, "a")
    for number in (2, 3):
        with pytest.raises(host_groups.ZoneClash):
            await host_groups.add_host(cloud, ADMIN, number, "a")
    async with cloud.view() as look:
        assert await look.count(HostGroupMember) == 1
        assert [(name, len(held)) for name, _, held in await host_groups.by_zone(look) if held] == [
            ("part", 1)
        ]
        assert await host_groups.zone_wanted(look, "nowhere") is None
    with pytest.raises(Exists):
        await places.create_zone(cloud, ADMIN, "part")
    with pytest.raises(InUse):
        await host_groups.remove(cloud, ADMIN, one.group.number)
    await host_groups.remove_host(cloud, ADMIN, one.group.number, "a")
    with pytest.raises(NotFound):
        await host_groups.remove_host(cloud, ADMIN, one.group.number, "a")
    await host_groups.remove(cloud, ADMIN, one.group.number)
    with pytest.raises(Forbidden):
        await host_groups.listing(cloud, ME)


async def test_a_renamed_zone_keeps_its_host_groups(cloud: Cloud) -> None:
    zone = await places.create_zone(cloud, ADMIN, "old")
    made = await host_groups.create(cloud, ADMIN, "g", zone_name="old")
    await places.update_zone(cloud, ADMIN, zone.id, name="new")
    assert (await host_groups.show(cloud, ADMIN, made.group.number)).zone_name == "new"
    with pytest.raises(InUse, match="host groups in it: 1"):
        await places.remove_zone(cloud, ADMIN, zone.id)


async def test_places_are_removed_from_the_inside_out(cloud: Cloud) -> None:
    zone, pod, cluster = await place(cloud)
    inside = await host(cloud, "a", (zone, pod, cluster))
    steps = (
        (hosts.remove, inside.id),
        (places.remove_cluster, cluster),
        (places.remove_pod, pod),
        (places.remove_zone, zone),
    )
    for remove, key in reversed(steps[1:]):
        with pytest.raises(InUse):
            await remove(cloud, ADMIN, key)
    for remove, key in steps:
        await remove(cloud, ADMIN, key)


@pytest.mark.parametrize("affinity", list(Affinity), ids=str)
async def test_a_stopped_server_joins_only_what_suits_its_host(cloud: Cloud, affinity: Affinity) -> None:
    at = await place(cloud)
    a, b = await host(cloud, "a", at), await host(cloud, "b", at)
    first, beside, away = [await server(cloud, key.id) for key in (a, a, b)]
    key = await group(cloud, affinity)
    await server_groups.assign(cloud, ME, first.id, [key])
    for other, unsuited in ((beside, Affinity.APART), (away, Affinity.TOGETHER)):
        if affinity is unsuited:
            with pytest.raises(Conflict):
                await server_groups.assign(cloud, ME, other.id, [key])
        else:
            await server_groups.assign(cloud, ME, other.id, [key])
            await server_groups.assign(cloud, ME, other.id, [])
    assert (await server_groups.show(cloud, ME, key)).members == [first.id]


async def test_what_is_refused_leaves_the_groups_as_they_were(cloud: Cloud) -> None:
    held, running = await server(cloud), await server(cloud, state=State.ACTIVE)
    key = await group(cloud, Affinity.SOFT_APART)
    await server_groups.assign(cloud, ME, held.id, [key])
    async with cloud.transaction() as tx:
        await tx.rows.put(Limit(project=PROJECT, resource=server_groups.MEMBERS, limit=1))
    other = await server(cloud)
    for caller, of, groups, error in (
        (ME, other, [key], QuotaExceeded),
        (ME, running, [], Conflict),
        (ME, held, [uuid4()], NotFound),
        (STRANGER, held, [], NotFound),
    ):
        with pytest.raises(error):
            await server_groups.assign(cloud, caller, of.id, groups)
    assert (await server_groups.show(cloud, ME, key)).members == [held.id]
    with pytest.raises(NotFound):
        await server_groups.show(cloud, STRANGER, key)
    with pytest.raises(NotFound):
        await server_groups.remove(cloud, STRANGER, key)
    await server_groups.remove(cloud, ME, key)
    async with cloud.view() as look:
        assert (await look.count(ServerGroup), await look.count(ServerGroupMember)) == (0, 0)


async def test_how_many_servers_a_host_may_have_is_said_of_groups_that_are_apart(cloud: Cloud) -> None:
    for affinity, most in ((Affinity.TOGETHER, 2), (Affinity.SOFT_APART, 2), (Affinity.APART, 0)):
        with pytest.raises(Invalid):
            await group(cloud, affinity, most_per_host=most)
    await group(cloud, Affinity.APART, most_per_host=2)
    with pytest.raises(Exists):
        await group(cloud, Affinity.APART, distinct=True)


async def test_traits_are_words_and_what_the_record_tells_is_not_written(cloud: Cloud) -> None:
    made = await host(cloud, "t", await place(cloud))
    written = await hosts.set_traits(cloud, ADMIN, made.id, ["ssd", "two words", traits.NODE, "ssd"])
    assert written.traits == ("ssd", "two words")
    assert traits.of(written) == {"ssd", "two words", traits.NODE, "HW_ARCH_X86_64"}
    with pytest.raises(hosts.Outdated):
        await hosts.set_traits(cloud, ADMIN, made.id, [], generation=made.generation)
    for wrong in ("", " x", "x ", "a,b", "x\n", "x" * 256):
        with pytest.raises(Invalid):
            await hosts.set_traits(cloud, ADMIN, made.id, [wrong])
    with pytest.raises(InUse):
        await traits.forget(cloud, ADMIN, "ssd")
    assert await traits.make(cloud, ADMIN, "gpu")
    assert not await traits.make(cloud, ADMIN, "gpu")
    assert {"gpu", "ssd"} <= set(await traits.made(cloud))
    await traits.forget(cloud, ADMIN, "gpu")
    with pytest.raises(NotFound):
        await traits.forget(cloud, ADMIN, "gpu")


async def test_the_same_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    async with opened(postgres_url, tmp_path) as cloud:
        await test_a_host_is_in_one_part_of_its_own_zone(cloud)
        await test_what_is_refused_leaves_the_groups_as_they_were(cloud)
        await test_traits_are_words_and_what_the_record_tells_is_not_written(cloud)
