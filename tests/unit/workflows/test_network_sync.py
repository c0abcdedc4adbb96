"""Syncs broken at every call of the driver: the records stay, the platform follows, nothing is left over."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from pileus.core.network import isolated, ports, removal
from pileus.core.network.isolated import IsolatedWant
from pileus.core.network.ports import PortWant
from pileus.core.network.records import NetState, Network, SecurityRule
from pileus.core.operations import LIVE, Operation, Outcome
from pileus.drivers.errors import Refused, Unreachable
from pileus.drivers.network.protocol import Kind
from pileus.reconcile.network import LOOKS, Reconciler
from pileus.workflows.network_specs import group
from pileus.workflows.network_sync import sync_group, sync_network, sync_port, sync_router
from tests.unit.core.network.place import Place, place

CALLS = ("apply_network", "apply_port", "apply_group", "apply_router")


@pytest.fixture
async def here(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    async with place(sqlite_url, tmp_path) as found:
        yield found


async def built(here: Place) -> tuple[Network, Any]:
    accepted = await isolated.create(here.cloud, here.me, IsolatedWant(name="own"))
    port, _ = await ports.create(here.cloud, here.me, PortWant(network=accepted.resource.id, dns_name="web"))
    return accepted.resource, port


def whole(here: Place, network: Network, port: Any) -> bool:
    held = here.network
    return network.id in held.networks and network.router in held.routers and port.id in held.ports


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", CALLS)
async def test_an_unreachable_platform_is_waited_for(here: Place, call: str, when: Any):
    here.network.fail(call, Unreachable("gone"), when=when)
    network, port = await built(here)
    await here.work()
    assert whole(here, network, port)
    async with here.cloud.view() as look:
        assert {o.outcome for o in await look.list(Operation)} == {Outcome.DONE}
        assert (await look.get(Network, network.id)).state is NetState.ACTIVE


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", CALLS)
async def test_a_refusal_is_told_and_repaired_later(here: Place, call: str, when: Any):
    here.network.fail(call, Refused("no"), when=when)
    network, port = await built(here)
    await here.work()
    async with here.cloud.view() as look:
        assert await look.count(Operation, outcome=tuple(LIVE)) == 0
        seen = await look.get(Network, network.id)
    assert seen.state is not NetState.BUILDING
    assert seen.operation is None
    assert (seen.state is NetState.ERROR) is bool(seen.fault)
    await Reconciler(here.site).once()
    assert whole(here, network, port)
    async with here.cloud.view() as look:
        healed = await look.get(Network, network.id)
    assert (healed.state, healed.fault) == (NetState.ACTIVE, "")


@pytest.mark.parametrize("call", ["remove_network", "remove_port", "remove_router"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_was_deleted_leaves_the_platform_in_the_end(here: Place, call: str, when: Any):
    network, port = await built(here)
    await here.work()
    here.network.fail(call, Refused("no"), when=when)
    await ports.delete(here.cloud, here.me, port.id)
    await removal.delete(here.cloud, here.me, network.id)
    await here.work()
    reconciler = Reconciler(here.site)
    for _ in range(LOOKS):
        await reconciler.once()
    known = await here.network.known()
    assert known[Kind.PORT] == known[Kind.ROUTER] == frozenset()
    assert known[Kind.NETWORK] == {here.external.id}


async def test_repeating_a_sync_changes_nothing(here: Place):
    network, port = await built(here)
    await here.work()
    before = (dict(here.network.networks), dict(here.network.ports), dict(here.network.routers))
    await sync_network(here.site, network.id)
    await sync_port(here.site, port.id)
    await sync_group(here.site, port.groups[0])
    assert network.router is not None
    await sync_router(here.site, network.router)
    assert before == (here.network.networks, here.network.ports, here.network.routers)


async def test_a_port_brings_its_network_and_groups_along(here: Place):
    network, port = await built(here)
    await here.work()
    await here.network.remove_network(network.id)
    await here.network.remove_group(port.groups[0])
    await sync_port(here.site, port.id)
    assert {network.id} <= here.network.networks.keys()
    assert {port.groups[0]} <= here.network.groups.keys()


@pytest.mark.parametrize(
    ("protocol", "ethertype", "wanted"),
    [
        (None, 4, "any"),
        ("tcp", 4, "tcp"),
        ("6", 4, "tcp"),
        ("icmp", 4, "icmp"),
        ("icmp", 6, "icmp6"),
        ("ipv6-icmp", 6, "icmp6"),
        ("sctp", 4, "132"),
        ("47", 4, "47"),
    ],
)
async def test_protocols_become_the_drivers_words(
    here: Place, protocol: str | None, ethertype: int, wanted: str
):
    _, port = await built(here)
    async with here.cloud.view() as look:
        (row, *_) = await look.list(SecurityRule, group=port.groups[0])
    (spec,) = group(row, [replace(row, protocol=protocol, ethertype=ethertype)]).rules  # type: ignore[arg-type]
    assert spec.protocol == wanted
