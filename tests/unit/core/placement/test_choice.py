"""The choice of a host, without a database."""

import random
from typing import Any
from uuid import UUID

import pytest

from pileus.core.compute.records import Affinity, Host
from pileus.core.placement.asking import Companions, Where
from pileus.core.placement.choice import PACK, SPREAD, choose, strategy_of
from pileus.core.placement.explanation import explain
from pileus.core.placement.inventory import Need, room
from tests.unit.core.placement.hosts import (
    CLOSED,
    NOVA,
    WEST,
    ZONES,
    decide,
    group,
    host,
    inventory,
    key,
)

SMALL = Need(vcpus=1, memory_mib=512, disk_gib=1)


def test_the_emptiest_host_that_fits_is_chosen_and_the_fullest_where_hosts_are_packed() -> None:
    hosts = [
        host(1, memory_mib_used=4096),
        host(2, memory_mib_used=3000),
        host(3),
        host(4, memory_mib=9000, enabled=False),
        host(5, memory_mib=9000, up=False),
        host(6, memory_mib=9000, maintenance=True),
    ]
    held = inventory(hosts)
    assert choose(held, SMALL, Where()) == key(3)
    assert choose(held, SMALL, Where(), strategy=PACK) == key(2)
    assert choose(held, SMALL, Where(), without={key(3)}) == key(2)
    assert choose(held, SMALL, Where(host=key(2))) == key(2)
    assert choose(held, SMALL, Where(zone=WEST)) is None


def test_of_equal_hosts_the_consumer_says_which() -> None:
    held = inventory([host(number) for number in range(1, 9)])
    taken = {choose(held, SMALL, Where(), consumer=number) for number in range(8)}
    assert len(taken) == 8


def test_a_commit_moves_a_host_and_an_older_one_does_not() -> None:
    one, two = host(1, generation=1), host(2, memory_mib=2048)
    held = inventory([one, two])
    held.see(host(1, memory_mib_used=3900, generation=2))
    assert choose(held, SMALL, Where()) == key(2)
    held.see(one)
    assert choose(held, SMALL, Where()) == key(2)
    held.forget(key(2))
    assert choose(held, SMALL, Where()) is None
    assert len(held) == 1
    held.see(host(3))
    assert choose(held, SMALL, Where()) == key(3)
    assert held.stamp == (2, 2, 4)


def companions(affinity: Affinity, most: int = 1, **hosts: int) -> Where:
    held = tuple((key(int(name[1:])), count) for name, count in hosts.items())
    return Where(companions=(Companions(name="g", affinity=affinity, most_per_host=most, hosts=held),))


@pytest.mark.parametrize(
    ("where", "chosen"),
    [
        (companions(Affinity.APART, h4=1), 3),
        (companions(Affinity.APART, 2, h4=1), 4),
        (companions(Affinity.TOGETHER, h1=1), 1),
        (companions(Affinity.TOGETHER), 4),
        (companions(Affinity.SOFT_APART, h4=1), 3),
        (companions(Affinity.SOFT_APART, h1=1, h2=1, h3=2, h4=3), 2),
        (companions(Affinity.SOFT_TOGETHER, h1=1, h2=2), 2),
    ],
)
def test_groups_of_servers_bind_or_wish(where: Where, chosen: int) -> None:
    hosts = [host(number, memory_mib=1024 * number) for number in (1, 2, 3, 4)]
    assert choose(inventory(hosts), SMALL, where) == key(chosen)


def test_the_score_orders_what_is_offered() -> None:
    hosts = [host(number, memory_mib=1024 * number) for number in (1, 2, 3, 4)]
    for strategy in (SPREAD, PACK):
        found = explain(decide(inventory(hosts), SMALL, companions(Affinity.SOFT_TOGETHER, h2=1), strategy))
        assert found.winner is not None
        assert found.winner.hostname == "h-2"
        scores = [found.winner.score, *(each.score for each in found.alternatives)]
        assert len(scores) == 4
        assert scores == sorted(scores, reverse=True)
        assert "would like to be with" in found.winner.why


def test_the_size_says_how_hosts_are_filled_then_its_host_groups_then_the_configuration() -> None:
    groups = (
        group(9, {"ssd": "true", "placement": PACK}),
        group(10, {"ssd": "false", "placement": "sideways"}),
    )
    held = inventory([], groups)
    assert strategy_of(held, Where(strategy=SPREAD, metadata=(("ssd", "true"),)), PACK) == SPREAD
    assert strategy_of(held, Where(metadata=(("ssd", "true"),)), SPREAD) == PACK
    assert strategy_of(held, Where(metadata=(("ssd", "false"),)), SPREAD) == SPREAD
    assert strategy_of(held, Where(), PACK) == PACK


def test_one_of_several_values_of_a_host_group_is_enough() -> None:
    held = inventory([host(1), host(2)], (group(9, {"disk": "ssd,nvme"}),), ((9, 2),))
    for wanted, chosen in (("ssd", key(2)), ("<or> hdd <or> nvme", key(2)), ("hdd", None)):
        assert choose(held, SMALL, Where(metadata=(("disk", wanted),))) == chosen


def test_a_simulated_host_stands_for_any_hypervisor() -> None:
    held = inventory([host(1, hypervisor_type="VMware"), host(2, hypervisor_type="Simulator")])
    assert choose(held, Need(vcpus=1, memory_mib=1, disk_gib=1, hypervisor="kvm"), Where()) == key(2)


def some_host(dice: random.Random, number: int) -> Host:
    return host(
        number,
        zone=dice.choice((NOVA, WEST, CLOSED)),
        memory_mib_used=dice.randrange(0, 5000),
        vcpus_used=dice.randrange(0, 9),
        disk_gib_used=dice.randrange(0, 110),
        enabled=dice.random() > 0.2,
        up=dice.random() > 0.2,
        maintenance=dice.random() < 0.2,
        traits=tuple(trait for trait in ("A", "B") if dice.random() < 0.5),
    )


def some_need(dice: random.Random) -> tuple[Need, Where]:
    need = Need(
        vcpus=dice.randrange(1, 6),
        memory_mib=dice.randrange(64, 4000),
        disk_gib=dice.randrange(1, 80),
        required_traits=("A",) if dice.random() < 0.3 else (),
        forbidden_traits=("B",) if dice.random() < 0.3 else (),
    )
    more: dict[str, Any] = {"zone": dice.choice((None, NOVA, WEST))}
    more["apart_from"] = tuple(key(dice.randrange(1, 40)) for _ in range(dice.randrange(4)))
    return need, Where(**more)


def plain(hosts: list[Host], need: Need, where: Where) -> set[UUID]:
    """The same question, put to each host."""
    closed = {zone.id for zone in ZONES if not zone.enabled}
    return {
        each.id
        for each in hosts
        if room(each).fits(need)
        and each.zone not in closed
        and where.zone in (None, each.zone)
        and each.id not in where.apart_from
    }


@pytest.mark.parametrize("seed", range(60))
def test_every_host_is_counted_once_and_the_choice_is_what_each_host_says_of_itself(seed: int) -> None:
    dice = random.Random(seed)
    hosts = [some_host(dice, number) for number in range(1, dice.randrange(2, 40))]
    held = inventory(hosts)
    need, where = some_need(dice)
    right = plain(hosts, need, where)
    for strategy, best in ((SPREAD, max), (PACK, min)):
        choice = decide(held, need, where, strategy)
        found = explain(choice)
        assert found.considered == len(hosts) == found.fits + sum(each.hosts for each in found.removed)
        assert found.fits == len(right)
        assert (choice.host in right) is bool(right)
        if right:
            free = {each.id: each.memory_mib - each.memory_mib_used for each in hosts if each.id in right}
            assert choice.host is not None
            assert free[choice.host] == best(free.values())
            assert not found.advice
        else:
            assert found.winner is None
            assert found.nearest
        assert all(miss.lacks for miss in found.nearest)
        assert not {miss.host for miss in found.nearest} & right
