"""Letters for a new password that are asked for at one moment, of two processes over one database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from pileus.config import Config
from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.core.identity import users
from pileus.core.identity.authentication import password_resets
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import Domain
from pileus.core.identity.tenancy.tenancy_records import PasswordReset
from pileus.store import open_store
from tests import schema


@pytest.fixture
async def processes(database_url: str, tmp_path: Path) -> AsyncIterator[list[Cloud]]:
    await schema.create(database_url)
    config = Config(state=tmp_path / "state", smtp_host="mail.invalid")
    async with AsyncExitStack() as stack:
        clouds = []
        for _ in range(2):
            store = await open_store(database_url)
            stack.push_async_callback(store.close)
            clouds.append(Cloud(config, store))
        async with clouds[0].transaction() as tx:
            await tx.add(Domain(id=ROOT, name="Default", created_at=clouds[0].now()))
        yield clouds


async def test_a_user_gets_one(processes: list[Cloud]) -> None:
    first = processes[0]
    want = users.CreateUser(name="ann", domain=ROOT, password="x", email="ann@example.org")
    ann = await users.create(first, system(), want)
    asked = [password_resets.ask(cloud, ROOT, "ann", "") for cloud in processes * 5]
    await asyncio.gather(*asked)
    async with first.view() as look:
        assert await look.count(PasswordReset, user=ann.id) == 1
