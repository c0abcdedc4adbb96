"""A store in memory: for tests."""

import time
from collections.abc import Callable


class MemoryStore:
    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, tuple[bytes, float]] = {}

    async def get(self, key: str) -> bytes | None:
        value, end = self._held.get(key, (None, 0.0))
        return value if end > self._clock() else None

    async def put(self, key: str, value: bytes, seconds: int) -> None:
        self._held[key] = (value, self._clock() + seconds)

    async def delete(self, key: str) -> None:
        self._held.pop(key, None)

    async def close(self) -> None:
        self._held.clear()
