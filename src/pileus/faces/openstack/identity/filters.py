"""Keystone's query strings: flags, comparisons of names, times, pages; and lists as its clients read them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from pileus.core.errors import Invalid, NotFound
from pileus.core.identity.domains import ROOT
from pileus.core.identity.listing import Found, Match, Window
from pileus.core.identity.users import EXPIRES
from pileus.faces.openstack.identity.refs import DEFAULT, MAXIMUM, listed
from pileus.faces.wire import Request
from pileus.faces.wire.paging import link, window
from pileus.store import Record

R = TypeVar("R", bound=Record)
TRUE = frozenset({"", "1", "true", "y", "yes", "on"})
FALSE = frozenset({"0", "false", "n", "no", "off"})
COMPARISONS = ("contains", "startswith", "endswith")


def flag(text: str | None, name: str) -> bool | None:
    """Raises Invalid for what is neither yes nor no."""
    if text is None:
        return None
    word = text.lower()
    if word in TRUE or word in FALSE:
        return word in TRUE
    raise Invalid(f"Invalid input for field/attribute {name}. Value: {text[:40]}. Use true or false.")


def asked(request: Request, name: str) -> bool:
    """A flag of a single object: there, and not 0."""
    return request.query.get(name, "0") != "0"


def names(request: Request, name: str = "name") -> tuple[Match, ...]:
    """`name__contains` and the like; an `i` before the comparison takes letters of either case as the same. An unknown
    one compares nothing."""
    found = []
    for key, value in request.query.pairs:
        column, _, how = key.partition("__")
        if column == name and how.removeprefix("i") in COMPARISONS:
            plain = how.removeprefix("i")
            found.append(Match(plain, value, plain == how))  # type: ignore[arg-type]
    return tuple(found)


def expires(values: tuple[str, ...]) -> tuple[tuple[str, datetime], ...]:
    """`lt:2030-01-01T00:00:00Z` and the like. Raises Invalid."""
    found = []
    for value in values:
        operator, _, text = value.partition(":")
        if operator not in EXPIRES:
            raise Invalid(
                f"The given operator {operator[:20]} is not valid. It must be one of the following: "
                "'eq', 'neq', 'lt', 'lte', 'gt', or 'gte'."
            )
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise Invalid(
                f"Timestamp not in expected format: {text[:40]!r}; write 2030-01-01T00:00:00Z."
            ) from None
        found.append((operator, at if at.tzinfo else at.replace(tzinfo=UTC)))
    return tuple(found)


def part(limit: int | None, marker: str | None) -> Window:
    """A page as asked for, of at most as many as Keystone gives. Raises NotFound for a marker that is no id."""
    after = marker_key(marker) if marker else None
    return Window(limit=window(limit if limit and limit > 0 else None, MAXIMUM), after=after)


class Paged(msgspec.Struct, frozen=True, kw_only=True):
    """The query of a list that is read whole and shown in pages by `cut`."""

    limit: int | None = None
    marker: str | None = None


def cut(request: Request, name: str, items: Sequence[Mapping[str, Any]], query: Paged) -> dict[str, Any]:
    """The page that was asked for; all, when none was. Raises NotFound for a marker that is none of them."""
    if query.marker:
        ids = [str(item["id"]) for item in items]
        if query.marker not in ids:
            raise NotFound("Marker", query.marker[:64])
        items = items[ids.index(query.marker) + 1 :]
    size = min(query.limit, MAXIMUM) if query.limit and query.limit > 0 else len(items)
    answer = listed(request, name, items[:size])
    if len(items) > size:
        further = {"marker": str(items[size - 1]["id"]), "limit": str(size)}
        answer["links"]["next"] = link(request, further)
        answer["truncated"] = True
    return answer


def marker_key(marker: str) -> UUID:
    if marker == DEFAULT:
        return ROOT
    try:
        return UUID(marker[:32])
    except ValueError:
        raise NotFound("Marker", marker[:64]) from None


def shown(
    request: Request,
    name: str,
    found: Found[R],
    part: Window,
    view: Callable[[Request, R], Mapping[str, Any]],
    *,
    items: list[Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """A page of a list: with `truncated` and the next page's address when there is more. `items` stand for views."""
    given = items if items is not None else [view(request, item) for item in found.items]
    answer = listed(request, name, given)
    if found.more and given:
        limit = {"limit": str(part.limit)} if part.limit is not None else {}
        answer["links"]["next"] = link(request, {"marker": str(given[-1]["id"]), **limit})
        answer["truncated"] = True
    return answer
