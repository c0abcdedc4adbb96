"""Which trace the code at hand belongs to (W3C Trace Context), and its spans. Imports nothing of the house, so that
drivers may use it."""

import os
import re
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from enum import IntEnum
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
Attribute = str | int | float | bool

HEADER = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
SAMPLED = 0x01


class Kind(IntEnum):
    """As OTLP numbers them."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


@dataclass(slots=True)
class Span:
    """One piece of work; times are nanoseconds since 1970."""

    trace: str
    id: str
    parent: str
    name: str
    kind: Kind
    began: int
    ended: int = 0
    fault: str = ""
    """Why it failed; empty: it did not."""
    attributes: dict[str, Attribute] = field(default_factory=dict)


NOTHING: Mapping[str, Attribute] = {}
Sink = Callable[[Span], None]
"""Takes a span that has ended. Called on any thread; must not block or raise."""


@dataclass(frozen=True, slots=True)
class Context:
    """Where in which trace we are. Without a sink nothing is recorded."""

    trace: str
    """32 hexadecimal digits."""
    span: str
    """16 hexadecimal digits: the parent of what begins now. Empty: what begins now has none."""
    sampled: bool = False
    sink: Sink | None = None

    def __str__(self) -> str:
        """As a `traceparent`."""
        return f"00-{self.trace}-{self.span}-{SAMPLED if self.sampled else 0:02x}"


_CURRENT: ContextVar[Context | None] = ContextVar("trace", default=None)


def current() -> Context | None:
    """The context of this task, thread call or request; None outside of all."""
    return _CURRENT.get()


def traceparent() -> str:
    """The current context as it is written down and sent on; "" outside of all."""
    context = _CURRENT.get()
    return "" if context is None else str(context)


def parse(header: str, sink: Sink | None = None) -> Context | None:
    """Read a `traceparent`; None for what is malformed, all zero or of the forbidden version."""
    found = HEADER.fullmatch(header.strip())
    if found is None:
        return None
    version, trace, span, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace.strip("0") or not span.strip("0"):
        return None
    sampled = bool(int(flags, 16) & SAMPLED)
    return Context(trace, span, sampled, sink if sampled else None)


def begin(header: str, sink: Sink | None = None) -> Context:
    """The sender's context, or a new one: with a sink it is sampled, without one nobody records it."""
    context = parse(header, sink) if header else None
    if context is not None:
        return context
    return fresh() if sink is None else Context(os.urandom(16).hex(), "", True, sink)


def fresh(sampled: bool = False) -> Context:
    """A new trace, for work that no request asked for."""
    drawn = os.urandom(24).hex()
    return Context(drawn[:32], drawn[32:], sampled)


@contextmanager
def within(context: Context | None) -> Iterator[None]:
    """Make it the current one for a while."""
    token = _CURRENT.set(context)
    try:
        yield
    finally:
        _CURRENT.reset(token)


@contextmanager
def span(
    name: str, kind: Kind = Kind.INTERNAL, attributes: Mapping[str, Attribute] = NOTHING
) -> Iterator[Span | None]:
    """Record what happens inside as a child of the current context. None is given where nothing is recorded."""
    context = _CURRENT.get()
    if context is None or context.sink is None:
        yield None
        return
    made = Span(context.trace, new_id(), context.span, name, kind, time.time_ns())
    made.attributes.update(attributes)
    token = _CURRENT.set(Context(context.trace, made.id, context.sampled, context.sink))
    try:
        yield made
    except BaseException as error:
        made.fault = made.fault or str(error) or type(error).__name__
        raise
    finally:
        _CURRENT.reset(token)
        made.ended = time.time_ns()
        context.sink(made)


def new_id() -> str:
    return os.urandom(8).hex()


def calls(
    platform: str, *, by_name: bool = False
) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """Decorates the method by which a driver reaches its platform: each call is a span. It is named by the method,
    or by what it is told to do: its first argument, a text ("define guest 1f…") or a function."""

    def decorate(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        @wraps(method)
        async def called(*args: P.args, **kwargs: P.kwargs) -> T:
            context = _CURRENT.get()
            if context is None or context.sink is None:
                return await method(*args, **kwargs)
            what = method.__name__ if by_name else args[1]
            text = what if isinstance(what, str) else getattr(what, "__qualname__", method.__name__)
            with span(f"{platform} {verb(text)}", Kind.CLIENT, {"pileus.call": text}):
                return await method(*args, **kwargs)

        return called

    return decorate


def verb(text: str) -> str:
    """Without ids, so that spans of a kind have one name: "define guest 1f…" is `define guest`."""
    words = text.partition(".<locals>")[0].split()
    return " ".join(word for word in words if not any(letter.isdigit() for letter in word))


def carried(call: Callable[P, T]) -> Callable[P, T]:
    """The call with the current context (and log fields) for another thread to make."""
    context = copy_context()

    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        return context.run(call, *args, **kwargs)

    return run
