"""The key-value stores that the configuration names, as the core wants them."""

from collections.abc import Awaitable
from typing import TypeVar

from pileus.core.cloud import Cloud
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


def attach(cloud: Cloud) -> list[KeyValue]:
    """Give the cloud the stores that its configuration names; what is to be closed at the end. Raises ValueError for an
    address of another kind."""
    config = cloud.config
    opened: dict[str, KeyValue] = {}
    for name in ("token_store", "catalogue_store"):
        url: str = getattr(config, name)
        if url and url not in opened:
            opened[url] = Store(driver(name, url))
    cloud.keyvalue = opened.get(config.token_store)
    cloud.catalogue_store = opened.get(config.catalogue_store)
    return list(opened.values())


def driver(name: str, url: str) -> Driver:
    kind = url.partition("://")[0]
    if kind in ("redis", "rediss", "unix"):
        from pileus.drivers.keyvalue.redis import RedisStore

        return RedisStore(url)
    if kind in ("nats", "tls"):
        from pileus.drivers.keyvalue.nats import NatsStore

        return NatsStore(url)
    raise ValueError(f"{name} is redis://, rediss://, unix://, nats:// or tls:// and an address")
