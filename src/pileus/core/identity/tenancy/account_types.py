"""What an account is to the cloud: of administrators, of a domain's administrators, or of users; and its roles.

The type follows from what the account (or one of its users) may do, so that a grant made elsewhere shows here; a
resource administrator is told from a domain's administrator by the account's own role only.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import UUID

from pileus.core.caller import ADMIN, MANAGER, MEMBER
from pileus.core.cloud import Look, Tx
from pileus.core.errors import Exists, Invalid
from pileus.core.identity import new_ids
from pileus.core.identity.authentication.tokens import NIL
from pileus.core.identity.changes import changed
from pileus.core.identity.records import (
    Actor,
    Assignment,
    Domain,
    Project,
    ProjectKind,
    Role,
    Scope,
    User,
)
from pileus.core.identity.tenancy.account_roles import DEFAULT
from pileus.core.identity.tenancy.tenancy_records import AccountRole, RoleType
from pileus.store import Condition, all_of, any_of, eq, not_in

POWER = (RoleType.USER, RoleType.DOMAIN_ADMIN, RoleType.RESOURCE_ADMIN, RoleType.ADMIN)
"""The least first."""


def stronger(one: RoleType, other: RoleType) -> bool:
    return POWER.index(one) > POWER.index(other)


async def of_accounts(look: Look, accounts: Sequence[Project]) -> dict[UUID, RoleType]:
    """By account."""
    if not accounts:
        return {}
    keys = tuple(account.id for account in accounts)
    members = {user.id: user.account for user in await look.list(User, account=keys)}
    held = await _held(look, (*keys, *members))
    named = await _named(look, {account.account_role for account in accounts})
    found = {}
    for account in accounts:
        own = [held.get(user, RoleType.USER) for user, of in members.items() if of == account.id]
        strongest = max([held.get(account.id, RoleType.USER), *own], key=POWER.index)
        found[account.id] = named.get(account.account_role, strongest)
    return found


async def of_users(look: Look, users: Sequence[User]) -> dict[UUID, RoleType]:
    """By user: the type of its account; of one without an account, what it may do itself."""
    accounts = await look.list(Project, id=tuple({user.account for user in users if user.account}))
    by_account = await of_accounts(look, accounts)
    held = await _held(look, tuple(user.id for user in users if user.account is None))
    return {
        user.id: by_account.get(user.account, RoleType.USER)
        if user.account
        else held.get(user.id, RoleType.USER)
        for user in users
    }


async def _held(look: Look, actors: Sequence[UUID]) -> dict[UUID, RoleType]:
    """What each of them may do by an assignment of its own."""
    if not actors:
        return {}
    roles = {role.id: role.name for role in await look.list(Role)}
    found: dict[UUID, RoleType] = {}
    for held in await look.list(Assignment, actor=tuple(actors)):
        kind = _kind(roles.get(held.role, ""), held.scope)
        if kind is not None and stronger(kind, found.get(held.actor, RoleType.USER)):
            found[held.actor] = kind
    return found


def _kind(role: str, scope: Scope) -> RoleType | None:
    if role == ADMIN and scope is not Scope.DOMAIN:
        return RoleType.ADMIN
    return RoleType.DOMAIN_ADMIN if role in (ADMIN, MANAGER) and scope is Scope.DOMAIN else None


async def _named(look: Look, roles: Iterable[UUID | None]) -> Mapping[UUID | None, RoleType]:
    wanted = tuple({role for role in roles if role is not None})
    return {role.id: role.type for role in await look.list(AccountRole, id=wanted)} if wanted else {}


async def where_account(look: Look, type: RoleType) -> Condition:
    """The accounts of a type, as a condition on them: only those who administer something are enumerated."""
    strong = await _strong(look)
    if type is RoleType.USER:
        return not_in("id", {key for accounts, _ in strong.values() for key in accounts})
    return eq("id", strong[type][0])


async def where_user(look: Look, type: RoleType) -> Condition:
    strong = await _strong(look)
    if type is not RoleType.USER:
        accounts, users = strong[type]
        return any_of(eq("account", accounts), eq("id", users))
    every = {key for accounts, _ in strong.values() for key in accounts}
    alone = {key for _, users in strong.values() for key in users}
    return all_of(not_in("account", every), not_in("id", alone))


Strong = dict[RoleType, tuple[set[UUID], set[UUID]]]
"""By type above USER: accounts, and users without an account."""


async def _strong(look: Look) -> Strong:
    roles = {role.id: role.name for role in await look.list(Role, name=(ADMIN, MANAGER))}
    granted = await look.list(Assignment, role=tuple(roles))
    actors = {held.actor for held in granted if _kind(roles[held.role], held.scope)}
    people = await look.list(User, id=tuple(actors))
    keys = {user.account for user in people if user.account} | actors
    named = await look.list(AccountRole)
    accounts = await look.list(
        Project, any_of(eq("id", keys), eq("account_role", {role.id for role in named}))
    )
    found: Strong = {type: (set(), set()) for type in POWER[1:]}
    for key, type in (await of_accounts(look, accounts)).items():
        if type is not RoleType.USER:
            found[type][0].add(key)
    alone = [user for user in people if user.account is None]
    for key, type in (await of_users(look, alone)).items():
        if type is not RoleType.USER:
            found[type][1].add(key)
    return found


async def role_of(look: Look, type: RoleType | None, role: UUID | None) -> tuple[RoleType, UUID | None]:
    """The type, and the role where it is another than the type's default one. Raises Invalid for neither, NotFound."""
    if role is not None:
        record = await look.get(AccountRole, role)
        if type not in (None, record.type):
            raise Invalid(f"Role {record.name} is of the type {record.type}; leave the account type out.")
        plain = record.id == DEFAULT[record.type] and record.type is not RoleType.RESOURCE_ADMIN
        return record.type, None if plain else record.id
    if type is None:
        raise Invalid("Neither an account type nor a role is named; name one of them.")
    if type is not RoleType.RESOURCE_ADMIN:
        return type, None
    return type, DEFAULT[type]


async def found(
    tx: Tx,
    domain: UUID,
    name: str,
    type: RoleType,
    role: UUID | None = None,
    *,
    id: UUID | None = None,
    network_domain: str = "",
    description: str = "",
    extra: Mapping[str, Any] | None = None,
) -> Project:
    """A new account with the core's roles of its type, by whoever has seen to it that the caller may. Raises Exists for a
    name that a project or an account of the domain has."""
    if await tx.count(Project, domain=domain, name=name):
        raise Exists(f"A project or account named {name} exists in this domain already; choose another name.")
    await tx.get(Domain, domain)  # whose limits nobody changes meanwhile
    made = await tx.add(
        Project(
            id=await new_ids.fresh(tx, id),
            domain=domain,
            name=name,
            kind=ProjectKind.ACCOUNT,
            account_role=role,
            network_domain=network_domain,
            description=description,
            extra=dict(extra or {}),
            created_at=tx.cloud.now(),
        )
    )
    await grant(tx, made, type)
    await changed(tx)
    return made


async def grant(tx: Tx, account: Project, type: RoleType) -> None:
    """Give the account the core's roles of its type, in place of those that it had of its own."""
    roles = {role.name: role.id for role in await tx.list(Role, domain=None)}
    wanted = {(roles[MEMBER], Scope.PROJECT, account.id)}
    if type is RoleType.ADMIN:
        wanted = {(roles[ADMIN], Scope.PROJECT, account.id), (roles[ADMIN], Scope.SYSTEM, NIL)}
    elif type is not RoleType.USER:
        wanted.add((roles[MANAGER], Scope.DOMAIN, account.domain))
    for held in await tx.list(Assignment, actor=account.id):
        place = (held.role, held.scope, held.target)
        if place in wanted:
            wanted.remove(place)
        elif held.target in (account.id, account.domain, NIL):
            await tx.remove(held)  # what it was given in projects stays
    for role, scope, target in wanted:
        await tx.add(
            Assignment(
                id=tx.cloud.new_id(),
                actor=account.id,
                actor_kind=Actor.ACCOUNT,
                role=role,
                scope=scope,
                target=target,
                created_at=tx.cloud.now(),
            )
        )
