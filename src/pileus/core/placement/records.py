"""What servers hold of hosts, and why they were placed where they are."""

from datetime import datetime
from uuid import UUID

import msgspec

from pileus.store import Record, table


@table("claim", indexes=(("host",),))
class Claim(Record):
    """A consumer's (server's) share of a host; made and removed together with the host's counters. Memory in MiB, disk in GiB."""

    id: UUID
    """The consumer: the server's id."""
    host: UUID
    project: UUID
    user: UUID
    vcpus: int
    memory_mib: int
    disk_gib: int


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """The hosts that one filter removed of those that the filters before it had left. `text` names no host."""

    filter: str
    hosts: int
    text: str


class Miss(msgspec.Struct, frozen=True, kw_only=True):
    """A host that nearly fits. `host`, `hostname` and `note` are for administrators."""

    host: UUID | None = None
    hostname: str = ""
    lacks: str
    note: str = ""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A host that fits: the greatest score wins. `host` and `hostname` are for administrators."""

    host: UUID | None = None
    hostname: str = ""
    score: float
    why: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What a placement met: considered = fits + the hosts of all `removed`."""

    asked: str
    strategy: str
    considered: int
    fits: int
    removed: tuple[Removed, ...] = ()
    nearest: tuple[Miss, ...] = ()
    winner: Candidate | None = None
    alternatives: tuple[Candidate, ...] = ()
    advice: tuple[str, ...] = ()
    """Changes that would make it fit, the smallest first; empty where it fits."""


@table("placement_decision", indexes=(("server", "at"),))
class Decision(Record):
    """One choice of a host for a server, as it was at that time."""

    id: UUID
    server: UUID
    operation: UUID | None = None
    project: UUID
    at: datetime
    host: UUID | None = None
    """None: no host fitted."""
    strategy: str
    explanation: Explanation
