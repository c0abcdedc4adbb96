"""Tickets: a token's holder lets one request in that cannot carry the token, such as a browser's event stream."""

import hashlib
import secrets
from datetime import datetime, timedelta

from pileus.core.cloud import Cloud
from pileus.core.errors import Unauthenticated
from pileus.core.identity.authentication.tokens import Token
from pileus.core.identity.authorization import access
from pileus.core.identity.authorization.access import Session
from pileus.store import Record, lt, table

SECONDS = 60
EVENTS = "events"
"""The purpose of a ticket that opens one stream of events."""


@table("ticket", indexes=(("expires_at",),))
class Ticket(Record):
    """Opens one thing once. `id` is a hash of the ticket that the client holds."""

    id: str
    purpose: str
    holder: Token
    """What the token says that asked for it; what it may do is looked up when the ticket is used."""
    expires_at: datetime


async def issue(cloud: Cloud, session: Session, purpose: str) -> str:
    """A ticket for one request within a minute, in the session's name."""
    text, now = secrets.token_urlsafe(24), cloud.now()
    until = now + timedelta(seconds=SECONDS)
    async with cloud.transaction() as tx:
        await tx.rows.delete_where(Ticket, lt("expires_at", now))
        await tx.rows.insert(
            Ticket(id=_digest(text), purpose=purpose, holder=session.token, expires_at=until)
        )
    return text


async def redeem(cloud: Cloud, text: str, purpose: str) -> Session:
    """The session that the ticket stands for, as the records are now; the ticket is used up. Raises Unauthenticated."""
    async with cloud.transaction() as tx:
        held = await tx.maybe(Ticket, _digest(text))
        good = held is not None and held.purpose == purpose and held.expires_at >= cloud.now()
        if held is not None and good:
            await tx.rows.delete(Ticket, held.id)
    if held is None or not good:
        raise Unauthenticated("This ticket was used or is too old; ask for a new one.")
    async with cloud.view() as look:
        session = await access.resolve(look, held.holder)
    access.refuse_expired(session, cloud.now())
    return session


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
