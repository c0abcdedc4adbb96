"""The quick part of the matrix: every workflow, every step, every fault of one process on SQLite, and some real kills.
`make prove` tries all of it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pileus.core import records  # noqa: F401 (declares every table)
from pileus.core.block.records import VOLUME_TRANSITIONAL, VolumeState
from pileus.core.compute.records import TRANSITIONAL, State
from pileus.core.invariants import transitional, worked_on
from pileus.core.quota import DEFAULTS
from pileus.core.uses import USES
from pileus.workflows import catalogue
from pileus.workflows.engine import WORKFLOWS

PROVE = Path(__file__).parents[2] / "tools" / "prove.py"
SECONDS = 300
JOBS = 4
"""Processes that work on cases: they wait more than they work."""
UNCHARGED = frozenset({"server_group_members"})

catalogue.load()


@pytest.fixture(scope="module")
def matrix() -> dict[str, Any]:
    """In a process of its own: its cases fork."""
    command = [sys.executable, PROVE, "--quick", "--database", "sqlite", "--json", "--jobs", str(JOBS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode in (0, 1), done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_workflow_is_started_by_something_and_ends_well(matrix: dict[str, Any]) -> None:
    assert matrix["problems"] == []


@pytest.mark.parametrize("workflow", sorted(WORKFLOWS))
def test_nothing_is_stuck_leaked_or_done_twice_whatever_befalls_a_step(
    matrix: dict[str, Any], workflow: str
) -> None:
    tried = matrix["workflows"][workflow]
    assert tried["cases"] >= len(WORKFLOWS[workflow].steps)
    assert tried["failures"] == []


def test_the_words_of_states_tell_which_are_transitional() -> None:
    assert {state for state in State if transitional(state)} == TRANSITIONAL
    assert {state for state in VolumeState if transitional(state)} == VOLUME_TRANSITIONAL


def test_what_long_work_acts_on_is_found_by_its_fields() -> None:
    assert {"server", "volume", "snapshot", "image", "network"} <= {layout.name for layout in worked_on()}


def test_every_limit_is_counted_from_the_records() -> None:
    class Anything:
        """A record whose every field is one, without tags."""

        host_tags = ()

        def __getattr__(self, name: str) -> Any:
            return 1

    counted = {name for use in USES.values() for name in use(Anything())}
    assert counted | {"ports", "volumes", "volume_gib"} == DEFAULTS.keys() - UNCHARGED
