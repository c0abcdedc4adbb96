"""Events: the core's changes of resources in CloudStack's words. What is long work is told by two: one when it starts
and, with that one as its parent, one when it has ended."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from pileus.core import event_marks
from pileus.core.cloud import Look
from pileus.core.event_marks import Mark
from pileus.core.events import Event, Filter, Wanted, allowed
from pileus.core.identity.names import names
from pileus.core.identity.records import User
from pileus.core.operations import Operation, Outcome
from pileus.faces.cloudstack import event_words, owners
from pileus.faces.cloudstack.commands import DOMAIN_ADMIN, FACE, VIEWS, Call, Listed, command
from pileus.faces.cloudstack.errors import PARAMETER, ApiError
from pileus.faces.cloudstack.event_words import (
    COMPLETED,
    ERROR,
    INFO,
    STARTED,
    STATES,
    TYPES,
    WARN,
    moved,
    sentence,
    state_of,
    type_of,
)
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Params, ProjectListing, param
from pileus.store import REGISTRY, Condition, all_of, any_of, eq, ge, gt, le, like, lt, ne

MARK = 0x50696C657573_E000_8000 << 48
"""Events are numbered in the core; their ids here are this with the number in its last 48 bits."""
LOOKED_THROUGH = 10_000
"""How many of the latest are looked through for what only their content tells."""
COUNTED = 2_000
"""Of so many the total is exact; older ones are counted by the database, which does not know of the few hidden ones."""
CHUNK = 500
STATE_CHANGE = '%"state":["%'
"""In the text of a change: what an operation did to a state. Its other steps are its own affair."""
UPDATED = frozenset(kind for kind, _ in STATES)
"""Kinds whose updates have more than one type."""
PAIRS = frozenset({*TYPES, *((kind, "update") for kind in UPDATED)})


class ListEvents(ProjectListing):
    id: UUID | None = param("id", "list by id", default=None)
    type: str = param("type", "list by type, such as VM.CREATE", default="")
    level: str = param("level", "list by level: INFO, WARN or ERROR", default="")
    since: datetime | None = param("startdate", "list from this time on", default=None)
    until: datetime | None = param("enddate", "list up to this time", default=None)
    seconds: int | None = param("duration", "list of so many seconds before now", default=None)
    start: UUID | None = param(
        "startid", "list this event and those that have it as their parent", default=None
    )
    resource: UUID | None = param("resourceid", "list by object", default=None)
    resource_type: str = param(
        "resourcetype", "list by what the object is, such as VirtualMachine", default=""
    )
    state: str = param("state", "list by state: Started or Completed", default="")
    archived: bool = param("archived", "list those that were archived instead of the others", default=False)


class PutAway(Params):
    ids: tuple[UUID, ...] = param("ids", "these events", default=())
    type: str = param("type", "events of this type", default="")
    since: datetime | None = param("startdate", "with enddate: events from this time on", default=None)
    until: datetime | None = param("enddate", "events up to this time", default=None)


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside some events."""

    names: Mapping[UUID, str]
    """Of their subjects."""
    operations: Mapping[UUID, Operation]


def id_of(sequence: int) -> UUID:
    return UUID(int=MARK | sequence)


def sequence_of(key: UUID) -> int:
    """-1 for an id that is not an event's."""
    sequence = key.int & ((1 << 48) - 1)
    return sequence if key.int == MARK | sequence else -1


async def about(look: Look, events: Sequence[Event]) -> About:
    named = {layout.name: layout.cls for layout in REGISTRY if "name" in layout.columns}
    by_kind: dict[str, set[UUID]] = {}
    for event in events:
        by_kind.setdefault(event.kind, set()).add(event.subject)
    known: dict[UUID, str] = {}
    for kind in by_kind.keys() & named.keys():
        held: Sequence[Any] = await look.list(named[kind], id=tuple(by_kind[kind]))
        known |= {record.id: record.name for record in held}
    gone = tuple({event.subject for event in events if event.kind in named} - known.keys())
    last = await look.list(Event, subject=gone, action="delete") if gone else []
    known |= {event.subject: str(event.change.get("name") or "") for event in last}
    acting = tuple({event.operation for event in events if event.operation})
    operations = await look.list(Operation, id=acting) if acting else []
    return About(names=known, operations={each.id: each for each in operations})


def failed(event: Event, known: About) -> Operation | None:
    operation = known.operations.get(event.operation) if event.operation else None
    return operation if operation is not None and operation.outcome is Outcome.FAILED else None


def level_of(event: Event, known: About) -> str:
    """What nobody asked for is a warning."""
    states = moved(event)
    broken = failed(event, known) is not None or (states is not None and states[1] == "error")
    if broken and event.action != "create" and state_of(event) == COMPLETED:
        return ERROR
    return WARN if states is not None and event.user is None and event.operation is None else INFO


def described(event: Event, known: About) -> str:
    fault = ""
    if level_of(event, known) == ERROR:
        operation = failed(event, known)
        fault = operation.fault if operation is not None else event_words.fault_in(event)
    return sentence(event, known.names.get(event.subject, ""), fault)


async def parents(look: Look, events: Iterable[Event]) -> dict[int, UUID]:
    """Of what operations ended, by number: the id of the event that told their start."""
    ended = [event for event in events if event.operation and event.request and state_of(event) == COMPLETED]
    if not ended:
        return {}
    subjects, requests = ({event.subject for event in ended}, {event.request for event in ended})
    asked = await look.list(
        Event,
        subject=tuple(subjects),
        request=tuple(requests),
        operation=None,
        action=("create", "update"),
        order=("seq",),
    )
    begun: dict[tuple[UUID, str], list[int]] = {}
    for event in asked:
        if state_of(event) == STARTED:
            begun.setdefault((event.subject, event.request), []).append(event.seq)
    found: dict[int, UUID] = {}
    for event in ended:
        before = [seq for seq in begun.get((event.subject, event.request), ()) if seq < event.seq]
        if before:
            found[event.seq] = id_of(before[-1])
    return found


async def shown(look: Look, events: Sequence[Event], archived: bool) -> list[dict[str, Any]]:
    holders = await owners.shown(look, (event.project for event in events if event.project))
    users = await names(look, User, (event.user for event in events if event.user))
    known, first = await about(look, events), await parents(look, events)
    return [
        {
            "id": id_of(event.seq),
            "type": type_of(event),
            "level": level_of(event, known),
            "state": state_of(event),
            "description": described(event, known),
            "username": users.get(event.user, "system") if event.user else "system",
            "created": event.at,
            "parentid": first.get(event.seq),
            "resourceid": event.subject,
            "resourcetype": instance(event.kind),
            "resourcename": known.names.get(event.subject) or None,
            "archived": archived,
            **(holders.get(event.project, {}) if event.project else {}),
        }
        for event in events
    ]


def instance(kind: str) -> str:
    return VIEWS[kind].instance if kind in VIEWS else kind


class Sought(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are looked for: what the table tells, and what only their content does."""

    where: Sequence[Condition]
    filter: Filter
    projects: tuple[UUID, ...] | None
    marks: frozenset[Mark | None] = frozenset({None})
    type: str = ""
    level: str = ""
    state: str = ""
    keyword: str = ""

    @property
    def deep(self) -> bool:
        """Whether the table alone does not tell enough to count."""
        several = any(action == "update" and kind in UPDATED for kind, action in wanted(self.type))
        return bool(self.level or self.state or self.keyword or (self.type and several))

    def equals(self) -> dict[str, Any]:
        return {} if self.projects is None else {"project": self.projects}

    async def rows(self, look: Look, before: int | None) -> list[Event]:
        """A chunk, the latest first."""
        bounds = [] if before is None else [lt("seq", before)]
        return await look.list(Event, *self.where, *bounds, order=("-seq",), limit=CHUNK, **self.equals())

    async def kept(self, look: Look, rows: Sequence[Event]) -> list[Event]:
        """Those of a chunk that are meant, as the caller may see them."""
        visible = [
            event for row in rows if (event := self.filter.seen(row)) is not None and self._fits(event)
        ]
        marks = await event_marks.of_events(look, FACE, visible)
        visible = [event for event in visible if marks.get(event.seq) in self.marks]
        if not (self.level or self.keyword) or not visible:
            return visible
        known = await about(look, visible)
        return [event for event in visible if self._says(event, known)]

    def _fits(self, event: Event) -> bool:
        name = type_of(event)
        if not name or not event_words.tells(event) or self.type not in ("", name):
            return False
        return self.state.lower() in ("", state_of(event).lower())

    def _says(self, event: Event, known: About) -> bool:
        text = f"{type_of(event)} {described(event, known)}".lower()
        return self.level.upper() in ("", level_of(event, known)) and self.keyword.lower() in text


async def find(look: Look, sought: Sought, skip: int, limit: int) -> tuple[list[Event], int]:
    """A page, and how many there are."""
    found: list[Event] = []
    before, looked, enough = None, 0, LOOKED_THROUGH if sought.deep else COUNTED
    while True:
        rows = await sought.rows(look, before)
        found += await sought.kept(look, rows)
        if len(rows) < CHUNK:
            return found[skip : skip + limit], len(found)
        before, looked = rows[-1].seq, looked + len(rows)
        if looked >= enough and (sought.deep or len(found) >= skip + limit):
            break
    older = [] if sought.deep else [lt("seq", before)]
    more = await look.count(Event, *sought.where, *older, **sought.equals()) if older else 0
    return found[skip : skip + limit], len(found) + more


def wanted(name: str) -> frozenset[tuple[str, str]]:
    """The kinds and actions among which events of a type are."""
    if not name:
        return PAIRS
    changed = {(kind, "update") for (kind, _), known in STATES.items() if known == name}
    return frozenset({pair for pair, known in TYPES.items() if known == name} | changed)


def among(pairs: Iterable[tuple[str, str]]) -> Condition:
    by_action: dict[str, set[str]] = {}
    for kind, action in pairs:
        by_action.setdefault(action, set()).add(kind)
    asked = any_of(eq("operation", None), like("change", STATE_CHANGE))
    return any_of(
        *(
            all_of(
                eq("action", action),
                eq("kind", tuple(sorted(kinds))),
                *([asked] if action == "update" else []),
            )
            for action, kinds in sorted(by_action.items())
        )
    )


def between(since: datetime | None, until: datetime | None) -> list[Condition]:
    return ([ge("at", since)] if since else []) + ([le("at", until)] if until else [])


async def conditions(call: Call, look: Look, params: ListEvents) -> list[Condition]:
    where = [among(wanted(params.type)), *between(params.since, params.until)]
    if params.id is not None:
        where.append(eq("seq", sequence_of(params.id)))
    if params.seconds is not None:
        where.append(ge("at", call.cloud.now() - timedelta(seconds=min(max(params.seconds, 0), 10**9))))
    if params.resource is not None:
        where.append(eq("subject", params.resource))
    if params.resource_type:
        asked = params.resource_type.lower()
        where.append(eq("kind", tuple(kind for kind, _ in TYPES if instance(kind).lower() == asked)))
    if params.start is not None:
        where.append(await family(look, sequence_of(params.start)))
    if params.archived:
        where.append(eq("seq", await event_marks.latest(look, FACE, Mark.ARCHIVED, LOOKED_THROUGH)))
    return where


async def family(look: Look, sequence: int) -> Condition:
    """An event, and what came of it."""
    first, itself = await look.maybe(Event, sequence), eq("seq", sequence)
    if first is None or not first.request or state_of(first) != STARTED:
        return itself
    same = eq("subject", first.subject), eq("request", first.request)
    return any_of(itself, all_of(*same, gt("seq", sequence), ne("operation", None)))


@command("listEvents", params=ListEvents, ignored=("entrytime",))
async def listing(call: Call, params: ListEvents) -> Listed[Any]:
    """Lists events, the latest first."""
    if not wanted(params.type):
        return Listed([], 0)
    skip, limit = window(params)
    async with call.cloud.view() as look:
        scope = await owners.scope(call, look, params)
        sought = Sought(
            where=(*await conditions(call, look, params), *scope.where),
            filter=allowed(call.caller, Wanted()),
            projects=scope.projects,
            marks=frozenset({Mark.ARCHIVED if params.archived else None}),
            type=params.type,
            level=params.level,
            state=params.state,
            keyword=params.keyword,
        )
        found, total = await find(look, sought, skip, limit)
        return Listed(await shown(look, found, params.archived), total)


@command("archiveEvents", params=PutAway)
async def archive(call: Call, params: PutAway) -> None:
    """Puts events away: they are listed only when archived ones are asked for. The stream of events keeps them."""
    await put_away(call, params, Mark.ARCHIVED, frozenset({None}))


@command("deleteEvents", params=PutAway)
async def delete(call: Call, params: PutAway) -> None:
    """Takes events off the list for good. The stream of events keeps them for as long as it keeps any."""
    await put_away(call, params, Mark.DELETED, frozenset({None, Mark.ARCHIVED}))


async def put_away(call: Call, params: PutAway, mark: Mark, among_marks: frozenset[Mark | None]) -> None:
    """Raises ApiError when nothing is named, or an id is no event of the caller's."""
    named(params.ids, params.type, params.since, params.until)
    where = [among(wanted(params.type)), *between(params.since, params.until)] if wanted(params.type) else []
    if not where:
        return
    projects: tuple[UUID, ...] | None = None if call.admin else (call.account,)
    if not call.admin and (params.ids or call.role == DOMAIN_ADMIN):
        projects = owners.reach(call.caller)
    if params.ids:
        where.append(eq("seq", tuple({sequence_of(key) for key in params.ids})))
    sought = Sought(
        where=where,
        filter=allowed(call.caller, Wanted()),
        projects=projects,
        marks=among_marks | ({mark} if params.ids else frozenset()),
        type=params.type,
    )
    before: int | None = None
    while True:
        async with call.cloud.view() as look:
            rows = await sought.rows(look, before)
            found = await sought.kept(look, rows)
        if params.ids and len(found) < len(set(params.ids)):
            raise ApiError(PARAMETER, "Not all of ids are events that you can list; list them again.")
        await event_marks.put_away(call.cloud, call.caller, FACE, mark, found)
        if params.ids or len(rows) < CHUNK:
            return
        before = rows[-1].seq


def named(ids: Sequence[UUID], type: str, since: datetime | None, until: datetime | None) -> None:
    """Nothing is put away because nothing was said. Raises ApiError."""
    if not ids and not type and until is None:
        raise ApiError(PARAMETER, "Say which by ids, type or enddate; startdate alone is not enough.")
    if since is not None and until is None:
        raise ApiError(PARAMETER, "startdate needs enddate.")
    if since is not None and until is not None and since > until:
        raise ApiError(PARAMETER, "startdate is after enddate.")


@command("listEventTypes")
async def types(call: Call, params: Params) -> Listed[Any]:
    """Lists the types of events that there can be."""
    known = event_words.known_types()
    return Listed([{"name": name} for name in sorted(known)], len(known))
