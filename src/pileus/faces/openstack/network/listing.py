"""What a list shows: filters on any attribute, order, pages and chosen fields, by Neutron's grammar."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from pileus.core.errors import Invalid
from pileus.faces.wire.request import Request

Shown = dict[str, Any]
CONTROLS = frozenset({"fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir"})
SUBSTRING = "_substr"
"""Ends the name of a key whose value need only be a part (fixed_ips=ip_address_substr=10.0)."""
TAGS = frozenset({"tags", "tags-any", "not-tags", "not-tags-any"})


def answer(request: Request, many: str, items: list[Shown]) -> dict[str, Any]:
    """The whole body: what matches, in order, one page of it, and links to the pages beside."""
    chosen = ordered(request, [item for item in items if matches(request, item)])
    page, links = cut(request, chosen)
    body: dict[str, Any] = {many: [fields(request, item) for item in page]}
    if links:
        body[f"{many}_links"] = links
    return body


def matches(request: Request, item: Shown) -> bool:
    for name, values in request.query.lists().items():
        if name in TAGS:
            if not tagged(name, values, item.get("tags", ())):
                return False
        elif name not in CONTROLS and name in item and not any(fits(item[name], value) for value in values):
            return False
    return True


def fits(held: Any, wanted: str) -> bool:
    if isinstance(held, bool):
        return wanted.lower() in (("true", "1") if held else ("false", "0"))
    if isinstance(held, list | tuple):
        return any(fits_in_list(each, wanted) for each in held)
    if held is None:
        return wanted == ""
    return str(held) == wanted


def fits_in_list(held: Any, wanted: str) -> bool:
    """An entry itself, or `key=value` of an entry that is an object (fixed_ips=ip_address=10.0.0.5)."""
    if not isinstance(held, dict):
        return str(held) == wanted
    key, sign, value = wanted.partition("=")
    if key.endswith(SUBSTRING) and sign:
        return value in str(held.get(key.removesuffix(SUBSTRING), ""))
    return str(held.get(key)) == value if sign else wanted in map(str, held.values())


def tagged(name: str, values: Sequence[str], held: Sequence[str]) -> bool:
    wanted = {tag for value in values for tag in value.split(",")}
    found = bool(wanted & set(held)) if name.endswith("any") else wanted <= set(held)
    return found is not name.startswith("not-")


def ordered(request: Request, items: list[Shown]) -> list[Shown]:
    """By the sort keys, the first being the strongest; equal ones keep the order of making."""
    keys, directions = request.query.all("sort_key"), request.query.all("sort_dir")
    if directions and len(keys) != len(directions):
        raise Invalid("The number of sort_keys and sort_dirs must be same")
    pairs = list(zip(keys, directions or ["asc"] * len(keys), strict=True))
    for key, direction in reversed(pairs):
        if direction not in ("asc", "desc"):
            raise Invalid(f"'{direction}' is an invalid value for sort_dirs, use asc or desc")
        if items and key not in items[0]:
            raise Invalid(f"'{key}' is an invalid attribute for sort keys")
        items.sort(key=lambda item: sortable(item[key]), reverse=direction == "desc")
    return items


def sortable(value: Any) -> tuple[int, Any]:
    if value is None:
        return 0, ""
    return (1, int(value)) if isinstance(value, int) else (2, str(value))


def cut(request: Request, items: list[Shown]) -> tuple[list[Shown], list[dict[str, str]]]:
    limit, marker = limit_of(request), request.query.get("marker")
    reverse = request.query.get("page_reverse", "").lower() in ("true", "1")
    start, end = 0, len(items)
    if marker is not None:
        at = next((position for position, item in enumerate(items) if item["id"] == marker), None)
        if at is None:
            raise Invalid(f"The marker {marker} is not in the list; use the id of an item that is.")
        start, end = (0, at) if reverse else (at + 1, len(items))
    if limit is not None:
        start, end = (max(start, end - limit), end) if reverse else (start, min(end, start + limit))
    page = items[start:end]
    return page, links(request, page, start > 0, end < len(items)) if limit is not None else []


def limit_of(request: Request) -> int | None:
    given = request.query.get("limit")
    if given is None:
        return None
    if not (given.isascii() and given.lstrip("-").isdigit()) or int(given) < 0:
        raise Invalid(f"Limit must be an integer 0 or greater and not '{given}'")
    return int(given) or None


def links(request: Request, page: list[Shown], before: bool, after: bool) -> list[dict[str, str]]:
    if not page:
        return []
    found = []
    if after:
        found.append({"rel": "next", "href": address(request, {"marker": page[-1]["id"]})})
    if before:
        back = {"marker": page[0]["id"], "page_reverse": "True"}
        found.append({"rel": "previous", "href": address(request, back)})
    return found


def address(request: Request, changes: Mapping[str, str]) -> str:
    kept = [pair for pair in request.query.pairs if pair[0] not in ("marker", "page_reverse")]
    return f"{request.url}?{urlencode([*kept, *changes.items()])}"


def fields(request: Request, item: Shown) -> Shown:
    """Only the fields that were asked for, if any were."""
    wanted = request.query.all("fields")
    return item if not wanted else {name: item[name] for name in wanted if name in item}
