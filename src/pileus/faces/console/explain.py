"""Why a server is on its host or on none, and what a new one would meet. Hosts are named to administrators."""

from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.placement import decisions
from pileus.core.placement.records import Candidate, Decision, Explanation
from pileus.faces.console.service import SERVICE
from pileus.faces.wire import Request

READ = "console:placement:explain"


class PlacementQuery(msgspec.Struct, frozen=True, kw_only=True):
    size: str
    """Id, or the text by which the compute API knows it."""
    zone: str = ""
    """Id or name; empty: any."""


@SERVICE.operation("GET", "/servers/{server}/explain", policy=READ)
async def server(request: Request, server: UUID) -> dict[str, Any]:
    found = await decisions.show(request.cloud, request.caller, server)
    held = found.server
    return {
        "server": {
            "id": held.id,
            "name": held.name,
            "state": held.state,
            "fault": held.fault,
            "host": held.host if request.caller.admin else None,
        },
        "decision": decided(found.decision) if found.decision else None,
        "earlier": [decided(each) for each in found.earlier],
        "now": explained(found.now) if found.now else None,
    }


@SERVICE.operation("GET", "/placement/explain", policy=READ, query=PlacementQuery)
async def placement(request: Request, query: PlacementQuery) -> dict[str, Any]:
    """Whether one server of a size would fit now."""
    zone = key(query.zone) if query.zone else None
    told = await decisions.would_fit(request.cloud, request.caller, key(query.size), zone=zone)
    return {"explanation": explained(told)}


def key(text: str) -> UUID | str:
    """What reads as an id is one."""
    with suppress(ValueError):
        return UUID(text)
    return text


def decided(decision: Decision) -> dict[str, Any]:
    return {
        "id": decision.id,
        "operation": decision.operation,
        "at": decision.at,
        "placed": decision.explanation.winner is not None,
        **explained(decision.explanation),
    }


def explained(told: Explanation) -> dict[str, Any]:
    return {
        "asked": told.asked,
        "strategy": told.strategy,
        "considered": told.considered,
        "fits": told.fits,
        "removed": [{"filter": each.filter, "hosts": each.hosts, "text": each.text} for each in told.removed],
        "nearest": [
            {
                "host": miss.host,
                "hostname": miss.hostname or None,
                "lacks": miss.lacks,
                "note": miss.note or None,
            }
            for miss in told.nearest
        ],
        "winner": candidate(told.winner) if told.winner else None,
        "alternatives": [candidate(each) for each in told.alternatives],
        "advice": list(told.advice),
    }


def candidate(one: Candidate) -> dict[str, Any]:
    return {"host": one.host, "hostname": one.hostname or None, "score": one.score, "why": one.why}
