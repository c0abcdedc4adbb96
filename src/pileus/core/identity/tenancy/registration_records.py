"""Visitors who want an account: what they asked for, and whom an operator invited."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from pileus.store import Record, table


class RegistrationState(StrEnum):
    UNCONFIRMED = "unconfirmed"
    """The mailed address has not been confirmed."""
    WAITING = "waiting"
    """For an operator's approval."""
    DONE = "done"
    REFUSED = "refused"


@table("registration", indexes=(("state",), ("expires_at",), ("email",), ("source",), ("token",)))
class Registration(Record):
    """`token` and `password` are hashes."""

    id: UUID
    name: str
    email: str
    password: str
    first_name: str = ""
    last_name: str = ""
    organisation: str = ""
    domain: UUID
    token: str = ""
    invitation: UUID | None = None
    state: RegistrationState = RegistrationState.UNCONFIRMED
    reason: str = ""
    """Why it was refused, for the visitor."""
    source: str = ""
    """The address that it came from."""
    user: UUID | None = None
    """Who came of it."""
    created_at: datetime
    expires_at: datetime


@table("invitation", indexes=(("email",), ("token",)))
class Invitation(Record):
    """An operator's leave for one address to register. `token` is hashed."""

    id: UUID
    email: str
    domain: UUID
    token: str
    used: bool = False
    created_at: datetime
    expires_at: datetime
