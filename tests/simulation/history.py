"""What a simulated run leaves behind for whoever has to understand it: the platforms' calls, and what broke inside."""

import hashlib
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog

from pileus.core.errors import CoreError
from pileus.drivers.errors import DriverError
from pileus.drivers.faults import Told

KEPT = 400
BROKEN = frozenset(
    {"operation broke the engine", "reconciler broke", "unknown workflow; was a newer Pileus here?"}
)


class History:
    """`about`: beginnings of ids; all calls about them are kept, not only the last ones of all."""

    def __init__(self, about: Sequence[str] = ()) -> None:
        self.about = about
        self.story: list[Told] = []
        self.calls = 0
        self.last: deque[Told] = deque(maxlen=KEPT)
        self.findings: list[str] = []
        self._digest = hashlib.blake2b(digest_size=16)

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def tell(self, told: Told) -> None:
        self.calls += 1
        self.last.append(told)
        if any(told.subject.startswith(id) for id in self.about) or (self.about and told.call == "crash"):
            self.story.append(told)
        self._digest.update(
            f"{told.at:.6f}|{told.platform}|{told.call}|{told.subject}|{told.outcome}\n".encode()
        )

    def exception(self, loop: Any, context: dict[str, Any]) -> None:
        self.findings.append(f"{context['message']}: {context.get('exception')!r}")

    def process(self, logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
        """A structlog processor: keeps what no fault explains, prints nothing."""
        error = sys.exc_info()[1]
        strange = error is not None and not isinstance(error, DriverError | CoreError)
        if event["event"] in BROKEN or (event["event"] == "step failed" and strange):
            where = {name: value for name, value in event.items() if name != "exc_info"}
            self.findings.append(f"{where} {type(error).__name__}: {error}")
        raise structlog.DropEvent

    @contextmanager
    def listening(self) -> Iterator[None]:
        before = structlog.get_config()
        structlog.configure(processors=[self.process])
        try:
            yield
        finally:
            structlog.configure(**before)
