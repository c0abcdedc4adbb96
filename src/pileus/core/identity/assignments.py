"""Who has which role where."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec

from pileus.core.caller import ADMIN, MANAGER, MEMBER, READER, Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Forbidden, NotFound
from pileus.core.identity import authority, projects
from pileus.core.identity.changes import changed
from pileus.core.identity.credential_records import ApplicationCredential
from pileus.core.identity.inference import closure
from pileus.core.identity.names import names
from pileus.core.identity.records import Assignment, Domain, Project, Role, Scope, User
from pileus.core.identity.tokens import NIL

DELEGATED = frozenset({MANAGER, MEMBER, READER})
"""What the manager of a domain may grant there."""


class Place(msgspec.Struct, frozen=True):
    """Where a role holds; `target` is nil for the system."""

    scope: Scope
    target: UUID = NIL


SYSTEM = Place(Scope.SYSTEM)


class AssignmentFilter(msgspec.Struct, frozen=True, kw_only=True):
    """`effective` also lists what roles imply; `below` also lists the projects under the place."""

    user: UUID | None = None
    role: UUID | None = None
    place: Place | None = None
    effective: bool = False
    below: bool = False


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """An assignment with what it names. `prior`: the role by which `role` is implied."""

    user: User
    role: Role
    place: Place
    project: Project | None = None
    domain: Domain | None = None
    prior: Role | None = None


async def grant(cloud: Cloud, caller: Caller, user: UUID, role: UUID, place: Place) -> None:
    """Repeating is fine."""
    async with cloud.transaction(caller) as tx:
        await _require(tx, caller, user, role, place, "assignment.create")
        if await tx.one(Assignment, actor=user, role=role, scope=place.scope, target=place.target):
            return
        await tx.add(
            Assignment(
                id=cloud.new_id(),
                actor=user,
                role=role,
                scope=place.scope,
                target=place.target,
                created_at=cloud.now(),
            )
        )
        await changed(tx)


async def revoke(cloud: Cloud, caller: Caller, user: UUID, role: UUID, place: Place) -> None:
    """Application credentials of the user in a project end with it: they were granted on what is gone."""
    async with cloud.transaction(caller) as tx:
        await _require(tx, caller, user, role, place, "assignment.delete")
        held = await tx.one(Assignment, actor=user, role=role, scope=place.scope, target=place.target)
        if held is None:
            raise NotFound("Role assignment", role.hex)
        await tx.remove(held)
        if place.scope is Scope.PROJECT:
            for application in await tx.list(ApplicationCredential, user=user, project=place.target):
                await tx.remove(application)
        await changed(tx)


async def check(cloud: Cloud, caller: Caller, user: UUID, role: UUID, place: Place) -> None:
    """Raises NotFound when the user has not been given the role there."""
    async with cloud.view() as look:
        await _require_reads(look, caller, place)
        if not await look.count(Assignment, actor=user, role=role, scope=place.scope, target=place.target):
            raise NotFound("Role assignment", role.hex)


async def of(cloud: Cloud, caller: Caller, user: UUID, place: Place) -> list[Role]:
    """The roles that a user was given there, without those they imply."""
    async with cloud.view() as look:
        await _require_reads(look, caller, place)
        await _exist(look, user, None, place)
        held = await look.list(Assignment, actor=user, scope=place.scope, target=place.target)
        return await look.list(Role, id=tuple(a.role for a in held), order=("name",)) if held else []


async def list_all(cloud: Cloud, caller: Caller, want: AssignmentFilter) -> list[Granted]:
    async with cloud.view() as look:
        domains = None
        if not authority.reads_everything(caller):
            domain = await _domain(look, want.place) if want.place else caller.domain
            await authority.require_reads(look, caller, domain, "assignment.read")
            domains = await authority.below(look, caller.domain) if caller.domain else []
        held = await look.list(Assignment, order=("created_at",), **await _equals(look, want))
        shown = await _named(look, held)
        roles = {role.id: role for role in await look.list(Role)}
    if domains is not None:
        shown = [granted for granted in shown if _domain_of(granted) in domains]
    if want.effective:
        shown = expanded(shown, roles)
    return [granted for granted in shown if want.role in (None, granted.role.id)]


async def domain_of(cloud: Cloud, place: Place) -> UUID | None:
    """The domain that a place is in; None for the system, and for a project that does not exist."""
    async with cloud.view() as look:
        return await _domain(look, place)


async def domain_names(cloud: Cloud, domains: Iterable[UUID]) -> dict[UUID, str]:
    async with cloud.view() as look:
        return await names(look, Domain, domains)


async def own_places(cloud: Cloud, caller: Caller) -> list[Granted]:
    """Every enabled place where the caller has a role: what its token can be exchanged for."""
    async with cloud.view() as look:
        held = await look.list(Assignment, actor=caller.user, order=("created_at",))
        shown = await _named(look, held)
        disabled = {domain.id for domain in await look.list(Domain, enabled=False)}
    return [
        granted
        for granted in shown
        if (granted.project is None or granted.project.enabled) and _domain_of(granted) not in disabled
    ]


async def _equals(look: Look, want: AssignmentFilter) -> dict[str, object]:
    """What the store can select; an implied role can only be looked for afterwards."""
    equals: dict[str, object] = {}
    if want.user is not None:
        equals["actor"] = want.user
    if want.role is not None and not want.effective:
        equals["role"] = want.role
    if want.place is not None:
        targets = [want.place.target]
        if want.below and want.place.scope is Scope.PROJECT:
            targets += [project.id for project in await projects.subtree(look, want.place.target)]
        equals |= {"scope": want.place.scope, "target": tuple(targets)}
    return equals


async def _named(look: Look, held: Sequence[Assignment]) -> list[Granted]:
    """With their records, four queries in all; those whose subject has just gone are left out."""
    users = {user.id: user for user in await look.list(User, id=ids(a.actor for a in held))}
    roles = {role.id: role for role in await look.list(Role)}
    wanted = ids(a.target for a in held)
    projects_ = {project.id: project for project in await look.list(Project, id=wanted)}
    domains_ = {domain.id: domain for domain in await look.list(Domain, id=wanted)}
    shown = []
    for a in held:
        project = projects_.get(a.target) if a.scope is Scope.PROJECT else None
        domain = domains_.get(a.target) if a.scope is Scope.DOMAIN else None
        gone = a.scope is not Scope.SYSTEM and project is None and domain is None
        if gone or a.actor not in users or a.role not in roles:
            continue
        shown.append(
            Granted(
                user=users[a.actor],
                role=roles[a.role],
                place=Place(a.scope, a.target),
                project=project,
                domain=domain,
            )
        )
    return shown


def ids(keys: Iterable[UUID]) -> tuple[UUID, ...]:
    return tuple(set(keys))


def expanded(shown: Iterable[Granted], known: dict[UUID, Role]) -> list[Granted]:
    """With the implied roles, each role of a user once a place."""
    found: dict[tuple[UUID, UUID, Place], Granted] = {}
    for granted in shown:
        for role in sorted(closure(known, [granted.role.id]), key=lambda key: known[key].name):
            prior = None if role == granted.role.id else granted.role
            effective = msgspec.structs.replace(granted, role=known[role], prior=prior)
            key = (granted.user.id, role, granted.place)
            if key not in found or prior is None:
                found[key] = effective
    return list(found.values())


def _domain_of(granted: Granted) -> UUID | None:
    if granted.project is not None:
        return granted.project.domain
    return granted.domain.id if granted.domain is not None else None


async def _domain(look: Look, place: Place) -> UUID | None:
    if place.scope is Scope.PROJECT:
        project = await look.maybe(Project, place.target)
        return project.domain if project else None
    return place.target if place.scope is Scope.DOMAIN else None


async def _require_reads(look: Look, caller: Caller, place: Place) -> None:
    await authority.require_reads(look, caller, await _domain(look, place), "assignment.read")


async def _exist(look: Look, user: UUID, role: UUID | None, place: Place) -> None:
    wanted: list[tuple[type[User | Role | Project | Domain], UUID]] = [(User, user)]
    if role is not None:
        wanted.append((Role, role))
    if place.scope is Scope.PROJECT:
        wanted.append((Project, place.target))
    elif place.scope is Scope.DOMAIN:
        wanted.append((Domain, place.target))
    for cls, key in wanted:
        if await look.maybe(cls, key) is None:
            raise NotFound(cls.__name__, key.hex)


async def _require(tx: Tx, caller: Caller, user: UUID, role: UUID, place: Place, verb: str) -> None:
    """A domain's manager grants the lesser roles to users of the domain, on the domain and its projects."""
    domain = await _domain(tx, place)
    await authority.require_manages(tx, caller, domain, verb)
    await _exist(tx, user, role, place)
    if caller.admin:
        return
    subject = await tx.get(User, user)
    await authority.require_manages(tx, caller, subject.domain, verb)
    known = {found.id: found for found in await tx.list(Role)}
    names = {known[key].name for key in closure(known, [role])}
    if ADMIN in names or not names <= DELEGATED:
        raise Forbidden(f"The manager of a domain may grant {', '.join(sorted(DELEGATED))} only.")
