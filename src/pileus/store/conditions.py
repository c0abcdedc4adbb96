"""What rows to take: values that split into a shape, which names a statement, and the parameters of a call.

Comparisons with null are Python's: `ne` and `not_in` also take the rows whose column is null.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from pileus.store.columns import Dialect
from pileus.store.records import Layout

Operator = Literal["eq", "ne", "gt", "ge", "lt", "le", "like", "in", "out"]
Shape = tuple[Any, ...]
"""Hashable: ("eq", column), ("null", column), ("in", column, count or None, null), ("any", shapes), ..."""


@dataclass(frozen=True, slots=True)
class Compare:
    operator: Operator
    column: str
    value: Any


@dataclass(frozen=True, slots=True)
class Group:
    operator: Literal["any", "all"]
    conditions: tuple["Condition", ...]


Condition = Compare | Group


def eq(column: str, value: object) -> Condition:
    """As the keyword does, for columns whose names are not known before."""
    if isinstance(value, (tuple, list, set, frozenset)):
        return Compare("in", column, tuple(value))
    return Compare("eq", column, value)


def ne(column: str, value: object) -> Condition:
    return Compare("ne", column, value)


def gt(column: str, value: object) -> Condition:
    return Compare("gt", column, value)


def ge(column: str, value: object) -> Condition:
    return Compare("ge", column, value)


def lt(column: str, value: object) -> Condition:
    return Compare("lt", column, value)


def le(column: str, value: object) -> Condition:
    return Compare("le", column, value)


def like(column: str, pattern: str) -> Condition:
    """`%` any text, `_` any character, backslash: the next one literally; ASCII letters in either case."""
    return Compare("like", column, pattern)


def literal(text: str) -> str:
    """A user's text as part of a pattern."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def not_in(column: str, values: Iterable[object]) -> Condition:
    return Compare("out", column, tuple(values))


def any_of(*conditions: Condition) -> Condition:
    """Of none: no row."""
    return Group("any", conditions)


def all_of(*conditions: Condition) -> Condition:
    return Group("all", conditions)


def split(
    layout: Layout[Any], where: Iterable[Condition], equals: Mapping[str, object], dialect: Dialect
) -> tuple[Shape, list[Any]]:
    values: list[Any] = []
    conditions = (*where, *(eq(column, value) for column, value in equals.items()))
    return tuple(shape(layout, condition, dialect, values) for condition in conditions), values


def shape(layout: Layout[Any], condition: Condition, dialect: Dialect, values: list[Any]) -> Shape:
    """Appends the parameters in the order in which the statement will ask for them."""
    if isinstance(condition, Group):
        parts = tuple(shape(layout, part, dialect, values) for part in condition.conditions)
        return condition.operator, parts
    operator, column = condition.operator, condition.column
    if operator in ("in", "out"):
        return membership(layout, condition, dialect, values)
    if operator == "like":
        layout.column(column)
        values.append(condition.value)
        return operator, column
    value = layout.encode(column, condition.value, dialect)
    if value is not None:
        values.append(value)
        return operator, column
    if operator in ("eq", "ne"):
        return ("null" if operator == "eq" else "some"), column
    raise TypeError(f"{layout.name}.{column}: nothing is ordered against None")


def membership(layout: Layout[Any], condition: Compare, dialect: Dialect, values: list[Any]) -> Shape:
    column = condition.column
    members = [layout.encode(column, value, dialect) for value in condition.value if value is not None]
    null = len(members) < len(condition.value)
    if len(members) == 1 and not null:
        # An index gives the order of the rows for a single value only.
        values.append(members[0])
        return ("eq" if condition.operator == "in" else "ne"), column
    if not layout.column(column).kind.listable:
        values.extend(members)
        return condition.operator, column, len(members), null
    values.append(msgspec.json.encode(members).decode() if dialect == "sqlite" else members)
    return condition.operator, column, None, null
