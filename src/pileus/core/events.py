"""Every committed change of a resource, in order, written in the transaction that made it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pileus.store import Record, table


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


SECRET = frozenset({"password", "secret", "admin_password", "user_data", "upload_token", "public_key"})
"""Fields whose values never reach an event."""

QUIET = frozenset({"updated_at", "revision", "seen_at"})
"""Fields whose change alone is no event."""
