"""A long look in small pieces: between them the event loop belongs to the requests."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from typing import Any, TypeVar
from uuid import UUID

from pileus.core.cloud import Cloud
from pileus.store import Condition, Record

R = TypeVar("R", bound=Record)

PAGE = 200
"""Records read at once: what the store still reads without a thread."""
KEYS = 5000
"""Ids compared at once."""
SHARE = 3.0
"""Times as long as a piece took, the loop is left alone after it."""
LONGEST = 0.03
"""Seconds of rest at most: pieces also wait for platforms, which costs the loop nothing."""


class Pace:
    """One walk. On a loop whose time stands still while it works, it rests no time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()

    async def rest(self) -> None:
        """Call it after each piece."""
        took = self._loop.time() - self._since
        await asyncio.sleep(min(LONGEST, took * SHARE))
        self._since = self._loop.time()

    async def less(self, keys: Iterable[UUID], others: Collection[UUID]) -> frozenset[UUID]:
        """The keys that are not among the others: of very many this takes long, for ids compare slowly."""
        left: set[UUID] = set()
        for number, key in enumerate(keys, 1):
            if key not in others:
                left.add(key)
            if number % KEYS == 0:
                await self.rest()
        return frozenset(left)


async def pages(
    cloud: Cloud, cls: type[R], *where: Condition, pace: Pace, **equals: Any
) -> AsyncIterator[Sequence[R]]:
    """All that match by their ids, a page at a time; each page is as committed when it is read."""
    after: tuple[Any, ...] | None = None
    while True:
        async with cloud.view() as look:
            page = await look.list(cls, *where, order=("id",), after=after, limit=PAGE, **equals)
        if page:
            yield page
        await pace.rest()
        if len(page) < PAGE:
            return
        after = (page[-1].id,)  # type: ignore[attr-defined]


__all__ = ["PAGE", "Pace", "pages"]
