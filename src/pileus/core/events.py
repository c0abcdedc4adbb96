"""Every committed change of a resource, in order, written in the transaction that made it; and who may see which."""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.errors import Forbidden, Invalid
from pileus.store import REGISTRY, Record, table


@table("event", key=("seq",), auto="seq", indexes=(("subject", "seq"), ("project", "seq"), ("at",)))
class Event(Record):
    """`change` holds [before, after] by field for updates, the fields of what was made or removed otherwise.
    Fields that are secret never appear."""

    seq: int = 0
    at: datetime
    kind: str
    """Table of the resource: server, volume, network, ..."""
    action: str
    """create, update, delete."""
    subject: UUID
    project: UUID | None = None
    user: UUID | None = None
    operation: UUID | None = None
    request: str = ""
    trace: str = ""
    """W3C traceparent of what asked for the change."""
    change: dict[str, Any] = {}


ACTIONS = ("create", "update", "delete")

SECRET = frozenset({"user_data", "verifier"})
"""Fields whose values never reach an event, besides those whose names say it."""

TELLING = re.compile(
    r"passw|secret|token|blob|hash|cipher|(?:^|[^a-z])(?:pass|keys?)(?:$|[^a-z])", re.IGNORECASE
)

OPEN = frozenset({"key_name"})
"""Fields that sound secret and are not."""

QUIET = frozenset({"updated_at", "revision", "seen_at"})
"""Fields whose change alone is no event."""

PLATFORM = frozenset({"host", "pool", "physical", "vlan"})
"""Fields that tell where things are; only administrators see them."""

OPERATORS = frozenset({"claim"})
"""Kinds that have a project and are no business of it."""

PERSONAL = frozenset(
    {"credential", "application_credential", "key_pair", "oauth_access_token", "oauth_request_token"}
)
"""Kinds that belong to a user: of a project's other members only administrators see who holds what."""

HIDDEN = "(hidden)"
LOGIN = re.compile(r"://[^/@\s]+@")
"""Of an address with a password in it."""


@cache
def secret(field: str) -> bool:
    """Whether values under this name stay out of events. A new field is judged by its name, so none is forgotten."""
    return field in SECRET or (field not in OPEN and TELLING.search(field) is not None)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader asks for; None: any."""

    project: UUID | None = None
    resource: UUID | None = None
    kinds: frozenset[str] | None = None
    actions: frozenset[str] | None = None


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which events one reader gets: what it asks for, and may see."""

    projects: frozenset[UUID] | None
    """None: all, and what belongs to no project; for administrators."""
    user: UUID
    wanted: Wanted
    admin: bool = False

    def passes(self, event: Event) -> bool:
        wanted = self.wanted
        if wanted.resource is not None and event.subject != wanted.resource:
            return False
        if wanted.kinds is not None and event.kind not in wanted.kinds:
            return False
        if wanted.actions is not None and event.action not in wanted.actions:
            return False
        if self.projects is not None and event.project not in self.projects:
            return False
        if self.admin:
            return True
        return event.kind not in OPERATORS and (event.kind not in PERSONAL or event.user == self.user)

    def seen(self, event: Event) -> Event | None:
        """The event as the reader may know it; None when nothing of it is for the reader."""
        if not self.passes(event):
            return None
        left = clean(event.change, frozenset() if self.admin else PLATFORM)
        if event.action == "update" and not left:
            return None
        return event if left == event.change else msgspec.structs.replace(event, change=left)

    @property
    def direct(self) -> bool:
        """Whether an index has the rows in order, so that a page of them is never far to find."""
        wanted = self.wanted
        if wanted.resource is not None:
            return True
        among_all = self.projects is None or len(self.projects) == 1
        return among_all and wanted.kinds is None and wanted.actions is None

    def columns(self) -> dict[str, Any]:
        """The same, as far as the table can tell."""
        wanted = self.wanted
        found: dict[str, Any] = {}
        if wanted.resource is not None:
            found["subject"] = wanted.resource
        if wanted.kinds is not None:
            found["kind"] = tuple(sorted(wanted.kinds))
        if wanted.actions is not None:
            found["action"] = tuple(sorted(wanted.actions))
        if self.projects is not None:
            # One project is an equality, so that its index gives the rows in order.
            found["project"] = next(iter(self.projects)) if len(self.projects) == 1 else tuple(self.projects)
        return found


def clean(change: Mapping[str, Any], also: frozenset[str]) -> dict[str, Any]:
    """Without the fields that are secret, or named; what users wrote under a telling name is covered."""
    return {name: cover(value) for name, value in change.items() if name not in also and not secret(name)}


def cover(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: HIDDEN if secret(name) else cover(inner) for name, inner in value.items()}
    if isinstance(value, str):
        return LOGIN.sub(f"://{HIDDEN}@", value) if "://" in value else value
    return [cover(inner) for inner in value] if isinstance(value, list) else value


def kinds() -> frozenset[str]:
    """Every kind of resource that has events: the records with an id of their own."""
    return frozenset(
        layout.name
        for layout in REGISTRY
        if "id" in layout.columns and layout.cls.__annotations__["id"] is UUID
    )


def allowed(caller: Caller, wanted: Wanted) -> Filter:
    """What the caller gets of what it wants. Raises Forbidden, and Invalid for kinds and actions that do not exist."""
    for known, given, what in (
        (kinds(), wanted.kinds, "kind"),
        (frozenset(ACTIONS), wanted.actions, "action"),
    ):
        unknown = sorted((given or frozenset()) - known)
        if unknown:
            raise Invalid(
                f"Events have no {what} {unknown[0][:100]!r}; there are {', '.join(sorted(known))}."
            )
    if caller.admin:
        projects = None if wanted.project is None else frozenset({wanted.project})
        return Filter(projects=projects, user=caller.user, wanted=wanted, admin=True)
    if wanted.project is not None:
        caller.require("event.read", project=wanted.project)
        projects = frozenset({wanted.project})
    else:
        projects = (caller.visible or frozenset()) | ({caller.project} if caller.project else frozenset())
        if not projects:
            raise Forbidden("Events belong to projects; ask with a token that is scoped to one.")
        for project in projects:
            caller.require("event.read", project=project)
    return Filter(projects=projects, user=caller.user, wanted=wanted)
