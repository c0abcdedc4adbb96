"""LDAP servers as CloudStack's commands name them: of one domain, or of all that have none of their own."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Exists, Invalid, NotFound
from pileus.core.identity import domain_settings
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.authentication.tokens import NIL
from pileus.core.identity.changes import changed
from pileus.core.identity.directories import directory, directory_settings
from pileus.core.identity.directories.directory_settings import LEGACY
from pileus.core.identity.records import Domain
from pileus.core.identity.services.catalogue_records import DomainSetting
from pileus.core.identity.tenancy.tenancy_records import DirectoryServer

SECRET = "bind_password"  # noqa: S105 - the name of an option


async def add(
    cloud: Cloud,
    caller: Caller,
    host: str,
    port: int,
    domain: UUID | None,
    setting: Mapping[str, Any] | None = None,
) -> DirectoryServer:
    """A server that answers, and takes the configured user. Raises Exists, and Invalid with the reason.

    `setting`: how servers are read from now on, by the names in the configuration's `ldap`, which this stands above.
    """
    caller.require_admin("directory_server.create")
    if not host or any(letter in host for letter in "/ @,?#") or not 0 < port < 65536:
        raise Invalid(
            f"{host[:80]!r} and port {port} are no address of a server; give a name and 1 to 65535."
        )
    made = DirectoryServer(id=cloud.new_id(), host=host, port=port, domain=domain, created_at=cloud.now())
    async with cloud.view() as look:
        await _new(look, made)
        given = {**await directory_settings.settings(cloud, look), **(setting or {})}
        options = directory_settings.from_servers(given, [made])
        if domain is not None:
            options = {**options, **(await domain_settings.opened(cloud, look, domain)).get("ldap", {})}
            options = {
                **options,
                "url": directory_settings.address(made, str(options["url"]).startswith("ldaps")),
            }
    opened = directory.of(cloud).make(options)
    try:
        await opened.check()
    finally:
        await opened.close()
    async with cloud.transaction(caller) as tx:
        await _new(tx, made)
        for option, value in (setting or {}).items():
            await _set(tx, option, value)
        await changed(tx)
        return await tx.add(made)


async def _new(look: Look, made: DirectoryServer) -> None:
    if made.domain is not None:
        await look.get(Domain, made.domain)
    if await look.count(DirectoryServer, host=made.host, port=made.port, domain=made.domain):
        raise Exists(f"Duplicate configuration: {made.host}:{made.port} is there already.")


async def remove(cloud: Cloud, caller: Caller, found: DirectoryServer) -> None:
    """Users of a domain that has no server left cannot log in until it has. Repeating is fine."""
    caller.require_admin("directory_server.delete")
    async with cloud.transaction(caller) as tx:
        await tx.remove(found)
        await changed(tx)


async def remove_shared(cloud: Cloud, caller: Caller) -> None:
    """All that are of no domain, and what ldapConfig had set."""
    caller.require_admin("directory_server.delete")
    async with cloud.transaction(caller) as tx:
        for found in await tx.list(DirectoryServer, domain=None):
            await tx.remove(found)
        for setting in await tx.list(DomainSetting, domain=NIL, group=LEGACY):
            await tx.remove(setting)
        await changed(tx)


async def find(
    cloud: Cloud, caller: Caller, id: UUID | None, host: str, port: int | None, domain: UUID | None
) -> DirectoryServer:
    """By id, or by the rest. Raises NotFound, Invalid."""
    if id is None and not host:
        raise Invalid("Either id or hostname must be specified")
    async with cloud.view() as look:
        if id is not None:
            return await look.get(DirectoryServer, id)
        equals: dict[str, Any] = {"host": host, "domain": domain} | ({"port": port} if port else {})
        found = await look.one(DirectoryServer, **equals)
    if found is None:
        raise NotFound("LDAP configuration of", host)
    return found


async def list_all(
    cloud: Cloud, caller: Caller, *, domain: UUID | None = None, every: bool = False, **equals: Any
) -> list[DirectoryServer]:
    """Those of a domain; else those of no domain, or with `every` all of them."""
    where = {name: value for name, value in equals.items() if value}
    if domain is not None or not (every or where.get("id")):
        where["domain"] = domain
    async with cloud.view() as look:
        return await look.list(DirectoryServer, order=("created_at",), **where)


async def _set(tx: Tx, option: str, value: Any) -> None:
    secret = option == SECRET
    kept = vault.of(tx.cloud).encrypt(msgspec.json.encode(value).decode()) if secret else value
    made = DomainSetting(domain=NIL, group=LEGACY, option=option, value=kept, sensitive=secret)
    if await tx.maybe(DomainSetting, NIL, LEGACY, option) is None:
        await tx.add(made)
    else:
        await tx.put(made)


async def shown(cloud: Cloud, caller: Caller) -> Mapping[str, Any]:
    """How servers are read, without the password."""
    caller.require_admin("directory_server.read")
    async with cloud.view() as look:
        found = await directory_settings.settings(cloud, look)
    return {name: value for name, value in found.items() if name != SECRET}
