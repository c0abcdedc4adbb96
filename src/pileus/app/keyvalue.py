"""The key-value store that the configuration names, as the core wants it."""

from collections.abc import Awaitable
from typing import TypeVar

from pileus.config import Config
from pileus.core.errors import Unavailable
from pileus.core.keyvalue import KeyValue
from pileus.drivers.errors import DriverError
from pileus.drivers.keyvalue.protocol import KeyValue as Driver

T = TypeVar("T")


class Store:
    """A driver whose errors are the core's."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def get(self, key: str) -> bytes | None:
        return await told(self._driver.get(key))

    async def put(self, key: str, value: bytes, seconds: int) -> None:
        await told(self._driver.put(key, value, seconds))

    async def delete(self, key: str) -> None:
        await told(self._driver.delete(key))

    async def close(self) -> None:
        await self._driver.close()


async def told(asking: Awaitable[T]) -> T:
    try:
        return await asking
    except DriverError as error:
        raise Unavailable(
            "The store of tokens does not answer; try again soon.", private=str(error)
        ) from error


def opened(config: Config) -> KeyValue | None:
    """None where none is configured. Raises ValueError for an address of another kind."""
    kind = config.token_store.partition("://")[0]
    if not config.token_store:
        return None
    if kind in ("redis", "rediss", "unix"):
        from pileus.drivers.keyvalue.redis import RedisStore

        return Store(RedisStore(config.token_store))
    if kind in ("nats", "tls"):
        from pileus.drivers.keyvalue.nats import NatsStore

        return Store(NatsStore(config.token_store))
    raise ValueError("token_store is redis://, rediss://, unix://, nats:// or tls:// and an address")
