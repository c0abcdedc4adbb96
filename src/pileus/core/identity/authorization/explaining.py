"""Why somebody may do something to an object, or may not: who they are, where they have roles, and what the core says."""

from typing import Any
from uuid import UUID

import msgspec

from pileus.core.block.records import Snapshot, Volume
from pileus.core.caller import READER, Caller
from pileus.core.cloud import Cloud, Look, kind_of
from pileus.core.compute.records import KeyPair, Server, ServerGroup
from pileus.core.errors import Forbidden, Invalid, NotFound
from pileus.core.identity.authentication import second_factor
from pileus.core.identity.authentication.tokens import NIL
from pileus.core.identity.authorization import holding
from pileus.core.identity.records import Domain, Group, Project, Role, Scope, User
from pileus.core.image.records import Image
from pileus.core.network.records import Address, Network, Port, Router, SecurityGroup, Subnet

OBJECTS: tuple[Any, ...] = (
    Server,
    Volume,
    Snapshot,
    Image,
    Network,
    Subnet,
    Port,
    Router,
    Address,
    SecurityGroup,
    ServerGroup,
    KeyPair,
    User,
    Group,
    Project,
    Domain,
    Role,
)
"""What an id is looked for among."""


class Thing(msgspec.Struct, frozen=True, kw_only=True):
    """The object that is asked about; `project` and `domain` are those it belongs to."""

    id: UUID
    kind: str
    name: str
    project: UUID | None = None
    domain: UUID | None = None
    owner: UUID | None = None


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a token for one place would be, and whether the core would let it do the verb to the object."""

    scope: Scope
    target: UUID
    name: str
    caller: Caller
    refused: str = ""
    """Empty: the core allows it."""


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    user: User
    problems: tuple[str, ...]
    """What keeps every token of the user from being good."""
    notes: tuple[str, ...]
    """What keeps logins by the password from giving one."""
    thing: Thing | None
    standings: tuple[Standing, ...]
    """The place of the object first, then every other where the user has a role."""


async def find(cloud: Cloud, caller: Caller, user: str, thing: str, *, reading: bool) -> Findings:
    """`user`: id, or name (of the caller's domain before others); `thing`: id of an object, or empty for none.

    Only administrators may ask about others. Raises NotFound, Forbidden, Invalid.
    """
    if not caller.admin and user not in (caller.user.hex, str(caller.user), caller.user_name):
        raise Forbidden("Only an administrator may ask about another user; ask about yourself.")
    async with cloud.view() as look:
        held = await _user(look, caller, user)
        if held.id != caller.user and not caller.admin:
            raise Forbidden("Only an administrator may ask about another user; ask about yourself.")
        found = await _thing(look, thing) if thing else None
        if found is not None and not caller.admin and not await _sees(look, held, found):
            raise NotFound("Object", thing[:64])
        problems = await _problems(look, held)
        notes = await _notes(cloud, look, held)
        standings = [
            await _standing(look, held, scope, target, found, reading)
            for scope, target in await _places(look, held, found)
        ]
    return Findings(user=held, problems=problems, notes=notes, thing=found, standings=tuple(standings))


async def _user(look: Look, caller: Caller, text: str) -> User:
    try:
        found = await look.maybe(User, UUID(text))
        alike = [found] if found else []
    except ValueError:
        alike = await look.list(User, name=text)
        near = [user for user in alike if user.domain == caller.user_domain]
        alike = near or alike
    if not alike:
        raise NotFound("User", text[:64])
    if len(alike) > 1:
        raise Invalid(f"Several users are called {text[:64]}; name the one you mean by its id.")
    return alike[0]


async def _thing(look: Look, text: str) -> Thing:
    try:
        key = UUID(text)
    except ValueError:
        raise Invalid(f"{text[:64]!r} is no id; name the object by its id.") from None
    for cls in OBJECTS:
        found = await look.maybe(cls, key)
        if found is not None:
            return Thing(
                id=key,
                kind=str(kind_of(cls)),
                name=getattr(found, "name", "") or "",
                project=key if cls is Project else getattr(found, "project", None),
                domain=key if cls is Domain else getattr(found, "domain", None),
                owner=key if cls is User else getattr(found, "user", None),
            )
    raise NotFound("Object", text[:64])


async def _sees(look: Look, user: User, thing: Thing) -> bool:
    """Whether the user may know of the object at all."""
    places = await holding.places(look, user.id)
    return thing.owner == user.id or (Scope.PROJECT, thing.project) in places or thing.domain == user.domain


async def _problems(look: Look, user: User) -> tuple[str, ...]:
    domain = await look.maybe(Domain, user.domain)
    account = await look.maybe(Project, user.account) if user.account else None
    found = [
        (not user.enabled, f"User {user.name} is disabled."),
        (user.locked, f"User {user.name} is locked."),
        (domain is None or not domain.enabled, f"The domain of user {user.name} is disabled."),
        (
            account is not None and not account.enabled,
            f"The account {account.name if account else ''} is disabled.",
        ),
        (
            account is not None and account.locked,
            f"The account {account.name if account else ''} is locked: nothing new is made or started.",
        ),
    ]
    return tuple(text for holds, text in found if holds)


async def _notes(cloud: Cloud, look: Look, user: User) -> tuple[str, ...]:
    factor = await second_factor.of(cloud, look, user.id)
    if not cloud.config.second_factor or not factor.demanded:
        return ()
    if factor.ready:
        return (f"User {user.name} logs in with a second factor ({factor.provider}) beside the password.",)
    return (
        f"A second factor is demanded of user {user.name} and none is set up: the password alone opens nothing but the "
        f"way to one: {second_factor.setting_up()}.",
    )


async def _places(look: Look, user: User, thing: Thing | None) -> list[tuple[Scope, UUID]]:
    held = await holding.places(look, user.id)
    first = [
        (Scope.PROJECT, thing.project if thing else None),
        (Scope.DOMAIN, thing.domain if thing else None),
        (Scope.SYSTEM, NIL),
    ]
    near = [(scope, key) for scope, key in first if key is not None and (scope, key) in held]
    others = sorted(held - set(near), key=lambda place: (place[0] != Scope.PROJECT, str(place[1])))
    return [*near, *others][:20]


async def _standing(
    look: Look, user: User, scope: Scope, target: UUID, thing: Thing | None, reading: bool
) -> Standing:
    project = await look.maybe(Project, target) if scope is Scope.PROJECT else None
    domain = await look.maybe(Domain, target) if scope is Scope.DOMAIN else None
    roles = await holding.effective(look, user.id, scope, target)
    acting = Caller(
        user=user.id,
        user_name=user.name,
        user_domain=user.domain,
        project=project.id if project else None,
        project_domain=project.domain if project else None,
        domain=domain.id if domain else None,
        system=scope is Scope.SYSTEM,
        roles=frozenset(role.name for role in roles),
    )
    place = project or domain
    refused = f"The {scope} {place.name} is disabled." if place is not None and not place.enabled else ""
    return Standing(
        scope=scope,
        target=target,
        name=place.name if place else "the whole system",
        caller=acting,
        refused=refused or core_refusal(acting, thing, reading),
    )


def core_refusal(caller: Caller, thing: Thing | None, reading: bool) -> str:
    """The core's own word on an object that a project owns; what belongs to identity is decided by its rules."""
    if thing is None or thing.project is None or thing.kind == "project":
        return ""
    if not caller.sees(thing.project):
        return f"The {thing.kind} is in another project, so it is not found."
    try:
        caller.require(f"{thing.kind}.{'read' if reading else 'change'}", project=thing.project)
    except Forbidden as error:
        needed = READER if reading else "member"
        return f"{error.public} That needs the role {needed} there."
    return ""
