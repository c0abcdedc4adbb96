"""The placed cloud, on each database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from pileus.core.identity.authentication import secrets
from tests.unit.core.placement.clouds import World, opened


@pytest.fixture
async def world(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(secrets, "ARGON2", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    async with opened(database_url, tmp_path / "state") as made:
        yield made
