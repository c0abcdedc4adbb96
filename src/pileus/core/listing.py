"""One page of the records that belong to projects, with how many there are in all."""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Look, kind_of
from pileus.store import Condition, Record

R = TypeVar("R", bound=Record)


class Page(msgspec.Struct, Generic[R], frozen=True):
    items: list[R]
    total: int


async def owned(
    look: Look,
    caller: Caller,
    cls: type[R],
    *where: Condition,
    projects: Sequence[UUID] | None,
    order: Sequence[str] = ("created_at",),
    skip: int = 0,
    limit: int | None = None,
    **equals: Any,
) -> Page[R]:
    """Records of these projects; None: of everybody, for administrators. Raises Forbidden."""
    verb = f"{kind_of(cls)}.read"
    if projects is None:
        caller.require_admin(f"{verb} in all projects")
    else:
        for project in projects:
            caller.require(verb, project=project)
        equals["project"] = tuple(projects)
    return await page(look, cls, *where, order=order, skip=skip, limit=limit, **equals)


def within(caller: Caller, project: UUID | Sequence[UUID] | None, what: str) -> dict[str, Any]:
    """The filter for one project or several; None: for everybody's, for administrators. Raises Forbidden."""
    if project is None:
        caller.require_admin(f"a list of all projects' {what}")
        return {}
    return {"project": project if isinstance(project, UUID) else tuple(project)}


async def page(
    look: Look,
    cls: type[R],
    *where: Condition,
    order: Sequence[str] = ("created_at",),
    skip: int = 0,
    limit: int | None = None,
    **equals: Any,
) -> Page[R]:
    """Of records that belong to nobody, or of which the caller may see all that match."""
    wanted = None if limit is None else skip + limit
    found = await look.list(cls, *where, order=tuple(order), limit=wanted, **equals)
    full = wanted is not None and len(found) == wanted
    total = await look.count(cls, *where, **equals) if full else len(found)
    return Page(found[skip:], total)
