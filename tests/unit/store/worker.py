"""A process of its own that writes to a database until it is done, or killed: `worker.py URL write | count N`."""

import asyncio
import sys
from itertools import count
from uuid import uuid4

import msgspec

from pileus.store import Record, Registry, Store, open_store, table

REGISTRY = Registry()


@table("counter", registry=REGISTRY)
class Counter(Record):
    id: str
    count: int = 0
    note: str | None = None


@table("grant", key=("user", "role"), registry=REGISTRY)
class Grant(Record):
    user: str
    role: str


async def write(store: Store) -> None:
    """Two rows a transaction; the id is printed when the commit has returned."""
    for _ in count():
        key = str(uuid4())
        async with store.transaction() as tx:
            await tx.insert(Counter(id=key))
            await asyncio.sleep(0)
            await tx.insert(Grant(user=key, role="pair"))
        print(key, flush=True)


async def add(store: Store, times: int) -> None:
    for _ in range(times):
        async with store.transaction() as tx:
            counter = await tx.get(Counter, "shared")
            assert counter is not None
            await asyncio.sleep(0)
            await tx.update(msgspec.structs.replace(counter, count=counter.count + 1))


async def main(url: str, verb: str, *times: str) -> None:
    store = await open_store(url)
    if verb == "write":
        await asyncio.gather(*(write(store) for _ in range(8)))
    else:
        await add(store, int(times[0]))
    await store.close()


asyncio.run(main(*sys.argv[1:]))
