"""What drivers in memory have in common: calls are counted, can be told to fail before or after their effect, and all
fail while the platform does not answer."""

from collections import Counter
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ClassVar, Concatenate, Literal, ParamSpec, TypeVar

import msgspec

from pileus.drivers.errors import Unreachable

When = Literal["before", "after"]
P = ParamSpec("P")
T = TypeVar("T")


def calls_of(protocol: type) -> frozenset[str]:
    return frozenset(name for name in vars(protocol) if callable(getattr(protocol, name)) and name[0] != "_")


class Fault(msgspec.Struct):
    error: Exception
    when: When
    times: int


class Faulty:
    CALLS: ClassVar[frozenset[str]]
    PLATFORM: ClassVar[str]
    """How a refusal names it."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.reachable = True
        self._faults: dict[str, list[Fault]] = {}

    def fail(self, call: str, error: Exception, *, when: When = "before", times: int = 1) -> None:
        """Let the next calls of that name raise. ValueError for a name that no call has."""
        if call not in self.CALLS:
            raise ValueError(
                f"{call} is no call of {self.PLATFORM}; there are {', '.join(sorted(self.CALLS))}"
            )
        self._faults.setdefault(call, []).append(Fault(error, when, times))

    def heal(self) -> None:
        """Forget the faults that are left."""
        self._faults.clear()

    def strike(self, call: str, when: When) -> None:
        for fault in self._faults.get(call, ()):
            if fault.when == when and fault.times > 0:
                fault.times -= 1
                raise fault.error


F = TypeVar("F", bound=Faulty)


def verb(
    method: Callable[Concatenate[F, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[F, P], Coroutine[Any, Any, T]]:
    """Count the call, and let a waiting fault break it before or after its effect."""
    name = method.__name__

    @wraps(method)
    async def called(self: F, /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.calls[name] += 1
        if not self.reachable:
            raise Unreachable(f"{name}: {self.PLATFORM} does not answer")
        self.strike(name, "before")
        result = await method(self, *args, **kwargs)
        self.strike(name, "after")
        return result

    return called
