"""A pool in a directory: volumes/<id>.qcow2 over bases/<image>.qcow2, snapshots inside the volumes' files."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID

import msgspec

from pileus.drivers.errors import Missing, Refused
from pileus.drivers.volume import config_drive
from pileus.drivers.volume.file.qemu_img import Limits, QemuImg
from pileus.drivers.volume.file.threads import in_thread
from pileus.drivers.volume.file.workspace import Turns, Workspace, named, refusal
from pileus.drivers.volume.inspection import DRIVERS, Content, qcow2
from pileus.drivers.volume.protocol import DiskPath, PoolFacts

GIB = 1 << 30
COPY_SECONDS = 4 * 3600
"""Processor time of one copy."""
EXPORTS = ("qcow2", "raw")


class _Measured(msgspec.Struct, frozen=True):
    virtual_size: int = msgspec.field(name="virtual-size")


class FilePool:
    """Implements Pool. Every image of the pool is qcow2, and every call of qemu-img is told so."""

    def __init__(self, directory: Path, *, at_once: int = 4) -> None:
        self._directory = directory.absolute()
        for name in ("volumes", "bases", "configdrives"):
            (self._directory / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        self._workspace = Workspace(self._directory)
        self._qemu = QemuImg(at_once)
        self._turns = Turns()

    def close(self) -> None:
        """Give up the working place; the pool itself stays."""
        self._workspace.close()

    async def facts(self) -> PoolFacts:
        found = await self._workspace.do(os.statvfs, self._directory)
        return PoolFacts(
            total_bytes=found.f_blocks * found.f_frsize,
            used_bytes=(found.f_blocks - found.f_bfree) * found.f_frsize,
            available_bytes=found.f_bavail * found.f_frsize,
        )

    async def owner(self) -> UUID | None:
        return await self._workspace.owner()

    async def claim(self, cloud: UUID) -> None:
        await self._workspace.claim(cloud)

    async def has_base(self, image: UUID) -> bool:
        return self._base(image).exists()

    async def make_base(self, image: UUID, source: Path, format: str) -> None:
        if format not in DRIVERS:
            raise Refused(f"image {image}: the format {format!r} is unknown; one of {', '.join(DRIVERS)} is")
        async with self._turns.of(image):
            if self._base(image).exists():
                return
            path = await in_thread(present, source, f"image {image}")
            await self._copy(f"image {image}", ("-f", DRIVERS[format]), path, self._base(image))

    async def delete_base(self, image: UUID) -> None:
        async with self._turns.of(image):
            await self._unlink(self._base(image))

    async def create(self, volume: UUID, size_gib: int) -> None:
        async with self._turns.of(volume):
            if await self._is_there(volume, size_gib):
                return
            async with self._workspace.making(self._volume(volume)) as path:
                await self._run(
                    f"volume {volume}", ("create", "-q", "-f", "qcow2", str(path), f"{size_gib}G")
                )

    async def create_from_base(self, volume: UUID, image: UUID, size_gib: int) -> None:
        base = self._base(image)
        async with self._turns.of(volume):
            if await self._is_there(volume, size_gib):
                return
            needed = (await self._header(base, f"base {image}")).virtual_bytes
            if size_gib * GIB < needed:
                raise Refused(
                    f"volume {volume}: image {image} needs {needed} bytes, {size_gib} GiB are too few"
                )
            # Relative, so that the pool's directory can be moved; the working place is as deep as the volumes.
            backing = ("-b", f"../bases/{base.name}", "-F", "qcow2")
            async with self._workspace.making(self._volume(volume)) as path:
                arguments = ("create", "-q", "-f", "qcow2", *backing, str(path), f"{size_gib}G")
                await self._run(f"volume {volume}", arguments)

    async def create_from_snapshot(self, volume: UUID, source: UUID, snapshot: UUID, size_gib: int) -> None:
        async with self._turns.of(volume):
            if await self._is_there(volume, size_gib):
                return
            sizes = await self._snapshot_sizes(source)
            if str(snapshot) not in sizes:
                raise Missing(f"volume {source} has no snapshot {snapshot}")
            # -U: a running guest may hold the lock; what a snapshot refers to does not change under it.
            reading = ("-f", "qcow2", "-U", "-l", f"snapshot.name={snapshot}")
            await self._copy_volume(volume, source, reading, size_gib, sizes[str(snapshot)])

    async def create_from_volume(self, volume: UUID, source: UUID, size_gib: int) -> None:
        async with self._turns.of(volume):
            if await self._is_there(volume, size_gib):
                return
            async with self._turns.of(source):
                needed = (await self._header(self._volume(source), f"volume {source}")).virtual_bytes
                await self._copy_volume(volume, source, ("-f", "qcow2"), size_gib, needed)

    async def extend(self, volume: UUID, size_gib: int) -> None:
        path = self._volume(volume)
        async with self._turns.of(volume):
            present = (await self._header(path, f"volume {volume}")).virtual_bytes
            if present == size_gib * GIB:
                return
            if present > size_gib * GIB:
                raise Refused(f"volume {volume} has {present // GIB} GiB and cannot shrink to {size_gib} GiB")
            await self._run(f"volume {volume}", ("resize", "-q", "-f", "qcow2", str(path), f"{size_gib}G"))

    async def delete(self, volume: UUID) -> None:
        async with self._turns.of(volume):
            await self._unlink(self._volume(volume))

    async def snapshot(self, volume: UUID, snapshot: UUID) -> None:
        async with self._turns.of(volume):
            # qemu-img would make a second snapshot of the same name.
            if str(snapshot) not in await self._snapshot_sizes(volume):
                await self._change_snapshots("-c", volume, snapshot)

    async def delete_snapshot(self, volume: UUID, snapshot: UUID) -> None:
        async with self._turns.of(volume):
            if self._volume(volume).exists() and str(snapshot) in await self._snapshot_sizes(volume):
                await self._change_snapshots("-d", volume, snapshot)

    async def snapshots(self, volume: UUID) -> frozenset[UUID]:
        return frozenset(key for name in await self._snapshot_sizes(volume) if (key := as_uuid(name)))

    async def open(self, volume: UUID) -> DiskPath:
        path = self._volume(volume)
        if not path.exists():
            raise Missing(f"there is no volume {volume} in {self._directory}")
        return DiskPath(path=str(path), format="qcow2")

    async def export(self, volume: UUID, target: Path, format: str) -> None:
        if format not in EXPORTS:
            raise Refused(f"volume {volume}: cannot be exported as {format!r}; {' or '.join(EXPORTS)} can")
        source = Path((await self.open(volume)).path)
        # Beside the target, under a name that a repetition uses again: a rename works on one file system only.
        part = target.with_name(f".{target.name}.part")
        async with self._turns.of(volume):
            try:
                await self._convert(f"volume {volume}", ("-f", "qcow2"), source, part, format)
                part.replace(target)
            except OSError as error:
                raise refusal(error, target.parent) from error
            finally:
                part.unlink(missing_ok=True)

    async def volumes(self) -> Mapping[UUID, int]:
        return await self._workspace.do(occupied, self._directory / "volumes")

    async def bases(self) -> frozenset[UUID]:
        return frozenset(await self._workspace.do(named, self._directory / "bases", ".qcow2"))

    async def write_config_drive(self, guest: UUID, files: Mapping[str, bytes]) -> DiskPath:
        target = self._config_drive(guest)
        async with self._turns.of(guest), self._workspace.making(target) as path:
            await self._workspace.do(config_drive.write, files, path)
        return DiskPath(path=str(target), format="raw")

    async def delete_config_drive(self, guest: UUID) -> None:
        async with self._turns.of(guest):
            await self._unlink(self._config_drive(guest))

    async def config_drives(self) -> frozenset[UUID]:
        return frozenset(await self._workspace.do(named, self._directory / "configdrives", ".iso"))

    def _volume(self, volume: UUID) -> Path:
        return self._directory / "volumes" / f"{volume}.qcow2"

    def _base(self, image: UUID) -> Path:
        return self._directory / "bases" / f"{image}.qcow2"

    def _config_drive(self, guest: UUID) -> Path:
        return self._directory / "configdrives" / f"{guest}.iso"

    async def _is_there(self, volume: UUID, size_gib: int) -> bool:
        """Made already, by an earlier try. Another volume under the same id is never overwritten."""
        if size_gib < 1:
            raise Refused(f"volume {volume}: a size of {size_gib} GiB is not possible; 1 is the least")
        path = self._volume(volume)
        if not path.exists():
            return False
        present = (await self._header(path, f"volume {volume}")).virtual_bytes
        if present != size_gib * GIB:
            raise Refused(
                f"volume {volume} exists with {present} bytes instead of {size_gib} GiB; delete it first"
            )
        return True

    async def _header(self, path: Path, what: str) -> qcow2.Header:
        return await in_thread(read_header, path, what)

    async def _snapshot_sizes(self, volume: UUID) -> Mapping[str, int]:
        return await in_thread(read_snapshots, self._volume(volume), f"volume {volume}")

    async def _change_snapshots(self, verb: str, volume: UUID, snapshot: UUID) -> None:
        path = self._volume(volume)
        await self._run(f"volume {volume}", ("snapshot", "-q", verb, str(snapshot), str(path)), grown=path)

    async def _copy_volume(
        self, volume: UUID, source: UUID, reading: Sequence[str], size_gib: int, needed: int
    ) -> None:
        if size_gib * GIB < needed:
            raise Refused(f"volume {volume}: the source has {needed} bytes, {size_gib} GiB are too few")
        target = self._volume(volume)
        await self._copy(f"volume {volume}", reading, self._volume(source), target, size_gib)

    async def _copy(
        self, what: str, reading: Sequence[str], source: Path, target: Path, size_gib: int | None = None
    ) -> None:
        async with self._workspace.making(target) as path:
            await self._convert(what, reading, source, path, "qcow2")
            if size_gib:
                # A snapshot's copy has the source's present size, which may even be larger than what is wanted.
                arguments = ("resize", "-q", "--shrink", "-f", "qcow2", str(path), f"{size_gib}G")
                await self._run(what, arguments)

    async def _convert(
        self, what: str, reading: Sequence[str], source: Path, target: Path, format: str
    ) -> None:
        """A full copy, never larger than the source's virtual size allows: compressed data cannot fill the disk."""
        driver = reading[reading.index("-f") + 1]
        output = await self._run(what, ("info", "-U", "--output=json", "-f", driver, str(source)))
        size = msgspec.json.decode(output, type=_Measured).virtual_size
        limits = Limits(cpu_seconds=COPY_SECONDS, file_bytes=size + size // 64 + (64 << 20))
        await self._run(
            what, ("convert", "-q", *reading, "-O", format, str(source), str(target)), limits=limits
        )

    async def _run(
        self, what: str, arguments: Sequence[str], *, limits: Limits | None = None, grown: Path | None = None
    ) -> bytes:
        """`grown`: a file that is changed in place, by a table or two."""
        if limits is None:
            present_bytes = await in_thread(os.path.getsize, grown) if grown else 0
            limits = Limits(file_bytes=present_bytes + GIB)
        try:
            return await self._qemu.run(arguments, limits)
        except Refused as error:
            full = f" (the disk of {self._directory} is full)" if "No space left" in str(error) else ""
            raise Refused(f"{what}: {error}{full}") from error

    async def _unlink(self, path: Path) -> None:
        await self._workspace.do(path.unlink, missing_ok=True)


def present(path: Path, what: str) -> Path:
    if not path.exists():
        raise Missing(f"{what}: there is no file {path}")
    return path.absolute()


def as_uuid(name: str) -> UUID | None:
    """A snapshot that is not ours has another kind of name."""
    try:
        return UUID(name)
    except ValueError:
        return None


def occupied(directory: Path) -> Mapping[UUID, int]:
    found = {}
    for key, entry in named(directory, ".qcow2").items():
        try:
            found[key] = entry.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return found


def read_header(path: Path, what: str) -> qcow2.Header:
    with opened(path, what) as content:
        if content.peek(0, 4) != qcow2.MAGIC:
            raise Refused(f"{what}: {path} is not a qcow2 file")
        return qcow2.header(content)


def read_snapshots(path: Path, what: str) -> Mapping[str, int]:
    with opened(path, what) as content:
        return qcow2.snapshots(content)


def opened(path: Path, what: str) -> Content:
    try:
        return Content(path)
    except Missing as error:
        raise Missing(f"{what} is not in the pool: {error}") from error
