"""Named sequences of integers that roll back with their transaction, so they have no gaps."""

from pileus.store import Record, Transaction, table


@table("counter", key=("name",))
class Counter(Record):
    name: str
    value: int


async def following(tx: Transaction, name: str, *, least: int = 1) -> int:
    """The next integer of the sequence, and not below `least`. Transactions that ask for one get theirs in turn."""
    held = await tx.get_or_insert(Counter(name=name, value=0))
    value = max(held.value + 1, least)
    await tx.update(Counter(name=name, value=value))
    return value
