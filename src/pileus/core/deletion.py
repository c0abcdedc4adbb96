"""What every delete has in common: what is being done to the object is called off, and whoever asks twice is answered
twice with the same operation."""

from typing import Any

from pileus.core.cloud import DELETED, Look, Tx
from pileus.core.operations import LIVE, Accepted, Operation

DELETING = "deleting"
"""The word of every kind of record for it."""


async def under_way(look: Look, record: Any) -> Operation | None:
    """The live operation that the record names."""
    named = await look.maybe(Operation, record.operation) if record.operation else None
    return named if named is not None and named.outcome in LIVE else None


async def call_off(tx: Tx, operation: Operation) -> None:
    """It unwinds before its next step; may be repeated."""
    ends = {"cancelled": True, "cancel_reason": DELETED, "wake_at": tx.cloud.now()}
    await tx.rows.update_where(Operation, ends, id=operation.id)
    tx.rows.after_commit(lambda: tx.cloud.on_operation())


async def again(tx: Tx, record: Any) -> Accepted | None:
    """The answer to a second delete: the first one, which tries at once what it was waiting for."""
    running = await under_way(tx, record) if record.state == DELETING else None
    if running is None:
        return None
    await wake(tx, running)
    return Accepted(record, running)


async def wake(tx: Tx, operation: Operation) -> None:
    """What it waits for is looked at now."""
    await tx.rows.update_where(Operation, {"wake_at": tx.cloud.now()}, id=operation.id, owner="")
    tx.rows.after_commit(lambda: tx.cloud.on_operation())
