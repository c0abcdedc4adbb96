"""Where a user acts who names no place."""

from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.identity.authorization.holding import actors, places
from pileus.core.identity.records import Assignment, Scope, User


async def home(look: Look, user: User) -> UUID | None:
    """Its account, its default project, or the first project that it got a role in; None: nowhere."""
    if user.account or user.default_project:
        return user.account or user.default_project
    acting = await actors(look, user.id, known=user)
    held = await look.list(
        Assignment, actor=acting, scope=Scope.PROJECT, inherited=False, order=("created_at",)
    )
    if held:
        return held[0].target
    reached = sorted(target for scope, target in await places(look, user.id) if scope is Scope.PROJECT)
    return reached[0] if reached else None
