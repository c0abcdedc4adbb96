"""Application credentials: secrets with which a program acts for a user in one project, with some roles."""

import secrets
from datetime import datetime
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Exists, Forbidden, Invalid, NotFound
from pileus.core.identity import authority
from pileus.core.identity import secrets as vault
from pileus.core.identity.changes import changed
from pileus.core.identity.credential_records import ApplicationCredential
from pileus.core.identity.holding import effective
from pileus.core.identity.records import Role, Scope, User
from pileus.core.identity.users import hash_new


class CreateApplicationCredential(msgspec.Struct, frozen=True, kw_only=True):
    """Roles by id or by name; none: all that the caller has there. An empty secret is made up."""

    name: str
    secret: str = ""
    description: str = ""
    roles: tuple[UUID | str, ...] = ()
    unrestricted: bool = False
    expires_at: datetime | None = None


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
        raise Invalid("expires_at lies in the past; choose a time to come, or leave it out.")
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
                unrestricted=want.unrestricted,
                expires_at=want.expires_at,
                created_at=now,
            )
        )
    return Made(credential, secret)


async def _roles(
    look: Look, caller: Caller, project: UUID, wanted: tuple[UUID | str, ...]
) -> tuple[UUID, ...]:
    """Roles that the caller has itself, by this token. Raises Invalid for others."""
    held = await effective(look, caller.user, Scope.PROJECT, project)
    held = tuple(role for role in held if role.name in caller.roles)
    if not wanted:
        return tuple(role.id for role in held)
    chosen = []
    for want in wanted:
        role = next((role for role in held if want in (role.id, role.name)), None)
        if role is None:
            raise Invalid(f"You do not have the role {want} in this project; name roles that you have.")
        chosen.append(role.id)
    return tuple(dict.fromkeys(chosen))


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
    """In the time of a real check also when there is no such credential."""
    return await vault.of(cloud).verify(credential.secret if credential else "", secret)
