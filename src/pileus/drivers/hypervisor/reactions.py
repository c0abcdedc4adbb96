"""What each verb does in each power state: one table, so that every driver behaves alike."""

from collections.abc import Mapping
from enum import StrEnum
from uuid import UUID

from pileus.drivers.errors import Refused
from pileus.drivers.hypervisor.protocol import Power


class Reaction(StrEnum):
    ACT = "act"
    NOTHING = "nothing"
    """It is so already, or must be left alone: succeed quietly."""
    REFUSE = "refuse"


class Verb(StrEnum):
    """`STOP` and `REBOOT` ask the guest; `KILL` and `RESET` are their forced forms."""

    DEFINE = "define"
    START = "start"
    STOP = "stop"
    KILL = "kill"
    REBOOT = "reboot"
    RESET = "reset"
    PAUSE = "pause"
    RESUME = "resume"
    SUSPEND = "suspend"
    ATTACH = "attach"
    DETACH = "detach"
    RESIZE = "resize a disk of"
    SNAPSHOT = "snapshot a disk of"
    SCREEN = "show the screen of"


_A, _N, _R = Reaction.ACT, Reaction.NOTHING, Reaction.REFUSE
_COLUMNS = (Power.ON, Power.OFF, Power.PAUSED, Power.SUSPENDED, Power.CRASHED)
_ROWS: Mapping[Verb, tuple[Reaction, ...]] = {
    # A suspended guest keeps its definition: the saved memory belongs to it.
    Verb.DEFINE: (_N, _A, _N, _N, _A),
    Verb.START: (_N, _A, _R, _A, _A),
    # A frozen guest hears no request, and libvirt makes none.
    Verb.STOP: (_A, _N, _R, _N, _N),
    # Pulling the plug of a suspended guest drops its saved memory.
    Verb.KILL: (_A, _N, _A, _A, _N),
    Verb.REBOOT: (_A, _R, _R, _R, _R),
    Verb.RESET: (_A, _R, _A, _R, _R),
    Verb.PAUSE: (_A, _R, _N, _R, _R),
    Verb.RESUME: (_N, _R, _A, _R, _R),
    Verb.SUSPEND: (_A, _R, _A, _N, _R),
    # Saved memory knows its devices: they cannot change while it is kept.
    Verb.ATTACH: (_A, _A, _A, _R, _A),
    # A frozen guest cannot let a device go.
    Verb.DETACH: (_A, _A, _R, _R, _A),
    Verb.RESIZE: (_A, _R, _A, _R, _R),
    Verb.SNAPSHOT: (_A, _R, _A, _R, _R),
    Verb.SCREEN: (_A, _R, _A, _R, _R),
}
REACTIONS: Mapping[Verb, Mapping[Power, Reaction]] = {
    verb: dict(zip(_COLUMNS, row, strict=True)) for verb, row in _ROWS.items()
}

_ADVICE: Mapping[Power, str] = {
    Power.ON: "stop it first",
    Power.OFF: "start it first",
    Power.PAUSED: "resume it first, or use force",
    Power.SUSPENDED: "start it first",
    Power.CRASHED: "start it first",
}


def must_act(verb: Verb, guest: UUID, power: Power) -> bool:
    """Whether there is something to do; raises Refused where the verb makes no sense."""
    reaction = REACTIONS[verb][power]
    if reaction is Reaction.REFUSE:
        raise Refused(f"cannot {verb} guest {guest}: it is {power}; {_ADVICE[power]}")
    return reaction is Reaction.ACT
