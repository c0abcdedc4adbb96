"""A workflow whose outside effects are a set, on a real store: for tests of the engine."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from pileus.config import Config
from pileus.core import (
    records,  # noqa: F401 (declares every table)
)
from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.core.compute.records import Zone
from pileus.core.operations import Operation
from pileus.drivers.errors import Unreachable
from pileus.store import Store, open_store
from pileus.workflows.engine import Run, Step, Workflow, register
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests import schema


class World:
    """Outside effects as a set; `broken` maps a step to (when, error) once."""

    def __init__(self) -> None:
        self.effects: set[str] = set()
        self.log: list[str] = []
        self.broken: dict[str, tuple[str, Exception]] = {}
        self.undo_broken: dict[str, int] = {}
        self.ended: list[tuple[UUID, str]] = []

    def step(self, name: str) -> Step:
        async def do(run: Run) -> str:
            self.log.append(name)
            when, error = self.broken.pop(name, ("", None))
            if when == "before" and error:
                raise error
            self.effects.add(name)
            if when == "after" and error:
                raise error
            return f"{name} done"

        async def undo(run: Run) -> None:
            if self.undo_broken.get(name, 0) > 0:
                self.undo_broken[name] -= 1
                raise Unreachable("the platform is away")
            self.effects.discard(name)

        return Step(name, do, undo=undo)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    await schema.create(database_url)
    opened = await open_store(database_url)
    yield opened
    await opened.close()


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(store: Store, tmp_path: Path, clock: Clock) -> Site:
    cloud = Cloud(Config(state=tmp_path), store, now=clock)
    return Site(cloud, hypervisors={}, network=None, pools={}, images=None)  # type: ignore[arg-type]


@pytest.fixture
def world() -> World:
    return World()


STEPS = ("one", "two", "three")


@pytest.fixture
def workflow(world: World) -> Workflow:
    async def failed(run: Run, tx: Any, fault: str) -> None:
        world.ended.append((run.subject, fault))

    async def finished(run: Run, tx: Any) -> None:
        world.ended.append((run.subject, ""))

    return register(Workflow("test.work", tuple(map(world.step, STEPS)), failed=failed, finished=finished))


async def start(site: Site, *, key: UUID | None = None, supersede: bool = False) -> Operation:
    zone = Zone(id=uuid4(), name=str(uuid4()), region="r", created_at=site.cloud.now())
    async with site.cloud.transaction(system()) as tx:
        await tx.add(zone)
        return await tx.start("test.work", subject=zone, key=key, supersede=supersede)


async def claimed(site: Site, operation: Operation, owner: str = "me") -> Operation:
    async with site.cloud.transaction() as tx:
        await tx.rows.update_where(Operation, {"owner": owner}, id=operation.id)
        return await tx.get(Operation, operation.id)


async def now_is(site: Site, operation: Operation) -> Operation:
    async with site.cloud.view() as look:
        return await look.get(Operation, operation.id)


async def drain(site: Site) -> None:
    worker = Worker(site)
    await worker.start()
    try:
        await asyncio.wait_for(worker.idle(), 30)
    finally:
        await worker.stop()
