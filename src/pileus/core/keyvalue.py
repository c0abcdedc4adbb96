"""A key-value store beside the database: what the cloud has when `token_store` or `catalogue_store` is configured."""

from typing import Protocol


class KeyValue(Protocol):
    """Every verb may be repeated; each raises Unavailable when the store does not answer."""

    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, value: bytes, seconds: int) -> None: ...

    async def delete(self, key: str) -> None: ...

    async def close(self) -> None: ...
