"""A directory in memory, where the machine has one: what these tests write need not outlive a power cut."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pileus-", dir=MEMORY if MEMORY.is_dir() else None) as made:
        yield Path(made)
