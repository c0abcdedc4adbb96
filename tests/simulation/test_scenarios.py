"""Short runs of tools/simulate.py: whatever happens outside, everything comes to its end and the books are right."""

import pytest

from tests.simulation.scenario import Outcome, Scenario, play

HOURS = 0.5


def short(seed: int, hours: float = HOURS) -> Outcome:
    return play(Scenario(seed=seed, hours=hours, hosts=6, requests=8.0, faults=1.0, crashes=0.1))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_after_faults_and_crashes_everything_is_as_recorded(seed: int) -> None:
    outcome = short(seed)
    assert outcome.findings == []
    assert outcome.tally["crash"] > 0
    assert outcome.tally["deploy"] > 0


def test_a_seed_is_one_history_and_another_seed_is_another() -> None:
    first, again, other = short(4, HOURS / 2), short(4, HOURS / 2), short(5, HOURS / 2)
    assert (first.events, first.calls) == (again.events, again.calls)
    assert first.events != other.events
    assert first.calls != other.calls
    assert first.findings == other.findings == []
