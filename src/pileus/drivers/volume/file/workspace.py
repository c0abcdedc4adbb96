"""Files in the making: each is made under `tmp` and takes its name only when it is whole and on the disk."""

import asyncio
import errno
import fcntl
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ParamSpec, TypeVar
from uuid import UUID, uuid4

from pileus.drivers.errors import Refused
from pileus.drivers.volume.file.threads import in_thread

P = ParamSpec("P")
T = TypeVar("T")
MARK = "cloud"
"""File that names the cloud whose directory it is: several clouds may be given the same one by mistake."""
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Workspace:
    """One maker's corner of `<directory>/tmp`. What makers that are gone left behind is swept at the start;
    a maker is alive while it holds the lock on its file `<maker>.lock`, so a directory can be shared."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._tmp = directory / "tmp"
        self._tmp.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock: int | None = None
        while self._lock is None:
            self._maker = uuid4().hex
            self._lock = claim(self._tmp / f"{self._maker}.lock")
        self.sweep()

    def sweep(self) -> None:
        works: dict[str, list[Path]] = {}
        for path in self._tmp.iterdir():
            works.setdefault(path.name.partition(".")[0], []).append(path)
        del works[self._maker]
        for maker, paths in works.items():
            lock = self._tmp / f"{maker}.lock"
            held = claim(lock)
            if held is not None:
                for path in (*paths, lock):
                    path.unlink(missing_ok=True)
                os.close(held)

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
            (self._tmp / f"{self._maker}.lock").unlink(missing_ok=True)

    async def owner(self) -> UUID | None:
        """Raises Refused when the directory cannot be read, as when it is not mounted."""
        return await self.do(self._owner)

    def _owner(self) -> UUID | None:
        self.directory.stat()
        mark = self.directory / MARK
        return UUID(mark.read_text().strip()) if mark.exists() else None

    async def claim(self, cloud: UUID) -> None:
        held = await self.owner()
        if held is None:
            async with self.making(self.directory / MARK) as path:
                path.write_text(f"{cloud}\n")
        elif held != cloud:
            raise Refused(
                f"{self.directory} is of another cloud: {held}; give each cloud a directory of its own"
            )

    async def do(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """A blocking call on our files, in a thread; what the file system says becomes Refused."""
        try:
            return await in_thread(call, *args, **kwargs)
        except OSError as error:
            raise refusal(error, self.directory) from error

    @asynccontextmanager
    async def making(self, target: Path) -> AsyncIterator[Path]:
        """A path to write to. It becomes `target` at the end, and vanishes after an error or a cancellation."""
        path = self._tmp / f"{self._maker}.{uuid4().hex}"
        try:
            yield path
            await self.do(put_on_disk, path)
            # No turn of the event loop between the two: a cancellation comes before the name is taken or after.
            path.replace(target)
            await self.do(put_on_disk, target.parent)
        finally:
            path.unlink(missing_ok=True)


def claim(lock: Path) -> int | None:
    """The lock's descriptor, or None while somebody else holds it or has just swept it away."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    if os.fstat(descriptor).st_nlink == 0:
        os.close(descriptor)
        return None
    return descriptor


def put_on_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refusal(error: OSError, directory: Path) -> Refused:
    if error.errno in NO_SPACE:
        return Refused(f"the disk of {directory} is full ({error.strerror}); free space or add storage")
    return Refused(f"{directory}: {error.strerror or error}")


def named(directory: Path, suffix: str) -> dict[UUID, os.DirEntry[str]]:
    """The files in a directory that are called `<uuid><suffix>`."""
    pattern = re.compile(rf"([0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}){re.escape(suffix)}")
    with os.scandir(directory) as entries:
        return {UUID(match[1]): entry for entry in entries if (match := pattern.fullmatch(entry.name))}


class Turns:
    """One at a time for each key; keys nobody waits for are forgotten."""

    def __init__(self) -> None:
        self._locks: dict[object, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, key: object) -> AsyncIterator[None]:
        lock, waiting = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks.pop(key)
            if waiting > 1:
                self._locks[key] = (lock, waiting - 1)
