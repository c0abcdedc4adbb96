"""Long work, as operators and the dashboard see it."""

from typing import Any
from uuid import UUID

from pileus.core import work
from pileus.core.operations import Operation
from pileus.faces.console.service import SERVICE
from pileus.faces.wire import Request


def view(operation: Operation) -> dict[str, Any]:
    return {
        "id": operation.id,
        "workflow": operation.workflow,
        "kind": operation.kind,
        "subject": operation.subject,
        "project": operation.project,
        "user": operation.user,
        "request": operation.request,
        "face": operation.face,
        "command": operation.command,
        "outcome": operation.outcome,
        "step": operation.step,
        "why": operation.why,
        "fault": operation.fault,
        "tries": operation.tries,
        "created_at": operation.created_at,
        "started_at": operation.started_at,
        "finished_at": operation.finished_at,
    }


@SERVICE.operation("GET", "/operations/{operation}", policy="console:operations:read")
async def show(request: Request, operation: UUID) -> dict[str, Any]:
    return {"operation": view(await work.show(request.cloud, request.caller, operation))}
