"""The list of assignments: as they were made, or what they come to for each user and place."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar
from uuid import UUID

import msgspec

from pileus.core.caller import READER, Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Forbidden, NotFound
from pileus.core.identity.authorization import authority, holding
from pileus.core.identity.authorization.assignments import Place
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
from pileus.store import Record

R = TypeVar("R", bound=Record)


class AssignmentFilter(msgspec.Struct, frozen=True, kw_only=True):
    """`effective`: groups and accounts resolved to users, inheritance to the projects it reaches, roles to what they
    imply; those on the system only where it is the place. `below` also lists the projects under the place.
    `inherited`: only such, or only others."""

    user: UUID | None = None
    group: UUID | None = None
    role: UUID | None = None
    place: Place | None = None
    inherited: bool | None = None
    effective: bool = False
    below: bool = False


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """An assignment with what it names. Where it was resolved: the group, the place and the role it comes from."""

    actor: User | Group
    role: Role
    place: Place
    project: Project | None = None
    domain: Domain | None = None
    inherited: bool = False
    group: UUID | None = None
    source: Place | None = None
    prior: Role | None = None


async def list_all(cloud: Cloud, caller: Caller, want: AssignmentFilter) -> list[Granted]:
    """Callers who read a domain see what is in it."""
    async with cloud.view() as look:
        inside = await _readable(look, caller)
        if want.effective:
            found = await _effective(look, want)
        else:
            found = await _made(look, want)
    return [granted for granted in found if inside is None or _domain_of(granted) in inside]


async def require_known(cloud: Cloud, *, user: UUID | None, project: UUID | None) -> None:
    """Raises NotFound for whoever or whatever is given and does not exist."""
    async with cloud.view() as look:
        if user is not None and await look.maybe(User, user) is None:
            raise NotFound("User", user.hex)
        if project is not None and await look.maybe(Project, project) is None:
            raise NotFound("Project", project.hex)


async def _readable(look: Look, caller: Caller) -> list[UUID] | None:
    """The domains whose assignments are shown: with a token of a domain those in and below it; None: all."""
    if caller.domain is not None and (caller.admin or READER in caller.roles):
        return await authority.below(look, caller.domain)
    if not authority.reads_everything(caller):
        raise Forbidden("You are not authorized to perform the requested action: assignment.read.")
    return None


def _domain_of(granted: Granted) -> UUID | None:
    if granted.project is not None:
        return granted.project.domain
    return granted.domain.id if granted.domain is not None else None


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """The records that assignments name, and which users stand behind groups and accounts."""

    users: Mapping[UUID, User]
    groups: Mapping[UUID, Group]
    roles: Mapping[UUID, Role]
    projects: Mapping[UUID, Project]
    domains: Mapping[UUID, Domain]
    of_account: Mapping[UUID, list[UUID]]
    of_group: Mapping[UUID, list[UUID]]


async def _known(look: Look, held: Sequence[Assignment], *, members: bool, projects: set[UUID]) -> Names:
    """One query for each kind of record."""
    accounts = {a.actor for a in held if a.actor_kind is Actor.ACCOUNT}
    groups = {a.actor for a in held if a.actor_kind is Actor.GROUP}
    memberships = await look.list(Membership, group=tuple(groups)) if members and groups else []
    of_accounts = await look.list(User, account=tuple(accounts)) if accounts else []
    users = {a.actor for a in held if a.actor_kind is Actor.USER} | {m.user for m in memberships}
    targets = {a.target for a in held} | projects
    return Names(
        users=await _by_id(look, User, users) | {user.id: user for user in of_accounts},
        groups=await _by_id(look, Group, groups),
        roles={role.id: role for role in await look.list(Role)},
        projects=await _by_id(look, Project, targets),
        domains=await _by_id(look, Domain, targets),
        of_account=_gathered((user.account, user.id) for user in of_accounts if user.account),
        of_group=_gathered((m.group, m.user) for m in memberships),
    )


async def _by_id(look: Look, cls: type[R], keys: Iterable[UUID]) -> dict[UUID, R]:
    wanted = tuple(keys)
    return {record.id: record for record in await look.list(cls, id=wanted)} if wanted else {}  # type: ignore[attr-defined]


def _gathered(pairs: Iterable[tuple[UUID, UUID]]) -> dict[UUID, list[UUID]]:
    found: dict[UUID, list[UUID]] = defaultdict(list)
    for key, value in pairs:
        found[key].append(value)
    return found


async def _made(look: Look, want: AssignmentFilter) -> list[Granted]:
    """As they were made; those of an account as assignments of its users."""
    actors: list[UUID] | None = [want.group] if want.group else None
    if want.user is not None:
        user = await look.maybe(User, want.user)
        actors = [want.user, *([user.account] if user and user.account else [])]
    equals: dict[str, object] = {"actor": tuple(actors)} if actors is not None else {}
    if want.group is not None:
        equals["actor_kind"] = Actor.GROUP
    if want.role is not None:
        equals["role"] = want.role
    if want.inherited is not None:
        equals["inherited"] = want.inherited
    if want.place is not None:
        targets = [want.place.target]
        if want.below and want.place.scope is Scope.PROJECT:
            targets += await holding.below(look, want.place.target)
        equals |= {"scope": want.place.scope, "target": tuple(targets)}
    held = await look.list(Assignment, order=("created_at",), **equals)
    known = await _known(look, held, members=False, projects=set())
    found: list[Granted] = []
    for a in held:
        for actor in _named_actors(a, known):
            if want.user is None or actor.id == want.user:
                found.extend(_granted(known, actor, a, Place(a.scope, a.target), inherited=a.inherited))
    return found


def _named_actors(a: Assignment, known: Names) -> Iterator[User | Group]:
    """Who has it; nobody when they have just gone."""
    if a.actor_kind is Actor.GROUP:
        keys, records = [a.actor], known.groups
    else:
        keys = known.of_account.get(a.actor, []) if a.actor_kind is Actor.ACCOUNT else [a.actor]
        records = known.users  # type: ignore[assignment]
    yield from (records[key] for key in keys if key in records)


def _granted(
    known: Names,
    actor: User | Group,
    a: Assignment,
    place: Place,
    *,
    inherited: bool,
    group: UUID | None = None,
    source: Place | None = None,
) -> Iterator[Granted]:
    """One, or none when what it names has just gone."""
    project = known.projects.get(place.target) if place.scope is Scope.PROJECT else None
    domain = known.domains.get(place.target) if place.scope is Scope.DOMAIN else None
    if a.role in known.roles and (project or domain or place.scope is Scope.SYSTEM):
        yield Granted(
            actor=actor,
            role=known.roles[a.role],
            place=place,
            project=project,
            domain=domain,
            inherited=inherited,
            group=group,
            source=source,
        )


async def _effective(look: Look, want: AssignmentFilter) -> list[Granted]:
    actors = await holding.actors(look, want.user) if want.user else None
    equals = {"actor": actors} if actors is not None else {}
    held = await look.list(Assignment, order=("created_at",), **equals)
    if want.inherited is not None:
        held = [a for a in held if a.inherited is want.inherited]
    if want.place is None:
        held = [a for a in held if a.scope is not Scope.SYSTEM]
    children, of_domain = await _tree(look) if any(a.inherited for a in held) else ({}, {})
    wanted = await _wanted(look, want)
    reached = {a.id: [p for p in _places(a, children, of_domain) if wanted(p)] for a in held}
    held = [a for a in held if reached[a.id]]
    projects = {place.target for places in reached.values() for place in places}
    known = await _known(look, held, members=True, projects=projects)
    found: list[Granted] = []
    for a in held:
        source = Place(a.scope, a.target) if a.inherited else None
        for user, group in _users(a, known):
            if want.user in (None, user.id):
                for place in reached[a.id]:
                    found.extend(
                        _granted(known, user, a, place, inherited=a.inherited, group=group, source=source)
                    )
    expanded = implied(found, known.roles)
    return [g for g in expanded if g.role.domain is None and want.role in (None, g.role.id)]


async def _tree(look: Look) -> tuple[dict[UUID, list[UUID]], dict[UUID, list[UUID]]]:
    """The projects directly under each project, and all of each domain."""
    projects = await look.list(Project)
    children = _gathered((project.parent, project.id) for project in projects if project.parent)
    return children, _gathered((project.domain, project.id) for project in projects)


async def _wanted(look: Look, want: AssignmentFilter) -> Callable[[Place], bool]:
    if want.place is None:
        return lambda place: True
    places = {want.place}
    if want.below and want.place.scope is Scope.PROJECT:
        places |= {Place(Scope.PROJECT, key) for key in await holding.below(look, want.place.target)}
    return places.__contains__


def _places(
    a: Assignment, children: Mapping[UUID, list[UUID]], of_domain: Mapping[UUID, list[UUID]]
) -> list[Place]:
    if not a.inherited:
        return [Place(a.scope, a.target)]
    if a.scope is Scope.DOMAIN:
        return [Place(Scope.PROJECT, key) for key in of_domain.get(a.target, ())]
    found, level = [], list(children.get(a.target, ()))
    while level:
        found.extend(level)
        level = [child for key in level for child in children.get(key, ())]
    return [Place(Scope.PROJECT, key) for key in found]


def _users(a: Assignment, known: Names) -> Iterator[tuple[User, UUID | None]]:
    """Each user who has it, and the group by which."""
    if a.actor_kind is Actor.GROUP:
        for key in known.of_group.get(a.actor, ()):
            if key in known.users:
                yield known.users[key], a.actor
        return
    for actor in _named_actors(a, known):
        if isinstance(actor, User):
            yield actor, None


def implied(found: Iterable[Granted], known: Mapping[UUID, Role]) -> list[Granted]:
    """With the roles that they imply, step by step, each with the one that implies it."""
    results: list[Granted] = []
    seen: set[tuple[UUID, UUID, Place, UUID | None, Place | None, UUID | None]] = set()
    waiting = list(found)
    while waiting:
        more: list[Granted] = []
        for g in waiting:
            key = (g.actor.id, g.role.id, g.place, g.group, g.source, g.prior.id if g.prior else None)
            if key in seen:
                continue
            seen.add(key)
            results.append(g)
            more.extend(
                msgspec.structs.replace(g, role=known[role], prior=g.role)
                for role in g.role.implies
                if role in known
            )
        waiting = more
    return results
