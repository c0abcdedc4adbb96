"""What a placement reads of the records and leaves in them, as it is at that moment."""

from uuid import UUID

import pytest
from msgspec.structs import replace

from pileus.core.caller import Caller, system
from pileus.core.compute import host_groups, hosts, places, servers, sizes
from pileus.core.compute.records import Host, Server, State
from pileus.core.errors import NotFound
from pileus.core.image.records import Image
from pileus.core.placement import decisions
from pileus.core.placement.choice import propose
from pileus.core.placement.decisions import KEPT
from pileus.core.placement.records import Decision
from tests.unit.core.placement.clouds import World

ADMIN = system()


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    return sqlite_url


async def host_named(world: World, name: str) -> UUID:
    async with world.clouds[0].view() as look:
        found = await look.one(Host, hostname=name)
    assert found is not None
    return found.id


async def placed(world: World, **wanted: object) -> Server:
    (server,) = await world.create_all(1, **wanted)
    return server


async def test_a_host_group_counts_from_the_moment_it_is_changed(world: World) -> None:
    cloud, spec = world.clouds[0], "aggregate_instance_extra_specs:ssd"
    await sizes.set_specs(cloud, ADMIN, world.size, {spec: "true"})
    before = await placed(world)
    assert "5 in no host group with ssd=true." in before.fault
    group = (await host_groups.create(cloud, ADMIN, "fast", metadata={"ssd": "true"})).group
    await host_groups.add_host(cloud, ADMIN, group.id, "h-3")
    assert (await placed(world)).host == await host_named(world, "h-3")
    await host_groups.update(cloud, ADMIN, group.id, metadata={"ssd": "false"})
    assert (await placed(world)).state is State.ERROR


async def test_hosts_of_a_group_for_other_projects_are_left_alone(world: World) -> None:
    cloud, project = world.clouds[0], world.caller.home
    groups = [await host_groups.create(cloud, ADMIN, name) for name in ("ours", "theirs")]
    for number in range(4):
        await host_groups.add_host(cloud, ADMIN, groups[1].group.id, f"h-{number}")
    await host_groups.add_host(cloud, ADMIN, groups[0].group.id, "h-0")
    reserved = {"filter_tenant_id": UUID(int=5).hex}
    await host_groups.update(cloud, ADMIN, groups[1].group.id, metadata=reserved)
    await host_groups.update(cloud, ADMIN, groups[0].group.id, metadata={"filter_tenant_id": str(project)})
    found = {server.host for server in await world.create_all(4)}
    assert found == {await host_named(world, "h-0"), await host_named(world, "h-4")}
    assert "4 reserved for other projects" not in (last := (await placed(world)).fault)
    assert "3 reserved for other projects" in last


async def test_a_disabled_zone_and_a_host_in_maintenance_take_nothing(world: World) -> None:
    cloud = world.clouds[0]
    for number in range(4):
        await hosts.maintain(cloud, ADMIN, await host_named(world, f"h-{number}"), True)
    assert (await placed(world)).host == await host_named(world, "h-4")
    (zone,) = await hosts.zones(cloud)
    await places.update_zone(cloud, ADMIN, zone.id, enabled=False)
    assert "5 in a disabled zone" in (await placed(world)).fault


async def test_servers_that_are_named_draw_and_repel(world: World) -> None:
    one = await placed(world)
    assert one.host is not None
    assert (await placed(world, together_with=(one.id,))).host == one.host
    apart = await placed(world, apart_from=(one.id,))
    assert apart.host not in (None, one.host)
    nowhere = await placed(world, together_with=(UUID(int=1),))
    assert "5 have none of the servers that it must be with" in nowhere.fault


async def test_an_image_asks_for_what_it_runs_on(world: World) -> None:
    cloud = world.clouds[0]
    await hosts.set_traits(cloud, ADMIN, await host_named(world, "h-2"), ["CUSTOM_GPU"])
    async with cloud.transaction() as tx:
        image = await tx.get(Image, world.image)
        await tx.put(replace(image, properties={"trait:CUSTOM_GPU": "required"}))
    assert (await placed(world)).host == await host_named(world, "h-2")
    async with cloud.transaction() as tx:
        await tx.put(replace(image, properties={"hw_architecture": "aarch64"}))
    assert "5 of another architecture than aarch64" in (await placed(world)).fault


async def test_what_another_process_took_is_seen_before_a_placement_is_refused_or_claimed(
    world: World,
) -> None:
    cloud = world.clouds[0]
    await placed(world)
    async with cloud.transaction() as tx:
        for host in await tx.list(Host):
            await tx.rows.update(
                replace(host, memory_mib_used=host.memory_mib, generation=host.generation + 1)
            )
    assert "5 lack 192 MiB memory (largest free 0)" in (await placed(world)).fault
    async with cloud.transaction() as tx:
        for host in await tx.list(Host):
            await tx.rows.update(replace(host, memory_mib_used=0, generation=host.generation + 1))
    assert (await placed(world)).state is State.ACTIVE


async def test_others_do_not_see_why(world: World) -> None:
    server = await placed(world)
    other = Caller(user=UUID(int=1), project=UUID(int=2), roles=frozenset({"member", "reader"}))
    with pytest.raises(NotFound):
        await decisions.show(world.clouds[0], other, server.id)


async def test_decisions_are_few_and_go_with_their_server(world: World) -> None:
    cloud = world.clouds[0]
    (server,) = await world.create_all(1)
    async with cloud.view() as look:
        (first,) = await look.list(Decision, server=server.id)
    assert first.explanation.winner is not None
    assert first.explanation.winner.host == first.host == server.host
    async with cloud.transaction() as tx:
        for _ in range(2 * KEPT):
            await tx.rows.insert(replace(first, id=cloud.new_id(), at=cloud.now()))
    choice = await propose(cloud, *await decisions.ask(cloud, server, servers.Build()))
    async with cloud.transaction() as tx:
        await decisions.keep(tx, server, choice, first.explanation)
    async with cloud.view() as look:
        assert await look.count(Decision) == KEPT
    await servers.delete(cloud, world.caller, server.id)
    await world.quiet()
    async with cloud.view() as look:
        assert await look.count(Decision) == 0
