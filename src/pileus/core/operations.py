"""The journal of long work: CloudStack's async job, Nova's instance action and the source of events in one row."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec

from pileus.store import Record, table


class Taken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step as it went: for the person who wants to know where the time was."""

    step: str
    at: datetime
    """When its last try began."""
    ms: float
    """How long that try took."""
    tries: int = 1
    undo: bool = False
    fault: str = ""


class Outcome(StrEnum):
    RUNNING = "running"
    UNWINDING = "unwinding"
    DONE = "done"
    FAILED = "failed"
    """Undone; `fault` says why."""
    FLAGGED = "flagged"
    """Its undo does not succeed: a person is needed, `fault` and `why` say for what. Still retried."""


LIVE = frozenset({Outcome.RUNNING, Outcome.UNWINDING, Outcome.FLAGGED})
UNDISTURBED = frozenset(
    {
        "server.delete",
        "volume.delete",
        "snapshot.delete",
        "image.delete",
        "volume.detach",
        "snapshot.create",
        "image.from_volume",
    }
)
"""Workflows that whoever supersedes their queue waits for: other deletes, whose intent would be lost, and what saves
something from the object before it goes. Each takes few steps, and gives up by itself."""

LASTING: set[str] = set()
"""Workflows that nobody may call off: what they did cannot be taken back. Filled as workflows are declared."""


@table(
    "operation",
    indexes=(
        ("key", "outcome", "sequence"),
        ("outcome", "wake_at"),
        ("subject", "sequence"),
        ("project", "sequence"),
    ),
    unique=(("sequence",),),
)
class Operation(Record):
    """One run of a workflow. Written with its subject in one transaction; every later write is fenced by owner."""

    id: UUID
    sequence: int
    """Order of acceptance; decides who is first in the queue of one key."""
    workflow: str
    kind: str
    """What the subject is: server, volume, ..."""
    subject: UUID
    key: UUID
    """Operations of one key run one after another, in order of acceptance."""
    project: UUID | None = None
    user: UUID | None = None
    request: str = ""
    """Id of the API request that asked for it."""
    trace: str = ""
    """W3C traceparent of that request (or of the step that started it): the parent of the steps' spans."""
    face: str = ""
    command: str = ""
    """The API's own word for it (deployVirtualMachine, os-start), for job and action lists."""
    want: bytes = b"{}"
    """The request struct, as JSON."""
    done: dict[str, Any] = {}
    """Outputs of the finished steps by their names."""
    taken: tuple[Taken, ...] = ()
    """The steps that ended, in the order in which they did."""
    outcome: Outcome = Outcome.RUNNING
    cancelled: bool = False
    """Somebody asked for its end (a person, a delete): it unwinds before its next step."""
    cancel_reason: str = ""
    """Who or what did, as a sentence: it becomes the fault."""
    step: str = ""
    """The step it is at, or stopped at."""
    why: str = ""
    """What it waits for."""
    fault: str = ""
    fault_kind: str = ""
    """Kind of the core error that ended it; empty for others."""
    tries: int = 0
    first_try: datetime | None = None
    """When the step it is at was tried first, for the step's patience."""
    wake_at: datetime
    owner: str = ""
    lease_until: datetime | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def ending(self) -> str:
        """Why it was cancelled, as a sentence."""
        return self.cancel_reason or "It was cancelled."

    def wanted(self, type_: type[Any]) -> Any:
        return msgspec.json.decode(self.want, type=type_)


class Accepted(msgspec.Struct, frozen=True):
    """A record, and the operation that was started on it."""

    resource: Any
    operation: Operation
