"""Lists in Cinder's way: which objects, in which order, which part of them, and the link to the next part."""

import ast
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from pileus.core.errors import Invalid, NotFound
from pileus.faces.openstack.volume.service import MAX_LIMIT
from pileus.faces.openstack.volume.words import flag, whole
from pileus.faces.openstack.wire import parse_id
from pileus.faces.wire import Request
from pileus.store import Condition, eq, ge, gt, le, like, literal, lt, ne

T = TypeVar("T")
PAGING = frozenset({"limit", "marker", "offset", "sort", "sort_key", "sort_dir", "with_count"})
SCOPE = frozenset({"all_tenants", "project_id", "tenant_id"})
STRICT = (3, 31)
"""From here on unknown filters of a user are refused; before they are ignored."""
LIKE = (3, 34)
OPERATORS: Mapping[str, Callable[[str, object], Condition]] = {
    "gt": gt,
    "gte": ge,
    "lt": lt,
    "lte": le,
    "eq": eq,
    "neq": ne,
}


@dataclass
class Wanted(Generic[T]):
    """What to ask of the store, and what only the face can tell (`tests`)."""

    where: list[Condition] = field(default_factory=list)
    equals: dict[str, Any] = field(default_factory=dict)
    tests: list[Callable[[T], bool]] = field(default_factory=list)

    def nothing(self) -> None:
        """Something was asked for that no object here can have."""
        self.equals["id"] = ()


@dataclass(frozen=True)
class Part(Generic[T]):
    items: Sequence[T]
    count: int | None
    next: str | None
    """There after every full part, as in the original, which does not look whether more follows."""

    def envelope(self, plural: str, shown: Sequence[Any]) -> dict[str, Any]:
        body: dict[str, Any] = {plural: shown}
        if self.next is not None:
            body[f"{plural}_links"] = [{"rel": "next", "href": self.next}]
        if self.count is not None:
            body["count"] = self.count
        return body


def scope(request: Request) -> UUID | None:
    """Whose objects; None is everybody's, for administrators who ask for that."""
    query, caller = request.query, request.caller
    if caller.admin and flag("all_tenants", query.get("all_tenants", "false") or "true"):
        other = query.get("project_id", query.get("tenant_id"))
        return parse_id(other, "Project") if other else None
    return caller.home


def filters(request: Request, known: Collection[str]) -> dict[str, str]:
    """What is asked by name; from 3.31 on a user's unknown filter is refused."""
    given: dict[str, str] = {}
    unknown: list[str] = []
    for name, value in request.query.items():
        if name in PAGING or name in SCOPE:
            continue
        if name in known:
            given[name] = value
        else:
            unknown.append(name)
    if unknown and request.version >= STRICT and not request.caller.admin:
        raise Invalid(f"Invalid filters {', '.join(sorted(unknown))[:200]} are found in query options.")
    return given


def times(column: str, value: str) -> list[Condition]:
    """`gt:2026-01-31T12:00:00,lt:...`, of one moment or several."""
    made = []
    for part in value.split(","):
        operator, _, text = part.partition(":")
        if operator not in OPERATORS:
            raise Invalid(f"Invalid {column} operator {operator[:20]!r}; use {', '.join(OPERATORS)}.")
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise Invalid(
                f"Invalid {column} value {text[:40]!r}; use a form such as 2026-01-31T12:00:00."
            ) from None
        made.append(OPERATORS[operator](column, at if at.tzinfo else at.replace(tzinfo=UTC)))
    return made


def contains(column: str, value: str) -> Condition:
    return like(column, f"%{literal(value)}%")


def mapping(name: str, value: str) -> dict[str, str]:
    """Clients write a dictionary as Python or as JSON does."""
    try:
        found = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(
        isinstance(part, str) for pair in found.items() for part in pair
    ):
        raise Invalid(
            f"Invalid filter {name}: {value[:60]!r} is not a mapping of texts such as {{'key': 'value'}}."
        )
    return found


def order(request: Request, columns: Mapping[str, str]) -> tuple[str, ...]:
    """Columns, "-" before one that descends; the id at the end makes the order total."""
    query = request.query
    if "sort" in query:
        pairs = [part.strip().partition(":")[::2] for part in query["sort"].split(",")]
    else:
        keys, ways = query.get("sort_key", "created_at").split(","), query.get("sort_dir", "desc").split(",")
        pairs = [(key.strip(), ways[min(at, len(ways) - 1)].strip()) for at, key in enumerate(keys)]
    made: list[str] = []
    for key, way in pairs:
        if key not in columns:
            raise Invalid(f"Sort key {key[:40]!r} is unknown; keys are {', '.join(sorted(columns))}.")
        if way not in ("asc", "desc", ""):
            raise Invalid(f"Unknown sort direction {way[:20]!r}; use asc or desc.")
        column = columns[key]
        if column not in {name.lstrip("-") for name in made}:
            made.append(column if way == "asc" else f"-{column}")
    if not any(name.lstrip("-") == "id" for name in made):
        made.append("-id")
    return tuple(made)


async def listed(
    request: Request,
    wanted: Wanted[T],
    columns: Mapping[str, str],
    *,
    rows: Callable[..., Awaitable[list[T]]],
    number: Callable[..., Awaitable[int]],
    marked: Callable[[UUID], Awaitable[T]],
) -> Part[T]:
    """`rows` and `number` are the core's list and count; `marked` finds the object that a marker names."""
    query = request.query
    limit = min(whole("limit", query["limit"], 0), MAX_LIMIT) if "limit" in query else MAX_LIMIT
    offset = whole("offset", query["offset"], 0) if "offset" in query else 0
    by = order(request, columns)
    asked: dict[str, Any] = {**wanted.equals, "project": scope(request)}
    more: dict[str, Any] = {"order": by}
    if "marker" in query:
        at = await mark(query["marker"], marked)
        more["after"] = tuple(getattr(at, name.lstrip("-")) for name in by)
    if not wanted.tests:
        more["limit"] = offset + limit
    counted = request.version >= (3, 45) and flag("with_count", query.get("with_count", "false"))
    found = await rows(*wanted.where, **asked, **more)
    if wanted.tests:
        found = [item for item in found if all(test(item) for test in wanted.tests)]
    shown = found[offset : offset + limit]
    following = link(request, shown[-1], limit) if shown and len(shown) == limit else None
    if not counted:
        return Part(shown, None, following)
    if not wanted.tests:
        return Part(shown, await number(*wanted.where, **asked), following)
    every = await rows(*wanted.where, **asked)
    return Part(shown, len([item for item in every if all(t(item) for t in wanted.tests)]), following)


async def mark(text: str, marked: Callable[[UUID], Awaitable[T]]) -> T:
    """Raises NotFound, which says that it was the marker."""
    try:
        return await marked(parse_id(text, "marker"))
    except NotFound:
        raise NotFound("marker", text[:64]) from None


def link(request: Request, last: Any, limit: int) -> str:
    kept = [pair for pair in request.query.pairs if pair[0] not in ("marker", "limit", "offset")]
    return f"{request.url}?{urlencode([*kept, ('limit', str(limit)), ('marker', str(last.id))])}"
