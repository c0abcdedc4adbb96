"""The events as they come: one reader of the table for a process, and any number of followers that it wakes.

A follower keeps no events, only how far it has read: it takes new ones from the ring that all share, and older ones
from the table in pages. So a slow one costs nothing, and an idle one is touched only by what it waits for.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Literal
from uuid import UUID

import msgspec
import structlog

from pileus.core import event_marks
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.counters import Counter
from pileus.core.errors import CoreError, Invalid, Kind, Unavailable
from pileus.core.events import Event, Filter, Wanted, allowed
from pileus.core.identity.percloud import per_cloud
from pileus.store import Store, StoreError, View, gt, le

log = structlog.get_logger()

After = int | Literal["latest", "oldest"]
"""Where to begin: behind a number, behind the last of now, before the first that is kept. -N: N numbers before the last."""

RING = 4096
PAGE = 500
SPAN = 5_000
"""How many numbers one look into the table covers, so that a filter that lets little pass holds nobody up."""
LOOKS = 100
"""How many looks one page of a list takes at most."""
LINGER = 0.01
"""Commits that come this close after another are read together."""
UNSETTLED = (0.01, 0.05)
"""The first and the longest pause while a lower number may still appear."""
POLL = {"sqlite": 5.0, "postgresql": 0.1}
"""How soon what another process committed is noticed."""
PATIENCE = 5.0
RETRY = 1.0
SLICE = 1_000
REMOVED = "events removed"


class Removed(CoreError):
    """What is asked for was removed after its time; `oldest` is the first number that may still be there."""

    kind = Kind.NOT_FOUND

    def __init__(self, after: int, removed: int) -> None:
        self.oldest = removed + 1
        super().__init__(
            f"Events after {after} are not all kept: the oldest is number {self.oldest}. "
            f"Ask with after={removed} or after=oldest, and look at the resources for what changed before."
        )


class Page(msgspec.Struct, frozen=True):
    """Events in order; ask for those after `next`, while there are `more`."""

    events: list[Event]
    next: int
    more: bool


class Follower:
    """One who follows the events. `position`: all up to this number was given or does not pass the filter."""

    def __init__(self, feed: "Feed", filter: Filter, position: int) -> None:
        self._feed, self.filter, self.position = feed, filter, position
        self._woken = asyncio.Event()
        self._idle = False

    @property
    def caught_up(self) -> bool:
        return self.position >= self._feed.last

    async def read(self) -> list[Event]:
        """The next ones, at most a page; none may also mean that none of the next passes. Raises Removed."""
        if self.caught_up:
            return []
        feed = self._feed
        if self.position < feed.floor:
            found, self.position = await feed.stored(self.filter, self.position, feed.last)
        else:
            recent = feed.recent(self.position)
            self.position = recent[-1].seq if len(recent) == PAGE else feed.last
            found = list(seen(self.filter, recent))
        return found

    async def wait(self, seconds: float) -> bool:
        """Until there is something to read or the feed stops; False when the time was over first."""
        if not self.caught_up or self._feed.stopping:
            return True
        self._woken.clear()
        self._idle = True
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        if self._idle:  # nobody woke it: nothing that passes has come
            self._idle = False
            self.position = max(self.position, self._feed.last)
        return self._woken.is_set()

    def offer(self, event: Event) -> None:
        """Wake up for an event that passes; all before it did not."""
        if self._idle and event.seq > self.position and self.filter.passes(event):
            self.position = event.seq - 1
            self.wake()

    def wake(self) -> None:
        self._idle = False
        self._woken.set()


class Feed:
    """Reads new events once for all followers of this process, while there are any."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._numbers = store.numbers(Event)
        self._pause = POLL[store.dialect]
        self._ring: list[Event] = []
        self.floor = self.last = 0
        """The ring holds every event after `floor` up to `last`."""
        self.stopping = False
        self._followers: dict[UUID | None, set[Follower]] = {}
        self._count = 0
        self._committed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._beginning = asyncio.Lock()

    def committed(self) -> None:
        """This process has committed an event."""
        self._committed.set()

    def stop(self) -> None:
        """The process ends: every follower is told."""
        self.stopping = True
        for followers in self._followers.values():
            for follower in followers:
                follower.wake()

    @asynccontextmanager
    async def follower(self, filter: Filter, after: After) -> AsyncIterator[Follower]:
        """Raises Removed, Invalid for a number that was never given, Unavailable."""
        self._count += 1
        names: tuple[UUID | None, ...] = ()
        try:
            async with self._beginning:
                if self._task is None:
                    await self._begin()
            made = Follower(self, filter, await self.place(after))
            names = names_of(filter)
            for name in names:
                self._followers.setdefault(name, set()).add(made)
            yield made
        finally:
            self._count -= 1
            for name in names:
                self._followers[name].discard(made)
                if not self._followers[name]:
                    del self._followers[name]
            if self._count == 0 and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _begin(self) -> None:
        self.floor = self.last = await self.settled()
        self._ring = []
        self._task = asyncio.create_task(self._run(), name="events")

    async def place(self, after: After) -> int:
        """The number behind which to begin."""
        settled = await self.settled()
        async with self._store.view() as view:
            removed = await removed_up_to(view)
        if after == "latest":
            return settled
        if after == "oldest":
            return removed
        if after < 0:
            return max(removed, settled + after)
        if after < removed:
            raise Removed(after, removed)
        if after > settled and after > (given := (await self._numbers.horizon()).given):
            raise Invalid(f"There is no event {after} yet: the last one is {given}. Ask with after=latest.")
        return after

    async def settled(self) -> int:
        """A number so high that everything committed before this call is up to it. Raises Unavailable."""
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + PATIENCE, UNSETTLED[0]
        horizon = await self._numbers.horizon()
        wanted = horizon.given
        while horizon.settled < wanted:
            if loop.time() > until:
                raise Unavailable(
                    f"A change has been under way for more than {PATIENCE:.0f} s; ask again later."
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, UNSETTLED[1])
            horizon = await self._numbers.horizon()
        return horizon.settled

    async def stored(
        self, filter: Filter, position: int, end: int, count: int = PAGE
    ) -> tuple[list[Event], int]:
        """From the table: those that pass among the next numbers, and up to which number was looked. Raises Removed."""
        upto = max(position, end if filter.direct else min(position + SPAN, end))
        async with self._store.view() as view:
            removed = await removed_up_to(view)
            if position < removed:
                raise Removed(position, removed)
            bounds = gt("seq", position), le("seq", upto)
            found = await view.list(Event, *bounds, order=("seq",), limit=count, **filter.columns())
        if len(found) == count:
            upto = found[-1].seq
        return list(seen(filter, found)), upto

    def recent(self, position: int) -> list[Event]:
        """A page of the ring."""
        start = bisect_right(self._ring, position, key=lambda event: event.seq)
        return self._ring[start : start + PAGE]

    async def _run(self) -> None:
        pause = UNSETTLED[0]
        while True:
            self._committed.clear()
            before = self.last
            try:
                unsettled = await self._catch_up()
            except StoreError as error:
                log.warning("events", error=str(error))
                unsettled, pause = True, RETRY
            except Exception:
                log.exception("events broke")
                unsettled, pause = True, RETRY
            if unsettled:
                pause = UNSETTLED[0] if self.last > before else pause
                await asyncio.sleep(pause)
                pause = min(2 * pause, UNSETTLED[1])
                continue
            pause = UNSETTLED[0]
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self._committed.wait()
                await asyncio.sleep(LINGER)

    async def _catch_up(self) -> bool:
        """Take in what is settled; whether something may still come below a number that is given."""
        horizon = await self._numbers.horizon()
        while self.last < horizon.settled:
            async with self._store.view() as view:
                bounds = gt("seq", self.last), le("seq", horizon.settled)
                found = await view.list(Event, *bounds, order=("seq",), limit=PAGE)
            self._take(found, found[-1].seq if len(found) == PAGE else horizon.settled)
        return horizon.settled < horizon.given

    def _take(self, events: list[Event], last: int) -> None:
        """Into the ring, and wake whom they are for, before anyone else runs."""
        self._ring += events
        self.last = last
        if len(self._ring) > 2 * RING:
            self.floor = self._ring[-RING - 1].seq
            del self._ring[:-RING]
        for event in events:
            for name in {event.subject, event.project, None}:
                for follower in self._followers.get(name, ()):
                    follower.offer(event)


def names_of(filter: Filter) -> tuple[UUID | None, ...]:
    """Under what a follower is found: a resource, projects, or everything."""
    if filter.wanted.resource is not None:
        return (filter.wanted.resource,)
    return (None,) if filter.projects is None else tuple(filter.projects)


def seen(filter: Filter, events: Iterable[Event]) -> Iterable[Event]:
    return (shown for event in events if (shown := filter.seen(event)) is not None)


async def removed_up_to(view: View) -> int:
    found = await view.get(Counter, REMOVED)
    return found.value if found else 0


def _feed(cloud: Cloud) -> Feed:
    made = Feed(cloud.store)
    cloud.on_event = made.committed
    return made


of: Callable[[Cloud], Feed] = per_cloud(_feed)
"""The feed of a cloud."""


async def page(cloud: Cloud, caller: Caller, wanted: Wanted, after: After, limit: int = PAGE) -> Page:
    """At most `limit` events behind a place. Raises Removed, Invalid, Forbidden."""
    filter, feed = allowed(caller, wanted), of(cloud)
    position = await feed.place(after)
    end = max(position, await feed.settled())
    events: list[Event] = []
    for _ in range(LOOKS):
        found, position = await feed.stored(filter, position, end, min(PAGE, limit + 1))
        events += found
        if len(events) > limit:
            return Page(events[:limit], events[limit - 1].seq, True)
        if position >= end:
            break
    return Page(events, position, position < end)


async def prune(cloud: Cloud) -> int:
    """Remove the events that are older than the configuration keeps them, the oldest first; how many. May be repeated."""
    if cloud.config.event_days <= 0:
        return 0
    before = cloud.now() - timedelta(days=cloud.config.event_days)
    removed = 0
    while True:
        async with cloud.store.view() as view:
            oldest = await view.list(Event, order=("seq",), limit=SLICE)
        kept = next((place for place, event in enumerate(oldest) if event.at >= before), len(oldest))
        if kept == 0:
            return removed
        last = oldest[kept - 1].seq
        async with cloud.transaction() as tx:
            await tx.rows.put(Counter(name=REMOVED, value=last))
            removed += await tx.rows.delete_where(Event, le("seq", last))
            await event_marks.forget(tx, last)
        if kept < SLICE:
            return removed
