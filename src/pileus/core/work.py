"""Operations as those see them who asked for the work, and those who run the cloud: shown, called off, woken."""

from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Conflict, NotFound
from pileus.core.operations import LASTING, LIVE, Operation, Outcome
from pileus.store import lt


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which operations. `project` None: the caller's own, of everybody for administrators. `before`: the sequence
    number of the last one seen."""

    subject: UUID | None = None
    project: UUID | None = None
    workflow: str = ""
    outcomes: tuple[Outcome, ...] = ()
    before: int | None = None
    limit: int = 100


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Operation:
    """Raises NotFound for what the caller may not see; what belongs to no project is for administrators."""
    async with cloud.view() as look:
        return await _find(look, caller, key, "operation.read")


async def several(cloud: Cloud, caller: Caller, wanted: Wanted) -> list[Operation]:
    """Newest first. Raises Forbidden for another's project."""
    equals: dict[str, object] = {}
    project = wanted.project or (None if caller.admin else caller.home)
    if project is not None:
        caller.require("operation.read", project=project)
        equals["project"] = project
    if wanted.subject is not None:
        equals["subject"] = wanted.subject
    if wanted.workflow:
        equals["workflow"] = wanted.workflow
    if wanted.outcomes:
        equals["outcome"] = wanted.outcomes
    where = () if wanted.before is None else (lt("sequence", wanted.before),)
    async with cloud.view() as look:
        return await look.list(Operation, *where, order=("-sequence",), limit=wanted.limit, **equals)


async def cancel(cloud: Cloud, caller: Caller, key: UUID) -> Operation:
    """Ask for the end: before its next step it unwinds. Repeating is fine, also while it unwinds already.

    Raises Conflict for one that has ended, or whose workflow goes on to its end once it was accepted.
    """
    async with cloud.transaction(caller) as tx:
        held = await _find(tx, caller, key, "operation.cancel")
        _must_live(held, "cancelled")
        if held.cancelled or held.outcome is not Outcome.RUNNING:
            return held
        if held.workflow in LASTING:
            raise Conflict(
                f"Operation {key} ({held.workflow}) cannot be cancelled: what it does cannot be taken back, "
                "so it goes on to its end."
            )
        reason = f"It was cancelled by {caller.user_name or caller.user}."
        changes = {"cancelled": True, "cancel_reason": reason, "wake_at": cloud.now()}
        await tx.rows.update_where(Operation, changes, id=key)
        tx.rows.after_commit(lambda: cloud.on_operation())
        return msgspec.structs.replace(held, **changes)


async def retry(cloud: Cloud, caller: Caller, key: UUID) -> Operation:
    """Wake an operation that waits, or whose undo does not succeed: it is tried now, not at the end of its pause.
    One that is at work is left alone. Raises Conflict for one that has ended."""
    async with cloud.transaction(caller) as tx:
        held = await _find(tx, caller, key, "operation.retry")
        _must_live(held, "tried again")
        if held.owner:
            return held
        changes = {"wake_at": cloud.now()}
        await tx.rows.update_where(Operation, changes, id=key)
        tx.rows.after_commit(lambda: cloud.on_operation())
        return msgspec.structs.replace(held, **changes)


async def _find(look: Look, caller: Caller, key: UUID, verb: str) -> Operation:
    found = await look.maybe(Operation, key)
    if found is None or not (caller.admin or (found.project is not None and caller.sees(found.project))):
        raise NotFound("Operation", key)
    if found.project is not None:
        caller.require(verb, project=found.project)
    return found


def _must_live(operation: Operation, what: str) -> None:
    if operation.outcome not in LIVE:
        fault = f", because: {operation.fault}" if operation.fault else ""
        raise Conflict(
            f"Operation {operation.id} cannot be {what}: it has ended, {operation.outcome.value}{fault}"
            + ("" if fault.endswith(".") else ".")
        )
