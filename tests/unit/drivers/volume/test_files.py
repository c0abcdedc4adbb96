import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from pileus.drivers.errors import Refused, Unreachable
from pileus.drivers.volume.file import FilePool
from pileus.drivers.volume.file import pool as module
from pileus.drivers.volume.file.qemu_img import Limits, QemuImg
from pileus.drivers.volume.file.workspace import Turns, Workspace
from pileus.drivers.volume.images import DirectoryImages
from pileus.drivers.volume.protocol import ImageStore
from tests.conformance.volume import (
    GIB,
    MIB,
    SPOT,
    Bench,
    ImageStoreConformance,
    PoolConformance,
    drive_files,
    file_holds,
    raw_image,
    run,
    stream,
)


class FileBench(Bench):
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pool: FilePool = FilePool(directory)

    def path(self, volume: UUID) -> Path:
        return self.directory / "volumes" / f"{volume}.qcow2"

    def write(self, volume: UUID, pattern: int, offset: int = 0) -> None:
        command = [
            "qemu-io",
            "-f",
            "qcow2",
            "-c",
            f"write -q -P {pattern} {offset} {SPOT}",
            self.path(volume),
        ]
        run(*command)

    def holds(self, volume: UUID, pattern: int, offset: int = 0) -> bool:
        return file_holds(self.path(volume), "qcow2", pattern, offset)

    def leftovers(self) -> list[Path]:
        return [path for path in (self.directory / "tmp").iterdir() if path.suffix != ".lock"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[FileBench]:
    bench = FileBench(tmp_path / "pool")
    yield bench
    bench.pool.close()


class TestFilePool(PoolConformance):
    pass


class TestDirectoryImages(ImageStoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[ImageStore]:
        store = DirectoryImages(tmp_path / "images", max_virtual_bytes=8 * GIB)
        yield store
        store.close()


async def test_a_config_drive_carries_its_files(bench: FileBench):
    files = {
        "openstack/latest/meta_data.json": b"{}",
        "openstack/latest/user_data": b"#!/bin/sh\n",
        "openstack/2018-08-27/meta_data.json": b"{} ",
        "ec2/latest/meta-data.json": b"",
        "cloudstack/metadata/local-hostname.txt": b"web" * 5000,
        "Top": b"level",
    }
    drive = await bench.pool.write_config_drive(uuid4(), files)
    assert drive_files(Path(drive.path)) == files
    shown = run("blkid", "-p", "-o", "value", "-s", "LABEL", drive.path)
    assert shown.stdout == b"config-2\n"


async def test_a_pool_can_be_moved_with_its_bases(bench: FileBench, tmp_path: Path):
    image, volume = uuid4(), uuid4()
    await bench.pool.make_base(image, raw_image(tmp_path / "image", 0x11), "raw")
    await bench.pool.create_from_base(volume, image, 1)
    moved = bench.directory.rename(tmp_path / "moved")
    assert file_holds(moved / "volumes" / f"{volume}.qcow2", "qcow2", 0x11)
    moved.rename(bench.directory)


@pytest.mark.parametrize("format", ["qcow2", "vmdk", "vhdx", "vhd", "vdi"])
async def test_a_base_is_made_of_every_format(bench: FileBench, tmp_path: Path, format: str):
    source, image, volume = tmp_path / "source", uuid4(), uuid4()
    driver = "vpc" if format == "vhd" else format
    raw = raw_image(tmp_path / "raw", 0x11)
    run("qemu-img", "convert", "-f", "raw", "-O", driver, raw, source)
    await bench.pool.make_base(image, source, format)
    await bench.pool.create_from_base(volume, image, 1)
    assert bench.holds(volume, 0x11)


async def test_a_raw_image_that_looks_like_qcow2_stays_raw(bench: FileBench, tmp_path: Path):
    """Nothing is probed: a guest that writes a qcow2 header into its disk gets no file of the host."""
    source, image, volume = tmp_path / "source", uuid4(), uuid4()
    thief = ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-b", "/etc/passwd", "-F", "raw", source, "1M"]
    run(*thief)
    await bench.pool.make_base(image, source, "raw")
    await bench.pool.create_from_base(volume, image, 1)
    target = tmp_path / "out"
    await bench.pool.export(volume, target, "raw")
    assert target.read_bytes()[: source.stat().st_size] == source.read_bytes()


async def test_a_snapshot_is_copied_while_a_guest_holds_the_volume(bench: FileBench):
    volume, snapshot, copy = uuid4(), uuid4(), uuid4()
    await bench.pool.create(volume, 1)
    bench.write(volume, 0x22)
    await bench.pool.snapshot(volume, snapshot)
    holder = await asyncio.create_subprocess_exec(
        "qemu-io", "-f", "qcow2", bench.path(volume), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"write -P 0x33 0 64k\n")
        while b"wrote" not in (line := await holder.stdout.readline()):
            assert line
        with pytest.raises(Refused, match="lock"):
            await bench.pool.create_from_volume(uuid4(), volume, 1)
        with pytest.raises(Refused, match="lock"):
            await bench.pool.extend(volume, 2)
        await bench.pool.create_from_snapshot(copy, volume, snapshot, 1)
        assert await bench.pool.snapshots(volume) == {snapshot}
    finally:
        await asyncio.wait_for(holder.communicate(b"quit\n"), 20)
    assert bench.holds(copy, 0x22)
    assert bench.holds(volume, 0x33)


async def test_a_snapshot_of_somebody_else_is_not_listed(bench: FileBench):
    volume = uuid4()
    await bench.pool.create(volume, 1)
    run("qemu-img", "snapshot", "-c", "by hand", bench.path(volume))
    assert await bench.pool.snapshots(volume) == frozenset()


async def test_a_broken_volume_is_refused_by_name(bench: FileBench):
    volume = uuid4()
    bench.path(volume).write_bytes(b"not an image")
    for call in (bench.pool.extend(volume, 2), bench.pool.export(volume, bench.directory / "out", "raw")):
        with pytest.raises(Refused, match=str(volume)):
            await call


async def test_a_copy_larger_than_its_source_is_stopped(bench: FileBench, tmp_path: Path):
    limits = Limits(file_bytes=MIB)
    source = tmp_path / "full"
    source.write_bytes(b"\1" * 4 * MIB)
    with pytest.raises(Refused, match="more than 1048576 bytes"):
        await QemuImg().run(("convert", "-f", "raw", "-O", "raw", str(source), str(tmp_path / "out")), limits)


async def test_a_full_disk_is_named(tmp_path: Path):
    """Where mounting is allowed, a small real file system runs full."""
    small = tmp_path / "small"
    small.mkdir()
    try:
        run("mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", small)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"mounting is not allowed here: {error.stderr.decode()}")
    try:
        pool, images = FilePool(small / "pool"), DirectoryImages(small / "images", GIB)
        source = tmp_path / "source"
        source.write_bytes(b"\1" * 8 * MIB)
        with pytest.raises(Refused, match=rf"full|{small}"):
            await pool.make_base(uuid4(), source, "raw")
        with pytest.raises(Refused, match=f"the disk of {small}/images is full"):
            await images.write(uuid4(), stream(*[b"\1" * MIB] * 8), max_bytes=GIB)
        assert not await pool.bases()
        assert not await images.images()
        assert (await pool.facts()).available_bytes > 2 * MIB
        pool.close()
        images.close()
    finally:
        run("umount", "-l", small)


async def test_a_cancelled_process_is_dead(tmp_path: Path):
    fifo = tmp_path / "fifo"
    run("mkfifo", fifo)
    waiting = asyncio.create_task(QemuImg().run(("info", "-f", "raw", str(fifo)), Limits(file_bytes=0)))
    while not processes_with(str(fifo)):
        await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not processes_with(str(fifo))


async def test_a_process_that_does_not_end_is_ended(tmp_path: Path):
    fifo = tmp_path / "fifo"
    run("mkfifo", fifo)
    with pytest.raises(Unreachable, match="did not end in 1 s"):
        await QemuImg().run(("info", "-f", "raw", str(fifo)), Limits(file_bytes=0, seconds=1))
    assert not processes_with(str(fifo))


def processes_with(argument: str) -> list[Path]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if argument.encode() in path.read_bytes():
                found.append(path)
        except OSError:
            continue
    return found


def test_what_a_dead_maker_left_is_swept_and_a_living_ones_work_is_not(tmp_path: Path):
    living = Workspace(tmp_path)
    kept = tmp_path / "tmp" / f"{living._maker}.work"
    kept.touch()
    (tmp_path / "tmp" / "0123.work").touch()
    (tmp_path / "tmp" / "0123.lock").touch()
    (tmp_path / "tmp" / "stray").touch()
    Workspace(tmp_path).close()
    names = {path.name for path in (tmp_path / "tmp").iterdir()}
    assert names == {kept.name, f"{living._maker}.lock"}
    living.close()


async def test_turns_of_one_key_follow_each_other_and_are_forgotten():
    turns, log = Turns(), []

    async def work(key: str, name: str) -> None:
        async with turns.of(key):
            log.append(f"{name} in")
            await asyncio.sleep(0)
            log.append(f"{name} out")

    await asyncio.gather(work("a", "1"), work("a", "2"), work("a", "3"))
    assert log == ["1 in", "1 out", "2 in", "2 out", "3 in", "3 out"]
    assert not turns._locks


def test_the_pool_is_private(tmp_path: Path):
    module.FilePool(tmp_path / "pool").close()
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "pool").iterdir() if path.is_dir())
