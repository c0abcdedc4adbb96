"""The story of a few objects in one run, for `tools/simulate.py --about`: what platforms were asked of them, their events
and operations, in order of time."""

from collections.abc import Sequence

import msgspec

from pileus.core.cloud import Look
from pileus.core.events import Event
from pileus.core.operations import Operation
from pileus.drivers.faults import Told
from tests.simulation.timing import EPOCH

Line = tuple[float, str]


def call(told: Told) -> Line:
    return told.at - EPOCH.timestamp(), f"{told.platform} {told.call} {told.subject} {told.outcome}"


def event(one: Event) -> Line:
    change = {name: value for name, value in one.change.items() if name != "updated_at"}
    told = change if one.action == "update" else ""
    at = (one.at - EPOCH).total_seconds()
    return at, f"EVENT {one.kind} {one.subject} {one.action} by {one.operation or one.request} {told}"


def operation(one: Operation) -> Line:
    steps = [
        f"{taken.step}{' undone' if taken.undo else ''} at {(taken.at - EPOCH).total_seconds():.3f}"
        f"{': ' + taken.fault if taken.fault else ''}"
        for taken in one.taken
    ]
    at = (one.created_at - EPOCH).total_seconds()
    end = (one.finished_at - EPOCH).total_seconds() if one.finished_at else None
    return at, (
        f"OPERATION {one.id} {one.workflow} of {one.subject} {one.want.decode()}: {one.outcome} at {end} "
        f"{one.fault} {steps}"
    )


async def story(look: Look, calls: Sequence[Told], ids: Sequence[str]) -> list[str]:
    """Of the objects whose ids begin so, or are named in what happened."""
    lines = [call(told) for told in calls]
    for one in await look.list(Event, order=("seq",)):
        if concerns(msgspec.json.encode(one), ids):
            lines.append(event(one))
    for other in await look.list(Operation, order=("sequence",)):
        if concerns(msgspec.json.encode(other), ids):
            lines.append(operation(other))
    return [f"{at:10.3f} {text}" for at, text in sorted(lines, key=lambda line: line[0])]


def concerns(text: bytes, ids: Sequence[str]) -> bool:
    return any(id.encode() in text for id in ids)
