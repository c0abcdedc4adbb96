"""After a rotation what is stored comes to the newest key: however often it is tried, and wherever a process dies."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.core.identity.authentication import encrypted, rotation
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.authentication.credential_records import TOTP, Credential
from pileus.core.identity.authentication.encrypted import Column
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import Domain
from pileus.core.operations import Operation, Outcome
from pileus.workflows import secrets_renew
from pileus.workflows.engine import WORKFLOWS
from tests.unit.workflows.storage import World, world
from tests.unit.workflows.test_servers import WHENS, breaking, names, twice, with_step

__all__ = ["world"]

ROWS = 12
AT = datetime(2030, 1, 1, tzinfo=UTC)
WORKFLOW = WORKFLOWS[secrets_renew.WORKFLOW.name]


@pytest.fixture(autouse=True)
async def kept(world: World) -> None:
    async with world.cloud.transaction() as tx:
        if await tx.maybe(Domain, ROOT) is None:
            await tx.add(Domain(id=ROOT, name="Default", created_at=AT))
        for number in range(ROWS):
            secret = vault.of(world.cloud).encrypt(f"secret {number}")
            await tx.add(Credential(id=uuid4(), kind=TOTP, user=uuid4(), secret=secret, created_at=AT))


async def numbers(world: World) -> set[int]:
    """Of the keys in use; every text is read as well."""
    async with world.cloud.view() as look:
        found = await look.list(Credential, kind=TOTP)
    plain = {vault.of(world.cloud).decrypt(each.secret) for each in found}
    assert plain == {f"secret {number}" for number in range(ROWS)}
    return {vault.key_number(each.secret) for each in found}


async def rotated(world: World) -> Operation:
    operation = (await rotation.rotate(world.cloud, system())).operation
    await world.quiet()
    return await now_is(world, operation)


async def now_is(world: World, operation: Operation) -> Operation:
    async with world.cloud.view() as look:
        return await look.get(Operation, operation.id)


@pytest.mark.parametrize("step", names(WORKFLOW))
async def test_a_step_may_be_repeated(world: World, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setitem(WORKFLOWS, WORKFLOW.name, with_step(WORKFLOW, step, twice))
    assert (await rotated(world)).outcome is Outcome.DONE
    assert await numbers(world) == {2}


@pytest.mark.parametrize("when", WHENS)
@pytest.mark.parametrize("step", names(WORKFLOW))
async def test_a_step_that_fails_leaves_everything_readable_and_the_next_rotation_repairs_it(
    world: World, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(WORKFLOWS, WORKFLOW.name, with_step(WORKFLOW, step, breaking(when)))
        done = await rotated(world)
    assert (done.outcome, done.fault) == (Outcome.FAILED, "injected")
    assert await numbers(world) == ({1} if when == "before" else {2})
    assert (await rotated(world)).outcome is Outcome.DONE
    assert await numbers(world) == {3}


async def test_a_process_that_dies_after_some_rows_goes_on_at_the_next_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, writes = asyncio.Event(), 0
    replace = encrypted._replace

    async def dies(cloud: Cloud, column: Column, some: Any) -> int:
        nonlocal writes
        writes += 1
        if writes > 3:
            reached.set()
            await asyncio.Event().wait()
        return await replace(cloud, column, some)

    monkeypatch.setattr(encrypted, "TOGETHER", 2)
    with monkeypatch.context() as patch:
        patch.setattr(encrypted, "_replace", dies)
        operation = (await rotation.rotate(world.cloud, system())).operation
        async with asyncio.timeout(20):
            await reached.wait()
            await world.worker.stop()
    assert (await now_is(world, operation)).outcome is Outcome.RUNNING
    assert await numbers(world) == {1, 2}
    await world.restart()
    await world.quiet()
    assert (await now_is(world, operation)).outcome is Outcome.DONE
    assert await numbers(world) == {2}


async def test_what_cannot_be_read_is_told_and_the_rest_is_renewed(world: World) -> None:
    async with world.cloud.transaction() as tx:
        lost = Credential(id=uuid4(), kind="lost", user=uuid4(), secret="7.gAAAAA", created_at=AT)
        await tx.add(lost)
    done = await rotated(world)
    assert done.outcome is Outcome.FAILED
    assert "keys/secrets/7" in done.fault
    assert "backup" in done.fault
    assert await numbers(world) == {2}
