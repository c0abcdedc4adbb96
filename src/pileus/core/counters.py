"""Named sequences of integers that roll back with their transaction, so they have no gaps."""

from pileus.store import Record, Transaction, table


@table("counter", key=("name",))
class Counter(Record):
    name: str
    value: int


async def following(tx: Transaction, name: str) -> int:
    """The next integer of the sequence, from 1."""
    counter = await tx.get(Counter, name)
    value = (counter.value if counter else 0) + 1
    await tx.put(Counter(name=name, value=value))
    return value
