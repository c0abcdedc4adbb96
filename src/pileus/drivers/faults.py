"""What platforms in memory have in common: calls are counted, take their time, meet the faults that are in force, and
can be told to fail before or after their effect."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from enum import StrEnum
from functools import wraps
from random import Random
from typing import Any, ClassVar, Concatenate, Literal, ParamSpec, TypeVar
from uuid import UUID

import msgspec

from pileus import tracing
from pileus.drivers.errors import DriverError, Refused, Unreachable

When = Literal["before", "after"]
P = ParamSpec("P")
T = TypeVar("T")

JITTER = 0.4
"""Sigma of the logarithm of what a call takes."""
SLUGGISH = 0.05
"""Seconds of a call that takes none by itself, before a slow platform multiplies them."""
FOREVER = float("inf")
ONCE = frozenset({"write"})
"""Calls whose argument is used up by the first time: they cannot be duplicated."""


def calls_of(protocol: type) -> frozenset[str]:
    return frozenset(name for name in vars(protocol) if callable(getattr(protocol, name)) and name[0] != "_")


class FaultKind(StrEnum):
    SLOW = "slow"
    """Every call takes `factor` times as long; of several the largest counts."""
    FAILING = "failing"
    """The platform says no, and has done nothing."""
    UNREACHABLE = "unreachable"
    POWER_LOSS = "power loss"
    """Of a host: all its guests are off at once, and it is away while it lasts."""
    LOST_REQUEST = "lost request"
    """Nothing happens, and nobody answers."""
    LOST_REPLY = "lost reply"
    """It happens, and nobody answers."""
    DUPLICATED = "duplicated"
    """It happens twice."""
    HANGING = "hanging"
    """Nothing happens, and the caller waits `seconds` for no answer."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a platform. `after` and `lasts` in seconds from when it is imposed; `lasts` 0: until lifted."""

    kind: FaultKind
    call: str = ""
    """The one call that it concerns; empty: all."""
    chance: float = 1.0
    """Of striking a call."""
    times: int = 0
    """Calls that it strikes in all; 0: without limit."""
    factor: float = 10.0
    seconds: float = 30.0
    after: float = 0.0
    lasts: float = 0.0


AWAY = frozenset({FaultKind.UNREACHABLE, FaultKind.POWER_LOSS})


class Force(msgspec.Struct):
    """A fault that was imposed: its time on the world's clock, and how often it strikes yet."""

    fault: Fault
    since: float
    until: float
    left: float


class Strike(msgspec.Struct):
    error: Exception
    when: When
    times: int


class Told(msgspec.Struct, frozen=True):
    """One call as it went."""

    at: float
    platform: str
    call: str
    subject: str
    outcome: str


class Surroundings(msgspec.Struct, kw_only=True):
    """What the platforms of one simulated world share. `latency`: seconds by call, "" for the others; empty: no time."""

    seed: int = 0
    clock: Callable[[], float] = time.time
    latency: Mapping[str, float] = {}
    tell: Callable[[Told], None] | None = None

    @property
    def plain(self) -> bool:
        return not self.latency and self.tell is None


PLAIN = Surroundings()


class Faulty:
    CALLS: ClassVar[frozenset[str]]
    PLATFORM: ClassVar[str]
    """How a refusal names it."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.reachable = True
        self.name = self.PLATFORM
        self._faults: dict[str, list[Strike]] = {}
        self._forces: dict[UUID, Force] = {}
        self._surroundings = PLAIN
        self._random: Random | None = None
        self._plain = True
        """Nothing is to be met on the way: calls go straight through."""

    def join(self, surroundings: Surroundings, name: str) -> None:
        """Be a part of a world, in which the name is unique."""
        self._surroundings, self.name, self._random = surroundings, name, None
        self._look_around()

    # --- one-off failures, for tests

    def fail(self, call: str, error: Exception, *, when: When = "before", times: int = 1) -> None:
        """Let the next calls of that name raise. ValueError for a name that no call has."""
        self._check_call(call)
        self._faults.setdefault(call, []).append(Strike(error, when, times))

    def heal(self) -> None:
        """Forget the faults that are left."""
        self._faults.clear()
        self._forces.clear()
        self._look_around()

    def strike(self, call: str, when: When) -> None:
        for fault in self._faults.get(call, ()):
            if fault.when == when and fault.times > 0:
                fault.times -= 1
                raise fault.error

    # --- faults that last

    def impose(self, fault: Fault, key: UUID | None = None) -> UUID:
        """From now on, until it is over or lifted; returns its key. ValueError for a fault that makes no sense."""
        self._check(fault)
        key = key or UUID(int=self.random.getrandbits(128))
        since = self._surroundings.clock() + fault.after
        until = since + fault.lasts if fault.lasts else FOREVER
        self._forces[key] = Force(fault, since, until, fault.times or FOREVER)
        self._look_around()
        return key

    def lift(self, key: UUID) -> bool:
        """Whether there was such a fault."""
        found = self._forces.pop(key, None)
        self._look_around()
        return found is not None

    def faults(self) -> Mapping[UUID, Fault]:
        """Those in force and those to come."""
        now = self._surroundings.clock()
        over = [key for key, force in self._forces.items() if now >= force.until or force.left <= 0]
        for key in over:
            del self._forces[key]
        self._look_around()
        return {key: force.fault for key, force in self._forces.items()}

    def _check(self, fault: Fault) -> None:
        if fault.call:
            self._check_call(fault.call)
        if not 0 < fault.chance <= 1:
            raise ValueError(f"a chance of {fault.chance} is not possible: above 0 and at most 1")
        if min(fault.times, fault.factor, fault.seconds, fault.after, fault.lasts) < 0:
            raise ValueError("times, factor, seconds, after and lasts cannot be negative")
        if fault.kind is FaultKind.POWER_LOSS:
            self._check_power(fault)

    def _check_power(self, fault: Fault) -> None:
        raise ValueError(f"{self.PLATFORM} has no plug; only hosts lose their power")

    def _check_call(self, call: str) -> None:
        if call not in self.CALLS:
            raise ValueError(
                f"{call} is no call of {self.PLATFORM}; there are {', '.join(sorted(self.CALLS))}"
            )

    # --- the way of a call

    @property
    def random(self) -> Random:
        """This platform's own, so that it does not depend on what others draw."""
        if self._random is None:
            self._random = Random(f"{self._surroundings.seed}/{self.name}")  # noqa: S311 (no secret)
        return self._random

    def _look_around(self) -> None:
        self._plain = not self._forces and self._surroundings.plain

    def _struck(self, call: str) -> Sequence[Fault]:
        """What meets this call, in the order of imposition."""
        if not self._forces:
            return ()
        now, struck = self._surroundings.clock(), []
        for force in self._forces.values():
            fault = force.fault
            if not (force.since <= now < force.until and force.left > 0 and fault.call in ("", call)):
                continue
            if fault.chance == 1 or self.random.random() < fault.chance:
                force.left -= 1
                struck.append(fault)
        return struck

    def _must_be_there(self, call: str) -> None:
        """What is away altogether also loses the calls that are on their way."""
        now = self._surroundings.clock()
        for force in self._forces.values():
            fault = force.fault
            whole = fault.chance == 1 and not fault.call and not fault.times
            if whole and fault.kind in AWAY and force.since <= now < force.until:
                raise Unreachable(f"{call}: {self.name} does not answer")

    async def arrive(self, call: str) -> "Way":
        """The way to the platform. Raises what keeps the call from it."""
        way = Way(call, *self._meet(call))
        if FaultKind.HANGING in way.kinds:
            await asyncio.sleep(way.hangs)
            raise Unreachable(f"{call}: {self.name} did not answer in {way.hangs:g} s")
        if way.seconds:
            await asyncio.sleep(way.seconds / 2)
        if way.kinds & AWAY:
            raise Unreachable(f"{call}: {self.name} does not answer")
        self._must_be_there(call)
        if FaultKind.FAILING in way.kinds:
            raise Refused(f"{call}: {self.name} failed")
        if FaultKind.LOST_REQUEST in way.kinds:
            raise Unreachable(f"{call}: the request to {self.name} was lost")
        return way

    async def come_back(self, way: "Way") -> None:
        """The way of the reply. Raises Unreachable when it does not arrive."""
        if way.seconds:
            await asyncio.sleep(way.seconds / 2)
        self._must_be_there(way.call)
        if FaultKind.LOST_REPLY in way.kinds:
            raise Unreachable(f"{way.call}: the reply of {self.name} was lost")

    def _meet(self, call: str) -> tuple[frozenset[FaultKind], float, float]:
        """Kinds of what strikes, seconds on the way in all, seconds of hanging."""
        struck, latency = self._struck(call), self._surroundings.latency
        seconds = latency.get(call, latency.get("", 0.0))
        if seconds:
            seconds *= self.random.lognormvariate(0, JITTER)
        factors = [fault.factor for fault in struck if fault.kind is FaultKind.SLOW]
        if factors:
            seconds = (seconds or SLUGGISH) * max(factors)
        hangs = max((fault.seconds for fault in struck if fault.kind is FaultKind.HANGING), default=0.0)
        return frozenset(fault.kind for fault in struck), seconds, hangs

    def tell(self, call: str, args: Sequence[Any], outcome: str) -> None:
        if self._surroundings.tell is not None:
            first = args[0] if args else ""
            subject = str(first if isinstance(first, UUID | str) else getattr(first, "id", ""))
            self._surroundings.tell(Told(self._surroundings.clock(), self.name, call, subject, outcome))


class Way(msgspec.Struct, frozen=True):
    """What one call meets."""

    call: str
    kinds: frozenset[FaultKind]
    seconds: float
    hangs: float

    @property
    def twice(self) -> bool:
        return FaultKind.DUPLICATED in self.kinds and self.call not in ONCE


F = TypeVar("F", bound=Faulty)


def verb(
    method: Callable[Concatenate[F, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[F, P], Coroutine[Any, Any, T]]:
    """Count the call, let it meet what is in its way, and let a waiting fault break it before or after its effect."""
    name = method.__name__

    async def through(self: F, /, *args: P.args, **kwargs: P.kwargs) -> T:
        way = await self.arrive(name)
        result = await method(self, *args, **kwargs)
        if way.twice:
            result = await method(self, *args, **kwargs)
        await self.come_back(way)
        return result

    @wraps(method)
    async def called(self: F, /, *args: P.args, **kwargs: P.kwargs) -> T:
        self.calls[name] += 1
        if not self.reachable:
            raise Unreachable(f"{name}: {self.PLATFORM} does not answer")
        self.strike(name, "before")
        if self._plain:
            result = await method(self, *args, **kwargs)
        else:
            try:
                result = await through(self, *args, **kwargs)
            except (DriverError, asyncio.CancelledError) as error:
                self.tell(name, args, type(error).__name__)
                raise
            self.tell(name, args, "")
        self.strike(name, "after")
        return result

    return tracing.calls("simulated", by_name=True)(called)
