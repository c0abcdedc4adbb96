"""Kinds of volumes: volume types and disk offerings."""

from typing import Any
from uuid import UUID

from msgspec.structs import replace

from pileus.core.block.records import Volume, VolumeKind
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.errors import Conflict, InUse, NotFound


async def listing(cloud: Cloud, caller: Caller, **filters: Any) -> list[VolumeKind]:
    """The kinds that the caller may use."""
    async with cloud.view() as look:
        found = await look.list(VolumeKind, order=("created_at", "name"), **filters)
    return [kind for kind in found if kind.public or caller.admin]


async def show(cloud: Cloud, caller: Caller, key: UUID) -> VolumeKind:
    async with cloud.view() as look:
        found = await look.get(VolumeKind, key)
    if not found.public and not caller.admin:
        raise NotFound("VolumeKind", key)
    return found


async def by_name(cloud: Cloud, caller: Caller, name: str) -> VolumeKind:
    found = await listing(cloud, caller, name=name)
    if not found:
        raise NotFound("VolumeKind", name)
    return found[0]


async def create(
    cloud: Cloud,
    caller: Caller,
    *,
    name: str,
    description: str = "",
    size_gib: int = 0,
    public: bool = True,
    extra_specs: dict[str, str] | None = None,
) -> VolumeKind:
    caller.require_admin("volume_kind.create")
    async with cloud.transaction(caller) as tx:
        kind = VolumeKind(
            id=cloud.new_id(),
            name=name,
            description=description,
            size_gib=size_gib,
            public=public,
            extra_specs=extra_specs or {},
            created_at=cloud.now(),
        )
        return await tx.add(kind)


async def update(cloud: Cloud, caller: Caller, key: UUID, **changes: Any) -> VolumeKind:
    caller.require_admin("volume_kind.update")
    async with cloud.transaction(caller) as tx:
        return await tx.put(replace(await tx.get(VolumeKind, key), **changes))


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    caller.require_admin("volume_kind.delete")
    async with cloud.transaction(caller) as tx:
        kind = await tx.get(VolumeKind, key)
        if kind.default:
            raise Conflict(f"Volume kind {kind.name} is the default; make another one the default first.")
        if await tx.count(Volume, kind=key):
            raise InUse(f"Volume kind {kind.name} is used by volumes.")
        await tx.remove(kind)
