"""Promises that hold for all there is and all there will be: tables are total, documents are true, modules stay small."""

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

import pileus.core
import pileus.faces
from pileus.config import Config
from pileus.core.errors import CoreError, Kind
from pileus.faces.wire.errors import STATUS
from pileus.workflows import catalogue
from pileus.workflows.engine import WORKFLOWS, Workflow

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src" / "pileus").rglob("*.py"))
LONGEST = 600
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PARTIAL: frozenset[str] = frozenset(
    {
        "pileus.faces.openstack.network.ports.OWNER",
        "pileus.faces.cloudstack.events.BY_STATE",
    }
)
"""Tables that name only some of their words on purpose; each says at its place what becomes of the others."""


def modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(found.name)


def tables() -> Iterator[tuple[str, Mapping[Any, Any], type[Enum]]]:
    """Every constant of a face that maps words of the core, by its name."""
    for module in modules(pileus.faces):
        for name, value in vars(module).items():
            if not isinstance(value, Mapping) or not value or not name.isupper():
                continue
            kinds = {type(key) for key in value}
            kind = kinds.pop()
            if not kinds and issubclass(kind, Enum) and of_core(kind):
                yield f"{module.__name__}.{name}", value, kind


def of_core(kind: type[Enum]) -> bool:
    """States, outcomes and kinds of error: of these nothing may be without a word."""
    return kind.__module__.startswith("pileus.core.") and (
        kind.__name__.endswith("State") or kind.__name__ in ("Kind", "Outcome", "PortUse")
    )


def test_every_face_has_a_word_for_every_state_and_every_error() -> None:
    found = list(tables())
    assert len(found) > 10, "the tables are not where this test looks for them"
    wrong = [
        f"{name} has no word for {', '.join(sorted(missing))}"
        for name, table, kind in found
        if name not in PARTIAL
        and (missing := {str(each.name) for each in kind} - {each.name for each in table})
    ]
    assert wrong == []


def test_every_error_of_the_core_has_a_kind_and_every_kind_an_error() -> None:
    for _ in modules(pileus.core):
        pass
    direct = CoreError.__subclasses__()
    assert {error.kind for error in direct} == set(Kind)
    assert set(STATUS) == set(Kind)


def workflows() -> Iterator[tuple[str, Workflow]]:
    """With the name of the module that declares each."""
    catalogue.load()
    for workflow in WORKFLOWS.values():
        function = workflow.steps[0].do if workflow.steps else workflow.finished
        yield function.__module__.rpartition(".")[2], workflow


def test_every_workflow_has_tests_that_enumerate_its_steps() -> None:
    """By name: a file in tests/unit/workflows that goes over steps, or over the platform's calls, failing before and
    after their effect, and that names the workflow or its module."""
    texts = [path.read_text() for path in (ROOT / "tests" / "unit" / "workflows").rglob("test_*.py")]
    enumerating = [text for text in texts if re.search(r'\.steps|"step"|"when"', text)]
    missing = [
        workflow.name
        for module, workflow in workflows()
        if not any(re.search(rf"\b{module}\b|\"{workflow.name}\"", text) for text in enumerating)
    ]
    assert missing == []


def test_every_workflow_names_its_steps_once() -> None:
    for _, workflow in workflows():
        names = [step.name for step in workflow.steps]
        assert len(set(names)) == len(names), f"{workflow.name}: names are stored, and two steps share one"


def test_every_setting_is_explained_to_operators() -> None:
    text = (ROOT / "docs" / "operator" / "settings.md").read_text()
    named = set(re.findall(r"`([a-z_]+)`", text))
    assert sorted({field.name for field in msgspec.structs.fields(Config)} - named) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    links = [link for link in LINK.findall(path.read_text()) if "://" not in link and "@" not in link]
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_no_module_is_too_long_to_be_read() -> None:
    migrations = ROOT / "src" / "pileus" / "store" / "migrations"
    long = {str(path.relative_to(ROOT)): lines(path) for path in SOURCES if migrations not in path.parents}
    assert {name: count for name, count in long.items() if count > LONGEST} == {}


def lines(path: Path) -> int:
    return path.read_text().count("\n")


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if (text := path.read_text()) and '"""' not in text[:4]
    ]
    assert silent == []


def test_no_module_is_named_for_what_does_not_belong_elsewhere() -> None:
    vague = {"utils", "util", "helper", "helpers", "common", "manager", "base", "misc"}
    assert [str(path.relative_to(ROOT)) for path in SOURCES if path.stem in vague] == []
