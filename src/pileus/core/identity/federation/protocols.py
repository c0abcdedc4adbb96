"""By which protocols an identity provider is believed, and the mapping that each uses."""

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Exists, Invalid, NotFound
from pileus.core.identity.changes import changed, given
from pileus.core.identity.federation import providers, removal
from pileus.core.identity.federation.federation_records import Mapping, Protocol


class Uses(msgspec.Struct, frozen=True, kw_only=True):
    mapping: str
    remote_id_attribute: str | UnsetType = UNSET
    """The attribute that holds the provider's remote id; empty: what the protocol itself says it is."""


async def create(cloud: Cloud, caller: Caller, provider: str, key: str, want: Uses) -> Protocol:
    caller.require_admin("protocol.create")
    async with cloud.transaction(caller) as tx:
        await changed(tx)
        await providers.known(tx, provider)
        await _mapping(tx, want.mapping)
        if await tx.maybe(Protocol, provider, key) is not None:
            raise Exists(
                "Conflict occurred attempting to store federation_protocol -"
                f" Duplicate entry found with ID {key}."
            )
        return await tx.add(Protocol(provider=provider, id=key, created_at=cloud.now(), **given(want)))


async def show(cloud: Cloud, caller: Caller, provider: str, key: str) -> Protocol:
    providers.require_reads(caller, "protocol.read")
    async with cloud.view() as look:
        return await known(look, provider, key)


async def list_all(cloud: Cloud, caller: Caller, provider: str) -> list[Protocol]:
    """None of a provider that does not exist."""
    providers.require_reads(caller, "protocol.read")
    async with cloud.view() as look:
        return await look.list(Protocol, provider=provider, order=("created_at",))


async def update(cloud: Cloud, caller: Caller, provider: str, key: str, want: Uses) -> Protocol:
    caller.require_admin("protocol.update")
    async with cloud.transaction(caller) as tx:
        await changed(tx)
        await _mapping(tx, want.mapping)
        held = await known(tx, provider, key)
        return await tx.put(msgspec.structs.replace(held, **given(want)))


async def delete(cloud: Cloud, caller: Caller, provider: str, key: str) -> None:
    """With the users who can come in by nothing else."""
    caller.require_admin("protocol.delete")
    async with cloud.transaction(caller) as tx:
        await changed(tx)
        await removal.protocol(tx, await known(tx, provider, key))


async def known(look: Look, provider: str, key: str) -> Protocol:
    held = await look.maybe(Protocol, provider, key)
    if held is None:
        raise NotFound(f"federated protocol {key} for Identity Provider", provider)
    return held


async def _mapping(look: Look, key: str) -> None:
    if await look.maybe(Mapping, key) is None:
        raise Invalid(f"Invalid mapping id: {key}")
