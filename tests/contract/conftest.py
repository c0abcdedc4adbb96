"""Notes what the contract tests got answered; the test that judges it runs last, and only after all of them."""

from pathlib import Path

import pytest

from tests.contract.answered import ANSWERED, WALKERS
from tests.quick import tmp_path

__all__ = ["tmp_path"]

HERE = Path(__file__).parent
WHOLE = pytest.StashKey[bool]()
ANSWERED.install()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The last items of a run are judged by what went before them."""
    files = {path for path in HERE.rglob("test_*.py")}
    narrowed = config.option.keyword or config.option.markexpr or any("::" in arg for arg in config.args)
    config.stash[WHOLE] = files <= {item.path for item in items} and not narrowed
    judges = [item for item in items if item.path.name == "test_coverage.py"]
    items[:] = [item for item in items if item not in judges] + judges


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    ANSWERED.counting = HERE in item.path.parents and item.path.name not in WALKERS


@pytest.fixture
def whole(request: pytest.FixtureRequest) -> None:
    """Skips what can be judged only after all contract tests."""
    if not request.config.stash[WHOLE]:
        pytest.skip("only after the whole of tests/contract")
