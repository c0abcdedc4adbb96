"""Names with one or more values: query strings and submitted forms, bounded and checked."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from pileus.core.errors import Invalid

if TYPE_CHECKING:
    from pileus.faces.wire.request import Request

MAX_FIELDS = 4000


class Query(Mapping[str, str]):
    """A mapping to the last value of each name; `all` gives every value, `pairs` everything in order."""

    __slots__ = ("_values", "pairs")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self.pairs = tuple(pairs)
        values: dict[str, list[str]] = {}
        for name, value in self.pairs:
            values.setdefault(name, []).append(value)
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[name][-1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def all(self, name: str) -> list[str]:
        return list(self._values.get(name, ()))

    def lists(self) -> Mapping[str, list[str]]:
        return self._values


NOTHING = Query()


def parse(encoded: bytes, what: str = "query string") -> Query:
    """Read `a=b&c=d`. Raises Invalid for bytes that are not UTF-8, NULs, or too many fields."""
    if not encoded:
        return NOTHING
    try:
        text = encoded.decode("utf-8")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except UnicodeDecodeError:
        raise Invalid(f"The {what} is not UTF-8; encode its values as UTF-8 and then as %XX.") from None
    except ValueError:
        raise Invalid(f"The {what} has more than {MAX_FIELDS} fields; send fewer.") from None
    if "%00" in text or "\0" in text:
        raise Invalid(f"The {what} holds a NUL character; remove it.")
    return Query(pairs)


async def form(request: "Request", limit: int | None = None) -> Query:
    """The fields of an `application/x-www-form-urlencoded` body; any other type has none."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return NOTHING
    return parse(await request.body(limit), "form")
