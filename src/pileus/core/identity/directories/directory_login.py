"""Logins of users who are kept in a directory: it says whether the password is right, and what they are now."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
import structlog
from msgspec.structs import replace

from pileus.core.cloud import Cloud, Tx
from pileus.core.errors import Exists
from pileus.core.identity.changes import changed
from pileus.core.identity.directories import directory, directory_settings, shadows
from pileus.core.identity.directories.directory import (
    Binding,
    Directory,
    Entry,
    Part,
    Team,
    group_id,
    user_id,
)
from pileus.core.identity.named import Named, find_domain
from pileus.core.identity.records import Domain, Project, ProjectKind, Source, User
from pileus.core.identity.tenancy import account_types
from pileus.core.identity.tenancy.tenancy_records import DirectoryLink, RoleType

log = structlog.get_logger("pileus.directory")

NOBODY = "cn=nobody,dc=invalid"
"""A distinguished name that no directory has."""


class Checked(msgspec.Struct, frozen=True):
    """What a directory said."""

    user: User | None
    domain: Domain | None
    right: bool


async def check(cloud: Cloud, named: Named, user: User | None, password: str) -> Checked | None:
    """Ask the directory of the domain; None: the user is not one of a directory. A right password brings the user, its
    groups and its account up to date, and makes them where they are missing. Raises Unavailable.
    """
    if user is not None and user.source is not Source.LDAP:
        return None
    async with cloud.view() as look:
        domain = await look.maybe(Domain, user.domain) if user else await find_domain(look, named.domain)
    if domain is None or (user is None and not named.name):
        return None
    binding = await directory_settings.of(cloud, domain.id)
    if binding is None:
        return Checked(user, domain, False) if user else None
    there = await directory.of(cloud).at(binding)
    entry = await _entry(there, binding, user, named.name)
    if entry is None:
        await there.verify(NOBODY, password)  # takes as long as for somebody
        if user is not None:
            await _vanish(cloud, user)
        return Checked(user, domain, False)
    link, allowed = await _link(there, binding, user, entry)
    if not await there.verify(entry.dn, password):
        return Checked(user, domain, False)
    if not allowed:
        if user is not None:
            await _vanish(cloud, user)
        return Checked(user, domain, False)
    teams = await there.groups_of(entry.dn) if binding.whole else []
    try:
        held = await _keep(cloud, binding, entry, teams, link)
    except Exists as error:
        log.warning("no account", domain=domain.id.hex, user=entry.name, error=error.public)
        held = None
    return Checked(held or user, domain, held is not None)


async def _entry(there: Directory, binding: Binding, user: User | None, name: str) -> Entry | None:
    """By its name there, and where that was changed, by the login's."""
    if user is None:
        return await there.find(name=name)
    if user.external:
        found = await there.find(dn=user.external)
        if found is not None and user_id(binding.domain, found.id) == user.id:
            return found
    found = await there.find(name=user.name)
    return found if found is not None and user_id(binding.domain, found.id) == user.id else None


async def _link(
    there: Directory, binding: Binding, user: User | None, entry: Entry
) -> tuple[DirectoryLink | None, bool]:
    """By which link of the domain the person comes, and whether it may.

    A domain that is linked lets in who is in the group or unit; one with linked accounts, who is in exactly one of
    theirs. Without links only those come in who were imported, unless all users of the domain are in the directory.
    """
    parts = {(link.kind, link.name): link for link in binding.links}
    if not parts:
        return None, binding.whole or user is not None
    found = [parts[part] for part in await there.parts_of(entry.dn, list[Part](parts))]
    accounts = [link for link in found if link.account is not None]
    if len(accounts) > 1:
        log.warning("several accounts", domain=binding.domain.hex, user=entry.name)
    if len(accounts) == 1:
        return accounts[0], True
    plain = next((link for link in found if link.account is None), None)
    if plain is not None and not accounts:
        return plain, True
    return None, binding.whole


async def _vanish(cloud: Cloud, user: User) -> None:
    async with cloud.transaction() as tx:
        held = await tx.maybe(User, user.id)
        if held is not None:
            await shadows.vanish(tx, held)


async def _keep(
    cloud: Cloud, binding: Binding, entry: Entry, teams: list[Team], link: DirectoryLink | None
) -> User | None:
    async with cloud.transaction() as tx:
        user = await shadows.keep(tx, binding, entry)
        if user is None:
            return None
        if link is not None:
            user = await _settle(tx, user, link)
        if binding.whole:
            for team in teams:
                await shadows.keep_group(tx, binding, team)
            await shadows.place(tx, user, [group_id(binding.domain, team.id) for team in teams])
        return user


async def _settle(tx: Tx, user: User, link: DirectoryLink) -> User:
    """Into the linked account; by a domain's link a new user gets an account of its own name."""
    account = link.account
    if account is None:
        account = user.account or (await account_for(tx, user.domain, user.name, link.role)).id
    if account == user.account:
        return user
    await changed(tx)
    return await tx.put(replace(user, account=account, default_project=account))


async def account_for(
    tx: Tx,
    domain: UUID,
    name: str,
    type: RoleType,
    role: UUID | None = None,
    *,
    id: UUID | None = None,
    network_domain: str = "",
    extra: Mapping[str, Any] | None = None,
) -> Project:
    """The account of this name in the domain; one that is missing is made, with the rest. Raises Exists for a name that
    a project has."""
    held = await tx.one(Project, domain=domain, name=name)
    if held is not None and held.kind is ProjectKind.ACCOUNT:
        return held
    return await account_types.found(
        tx, domain, name, type, role, id=id, network_domain=network_domain, extra=extra
    )
