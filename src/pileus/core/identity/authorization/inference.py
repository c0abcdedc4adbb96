"""What a role implies."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from pileus.core.identity.records import Role


def closure(known: Mapping[UUID, Role], granted: Iterable[UUID]) -> set[UUID]:
    """The granted roles that exist, with all that they imply."""
    held: set[UUID] = set()
    waiting = [role for role in granted if role in known]
    while waiting:
        role = waiting.pop()
        if role not in held:
            held.add(role)
            waiting.extend(implied for implied in known[role].implies if implied in known)
    return held
