"""What a person should know of: findings that last until they are over.

Raising the same finding again only counts it; its first sight, its end and every change of its words are events.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from msgspec.structs import replace

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Tx
from pileus.core.errors import NotFound
from pileus.core.facets import Facet
from pileus.core.listing import Page, owned
from pileus.store import Condition, Record, ge, le, lt, table

NOTHING = UUID(int=0)
"""The subject of an alert about the cloud as a whole."""
CUSTOM = "custom"
"""The kind of what an administrator posts."""
AGAIN = timedelta(hours=1)
"""What comes back so soon is the same alert, opened again."""
KEPT = timedelta(days=30)
"""How long what is over can be read."""
CHUNK = 50


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What was found. `kind` and `subject` say which finding it is, the rest describes it."""

    kind: str
    subject: UUID = NOTHING
    subject_kind: str = "cloud"
    """Table of the subject's record: server, host, volume, pool, ..."""
    name: str = ""
    project: UUID | None = None
    zone: UUID | None = None
    pod: UUID | None = None
    severity: Severity = Severity.WARNING
    text: str


@table(
    "alert",
    indexes=(("kind", "subject", "first_at"), ("cleared_at", "kind"), ("project", "last_at"), ("last_at",)),
    unique=(("open_as",),),
)
class Alert(Record):
    """One finding from its first sight to its end."""

    id: UUID
    kind: str
    subject: UUID
    subject_kind: str
    name: str = ""
    """Of the subject, or given by whoever posted it."""
    project: UUID | None = None
    """Whose members may read it besides administrators."""
    zone: UUID | None = None
    pod: UUID | None = None
    severity: Severity
    text: str
    count: int = 1
    """How many looks found it."""
    first_at: datetime
    last_at: datetime
    cleared_at: datetime | None = None
    archived: bool = False
    open_as: str | None = None
    """Kind and subject while it is open: the same finding is never open twice."""


class Which(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts by id, by kind, by the time at which they were last seen; what is left out takes all."""

    ids: tuple[UUID, ...] | None = None
    kinds: tuple[str, ...] | None = None
    since: datetime | None = None
    until: datetime | None = None

    def filters(self) -> tuple[list[Condition], dict[str, Any]]:
        where = [] if self.since is None else [ge("last_at", self.since)]
        where += [] if self.until is None else [le("last_at", self.until)]
        equals: dict[str, Any] = {} if self.ids is None else {"id": self.ids}
        return where, equals if self.kinds is None else equals | {"kind": self.kinds}


def identity(kind: str, subject: UUID) -> str:
    return f"{kind}/{subject}"


async def raise_(tx: Tx, finding: Finding) -> Alert:
    """Open the finding's alert. Open already: it is counted, which is no event; with other words it is changed."""
    now = tx.cloud.now()
    same = identity(finding.kind, finding.subject)
    held = await tx.one(Alert, open_as=same)
    words = {name: getattr(finding, name) for name in finding.__struct_fields__}
    if held is not None:
        counted = {"count": held.count + 1, "last_at": now}
        if all(getattr(held, name) == value for name, value in words.items()):
            await tx.rows.update_where(Alert, counted, id=held.id)
            return replace(held, **counted)
        return await tx.put(replace(held, **words, **counted))
    found = await tx.list(Alert, kind=finding.kind, subject=finding.subject, order=("-first_at",), limit=1)
    last = found[0] if found else None
    if last is not None and last.cleared_at is not None and last.cleared_at > now - AGAIN:
        reopened = {"cleared_at": None, "archived": False, "open_as": same}
        return await tx.put(replace(last, **words, **reopened, count=last.count + 1, last_at=now))
    return await tx.add(Alert(id=tx.cloud.new_id(), **words, first_at=now, last_at=now, open_as=same))


async def clear(tx: Tx, kind: str, subject: UUID) -> Alert | None:
    """It is over. None when it was not open; repeatable."""
    held = await tx.one(Alert, open_as=identity(kind, subject))
    if held is None:
        return None
    return await tx.put(replace(held, cleared_at=tx.cloud.now(), open_as=None))


async def standing(cloud: Cloud, kinds: Collection[str]) -> list[Alert]:
    """The open ones of these kinds, for those who look."""
    async with cloud.view() as look:
        return await look.list(Alert, cleared_at=None, kind=tuple(kinds))


async def settle(
    cloud: Cloud, kinds: Collection[str], findings: Iterable[Finding], *, keep: Collection[UUID] = ()
) -> None:
    """The result of one look for these kinds: what was found is raised, and what is open and was not found is cleared,
    but for the subjects of `keep`, which were not looked at."""
    found = {identity(each.kind, each.subject): each for each in findings}
    held = {alert.open_as: alert for alert in await standing(cloud, kinds)}
    same = [alert.id for key, alert in held.items() if key in found and _says(alert, found[key])]
    fresh = [finding for key, finding in found.items() if key not in held or not _says(held[key], finding)]
    over = [alert for key, alert in held.items() if key not in found and alert.subject not in keep]
    for start in range(0, len(same), CHUNK):
        async with cloud.transaction() as tx:
            ids = tuple(same[start : start + CHUNK])
            await tx.rows.increment(Alert, "count", 1, id=ids)
            await tx.rows.update_where(Alert, {"last_at": cloud.now()}, id=ids)
    for start in range(0, len(fresh), CHUNK):
        async with cloud.transaction() as tx:
            for finding in fresh[start : start + CHUNK]:
                await raise_(tx, finding)
    for start in range(0, len(over), CHUNK):
        async with cloud.transaction() as tx:
            for alert in over[start : start + CHUNK]:
                await clear(tx, alert.kind, alert.subject)


def _says(alert: Alert, finding: Finding) -> bool:
    return all(getattr(alert, name) == getattr(finding, name) for name in finding.__struct_fields__)


async def listing(
    cloud: Cloud,
    caller: Caller,
    *where: Condition,
    project: UUID | Sequence[UUID] | None,
    order: Sequence[str] = ("-last_at",),
    skip: int = 0,
    limit: int | None = None,
    **equals: Any,
) -> Page[Alert]:
    """Alerts about these projects' resources; `project` None: all there are, for administrators. `cleared_at=None`:
    the open ones. Raises Forbidden."""
    projects = (project,) if isinstance(project, UUID) else project
    async with cloud.view() as look:
        return await owned(
            look, caller, Alert, *where, projects=projects, order=order, skip=skip, limit=limit, **equals
        )


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Alert:
    """Raises NotFound for what the caller may not see; what belongs to no project is for administrators."""
    async with cloud.view() as look:
        found = await look.maybe(Alert, key)
    if found is None or not (caller.admin or (found.project is not None and caller.sees(found.project))):
        raise NotFound("Alert", key)
    if found.project is not None:
        caller.require("alert.read", project=found.project)
    return found


async def post(
    cloud: Cloud, caller: Caller, finding: Finding, *, facets: Mapping[str, Mapping[str, Any]] | None = None
) -> Alert:
    """An administrator's own alert, always a new one; it is open until it is archived or removed. `facets`: what the
    caller's API must remember of it, by the API's name."""
    caller.require_admin("alert.create")
    now = cloud.now()
    async with cloud.transaction(caller) as tx:
        words = {name: getattr(finding, name) for name in finding.__struct_fields__}
        made = await tx.add(Alert(id=cloud.new_id(), **words, first_at=now, last_at=now))
        for face, values in (facets or {}).items():
            await tx.rows.put(Facet(face=face, subject=made.id, values=dict(values)))
        return made


async def archive(cloud: Cloud, caller: Caller, which: Which) -> int:
    """Put them away: how many were not archived before. What is still so stays open, and is counted on."""
    caller.require_admin("alert.update")
    where, equals = which.filters()
    async with cloud.transaction(caller) as tx:
        found = await tx.list(Alert, *where, archived=False, **equals)
        for alert in found:
            ended = alert.cleared_at or (tx.cloud.now() if alert.open_as is None else None)
            await tx.put(replace(alert, archived=True, cleared_at=ended))
    return len(found)


async def remove(cloud: Cloud, caller: Caller, which: Which) -> int:
    """Delete them: how many there were. What is still so is raised anew by the next look."""
    caller.require_admin("alert.delete")
    where, equals = which.filters()
    async with cloud.transaction(caller) as tx:
        return await _drop(tx, await tx.list(Alert, *where, **equals))


async def forget_old(cloud: Cloud) -> int:
    """Delete what has been over for so long that nobody asks any more; how many went."""
    gone = 0
    while True:
        async with cloud.transaction() as tx:
            old = await tx.list(Alert, lt("cleared_at", cloud.now() - KEPT), limit=CHUNK)
            gone += await _drop(tx, old)
        if len(old) < CHUNK:
            return gone


async def _drop(tx: Tx, alerts: Sequence[Alert]) -> int:
    for alert in alerts:
        await tx.rows.delete_where(Facet, subject=alert.id)
        await tx.remove(alert)
    return len(alerts)


__all__ = [
    "CUSTOM",
    "NOTHING",
    "Alert",
    "Finding",
    "Severity",
    "Which",
    "archive",
    "clear",
    "forget_old",
    "listing",
    "post",
    "raise_",
    "remove",
    "settle",
    "show",
    "standing",
]
