"""Key pairs with which requests are signed. Secrets are encrypted, for signatures need their plain form."""

import secrets
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Forbidden, NotFound
from pileus.core.identity import authority
from pileus.core.identity import secrets as vault
from pileus.core.identity.changes import changed
from pileus.core.identity.credential_records import CLOUDSTACK, Credential
from pileus.core.identity.holding import effective
from pileus.core.identity.records import Project, Scope, User


class KeyPair(msgspec.Struct, frozen=True):
    """A credential with its plain secret."""

    credential: Credential
    secret: str


async def create(cloud: Cloud, caller: Caller, kind: str, user: UUID, project: UUID | None) -> KeyPair:
    """A further pair, which acts in the project."""
    access, secret = secrets.token_hex(16), secrets.token_hex(16)
    async with cloud.transaction(caller) as tx:
        await _require(tx, caller, user, "credential.create")
        if project is not None:
            await tx.get(Project, project)
            if not await effective(tx, user, Scope.PROJECT, project):
                raise Forbidden(f"User {user.hex} has no role in project {project.hex}; grant one first.")
        credential = await tx.add(
            Credential(
                id=cloud.new_id(),
                kind=kind,
                user=user,
                project=project,
                access=access,
                secret=vault.of(cloud).encrypt(secret),
                created_at=cloud.now(),
            )
        )
    return KeyPair(credential, secret)


async def renew(cloud: Cloud, caller: Caller, user: UUID) -> KeyPair:
    """The one pair of a CloudStack user, in place of the one before."""
    access, secret = secrets.token_urlsafe(64), secrets.token_urlsafe(64)
    async with cloud.transaction(caller) as tx:
        await _require(tx, caller, user, "credential.create")
        owner = await tx.get(User, user)
        for held in await tx.list(Credential, user=user, kind=CLOUDSTACK):
            await tx.remove(held)
        credential = await tx.add(
            Credential(
                id=cloud.new_id(),
                kind=CLOUDSTACK,
                user=user,
                project=owner.account or owner.default_project,
                access=access,
                secret=vault.of(cloud).encrypt(secret),
                created_at=cloud.now(),
            )
        )
        await changed(tx)
    return KeyPair(credential, secret)


async def list_all(cloud: Cloud, caller: Caller, user: UUID, kind: str) -> list[KeyPair]:
    async with cloud.view() as look:
        await _require(look, caller, user, "credential.read")
        held = await look.list(Credential, user=user, kind=kind, order=("created_at",))
    return [_opened(cloud, credential) for credential in held]


async def show(cloud: Cloud, caller: Caller, user: UUID, kind: str, access: str) -> KeyPair:
    async with cloud.view() as look:
        await _require(look, caller, user, "credential.read")
        return _opened(cloud, await _of_user(look, user, kind, access))


async def delete(cloud: Cloud, caller: Caller, user: UUID, kind: str, access: str) -> None:
    async with cloud.transaction(caller) as tx:
        await _require(tx, caller, user, "credential.delete")
        await tx.remove(await _of_user(tx, user, kind, access))
        await changed(tx)


def _opened(cloud: Cloud, credential: Credential) -> KeyPair:
    return KeyPair(credential, vault.of(cloud).decrypt(credential.secret))


async def _of_user(look: Look, user: UUID, kind: str, access: str) -> Credential:
    held = await look.one(Credential, access=access)
    if held is None or held.user != user or held.kind != kind:
        raise NotFound("Credential", access)
    return held


async def _require(look: Look, caller: Caller, user: UUID, verb: str) -> None:
    """Secrets are for their owner, and for who manages the owner."""
    owner = await look.maybe(User, user)
    if owner is not None and caller.user == user:
        return
    await authority.require_manages_user(look, caller, owner, verb)
    if owner is None:
        raise NotFound("User", user.hex)
