"""Sees that a transaction on PostgreSQL waits for another one."""

import asyncio

from pileus.store import Store

DEADLINE = 30.0
WAITS = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


async def blocked(store: Store) -> None:
    """Return when some session of the database waits for a lock."""
    while True:
        async with store.view() as look:
            (found,) = await look.ask(WAITS, (), lambda row: int(row[0]))
        if found:
            return
        await asyncio.sleep(0.01)
