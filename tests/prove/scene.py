"""A cloud in a directory: its database, its state and its platforms, which can be copied, left and taken up again."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from pileus.config import Config
from pileus.core.caller import MEMBER, READER, Caller
from pileus.core.cloud import Cloud
from pileus.core.identity.records import Project, User
from pileus.core.operations import LIVE, Operation
from pileus.store import open_store
from pileus.store.errors import Disconnected
from pileus.workflows.site import Site
from pileus.workflows.worker import Worker
from tests.prove import platforms
from tests.prove.platforms import Outside

DATABASE, PLATFORMS, STATE = "pileus.db", "platforms", "state"
OWNER = "demo"
"""The project, and its user, that own what is acted on."""
DEADLINE = 30.0
PAUSE = 0.002


def copy(source: Path, target: Path) -> Path:
    """A cloud that nobody has open."""
    target.mkdir(parents=True)
    shutil.copytree(source / STATE, target / STATE)
    for name in (DATABASE, PLATFORMS):
        if (source / name).exists():
            shutil.copyfile(source / name, target / name)
    return target


class Stuck(Exception):
    """These do not end."""

    def __init__(self, operations: list[Operation]) -> None:
        self.operations = operations
        super().__init__("; ".join(self.told) or "it took too long")

    @property
    def told(self) -> list[str]:
        return [
            f"stuck: {one.workflow} is {one.outcome} at {one.step or 'its begin'}, of {one.owner or 'nobody'}: "
            f"{one.why or one.fault}"
            for one in self.operations
        ]


class Scene:
    """`outside`: the platforms are shared with other processes, and outlive this one."""

    def __init__(self, directory: Path, cloud: Cloud, *, outside: bool) -> None:
        self.directory, self.cloud = directory, cloud
        self._file = directory / PLATFORMS
        if outside:
            self._outside = Outside(self._file)
            self.drivers = self._outside.drivers
            self.site: Site = self._outside.site(cloud)
        else:
            self.drivers = platforms.load(self._file)
            self.site = platforms.site_of(cloud, self.drivers)

    def keep(self) -> None:
        platforms.save(self.drivers, self._file)

    @asynccontextmanager
    async def working(self, *, alone: bool = True) -> AsyncIterator[Worker]:
        worker = Worker(self.site, alone=alone)
        await worker.start()
        try:
            yield worker
        finally:
            await worker.stop()

    async def quiet(self) -> None:
        """Until no operation is left to do, here or elsewhere. Raises Stuck."""
        try:
            async with asyncio.timeout(DEADLINE):
                while await self._busy():
                    await asyncio.sleep(PAUSE)
        except TimeoutError:
            raise Stuck(await self.live()) from None

    async def _busy(self) -> bool:
        """A process that was stopped in the middle of a question has lost its connection."""
        try:
            return bool(await self.live())
        except Disconnected:
            return True

    async def finish(self) -> None:
        """Whatever is under way, to its end."""
        async with self.working():
            await self.quiet()

    async def live(self) -> list[Operation]:
        async with self.cloud.view() as look:
            return await look.list(Operation, outcome=tuple(LIVE))

    async def operation(self, key: UUID) -> Operation:
        async with self.cloud.view() as look:
            return await look.get(Operation, key)

    async def owned(self) -> bool:
        """Whether the owner is still there: its account may have been deleted with all that is in it."""
        async with self.cloud.view() as look:
            return await look.one(Project, name=OWNER) is not None

    async def owner(self) -> Caller:
        async with self.cloud.view() as look:
            user, project = await look.one(User, name=OWNER), await look.one(Project, name=OWNER)
        assert user is not None
        assert project is not None
        return Caller(user=user.id, project=project.id, roles=frozenset({MEMBER, READER}), face="prove")


@asynccontextmanager
async def opened(directory: Path, url: str = "", *, outside: bool = False) -> AsyncIterator[Scene]:
    """`url`: where the database is when it is not the directory's file."""
    store = await open_store(url or f"sqlite:///{directory / DATABASE}")
    try:
        yield Scene(directory, Cloud(Config(state=directory / STATE, simulate=1), store), outside=outside)
    finally:
        await store.close()
