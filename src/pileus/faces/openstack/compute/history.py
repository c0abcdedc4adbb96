"""Instance actions: what was done to a server, also after it is gone (from 2.21 on)."""

from typing import Any
from uuid import UUID

from pileus.core.compute import history
from pileus.core.errors import Invalid
from pileus.core.operations import Operation, Outcome
from pileus.faces.openstack.compute.server_filters import moment, one_number
from pileus.faces.openstack.compute.service import MAX_LIMIT, service
from pileus.faces.openstack.wire import SECONDS, hex_id
from pileus.faces.wire import Request, page

NAMES = {
    "server.deploy": "create",
    "server.reboot_hard": "reboot",
    "server.destroy": "delete",
    "server.recover": "restore",
    "volume.attach": "attach_volume",
    "volume.detach": "detach_volume",
    "volume.extend": "extend_volume",
    "server.attach_nic": "attach_interface",
    "server.detach_nic": "detach_interface",
}


def name(operation: Operation) -> str:
    return NAMES.get(operation.workflow, operation.workflow.partition(".")[2])


def stamp(at: Any) -> str | None:
    return f"{at.strftime(SECONDS)}.{at.microsecond:06d}" if at is not None else None


def view(request: Request, server: UUID, operation: Operation) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "action": name(operation),
        "instance_uuid": str(server),
        "request_id": operation.request or f"req-{operation.id}",
        "user_id": hex_id(operation.user),
        "project_id": hex_id(operation.project),
        "start_time": stamp(operation.created_at),
        "message": "Error" if failed(operation) else None,
    }
    if request.version >= (2, 58):
        shown["updated_at"] = stamp(operation.finished_at or operation.started_at or operation.created_at)
    return shown


def failed(operation: Operation) -> bool:
    return operation.outcome not in (Outcome.RUNNING, Outcome.DONE)


@service.operation(
    "GET", "/servers/{server}/os-instance-actions", policy="os_compute_api:os-instance-actions:list"
)
async def actions(request: Request, server: UUID) -> dict[str, Any]:
    found = await history.of_server(request.cloud, request.caller, server, deleted=request.version >= (2, 21))
    if request.version < (2, 58):
        return {"instanceActions": [view(request, server, operation) for operation in found]}
    given = dict(request.query)
    allowed = {"limit", "marker", "changes-since"} | (
        {"changes-before"} if request.version >= (2, 66) else set()
    )
    for parameter in given.keys() - allowed:
        raise Invalid(
            f"Invalid input for query parameters. Additional properties are not allowed ('{parameter}' was unexpected)"
        )
    since, before = moment(given, "changes-since"), moment(given, "changes-before")
    if since and before and before < since:
        raise Invalid("The value of changes-since must be less than or equal to changes-before.")
    found = [
        operation
        for operation in found
        if (since is None or changed(operation) >= since) and (before is None or changed(operation) <= before)
    ]
    cut = page(
        request,
        found,
        one_number(request, "limit"),
        MAX_LIMIT,
        key=lambda operation: operation.request,
        marker=given.get("marker"),
    )
    return {
        "instanceActions": [view(request, server, operation) for operation in cut.items],
        **({"links": [{"rel": "next", "href": cut.next}]} if cut.next else {}),
    }


def changed(operation: Operation) -> Any:
    return operation.finished_at or operation.started_at or operation.created_at


@service.operation(
    "GET", "/servers/{server}/os-instance-actions/{action}", policy="os_compute_api:os-instance-actions:show"
)
async def action(request: Request, server: UUID, action: str) -> dict[str, Any]:
    found = await history.one(
        request.cloud, request.caller, server, action, deleted=request.version >= (2, 21)
    )
    shown = view(request, server, found[0])
    may_see = request.allowed("os_compute_api:os-instance-actions:events")
    if may_see or request.version >= (2, 51):
        shown["events"] = [event(request, operation, may_see) for operation in found]
    return {"instanceAction": shown}


def event(request: Request, operation: Operation, all_of_it: bool) -> dict[str, Any]:
    result = {Outcome.DONE: "Success", Outcome.RUNNING: None}.get(operation.outcome, "Error")
    shown: dict[str, Any] = {
        "event": f"compute_{name(operation)}",
        "start_time": stamp(operation.started_at or operation.created_at),
        "finish_time": stamp(operation.finished_at),
        "result": result,
    }
    if all_of_it:
        shown["traceback"] = None
    if request.version >= (2, 62):
        shown["hostId"] = ""
        if all_of_it:
            shown["host"] = None
    if request.version >= (2, 84):
        shown["details"] = operation.fault or None
    return shown
