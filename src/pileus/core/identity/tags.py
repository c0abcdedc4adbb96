"""Tags of projects and domains, and the four ways to ask for them."""

from collections.abc import Iterable
from typing import Protocol

import msgspec

from pileus.core.errors import Invalid
from pileus.store import Condition, any_of, like, literal

MAX_TAGS = 80


class Tagged(Protocol):
    @property
    def tags(self) -> tuple[str, ...]: ...


def checked(wanted: Iterable[str]) -> tuple[str, ...]:
    """Each once, sorted. Raises Invalid."""
    found = tuple(sorted(set(wanted)))
    if len(found) > MAX_TAGS:
        raise Invalid(f"A project has at most {MAX_TAGS} tags; {len(found)} were given.")
    for tag in found:
        if not 1 <= len(tag) <= 255 or "/" in tag or "," in tag:
            raise Invalid(
                f"The tag {tag[:40]!r} is not valid; a tag has 1 to 255 characters without '/' and ','."
            )
    return found


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """None: not asked."""

    every: frozenset[str] | None = None
    some: frozenset[str] | None = None
    not_every: frozenset[str] | None = None
    none: frozenset[str] | None = None

    @property
    def asked(self) -> bool:
        return any(getattr(self, name) is not None for name in self.__struct_fields__)

    def conditions(self) -> list[Condition]:
        """What the database can tell: it takes letters of either case as the same, so `passes` has the last word."""
        found = [has(tag) for tag in sorted(self.every or ())]
        if self.some is not None:
            found.append(any_of(*(has(tag) for tag in sorted(self.some))))
        return found

    def passes(self, tagged: Tagged) -> bool:
        tags = frozenset(tagged.tags)
        return (
            (self.every is None or self.every <= tags)
            and (self.some is None or bool(self.some & tags))
            and (self.not_every is None or not self.not_every <= tags)
            and (self.none is None or not self.none & tags)
        )


def has(tag: str) -> Condition:
    """That the column, a list in JSON, holds the tag."""
    return like("tags", f"%{literal(msgspec.json.encode(tag).decode())}%")
