"""Events: the core's changes of resources, in CloudStack's words."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.compute.records import State
from pileus.core.events import Event
from pileus.core.identity.names import names
from pileus.core.identity.records import User
from pileus.core.listing import page
from pileus.faces.cloudstack import owners
from pileus.faces.cloudstack.commands import VIEWS, Call, Listed, command
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Params, ProjectListing, param
from pileus.store import Condition, all_of, any_of, eq, ge, le

MARK = 0x50696C657573_E000_8000 << 48
"""Events are numbered in the core; their ids here are this with the number in its last 48 bits."""
LOOKED_THROUGH = 10_000
"""How many of the latest are looked through for a type that only their content tells."""
TYPES: Mapping[tuple[str, str], str] = {
    ("server", "create"): "VM.CREATE",
    ("server", "update"): "VM.UPDATE",
    ("server", "delete"): "VM.EXPUNGE",
    ("volume", "create"): "VOLUME.CREATE",
    ("volume", "update"): "VOLUME.UPDATE",
    ("volume", "delete"): "VOLUME.DELETE",
    ("snapshot", "create"): "SNAPSHOT.CREATE",
    ("snapshot", "delete"): "SNAPSHOT.DELETE",
    ("image", "create"): "TEMPLATE.CREATE",
    ("image", "update"): "TEMPLATE.UPDATE",
    ("image", "delete"): "TEMPLATE.DELETE",
    ("network", "create"): "NETWORK.CREATE",
    ("network", "update"): "NETWORK.UPDATE",
    ("network", "delete"): "NETWORK.DELETE",
    ("port", "create"): "NIC.CREATE",
    ("port", "update"): "NIC.UPDATE",
    ("port", "delete"): "NIC.DELETE",
    ("address", "create"): "NET.IPASSIGN",
    ("address", "update"): "NET.IPUPDATE",
    ("address", "delete"): "NET.IPRELEASE",
    ("forwarding", "create"): "NET.RULEADD",
    ("forwarding", "update"): "NET.RULEMODIFY",
    ("forwarding", "delete"): "NET.RULEDELETE",
    ("firewall_rule", "create"): "FIREWALL.OPEN",
    ("firewall_rule", "delete"): "FIREWALL.CLOSE",
    ("security_group", "create"): "SG.CREATE",
    ("security_group", "update"): "SG.UPDATE",
    ("security_group", "delete"): "SG.DELETE",
    ("security_rule", "create"): "SG.AUTH.INGRESS",
    ("security_rule", "delete"): "SG.REVOKE.INGRESS",
    ("key_pair", "create"): "REGISTER.SSH.KEYPAIR",
    ("size", "create"): "SERVICE.OFFERING.CREATE",
    ("size", "update"): "SERVICE.OFFERING.EDIT",
    ("size", "delete"): "SERVICE.OFFERING.DELETE",
    ("volume_kind", "create"): "DISK.OFFERING.CREATE",
    ("volume_kind", "update"): "DISK.OFFERING.EDIT",
    ("volume_kind", "delete"): "DISK.OFFERING.DELETE",
    ("user", "create"): "USER.CREATE",
    ("user", "update"): "USER.UPDATE",
    ("user", "delete"): "USER.DELETE",
    ("project", "create"): "PROJECT.CREATE",
    ("project", "update"): "PROJECT.UPDATE",
    ("project", "delete"): "PROJECT.DELETE",
    ("domain", "create"): "DOMAIN.CREATE",
    ("domain", "update"): "DOMAIN.UPDATE",
    ("domain", "delete"): "DOMAIN.DELETE",
}
BY_STATE: Mapping[str, str] = {
    State.STARTING: "VM.START",
    State.STOPPING: "VM.STOP",
    State.REBOOTING: "VM.REBOOT",
    State.REBOOTING_HARD: "VM.REBOOT",
    State.DESTROYING: "VM.DESTROY",
    State.RECOVERING: "VM.RECOVER",
    State.DELETING: "VM.EXPUNGE",
}
"""What an update of a server is, by the state to which it went."""
ATTACHED = {"attaching": "VOLUME.ATTACH", "detaching": "VOLUME.DETACH", "extending": "VOLUME.RESIZE"}


class ListEvents(ProjectListing):
    id: UUID | None = param("id", "list by id", default=None)
    type: str = param("type", "list by type, such as VM.CREATE", default="")
    level: str = param("level", "list by level: INFO, WARN or ERROR", default="")
    since: datetime | None = param("startdate", "list from this time on", default=None)
    until: datetime | None = param("enddate", "list up to this time", default=None)
    seconds: int | None = param("duration", "list of so many seconds before now", default=None)
    resource: UUID | None = param("resourceid", "list by object", default=None)
    resource_type: str = param("resourcetype", "with resourceid: what the object is", default="")
    state: str = param("state", "list by state; all events here are Completed", default="")
    archived: bool = param("archived", "list those that were archived, which is none", default=False)


def type_of(event: Event) -> str:
    change = event.change.get("state")
    if event.action == "update" and isinstance(change, list) and len(change) == 2:
        if event.kind == "server":
            return BY_STATE.get(str(change[1]), TYPES["server", "update"])
        if event.kind == "volume" and str(change[1]) in ATTACHED:
            return ATTACHED[str(change[1])]
    return TYPES[event.kind, event.action]


def id_of(sequence: int) -> UUID:
    return UUID(int=MARK | sequence)


def sequence_of(key: UUID) -> int:
    """-1 for an id that is not an event's."""
    sequence = key.int & ((1 << 48) - 1)
    return sequence if key.int == MARK | sequence else -1


async def shown(look: Look, events: Sequence[Event]) -> list[dict[str, Any]]:
    holders = await owners.shown(look, (event.project for event in events if event.project))
    users = await names(look, User, (event.user for event in events if event.user))
    return [
        {
            "id": id_of(event.seq),
            "type": type_of(event),
            "level": "INFO",
            "state": "Completed",
            "description": f"{event.kind.replace('_', ' ')} {event.subject}: {event.action}",
            "username": users.get(event.user, "system") if event.user else "system",
            "created": event.at,
            "resourceid": event.subject,
            "resourcetype": VIEWS[event.kind].instance if event.kind in VIEWS else event.kind,
            "archived": False,
            **(holders.get(event.project, {}) if event.project else {}),
        }
        for event in events
    ]


def conditions(call: Call, params: ListEvents) -> list[Condition]:
    where: list[Condition] = [any_of(*(of(kind, action) for kind, action in wanted(params.type)))]
    if params.id is not None:
        where.append(eq("seq", sequence_of(params.id)))
    if params.since is not None:
        where.append(ge("at", params.since))
    if params.until is not None:
        where.append(le("at", params.until))
    if params.seconds is not None:
        where.append(ge("at", call.cloud.now() - timedelta(seconds=min(max(params.seconds, 0), 10**9))))
    if params.resource is not None:
        where.append(eq("subject", params.resource))
    return where


def of(kind: str, action: str) -> Condition:
    """Changes on the way of an operation are its own affair; what was asked for is an event."""
    asked = (eq("operation", None),) if action == "update" else ()
    return all_of(eq("kind", kind), eq("action", action), *asked)


def wanted(name: str) -> list[tuple[str, str]]:
    """The kinds and actions among which events of a type are."""
    if not name:
        return list(TYPES)
    found = [pair for pair, known in TYPES.items() if known == name]
    if name in BY_STATE.values() or name == TYPES["server", "update"]:
        found.append(("server", "update"))
    if name in ATTACHED.values():
        found.append(("volume", "update"))
    return found


@command("listEvents", params=ListEvents, ignored=("entrytime", "startid"))
async def listing(call: Call, params: ListEvents) -> Listed[Any]:
    """Lists events, the latest first."""
    impossible = params.level.upper() not in ("", "INFO") or params.state.lower() not in ("", "completed")
    if impossible or params.archived or not wanted(params.type):
        return Listed([], 0)
    where = conditions(call, params)
    skip, limit = window(params)
    async with call.cloud.view() as look:
        scope = await owners.scope(call, look, params)
        equals: dict[str, Any] = {"project": scope.projects} if scope.projects is not None else {}
        where += scope.where
        if not params.type and not params.keyword:
            found = await page(look, Event, *where, order=("-seq",), skip=skip, limit=limit, **equals)
            return Listed(await shown(look, found.items), found.total)
        latest = await page(look, Event, *where, order=("-seq",), limit=LOOKED_THROUGH, **equals)
        kept = [event for event in latest.items if matches(event, params)]
        return Listed(await shown(look, kept[skip : skip + limit]), len(kept))


def matches(event: Event, params: ListEvents) -> bool:
    name = type_of(event)
    return params.type in ("", name) and params.keyword.lower() in f"{name} {event.subject}".lower()


@command("listEventTypes")
async def types(call: Call, params: Params) -> Listed[Any]:
    """Lists the types of events that there can be."""
    known = {*TYPES.values(), *BY_STATE.values(), *ATTACHED.values()}
    return Listed([{"name": name} for name in sorted(known)], len(known))
