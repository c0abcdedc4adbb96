"""What is asked of a key-value store. The core has the same protocol as its own (`pileus.core.keyvalue`)."""

from typing import Protocol


class KeyValue(Protocol):
    """Keys are text of letters, digits and `. _ - / =`. Every verb may be repeated; each raises Unreachable."""

    async def get(self, key: str) -> bytes | None:
        """None when there is none, or its time is over."""

    async def put(self, key: str, value: bytes, seconds: int) -> None:
        """Keep it for so long, in place of what was there."""

    async def delete(self, key: str) -> None:
        """Also when there is none."""

    async def close(self) -> None: ...
