"""A directory in memory, where the machine has one: what these tests write need not outlive a power cut."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm") if Path("/dev/shm").is_dir() else None


@contextmanager
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pileus-", dir=MEMORY) as made:
        yield Path(made)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with directory() as made:
        yield made
