"""Whatever is done to the platform by hand, the records come back."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from pileus.core.network import isolated, ports
from pileus.core.network.isolated import IsolatedWant
from pileus.core.network.ports import PortWant
from pileus.core.network.records import Port
from pileus.drivers.network.protocol import GroupSpec, Kind, NetworkSpec
from pileus.reconcile import network as reconcile
from pileus.reconcile.network import Reconciler
from tests.unit.core.network.place import Place, place


@pytest.fixture
async def here(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    async with place(sqlite_url, tmp_path) as found:
        accepted = await isolated.create(found.cloud, found.me, IsolatedWant(name="own"))
        await ports.create(found.cloud, found.me, PortWant(network=accepted.resource.id))
        await found.work()
        yield found


async def test_a_sound_platform_needs_no_repair(here: Place):
    assert (await Reconciler(here.site).once()).count == 0


@pytest.mark.parametrize("kind", list(Kind))
async def test_what_is_deleted_by_hand_comes_back(here: Place, kind: Kind):
    before = await here.network.known()
    reconciler = Reconciler(here.site)
    for key in before[kind]:
        await getattr(here.network, f"remove_{kind.value}")(key)
    repairs = await reconciler.once()
    assert before[kind] <= repairs.restored[kind]
    assert await here.network.known() == before
    assert reconciler.totals["restored"] >= len(before[kind])


async def test_what_is_not_recorded_goes(here: Place):
    before = await here.network.known()
    await here.network.apply_network(NetworkSpec(id=uuid4(), name="stray"))
    await here.network.apply_group(GroupSpec(id=uuid4()))
    assert (await Reconciler(here.site).once()).count == 2
    assert await here.network.known() == before


async def test_what_an_operation_works_on_is_left_alone(here: Place):
    async with here.cloud.view() as look:
        (port,) = [p for p in await look.list(Port) if p.id in here.network.ports]
    await ports.update(here.cloud, here.me, port.id, ports.PortChange(name="x"))
    await here.network.remove_port(port.id)
    repairs = await Reconciler(here.site).once()
    assert port.id not in repairs.restored[Kind.PORT]
    await here.work()
    assert port.id in here.network.ports


async def test_ports_are_up_as_the_platform_says(here: Place):
    (key,) = here.network.ports
    for up in (True, False):
        here.network.plug(key, up)
        await Reconciler(here.site).once()
        async with here.cloud.view() as look:
            assert (await look.get(Port, key)).up is up


def test_a_large_cloud_is_applied_in_turns(here: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reconcile, "SLICE", 3)
    keys = frozenset(UUID(int=n) for n in range(8))
    reconciler = Reconciler(here.site)
    turns = [reconciler._turn(Kind.PORT, keys) for _ in range(3)]
    assert all(0 < len(turn) <= 3 for turn in turns)
    assert frozenset().union(*turns) == keys
