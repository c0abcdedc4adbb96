"""Regions: names of places in which endpoints are, chosen by the operator, in a tree."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Exists, Forbidden, Invalid, NotFound
from pileus.core.identity.changes import changed, given
from pileus.core.identity.services.catalogue_records import (
    Endpoint,
    PolicyAssociation,
    Region,
    RegisteredLimit,
)


class CreateRegion(msgspec.Struct, frozen=True, kw_only=True):
    """Without an id it gets one."""

    id: str = ""
    parent: str | None = None
    description: str = ""
    extra: Mapping[str, Any] = {}


class UpdateRegion(msgspec.Struct, frozen=True, kw_only=True):
    parent: str | UnsetType | None = UNSET
    description: str | UnsetType = UNSET
    extra: Mapping[str, Any] | UnsetType = UNSET


async def create(cloud: Cloud, caller: Caller, want: CreateRegion) -> Region:
    caller.require_admin("region.create")
    key = want.id or cloud.new_id().hex
    async with cloud.transaction(caller) as tx:
        if await tx.maybe(Region, key) is not None:
            raise Exists(f"A region {key} exists already; choose another id.")
        if want.parent is not None:
            await tx.get(Region, want.parent)
        made = await tx.add(
            Region(
                id=key,
                parent=want.parent,
                description=want.description,
                extra=dict(want.extra),
                created_at=cloud.now(),
            )
        )
        await changed(tx)
    return made


async def list_all(cloud: Cloud, *, parent: str | None = None) -> list[Region]:
    """Everybody may know where things are. With `parent`: those directly below it."""
    equals = {} if parent is None else {"parent": parent}
    async with cloud.view() as look:
        return await look.list(Region, order=("created_at",), **equals)


async def show(cloud: Cloud, key: str) -> Region:
    async with cloud.view() as look:
        return await look.get(Region, key)


async def update(cloud: Cloud, caller: Caller, key: str, want: UpdateRegion) -> Region:
    caller.require_admin("region.update")
    values = given(want)
    async with cloud.transaction(caller) as tx:
        held = await tx.get(Region, key)
        if "extra" in values:
            values["extra"] = {**held.extra, **values["extra"]}
        if want.parent is not UNSET and want.parent is not None:
            await _require_above(tx, key, want.parent)
        updated = await tx.put(replace(held, **values))
        await changed(tx)
    return updated


async def _require_above(tx: Tx, key: str, parent: str) -> None:
    """Raises NotFound, and Invalid when the parent is the region itself or below it."""
    if await tx.maybe(Region, parent) is None:
        raise NotFound("Region", parent[:64])
    if parent in await below(tx, key):
        raise Invalid(f"Region {parent} cannot be above {key}: it is the same or below it.")


async def delete(cloud: Cloud, caller: Caller, key: str) -> None:
    """With the regions below it; none of them may have endpoints."""
    caller.require_admin("region.delete")
    async with cloud.transaction(caller) as tx:
        await tx.get(Region, key)
        for region in reversed(await below(tx, key)):
            for cls, what in ((Endpoint, "endpoints"), (RegisteredLimit, "registered limits")):
                if await tx.count(cls, region=region):
                    raise Forbidden(
                        f"Unable to delete region {key}: region {region} has {what}; delete or move those first."
                    )
            for association in await tx.list(PolicyAssociation, region=region):
                await tx.remove(association)
            await tx.remove(await tx.get(Region, region))
        await changed(tx)


async def below(look: Look, key: str) -> list[str]:
    """The region and those under it."""
    found, level = [key], [key]
    while level:
        level = [child.id for child in await look.list(Region, parent=tuple(level))]
        found.extend(level)
    return found
