from uuid import UUID, uuid4

import pytest

from pileus.drivers.errors import Missing, Unreachable
from pileus.drivers.volume.fake import MemoryImages, MemoryPool
from pileus.drivers.volume.protocol import ImageStore, Pool
from tests.conformance.volume import (
    SPOT,
    Bench,
    ImageStoreConformance,
    PoolConformance,
    gather,
    stream,
    verbs,
)


class MemoryBench(Bench):
    def __init__(self) -> None:
        self.pool: MemoryPool = MemoryPool()

    def write(self, volume: UUID, pattern: int, offset: int = 0) -> None:
        self.pool.disks[volume].write(offset, bytes([pattern]) * SPOT)

    def holds(self, volume: UUID, pattern: int, offset: int = 0) -> bool:
        disk = self.pool.disks[volume]
        inside = offset + SPOT <= disk.virtual_bytes
        return inside and disk.read(offset, SPOT) == bytes([pattern]) * SPOT


class TestMemoryPool(PoolConformance):
    @pytest.fixture
    def bench(self) -> Bench:
        return MemoryBench()


class TestMemoryImages(ImageStoreConformance):
    @pytest.fixture
    def store(self) -> ImageStore:
        return MemoryImages(max_virtual_bytes=8 << 30)


@pytest.mark.parametrize("call", verbs(Pool))
def test_every_call_of_a_pool_can_fail(call: str):
    MemoryPool().fail(call, Unreachable("injected"))


@pytest.mark.parametrize("call", verbs(ImageStore))
def test_every_call_of_an_image_store_can_fail(call: str):
    MemoryImages().fail(call, Unreachable("injected"))


async def test_a_fault_strikes_as_often_as_told():
    pool, volume = MemoryPool(), uuid4()
    pool.fail("create", Unreachable("injected"), times=2)
    for _ in range(2):
        with pytest.raises(Unreachable, match="injected"):
            await pool.create(volume, 1)
    assert not await pool.volumes()
    await pool.create(volume, 1)
    assert set(await pool.volumes()) == {volume}


async def test_a_fault_after_the_call_leaves_its_effect():
    pool, images, volume, image = MemoryPool(), MemoryImages(), uuid4(), uuid4()
    pool.fail("create", Unreachable("injected"), when="after")
    images.fail("write", Unreachable("injected"), when="after")
    with pytest.raises(Unreachable):
        await pool.create(volume, 1)
    with pytest.raises(Unreachable):
        await images.write(image, stream(b"x"), max_bytes=1)
    assert set(await pool.volumes()) == {volume}
    assert await gather(images.read(image)) == b"x"


def test_a_fault_for_an_unknown_call_is_an_error():
    with pytest.raises(ValueError, match="explode is no call"):
        MemoryPool().fail("explode", Missing("x"))
