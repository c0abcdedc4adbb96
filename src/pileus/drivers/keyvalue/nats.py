"""A bucket of NATS JetStream. How long a value is good is kept with it; the bucket forgets all after its own time."""

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import nats
from nats.aio.client import Client
from nats.errors import Error
from nats.js.api import KeyValueConfig
from nats.js.errors import BucketNotFoundError, KeyDeletedError, KeyNotFoundError
from nats.js.kv import KeyValue

from pileus.drivers.errors import Unreachable

T = TypeVar("T")
BUCKET = "pileus"
END = struct.Struct(">d")
SECONDS = 5.0
LONGEST = 7 * 86_400
"""Seconds after which a bucket that we make forgets any value."""


class NatsStore:
    """`url`: nats://[user:password@]host[:port][/bucket], tls:// for TLS; the bucket is made when it is missing."""

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        place, _, bucket = url.partition("://")[2].partition("/")
        self._server = f"{url.partition('://')[0]}://{place}"
        self._bucket = bucket or BUCKET
        self._clock = clock
        self._client: Client | None = None
        self._opening: asyncio.Task[KeyValue] | None = None

    async def get(self, key: str) -> bytes | None:
        try:
            entry = await told((await self._opened()).get(key))
        except (KeyNotFoundError, KeyDeletedError):
            return None
        value = entry.value or b""
        if len(value) < END.size or END.unpack_from(value)[0] <= self._clock():
            return None
        return value[END.size :]

    async def put(self, key: str, value: bytes, seconds: int) -> None:
        await told((await self._opened()).put(key, END.pack(self._clock() + seconds) + value))

    async def delete(self, key: str) -> None:
        await told((await self._opened()).purge(key))

    async def close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
            self._opening = None
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _opened(self) -> KeyValue:
        """The bucket. It is opened once: whoever gives up waiting for that leaves it to the others, and no connection
        behind."""
        task = self._opening
        if task is None or (task.done() and (task.cancelled() or task.exception())):
            task = self._opening = asyncio.create_task(self._open())
            task.add_done_callback(
                lambda done: done.cancelled() or done.exception()
            )  # may be nobody's any more
        return await asyncio.shield(task)

    async def _open(self) -> KeyValue:
        if self._client is None:  # it connects again by itself
            self._client = await told(
                nats.connect(
                    self._server, connect_timeout=int(SECONDS), max_reconnect_attempts=-1, error_cb=quiet
                )
            )
        stream = self._client.jetstream(timeout=SECONDS)
        try:
            return await told(stream.key_value(self._bucket))
        except BucketNotFoundError:
            wanted = KeyValueConfig(bucket=self._bucket, ttl=LONGEST)
            return await told(stream.create_key_value(wanted))


async def quiet(error: Exception) -> None:
    """What goes wrong is told by the call that it goes wrong for."""


async def told(asking: Awaitable[T]) -> T:
    """The answer. Raises Unreachable, without the address, which may hold a password."""
    try:
        return await asking
    except (KeyNotFoundError, BucketNotFoundError, KeyDeletedError):
        raise
    except (Error, OSError, TimeoutError) as error:
        raise Unreachable(f"the NATS server does not answer: {type(error).__name__}") from error
