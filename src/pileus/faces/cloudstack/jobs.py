"""Asynchronous jobs: the core's operations, as this API shows them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pileus.core.cloud import Look, kind_of
from pileus.core.errors import Kind, NotFound
from pileus.core.identity.records import User
from pileus.core.listing import page
from pileus.core.operations import Operation, Outcome
from pileus.faces.cloudstack import owners
from pileus.faces.cloudstack.commands import COMMANDS, FACE, VIEWS, Call, Command, Done, Listed, command
from pileus.faces.cloudstack.errors import INTERNAL, TABLE, ApiError, invalid_id
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import OwnedListing, Params, param
from pileus.faces.cloudstack.rendering import fields
from pileus.store import Condition, any_of, eq, ge, like, literal, ne

STATUS = {
    Outcome.RUNNING: 0,
    Outcome.UNWINDING: 0,
    Outcome.DONE: 1,
    Outcome.FAILED: 2,
    Outcome.FLAGGED: 2,
}
WORKFLOWS: Mapping[str, str] = {
    "server.deploy": "deployVirtualMachine",
    "server.start": "startVirtualMachine",
    "server.stop": "stopVirtualMachine",
    "server.reboot": "rebootVirtualMachine",
    "server.reboot_hard": "rebootVirtualMachine",
    "server.destroy": "destroyVirtualMachine",
    "server.recover": "recoverVirtualMachine",
    "server.delete": "expungeVirtualMachine",
    "server.attach_nic": "addNicToVirtualMachine",
    "server.detach_nic": "removeNicFromVirtualMachine",
    "volume.create": "createVolume",
    "volume.attach": "attachVolume",
    "volume.detach": "detachVolume",
    "volume.extend": "resizeVolume",
    "volume.delete": "deleteVolume",
    "snapshot.create": "createSnapshot",
    "snapshot.delete": "deleteSnapshot",
    "image.fetch": "registerTemplate",
    "image.delete": "deleteTemplate",
    "project.delete": "deleteProject",
    "project.suspend": "suspendProject",
    "account.delete": "deleteAccount",
    "account.suspend": "disableAccount",
    "domain.delete": "deleteDomain",
}
"""The command that an operation of another face would have been."""


class QueryJob(Params):
    id: UUID | None = param("jobid", "the job", default=None)
    subject: UUID | None = param(
        "resourceid", "instead of jobid: the object whose latest job is meant", default=None
    )
    kind: str = param(
        "resourcetype", "with resourceid: what the object is, such as VirtualMachine", default=""
    )


class ListJobs(OwnedListing):
    since: datetime | None = param(
        "startdate", "only jobs that were started at this time or later", default=None
    )
    subject: UUID | None = param("resourceid", "jobs on this object", default=None)
    kind: str = param(
        "resourcetype", "with resourceid: what the object is, such as VirtualMachine", default=""
    )


async def shown(
    call: Call, look: Look, operations: Sequence[Operation], *, results: bool = True
) -> list[dict[str, Any]]:
    """In the order given."""
    holders = await owners.shown(look, {op.project for op in operations if op.project})
    accounts = {
        user.id: user.account or user.default_project
        for user in await look.list(User, id=tuple({op.user for op in operations if op.user}))
    }
    made = []
    for operation in operations:
        account = accounts.get(operation.user) if operation.user else None
        status = STATUS[operation.outcome]
        known = VIEWS.get(operation.kind)
        holder = holders.get(operation.project, {}) if operation.project else {}
        made.append(
            {
                **{
                    name: value
                    for name, value in holder.items()
                    if name in ("account", "domainid", "domainpath")
                },
                "accountid": account or operation.project,
                "userid": operation.user,
                "cmd": java_name(operation),
                "jobid": operation.id,
                "jobstatus": status,
                "jobprocstatus": 0,
                "jobresultcode": code(operation) if status == 2 else 0,
                "jobresulttype": "object" if status else None,
                "jobresult": await result(call, look, operation) if status and results else None,
                "jobinstancetype": known.instance
                if known
                else operation.kind.replace("_", " ").title().replace(" ", ""),
                "jobinstanceid": operation.subject,
                "created": operation.created_at,
                "completed": operation.finished_at,
            }
        )
    return made


def code(operation: Operation) -> int:
    try:
        return TABLE[Kind(operation.fault_kind)][0]
    except ValueError:
        return INTERNAL


def asked_of(operation: Operation) -> Command | None:
    return COMMANDS.get(operation.command) or COMMANDS.get(WORKFLOWS.get(operation.workflow, ""))


def java_name(operation: Operation) -> str:
    """`cmd`, which clients only print: the class that the command has in CloudStack, or our own word."""
    asked = asked_of(operation)
    if asked is None:
        return operation.command or operation.workflow
    package = asked.entry.group.replace("/", ".")
    return f"org.apache.cloudstack.api.command.{package}.{asked.name[0].upper()}{asked.name[1:]}Cmd"


async def result(call: Call, look: Look, operation: Operation) -> dict[str, Any]:
    """Its envelope: the object as it is now, success of what shows nothing (any more), or the error."""
    if STATUS[operation.outcome] == 2:
        return {"errorcode": code(operation), "errortext": operation.fault or operation.why}
    asked = asked_of(operation)
    known = VIEWS.get(operation.kind)
    if known is None or (asked is not None and asked.entry.bare):
        return {"success": True}
    record = await look.maybe(known.record, operation.subject)
    if record is None:
        return {"success": True}
    render = asked.view if asked is not None and asked.view is not None else known.render
    seen = (await render(call, look, [record]))[0]
    if asked is not None:
        return {asked.object: fields(seen, asked.entry.response, call.role)}
    return {known.object: seen}


@command("queryAsyncJobResult", params=QueryJob)
async def query(call: Call, params: QueryJob) -> dict[str, Any]:
    """Tells how far an asynchronous job is, and its result when it has ended."""
    async with call.cloud.view() as look:
        operation = await _find(call, look, params)
        return (await shown(call, look, [operation]))[0]


async def _find(call: Call, look: Look, params: QueryJob) -> Operation:
    if params.id is not None:
        found = await look.maybe(Operation, params.id)
    elif params.subject is not None:
        latest = await look.list(Operation, subject=params.subject, order=("-sequence",), limit=1)
        found = latest[0] if latest else None
    else:
        raise ApiError(431, "Name the job by jobid, or its object by resourceid and resourcetype.")
    if found is None or not sees(call, found):
        raise invalid_id(call.name, "jobid" if params.id else "resourceid", str(params.id or params.subject))
    return found


def sees(call: Call, operation: Operation) -> bool:
    if operation.project is None:
        return call.admin or operation.user == call.caller.user
    return call.caller.sees(operation.project)


@command("listAsyncJobs", params=ListJobs)
async def listing(call: Call, params: ListJobs) -> Listed[Operation]:
    """Lists jobs, those first that were started last."""
    where: list[Condition] = [named(params.keyword)]
    if params.since:
        where.append(ge("created_at", params.since))
    equals: dict[str, Any] = {"subject": params.subject} if params.subject else {}
    skip, limit = window(params)
    async with call.cloud.view() as look:
        scope = await owners.scope(call, look, params)
        if scope.projects is not None:
            equals["project"] = scope.projects
        found = await page(
            look, Operation, *where, *scope.where, order=("-sequence",), skip=skip, limit=limit, **equals
        )
        return Listed(await shown(call, look, found.items), found.total)


def named(keyword: str) -> Condition:
    """Operations that are jobs: asked for by a command, or by another face in words of its own; of these names."""
    workflows = tuple(name for name, word in WORKFLOWS.items() if keyword.lower() in word.lower())
    asked = like("command", f"%{literal(keyword)}%") if keyword else ne("command", "")
    return any_of(asked, eq("workflow", workflows))


async def record(call: Call, done: Done) -> UUID:
    """A job for what was done at once, already ended."""
    subject = done.record.id if done.record is not None else done.subject
    kind = kind_of(type(done.record)) if done.record is not None else done.kind
    if subject is None:
        raise NotFound("Subject of", call.name)
    now = call.cloud.now()
    async with call.cloud.transaction(call.caller) as tx:
        operation = Operation(
            id=call.cloud.new_id(),
            sequence=await tx.next_number("operation"),
            workflow=f"{FACE}.done",
            kind=kind,
            subject=subject,
            key=subject,
            project=getattr(done.record, "project", None) or call.caller.project,
            user=call.caller.user,
            request=call.caller.request,
            face=FACE,
            command=call.name,
            outcome=Outcome.DONE,
            wake_at=now,
            created_at=now,
            started_at=now,
            finished_at=now,
        )
        await tx.rows.insert(operation)
    return operation.id
