"""Users: who can prove who they are, and the end of all their tokens when that changes."""

from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Tx
from pileus.core.errors import Forbidden, Invalid, NotFound
from pileus.core.identity import authority, departures, leftovers
from pileus.core.identity import secrets as vault
from pileus.core.identity.changes import changed, given
from pileus.core.identity.records import Domain, Project, Revocation, User
from pileus.core.identity.tokens import refused
from pileus.store import lt


class CreateUser(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    domain: UUID
    password: str = ""
    account: UUID | None = None
    default_project: UUID | None = None
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    description: str = ""
    enabled: bool = True


class UpdateUser(msgspec.Struct, frozen=True, kw_only=True):
    """`password` empty: none, so that the user cannot log in by one."""

    name: str | UnsetType = UNSET
    password: str | UnsetType = UNSET
    default_project: UUID | UnsetType | None = UNSET
    email: str | UnsetType = UNSET
    first_name: str | UnsetType = UNSET
    last_name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class UserFilter(msgspec.Struct, frozen=True, kw_only=True):
    domain: UUID | None = None
    name: str | None = None
    enabled: bool | None = None
    account: UUID | None = None


async def create(cloud: Cloud, caller: Caller, want: CreateUser) -> User:
    async with cloud.view() as look:
        await authority.require_manages(look, caller, want.domain, "user.create")
    hashed = await hash_new(cloud, want.password)
    now = cloud.now()
    async with cloud.transaction(caller) as tx:
        await tx.get(Domain, want.domain)
        for project in {want.account, want.default_project} - {None}:
            await tx.get(Project, project)
        fields = msgspec.structs.asdict(want) | {"password": hashed}
        return await tx.add(
            User(id=cloud.new_id(), created_at=now, password_at=now if hashed else None, **fields)
        )


async def hash_new(cloud: Cloud, password: str) -> str:
    """The hash to store; empty for no password. Raises Invalid."""
    if len(password.encode()) > vault.MAX_PASSWORD:
        raise Invalid(f"The password is longer than {vault.MAX_PASSWORD} bytes; choose a shorter one.")
    return await vault.of(cloud).hash(password) if password else ""


async def show(cloud: Cloud, caller: Caller, key: UUID) -> User:
    """A user is seen by itself and by those who read its domain."""
    async with cloud.view() as look:
        held = await look.maybe(User, key)
        if caller.user != key:
            await authority.require_reads(look, caller, held.domain if held else None, "user.read")
        if held is None:
            raise NotFound("User", key.hex)
        return held


async def list_all(cloud: Cloud, caller: Caller, want: UserFilter) -> list[User]:
    equals = {name: value for name, value in msgspec.structs.asdict(want).items() if value is not None}
    async with cloud.view() as look:
        if not authority.reads_everything(caller):
            domain = want.domain or caller.domain
            await authority.require_reads(look, caller, domain, "user.read")
            equals["domain"] = domain
        return await look.list(User, order=("created_at",), **equals)


async def update(cloud: Cloud, caller: Caller, key: UUID, want: UpdateUser) -> User:
    """A new password and being disabled end the user's tokens."""
    changes = given(want)
    if "password" in changes:
        async with cloud.view() as look:
            held = await look.maybe(User, key)
            await authority.require_manages_user(look, caller, held, "user.update")
        changes["password"] = await hash_new(cloud, changes["password"])
        changes["password_at"] = cloud.now()
    async with cloud.transaction(caller) as tx:
        held = await _managed(tx, caller, key, "user.update")
        if changes.get("default_project") is not None:
            await tx.get(Project, changes["default_project"])
        updated = await tx.put(msgspec.structs.replace(held, **changes))
        if "password" in changes or not updated.enabled:
            await end_tokens(tx, key)
        await changed(tx)
    return updated


async def change_password(cloud: Cloud, key: UUID, original: str, new: str) -> None:
    """By the user, who proves it with the old one. Raises Unauthenticated when that is wrong."""
    async with cloud.view() as look:
        held = await look.maybe(User, key)
        domain = await look.maybe(Domain, held.domain) if held else None
    right = await vault.of(cloud).verify(held.password if held else "", original)
    if held is None or domain is None or not (right and held.enabled and domain.enabled):
        raise refused("wrong password, or user or domain is gone or disabled")
    if not new:
        raise Invalid("The new password is empty; choose one.")
    if new == original:
        raise Invalid("The new password is the old one; choose another.")
    hashed = await hash_new(cloud, new)
    caller = Caller(user=held.id, user_name=held.name, user_domain=held.domain)
    async with cloud.transaction(caller) as tx:
        now = await tx.get(User, key)
        if now.password != held.password:
            raise refused("the password was changed meanwhile")
        await tx.put(msgspec.structs.replace(now, password=hashed, password_at=cloud.now()))
        await end_tokens(tx, key)
        await changed(tx)


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """With its assignments and credentials. What it made stays with the project."""
    async with cloud.transaction(caller) as tx:
        held = await _managed(tx, caller, key, "user.delete")
        if key == caller.user:
            raise Forbidden("You cannot delete yourself; ask another administrator.")
        await remove(tx, held)
        await changed(tx)


async def remove(tx: Tx, user: User) -> None:
    await departures.clear(tx, departures.USER, user.id)
    await leftovers.clear_user(tx, user.id)
    await tx.remove(user)


async def end_tokens(tx: Tx, user: UUID) -> None:
    """All that were issued until now."""
    now = tx.cloud.now()
    await remember(
        tx,
        Revocation(id=tx.cloud.new_id(), user=user, before=now, expires_at=_forgettable(tx), created_at=now),
    )


async def end_token(tx: Tx, user: UUID, audit: str) -> None:
    """The one token with this audit id."""
    now = tx.cloud.now()
    await remember(
        tx,
        Revocation(id=tx.cloud.new_id(), user=user, audit=audit, expires_at=_forgettable(tx), created_at=now),
    )


async def remember(tx: Tx, revocation: Revocation) -> None:
    """Keep it, and forget those whose tokens have expired by themselves."""
    await tx.rows.delete_where(Revocation, lt("expires_at", tx.cloud.now()))
    await tx.add(revocation)


def _forgettable(tx: Tx) -> datetime:
    return tx.cloud.now() + timedelta(seconds=tx.cloud.config.token_seconds)


async def _managed(tx: Tx, caller: Caller, key: UUID, verb: str) -> User:
    held = await tx.maybe(User, key)
    await authority.require_manages_user(tx, caller, held, verb)
    if held is None:
        raise NotFound("User", key.hex)
    return held
