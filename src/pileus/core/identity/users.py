"""Users: who can prove who they are, and the end of all their tokens when that changes."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Exists, Forbidden, Invalid, NotFound
from pileus.core.identity import departures, leftovers, new_ids, options
from pileus.core.identity.authentication import failures, password_policy
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.authentication.revocations import end_tokens as end_tokens
from pileus.core.identity.authorization import authority
from pileus.core.identity.changes import changed, given
from pileus.core.identity.directories import directory_refresh, directory_writes
from pileus.core.identity.federation import identities
from pileus.core.identity.federation.federation_records import FederatedIdentity
from pileus.core.identity.federation.identities import Name
from pileus.core.identity.listing import EVERYTHING, Found, Match, Window, equal, page
from pileus.core.identity.records import Domain, Membership, Project, User
from pileus.store import Condition, eq, ge, gt, le, lt, ne

EXPIRES = {"eq": eq, "neq": ne, "lt": lt, "lte": le, "gt": gt, "gte": ge}


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
    timezone: str = ""
    options: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    id: UUID | None = None
    """Chosen by whoever provisions users; None: a new one."""
    known_as: tuple[Name, ...] = ()
    """What names the user at identity providers."""


class UpdateUser(msgspec.Struct, frozen=True, kw_only=True):
    """`password` empty: none, so that the user cannot log in by one. `options` and `extra` add to those there are."""

    name: str | UnsetType = UNSET
    password: str | UnsetType = UNSET
    default_project: UUID | UnsetType | None = UNSET
    email: str | UnsetType = UNSET
    first_name: str | UnsetType = UNSET
    last_name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    timezone: str | UnsetType = UNSET
    options: dict[str, Any] | UnsetType = UNSET
    extra: dict[str, Any] | UnsetType = UNSET
    known_as: tuple[Name, ...] | UnsetType = UNSET


class UserFilter(msgspec.Struct, frozen=True, kw_only=True):
    domain: UUID | None = None
    name: str | None = None
    enabled: bool | None = None
    account: UUID | None = None
    names: tuple[Match, ...] = ()
    expires: tuple[tuple[str, datetime], ...] = ()
    """Comparisons of the time at which the password expires: an operator of EXPIRES, and a time."""
    provider: str | None = None
    protocol: str | None = None
    subject: str | None = None
    """Of one of the user's federated identities."""
    group: UUID | None = None
    within: UUID | None = None
    """Only those in the domains at and under this one."""

    @property
    def federated(self) -> dict[str, str]:
        named = {"provider": self.provider, "protocol": self.protocol, "subject": self.subject}
        return {name: value for name, value in named.items() if value is not None}

    def conditions(self) -> tuple[Condition, ...]:
        found: list[Condition] = []
        for operator, at in self.expires:
            found += [EXPIRES[operator]("password_expires_at", at), ne("password_expires_at", None)]
        return (*found, *equal(name=self.name, enabled=self.enabled, account=self.account))


async def create(cloud: Cloud, caller: Caller, want: CreateUser) -> User:
    async with cloud.view() as look:
        await authority.require_manages(look, caller, want.domain, "user.create")
    if (made := await directory_writes.create_user(cloud, caller, want)) is not None:
        return made
    hashed = await hash_chosen(cloud, want.password)
    async with cloud.transaction(caller) as tx:
        return await add(tx, want, hashed)


async def add(tx: Tx, want: CreateUser, hashed: str, *, own: bool = False) -> User:
    """The same in a transaction, by whoever has seen to it that the caller may, with the password's hash; `own`: the
    user chose that password."""
    now = tx.cloud.now()
    await _domain(tx, want.domain)
    if want.account is not None:
        await tx.get(Project, want.account)
    await _refuse_default(tx, want.default_project)
    await _free(tx, want.domain, want.name)
    fields = msgspec.structs.asdict(want) | {"password": hashed, "options": options.merged({}, want.options)}
    fields["id"] = await new_ids.fresh(tx, want.id)
    known_as = fields.pop("known_as")
    expires = password_policy.expiry(tx.cloud.config, want.options, now, own=own) if hashed else None
    made = await tx.add(
        User(created_at=now, password_at=now if hashed else None, password_expires_at=expires, **fields)
    )
    await identities.replace(tx, made, known_as)
    return made


async def _domain(look: Look, key: UUID) -> Domain:
    found = await look.maybe(Domain, key)
    if found is None:
        raise NotFound("Domain", key.hex)
    return found


async def _refuse_default(look: Look, project: UUID | None) -> None:
    """Raises Invalid for a domain, NotFound for nothing."""
    if project is None or await look.maybe(Project, project) is not None:
        return
    if await look.maybe(Domain, project) is not None:
        raise Invalid(f"User's default project ID cannot be a domain ID: {project.hex}; name a project.")
    raise NotFound("Project", project.hex)


async def _free(look: Look, domain: UUID, name: str) -> None:
    if await look.count(User, domain=domain, name=name):
        raise Exists(f"A user named {name} exists already in this domain; choose another name.")


async def hash_new(cloud: Cloud, password: str) -> str:
    """The hash to store; empty for no password. Raises Invalid."""
    if len(password.encode()) > vault.MAX_PASSWORD:
        raise Invalid(f"The password is longer than {vault.MAX_PASSWORD} bytes; choose a shorter one.")
    return await vault.of(cloud).hash(password) if password else ""


async def hash_chosen(cloud: Cloud, password: str) -> str:
    """As `hash_new`, of a user's password, which must be as strong as the configuration asks."""
    if password:
        password_policy.require_strong(cloud.config, password)
    return await hash_new(cloud, password)


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
    return (await list_page(cloud, caller, want, EVERYTHING)).items


async def list_page(cloud: Cloud, caller: Caller, want: UserFilter, window: Window) -> Found[User]:
    """Raises NotFound for a marker that is nobody."""
    await directory_refresh.freshen(cloud, want.domain or caller.domain)
    async with cloud.view() as look:
        domain = want.domain
        if not authority.reads_everything(caller):
            domain = want.domain or caller.domain
            await authority.require_reads(look, caller, want.within or domain, "user.read")
        where = [*want.conditions(), *equal(domain=domain)]
        if want.within is not None:
            where.append(eq("domain", tuple(await authority.below(look, want.within))))
        if want.federated:
            held = await look.list(FederatedIdentity, **want.federated)
            where.append(eq("id", {identity.user for identity in held}))
        if want.group is not None:
            members = await look.list(Membership, group=want.group)
            where.append(eq("id", {member.user for member in members}))
        return await page(look, User, window, *where, names=want.names)


async def federated(cloud: Cloud, keys: list[UUID]) -> dict[UUID, list[FederatedIdentity]]:
    """What these users are known by elsewhere."""
    found: dict[UUID, list[FederatedIdentity]] = {}
    if keys:
        async with cloud.view() as look:
            for identity in await look.list(FederatedIdentity, user=tuple(keys)):
                found.setdefault(identity.user, []).append(identity)
    return found


async def update(cloud: Cloud, caller: Caller, key: UUID, want: UpdateUser) -> User:
    """A new password and being disabled end the user's tokens."""
    wanted = given(want)
    known_as = wanted.pop("known_as", None)
    changes = await directory_writes.update_user(cloud, caller, key, wanted)
    if "password" in changes:
        async with cloud.view() as look:
            held = await look.maybe(User, key)
            await authority.require_manages_user(look, caller, held, "user.update")
        changes["password"] = await hash_chosen(cloud, changes["password"])
    async with cloud.transaction(caller) as tx:
        held = await _managed(tx, caller, key, "user.update")
        await _refuse_default(tx, changes.get("default_project"))
        if changes.get("name", held.name) != held.name:
            await _free(tx, held.domain, changes["name"])
        updated = await tx.put(await _changed(tx, held, changes))
        if known_as is not None:
            await identities.replace(tx, updated, known_as)
        if "password" in changes or not updated.enabled:
            await end_tokens(tx, key)
        await changed(tx)
    return updated


async def _changed(tx: Tx, held: User, changes: dict[str, Any]) -> User:
    """The user as it is to be; being enabled forgives what had locked it."""
    now = tx.cloud.now()
    if "options" in changes:
        changes["options"] = options.merged(held.options, changes["options"])
    if "extra" in changes:
        changes["extra"] = held.extra | changes["extra"]
    if "password" in changes:
        await password_policy.remember(tx, held)
        kept = changes.get("options", held.options)
        expires = password_policy.expiry(tx.cloud.config, kept, now, own=False)
        changes |= {
            "password_at": now,
            "own_password": False,
            "password_expires_at": expires if changes["password"] else None,
        }
    if changes.get("enabled"):
        changes["locked"] = False
        await failures.clear(tx, failures.of_user(held.id))
        if tx.cloud.config.disable_user_account_days_inactive:
            changes["active_at"] = now
    return msgspec.structs.replace(held, **changes)


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """With its assignments and credentials. What it made stays with the project."""
    await directory_writes.delete_user(cloud, caller, key)
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


async def _managed(tx: Tx, caller: Caller, key: UUID, verb: str) -> User:
    held = await tx.maybe(User, key)
    await authority.require_manages_user(tx, caller, held, verb)
    if held is None:
        raise NotFound("User", key.hex)
    return held
