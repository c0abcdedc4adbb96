"""Named sequences of integers that roll back with their transaction, so they have no gaps."""

from contextlib import suppress

from pileus.store import Duplicate, Record, Transaction, table


@table("counter", key=("name",))
class Counter(Record):
    name: str
    value: int


async def following(tx: Transaction, name: str, *, least: int = 1) -> int:
    """The next integer of the sequence, and not below `least`. Transactions that ask for one get theirs in turn."""
    while True:
        held = await tx.get(Counter, name)  # locks the row until the end
        value = max(held.value + 1 if held else 1, least)
        if held is not None:
            await tx.update(Counter(name=name, value=value))
            return value
        # There is no row to lock before the first number: who comes second waits here for the first, then sees its row.
        with suppress(Duplicate):
            await tx.insert(Counter(name=name, value=value))
            return value
