"""A cloud with nothing but its roles and its root domain."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher

import pileus.core.records  # noqa: F401 - every table
from pileus.config import Config
from pileus.core.caller import ADMIN, MANAGER, MEMBER, READER, SERVICE, Caller, system
from pileus.core.cloud import Cloud
from pileus.core.identity.authentication import secrets
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import Domain, Role
from pileus.store import open_store
from tests import schema

IMPLIES = {READER: None, MEMBER: READER, MANAGER: MEMBER, ADMIN: MANAGER, SERVICE: None}


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = datetime(2030, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def move(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "ARGON2", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def cloud(tmp_path: Path, clock: Clock) -> AsyncIterator[Cloud]:
    url = f"sqlite:///{tmp_path / 'pileus.db'}"
    await schema.create(url)
    store = await open_store(url)
    cloud = Cloud(Config(state=tmp_path / "state"), store, now=clock)
    made: dict[str, Role] = {}
    async with cloud.transaction() as tx:
        for name, implied in IMPLIES.items():
            implies = (made[implied].id,) if implied else ()
            made[name] = await tx.add(Role(id=cloud.new_id(), name=name, implies=implies, created_at=clock()))
        await tx.add(Domain(id=ROOT, name="Default", created_at=clock()))
    try:
        yield cloud
    finally:
        await store.close()


@pytest.fixture
def admin() -> Caller:
    return system()
