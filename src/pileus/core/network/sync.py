"""The start of the work that makes the platform equal to the records; one waiting run serves every change before it."""

from datetime import timedelta
from uuid import UUID

import msgspec

from pileus.core.cloud import Tx, kind_of
from pileus.core.operations import Operation, Outcome
from pileus.store import Record

WORKFLOW = {
    "network": "network.sync",
    "port": "port.sync",
    "router": "router.sync",
    "security_group": "group.sync",
    "address": "address.sync",
    "forwarding": "forwarding.sync",
    "firewall_rule": "firewall.sync",
}
"""By the subject's table. Each applies the subject itself (where a driver knows its kind) and all that it touched."""


class Touched(msgspec.Struct, frozen=True, kw_only=True):
    """What else must be applied, or removed where its record is gone."""

    groups: tuple[UUID, ...] = ()
    networks: tuple[UUID, ...] = ()
    routers: tuple[UUID, ...] = ()
    ports: tuple[UUID, ...] = ()


NOTHING = Touched()
SOON = timedelta(seconds=1)
"""A run that rests, or waits for its platform, is due by then when something new is to be applied."""


async def sync(
    tx: Tx,
    subject: Record,
    touched: Touched = NOTHING,
    *,
    key: UUID | None = None,
    command: str = "",
    own: bool = False,
) -> Operation:
    """Start the subject's sync, or return the one that waits for its turn. `own`: the caller needs one of its own."""
    workflow = WORKFLOW[kind_of(type(subject))]
    if not own and (waiting := await _waiting(tx, workflow, subject, touched, key)) is not None:
        return waiting
    return await tx.start(workflow, subject=subject, want=touched, key=key, command=command)


async def _waiting(
    tx: Tx, workflow: str, subject: Record, touched: Touched, key: UUID | None
) -> Operation | None:
    """A run that no worker has begun; touching its row keeps a worker from claiming it before our commit."""
    subject_id: UUID = subject.id  # type: ignore[attr-defined]
    found = await tx.list(
        Operation,
        key=key or subject_id,
        subject=subject_id,
        workflow=workflow,
        outcome=Outcome.RUNNING,
        owner="",
        cancelled=False,
    )
    want = msgspec.json.encode(touched)
    for operation in found:
        if operation.want == want and not operation.done:
            held = {"id": operation.id, "owner": "", "outcome": Outcome.RUNNING, "cancelled": False}
            soon = min(operation.wake_at, tx.cloud.now() + SOON)
            if await tx.rows.update_where(Operation, {"wake_at": soon}, **held):
                tx.rows.after_commit(lambda: tx.cloud.on_operation())
                return operation
    return None
