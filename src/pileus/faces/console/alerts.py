"""What is not as it should be, for those who run the cloud and, about their own servers and disks, for projects."""

from typing import Annotated, Any
from uuid import UUID

import msgspec

from pileus.core import alerts
from pileus.core.alerts import Alert, Severity, Which
from pileus.core.errors import NotFound
from pileus.faces.console.service import SERVICE
from pileus.faces.wire import Request
from pileus.faces.wire.paging import link, window

MOST = 500
"""Alerts on one page."""
FARTHEST = 1_000_000


class AlertQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What stands and is not archived, unless `over` or `archived` ask for the rest as well."""

    kind: str = ""
    severity: Severity | None = None
    subject: UUID | None = None
    project: UUID | None = None
    over: bool = False
    archived: bool = False
    skip: Annotated[int, msgspec.Meta(ge=0, le=FARTHEST)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST)] | None = None


def view(alert: Alert) -> dict[str, Any]:
    return {
        "id": alert.id,
        "kind": alert.kind,
        "subject": alert.subject if alert.subject != alerts.NOTHING else None,
        "subject_kind": alert.subject_kind,
        "name": alert.name,
        "project": alert.project,
        "zone": alert.zone,
        "pod": alert.pod,
        "severity": alert.severity,
        "text": alert.text,
        "count": alert.count,
        "first_at": alert.first_at,
        "last_at": alert.last_at,
        "cleared_at": alert.cleared_at,
        "archived": alert.archived,
    }


@SERVICE.operation("GET", "/alerts", policy="console:alerts:read", query=AlertQuery)
async def list_all(request: Request, query: AlertQuery) -> dict[str, Any]:
    given = {"kind": query.kind, "severity": query.severity, "subject": query.subject}
    filters: dict[str, Any] = {name: value for name, value in given.items() if value}
    filters |= {} if query.over else {"cleared_at": None}
    filters |= {} if query.archived else {"archived": False}
    size = window(query.limit, MOST)
    project = query.project or (None if request.caller.admin else request.caller.home)
    found = await alerts.listing(
        request.cloud, request.caller, project=project, skip=query.skip, limit=size, **filters
    )
    end = query.skip + len(found.items)
    more = {"skip": str(end), "limit": str(size)} if end < found.total else None
    return {
        "alerts": [view(each) for each in found.items],
        "total": found.total,
        "next": link(request, more) if more else None,
    }


@SERVICE.operation("GET", "/alerts/{alert}", policy="console:alerts:read")
async def show(request: Request, alert: UUID) -> dict[str, Any]:
    return {"alert": view(await alerts.show(request.cloud, request.caller, alert))}


@SERVICE.operation("POST", "/alerts/{alert}/archive", policy="console:alerts:write")
async def archive(request: Request, alert: UUID) -> dict[str, Any]:
    """It is not listed any more; what is still so is counted on."""
    await alerts.archive(request.cloud, request.caller, Which(ids=(alert,)))
    return {"alert": view(await alerts.show(request.cloud, request.caller, alert))}


@SERVICE.operation("DELETE", "/alerts/{alert}", policy="console:alerts:write", status=204)
async def delete(request: Request, alert: UUID) -> None:
    """What is still so is raised anew by the next look."""
    if not await alerts.remove(request.cloud, request.caller, Which(ids=(alert,))):
        raise NotFound("Alert", alert)
