"""Who has which role where: given to users and groups, there or to be inherited by the projects below."""

from collections.abc import Iterable
from uuid import UUID

import msgspec

from pileus.core.caller import ADMIN, MANAGER, MEMBER, READER, Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Forbidden, Invalid, NotFound
from pileus.core.identity.authentication.tokens import NIL
from pileus.core.identity.authorization import authority, holding
from pileus.core.identity.authorization.inference import closure
from pileus.core.identity.changes import changed
from pileus.core.identity.delegation import applications
from pileus.core.identity.names import names
from pileus.core.identity.records import (
    Actor,
    Assignment,
    Domain,
    Group,
    Membership,
    Project,
    Role,
    Scope,
    User,
)

DELEGATED = frozenset({MANAGER, MEMBER, READER})
"""What the manager of a domain may grant there."""


class Place(msgspec.Struct, frozen=True):
    """Where a role holds; `target` is nil for the system."""

    scope: Scope
    target: UUID = NIL


SYSTEM = Place(Scope.SYSTEM)


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """A place where somebody has a role."""

    place: Place
    project: Project | None = None
    domain: Domain | None = None


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a grant is about, as rules are held against it; None for what does not exist."""

    actor: User | Group | None = None
    role: Role | None = None
    project: Project | None = None
    domain: Domain | None = None


async def grant(
    cloud: Cloud,
    caller: Caller,
    actor: UUID,
    role: UUID,
    place: Place,
    *,
    kind: Actor = Actor.USER,
    inherited: bool = False,
) -> None:
    """Repeating is fine. An inherited one holds at the projects below the place, and not at it."""
    async with cloud.transaction(caller) as tx:
        await _require(tx, caller, (kind, actor), role, place, "assignment.create")
        if await _held(tx, actor, role, place, inherited):
            return
        await tx.add(
            Assignment(
                id=cloud.new_id(),
                actor=actor,
                actor_kind=kind,
                role=role,
                scope=place.scope,
                target=place.target,
                inherited=inherited,
                created_at=cloud.now(),
            )
        )
        await changed(tx)


async def revoke(
    cloud: Cloud,
    caller: Caller,
    actor: UUID,
    role: UUID,
    place: Place,
    *,
    kind: Actor = Actor.USER,
    inherited: bool = False,
) -> None:
    """Application credentials in the projects that it reached end with it: they were made on what is gone."""
    async with cloud.transaction(caller) as tx:
        domain = await domain_at(tx, place)
        await authority.require_manages(tx, caller, domain, "assignment.delete")
        held = await _held(tx, actor, role, place, inherited)
        if held is None:
            raise missing(actor, role, place)
        if not caller.admin:
            await _require(tx, caller, (kind, actor), role, place, "assignment.delete")
        await tx.remove(held)
        await applications.end_in(tx, await users_of(tx, held), await _reached(tx, place, inherited))
        await changed(tx)


async def users_of(look: Look, held: Assignment) -> list[UUID]:
    """Who has a role by the assignment."""
    if held.actor_kind is Actor.GROUP:
        return [member.user for member in await look.list(Membership, group=held.actor)]
    if held.actor_kind is Actor.ACCOUNT:
        return [user.id for user in await look.list(User, account=held.actor)]
    return [held.actor]


async def _reached(look: Look, place: Place, inherited: bool) -> list[UUID]:
    if place.scope is Scope.PROJECT:
        return await holding.below(look, place.target) if inherited else [place.target]
    if place.scope is Scope.DOMAIN and inherited:
        return [project.id for project in await look.list(Project, domain=place.target)]
    return []


async def check(
    cloud: Cloud, caller: Caller, actor: UUID, role: UUID, place: Place, *, inherited: bool = False
) -> None:
    """Raises NotFound when the user or group has not been given the role there."""
    async with cloud.view() as look:
        await _require_reads(look, caller, place)
        if await _held(look, actor, role, place, inherited) is None:
            raise missing(actor, role, place)


async def of(
    cloud: Cloud,
    caller: Caller,
    actor: UUID,
    place: Place,
    *,
    kind: Actor = Actor.USER,
    inherited: bool = False,
) -> list[Role]:
    """The roles that a user or group was given there, without those they imply."""
    async with cloud.view() as look:
        await _require_reads(look, caller, place)
        await _exist(look, (kind, actor), None, place)
        held = await look.list(
            Assignment, actor=actor, scope=place.scope, target=place.target, inherited=inherited
        )
        return await look.list(Role, id=tuple(a.role for a in held), order=("name",)) if held else []


def missing(actor: UUID, role: UUID, place: Place) -> NotFound:
    where = "system" if place.scope is Scope.SYSTEM else place.target.hex
    return NotFound(
        "role assignment with role",
        f"{role.hex}, user or group: {actor.hex}, project, domain, or system: {where}",
    )


async def subject(cloud: Cloud, actor: tuple[Actor, UUID] | None, role: UUID | None, place: Place) -> Subject:
    """For rules that are held against it."""
    async with cloud.view() as look:
        holder: User | Group | None = None
        if actor is not None:
            group = actor[0] is Actor.GROUP
            holder = await (look.maybe(Group, actor[1]) if group else look.maybe(User, actor[1]))
        return Subject(
            actor=holder,
            role=await look.maybe(Role, role) if role is not None else None,
            project=await look.maybe(Project, place.target) if place.scope is Scope.PROJECT else None,
            domain=await look.maybe(Domain, place.target) if place.scope is Scope.DOMAIN else None,
        )


async def domain_of(cloud: Cloud, place: Place) -> UUID | None:
    """The domain that a place is in; None for the system, and for a project that does not exist."""
    async with cloud.view() as look:
        return await domain_at(look, place)


async def domain_names(cloud: Cloud, domains: Iterable[UUID]) -> dict[UUID, str]:
    async with cloud.view() as look:
        return await names(look, Domain, domains)


async def own_places(cloud: Cloud, caller: Caller, groups: Iterable[UUID] = ()) -> list[Reach]:
    """Every place where the caller has a role, by itself, its groups (also those of its token) and its account, inherited
    ones included. Its token can be exchanged for one there where the place and its domain are enabled."""
    async with cloud.view() as look:
        found = await holding.places(look, caller.user, groups)
        known = tuple(target for scope, target in found if scope is Scope.PROJECT)
        projects = await look.list(Project, id=known, order=("created_at",)) if known else []
        inside = tuple(target for scope, target in found if scope is Scope.DOMAIN)
        domains = await look.list(Domain, id=inside, order=("created_at",)) if inside else []
    reached = [Reach(place=Place(Scope.PROJECT, project.id), project=project) for project in projects]
    reached += [Reach(place=Place(Scope.DOMAIN, domain.id), domain=domain) for domain in domains]
    return [*reached, Reach(place=SYSTEM)] if (Scope.SYSTEM, NIL) in found else reached


async def _held(look: Look, actor: UUID, role: UUID, place: Place, inherited: bool) -> Assignment | None:
    return await look.one(
        Assignment, actor=actor, role=role, scope=place.scope, target=place.target, inherited=inherited
    )


async def domain_at(look: Look, place: Place) -> UUID | None:
    if place.scope is Scope.PROJECT:
        project = await look.maybe(Project, place.target)
        return project.domain if project else None
    return place.target if place.scope is Scope.DOMAIN else None


async def _require_reads(look: Look, caller: Caller, place: Place) -> None:
    await authority.require_reads(look, caller, await domain_at(look, place), "assignment.read")


async def _exist(look: Look, actor: tuple[Actor, UUID], role: UUID | None, place: Place) -> None:
    wanted: list[tuple[type[User | Group | Role | Project | Domain], UUID]] = [
        (Group if actor[0] is Actor.GROUP else Project if actor[0] is Actor.ACCOUNT else User, actor[1])
    ]
    if role is not None:
        wanted.append((Role, role))
    if place.scope is Scope.PROJECT:
        wanted.append((Project, place.target))
    elif place.scope is Scope.DOMAIN:
        wanted.append((Domain, place.target))
    for cls, key in wanted:
        if await look.maybe(cls, key) is None:
            raise NotFound(cls.__name__.lower(), key.hex)


async def _require(
    tx: Tx, caller: Caller, actor: tuple[Actor, UUID], role: UUID, place: Place, verb: str
) -> None:
    """A domain's manager grants the lesser roles to users of the domain, on the domain and its projects."""
    domain = await domain_at(tx, place)
    await authority.require_manages(tx, caller, domain, verb)
    await _exist(tx, actor, role, place)
    await _refuse_foreign_role(tx, role, place, domain)
    if caller.admin:
        return
    kind, key = actor
    holder = await (tx.get(Group, key) if kind is Actor.GROUP else tx.get(User, key))
    await authority.require_manages(tx, caller, holder.domain, verb)
    known = {found.id: found for found in await tx.list(Role)}
    granted = {known[key].name for key in closure(known, [role])}
    if ADMIN in granted or not granted <= DELEGATED:
        raise Forbidden(f"The manager of a domain may grant {', '.join(sorted(DELEGATED))} only.")


async def _refuse_foreign_role(look: Look, role: UUID, place: Place, domain: UUID | None) -> None:
    held = await look.get(Role, role)
    if place.scope is Scope.SYSTEM and held.domain is not None:
        raise Invalid(
            f"Role {role.hex} is a domain-specific role. Unable to use a domain-specific role in a system assignment."
        )
    if place.scope is Scope.PROJECT and held.domain is not None and held.domain != domain:
        raise Forbidden(
            f"Project {place.target.hex} must be in the same domain as the role {role.hex} being assigned."
        )
