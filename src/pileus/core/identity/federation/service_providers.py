"""Service providers: other clouds, to which users of this one can go with an assertion of ours."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Exists, Forbidden, NotFound
from pileus.core.identity.changes import changed, given
from pileus.core.identity.federation.federation_records import ServiceProvider
from pileus.core.identity.federation.providers import require_reads


class CreateServiceProvider(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    auth_url: str
    sp_url: str
    enabled: bool = False
    description: str = ""
    relay_state_prefix: str = "ss:mem:"


class UpdateServiceProvider(msgspec.Struct, frozen=True, kw_only=True):
    auth_url: str | UnsetType = UNSET
    sp_url: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    description: str | UnsetType = UNSET
    relay_state_prefix: str | UnsetType = UNSET


async def create(cloud: Cloud, caller: Caller, want: CreateServiceProvider) -> ServiceProvider:
    caller.require_admin("service_provider.create")
    async with cloud.transaction(caller) as tx:
        await changed(tx)
        if await tx.maybe(ServiceProvider, want.id) is not None:
            raise Exists(
                "Conflict occurred attempting to store service_provider -"
                f" Duplicate entry found with ID {want.id}."
            )
        return await tx.add(ServiceProvider(created_at=cloud.now(), **msgspec.structs.asdict(want)))


async def show(cloud: Cloud, caller: Caller, key: str) -> ServiceProvider:
    require_reads(caller, "service_provider.read")
    async with cloud.view() as look:
        return await known(look, key)


async def list_all(cloud: Cloud, caller: Caller, **equals: Any) -> list[ServiceProvider]:
    require_reads(caller, "service_provider.read")
    async with cloud.view() as look:
        return await look.list(ServiceProvider, order=("created_at",), **equals)


async def offered_to(cloud: Cloud) -> list[ServiceProvider]:
    """The enabled ones, which everybody's token names."""
    async with cloud.view() as look:
        return await look.list(ServiceProvider, enabled=True, order=("created_at",))


async def usable(look: Look, key: str) -> ServiceProvider:
    """Raises NotFound, Forbidden."""
    held = await known(look, key)
    if not held.enabled:
        raise Forbidden(
            "You are not authorized to perform the requested action.",
            private=f"service provider {key} is disabled",
        )
    return held


async def update(cloud: Cloud, caller: Caller, key: str, want: UpdateServiceProvider) -> ServiceProvider:
    caller.require_admin("service_provider.update")
    async with cloud.transaction(caller) as tx:
        await changed(tx)
        held = await known(tx, key)
        return await tx.put(msgspec.structs.replace(held, **given(want)))


async def delete(cloud: Cloud, caller: Caller, key: str) -> None:
    caller.require_admin("service_provider.delete")
    async with cloud.transaction(caller) as tx:
        await changed(tx)
        await tx.remove(await known(tx, key))


async def known(look: Look, key: str) -> ServiceProvider:
    held = await look.maybe(ServiceProvider, key)
    if held is None:
        raise NotFound("Service Provider", key)
    return held
