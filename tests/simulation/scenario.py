"""A cloud in virtual time: users at work, platforms that fail, processes that die; then peace, and the verdict."""

import asyncio
import hashlib
import os
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch
from uuid import UUID

import msgspec
from argon2 import PasswordHasher

from pileus import tracing
from pileus.app import bootstrap
from pileus.config import Config
from pileus.core.block.records import StoragePool
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.events import Event
from pileus.core.identity.authentication import secrets
from pileus.core.identity.records import Project, User
from pileus.core.image.records import Image, ImageState, Visibility
from pileus.core.mark import CloudMark
from pileus.core.operations import LIVE, Operation
from pileus.drivers.faults import Told
from pileus.drivers.hypervisor.protocol import HostFacts
from pileus.drivers.simulated import REALISTIC, SimulatedWorld
from pileus.drivers.volume.protocol import PoolFacts
from pileus.reconcile.loop import Loop
from pileus.store import Store, open_store
from pileus.workflows import catalogue, disks, image_upload
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests import schema
from tests.quick import MEMORY
from tests.simulation import about, load, trouble, verdict
from tests.simulation.history import History
from tests.simulation.timing import VirtualLoop, run

ROOM = PoolFacts(total_bytes=1 << 50, used_bytes=0, available_bytes=1 << 50)
PEACE = 4 * 3600.0
"""Virtual seconds after the last fault in which everything must come to its end."""
SETTLE = 90.0
"""And in which the reconcilers have looked several times after that."""
MEMORY_RATIO = 1.5


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Rates in events a virtual minute."""

    seed: int
    hours: float = 2.0
    hosts: int = 20
    projects: int = 3
    requests: float = 6.0
    faults: float = 0.7
    crashes: float = 0.05
    reconcile_seconds: float = 15.0
    about: tuple[str, ...] = ()
    """Beginnings of ids of which the whole story is told."""


@dataclass
class Outcome:
    seed: int
    findings: list[str]
    events: str
    """Digest of all events with their ids."""
    calls: str
    """Digest of all calls of platforms."""
    last: list[Told]
    tally: Counter[str] = field(default_factory=Counter)
    story: list[str] = field(default_factory=list)


class Drawn:
    """Stands for the modules `secrets` and `os` where they give what is random."""

    def __init__(self, seed: int) -> None:
        self.urandom = Random(f"{seed}/drawn").randbytes

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def token_hex(self, count: int) -> str:
        return self.urandom(count).hex()

    token_urlsafe = token_hex


class Process:
    """One life of the control plane, on the store and the platforms that outlive it."""

    def __init__(self, world: "Simulated", number: int) -> None:
        self.cloud = Cloud(world.config, world.store, now=world.loop.now, new_id=world.new_id)
        self.site = Site(
            self.cloud,
            hypervisors=world.world.hosts,
            network=world.world.network,
            pools={world.pool: world.world.pool("pool")},
            images=world.world.images,
        )
        self._worker = Worker(self.site, owner=f"worker-{number}")
        self._reconciler = Loop(self.site)
        self.users: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        await image_upload.requeue_broken(self.site)
        await self._worker.start()
        await self._reconciler.start()

    async def die(self) -> None:
        """Whatever is in hand stops where it is."""
        users = sorted(self.users, key=lambda task: task.get_name())
        for task in users:
            task.cancel()
        await asyncio.gather(self._worker.stop(), self._reconciler.stop(), *users, return_exceptions=True)
        disks._BASES.clear()  # a process takes its locks along


class Simulated:
    def __init__(self, scenario: Scenario, loop: VirtualLoop, state: Path, store: Store) -> None:
        self.scenario, self.loop, self.store = scenario, loop, store
        self.config = Config(state=state, simulate=1, reconcile_seconds=scenario.reconcile_seconds)
        self.history = History(scenario.about)
        self.random = Random(f"{scenario.seed}/scenario")
        self._ids = Random(f"{scenario.seed}/ids")
        self.world = SimulatedWorld(
            scenario.seed, clock=loop.clock, latency=REALISTIC, tell=self.history.tell
        )
        self.pool = UUID(int=0)
        self.tally: Counter[str] = Counter()
        self.callers: list[Caller] = []
        self._lives = 0
        self._process: Process | None = None

    def new_id(self) -> UUID:
        return UUID(int=self._ids.getrandbits(128), version=4)

    @property
    def process(self) -> Process:
        assert self._process is not None
        return self._process

    # --- the beginning

    async def furnish(self) -> None:
        cloud = Cloud(self.config, self.store, now=self.loop.now, new_id=self.new_id)
        with (
            patch.object(bootstrap, "secrets", Drawn(self.scenario.seed)),
            patch.object(secrets, "ARGON2", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)),
        ):
            await bootstrap.bootstrap(cloud)
        async with self.store.transaction() as rows:
            await rows.insert(CloudMark(id=self.new_id()))
        async with cloud.view() as look:
            self.pool = (await look.list(StoragePool))[0].id
        facts = [
            HostFacts(
                hostname=f"sim-{number}",
                vcpus=16,
                memory_mib=16_384,
                hypervisor="Simulator",
                version=1,
                acceleration="none",
            )
            for number in range(1, self.scenario.hosts + 1)
        ]
        joined = await bootstrap.join_hosts(cloud, "simulator", facts, ROOM)
        for host, of in zip(joined, facts, strict=True):
            self.world.host(host.id, of, memory_mib=int(of.memory_mib * MEMORY_RATIO))
        self.world.pool("pool")
        await self._projects(cloud)
        await self._images(cloud)
        self.world.begin()

    async def _projects(self, cloud: Cloud) -> None:
        async with cloud.transaction() as tx:
            demo, user = await tx.one(Project, name="demo"), await tx.one(User, name="demo")
            assert demo is not None
            assert user is not None
            for number in range(self.scenario.projects):
                made = msgspec.structs.replace(demo, id=self.new_id(), name=f"project-{number}")
                await tx.add(made)
                roles = frozenset({"member", "reader"})
                self.callers.append(Caller(user=user.id, project=made.id, roles=roles))

    async def _images(self, cloud: Cloud) -> None:
        async def content() -> AsyncIterator[bytes]:
            yield b"\0" * 512

        for number in range(2):
            key, now = self.new_id(), cloud.now()
            size, md5, sha = await self.world.images.write(key, content(), max_bytes=4096)
            image = Image(
                id=key,
                project=self.callers[0].home,
                name=f"image-{number}",
                state=ImageState.ACTIVE,
                visibility=Visibility.PUBLIC,
                disk_format="raw",
                size=size,
                virtual_size=size,
                checksum=md5,
                sha512=sha,
                created_at=now,
                updated_at=now,
            )
            async with cloud.transaction() as tx:
                await tx.add(image)
                await tx.charge(image.project, "images", 1)

    # --- the time of trouble

    async def _every(self, rate: float, random: Random) -> None:
        await asyncio.sleep(random.expovariate(rate / 60))

    async def use(self) -> None:
        random, number = Random(f"{self.scenario.seed}/users"), 0
        while True:
            await self._every(self.scenario.requests, random)
            number += 1
            caller = msgspec.structs.replace(random.choice(self.callers), request=f"req-{number}")
            process, seed = self.process, f"{self.scenario.seed}/{number}"
            asked = load.request(process.cloud, caller, seed, self.tally, self.history.findings)
            task = asyncio.create_task(asked, name=f"user {number:06}")
            process.users.add(task)
            task.add_done_callback(process.users.discard)

    async def trouble(self) -> None:
        random = Random(f"{self.scenario.seed}/faults")
        while True:
            await self._every(self.scenario.faults, random)
            platform, fault = trouble.draw(random, self.world)
            platform.impose(fault)
            self.tally[f"fault: {fault.kind}"] += 1
            self.history.tell(Told(self.loop.clock(), platform.name, "fault", fault.kind, fault.call))

    async def live(self) -> None:
        random = Random(f"{self.scenario.seed}/crashes")
        while True:
            await self._every(self.scenario.crashes, random)
            await self.crash()

    async def crash(self) -> None:
        if self._process is not None:
            self.tally["crash"] += 1
            self.history.tell(Told(self.loop.clock(), "pileus", "crash", "", ""))
            await self._process.die()
        self._lives += 1
        self._process = Process(self, self._lives)
        await self._process.start()

    async def run(self) -> Outcome:
        self.loop.set_exception_handler(self.history.exception)
        await self.furnish()
        await self.crash()
        parts = [asyncio.create_task(part) for part in (self.use(), self.trouble(), self.live())]
        await asyncio.sleep(self.scenario.hours * 3600)
        for part in parts:
            part.cancel()
        for result in await asyncio.gather(*parts, return_exceptions=True):
            if isinstance(result, Exception):
                self.history.findings.append(f"the scenario broke: {result!r}")
        if not self._lives or self._process is None:
            await self.crash()
        for platform in self.world.platforms():
            platform.heal()
        await self.quiet()
        often = Counter([*self.history.findings, *await verdict.findings(self.process.site, self.world)])
        found = [text if count == 1 else f"{text} ({count} times)" for text, count in often.items()]
        await self.process.die()
        return Outcome(
            self.scenario.seed,
            found,
            await self.events(),
            self.history.digest,
            list(self.history.last),
            self.tally,
            await self.story(),
        )

    async def quiet(self) -> None:
        """Return when nothing has been at work for a while, or when that would take too long."""
        end, calm = self.loop.time() + PEACE, 0.0
        while calm < SETTLE and self.loop.time() < end:
            await asyncio.sleep(5)
            async with self.process.cloud.view() as look:
                busy = await look.count(Operation, outcome=tuple(LIVE))
            calm = 0.0 if busy else calm + 5

    async def story(self) -> list[str]:
        if not self.scenario.about:
            return []
        async with self.process.cloud.view() as look:
            return await about.story(look, self.history.story, self.scenario.about)

    async def events(self) -> str:
        digest = hashlib.blake2b(digest_size=16)
        async with self.process.cloud.view() as look:
            for event in await look.list(Event, order=("seq",)):
                text = msgspec.json.encode(event).replace(str(self.config.state).encode(), b"state")
                digest.update(text)
                self.tally["events"] += 1
        return digest.hexdigest()


def play(scenario: Scenario) -> Outcome:
    """The whole, in a loop of its own; the empty database is made before its time begins."""
    catalogue.load()
    place = MEMORY if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="pileus-", dir=place) as directory:
        state, url = Path(directory) / "state", f"sqlite:///{directory}/pileus.db"
        state.mkdir()
        asyncio.run(schema.create(url))

        async def main(loop: VirtualLoop) -> Outcome:
            store = await open_store(url)
            try:
                simulated = Simulated(scenario, loop, state, store)
                drawn = patch.object(tracing, "os", Drawn(scenario.seed))
                with drawn, simulated.history.listening():
                    return await simulated.run()
            finally:
                await store.close()

        outcome: Outcome = run(scenario.seed, main)
        return outcome
