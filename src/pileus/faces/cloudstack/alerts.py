"""Alerts: what a person should know of, by CloudStack's numbered types."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pileus.core import alerts
from pileus.core.alerts import CUSTOM, Alert, Finding, Which
from pileus.core.cloud import Look
from pileus.core.compute.records import Pod, Zone
from pileus.core.facets import Facet
from pileus.faces.cloudstack.catalogue import CATALOGUE
from pileus.faces.cloudstack.commands import FACE, Call, Done, Listed, command
from pileus.faces.cloudstack.errors import PARAMETER, ApiError, invalid, invalid_id
from pileus.faces.cloudstack.events import named
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Listing, Params, param
from pileus.faces.cloudstack.rendering import moment
from pileus.store import Condition, any_of, like, literal

CAPACITIES: Mapping[str, int] = {
    "ALERT.MEMORY": 0,
    "ALERT.CPU": 1,
    "ALERT.STORAGE": 2,
    "ALERT.STORAGE.ALLOCATED": 3,
    "ALERT.NETWORK.PUBLICIP": 4,
    "ALERT.NETWORK.PRIVATEIP": 5,
    "ALERT.STORAGE.SECONDARY": 6,
}
"""The types that have the number of a capacity."""
TYPES: Mapping[str, int] = {**CAPACITIES, **CATALOGUE.facts.alert_types}
BY_NUMBER: Mapping[int, str] = {number: name for name, number in reversed(list(TYPES.items()))}
"""Of two with one number the first."""
GREATEST = (1 << 15) - 1
OTHERS = "ALERT.MANAGEMENT"
SUBJECTS: Mapping[str, str] = {
    "guest": "ALERT.USERVM",
    "disk": "ALERT.USERVM",
    "nic": "ALERT.USERVM",
    "host": "ALERT.COMPUTE.HOST",
    "network": "ALERT.NETWORK.ROUTING",
    "pool": "ALERT.STORAGE.MISC",
    "volume": "ALERT.STORAGE.MISC",
    "snapshot": "ALERT.STORAGE.MISC",
    "config": "ALERT.STORAGE.MISC",
    "base": "ALERT.STORAGE.MISC",
    "image": "ALERT.STORAGE.MISC",
}
"""By the first word of a kind."""
KINDS: Mapping[str, str] = {
    "guest moved": "ALERT.USERVM.MIGRATE",
    "guest foreign": "ALERT.COMPUTE.HOST",
    "pool full": "ALERT.STORAGE",
}
"""Those that are called otherwise than their subject's."""


class ListAlerts(Listing):
    id: UUID | None = param("id", "list by id", default=None)
    type: str = param("type", "list by the number of the type", default="")
    name: str = param("name", "list by the name of the type", default="")


class PutAway(Params):
    ids: tuple[UUID, ...] = param("ids", "these alerts", default=())
    type: str = param("type", "alerts of the type with this number", default="")
    since: datetime | None = param("startdate", "with enddate: alerts from this time on", default=None)
    until: datetime | None = param("enddate", "alerts up to this time", default=None)


class GenerateAlert(Params):
    type: int = param("type", "number of the type; one that there is already needs its name")
    name: str = param("name", "name of the type")
    text: str = param("description", "what a person should know", length=999)
    zone: UUID | None = param("zoneid", "the zone that it is about", default=None)
    pod: UUID | None = param("podid", "the pod that it is about", default=None)


def name_of(kind: str) -> str:
    """The type of a kind of finding."""
    return KINDS.get(kind) or SUBJECTS.get(kind.partition(" ")[0], OTHERS)


def typed(alert: Alert, facet: Mapping[str, Any]) -> tuple[int, str]:
    """Number and name; what was posted by generateAlert keeps its own."""
    name = facet.get("name") or name_of(alert.kind)
    return facet.get("type", TYPES.get(name, TYPES[OTHERS])), name


async def facets(look: Look, found: Sequence[Alert]) -> dict[UUID, dict[str, Any]]:
    posted = tuple(alert.id for alert in found if alert.kind == CUSTOM)
    held = await look.list(Facet, face=FACE, subject=posted) if posted else []
    return {each.subject: each.values for each in held}


async def shown(look: Look, found: Sequence[Alert]) -> list[dict[str, Any]]:
    own = await facets(look, found)
    made = []
    for alert in found:
        number, name = typed(alert, own.get(alert.id, {}))
        made.append(
            {
                "id": alert.id,
                "type": number,
                "name": name,
                "description": described(alert),
                "sent": alert.last_at,
            }
        )
    return made


def described(alert: Alert) -> str:
    times = f" (seen {alert.count} times)" if alert.count > 1 else ""
    over = f" (over since {moment(alert.cleared_at)})" if alert.cleared_at else ""
    return f"{alert.text}{times}{over}"


async def of_type(
    call: Call, number: str, name: str, *where: Condition, since: datetime | None = None,
    until: datetime | None = None, **equals: Any,
) -> list[Alert]:  # fmt: skip
    """All of a type, archived or not as `equals` says; types are no columns."""
    found = await alerts.listing(
        call.cloud, call.caller, *where, *Which(since=since, until=until).filters()[0], project=None, **equals
    )
    async with call.cloud.view() as look:
        own = await facets(look, found.items)
    kept = []
    for alert in found.items:
        its_number, its_name = typed(alert, own.get(alert.id, {}))
        if number in ("", str(its_number)) and name.lower() in ("", its_name.lower()):
            kept.append(alert)
    return kept


@command("listAlerts", params=ListAlerts)
async def listing(call: Call, params: ListAlerts) -> Listed[Any]:
    """Lists alerts that are not archived, those that are over included; those first that were seen last."""
    where: list[Condition] = []
    if params.keyword:
        pattern = f"%{literal(params.keyword)}%"
        where.append(any_of(like("text", pattern), like("kind", pattern), like("name", pattern)))
    equals: dict[str, Any] = {"archived": False} | ({"id": params.id} if params.id else {})
    skip, limit = window(params)
    if params.type or params.name:
        kept = await of_type(call, params.type.strip(), params.name, *where, **equals)
        items, total = kept[skip : skip + limit], len(kept)
    else:
        found = await alerts.listing(
            call.cloud, call.caller, *where, project=None, skip=skip, limit=limit, **equals
        )
        items, total = found.items, found.total
    async with call.cloud.view() as look:
        return Listed(await shown(look, items), total)


@command("listAlertTypes", key="alerttype")
async def types(call: Call, params: Params) -> Listed[Any]:
    """Lists the types of alerts that the cloud has names for."""
    known = sorted(TYPES.items(), key=lambda pair: (pair[1], pair[0]))
    return Listed([{"type": number, "name": name} for name, number in known], len(known))


@command("archiveAlerts", params=PutAway)
async def archive(call: Call, params: PutAway) -> None:
    """Puts alerts away. What is still so is counted on, and listed again when it comes back."""
    await alerts.archive(call.cloud, call.caller, await which(call, params))


@command("deleteAlerts", params=PutAway)
async def delete(call: Call, params: PutAway) -> None:
    """Deletes alerts. What is still so is raised anew by the next look."""
    await alerts.remove(call.cloud, call.caller, await which(call, params))


async def which(call: Call, params: PutAway) -> Which:
    """Raises ApiError when nothing is named, or an id is no alert's."""
    named(params.ids, params.type, params.since, params.until)
    ids = tuple(set(params.ids)) or None
    if ids is not None or params.type:
        equals: dict[str, Any] = {} if ids is None else {"id": ids}
        found = await of_type(call, params.type.strip(), "", since=params.since, until=params.until, **equals)
        if ids is not None and len(found) < len(ids):
            raise ApiError(PARAMETER, "Not all of ids are alerts of that type and time; list them again.")
        ids = tuple(alert.id for alert in found)
    return Which(ids=ids, since=params.since, until=params.until)


@command("generateAlert", params=GenerateAlert)
async def generate(call: Call, params: GenerateAlert) -> Done:
    """Posts an alert; it is listed until it is archived or deleted."""
    if not 0 <= params.type <= GREATEST:
        raise invalid(call.name, "type", str(params.type), f"a number from 0 to {GREATEST} is needed.")
    known = BY_NUMBER.get(params.type)
    if known is not None and TYPES.get(params.name.upper()) != params.type:
        raise ApiError(
            PARAMETER,
            f"Type {params.type} is {known}; give it that name, or choose a number that no type has.",
            exception="InvalidParameterValueException",
        )
    zone = await placed(call, params)
    finding = Finding(
        kind=CUSTOM,
        name=params.name,
        text=params.text,
        zone=zone,
        pod=params.pod,
    )
    kept = {"type": params.type, "name": params.name if known is None else params.name.upper()}
    return Done(record=await alerts.post(call.cloud, call.caller, finding, facets={FACE: kept}))


async def placed(call: Call, params: GenerateAlert) -> UUID | None:
    """The zone, of the pod when only that is named. Raises ApiError for what there is not."""
    async with call.cloud.view() as look:
        if params.zone is not None and await look.maybe(Zone, params.zone) is None:
            raise invalid_id(call.name, "zoneid", str(params.zone))
        pod = await look.maybe(Pod, params.pod) if params.pod else None
    if params.pod is None:
        return params.zone
    if pod is None or params.zone not in (None, pod.zone):
        raise invalid_id(call.name, "podid", str(params.pod))
    return pod.zone
