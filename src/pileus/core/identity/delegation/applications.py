"""Application credentials: secrets with which a program acts for a user in one project, with some roles."""

import secrets
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Exists, Forbidden, Invalid, NotFound
from pileus.core.identity.authentication import failures
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.authentication.credential_records import ApplicationCredential
from pileus.core.identity.authorization import authority
from pileus.core.identity.authorization.holding import effective
from pileus.core.identity.authorization.inference import closure
from pileus.core.identity.changes import changed
from pileus.core.identity.delegation import access_rules
from pileus.core.identity.delegation.access_rules import WantedRule
from pileus.core.identity.records import Role, Scope, User
from pileus.core.identity.users import hash_new

UNASSIGNED = "Invalid application credential: Cannot create an application credential with unassigned role"


class CreateApplicationCredential(msgspec.Struct, frozen=True, kw_only=True):
    """Roles by id or by name; none: all that the caller has there. An empty secret is made up. Without access rules
    it is bound to no requests."""

    name: str
    secret: str = ""
    description: str = ""
    roles: tuple[UUID | str, ...] = ()
    unrestricted: bool = False
    expires_at: datetime | None = None
    access_rules: tuple[WantedRule, ...] = ()


class Made(msgspec.Struct, frozen=True):
    """The secret is shown this once."""

    credential: ApplicationCredential
    secret: str


async def create(cloud: Cloud, caller: Caller, user: UUID, want: CreateApplicationCredential) -> Made:
    """For oneself only, in the project that one acts in."""
    if caller.user != user:
        raise Forbidden(
            "You are not authorized to perform the requested action: application_credential.create."
        )
    project = caller.home
    now = cloud.now()
    if want.expires_at is not None and want.expires_at <= now:
        raise Invalid("The 'expires_at' must not be before now.")
    secret = want.secret or secrets.token_urlsafe(64)
    hashed = await hash_new(cloud, secret)
    async with cloud.transaction(caller) as tx:
        roles = await _roles(tx, caller, project, want.roles)
        if await tx.count(ApplicationCredential, user=user, name=want.name):
            raise Exists(f"An application credential named {want.name} exists already; choose another name.")
        credential = await tx.add(
            ApplicationCredential(
                id=cloud.new_id(),
                user=user,
                project=project,
                name=want.name,
                secret=hashed,
                description=want.description,
                roles=roles,
                access_rules=await access_rules.ensure(tx, user, want.access_rules) or None,
                unrestricted=want.unrestricted,
                expires_at=want.expires_at,
                created_at=now,
            )
        )
    return Made(credential, secret)


async def _roles(
    look: Look, caller: Caller, project: UUID, wanted: tuple[UUID | str, ...]
) -> tuple[UUID, ...]:
    """Roles that the caller has itself, by this token, with those they imply. Raises Invalid for others."""
    held = await effective(look, caller.user, Scope.PROJECT, project)
    held = tuple(role for role in held if role.name in caller.roles)
    if not wanted:
        return tuple(role.id for role in held)
    known = {role.id: role for role in await look.list(Role)}
    chosen = []
    for want in wanted:
        role = next((role for role in known.values() if want in (role.id, role.name)), None)
        if role is None:
            if isinstance(want, UUID):
                raise Invalid(UNASSIGNED)
            raise NotFound("role", want[:64])
        chosen.extend([role.id, *sorted(closure(known, [role.id]) - {role.id})])
    if not set(chosen) <= {role.id for role in held}:
        raise Invalid(UNASSIGNED)
    return tuple(dict.fromkeys(chosen))


async def owner(cloud: Cloud, key: UUID) -> UUID | None:
    """For rules that are held against it; None: there is no such credential."""
    async with cloud.view() as look:
        held = await look.maybe(ApplicationCredential, key)
    return held.user if held else None


async def show(cloud: Cloud, caller: Caller, user: UUID, key: UUID) -> ApplicationCredential:
    async with cloud.view() as look:
        await _require_reads(look, caller, user)
        return await _of_user(look, user, key)


async def list_all(
    cloud: Cloud, caller: Caller, user: UUID, *, name: str | None = None
) -> list[ApplicationCredential]:
    equals = {"name": name} if name is not None else {}
    async with cloud.view() as look:
        await _require_reads(look, caller, user)
        return await look.list(ApplicationCredential, user=user, order=("created_at",), **equals)


async def delete(cloud: Cloud, caller: Caller, user: UUID, key: UUID) -> None:
    """Tokens that it issued end with it."""
    async with cloud.transaction(caller) as tx:
        if caller.user != user:
            caller.require_admin("application_credential.delete")
        await tx.remove(await _of_user(tx, user, key))
        await changed(tx)


async def end_in(tx: Tx, users: Iterable[UUID], projects: Iterable[UUID] | None) -> None:
    """Those of the users in these projects (None: in all) go: roles on which they were made have been taken."""
    where = {} if projects is None else {"project": tuple(projects)}
    for credential in await tx.list(ApplicationCredential, user=tuple(users), **where):
        await tx.remove(credential)


async def roles_of(cloud: Cloud, credentials: list[ApplicationCredential]) -> dict[UUID, Role]:
    """The roles that they name, by id."""
    wanted = {role for credential in credentials for role in credential.roles}
    async with cloud.view() as look:
        return {role.id: role for role in await look.list(Role, id=tuple(wanted))} if wanted else {}


async def _require_reads(look: Look, caller: Caller, user: UUID) -> None:
    if caller.user == user:
        return
    owner = await look.maybe(User, user)
    await authority.require_reads(
        look, caller, owner.domain if owner else None, "application_credential.read"
    )


async def _of_user(look: Look, user: UUID, key: UUID) -> ApplicationCredential:
    held = await look.maybe(ApplicationCredential, key)
    if held is None or held.user != user:
        raise NotFound("Application Credential", key.hex)
    return held


async def verify(cloud: Cloud, credential: ApplicationCredential | None, secret: str) -> bool:
    """In the time of a real check also when there is no such credential. Raises Unauthenticated while it must wait."""
    key = failures.of_key(credential.id.hex if credential else "no application credential")
    who = credential.user if credential else None
    async with failures.turn(cloud, key):
        await failures.allow(cloud, key, user=who)
        right = await vault.of(cloud).verify(credential.secret if credential else "", secret)
        if not right:
            await failures.failed(cloud, key, reason="wrong application credential", user=who)
            return False
        await failures.allow(cloud, key, user=who)
        await failures.succeeded(cloud, key)
    return True
