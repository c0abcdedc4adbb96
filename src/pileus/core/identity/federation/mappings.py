"""Mappings: the rules by which what a provider says becomes users, groups and roles."""

from typing import Any

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Exists, NotFound
from pileus.core.identity.changes import changed
from pileus.core.identity.federation import providers, rules
from pileus.core.identity.federation.federation_records import Mapping

FIRST_VERSION = "1.0"


async def create(cloud: Cloud, caller: Caller, key: str, content: Any, version: str) -> Mapping:
    """Raises Invalid for rules that are none."""
    caller.require_admin("mapping.create")
    rules.check(content, version)
    async with cloud.transaction(caller) as tx:
        await changed(tx)
        if await tx.maybe(Mapping, key) is not None:
            raise Exists("Conflict occurred attempting to store mapping - Duplicate entry.")
        made = Mapping(id=key, rules=content, schema_version=version, created_at=cloud.now())
        return await tx.add(made)


async def show(cloud: Cloud, caller: Caller, key: str) -> Mapping:
    providers.require_reads(caller, "mapping.read")
    async with cloud.view() as look:
        return await known(look, key)


async def list_all(cloud: Cloud, caller: Caller) -> list[Mapping]:
    providers.require_reads(caller, "mapping.read")
    async with cloud.view() as look:
        return await look.list(Mapping, order=("created_at",))


async def update(cloud: Cloud, caller: Caller, key: str, content: Any, version: str) -> Mapping:
    """Who is in already stays as it is; the next login goes by the new rules."""
    caller.require_admin("mapping.update")
    rules.check(content, version)
    async with cloud.transaction(caller) as tx:
        await changed(tx)
        held = await known(tx, key)
        return await tx.put(msgspec.structs.replace(held, rules=content, schema_version=version))


async def delete(cloud: Cloud, caller: Caller, key: str) -> None:
    """A protocol that uses it lets nobody in until it has another."""
    caller.require_admin("mapping.delete")
    async with cloud.transaction(caller) as tx:
        await changed(tx)
        await tx.remove(await known(tx, key))


async def known(look: Look, key: str) -> Mapping:
    held = await look.maybe(Mapping, key)
    if held is None:
        raise NotFound("Mapping", key)
    return held
