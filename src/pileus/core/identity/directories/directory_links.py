"""Domains and accounts whose users are those of a part of a directory, and bringing people in from there."""

from collections.abc import Mapping
from uuid import UUID

import msgspec
from msgspec.structs import replace

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Conflict, Exists, Forbidden, Invalid
from pileus.core.identity.authorization import authority
from pileus.core.identity.changes import changed
from pileus.core.identity.directories import directory, directory_login, directory_settings, shadows
from pileus.core.identity.directories.directory import Binding, Entry, Part
from pileus.core.identity.records import Domain, Project, User
from pileus.core.identity.tenancy import account_types, account_users, accounts
from pileus.core.identity.tenancy.tenancy_records import DirectoryLink, RoleType

KINDS = ("GROUP", "OU")
NOT_CONFIGURED = "No LDAP server is configured for this domain; add one first."


class Adopt(msgspec.Struct, frozen=True, kw_only=True):
    """A person who becomes a user of the account of this name, which is made where there is none."""

    domain: UUID
    account: str
    type: RoleType | None = None
    role: UUID | None = None
    timezone: str = ""
    network_domain: str = ""
    details: Mapping[str, str] = {}
    account_id: UUID | None = None


async def bound(cloud: Cloud, domain: UUID) -> Binding:
    """Raises Invalid for a domain without a directory."""
    found = await directory_settings.of(cloud, domain)
    if found is None:
        raise Invalid(NOT_CONFIGURED)
    return found


async def people(
    cloud: Cloud, caller: Caller, domain: UUID, part: Part | None = None, like: str = ""
) -> list[Entry]:
    """Those in the domain's directory, by name; without those who are disabled there. Empty: it has no directory."""
    async with cloud.view() as look:
        await authority.require_manages(look, caller, domain, "directory.read")
    binding = await directory_settings.of(cloud, domain)
    if binding is None:
        return []
    there = await directory.of(cloud).at(binding)
    found = [entry for entry in await there.people(part, like) if entry.enabled]
    return sorted(found, key=lambda entry: entry.name)


async def person(cloud: Cloud, caller: Caller, domain: UUID, name: str) -> Entry | None:
    async with cloud.view() as look:
        await authority.require_manages(look, caller, domain, "directory.read")
    binding = await directory_settings.of(cloud, domain)
    return await (await directory.of(cloud).at(binding)).find(name=name) if binding else None


async def power(look: Look, caller: Caller, want: Adopt) -> tuple[RoleType, UUID | None]:
    """What the account is to be. Raises Forbidden, Invalid, Conflict. Of one that exists, what it is stays."""
    await authority.require_manages(look, caller, want.domain, "account.create")
    domain = await look.get(Domain, want.domain)
    if not domain.enabled:
        raise Conflict(f"Domain {domain.name} is disabled; enable it first.")
    type, role = await account_types.role_of(look, want.type, want.role)
    await accounts.refuse_escalation(look, caller, type)
    if type is RoleType.ADMIN and domain.parent is not None:
        raise Forbidden("Accounts of administrators belong to the ROOT domain; leave the domain out.")
    return type, role


async def link_domain(
    cloud: Cloud, caller: Caller, domain: UUID, kind: str, name: str, role: RoleType
) -> DirectoryLink:
    """Whoever is in that part of the directory gets an account of its own at the first login."""
    made = await _link(cloud, caller, domain, kind, name, role)
    if role not in (RoleType.USER, RoleType.DOMAIN_ADMIN):
        raise Invalid("Accounts that come by a link are of users (0) or of domain administrators (2).")
    async with cloud.transaction(caller) as tx:
        if await tx.count(DirectoryLink, domain=domain, account=None):
            raise Exists("This domain is linked to LDAP already; unlink it first.")
        await _unused(tx, made)
        await changed(tx)
        return await tx.add(made)


async def unlink_domain(cloud: Cloud, caller: Caller, domain: UUID) -> bool:
    """Users who have come by it stay. False: it was not linked."""
    async with cloud.transaction(caller) as tx:
        await authority.require_manages(tx, caller, domain, "directory_link.delete")
        await tx.get(Domain, domain)
        found = await tx.list(DirectoryLink, domain=domain, account=None)
        for link in found:
            await tx.remove(link)
        await changed(tx)
    return bool(found)


async def link_account(
    cloud: Cloud, caller: Caller, want: Adopt, kind: str, name: str
) -> tuple[DirectoryLink, Project]:
    """Whoever is in that part of the directory becomes a user of the account, which is made where there is none."""
    async with cloud.view() as look:
        type, _ = await power(look, caller, want)
    made = await _link(cloud, caller, want.domain, kind, name, type)
    async with cloud.transaction(caller) as tx:
        await _unused(tx, made)
        type, role = await power(tx, caller, want)
        account = await directory_login.account_for(tx, want.domain, want.account, type, role)
        await accounts.managed(tx, caller, account.id, "directory_link.create")
        for old in await tx.list(DirectoryLink, domain=want.domain, account=account.id):
            raise Conflict(f"Account {account.name} is linked to {old.name} already; it has one link only.")
        await changed(tx)
        return await tx.add(replace(made, account=account.id)), account


async def _link(
    cloud: Cloud, caller: Caller, domain: UUID, kind: str, name: str, role: RoleType
) -> DirectoryLink:
    async with cloud.view() as look:
        await authority.require_manages(look, caller, domain, "directory_link.create")
        await look.get(Domain, domain)
    if kind.upper() not in KINDS:
        raise Invalid(f"{kind[:40]!r} is no kind of link; write GROUP or OU.")
    if not name:
        raise Invalid("GROUP or OU name cannot be empty; give its distinguished name.")
    await bound(cloud, domain)
    return DirectoryLink(
        id=cloud.new_id(), domain=domain, kind=kind.upper(), name=name, role=role, created_at=cloud.now()
    )


async def _unused(look: Look, made: DirectoryLink) -> None:
    held = await look.one(DirectoryLink, domain=made.domain, name=made.name)
    if held is not None:
        what = f"account {held.account}" if held.account else "the domain itself"
        raise Conflict(f"{made.name} is linked to {what} in this domain already; remove that link first.")


async def adopt(cloud: Cloud, caller: Caller, entry: Entry, want: Adopt) -> tuple[Project, User]:
    """May be repeated: the user is brought up to date. Raises Exists for a name that another user has, Forbidden for
    more power than the caller's."""
    accounts.network_domain(want.network_domain)
    found = await directory_settings.of(cloud, want.domain)
    options = found.options if found else {}
    binding = found or Binding(domain=want.domain, options=options, whole=False)
    async with cloud.transaction(caller) as tx:
        type, role = await power(tx, caller, want)
        account = await directory_login.account_for(
            tx,
            want.domain,
            want.account,
            type,
            role,
            id=want.account_id,
            network_domain=want.network_domain,
            extra={accounts.DETAILS: dict(want.details)} if want.details else {},
        )
        await accounts.managed(tx, caller, account.id, "user.create")
        user = await shadows.keep(tx, binding, entry)
        if user is None:
            raise Exists(f"Another user named {entry.name} exists in this domain.")
        if user.account not in (None, account.id):
            await account_users.managed(tx, caller, user.id, "user.move")
        home = {"account": account.id, "default_project": account.id}
        user = await tx.put(replace(user, **home, timezone=want.timezone or user.timezone))
        await changed(tx)
    return account, user


async def coming(cloud: Cloud, caller: Caller, domain: UUID) -> list[Entry]:
    """Those whom the domain's links let in."""
    async with cloud.view() as look:
        await authority.require_manages(look, caller, domain, "directory.read")
    binding = await directory_settings.of(cloud, domain)
    found: dict[str, Entry] = {}
    for link in binding.links if binding else ():
        for entry in await people(cloud, caller, domain, (link.kind, link.name)):
            found[entry.id] = entry
    return sorted(found.values(), key=lambda entry: entry.name)
