"""What every key-value store must do. The fake runs it always; Redis and NATS with their real servers."""

import asyncio

from pileus.drivers.keyvalue.protocol import KeyValue

KEY = "token/abc_DEF-123="


class KeyValueConformance:
    """`self.store`: an empty one; `self.later(seconds)` waits until so much time has passed for it."""

    store: KeyValue

    async def later(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def test_a_value_is_found_and_replaced(self) -> None:
        assert await self.store.get(KEY) is None
        await self.store.put(KEY, b"\x00one\xff", 60)
        assert await self.store.get(KEY) == b"\x00one\xff"
        await self.store.put(KEY, b"", 60)
        assert await self.store.get(KEY) == b""
        assert await self.store.get(KEY + "x") is None

    async def test_a_deleted_value_is_gone_and_may_be_deleted_again(self) -> None:
        await self.store.put(KEY, b"one", 60)
        await self.store.delete(KEY)
        await self.store.delete(KEY)
        assert await self.store.get(KEY) is None
        await self.store.put(KEY, b"two", 60)
        assert await self.store.get(KEY) == b"two"

    async def test_a_value_ends_after_its_time(self) -> None:
        await self.store.put(KEY, b"short", 1)
        await self.store.put(KEY + "2", b"long", 60)
        await self.later(1.1)
        assert await self.store.get(KEY) is None
        assert await self.store.get(KEY + "2") == b"long"

    async def test_many_at_once(self) -> None:
        await asyncio.gather(*(self.store.put(f"k/{n}", str(n).encode(), 60) for n in range(100)))
        found = await asyncio.gather(*(self.store.get(f"k/{n}") for n in range(100)))
        assert found == [str(n).encode() for n in range(100)]
