"""What was answered well while the tests ran: every operation of every kernel that any of them made."""

from typing import Any

from pileus.faces.wire.kernel import Kernel
from pileus.faces.wire.request import Request

WALKERS = frozenset({"test_walkers.py", "test_walkers_cloudstack.py"})
"""They send what is generated: a test that means what it sends counts, they do not."""


class Answered:
    """(prefix of the service, operation) of what was answered with success."""

    def __init__(self) -> None:
        self.operations: set[tuple[str, str]] = set()
        self.counting = True

    def install(self) -> None:
        answer = Kernel._answer

        async def noting(kernel: Kernel, request: Request) -> Any:
            ready = await answer(kernel, request)
            if self.counting and 200 <= ready.status < 400 and "operation" in request.state:
                self.operations.add((request.prefix, request.state["operation"]))
            return ready

        Kernel._answer = noting  # type: ignore[method-assign]


ANSWERED = Answered()
