"""The simulated platforms, kept in a file outside of the processes that use them: what a killed process had done to
them stays done, and what two processes do to them is seen by both."""

import asyncio
import fcntl
import inspect
import io
import os
import pickle
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from pileus.core.cloud import Cloud
from pileus.drivers.hypervisor.simulator import SimulatedHypervisor
from pileus.drivers.volume.fake import GIB, MemoryPool
from pileus.workflows.site import Site


class OneFile(SimulatedHypervisor):
    """A guest's snapshots and sizes are those of the very file that the pool sees, as on a real platform."""

    pool: MemoryPool

    async def snapshot_disk(self, guest: UUID, volume: UUID, snapshot: UUID) -> None:
        await super().snapshot_disk(guest, volume, snapshot)
        self._machines[guest].snapshots = frozenset()
        disk = self.pool.disks[volume]
        disk.snapshots.setdefault(snapshot, disk.copy(disk.virtual_bytes))

    async def delete_disk_snapshot(self, guest: UUID, volume: UUID, snapshot: UUID) -> None:
        await super().delete_disk_snapshot(guest, volume, snapshot)
        self.pool.disks[volume].snapshots.pop(snapshot, None)

    async def resize_disk(self, guest: UUID, volume: UUID, size_gib: int) -> None:
        await super().resize_disk(guest, volume, size_gib)
        self.pool.disks[volume].virtual_bytes = size_gib * GIB


Place = tuple[str, UUID | None]
"""What the site is made of, by the name of its parameter, and the key in it where it is a table."""


def drivers_of(site: Site) -> Iterator[tuple[Place, Any]]:
    for name, value in vars(site).items():
        if isinstance(value, Mapping):
            yield from (((name, key), driver) for key, driver in value.items())
        elif name != "cloud":
            yield (name.lstrip("_"), None), value


def site_of(cloud: Cloud, drivers: Mapping[Place, Any]) -> Site:
    parts: dict[str, Any] = {}
    for (name, key), driver in drivers.items():
        if key is None:
            parts[name] = driver
        else:
            parts.setdefault(name, {})[key] = driver
    return Site(cloud, **parts)


def keepable(value: Any) -> bool:
    """Screens, temporary directories and the like are of one process."""
    if isinstance(value, TemporaryDirectory):
        return False
    try:
        pickle.dumps(value)
    except (TypeError, AttributeError, pickle.PicklingError):
        return False
    return True


def save(drivers: Mapping[Place, Any], file: Path) -> None:
    """Whole or not at all."""
    names = {id(driver): place for place, driver in drivers.items()}
    content = io.BytesIO()
    pickler = pickle.Pickler(content, protocol=pickle.HIGHEST_PROTOCOL)
    pickler.persistent_id = lambda value: names.get(id(value))  # type: ignore[method-assign]
    kept = {}
    for place, driver in drivers.items():
        state = {name: value for name, value in vars(driver).items() if id(value) in names or keepable(value)}
        kept[place] = (type(driver), state)
    pickler.dump(kept)
    fresh = file.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(content.getvalue())
    fresh.replace(file)


def load(file: Path, into: Mapping[Place, Any] | None = None) -> dict[Place, Any]:
    """The drivers of a file; with `into`, those, as the file has them."""
    found: dict[Place, Any] = dict(into or {})

    class Reader(pickle.Unpickler):
        def persistent_load(self, place: Place) -> Any:
            return found[place]

    if not found:
        found.update(empty(file))
    for place, (_, state) in Reader(io.BytesIO(file.read_bytes())).load().items():
        vars(found[place]).update(state)
    return found


def empty(file: Path) -> dict[Place, Any]:
    """Drivers of the file's kinds, with nothing in them yet but what is of one process."""

    class Kinds(pickle.Unpickler):
        def persistent_load(self, place: Place) -> Any:
            return None

    made: dict[Place, Any] = {}
    for place, (cls, state) in Kinds(io.BytesIO(file.read_bytes())).load().items():
        one = OneFile if issubclass(cls, SimulatedHypervisor) else cls
        made[place] = one(state["host_id"], state["_facts"]) if one is OneFile else one()
    for driver in made.values():
        if isinstance(driver, OneFile):
            driver.pool = next(each for each in made.values() if isinstance(each, MemoryPool))
    return made


def lock_of(file: Path) -> int:
    return os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)


@contextmanager
def unused(file: Path) -> Iterator[None]:
    """While no process is in a call: a platform goes on when who asked it is stopped."""
    lock = lock_of(file)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


class Outside:
    """The file, and the drivers of this process that stand for what is in it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.drivers = load(file)
        self._seen = self._version()
        self._mutex = asyncio.Lock()
        self._lock = lock_of(file)

    def site(self, cloud: Cloud) -> Site:
        return site_of(cloud, {place: Proxy(driver, self) for place, driver in self.drivers.items()})

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """One call of one process at a time; what it did is in the file before it returns."""
        async with self._mutex:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            try:
                if self._version() != self._seen:
                    load(self._file, self.drivers)
                try:
                    yield
                finally:
                    save(self.drivers, self._file)
                    self._seen = self._version()
            finally:
                fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _version(self) -> tuple[int, int]:
        found = self._file.stat()
        return found.st_ino, found.st_mtime_ns


class Proxy:
    """A driver whose every call is made outside."""

    def __init__(self, driver: Any, outside: Outside) -> None:
        self._driver, self._outside = driver, outside

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._driver, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def called(*arguments: Any, **more: Any) -> Any:
            async with self._outside.held():
                return await found(*arguments, **more)

        return called
