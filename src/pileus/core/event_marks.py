"""Events that people have put away: a face's own list leaves them out, and the stream of events stays as it is."""

from collections.abc import Iterable, Sequence
from enum import StrEnum

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import NotFound
from pileus.core.events import Event, Wanted, allowed
from pileus.store import Record, le, table

CHUNK = 500
"""How many are marked in one transaction."""


class Mark(StrEnum):
    ARCHIVED = "archived"
    """Listed when asked for."""
    DELETED = "deleted"
    """Never listed again."""


@table("event_mark", key=("face", "seq"), indexes=(("seq",), ("face", "mark", "seq")))
class EventMark(Record):
    face: str
    """Whose list it is left out of."""
    seq: int
    mark: Mark


async def of_events(look: Look, face: str, events: Iterable[Event]) -> dict[int, Mark]:
    """By number, of those that have a mark."""
    numbers = tuple(event.seq for event in events)
    found = await look.list(EventMark, face=face, seq=numbers) if numbers else []
    return {each.seq: each.mark for each in found}


async def latest(look: Look, face: str, mark: Mark, most: int) -> tuple[int, ...]:
    """The numbers of the latest events with a mark, the latest first."""
    found = await look.list(EventMark, face=face, mark=mark, order=("-seq",), limit=most)
    return tuple(each.seq for each in found)


async def put_away(cloud: Cloud, caller: Caller, face: str, mark: Mark, events: Sequence[Event]) -> None:
    """Mark them for this face; may be repeated. Raises NotFound for one that the caller may not see, and Forbidden."""
    may_see = allowed(caller, Wanted())
    for event in events:
        if not may_see.passes(event):
            raise NotFound("Event", event.seq)
    for project in {event.project for event in events}:
        if project is None:
            caller.require_admin("event.update")
        else:
            caller.require("event.update", project=project)
    for start in range(0, len(events), CHUNK):
        async with cloud.transaction(caller) as tx:
            for event in events[start : start + CHUNK]:
                await tx.rows.put(EventMark(face=face, seq=event.seq, mark=mark))


async def forget(tx: Tx, last: int) -> None:
    """The events up to this number are removed, and with them their marks."""
    await tx.rows.delete_where(EventMark, le("seq", last))
