from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from uuid import uuid4

import pytest

from pileus.drivers.errors import Refused, Unreachable
from pileus.drivers.network.fake import FakeNetwork
from tests.conformance.network import NetworkConformance, Site


class TestFakeConforms(NetworkConformance):
    @pytest.fixture
    async def network(self) -> AsyncIterator[FakeNetwork]:
        network = FakeNetwork(bound=False)
        yield network
        await network.close()


def call(site: Site, name: str) -> Coroutine[Any, Any, Any]:
    arguments: dict[str, tuple[object, ...]] = {
        "apply_network": (site.network,),
        "apply_port": (site.port,),
        "apply_group": (site.group,),
        "apply_router": (site.router,),
        "remove_network": (site.network.id,),
        "remove_port": (site.port.id,),
        "remove_group": (site.group.id,),
        "remove_router": (site.router.id,),
        "port_up": (site.port.id,),
    }
    method: Callable[..., Coroutine[Any, Any, Any]] = getattr(site.driver, name)
    return method(*arguments.get(name, ()))


BREAKABLE = sorted(FakeNetwork.CALLS - {"close"})


@pytest.mark.parametrize("name", BREAKABLE)
async def test_a_fault_before_has_no_effect_and_one_after_has_its_effect(name: str) -> None:
    network = FakeNetwork()
    site = Site(network)
    if not name.startswith("apply"):
        await site.apply()
    elif name != "apply_network":
        await network.apply_network(site.network)
        await network.apply_network(site.external)
    before = await network.known()
    network.fail(name, Refused("broken"))
    with pytest.raises(Refused, match="broken"):
        await call(site, name)
    assert await network.known() == before
    network.fail(name, Refused("broken"), when="after")
    with pytest.raises(Refused, match="broken"):
        await call(site, name)
    changed = name.startswith(("apply", "remove"))
    assert (await network.known() != before) is changed
    await call(site, name)


@pytest.mark.parametrize("name", BREAKABLE)
async def test_a_network_that_is_away_answers_nothing(name: str) -> None:
    network = FakeNetwork()
    network.reachable = False
    with pytest.raises(Unreachable):
        await call(Site(network), name)


async def test_an_unknown_call_cannot_be_broken() -> None:
    with pytest.raises(ValueError, match="apply_network"):
        FakeNetwork().fail("apply_everything", Refused("broken"))


async def test_a_port_is_up_when_a_guest_is_behind_it_and_it_is_enabled() -> None:
    network = FakeNetwork(bound=False)
    site = Site(network)
    await site.apply()
    assert not await network.port_up(site.port.id)
    network.plug(site.port.id)
    assert await network.port_up(site.port.id)
    network.plug(site.port.id, False)
    assert not await network.port_up(site.port.id)
    assert not await FakeNetwork().port_up(uuid4())


async def test_a_port_may_change_its_network() -> None:
    network = FakeNetwork()
    site = Site(network)
    await site.apply()
    moved = type(site.port)(id=site.port.id, network=site.external.id, mac=site.port.mac)
    await network.apply_port(moved)
    await network.remove_network(site.network.id)
    assert network.ports == {moved.id: moved}
