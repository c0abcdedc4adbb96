"""Kinds of volumes: volume types and disk offerings."""

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from pileus.core.block.records import Volume, VolumeKind, VolumeState
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Conflict, InUse, NotFound
from pileus.store import ne


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


async def default(cloud: Cloud) -> VolumeKind:
    """What a volume gets whose maker names none. Raises NotFound."""
    async with cloud.view() as look:
        found = await look.one(VolumeKind, default=True)
    if found is None:
        raise NotFound("VolumeKind", "default")
    return found


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
    return await revise(cloud, caller, key, lambda _: changes)


async def revise(
    cloud: Cloud,
    caller: Caller,
    key: UUID,
    change: Callable[[VolumeKind], Mapping[str, Any]],
    *,
    unused: bool = False,
) -> VolumeKind:
    """Change fields depending on what they are now; `unused`: only while there is no volume of the kind."""
    caller.require_admin("volume_kind.update")
    async with cloud.transaction(caller) as tx:
        kind = await tx.get(VolumeKind, key)
        if unused:
            await _refuse_used(tx, kind)
        return await tx.put(replace(kind, **change(kind)))


async def _refuse_used(look: Look, kind: VolumeKind) -> None:
    """Volumes that nobody sees any more do not count: nobody could take them away."""
    if number := await look.count(Volume, ne("state", VolumeState.RETAINED), kind=kind.id):
        raise InUse(f"Volume kind {kind.name} is used by {number} volumes; delete or retype them first.")


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    caller.require_admin("volume_kind.delete")
    async with cloud.transaction(caller) as tx:
        kind = await tx.get(VolumeKind, key)
        if kind.default:
            raise Conflict(f"Volume kind {kind.name} is the default; make another one the default first.")
        await _refuse_used(tx, kind)
        await tx.remove(kind)
