"""Rules of the network core that no face shows, or that a second face needs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pileus.core.errors import Conflict, Unsupported
from pileus.core.network import addresses, firewall, forwardings, isolated, ports, removal
from pileus.core.network.errors import NetworkInUse, PortInUse, RuleExists, SourceNat
from pileus.core.network.firewall import FirewallWant
from pileus.core.network.forwardings import ForwardingWant
from pileus.core.network.isolated import IsolatedWant
from pileus.core.network.ports import NicWant, PortWant
from pileus.core.network.records import Address, FixedAddress, NetState, Network, Port, PortUse, Router
from pileus.core.operations import Operation
from tests.unit.core.network.place import Place, place


@pytest.fixture
async def here(database_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    async with place(database_url, tmp_path) as found:
        yield found


@pytest.fixture
async def own(here: Place) -> Network:
    """An isolated network of the caller's, built."""
    accepted = await isolated.create(here.cloud, here.me, IsolatedWant(name="own"))
    await here.work()
    async with here.cloud.view() as look:
        return await look.get(Network, accepted.resource.id)


async def test_a_server_gets_a_port_in_the_only_network(here: Place):
    network, _ = await here.inside()
    server = here.server()
    async with here.cloud.transaction(here.me) as tx:
        (port,) = await ports.take(tx, here.me, server, (), ())
    assert (port.network, port.device, port.use) == (network.id, server.id, PortUse.SERVER)
    assert port.mac.startswith("52:54:00:")
    assert port.dns_name == "web"
    await here.work()
    assert here.network.networks[network.id].dns_names["web"] == ("10.7.0.3",)
    async with here.cloud.transaction(here.me) as tx:
        assert await ports.release(tx, server.id) == [port.id]
    await here.work()
    assert here.network.networks[network.id].dns_names == {}
    assert await here.used() == {"networks": 1, "subnets": 1, "security_groups": 1, "security_rules": 4}


async def test_without_networks_a_server_gets_no_port_and_with_several_it_must_choose(here: Place):
    async with here.cloud.transaction(here.me) as tx:
        assert await ports.take(tx, here.me, here.server(), (), ()) == []
    await here.inside()
    await here.inside("10.8.0.0/24")
    with pytest.raises(Conflict, match="Multiple possible networks found"):
        async with here.cloud.transaction(here.me) as tx:
            await ports.take(tx, here.me, here.server(), (), ())


async def test_a_port_that_was_there_is_taken_once_and_survives_its_server(here: Place):
    network, _ = await here.inside()
    made, _ = await ports.create(here.cloud, here.me, PortWant(network=network.id))
    server = here.server()
    async with here.cloud.transaction(here.me) as tx:
        nics = (NicWant(network=network.id, address="10.7.0.99"), NicWant(port=made.id))
        first, second = await ports.take(tx, here.me, server, nics, ())
    assert (first.position, second.position, second.id) == (0, 1, made.id)
    with pytest.raises(PortInUse):
        async with here.cloud.transaction(here.me) as tx:
            await ports.add(tx, here.me, here.server("other"), NicWant(port=made.id))
    async with here.cloud.transaction(here.me) as tx:
        seen = [port.id for port, _ in await ports.of_server(tx, server.id)]
        assert seen == [first.id, second.id]
        assert set(await ports.release(tx, server.id)) == {first.id, second.id}
    async with here.cloud.view() as look:
        kept = await look.get(Port, made.id)
        assert await look.maybe(Port, first.id) is None
    assert (kept.use, kept.device) == (PortUse.NONE, None)


async def test_addresses_are_never_given_twice(here: Place):
    network, subnet = await here.inside()
    want = PortWant(network=network.id)
    await asyncio.gather(*(ports.create(here.cloud, here.me, want) for _ in range(40)))
    async with here.cloud.view() as look:
        held = [row.address for row in await look.list(FixedAddress, subnet=subnet)]
    assert len(set(held)) == len(held) == 41
    assert set(held) == {f"10.7.0.{n}" for n in range(2, 43)}


async def test_a_large_subnet_costs_no_scan(here: Place):
    network, _ = await here.inside("10.0.0.0/8")
    made = [await ports.create(here.cloud, here.me, PortWant(network=network.id)) for _ in range(3)]
    assert [held[0].address for _, held in made] == ["10.0.0.3", "10.0.0.4", "10.0.0.5"]


async def test_one_waiting_sync_serves_many_changes(here: Place):
    network, _ = await here.inside()
    async with here.cloud.view() as look:
        found = await look.list(Operation, subject=network.id, workflow="network.sync")
    assert len(found) == 1


async def test_an_isolated_network_comes_and_goes_whole(here: Place, own: Network):
    assert own.state is NetState.ACTIVE
    assert own.operation is None
    spec = here.network.routers[own.router]
    assert spec.gateway is not None
    assert [rule.kind for rule in spec.nat] == ["source"]
    assert spec.egress_guarded == (own.id,)
    async with here.cloud.view() as look:
        (address,) = await look.list(Address, network=own.id)
    assert (address.source_nat, address.guarded) == (True, True)
    with pytest.raises(SourceNat):
        await addresses.release(here.cloud, here.me, address.id)
    assert (await here.used())["addresses"] == 1
    await removal.delete(here.cloud, here.me, own.id)
    await here.work()
    assert await here.used() == {}
    assert own.router not in here.network.routers
    async with here.cloud.view() as look:
        assert await look.list(Router) == []
        assert await look.list(Port) == []


async def test_an_isolated_network_with_a_server_stays(here: Place, own: Network):
    async with here.cloud.transaction(here.me) as tx:
        await ports.take(tx, here.me, here.server(), (NicWant(network=own.id),), ())
    with pytest.raises(NetworkInUse):
        await removal.delete(here.cloud, here.me, own.id)


async def test_static_nat_and_firewall_rules_reach_the_router(here: Place, own: Network):
    async with here.cloud.transaction(here.me) as tx:
        (port,) = await ports.take(tx, here.me, here.server(), (NicWant(network=own.id),), ())
    accepted = await addresses.acquire(here.cloud, here.me, network=own.id)
    address: Address = accepted.resource
    await addresses.enable_static_nat(here.cloud, here.me, address.id, port.id)
    rule = FirewallWant(address=address.id, protocol="tcp", port_min=22, sources=("0.0.0.0/0",))
    made = await firewall.create(here.cloud, here.me, rule)
    with pytest.raises(RuleExists):
        await firewall.create(here.cloud, here.me, rule)
    await firewall.create(here.cloud, here.me, FirewallWant(network=own.id, protocol="all"))
    await here.work()
    spec = here.network.routers[own.router]
    assert {str(guarded) for guarded in spec.guarded} >= {address.address}
    assert ("static", address.address) in {(nat.kind, str(nat.external)) for nat in spec.nat}
    assert {one.direction for one in spec.filters} == {"ingress", "egress"}
    await firewall.delete(here.cloud, here.me, made.resource.id)
    await addresses.disable_static_nat(here.cloud, here.me, address.id)
    await addresses.release(here.cloud, here.me, address.id)
    await here.work()
    spec = here.network.routers[own.router]
    assert [nat.kind for nat in spec.nat] == ["source"]
    assert [one.direction for one in spec.filters] == ["egress"]


async def test_the_source_nat_address_carries_forwardings_of_ranges(here: Place, own: Network):
    async with here.cloud.transaction(here.me) as tx:
        (port,) = await ports.take(tx, here.me, here.server(), (NicWant(network=own.id),), ())
    async with here.cloud.view() as look:
        (address,) = await look.list(Address, network=own.id)
    want = ForwardingWant(
        address=address.id,
        protocol="tcp",
        external_port=8000,
        external_port_end=8003,
        inside_port=80,
        inside_port_end=83,
        port=port.id,
    )
    accepted = await forwardings.create(here.cloud, here.me, want)
    await here.work()
    specs = here.network.routers[own.router].forwardings
    assert [(spec.external_port, spec.inside_port) for spec in specs] == [
        (8000 + n, 80 + n) for n in range(4)
    ]
    assert len({spec.id for spec in specs}) == 4
    await forwardings.delete(here.cloud, here.me, accepted.resource.id)
    await here.work()
    assert here.network.routers[own.router].forwardings == ()


async def test_an_address_without_a_guard_takes_no_firewall_rule(here: Place):
    accepted = await addresses.acquire(here.cloud, here.me, external=here.external.id, guarded=False)
    with pytest.raises(Unsupported):
        await firewall.create(here.cloud, here.me, FirewallWant(address=accepted.resource.id, protocol="all"))
