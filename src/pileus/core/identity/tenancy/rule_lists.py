"""Ordered rules on the names of commands, the first that fits decides; `*` stands for any letters."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Protocol
from uuid import UUID

from pileus.core.errors import Invalid

RULE = re.compile(r"[a-zA-Z0-9*]+")
MAX_RULE = 255
ANY = "[a-z0-9_*]"


class Rule(Protocol):
    @property
    def rule(self) -> str: ...

    @property
    def allow(self) -> bool: ...


@lru_cache(maxsize=4096)
def pattern(rule: str) -> re.Pattern[str]:
    """Each part between two wildcards is looked for once, at its first place: no rule takes long."""
    first, *rest = (re.escape(part) for part in re.split(r"\*+", rule.lower()))
    if not rest:
        return re.compile(first)
    middle = "".join(f"(?>{ANY}*?{part})" for part in rest[:-1])
    return re.compile(f"{first}{middle}{ANY}*{rest[-1]}")


def fits(rule: str, command: str) -> bool:
    """Whatever the case of the letters."""
    if "*" not in rule:
        return rule.lower() == command.lower()
    return pattern(rule).fullmatch(command.lower()) is not None


def decide(rules: Iterable[Rule], command: str) -> bool | None:
    """What the first rule that fits says; None: none fits."""
    return next((each.allow for each in rules if fits(each.rule, command)), None)


def checked(rule: str) -> str:
    """Raises Invalid."""
    if not RULE.fullmatch(rule) or len(rule) > MAX_RULE:
        raise Invalid(f"Only API names and wildcards are allowed, invalid rule provided: {rule[:100]}")
    return rule


def ordered(wanted: Sequence[UUID], held: Iterable[UUID]) -> dict[UUID, int]:
    """The new place of each rule of a role: all of them must be named once. Raises Invalid."""
    known = list(held)
    if not set(wanted) <= set(known):
        raise Invalid("Provided role permission(s) do not exist")
    if sorted(wanted) != sorted(known):
        raise Invalid(
            "Unable to reorder role permissions: the new order must name each of the role's permissions once; "
            "read them again, somebody may have changed them."
        )
    return {key: place for place, key in enumerate(wanted)}
