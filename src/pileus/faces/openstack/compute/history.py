"""Instance actions: what was done to a server, also after it is gone (from 2.21 on), and step by step how it went."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.compute import history
from pileus.core.compute.records import Host
from pileus.core.errors import Invalid, NotFound
from pileus.core.operations import Operation, Outcome, Taken
from pileus.faces.openstack.compute.server_filters import moment, one_number
from pileus.faces.openstack.compute.server_view import host_id
from pileus.faces.openstack.compute.service import MAX_LIMIT, service
from pileus.faces.openstack.wire import SECONDS, hex_id
from pileus.faces.wire import Request, page
from pileus.workflows.engine import WORKFLOWS

ACTIONS = "os_compute_api:os-instance-actions"
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


class Action(msgspec.Struct, frozen=True):
    """What one request did to a server: its operations, the first one first."""

    request: str
    operations: tuple[Operation, ...]

    @property
    def first(self) -> Operation:
        return self.operations[0]

    @property
    def changed_at(self) -> datetime:
        return max(changed(operation) for operation in self.operations)


def actions_of(operations: Sequence[Operation]) -> list[Action]:
    """By request, in the order of the operations, which are the newest first."""
    found: dict[str, list[Operation]] = {}
    for operation in operations:
        found.setdefault(operation.request or f"req-{operation.id}", []).append(operation)
    return [Action(request, tuple(reversed(own))) for request, own in found.items()]


def name(operation: Operation) -> str:
    return NAMES.get(operation.workflow, operation.workflow.partition(".")[2])


def stamp(at: datetime | None) -> str | None:
    return f"{at.strftime(SECONDS)}.{at.microsecond:06d}" if at is not None else None


def changed(operation: Operation) -> datetime:
    """When its last step ended."""
    ends = [end(entry) for entry in operation.taken]
    return operation.finished_at or max(ends, default=operation.started_at or operation.created_at)


def end(entry: Taken) -> datetime:
    return entry.at + timedelta(milliseconds=entry.ms)


def failed(operation: Operation) -> bool:
    return operation.outcome not in (Outcome.RUNNING, Outcome.DONE)


def view(request: Request, server: UUID, action: Action) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "action": name(action.first),
        "instance_uuid": str(server),
        "request_id": action.request,
        "user_id": hex_id(action.first.user),
        "project_id": hex_id(action.first.project),
        "start_time": stamp(action.first.created_at),
        "message": "Error" if any(map(failed, action.operations)) else None,
    }
    if request.version >= (2, 58):
        shown["updated_at"] = stamp(action.changed_at)
    return shown


@service.operation("GET", "/servers/{server}/os-instance-actions", policy=f"{ACTIONS}:list")
async def actions(request: Request, server: UUID) -> dict[str, Any]:
    deleted = request.version >= (2, 21)
    found = actions_of(await history.of_server(request.cloud, request.caller, server, deleted=deleted))
    if request.version < (2, 58):
        return {"instanceActions": [view(request, server, action) for action in found]}
    since, before = period(request)
    found = [
        action
        for action in found
        if (since is None or action.changed_at >= since) and (before is None or action.changed_at <= before)
    ]
    limit, marker = one_number(request, "limit"), dict(request.query).get("marker")
    cut = page(request, found, limit, MAX_LIMIT, key=lambda action: action.request, marker=marker)
    return {
        "instanceActions": [view(request, server, action) for action in cut.items],
        **({"links": [{"rel": "next", "href": cut.next}]} if cut.next else {}),
    }


def period(request: Request) -> tuple[datetime | None, datetime | None]:
    """`changes-since` and `changes-before`. Raises Invalid for other parameters than the version has."""
    given = dict(request.query)
    allowed = {"limit", "marker", "changes-since"}
    if request.version >= (2, 66):
        allowed.add("changes-before")
    for parameter in given.keys() - allowed:
        raise Invalid(
            "Invalid input for query parameters. "
            f"Additional properties are not allowed ('{parameter}' was unexpected)"
        )
    since, before = moment(given, "changes-since"), moment(given, "changes-before")
    if since and before and before < since:
        raise Invalid("The value of changes-since must be less than or equal to changes-before.")
    return since, before


@service.operation("GET", "/servers/{server}/os-instance-actions/{action}", policy=f"{ACTIONS}:show")
async def action(request: Request, server: UUID, action: str) -> dict[str, Any]:
    deleted = request.version >= (2, 21)
    operations = await history.of_server(request.cloud, request.caller, server, deleted=deleted)
    found = next((each for each in actions_of(operations) if each.request == action), None)
    if found is None:
        raise NotFound("Action", action)
    shown = view(request, server, found)
    if request.version >= (2, 51) or request.allowed(f"{ACTIONS}:events"):
        host = await history.host_of(request.cloud, server) if request.version >= (2, 62) else None
        written = Writing.of(request, host)
        shown["events"] = [
            each for operation in reversed(found.operations) for each in written.events(operation)
        ]
    return {"instanceAction": shown}


class Writing(msgspec.Struct, frozen=True, kw_only=True):
    """How much of an event a caller sees in a version."""

    host: Host | None
    """On which the server is."""
    fault: bool
    host_name: bool
    host_id: bool
    details: bool

    @classmethod
    def of(cls, request: Request, host: Host | None) -> "Writing":
        all_of_it = request.allowed(f"{ACTIONS}:events")
        return cls(
            host=host,
            fault=all_of_it,
            host_name=all_of_it and request.version >= (2, 62),
            host_id=request.version >= (2, 62),
            details=request.version >= (2, 84) and request.allowed(f"{ACTIONS}:events:details"),
        )

    def events(self, operation: Operation) -> list[dict[str, Any]]:
        """The newest first: every step and undo, and the one at work. The whole is one more where no step tells how it
        ended: nothing was begun yet when it was called off, or it went by no steps."""
        found = [
            self.event(operation, label(operation, entry.step, entry.undo), entry.at, end(entry), entry.fault)
            for entry in operation.taken
        ]
        if operation.outcome is Outcome.RUNNING and operation.started_at is not None:
            at = operation.first_try or changed(operation)
            found.append(self.event(operation, label(operation, current(operation)), at, None, ""))
        told = any(entry.fault for entry in operation.taken) if failed(operation) else bool(found)
        if not told and operation.finished_at is not None:
            at = operation.started_at or operation.created_at
            fault = operation.fault if failed(operation) else ""
            found.append(self.event(operation, label(operation), at, operation.finished_at, fault))
        return found[::-1]

    def event(
        self, operation: Operation, name: str, start: datetime, finish: datetime | None, fault: str
    ) -> dict[str, Any]:
        result = None if finish is None else "Error" if fault else "Success"
        shown: dict[str, Any] = {
            "event": name,
            "start_time": stamp(start),
            "finish_time": stamp(finish),
            "result": result,
        }
        if self.fault:
            shown["traceback"] = fault or None
        if self.host_id:
            shown["hostId"] = (
                host_id(operation.project, self.host.id) if self.host and operation.project else ""
            )
        if self.host_name:
            shown["host"] = self.host.hostname if self.host else None
        if self.details:
            shown["details"] = fault or None
        return shown


def current(operation: Operation) -> str:
    """The step that runs or waits to be tried again; empty when only the end is left."""
    workflow = WORKFLOWS.get(operation.workflow)
    steps = [step.name for step in workflow.steps] if workflow else []
    return next((step for step in steps if step not in operation.done), "")


def label(operation: Operation, step: str = "", undo: bool = False) -> str:
    """`pileus_server_deploy_config_drive`, `pileus_server_deploy_undo_place`"""
    words = ["pileus", operation.workflow, "undo" if undo else "", step]
    return "_".join(word for word in words if word).replace(".", "_").replace(" ", "_").replace("-", "_")
