"""Key files: mode 0600, written whole or not at all, and never over another process's; and repositories of keys.

A repository is a directory of numbered files. 0 is staged (known, not yet used), the highest number is primary (seals),
those between were primary once and still open. So every process knows a key before anyone seals with it.
"""

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from cryptography.fernet import Fernet, MultiFernet

from pileus.core.errors import Unavailable

STAGED = "0"
SETTLED_NS = 1_000_000_000
"""Nanoseconds: a directory that was read sooner after its last change may change again within the same timestamp."""


class Repository:
    """Keys that another process rotated are read again when the directory changed."""

    def __init__(self, directory: Path, *, single: Path | None = None) -> None:
        """`single`: the file of the only key, from the time before there were several; it becomes the first."""
        self.directory = directory
        if not any(self.numbers()):
            self._begin(single)
        self._load()

    def numbers(self) -> tuple[int, ...]:
        """Of the keys there are now, the primary last; none where nothing was made yet."""
        if not self.directory.is_dir():
            return ()
        return tuple(sorted(int(path.name) for path in self.directory.iterdir() if path.name.isdecimal()))

    def primary(self) -> tuple[int, Fernet]:
        """The key that seals now, and its number."""
        self.refresh()
        number = max(self._keys)
        return number, self._keys[number]

    def find(self, number: int) -> Fernet | None:
        if number not in self._keys:
            self.refresh()
        return self._keys.get(number)

    def every(self) -> MultiFernet:
        """Seals with the primary key and opens with any, as far as they are known: `refresh` reads new ones."""
        return self._every

    def refresh(self) -> bool:
        """Read the keys again when the directory changed; whether it had."""
        changed = self.directory.stat().st_mtime_ns != self._seen
        if changed:
            self._load()
        return changed

    def rotate(self, now: datetime) -> tuple[int, ...]:
        """The staged key becomes primary, and another is staged; the numbers there are now. None goes."""
        with self._alone():
            staged = self._stage()
            # Before the renaming: whoever is killed in between must leave no primary that looks old.
            os.utime(staged, (now.timestamp(), now.timestamp()))
            staged.rename(self.directory / str(self.numbers()[-1] + 1))
            self._stage()
        self._load()
        return self.numbers()

    def rested(self, numbers: Iterable[int], now: datetime, seconds: float) -> tuple[int, ...]:
        """Those of the numbers instead of which a later key has been primary for more than so many seconds."""
        there = self.numbers()
        return tuple(
            number
            for number in numbers
            if number in there[1:-1]
            and self._seconds(min(each for each in there if each > number), now) > seconds
        )

    def retire(self, numbers: Iterable[int], now: datetime, seconds: float) -> tuple[int, ...]:
        """Drop those that have rested so long; the numbers that went. What was sealed with them can be opened no more.
        Repeating is fine."""
        with self._alone():
            gone = self.rested(numbers, now, seconds)
            for number in gone:
                (self.directory / str(number)).unlink()
        if gone:
            self._load()
        return gone

    def _seconds(self, number: int, now: datetime) -> float:
        """Since the key became primary."""
        return now.timestamp() - (self.directory / str(number)).stat().st_mtime

    def _begin(self, single: Path | None) -> None:
        self.directory.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory.mkdir(exist_ok=True, mode=0o700)
        with self._alone():
            first = self.directory / "1"
            if single is not None and single.exists() and not first.exists():
                single.rename(first)
            elif not any(self.numbers()):
                put(first, Fernet.generate_key())
            self._stage()
        settle(self.directory.parent)

    def _stage(self) -> Path:
        """The staged key's file, made where there is none: at the first start, or after a kill in a rotation."""
        staged = self.directory / STAGED
        if not staged.exists():
            put(staged, Fernet.generate_key())
        return staged

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process changes the repository meanwhile; what was changed is on the disk in the end."""
        handle = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
            os.fsync(handle)
        finally:
            os.close(handle)

    def _load(self) -> None:
        while True:
            seen = self.directory.stat().st_mtime_ns
            try:
                keys = {number: opened(self.directory / str(number)) for number in self.numbers()}
                break
            except FileNotFoundError:  # another process has just renamed or dropped one
                continue
        self._keys = keys
        self._every = MultiFernet([keys[number] for number in sorted(keys, reverse=True)])
        self._seen = seen if time.time_ns() - seen > SETTLED_NS else 0


def opened(path: Path) -> Fernet:
    """Raises Unavailable for a file that holds no key."""
    try:
        return Fernet(path.read_bytes().strip())
    except ValueError:
        name = "/".join(path.parts[-3:])
        raise Unavailable(
            f"The file {name} in the state directory holds no key; put it back from the last backup."
        ) from None


def put(path: Path, key: bytes) -> None:
    """Write a new file; one that another process put there first stays."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{uuid4().hex}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(key + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()


def settle(directory: Path) -> None:
    """Bring the names in a directory to the disk."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
