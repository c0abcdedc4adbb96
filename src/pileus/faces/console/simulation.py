"""Faults in a simulated cloud: what is wrong with its platforms, and making it so."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from pileus.core.errors import Invalid
from pileus.drivers.faults import Fault, FaultKind
from pileus.faces.console.service import POLICIES, SERVICE
from pileus.faces.wire import Request
from pileus.workflows import simulation
from pileus.workflows.simulation import Imposed

READ, WRITE = "console:simulation:read", "console:simulation:write"
POLICIES |= {READ: "role:admin", WRITE: "role:admin"}
Seconds = Annotated[float, Meta(ge=0, le=86400 * 365)]


class NewFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`host`: a host's name or id, `network`, `images`, or the id of a storage pool."""

    host: Annotated[str, Meta(min_length=1, max_length=255)]
    fault: Annotated[str, Meta(max_length=64)]
    call: Annotated[str, Meta(max_length=64)] = ""
    chance: Annotated[float, Meta(gt=0, le=1)] = 1.0
    times: Annotated[int, Meta(ge=0, le=1 << 31)] = 0
    factor: Annotated[float, Meta(ge=0, le=1_000_000)] = 10.0
    seconds: Seconds = 30.0
    after: Seconds = 0.0
    lasts: Seconds = 0.0


def kind(text: str) -> FaultKind:
    try:
        return FaultKind(text)
    except ValueError:
        raise Invalid(f"There is no fault {text!r}; there are {', '.join(FaultKind)}.") from None


def view(imposed: Imposed) -> dict[str, Any]:
    fault = imposed.fault
    return {
        "id": imposed.id,
        "platform": imposed.platform,
        "host": imposed.host,
        "fault": fault.kind,
        "call": fault.call,
        "chance": fault.chance,
        "times": fault.times,
        "factor": fault.factor,
        "seconds": fault.seconds,
        "after": fault.after,
        "lasts": fault.lasts,
    }


@SERVICE.operation("POST", "/simulation/faults", policy=WRITE, body=NewFault, status=201)
async def create(request: Request, body: NewFault) -> dict[str, Any]:
    fault = Fault(
        kind=kind(body.fault),
        call=body.call,
        chance=body.chance,
        times=body.times,
        factor=body.factor,
        seconds=body.seconds,
        after=body.after,
        lasts=body.lasts,
    )
    return {"fault": view(await simulation.impose(request.site, request.caller, body.host, fault))}


@SERVICE.operation("GET", "/simulation/faults", policy=READ)
async def list_all(request: Request) -> dict[str, Any]:
    return {"faults": [view(each) for each in await simulation.listing(request.site, request.caller)]}


@SERVICE.operation("DELETE", "/simulation/faults/{fault}", policy=WRITE, status=204)
async def delete(request: Request, fault: UUID) -> None:
    await simulation.lift(request.site, request.caller, fault)


@SERVICE.operation("DELETE", "/simulation/faults", policy=WRITE, status=204)
async def delete_all(request: Request) -> None:
    await simulation.lift_all(request.site, request.caller)
