"""Whatever is done to the platform by hand, the records come back."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from pileus.core import alerts
from pileus.core.caller import system
from pileus.core.network import isolated, ports
from pileus.core.network.isolated import IsolatedWant
from pileus.core.network.ports import PortWant
from pileus.core.network.records import Port
from pileus.drivers.errors import Refused, Unreachable
from pileus.drivers.network.protocol import GroupSpec, Kind, NetworkSpec, Survey
from pileus.reconcile import network as reconcile
from pileus.reconcile.network import Reconciler
from pileus.reconcile.pace import Pace
from pileus.reconcile.reactions import Drift
from tests.unit.core.network.place import Place, place


@pytest.fixture
async def here(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    async with place(sqlite_url, tmp_path) as found:
        accepted = await isolated.create(found.cloud, found.me, IsolatedWant(name="own"))
        await ports.create(found.cloud, found.me, PortWant(network=accepted.resource.id))
        await found.work()
        yield found


OTHERWISE: dict[Kind, dict[str, Any]] = {
    Kind.NETWORK: {"mtu": 999},
    Kind.PORT: {"mac": "02:00:00:00:00:99"},
    Kind.ROUTER: {"name": "other"},
    Kind.GROUP: {"rules": ()},
}


async def standing(here: Place) -> set[str]:
    page = await alerts.listing(here.cloud, system(), project=None, cleared_at=None)
    return {alert.kind for alert in page.items}


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
    assert await standing(here) == {Drift.NETWORK_MISSING.value}
    await reconciler.once()
    assert await standing(here) == set()


async def test_what_is_not_recorded_goes(here: Place):
    before = await here.network.known()
    await here.network.apply_network(NetworkSpec(id=uuid4(), name="stray"))
    await here.network.apply_group(GroupSpec(id=uuid4()))
    reconciler = Reconciler(here.site)
    first = await reconciler.once()
    assert (first.count, sum(map(len, first.strange.values()))) == (0, 2)
    assert await standing(here) == {Drift.NETWORK_LEFT.value}
    assert (await reconciler.once()).count == 2
    assert await here.network.known() == before
    assert await standing(here) == set()


async def test_what_carries_no_mark_and_is_not_recorded_stays(here: Place):
    stray = uuid4()
    await here.network.apply_network(NetworkSpec(id=stray, name="stray"))
    here.network.unmarked.add(stray)
    reconciler = Reconciler(here.site)
    for _ in range(4):
        assert (await reconciler.once()).count == 0
    assert stray in here.network.networks
    assert await standing(here) == {Drift.NETWORK_LEFT.value}


@pytest.mark.parametrize("kind", list(Kind))
async def test_what_carries_no_mark_and_is_recorded_is_marked(here: Place, kind: Kind):
    here.network.unmarked |= (await here.network.known())[kind]
    repairs = await Reconciler(here.site).once()
    assert not here.network.unmarked
    assert repairs.count == 0


async def test_what_is_somebody_elses_is_counted(here: Place):
    here.network.foreign["Logical_Switch"] = 2
    reconciler = Reconciler(here.site)
    for _ in range(2):
        await reconciler.once()
    assert await standing(here) == {Drift.NETWORK_FOREIGN.value}
    here.network.foreign.clear()
    await reconciler.once()
    assert await standing(here) == set()


@pytest.mark.parametrize("kind", list(Kind))
async def test_what_is_changed_by_hand_is_changed_back(here: Place, kind: Kind):
    held: dict[UUID, Any] = getattr(here.network, f"{kind.value}s")
    before = dict(held)
    for key, spec in before.items():
        held[key] = msgspec.structs.replace(spec, **OTHERWISE[kind])
    repairs = await Reconciler(here.site).once()
    assert held == before
    assert repairs.changed[kind] == before.keys()
    assert await standing(here) == {Drift.NETWORK_CHANGED.value}
    await Reconciler(here.site).once()
    assert await standing(here) == set()


async def test_what_somebody_asked_for_is_no_drift(here: Place, monkeypatch: pytest.MonkeyPatch):
    """The record changes while the reconciler looks, before its operation is worked on."""
    (key,) = here.network.ports
    reconciler, survey = Reconciler(here.site), here.network.survey

    async def slow() -> Survey:
        found = await survey()
        await ports.update(here.cloud, here.me, key, ports.PortChange(enabled=False))
        return found

    monkeypatch.setattr(here.network, "survey", slow)
    recorded = reconciler._recorded

    async def early(pace: Pace) -> Any:
        found = await recorded(pace)
        return type(found)(found.keys, frozenset(), frozenset(), 0)

    monkeypatch.setattr(reconciler, "_recorded", early)
    repairs = await reconciler.once()
    assert not here.network.ports[key].enabled
    assert repairs.count == 0
    assert await standing(here) == set()


async def test_what_a_killed_process_began_on_this_machine_is_removed(here: Place):
    here.network.left = {uuid4(), *here.network.networks}
    reconciler = Reconciler(here.site)
    await reconciler.once()
    await reconciler.once()
    assert here.network.left == set(here.network.networks)


async def test_a_platform_that_is_away_is_told_and_nothing_else_is_over(here: Place):
    here.network.foreign["Logical_Switch"] = 2
    reconciler = Reconciler(here.site)
    await reconciler.once()
    here.network.reachable = False
    with pytest.raises(Unreachable):
        await reconciler.once()
    assert await standing(here) == {Drift.NETWORK_FOREIGN.value, Drift.NETWORK_AWAY.value}
    here.network.reachable = True
    await reconciler.once()
    assert await standing(here) == {Drift.NETWORK_FOREIGN.value}


async def test_what_cannot_be_repaired_is_told(here: Place):
    here.network.fail("apply_group", Refused("no"), times=100)
    await Reconciler(here.site).once()
    assert await standing(here) == {Drift.NETWORK_BROKEN.value}


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
    monkeypatch.setattr(reconcile, "SLICES", dict.fromkeys(reconcile.SLICES, 3))
    keys = frozenset(UUID(int=n) for n in range(8))
    reconciler = Reconciler(here.site)
    turns = [reconciler._turn(Kind.PORT, keys) for _ in range(3)]
    assert all(0 < len(turn) <= 3 for turn in turns)
    assert frozenset().union(*turns) == keys
