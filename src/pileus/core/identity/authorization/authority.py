"""Whose domain is whose: administrators manage all, managers of a domain manage what is in and below it."""

from collections.abc import Sequence
from uuid import UUID

from pileus.core.caller import ADMIN, MANAGER, READER, Caller
from pileus.core.cloud import Look
from pileus.core.errors import Forbidden
from pileus.core.identity.authorization.holding import actors
from pileus.core.identity.authorization.inference import closure
from pileus.core.identity.records import Assignment, Domain, Membership, Role, User

DEEPEST = 32
"""Domains above one another; a guard against a tree that is none."""


async def lineage(look: Look, domain: UUID) -> list[UUID]:
    """The domain and those above it."""
    found: list[UUID] = []
    at: UUID | None = domain
    while at is not None and len(found) < DEEPEST:
        found.append(at)
        record = await look.maybe(Domain, at)
        at = record.parent if record else None
    return found


async def below(look: Look, domain: UUID) -> list[UUID]:
    """The domain and those under it."""
    found, level = [domain], [domain]
    while level:
        level = [child.id for child in await look.list(Domain, parent=tuple(level))]
        found.extend(level)
    return found


def reads_everything(caller: Caller) -> bool:
    return caller.admin or (caller.system and READER in caller.roles)


async def reads(look: Look, caller: Caller, domain: UUID) -> bool:
    """Whether the caller may see everything in the domain."""
    if reads_everything(caller):
        return True
    if caller.domain is None or READER not in caller.roles:
        return False
    return caller.domain in await lineage(look, domain)


async def manages(look: Look, caller: Caller, domain: UUID) -> bool:
    if caller.admin:
        return True
    if caller.domain is None or MANAGER not in caller.roles:
        return False
    return caller.domain in await lineage(look, domain)


async def require_reads(look: Look, caller: Caller, domain: UUID | None, verb: str) -> None:
    """Raises Forbidden. Without a domain, the right to see everything is asked for."""
    if reads_everything(caller) or (domain is not None and await reads(look, caller, domain)):
        return
    raise Forbidden(f"You are not authorized to perform the requested action: {verb}.")


async def require_manages(look: Look, caller: Caller, domain: UUID | None, verb: str) -> None:
    """Raises Forbidden. Without a domain (of something that is gone, or the whole) only administrators pass."""
    if caller.admin or (domain is not None and await manages(look, caller, domain)):
        return
    raise Forbidden(f"You are not authorized to perform the requested action: {verb}.")


async def require_manages_user(look: Look, caller: Caller, user: User | None, verb: str) -> None:
    """Raises Forbidden. A domain's manager has no power over administrators in it, or would become one."""
    await require_manages(look, caller, user.domain if user else None, verb)
    if user is not None and not caller.admin and await administers(look, user.id):
        raise Forbidden(f"User {user.name} is an administrator; only administrators may do {verb}.")


async def administers(look: Look, user: UUID) -> bool:
    """Whether the user (or group) has the admin role anywhere, through its groups and account too."""
    acting = await actors(look, user)
    granted = {assignment.role for assignment in await look.list(Assignment, actor=acting)}
    known = {role.id: role for role in await look.list(Role)}
    return any(known[role].name == ADMIN for role in closure(known, granted))


async def administrators(look: Look, users: Sequence[User]) -> set[UUID]:
    """Those of the users who `administers`."""
    known = {role.id: role for role in await look.list(Role)}
    strong = tuple(key for key in known if any(known[held].name == ADMIN for held in closure(known, [key])))
    holding = {assignment.actor for assignment in await look.list(Assignment, role=strong)}
    members = {member.user for member in await look.list(Membership, group=tuple(holding))}
    return {user.id for user in users if holding & {user.id, user.account} or user.id in members}
