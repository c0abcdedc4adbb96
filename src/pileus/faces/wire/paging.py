"""Keyset paging: how many to show, and the link to what comes after."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from pileus.core.errors import Invalid
from pileus.faces.wire.request import Request

T = TypeVar("T")


@dataclass(frozen=True)
class Page(Generic[T]):
    """What is shown, and the address of the next page where there is one."""

    items: Sequence[T]
    next: str | None = None

    def links(self, plural: str) -> dict[str, Any]:
        """`{"servers_links": [{"rel": "next", "href": …}]}`, or nothing on the last page."""
        return {} if self.next is None else {f"{plural}_links": [{"rel": "next", "href": self.next}]}


def window(limit: int | None, maximum: int) -> int:
    """How many items a page holds. Ask the core for one more than this: it proves that a next page exists."""
    if limit is None:
        return maximum
    if limit < 0:
        raise Invalid(f"Invalid input for query parameters limit: {limit} is negative.")
    return min(limit, maximum)


def page(
    request: Request,
    items: Sequence[T],
    limit: int | None,
    maximum: int,
    *,
    key: Callable[[T], object],
    marker: str | None = None,
) -> Page[T]:
    """Cut items to one page.

    The items already begin behind the marker (and go on for at least one more than the page), unless
    `marker` is given here: then they are everything, and the marker is looked for among them.
    """
    if marker is not None:
        items = behind(items, marker, key)
    size = window(limit, maximum)
    shown = items[:size]
    if not shown or len(items) <= size:
        return Page(shown)
    return Page(shown, link(request, {"marker": str(key(shown[-1])), "limit": str(size)}))


def behind(items: Sequence[T], marker: str, key: Callable[[T], object]) -> Sequence[T]:
    for position, item in enumerate(items, 1):
        if str(key(item)) == marker:
            return items[position:]
    raise Invalid(f"marker [{marker}] not found; use the id of the last item of the page before.")


def link(request: Request, changes: Mapping[str, str]) -> str:
    """The address of this request with some query parameters changed."""
    kept = [pair for pair in request.query.pairs if pair[0] not in changes]
    return f"{request.url}?{urlencode([*kept, *changes.items()])}"
