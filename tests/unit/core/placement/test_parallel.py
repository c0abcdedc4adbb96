"""Many creates at one moment, by two workers: no host is ever overbooked, no slot is left, no condition is broken."""

from collections import Counter

import pytest

from pileus.core import invariants, quota
from pileus.core.compute import server_groups
from pileus.core.compute.records import Affinity, Host, State
from pileus.core.placement.records import Claim, Decision
from tests.unit.core.placement.clouds import HOSTS, SIZE_MIB, SLOTS, World


async def test_of_64_creates_for_the_last_10_slots_exactly_10_succeed(world: World) -> None:
    made = await world.create_all(64)
    placed = [server for server in made if server.state is State.ACTIVE]
    refused = [server for server in made if server.state is State.ERROR]
    assert (len(placed), len(refused)) == (SLOTS, 64 - SLOTS)
    assert set(Counter(server.host for server in placed).values()) == {SLOTS // HOSTS}
    assert all(server.host is None for server in refused)
    for server in refused:
        assert server.fault.startswith("No valid host was found for 1 vCPU, 192 MiB memory, 1 GiB disk.")
        assert "5 hosts: 5 lack 192 MiB memory (largest free 0)." in server.fault
    async with world.clouds[0].view() as look:
        hosts, claims = await look.list(Host), await look.list(Claim)
        used = await quota.usages(look.rows, world.caller.home)
        kept = await look.list(Decision)
    assert all(host.memory_mib_used <= host.memory_mib for host in hosts)
    assert {claim.id for claim in claims} == {server.id for server in placed}
    assert [used[name][0] for name in ("servers", "vcpus", "memory_mib")] == [64, 64, 64 * SIZE_MIB]
    assert {decision.server: decision.host for decision in kept} == {
        server.id: server.host for server in made
    }
    assert await invariants.violations(world.clouds[0]) == []


@pytest.mark.parametrize(("affinity", "placed"), [(Affinity.APART, HOSTS), (Affinity.TOGETHER, 2)])
async def test_the_condition_of_a_group_holds_for_servers_made_at_one_moment(
    world: World, affinity: Affinity, placed: int
) -> None:
    want = server_groups.Create(project=world.caller.home, name="web", affinity=affinity)
    group = await server_groups.create(world.clouds[0], world.caller, want)
    made = await world.create_all(8, server_groups=(group.group.id,))
    hosts = [server.host for server in made if server.state is State.ACTIVE]
    assert len(hosts) == placed
    assert len(set(hosts)) == (HOSTS if affinity is Affinity.APART else 1)
    faults = [server.fault for server in made if server.state is State.ERROR]
    assert len(faults) == 8 - placed
    assert all("group web" in fault for fault in faults), faults
    assert await invariants.violations(world.clouds[0]) == []
