"""What every pool and every image store must do, with real content. The fakes and the real ones run it always."""

import asyncio
import hashlib
import inspect
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from io import BytesIO
from pathlib import Path
from uuid import UUID, uuid4

import pycdlib
import pytest

from pileus.drivers.errors import Missing, Refused
from pileus.drivers.volume.protocol import ImageStore, Pool

MIB, GIB = 1 << 20, 1 << 30
SPOT = 64 << 10
"""Bytes of one pattern."""


class Bench:
    """A pool, and what a guest would do to its disks: write and look."""

    pool: Pool

    def write(self, volume: UUID, pattern: int, offset: int = 0) -> None:
        raise NotImplementedError

    def holds(self, volume: UUID, pattern: int, offset: int = 0) -> bool:
        raise NotImplementedError

    def leftovers(self) -> list[Path]:
        """Files that are neither a volume, a base nor a config drive."""
        return []


def run(*command: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, check=True)


def raw_image(path: Path, pattern: int, size: int = 4 * MIB) -> Path:
    with path.open("wb") as file:
        file.write(bytes([pattern]) * SPOT)
        file.truncate(size)
    return path


def file_holds(path: Path, format: str, pattern: int, offset: int = 0) -> bool:
    command = ["qemu-io", "-r", "-f", format, "-c", f"read -P {pattern} {offset} {SPOT}", str(path)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def virtual_bytes(path: Path, format: str) -> int:
    command = ["qemu-img", "info", "--output=json", "-f", format, str(path)]
    return int(json.loads(subprocess.run(command, capture_output=True, check=True).stdout)["virtual-size"])


class PoolConformance:
    """A subclass gives the fixture `bench`."""

    @pytest.fixture
    def pool(self, bench: Bench) -> Pool:
        return bench.pool

    @pytest.fixture
    async def base(self, pool: Pool, tmp_path: Path) -> UUID:
        image = uuid4()
        await pool.make_base(image, raw_image(tmp_path / "image", 0x11), "raw")
        return image

    @pytest.fixture
    async def volume(self, pool: Pool) -> UUID:
        volume = uuid4()
        await pool.create(volume, 1)
        return volume

    async def test_facts_add_up(self, pool: Pool):
        facts = await pool.facts()
        assert 0 <= facts.available_bytes <= facts.total_bytes
        assert 0 <= facts.used_bytes <= facts.total_bytes

    async def test_a_pool_belongs_to_one_cloud(self, pool: Pool):
        own = uuid4()
        assert await pool.owner() is None
        for _ in range(2):
            await pool.claim(own)
            assert await pool.owner() == own
        with pytest.raises(Refused, match=str(own)):
            await pool.claim(uuid4())
        assert not await pool.volumes()

    async def test_a_new_volume_is_empty_and_listed(self, bench: Bench, pool: Pool, volume: UUID):
        assert bench.holds(volume, 0)
        assert set(await pool.volumes()) == {volume}
        assert (await pool.open(volume)).format in ("qcow2", "raw")

    async def test_a_volume_of_a_base_has_its_content_and_leaves_it_alone(self, bench: Bench, base: UUID):
        first, second = uuid4(), uuid4()
        await bench.pool.create_from_base(first, base, 1)
        bench.write(first, 0x22)
        await bench.pool.create_from_base(second, base, 2)
        assert bench.holds(first, 0x22)
        assert bench.holds(second, 0x11)
        assert bench.holds(second, 0, offset=GIB)

    async def test_a_snapshot_is_immutable(self, bench: Bench, pool: Pool, base: UUID):
        volume, snapshot, copy = uuid4(), uuid4(), uuid4()
        await pool.create_from_base(volume, base, 1)
        bench.write(volume, 0x22, offset=MIB)
        await pool.snapshot(volume, snapshot)
        bench.write(volume, 0x33)
        bench.write(volume, 0x44, offset=MIB)
        await pool.create_from_snapshot(copy, volume, snapshot, 2)
        assert bench.holds(copy, 0x11)
        assert bench.holds(copy, 0x22, offset=MIB)
        assert bench.holds(volume, 0x33)
        bench.write(copy, 0x55, offset=2 * GIB - SPOT)
        assert bench.holds(volume, 0x44, offset=MIB)

    async def test_a_snapshot_of_before_an_extension_keeps_its_size(self, bench: Bench, volume: UUID):
        snapshot, copy = uuid4(), uuid4()
        bench.write(volume, 0x22)
        await bench.pool.snapshot(volume, snapshot)
        await bench.pool.extend(volume, 3)
        bench.write(volume, 0x33, offset=2 * GIB)
        await bench.pool.create_from_snapshot(copy, volume, snapshot, 1)
        assert bench.holds(copy, 0x22)
        assert not bench.holds(copy, 0, offset=GIB)
        await bench.pool.delete(volume)
        assert bench.holds(copy, 0x22)

    async def test_a_copy_is_independent(self, bench: Bench, volume: UUID):
        copy = uuid4()
        bench.write(volume, 0x22)
        await bench.pool.create_from_volume(copy, volume, 2)
        bench.write(volume, 0x33)
        await bench.pool.delete(volume)
        assert bench.holds(copy, 0x22)
        assert bench.holds(copy, 0, offset=GIB)

    async def test_an_extension_keeps_the_content(self, bench: Bench, volume: UUID):
        bench.write(volume, 0x22, offset=GIB - SPOT)
        await bench.pool.extend(volume, 2)
        assert bench.holds(volume, 0x22, offset=GIB - SPOT)
        assert bench.holds(volume, 0, offset=GIB)

    @pytest.mark.parametrize("format", ["qcow2", "raw"])
    async def test_an_export_has_the_content(self, bench: Bench, base: UUID, tmp_path: Path, format: str):
        volume, target = uuid4(), tmp_path / "exported"
        await bench.pool.create_from_base(volume, base, 1)
        bench.write(volume, 0x22, offset=700 * MIB)
        for _ in range(2):
            await bench.pool.export(volume, target, format)
        assert virtual_bytes(target, format) == GIB
        assert file_holds(target, format, 0x11)
        assert file_holds(target, format, 0x22, offset=700 * MIB)
        assert file_holds(target, format, 0, offset=MIB)
        if format == "qcow2":
            run("qemu-img", "check", "-f", "qcow2", target)

    async def test_every_call_may_be_repeated(self, bench: Bench, pool: Pool, base: UUID, tmp_path: Path):
        volume, copy, clone, thin, snapshot, guest = (uuid4() for _ in range(6))
        bench_source = raw_image(tmp_path / "again", 0x11)
        for _ in range(2):
            await pool.make_base(base, bench_source, "raw")
            await pool.create(volume, 1)
            await pool.create_from_base(thin, base, 1)
            await pool.extend(volume, 2)
            await pool.extend(thin, 1)
            await pool.snapshot(thin, snapshot)
            await pool.create_from_snapshot(copy, thin, snapshot, 1)
            await pool.create_from_volume(clone, thin, 1)
            await pool.write_config_drive(guest, {"a/b": b"c"})
            assert await pool.snapshots(thin) == {snapshot}
            assert set(await pool.volumes()) == {volume, copy, clone, thin}
            assert await pool.bases() == {base}
            assert await pool.config_drives() == {guest}
            await pool.delete(volume)
        for _ in range(2):
            await pool.delete_snapshot(thin, snapshot)
            assert await pool.snapshots(thin) == frozenset()
        for _ in range(2):
            for key in (copy, clone, thin):
                await pool.delete(key)
            await pool.delete_base(base)
            await pool.delete_config_drive(guest)
        assert not await pool.volumes()
        assert not await pool.bases()
        assert not await pool.config_drives()
        assert not await pool.has_base(base)
        assert not bench.leftovers()

    @pytest.mark.parametrize(
        "call",
        [
            lambda pool, volume: pool.create_from_base(uuid4(), uuid4(), 1),
            lambda pool, volume: pool.create_from_snapshot(uuid4(), uuid4(), uuid4(), 1),
            lambda pool, volume: pool.create_from_snapshot(uuid4(), volume, uuid4(), 1),
            lambda pool, volume: pool.create_from_volume(uuid4(), uuid4(), 1),
            lambda pool, volume: pool.extend(uuid4(), 1),
            lambda pool, volume: pool.snapshot(uuid4(), uuid4()),
            lambda pool, volume: pool.snapshots(uuid4()),
            lambda pool, volume: pool.open(uuid4()),
            lambda pool, volume: pool.export(uuid4(), Path("/nowhere/file"), "raw"),
            lambda pool, volume: pool.make_base(uuid4(), Path("/nowhere/file"), "raw"),
        ],
    )
    async def test_what_needs_a_missing_thing_says_so(self, pool: Pool, volume: UUID, call: Callable):
        with pytest.raises(Missing):
            await call(pool, volume)
        assert set(await pool.volumes()) == {volume}

    async def test_deleting_what_is_missing_is_quiet(self, pool: Pool, volume: UUID):
        await pool.delete(uuid4())
        await pool.delete_base(uuid4())
        await pool.delete_snapshot(uuid4(), uuid4())
        await pool.delete_snapshot(volume, uuid4())
        await pool.delete_config_drive(uuid4())

    async def test_what_makes_no_sense_is_refused(self, pool: Pool, volume: UUID, tmp_path: Path):
        big, image = uuid4(), uuid4()
        await pool.create(big, 3)
        await pool.make_base(image, raw_image(tmp_path / "big", 1, 2 * GIB), "raw")
        snapshot = uuid4()
        await pool.snapshot(big, snapshot)
        for call in (
            pool.extend(big, 2),
            pool.create(uuid4(), 0),
            pool.create(volume, 2),
            pool.create_from_base(uuid4(), image, 1),
            pool.create_from_volume(uuid4(), big, 2),
            pool.create_from_snapshot(uuid4(), big, snapshot, 2),
            pool.make_base(uuid4(), tmp_path / "big", "cow"),
            pool.export(volume, tmp_path / "out", "vmdk"),
            pool.write_config_drive(uuid4(), {"../outside": b""}),
            pool.write_config_drive(uuid4(), {"/absolute": b""}),
        ):
            with pytest.raises(Refused):
                await call
        assert set(await pool.volumes()) == {volume, big}
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("steps", [0, 1, 2, 3, 5, 8, 13, 40, 200])
    async def test_a_cancelled_call_leaves_nothing_half_made(self, bench: Bench, tmp_path: Path, steps: int):
        """Cancelled after `steps` turns of the event loop; the repetition then makes it whole."""
        source, image, thin, copy = raw_image(tmp_path / "image", 0x11), uuid4(), uuid4(), uuid4()
        snapshot, target, guest = uuid4(), tmp_path / "exported", uuid4()
        for call in (
            lambda: bench.pool.make_base(image, source, "raw"),
            lambda: bench.pool.create_from_base(thin, image, 1),
            lambda: bench.pool.snapshot(thin, snapshot),
            lambda: bench.pool.create_from_snapshot(copy, thin, snapshot, 1),
            lambda: bench.pool.extend(copy, 2),
            lambda: bench.pool.export(copy, target, "qcow2"),
            lambda: bench.pool.write_config_drive(guest, {"a": b"b"}),
        ):
            await cancel_after(call(), steps)
            assert not bench.leftovers()
            await call()
        assert bench.holds(copy, 0x11)
        assert file_holds(target, "qcow2", 0x11)
        assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]

    async def test_calls_at_the_same_time_agree(self, bench: Bench, tmp_path: Path):
        source, image = raw_image(tmp_path / "image", 0x11), uuid4()
        await asyncio.gather(*(bench.pool.make_base(image, source, "raw") for _ in range(4)))
        volumes = [uuid4() for _ in range(8)]
        await asyncio.gather(
            *(bench.pool.create_from_base(key, image, 1) for key in volumes for _ in range(2))
        )
        assert set(await bench.pool.volumes()) == set(volumes)
        assert all(bench.holds(key, 0x11) for key in volumes)
        assert not bench.leftovers()


async def cancel_after(call, turns: int) -> None:
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() or task.exception() is None


async def stream(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def gather(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


def digests(content: bytes) -> tuple[int, str, str]:
    return len(content), hashlib.md5(content).hexdigest(), hashlib.sha512(content).hexdigest()


class ImageStoreConformance:
    """A subclass gives the fixture `store`; its virtual size limit is 8 GiB."""

    CONTENT = bytes(range(256)) * 12345 + b"end"

    @pytest.fixture
    async def image(self, store: ImageStore) -> UUID:
        image = uuid4()
        await store.write(image, stream(self.CONTENT), max_bytes=GIB)
        return image

    @pytest.mark.parametrize("piece", [1000, MIB - 1, MIB, 3 * MIB, 100 * MIB])
    async def test_what_is_written_is_read(self, store: ImageStore, piece: int):
        image, content = uuid4(), self.CONTENT
        pieces = [content[start : start + piece] for start in range(0, len(content), piece)]
        assert await store.write(image, stream(*pieces), max_bytes=len(content)) == digests(content)
        assert await gather(store.read(image)) == content
        assert await gather(store.read(image, start=MIB + 7)) == content[MIB + 7 :]
        assert await gather(store.read(image, start=len(content) + 9)) == b""
        assert (await store.path(image)).read_bytes() == content
        assert await store.images() == {image}

    async def test_a_store_belongs_to_one_cloud(self, store: ImageStore):
        own = uuid4()
        assert await store.owner() is None
        for _ in range(2):
            await store.claim(own)
            assert await store.owner() == own
        with pytest.raises(Refused, match=str(own)):
            await store.claim(uuid4())
        assert not await store.images()

    async def test_an_empty_image_can_be_written_but_not_used(self, store: ImageStore):
        image = uuid4()
        assert await store.write(image, stream(), max_bytes=1) == digests(b"")
        with pytest.raises(Refused, match=rf"image {image}.*empty"):
            await store.inspect(image)

    async def test_a_second_write_replaces_the_content(self, store: ImageStore, image: UUID):
        await store.path(image)
        await store.write(image, stream(b"new"), max_bytes=3)
        assert await gather(store.read(image)) == b"new"
        assert (await store.path(image)).read_bytes() == b"new"

    async def test_too_much_content_is_refused_and_leaves_nothing(self, store: ImageStore):
        with pytest.raises(Refused, match="allowed 10 bytes"):
            await store.write(uuid4(), stream(b"12345678", b"901"), max_bytes=10)
        assert not await store.images()

    async def test_a_broken_stream_leaves_nothing(self, store: ImageStore):
        async def broken() -> AsyncIterator[bytes]:
            yield bytes(2 * MIB)
            raise ConnectionError("gone")

        with pytest.raises(ConnectionError):
            await store.write(uuid4(), broken(), max_bytes=GIB)
        assert not await store.images()

    @pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 9, 30])
    async def test_a_cancelled_write_is_whole_or_nothing(self, store: ImageStore, turns: int):
        image = uuid4()
        await cancel_after(store.write(image, stream(*[bytes(MIB)] * 4), max_bytes=GIB), turns)
        if image in await store.images():
            assert len(await gather(store.read(image))) == 4 * MIB
        await store.write(image, stream(b"whole"), max_bytes=GIB)
        assert await gather(store.read(image)) == b"whole"

    async def test_a_finished_file_is_adopted_once(self, store: ImageStore, tmp_path: Path):
        image, source = uuid4(), tmp_path / "finished"
        source.write_bytes(self.CONTENT)
        for _ in range(2):
            assert await store.adopt(image, source) == digests(self.CONTENT)
        assert not source.exists()
        assert await gather(store.read(image)) == self.CONTENT

    async def test_deleting_may_be_repeated(self, store: ImageStore, image: UUID):
        for _ in range(2):
            await store.delete(image)
        assert not await store.images()

    @pytest.mark.parametrize(
        "call",
        [
            lambda store: store.inspect(uuid4()),
            lambda store: gather(store.read(uuid4())),
            lambda store: store.path(uuid4()),
            lambda store: store.adopt(uuid4(), Path("/nowhere/file")),
        ],
    )
    async def test_a_missing_image_is_missing(self, store: ImageStore, call: Callable):
        with pytest.raises(Missing):
            await call(store)

    async def test_an_image_is_what_its_content_says(self, store: ImageStore, tmp_path: Path):
        for format in ("qcow2", "vmdk", "vhdx", "vdi", "raw"):
            source, image = tmp_path / format, uuid4()
            run("qemu-img", "create", "-q", "-f", format, source, "16M")
            await store.adopt(image, source)
            found = await store.inspect(image)
            assert (found.format, found.virtual_bytes) == (format, 16 * MIB)

    async def test_a_reference_to_another_file_is_refused(self, store: ImageStore, tmp_path: Path):
        image, source = uuid4(), tmp_path / "thief"
        command = [
            "qemu-img",
            "create",
            "-q",
            "-f",
            "qcow2",
            "-u",
            "-b",
            "/etc/shadow",
            "-F",
            "raw",
            source,
            "1M",
        ]
        run(*command)
        await store.adopt(image, source)
        with pytest.raises(Refused, match=rf"image {image}: the qcow2 image has a backing file"):
            await store.inspect(image)

    async def test_a_huge_virtual_size_is_refused(self, store: ImageStore, tmp_path: Path):
        image, source = uuid4(), tmp_path / "bomb"
        run("qemu-img", "create", "-q", "-f", "qcow2", source, "9G")
        await store.adopt(image, source)
        with pytest.raises(Refused, match="limit"):
            await store.inspect(image)


def drive_files(path: Path) -> dict[str, bytes]:
    """What a guest would see on a config drive."""
    disc = pycdlib.PyCdlib()
    disc.open(str(path))
    found = {}
    try:
        for folder, _, names in disc.walk(rr_path="/"):
            for name in names:
                content, place = BytesIO(), f"{folder.rstrip('/')}/{name}"
                disc.get_file_from_iso_fp(content, rr_path=place)
                found[place.lstrip("/")] = content.getvalue()
    finally:
        disc.close()
    return found


def verbs(protocol: type) -> list[str]:
    return [name for name, value in vars(protocol).items() if inspect.isfunction(value) and name[0] != "_"]
