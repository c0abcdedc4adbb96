"""The rows of the matrix: what starts each workflow. Found by sending every declared request of every API against a
furnished cloud and looking which operations it starts, so a new workflow behind a new request is there by itself."""

import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from pileus.core.cloud import Cloud
from pileus.core.operations import LIVE, Operation
from pileus.faces.cloudstack import waiting
from pileus.faces.wire import Kernel
from pileus.faces.wire.service import Operation as Declared
from pileus.faces.wire.service import Service
from pileus.workflows.engine import WORKFLOWS
from tests.asgi import Client
from tests.contract import samples, walking
from tests.contract.cloudstack.conftest import ENDPOINT, Stack, stack
from tests.contract.openstack.conftest import person
from tests.contract.test_walkers_cloudstack import furnish, good, signed_in
from tests.contract.world import Database, World, names
from tests.contract.world import opened as furnished
from tests.prove import platforms, scene
from tests.prove.named import NAMED, Named
from tests.prove.scene import DATABASE, OWNER, PLATFORMS, STATE, Scene

ADMIN = "admin"
READING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Ask:
    """One request: of a service, or (`command`) of CloudStack."""

    name: str
    who: str
    method: str = "GET"
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    data: bytes | None = None
    command: str = ""
    params: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A workflow that was asked for and not begun, in a directory. `before`: what was asked and done before that."""

    name: str
    workflow: str
    directory: Path
    operation: UUID
    steps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    ask: Ask
    workflow: str
    shape: tuple[Any, ...]
    before: tuple[Ask, ...] = ()

    @property
    def name(self) -> str:
        return " after ".join(ask.name for ask in (self.ask, *reversed(self.before)))


class People:
    """Who asks, of one cloud."""

    def __init__(self, clients: Mapping[tuple[str, bool], Client]) -> None:
        self._clients = clients

    @classmethod
    async def of(cls, kernel: Kernel, cloud: Cloud) -> "People":
        clients: dict[tuple[str, bool], Client] = {}
        for who in (OWNER, ADMIN):
            clients[who, False] = await person(kernel, cloud, who)
            clients[who, True] = await stack(kernel, cloud, who)
        return cls(clients)

    async def send(self, ask: Ask) -> int:
        client = self._clients[ask.who, bool(ask.command)]
        if isinstance(client, Stack):
            return (await client.get(f"{ENDPOINT}?{client.signed(ask.command, **ask.params)}")).status
        reply = await client.request(ask.method, ask.path, data=ask.data, headers=ask.headers)
        return reply.status


def asks(world: World) -> Iterator[Ask]:
    """Every declared operation that may change anything, as its owner and as an administrator."""
    known = names(world, world.own)
    for service in world.services.values():
        for operation in service.operations:
            if operation.method not in READING and (made := sample(service, operation, known)) is not None:
                yield made
                yield replace(made, who=ADMIN)
    for name, command in signed_in():
        sent = good(command, world.own, world.shared)
        for who in (OWNER, ADMIN):
            yield Ask(name, who, command=name, params=sent)


def sample(service: Service, operation: Declared, known: Mapping[str, str]) -> Ask | None:
    """None where the samples know no body; the walkers' own tests say so."""
    try:
        body = samples.body(operation, walking.version_of(service, operation), known)
        path = walking.path_of(service, operation, known)
    except (AssertionError, KeyError):
        return None
    headers = dict(walking.headers_of(service, operation))
    data = None if body is msgspec.UNSET else msgspec.json.encode(body)
    if operation.media:
        headers["content-type"] = sorted(operation.media)[-1]
    elif data is not None:
        headers["content-type"] = "application/json"
    return Ask(operation.key, OWNER, operation.method, path, headers, data)


def shape(operation: Operation, started: Iterable[Operation], name: str) -> tuple[Any, ...]:
    """Two requests of one shape make the same work; what is deleted is another than what is made."""
    want = msgspec.json.decode(operation.want)
    asked = tuple(sorted(name for name, value in want.items() if value)) if isinstance(want, dict) else ()
    together = tuple(sorted({one.workflow for one in started}))
    return operation.workflow, operation.kind, asked, together, name.lower().startswith("delete")


class Discovery:
    """Finds rows in a furnished cloud and makes their directories under `home`. `once`: one for each workflow."""

    def __init__(self, home: Path, *, once: bool = False, workflow: str = "") -> None:
        self.home, self.template = home, home / "template"
        self.once, self.workflow = once, workflow
        self.found: dict[tuple[Any, ...], Found] = {}
        self.refused: list[Ask] = []
        self.kernel: Kernel | None = None

    @property
    def missing(self) -> list[str]:
        there = {found.workflow for found in self.found.values()} | {named.workflow for named in NAMED}
        return sorted(set(WORKFLOWS) - there)

    async def run(self) -> list[Row]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(waiting, "PATIENCE", 0.0)  # there is no worker to wait for
            async with furnished(self.home / "furnished", also=furnish) as world:
                self.kernel = world.kernel
                self._keep(world)
                people = await People.of(world.kernel, world.cloud)
                refused = await self._send(asks(world), people, world.cloud, world.database)
            await self._further(refused)
            return [row async for row in self._rows()]

    def _keep(self, world: World) -> None:
        self.template.mkdir()
        rows = sqlite3.connect(self.home / "furnished" / DATABASE)
        rows.execute("VACUUM INTO ?", (str(self.template / DATABASE),))
        rows.close()
        platforms.save(dict(platforms.drivers_of(world.site)), self.template / PLATFORMS)
        shutil.copytree(world.cloud.config.state, self.template / STATE)

    async def _send(
        self,
        every: Iterable[Ask],
        people: People,
        cloud: Cloud,
        database: Database,
        before: tuple[Ask, ...] = (),
    ) -> list[Ask]:
        """Note what each starts, and put the cloud back; the refused ones."""
        refused, done = [], set[str]()
        for ask in every:
            if ask.name in done:
                continue
            if await people.send(ask) >= 300:
                refused.append(ask)
                database.changes()
                continue
            done.add(ask.name)
            async with cloud.view() as look:
                started = await look.list(Operation, outcome=tuple(LIVE), order=("sequence",))
            for operation in started:
                of = shape(operation, started, ask.name)
                self.found.setdefault(of, Found(ask, operation.workflow, of, before))
            database.changes()
        return [ask for ask in refused if ask.name not in done]

    async def _further(self, refused: list[Ask]) -> None:
        """What is refused now may be right after something else was done: start after stop."""
        firsts = {found.workflow: found for found in reversed(self.found.values())}
        for found in firsts.values():
            if not self.missing:
                return
            async with self._scene(f"after-{found.workflow}", (*found.before, found.ask)) as (at, people):
                database = Database(at.directory / DATABASE)
                database.keep()
                try:
                    await self._send(refused, people, at.cloud, database, (*found.before, found.ask))
                finally:
                    database.close()

    @asynccontextmanager
    async def _scene(self, name: str, done: Iterable[Ask]) -> AsyncIterator[tuple[Scene, People]]:
        """A copy of the template in which these were asked and ended."""
        directory = scene.copy(self.template, self.home / name)
        async with scene.opened(directory) as at:
            assert self.kernel is not None
            people = await People.of(self.kernel.serving(at.cloud, at.site), at.cloud)
            for ask in done:
                await people.send(ask)
                await at.finish()
            yield at, people

    async def _rows(self) -> AsyncIterator[Row]:
        number = 0
        for found in self._chosen():
            number += 1
            async with self._scene(f"row-{number}", found.before) as (at, people):
                await people.send(found.ask)
                yield await self._row(at, found.workflow, found.name, found.shape)
        there = {found.workflow for found in self._chosen()} if self.once else set()
        for named in NAMED:
            if self.workflow not in ("", named.workflow) or named.workflow in there:
                continue
            there |= {named.workflow} if self.once else set()
            number += 1
            directory = scene.copy(self.template, self.home / f"row-{number}")
            async with scene.opened(directory) as at:
                yield await self._named(at, named)

    def _chosen(self) -> list[Found]:
        """All, or those of one workflow; `once`: the first of each."""
        found = [found for found in self.found.values() if self.workflow in ("", found.workflow)]
        if self.once:
            found = list({each.workflow: each for each in reversed(found)}.values())
        return sorted(found, key=lambda found: (found.workflow, found.name))

    async def _named(self, at: Scene, named: Named) -> Row:
        async with at.working():
            prepared = await named.prepare(at)
            await at.quiet()
        await named.start(at, prepared)
        return await self._row(at, named.workflow, named.name)

    async def _row(self, at: Scene, workflow: str, name: str, like: tuple[Any, ...] = ()) -> Row:
        live = await at.live()
        ours = [
            one for one in live if one.workflow == workflow and (not like or shape(one, live, name) == like)
        ]
        assert ours, f"{name} did not start {workflow} again; it started {[one.workflow for one in live]}"
        at.keep()
        steps = tuple(step.name for step in WORKFLOWS[workflow].steps)
        return Row(name, workflow, at.directory, min(ours, key=lambda one: one.sequence).id, steps)
