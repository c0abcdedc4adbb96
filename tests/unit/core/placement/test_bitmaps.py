"""Sets and figures as bits agree with the same told slot by slot."""

import random

import pytest

from pileus.core.placement.bitmaps import Figures, Tagged, of_slots, one_of, slots_of, without

SIZES = (1, 7, 64, 300)


@pytest.mark.parametrize("size", SIZES)
def test_figures_are_compared_as_whole_numbers_are(size: int) -> None:
    dice = random.Random(size)
    held, figures = [0] * size, Figures()
    for _ in range(4 * size):
        slot, new = dice.randrange(size), dice.choice((0, 1, 2, 63, 64, dice.randrange(1 << 20)))
        figures.change(slot, held[slot], new)
        held[slot] = new
    everyone = of_slots(range(size))
    for least in (0, 1, 2, 63, 64, 65, 1 << 19, 1 << 40):
        right = [slot for slot in range(size) if held[slot] >= least]
        assert list(slots_of(figures.at_least(least, everyone))) == right
    for _ in range(20):
        among = [slot for slot in range(size) if dice.random() < 0.3] or [0]
        for value, hosts, best in (
            (*figures.greatest(of_slots(among)), max(held[slot] for slot in among)),
            (*figures.least(of_slots(among)), min(held[slot] for slot in among)),
        ):
            assert value == best
            assert list(slots_of(hosts)) == [slot for slot in among if held[slot] == best]


@pytest.mark.parametrize("size", SIZES)
def test_sets_are_sets(size: int) -> None:
    dice = random.Random(size)
    one, two = ({slot for slot in range(size) if dice.random() < 0.5} for _ in range(2))
    assert set(slots_of(of_slots(one))) == one
    assert set(slots_of(without(of_slots(one), of_slots(two)))) == one - two
    assert of_slots([]) == 0
    if one:
        numbered = [one_of(of_slots(one), number) for number in range(2 * len(one))]
        assert numbered == sorted(one) * 2


def test_a_tag_is_a_set_of_slots_and_none_when_nobody_has_it() -> None:
    tagged = Tagged()
    tagged.toggle(3, ["a", "b"])
    tagged.toggle(5, ["a"])
    tagged.toggle(3, ["a"])
    assert (list(slots_of(tagged["a"])), list(slots_of(tagged["b"])), tagged["c"]) == ([5], [3], 0)
