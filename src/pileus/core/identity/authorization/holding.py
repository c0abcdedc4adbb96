"""Which roles a user has where: through itself, its groups and its account, there or inherited from above."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.identity.authorization.inference import closure
from pileus.core.identity.records import Assignment, Membership, Project, Role, Scope, User

DEEPEST = 32
"""Projects above one another; a guard against a tree that is none."""


async def actors(
    look: Look, user: UUID, groups: Iterable[UUID] = (), *, known: User | None = None
) -> tuple[UUID, ...]:
    """Everybody for whom the user may act: itself, its account, its groups, and those that came with its token.

    Memberships that have ended count until they are removed, which is done when they end (`groups.expire`).
    """
    record = known or await look.maybe(User, user)
    found = [user, *groups]
    if record is not None and record.account is not None:
        found.append(record.account)
    found.extend(held.group for held in await look.list(Membership, user=user))
    return tuple(dict.fromkeys(found))


async def above(look: Look, project: UUID, *, known: Project | None = None) -> tuple[list[UUID], UUID | None]:
    """The projects above one, nearest first, and the domain they are in; ([], None) when it does not exist."""
    record = known or await look.maybe(Project, project)
    found: list[UUID] = []
    at = record.parent if record else None
    while at is not None and len(found) < DEEPEST:
        found.append(at)
        parent = await look.maybe(Project, at)
        at = parent.parent if parent else None
    return found, record.domain if record else None


async def granted(
    look: Look, acting: tuple[UUID, ...], scope: Scope, target: UUID, *, project: Project | None = None
) -> set[UUID]:
    """The roles assigned to one of these there, or above it to be inherited; without those they imply."""
    there = await look.list(Assignment, actor=acting, scope=scope, target=target, inherited=False)
    found = {held.role for held in there}
    if scope is not Scope.PROJECT:
        return found
    inherited = await look.list(Assignment, actor=acting, inherited=True)
    if inherited:
        projects, domain = await above(look, target, known=project)
        places = {(Scope.PROJECT, key) for key in projects} | {(Scope.DOMAIN, domain)}
        found |= {held.role for held in inherited if (held.scope, held.target) in places}
    return found


async def effective(
    look: Look, user: UUID, scope: Scope, target: UUID, groups: Iterable[UUID] = ()
) -> tuple[Role, ...]:
    """The roles of a user there, implied ones included, by name."""
    held = await granted(look, await actors(look, user, groups), scope, target)
    if not held:
        return ()
    known = {role.id: role for role in await look.list(Role)}
    return shown(known, closure(known, held))


def shown(known: Mapping[UUID, Role], held: Iterable[UUID]) -> tuple[Role, ...]:
    """Roles as tokens have them: a domain's own roles count only by what they imply."""
    roles = (known[role] for role in held if known[role].domain is None)
    return tuple(sorted(roles, key=lambda role: role.name))


async def places(look: Look, user: UUID, groups: Iterable[UUID] = ()) -> set[tuple[Scope, UUID]]:
    """Every place where the user has a role, inherited ones resolved to the projects they reach."""
    found: set[tuple[Scope, UUID]] = set()
    for held in await look.list(Assignment, actor=await actors(look, user, groups)):
        if not held.inherited:
            found.add((held.scope, held.target))
        elif held.scope is Scope.DOMAIN:
            inside = await look.list(Project, domain=held.target)
            found |= {(Scope.PROJECT, project.id) for project in inside}
        elif held.scope is Scope.PROJECT:
            found |= {(Scope.PROJECT, key) for key in await below(look, held.target)}
    return found


async def below(look: Look, project: UUID) -> list[UUID]:
    """The projects under one."""
    found: list[UUID] = []
    level = [child.id for child in await look.list(Project, parent=project)]
    while level:
        found.extend(level)
        level = [child.id for child in await look.list(Project, parent=tuple(level))]
    return found
