"""How an operation went, step by step: noted with its journal, and shown with the steps that are still to come."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from pileus.core.operations import Operation, Outcome, Taken


def note(taken: list[Taken], entry: Taken) -> None:
    """Add a step that ended. A step has one entry and its undo another, however often they are tried: the timeline
    of an undo that fails for days stays short."""
    for place, known in enumerate(taken):
        if (known.step, known.undo) == (entry.step, entry.undo):
            tries = known.tries + 1 if entry.undo else entry.tries
            taken[place] = msgspec.structs.replace(entry, tries=tries)
            return
    taken.append(entry)


class Mark(StrEnum):
    DONE = "done"
    CURRENT = "current"
    """It runs, or waits to be tried again."""
    FAILED = "failed"
    UNDONE = "undone"
    UNDOING = "undoing"
    """Its undo does not succeed yet."""
    AHEAD = "ahead"
    """Not reached."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the workflow. `at`: when its last try began; `ms`: how long that took."""

    step: str
    mark: Mark
    at: datetime | None = None
    ms: float | None = None
    tries: int = 0
    why: str = ""
    """What it waits for."""
    fault: str = ""
    undo: Taken | None = None


def lines(steps: Sequence[str], operation: Operation) -> list[Line]:
    """Every step in the order of the workflow, given by their names; those that it no longer has come first."""
    forth = {entry.step: entry for entry in operation.taken if not entry.undo}
    back = {entry.step: entry for entry in operation.taken if entry.undo}
    known = dict.fromkeys((*forth, *back))
    names = [*(name for name in known if name not in steps), *steps]
    at = next((name for name in steps if name not in operation.done), None)
    current = at if operation.outcome is Outcome.RUNNING else None
    return [_line(name, operation, forth.get(name), back.get(name), name == current) for name in names]


def _line(name: str, operation: Operation, forth: Taken | None, back: Taken | None, current: bool) -> Line:
    if current:
        return Line(
            step=name, mark=Mark.CURRENT, at=operation.first_try, tries=operation.tries, why=operation.why
        )
    if back is not None:
        mark = Mark.UNDOING if back.fault else Mark.UNDONE
    elif forth is not None:
        mark = Mark.FAILED if forth.fault else Mark.DONE
    else:
        mark = Mark.DONE if name in operation.done else Mark.AHEAD
    if forth is None:
        return Line(step=name, mark=mark, undo=back)
    return Line(
        step=name, mark=mark, at=forth.at, ms=forth.ms, tries=forth.tries, fault=forth.fault, undo=back
    )
