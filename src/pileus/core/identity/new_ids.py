"""Ids that callers choose, for those who provision from elsewhere: nobody and nothing of identity may have them.

Roles, limits and what goes with something are found by id alone, whatever has it: who gave a new user the id of an
administrator's account would have made an administrator.
"""

from typing import Any
from uuid import UUID

from pileus.core.cloud import Tx
from pileus.core.errors import Exists
from pileus.core.identity.authentication.tokens import NIL
from pileus.core.identity.records import Assignment, Domain, Group, Project, User
from pileus.core.quota import Limit, Usage

USES: tuple[tuple[Any, str], ...] = (
    (User, "id"),
    (Project, "id"),
    (Group, "id"),
    (Domain, "id"),
    (Assignment, "actor"),
    (Assignment, "target"),
    (Limit, "project"),
    (Usage, "project"),
)


async def fresh(tx: Tx, wanted: UUID | None) -> UUID:
    """The wanted id, or a new one. Raises Exists for one that is in use, and for the nil."""
    if wanted is None:
        return tx.cloud.new_id()
    taken = wanted == NIL
    for cls, field in USES:
        taken = taken or await tx.count(cls, **{field: wanted}) > 0
    if taken:
        raise Exists(f"The id {wanted} is in use; choose another, or leave it out to get one.")
    return wanted
