"""Pages of records in the order of their ids, filtered and cut in the database."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, TypeVar
from uuid import UUID

import msgspec

from pileus.core.cloud import Look
from pileus.core.errors import NotFound
from pileus.store import Condition, Record, eq, like, literal

R = TypeVar("R", bound=Record)


class Match(msgspec.Struct, frozen=True):
    """A comparison of a text; `cased`: letters of either case differ."""

    how: Literal["contains", "startswith", "endswith"]
    text: str
    cased: bool = False

    def condition(self, column: str) -> Condition:
        """What the database can tell: it takes letters of either case as the same, so `passes` has the last word."""
        before = "" if self.how == "startswith" else "%"
        after = "" if self.how == "endswith" else "%"
        return like(column, f"{before}{literal(self.text)}{after}")

    def passes(self, value: str) -> bool:
        if not self.cased:
            return True
        if self.how == "contains":
            return self.text in value
        return value.startswith(self.text) if self.how == "startswith" else value.endswith(self.text)


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """So many after the one with this id; no limit: all."""

    limit: int | None = None
    after: UUID | None = None


EVERYTHING = Window()


class Found(msgspec.Struct, Generic[R], frozen=True):
    """`more`: there are others behind the last one."""

    items: list[R]
    more: bool = False


async def page(
    look: Look,
    cls: type[R],
    window: Window,
    *where: Condition,
    exact: Callable[[R], bool] | None = None,
    names: Sequence[Match] = (),
    **equals: Any,
) -> Found[R]:
    """`exact`: what the database cannot tell; `names`: comparisons of the record's name. Raises NotFound for a marker
    that is nothing."""
    where += tuple(match.condition("name") for match in names)
    exact = _narrowed(exact, [match for match in names if match.cased])
    if window.after is not None and await look.maybe(cls, window.after) is None:
        raise NotFound("Marker", window.after.hex)
    found: list[R] = []
    after = window.after
    wanted = None if window.limit is None else window.limit + 1
    while True:
        mark = (after,) if after is not None else None
        rows = await look.list(cls, *where, order=("id",), after=mark, limit=wanted, **equals)
        found.extend(row for row in rows if exact is None or exact(row))
        if wanted is None or len(rows) < wanted:
            break
        if len(found) >= wanted:
            return Found(found[: wanted - 1], True)
        after = rows[-1].id  # type: ignore[attr-defined]
    return Found(
        found if wanted is None else found[: wanted - 1], wanted is not None and len(found) >= wanted
    )


def _narrowed(exact: Callable[[R], bool] | None, cased: Sequence[Match]) -> Callable[[R], bool] | None:
    if not cased:
        return exact

    def passes(row: R) -> bool:
        name: str = row.name  # type: ignore[attr-defined]
        return all(match.passes(name) for match in cased) and (exact is None or exact(row))

    return passes


def equal(**values: object) -> tuple[Condition, ...]:
    """The conditions of those that are given (not None)."""
    return tuple(eq(column, value) for column, value in values.items() if value is not None)
