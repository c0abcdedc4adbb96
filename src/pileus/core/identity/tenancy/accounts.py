"""CloudStack's accounts: projects that users belong to, who act there with what the account may do."""

import re
from collections.abc import Mapping
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import MANAGER, Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Conflict, Exists, Forbidden, Invalid, NotFound
from pileus.core.identity import users
from pileus.core.identity.authorization import authority
from pileus.core.identity.changes import changed
from pileus.core.identity.records import Domain, Project, ProjectKind, User
from pileus.core.identity.tenancy import account_types, tenants
from pileus.core.identity.tenancy.tenancy_records import RoleType
from pileus.core.operations import Accepted
from pileus.core.together import together

LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?", re.ASCII)
MAX_NETWORK_DOMAIN = 190
DETAILS = "accountdetails"
"""Where an account's details are kept in `extra`."""


class NewUser(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    password: str
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    timezone: str = ""
    id: UUID | None = None


class CreateAccount(msgspec.Struct, frozen=True, kw_only=True):
    """`type` or `role` says what it may do; `id` is for whoever provisions accounts."""

    name: str
    domain: UUID
    user: NewUser
    type: RoleType | None = None
    role: UUID | None = None
    network_domain: str = ""
    details: Mapping[str, str] = {}
    id: UUID | None = None


class UpdateAccount(msgspec.Struct, frozen=True, kw_only=True):
    """`details` add to those there are, and empty ones go."""

    name: str | UnsetType = UNSET
    role: UUID | UnsetType = UNSET
    network_domain: str | UnsetType = UNSET
    details: Mapping[str, str] | UnsetType = UNSET
    api_access: bool | UnsetType | None = UNSET


async def create(cloud: Cloud, caller: Caller, want: CreateAccount) -> tuple[Project, User]:
    """An account with its first user. Raises Exists, Invalid, Forbidden for more power than the caller has."""
    network_domain(want.network_domain)
    async with cloud.view() as look:
        await _allowed(look, caller, want)
    hashed = await users.hash_chosen(cloud, want.user.password)
    async with cloud.transaction(caller) as tx:
        type, role = await _allowed(tx, caller, want)
        account = await account_types.found(
            tx,
            want.domain,
            want.name,
            type,
            role,
            id=want.id,
            network_domain=want.network_domain,
            extra={DETAILS: dict(want.details)} if want.details else {},
        )
        user = await users.add(tx, new_user(want.user, account), hashed)
    return account, user


def new_user(want: NewUser, account: Project) -> users.CreateUser:
    fields = msgspec.structs.asdict(want)
    return users.CreateUser(domain=account.domain, account=account.id, default_project=account.id, **fields)


async def _allowed(look: Look, caller: Caller, want: CreateAccount) -> tuple[RoleType, UUID | None]:
    await authority.require_manages(look, caller, want.domain, "account.create")
    domain = await look.get(Domain, want.domain)
    if not domain.enabled:
        raise Conflict(f"The account cannot be made, because domain {domain.name} is disabled.")
    type, role = await account_types.role_of(look, want.type, want.role)
    await refuse_escalation(look, caller, type)
    if type is RoleType.ADMIN and domain.parent is not None:
        raise Forbidden("Accounts of administrators belong to the ROOT domain; leave the domain out.")
    return type, role


async def refuse_escalation(look: Look, caller: Caller, type: RoleType) -> None:
    """Nobody makes, or has power over, an account that may do more. Raises Forbidden."""
    if caller.admin:
        return
    user = await look.maybe(User, caller.user)
    own = (await account_types.of_users(look, [user]))[caller.user] if user else RoleType.USER
    if caller.domain is not None and MANAGER in caller.roles:  # by a group, perhaps
        own = max(own, RoleType.DOMAIN_ADMIN, key=account_types.POWER.index)
    if account_types.stronger(type, own):
        raise Forbidden(f"This is for those who have at least the role type {type}; yours is {own}.")


async def managed(look: Look, caller: Caller, key: UUID, verb: str) -> Project:
    """The account, when the caller has power over it. Raises NotFound (also for what it may not see), Forbidden."""
    held = await look.maybe(Project, key)
    if held is None or held.kind is not ProjectKind.ACCOUNT:
        raise NotFound("Account", key)
    if not await authority.manages(look, caller, held.domain):
        if caller.sees(key):
            raise Forbidden(f"You are not allowed to do {verb} to account {held.name}.")
        raise NotFound("Account", key)
    await refuse_escalation(look, caller, (await account_types.of_accounts(look, [held]))[key])
    return held


async def update(cloud: Cloud, caller: Caller, key: UUID, want: UpdateAccount) -> Project:
    """Raises Exists for a name that is taken, Forbidden for a role that the caller may not give."""
    async with cloud.transaction(caller) as tx:
        held = await managed(tx, caller, key, "account.update")
        changes: dict[str, object] = {}
        if want.name is not UNSET and want.name != held.name:
            await _rename(tx, held, want.name)
            changes["name"] = want.name
        if want.network_domain is not UNSET:
            changes["network_domain"] = network_domain(want.network_domain)
        if want.details is not UNSET:
            details = held.extra.get(DETAILS, {}) | dict(want.details)
            changes["extra"] = held.extra | {DETAILS: {name: text for name, text in details.items() if text}}
        if want.api_access is not UNSET:
            caller.require_admin("account.update of the access by keys")
            changes["api_access"] = want.api_access
        if want.role is not UNSET:
            changes["account_role"] = await _give_role(tx, caller, held, want.role)
        updated = await tx.put(msgspec.structs.replace(held, **changes))
        await changed(tx)
    return updated


async def _rename(tx: Tx, held: Project, name: str) -> None:
    if not name:
        raise Invalid(f"The new name of account {held.name} is empty; it keeps the one it has.")
    if await tx.count(Project, domain=held.domain, name=name):
        raise Exists(f"The name {name} is taken in the account's domain; choose another.")


async def _give_role(tx: Tx, caller: Caller, held: Project, role: UUID) -> UUID | None:
    type, own = await account_types.role_of(tx, None, role)
    await refuse_escalation(tx, caller, type)
    domain = await tx.get(Domain, held.domain)
    if type is RoleType.ADMIN and domain.parent is not None:
        raise Forbidden(f"Account {held.name} is not in the ROOT domain and cannot be an administrator's.")
    if type is not RoleType.ADMIN:
        await refuse_last(tx, held)
    await account_types.grant(tx, held, type)
    return own


async def refuse_last(look: Look, held: Project) -> None:
    """Raises Conflict for the only account that administers the cloud and can be used."""
    admins = await look.list(
        Project, await account_types.where_account(look, RoleType.ADMIN), enabled=True, locked=False
    )
    if [account.id for account in admins] == [held.id]:
        raise Conflict(f"Account {held.name} is the last administrator's; make another administrator first.")


async def disable(cloud: Cloud, caller: Caller, key: UUID, *, command: str = "") -> Accepted:
    """Its users are out at once, and its servers are stopped by the operation. May be repeated."""
    async with together(cloud, caller) as joined:
        held = await managed(joined.tx, caller, key, "account.disable")
        await refuse_last(joined.tx, held)
        return await tenants.suspend(joined, caller, key, command=command)


async def lock(cloud: Cloud, caller: Caller, key: UUID) -> Project:
    """Its users look on, and can make, change or start nothing; what runs goes on running. May be repeated."""
    async with cloud.transaction(caller) as tx:
        held = await managed(tx, caller, key, "account.lock")
        if not held.enabled:
            raise Conflict(f"Account {held.name} is disabled; there is nothing to lock.")
        await refuse_last(tx, held)
        updated = await tx.put(msgspec.structs.replace(held, locked=True))
        await changed(tx)
    return updated


async def enable(cloud: Cloud, caller: Caller, key: UUID) -> Project:
    """Of one that was disabled or locked; its servers stay as they are. May be repeated."""
    async with together(cloud, caller) as joined:
        await managed(joined.tx, caller, key, "account.enable")
        held = await tenants.activate(joined, caller, key)
        return await joined.tx.put(msgspec.structs.replace(held, locked=False))


async def delete(cloud: Cloud, caller: Caller, key: UUID, *, command: str = "") -> Accepted:
    """With its users and everything it owns, by an operation; it is disabled at once. A second call is answered with
    the first. Raises Conflict for the last administrator's, InUse for the only manager of a project."""
    async with together(cloud, caller) as joined:
        held = await managed(joined.tx, caller, key, "account.delete")
        if not await tenants.leaving(joined.tx, [key]):
            await refuse_last(joined.tx, held)
        return await tenants.delete(joined, caller, key, command=command)


async def find(look: Look, caller: Caller, name: str, domain: UUID) -> Project:
    """By name. Raises NotFound, alike for accounts that there are not and that the caller may not see."""
    found = await look.one(Project, domain=domain, name=name, kind=ProjectKind.ACCOUNT)
    if found is None or not (caller.sees(found.id) or await authority.manages(look, caller, domain)):
        raise NotFound("Account", name)
    return found


def network_domain(text: str) -> str:
    """A DNS suffix, or nothing. Raises Invalid."""
    labels = text.split(".")
    if text and (len(text) > MAX_NETWORK_DOMAIN or not all(LABEL.fullmatch(label) for label in labels)):
        raise Invalid(
            f"Invalid network domain {text[:80]!r}: at most {MAX_NETWORK_DOMAIN} characters; each part has 1 to 63 "
            "letters, digits and hyphens, and neither begins nor ends with a hyphen."
        )
    return text
