"""Following events for as long as one may: a stream ends with the session that opened it."""

from collections.abc import AsyncGenerator
from datetime import timedelta

import msgspec

from pileus.core import stream
from pileus.core.cloud import Cloud
from pileus.core.errors import CoreError, Unauthenticated
from pileus.core.events import Event, Filter, Wanted, allowed
from pileus.core.identity.authorization import access
from pileus.core.identity.authorization.access import Session
from pileus.core.identity.changes import change_count

BEAT = 15.0
"""Seconds of silence after which a sign of life is given."""
FRESH = timedelta(seconds=1)
"""How long a check of the session holds while events flow."""
SHORTEST = 0.05


class Batch(msgspec.Struct, frozen=True):
    """What to send next. Without events and `end`: a sign of life."""

    events: list[Event]
    position: int
    """Where to go on after it."""
    end: str = ""
    """Why the stream ends here."""


class Watch:
    """Whether the session is still good, and still sees the same."""

    def __init__(self, cloud: Cloud, session: Session, wanted: Wanted) -> None:
        self._cloud, self._session, self._wanted = cloud, session, wanted
        self.filter: Filter = allowed(session.caller, wanted)
        self._change: int | None = None
        self._checked = cloud.now() - 2 * FRESH
        credential = session.application_credential
        ends = [session.token.expires_at, credential.expires_at if credential else None]
        self._until = min(end for end in ends if end is not None)

    def left(self) -> float:
        """Seconds until the session ends by itself."""
        return max(SHORTEST, (self._until - self._cloud.now()).total_seconds())

    async def over(self) -> str:
        """Why it is over; empty while it is not."""
        now = self._cloud.now()
        if now >= self._until:
            return "The token has expired: log in again."
        if now - self._checked < FRESH:
            return ""
        self._checked = now
        try:
            async with self._cloud.view() as look:
                change = await change_count(look)
                if change == self._change:
                    return ""
                session = await access.resolve(look, self._session.token)
            self._change = change
            same = allowed(session.caller, self._wanted) == self.filter
        except Unauthenticated:
            return "The token is not good any more: it was revoked, or its user or project was disabled."
        except CoreError as error:
            return error.public
        return "" if same else "What you may see has changed: connect again."


async def follow(
    cloud: Cloud, session: Session, wanted: Wanted, after: stream.After
) -> AsyncGenerator[Batch, None]:
    """Batches of events, first an empty one with the place, at last one with the reason of the end.

    Raises, before the first: Removed, Invalid, Forbidden, Unavailable.
    """
    watch = Watch(cloud, session, wanted)
    feed = stream.of(cloud)
    async with feed.follower(watch.filter, after) as follower:
        yield Batch([], follower.position)
        while True:
            end = "The cloud is being stopped: connect again." if feed.stopping else await watch.over()
            if end:
                yield Batch([], follower.position, end)
                return
            try:
                events = await follower.read()
            except stream.Removed as error:
                yield Batch([], follower.position, error.public)
                return
            if events:
                yield Batch(events, follower.position)
            elif follower.caught_up and not await follower.wait(min(BEAT, watch.left())):
                yield Batch([], follower.position)
