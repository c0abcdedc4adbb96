"""Long work, as operators and the dashboard see it."""

from typing import Annotated, Any
from uuid import UUID

import msgspec

from pileus import tracing
from pileus.core import work
from pileus.core.operations import LASTING, LIVE, Operation, Outcome, Taken
from pileus.faces.console.service import SERVICE
from pileus.faces.wire import Request
from pileus.faces.wire.paging import link, window
from pileus.workflows.engine import WORKFLOWS
from pileus.workflows.timeline import Line, lines

MOST = 500
"""Operations on one page."""


class OperationQuery(msgspec.Struct, frozen=True, kw_only=True):
    """`before`: the sequence number of the last operation of the page before."""

    subject: UUID | None = None
    project: UUID | None = None
    workflow: str = ""
    outcome: Outcome | None = None
    live: bool = False
    before: Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] | None = None


def view(operation: Operation) -> dict[str, Any]:
    trace = tracing.parse(operation.trace)
    return {
        "id": operation.id,
        "sequence": operation.sequence,
        "workflow": operation.workflow,
        "kind": operation.kind,
        "subject": operation.subject,
        "project": operation.project,
        "user": operation.user,
        "request": operation.request,
        "trace": trace.trace if trace else "",
        "face": operation.face,
        "command": operation.command,
        "outcome": operation.outcome,
        "cancelled": operation.cancelled,
        "cancellable": operation.outcome in LIVE and operation.workflow not in LASTING,
        "step": operation.step,
        "why": operation.why,
        "fault": operation.fault,
        "tries": operation.tries,
        "at_work": bool(operation.owner),
        "wake_at": operation.wake_at if operation.outcome in LIVE and not operation.owner else None,
        "created_at": operation.created_at,
        "started_at": operation.started_at,
        "finished_at": operation.finished_at,
    }


def detailed(operation: Operation) -> dict[str, Any]:
    """With every step of its workflow: done, at hand, undone, or still ahead."""
    workflow = WORKFLOWS.get(operation.workflow)
    names = [step.name for step in workflow.steps] if workflow else []
    return {"operation": view(operation) | {"steps": [step(each) for each in lines(names, operation)]}}


def step(line: Line) -> dict[str, Any]:
    return {
        "name": line.step,
        "state": line.mark,
        "at": line.at,
        "ms": line.ms,
        "tries": line.tries,
        "why": line.why,
        "fault": line.fault,
        "undo": undo(line.undo) if line.undo else None,
    }


def undo(taken: Taken) -> dict[str, Any]:
    return {"at": taken.at, "ms": taken.ms, "tries": taken.tries, "fault": taken.fault}


@SERVICE.operation("GET", "/operations", policy="console:operations:read", query=OperationQuery)
async def list_all(request: Request, query: OperationQuery) -> dict[str, Any]:
    outcomes = (query.outcome,) if query.outcome else tuple(sorted(LIVE)) if query.live else ()
    size = window(query.limit, MOST)
    wanted = work.Wanted(
        subject=query.subject,
        project=query.project,
        workflow=query.workflow,
        outcomes=outcomes,
        before=query.before,
        limit=size + 1,
    )
    found = await work.several(request.cloud, request.caller, wanted)
    shown = found[:size]
    more = {"before": str(shown[-1].sequence), "limit": str(size)} if len(found) > size else None
    return {"operations": [view(each) for each in shown], "next": link(request, more) if more else None}


@SERVICE.operation("GET", "/operations/{operation}", policy="console:operations:read")
async def show(request: Request, operation: UUID) -> dict[str, Any]:
    return detailed(await work.show(request.cloud, request.caller, operation))


@SERVICE.operation("POST", "/operations/{operation}/cancel", policy="console:operations:cancel", status=202)
async def cancel(request: Request, operation: UUID) -> dict[str, Any]:
    """The answer shows the operation as it is now: it ends when what it did is undone."""
    return detailed(await work.cancel(request.cloud, request.caller, operation))


@SERVICE.operation("POST", "/operations/{operation}/retry", policy="console:operations:retry", status=202)
async def retry(request: Request, operation: UUID) -> dict[str, Any]:
    return detailed(await work.retry(request.cloud, request.caller, operation))
