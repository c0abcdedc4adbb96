"""Names to show beside ids."""

from collections.abc import Iterable
from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.identity.records import Domain, Project, User


async def names(
    look: Look, cls: type[Domain] | type[Project] | type[User], ids: Iterable[UUID]
) -> dict[UUID, str]:
    """By id, of those that still exist; one query."""
    wanted = tuple(set(ids))
    if not wanted:
        return {}
    return {record.id: record.name for record in await look.list(cls, id=wanted)}
