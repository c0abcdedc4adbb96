"""Redis (or Valkey): one connection pool; every key of ours begins with `pileus/`, so the database may be shared."""

from collections.abc import Awaitable
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from pileus.drivers.errors import Unreachable

T = TypeVar("T")
PREFIX = "pileus/"
SECONDS = 5.0
"""For connecting, and for each answer."""


class RedisStore:
    """`url`: redis://[[user]:password@]host[:port][/database], rediss:// for TLS, unix:// for a socket."""

    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(url, socket_timeout=SECONDS, socket_connect_timeout=SECONDS)

    async def get(self, key: str) -> bytes | None:
        found = await told(self._redis.get(PREFIX + key))
        return found.encode() if isinstance(found, str) else found

    async def put(self, key: str, value: bytes, seconds: int) -> None:
        await told(self._redis.set(PREFIX + key, value, ex=seconds))

    async def delete(self, key: str) -> None:
        await told(self._redis.delete(PREFIX + key))

    async def close(self) -> None:
        await self._redis.aclose()


async def told(asking: Awaitable[T]) -> T:
    """The answer. Raises Unreachable, without the address, which may hold a password."""
    try:
        return await asking
    except (RedisError, OSError) as error:
        raise Unreachable(f"the Redis server does not answer: {type(error).__name__}") from error
