"""Pools and image stores in memory: what the simulator and the tests use. Any call can be told to fail."""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from pileus.drivers.errors import Missing, Refused
from pileus.drivers.faults import Faulty, calls_of, verb
from pileus.drivers.volume import config_drive
from pileus.drivers.volume.inspection import DRIVERS, Content, detect, qcow2
from pileus.drivers.volume.protocol import DiskPath, ImageStore, Inspected, Pool, PoolFacts

GIB = 1 << 30
BLOCK = 4096
PIECE = 1 << 20
CLUSTER = 1 << 16
SLOTS = CLUSTER // 8
"""Entries of one table of a qcow2 file."""
UNLIMITED = 1 << 62
TOGETHER = 1000
"""Disks that are measured before others get their turn."""


class MemoryDisk(msgspec.Struct):
    """Content by block; blocks that were never written are zero. Only raw images bring content into a base."""

    virtual_bytes: int
    blocks: dict[int, bytes] = {}
    snapshots: dict[UUID, "MemoryDisk"] = {}

    def copy(self, virtual_bytes: int) -> "MemoryDisk":
        return MemoryDisk(virtual_bytes, dict(self.blocks))

    def write(self, offset: int, data: bytes) -> None:
        """In whole blocks."""
        for start in range(0, len(data), BLOCK):
            self.blocks[(offset + start) // BLOCK] = data[start : start + BLOCK]

    def fill(self, offset: int, data: bytes) -> None:
        """As `write`, but blocks of nothing but zeros are left out."""
        if data == bytes(len(data)):
            return
        for start in range(0, len(data), BLOCK):
            block = data[start : start + BLOCK].ljust(BLOCK, b"\0")
            if any(block):
                self.blocks[(offset + start) // BLOCK] = block

    def read(self, offset: int, length: int) -> bytes:
        numbers = range(offset // BLOCK, (offset + length) // BLOCK)
        return b"".join(self.blocks.get(number, bytes(BLOCK)) for number in numbers)


class MemoryPool(Faulty):
    """Implements Pool."""

    CALLS = calls_of(Pool)
    PLATFORM = "the pool in memory"

    def __init__(self, total_bytes: int = 1 << 50) -> None:
        super().__init__()
        self._total_bytes = total_bytes
        self.disks: dict[UUID, MemoryDisk] = {}
        self.base_disks: dict[UUID, MemoryDisk] = {}
        self.drives: dict[UUID, Mapping[str, bytes]] = {}
        self.mark: UUID | None = None

    # --- for the start of a simulation

    def adopt(self, volumes: Iterable[tuple[UUID, int]]) -> None:
        """Take empty volumes, with their sizes in GiB, as if they had been here all along."""
        for volume, size_gib in volumes:
            self.disks.setdefault(volume, MemoryDisk(size_gib * GIB))

    # --- the protocol

    @verb
    async def facts(self) -> PoolFacts:
        used = sum((await self._sizes()).values()) + sum(map(occupied, self.base_disks.values()))
        return PoolFacts(
            total_bytes=self._total_bytes, used_bytes=used, available_bytes=self._total_bytes - used
        )

    @verb
    async def owner(self) -> UUID | None:
        return self.mark

    @verb
    async def claim(self, cloud: UUID) -> None:
        if self.mark not in (None, cloud):
            raise Refused(f"this is of another cloud: {self.mark}")
        self.mark = cloud

    @verb
    async def has_base(self, image: UUID) -> bool:
        return image in self.base_disks

    @verb
    async def make_base(self, image: UUID, source: Path, format: str) -> None:
        if format not in DRIVERS:
            raise Refused(f"image {image}: the format {format!r} is unknown")
        if image in self.base_disks:
            return
        with Content(source) as content:
            if format not in ("raw", "iso"):
                size = detect(content, UNLIMITED).virtual_bytes
                self.base_disks[image] = MemoryDisk(size)
                return
            disk = MemoryDisk((content.size + 511) // 512 * 512)
            for offset in range(0, content.size, PIECE):
                disk.fill(offset, content.peek(offset, PIECE))
        self.base_disks[image] = disk

    @verb
    async def delete_base(self, image: UUID) -> None:
        self.base_disks.pop(image, None)

    @verb
    async def create(self, volume: UUID, size_gib: int) -> None:
        if not self._is_there(volume, size_gib):
            self.disks[volume] = MemoryDisk(size_gib * GIB)

    @verb
    async def create_from_base(self, volume: UUID, image: UUID, size_gib: int) -> None:
        if not self._is_there(volume, size_gib):
            if image not in self.base_disks:
                raise Missing(f"base {image} is not in the pool")
            self._copy(volume, self.base_disks[image], size_gib)

    @verb
    async def create_from_snapshot(self, volume: UUID, source: UUID, snapshot: UUID, size_gib: int) -> None:
        if not self._is_there(volume, size_gib):
            kept = self._disk(source).snapshots
            if snapshot not in kept:
                raise Missing(f"volume {source} has no snapshot {snapshot}")
            self._copy(volume, kept[snapshot], size_gib)

    @verb
    async def create_from_volume(self, volume: UUID, source: UUID, size_gib: int) -> None:
        if not self._is_there(volume, size_gib):
            self._copy(volume, self._disk(source), size_gib)

    @verb
    async def extend(self, volume: UUID, size_gib: int) -> None:
        disk = self._disk(volume)
        if disk.virtual_bytes > size_gib * GIB:
            raise Refused(f"volume {volume} cannot shrink to {size_gib} GiB")
        disk.virtual_bytes = size_gib * GIB

    @verb
    async def delete(self, volume: UUID) -> None:
        self.disks.pop(volume, None)

    @verb
    async def snapshot(self, volume: UUID, snapshot: UUID) -> None:
        disk = self._disk(volume)
        disk.snapshots.setdefault(snapshot, disk.copy(disk.virtual_bytes))

    @verb
    async def delete_snapshot(self, volume: UUID, snapshot: UUID) -> None:
        if volume in self.disks:
            self.disks[volume].snapshots.pop(snapshot, None)

    @verb
    async def snapshots(self, volume: UUID) -> frozenset[UUID]:
        return frozenset(self._disk(volume).snapshots)

    @verb
    async def open(self, volume: UUID) -> DiskPath:
        self._disk(volume)
        return DiskPath(path=f"/memory/{volume}", format="qcow2")

    @verb
    async def export(self, volume: UUID, target: Path, format: str) -> None:
        disk = self._disk(volume)
        if format not in ("qcow2", "raw"):
            raise Refused(f"volume {volume}: cannot be exported as {format!r}; qcow2 or raw can")
        (write_qcow2 if format == "qcow2" else write_raw)(disk, target)

    @verb
    async def volumes(self) -> Mapping[UUID, int]:
        return await self._sizes()

    @verb
    async def bases(self) -> frozenset[UUID]:
        return frozenset(self.base_disks)

    @verb
    async def write_config_drive(self, guest: UUID, files: Mapping[str, bytes]) -> DiskPath:
        for name in files:
            config_drive.checked(name)
        self.drives[guest] = dict(files)
        return DiskPath(path=f"/memory/{guest}.iso", format="raw")

    @verb
    async def delete_config_drive(self, guest: UUID) -> None:
        self.drives.pop(guest, None)

    @verb
    async def config_drives(self) -> frozenset[UUID]:
        return frozenset(self.drives)

    async def _sizes(self) -> dict[UUID, int]:
        """There may be many: others get their turn between."""
        found = {}
        for number, (volume, disk) in enumerate(tuple(self.disks.items()), 1):
            found[volume] = occupied(disk)
            if number % TOGETHER == 0:
                await asyncio.sleep(0)
        return found

    def _disk(self, volume: UUID) -> MemoryDisk:
        if volume not in self.disks:
            raise Missing(f"volume {volume} is not in the pool")
        return self.disks[volume]

    def _is_there(self, volume: UUID, size_gib: int) -> bool:
        if size_gib < 1:
            raise Refused(f"volume {volume}: a size of {size_gib} GiB is not possible; 1 is the least")
        disk = self.disks.get(volume)
        if disk and disk.virtual_bytes != size_gib * GIB:
            raise Refused(f"volume {volume} exists with another size; delete it first")
        return disk is not None

    def _copy(self, volume: UUID, source: MemoryDisk, size_gib: int) -> None:
        if size_gib * GIB < source.virtual_bytes:
            raise Refused(f"volume {volume}: {size_gib} GiB are too few for {source.virtual_bytes} bytes")
        self.disks[volume] = source.copy(size_gib * GIB)


class MemoryImages(Faulty):
    """Implements ImageStore."""

    CALLS = calls_of(ImageStore)
    PLATFORM = "the image store in memory"

    def __init__(self, max_virtual_bytes: int = 1 << 50) -> None:
        super().__init__()
        self._max_virtual_bytes = max_virtual_bytes
        self._files: tempfile.TemporaryDirectory[str] | None = None
        self.contents: dict[UUID, bytes] = {}
        self.mark: UUID | None = None

    def __getstate__(self) -> dict[str, Any]:
        """The files that `path` makes are a copy of the contents."""
        return {**self.__dict__, "_files": None}

    @verb
    async def owner(self) -> UUID | None:
        return self.mark

    @verb
    async def claim(self, cloud: UUID) -> None:
        if self.mark not in (None, cloud):
            raise Refused(f"this is of another cloud: {self.mark}")
        self.mark = cloud

    @verb
    async def write(
        self, image: UUID, content: AsyncIterator[bytes], *, max_bytes: int
    ) -> tuple[int, str, str]:
        gathered = bytearray()
        async for piece in content:
            gathered += piece
            if len(gathered) > max_bytes:
                raise Refused(f"image {image} has more than the allowed {max_bytes} bytes")
        self.contents[image] = bytes(gathered)
        return measured(self.contents[image])

    @verb
    async def inspect(self, image: UUID) -> Inspected:
        try:
            return detect(Content(self._content(image)), self._max_virtual_bytes)
        except Refused as error:
            raise Refused(f"image {image}: {error}") from error

    async def read(self, image: UUID, *, start: int = 0) -> AsyncIterator[bytes]:
        self.strike("read", "before")
        way = await self.arrive("read")
        content = self._content(image)
        for offset in range(start, len(content), PIECE):
            yield content[offset : offset + PIECE]
        await self.come_back(way)
        self.strike("read", "after")

    @verb
    async def path(self, image: UUID) -> Path:
        """The content is put into a file that lives as long as this store."""
        content = self._content(image)
        self._files = self._files or tempfile.TemporaryDirectory(prefix="pileus-images-")
        path = Path(self._files.name) / str(image)
        path.write_bytes(content)
        return path

    @verb
    async def adopt(self, image: UUID, source: Path) -> tuple[int, str, str]:
        content = await asyncio.to_thread(take, source)
        if content is not None:
            self.contents[image] = content
        return measured(self._content(image))

    @verb
    async def delete(self, image: UUID) -> None:
        self.contents.pop(image, None)
        if self._files:
            (Path(self._files.name) / str(image)).unlink(missing_ok=True)

    @verb
    async def images(self) -> frozenset[UUID]:
        return frozenset(self.contents)

    def _content(self, image: UUID) -> bytes:
        if image not in self.contents:
            raise Missing(f"there is no content of image {image}")
        return self.contents[image]


def take(source: Path) -> bytes | None:
    if not source.exists():
        return None
    content = source.read_bytes()
    source.unlink()
    return content


def measured(content: bytes) -> tuple[int, str, str]:
    md5 = hashlib.md5(content, usedforsecurity=False)
    return len(content), md5.hexdigest(), hashlib.sha512(content).hexdigest()


def occupied(disk: MemoryDisk) -> int:
    return BLOCK * len(disk.blocks) + sum(map(occupied, disk.snapshots.values()))


def write_raw(disk: MemoryDisk, target: Path) -> None:
    with target.open("wb") as file:
        file.truncate(disk.virtual_bytes)
        for number, block in disk.blocks.items():
            file.seek(number * BLOCK)
            file.write(block)


def write_qcow2(disk: MemoryDisk, target: Path) -> None:
    """A version 2 file: header, refcount table, refcount block, level 1 table, level 2 tables, data."""
    clusters = gather_clusters(disk)
    entries = -(-disk.virtual_bytes // (CLUSTER * SLOTS))
    tables = sorted({cluster // SLOTS for cluster in clusters})
    first_table = 3 + -(-entries * 8 // CLUSTER)
    first_data = first_table + len(tables)
    used = first_data + len(clusters)
    if used > CLUSTER // 2:
        raise Refused("the fake pool exports at most 2 GiB of content as qcow2")
    places = {cluster: first_data + number for number, cluster in enumerate(sorted(clusters))}
    level_1 = {table: first_table + number for number, table in enumerate(tables)}
    fields = (qcow2.MAGIC, 2, 0, 0, 16, disk.virtual_bytes, 0, entries, 3 * CLUSTER, CLUSTER, 1, 0, 0)
    with target.open("wb") as file:
        file.write(qcow2.VERSION_2.pack(*fields).ljust(CLUSTER, b"\0"))
        file.write((2 * CLUSTER).to_bytes(8, "big").ljust(CLUSTER, b"\0"))
        file.write((b"\0\1" * used).ljust(CLUSTER, b"\0"))
        file.write(pointers(level_1, 0, entries).ljust((first_table - 3) * CLUSTER, b"\0"))
        for table in tables:
            file.write(pointers(places, table * SLOTS, SLOTS))
        for cluster in sorted(clusters):
            file.write(clusters[cluster])


def gather_clusters(disk: MemoryDisk) -> dict[int, bytearray]:
    clusters: dict[int, bytearray] = {}
    for number, block in disk.blocks.items():
        cluster, start = divmod(number * BLOCK, CLUSTER)
        clusters.setdefault(cluster, bytearray(CLUSTER))[start : start + BLOCK] = block
    return clusters


def pointers(places: Mapping[int, int], first: int, count: int) -> bytes:
    """One table of the two levels; the top bit says that the cluster has a single owner."""
    found = (places.get(first + slot) for slot in range(count))
    return b"".join((place * CLUSTER | 1 << 63 if place else 0).to_bytes(8, "big") for place in found)
