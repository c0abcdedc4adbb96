"""An event loop whose time is virtual: when nothing is ready it jumps to the next timer, and hours pass in seconds.

What other loops give to threads is done in the loop's own thread, so that the order of everything is the same each time.
"""

import asyncio
import selectors
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

EPOCH = datetime(2030, 1, 1, tzinfo=UTC)
LONGEST_WORK = 0.004
"""Virtual seconds that what belongs into a thread takes at most: a commit, a long list."""


class Stuck(RuntimeError):
    """Every task waits for another: nothing would ever happen again."""


class Jumping(selectors.DefaultSelector):
    """Never waits: it lets the time be the one until which it was to wait."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if found or timeout == 0:
            return found
        if timeout is None:
            raise Stuck("nothing is ready, no timer is set: every task waits for another")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self, seed: int) -> None:
        self._jumping = Jumping()
        self._work = Random(f"{seed}/threads")
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.time())

    def clock(self) -> float:
        return EPOCH.timestamp() + self.time()

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":
        """Done at once, known later: others go on meanwhile, as if a thread had it in hand."""
        made: asyncio.Future[Any] = self.create_future()
        try:
            result, error = func(*args), None
        except Exception as raised:
            result, error = None, raised

        def tell() -> None:
            if made.done():
                return
            if error is None:
                made.set_result(result)
            else:
                made.set_exception(error)

        self.call_later(self._work.random() * LONGEST_WORK, tell)
        return made


def run(seed: int, main: Callable[[VirtualLoop], Any]) -> Any:
    """The result of `main`, a function that makes a coroutine, on a virtual loop of its own."""
    loop = VirtualLoop(seed)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main(loop))
