"""Work that must come to its end although the task that wants it is cancelled."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

R = TypeVar("R")


async def to_the_end(work: Awaitable[R]) -> R:
    """A cancellation is passed on when the work is over; what the work raised is then its context."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError as cancelled:
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue
        if not task.cancelled() and (error := task.exception()) is not None:
            raise cancelled from error
        raise
