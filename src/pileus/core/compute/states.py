"""What may be asked of a server in which state, as tables."""

from collections.abc import Mapping
from enum import StrEnum
from uuid import UUID

import msgspec

from pileus.core.compute.records import TRANSITIONAL, Server, State
from pileus.core.errors import Conflict

S = State


class Verb(StrEnum):
    """What changes a server's state; `server.<verb>` is its workflow."""

    START = "start"
    STOP = "stop"
    REBOOT = "reboot"
    REBOOT_HARD = "reboot hard"
    PAUSE = "pause"
    UNPAUSE = "unpause"
    SUSPEND = "suspend"
    RESUME = "resume"
    DESTROY = "destroy"
    RECOVER = "recover"
    DELETE = "delete"


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Allowed in the states of `of`; meanwhile the server is `during`, and `after` when it went well."""

    of: frozenset[State]
    during: State
    after: State


VERBS: Mapping[Verb, Change] = {
    Verb.START: Change(of=frozenset({S.STOPPED}), during=S.STARTING, after=S.ACTIVE),
    Verb.STOP: Change(of=frozenset({S.ACTIVE, S.ERROR}), during=S.STOPPING, after=S.STOPPED),
    Verb.REBOOT: Change(of=frozenset({S.ACTIVE}), during=S.REBOOTING, after=S.ACTIVE),
    Verb.REBOOT_HARD: Change(
        of=frozenset({S.ACTIVE, S.STOPPED, S.PAUSED, S.SUSPENDED, S.ERROR, S.REBOOTING}),
        during=S.REBOOTING_HARD,
        after=S.ACTIVE,
    ),
    Verb.PAUSE: Change(of=frozenset({S.ACTIVE}), during=S.PAUSING, after=S.PAUSED),
    Verb.UNPAUSE: Change(of=frozenset({S.PAUSED}), during=S.UNPAUSING, after=S.ACTIVE),
    Verb.SUSPEND: Change(of=frozenset({S.ACTIVE}), during=S.SUSPENDING, after=S.SUSPENDED),
    Verb.RESUME: Change(of=frozenset({S.SUSPENDED}), during=S.RESUMING, after=S.ACTIVE),
    Verb.DESTROY: Change(
        of=frozenset(State) - {S.BUILDING, S.DELETING},
        during=S.DESTROYING,
        after=S.DESTROYED,
    ),
    Verb.RECOVER: Change(of=frozenset({S.DESTROYED}), during=S.RECOVERING, after=S.STOPPED),
    Verb.DELETE: Change(of=frozenset(State), during=S.DELETING, after=S.DELETING),
}

WITHOUT_HOST = frozenset({Verb.DESTROY, Verb.RECOVER, Verb.DELETE})
"""What can be done to a server whose build failed, which is on no host."""

STEADY = frozenset(State) - TRANSITIONAL
OBSERVED = {
    (S.ACTIVE, S.STOPPED),
    (S.ACTIVE, S.PAUSED),
    (S.ACTIVE, S.SUSPENDED),
    (S.STOPPED, S.ACTIVE),
    (S.PAUSED, S.ACTIVE),
    (S.PAUSED, S.STOPPED),
    (S.SUSPENDED, S.ACTIVE),
}
"""What the reconciler may record without an operation, because the platform says so."""


def transitions() -> dict[State, frozenset[State]]:
    table: dict[State, set[State]] = {state: {S.ERROR} for state in State}
    table[S.BUILDING].add(S.ACTIVE)
    for change in VERBS.values():
        for state in change.of:
            table[state].add(change.during)
        # A change that fails leaves the server as it was.
        table[change.during] |= {change.after} | (change.of & STEADY)
    for before, after in OBSERVED:
        table[before].add(after)
    return {state: frozenset(targets - {state}) for state, targets in table.items()}


TRANSITIONS: Mapping[State, frozenset[State]] = transitions()


class StateConflict(Conflict):
    """The server's state does not allow the verb."""

    def __init__(self, server: UUID, verb: str, state: State) -> None:
        super().__init__(f"Server {server} is {state}; it cannot {verb} now.")
        self.server, self.verb, self.state = server, verb, state


class Locked(Conflict):
    def __init__(self, server: UUID) -> None:
        super().__init__(f"Server {server} is locked; unlock it first.")
        self.server = server


class HostUnready(Conflict):
    """The server is on no host."""

    def __init__(self, server: UUID) -> None:
        super().__init__(f"Server {server} is on no host, because its build failed; delete it.")
        self.server = server


def check(server: Server, verb: Verb) -> Change:
    """The change, when the server's state allows it. Raises StateConflict, HostUnready."""
    change = VERBS[verb]
    if server.state not in change.of:
        raise StateConflict(server.id, verb.value, server.state)
    if server.host is None and verb not in WITHOUT_HOST:
        raise HostUnready(server.id)
    return change
