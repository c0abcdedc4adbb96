"""What names users at providers: shown and changed as the `federated` attribute of a user."""

from collections.abc import Iterable
from uuid import UUID

import msgspec

from pileus.core.cloud import Look, Tx
from pileus.core.errors import Exists, Invalid
from pileus.core.identity.federation.federation_records import FederatedIdentity, IdentityProvider, Protocol
from pileus.core.identity.records import User


class Name(msgspec.Struct, frozen=True, kw_only=True):
    """A user as a provider names it."""

    provider: str
    protocol: str
    subject: str


async def of_user(look: Look, user: UUID) -> list[FederatedIdentity]:
    return await look.list(FederatedIdentity, user=user, order=("provider", "protocol"))


async def named(look: Look, *, provider: str = "", protocol: str = "", subject: str = "") -> set[UUID]:
    """The users whom a provider, a protocol or a subject (those that are given) names."""
    asked = (("provider", provider), ("protocol", protocol), ("subject", subject))
    equals = {name: value for name, value in asked if value}
    return {identity.user for identity in await look.list(FederatedIdentity, **equals)}


async def replace(tx: Tx, user: User, wanted: Iterable[Name]) -> None:
    """From now on these name the user, and no others. Raises Invalid for a provider or protocol that does not exist,
    Exists for what names somebody else."""
    names = set(wanted)
    for held in await of_user(tx, user.id):
        name = Name(provider=held.provider, protocol=held.protocol, subject=held.subject)
        if name in names:
            names.discard(name)
        else:
            await tx.remove(held)
    for name in sorted(names, key=lambda name: (name.provider, name.protocol, name.subject)):
        await add(tx, user, name, user.name)


async def add(tx: Tx, user: User, name: Name, display_name: str) -> FederatedIdentity:
    if await tx.maybe(IdentityProvider, name.provider) is None:
        raise Invalid(f"Could not find Identity Provider: {name.provider}")
    if await tx.maybe(Protocol, name.provider, name.protocol) is None:
        raise Invalid(
            f"Could not find federated protocol {name.protocol} for Identity Provider: {name.provider}."
        )
    if await tx.count(FederatedIdentity, **msgspec.structs.asdict(name)):
        raise Exists("Conflict occurred attempting to store federated_user - Duplicate entry.")
    return await tx.add(
        FederatedIdentity(
            id=tx.cloud.new_id(),
            user=user.id,
            display_name=display_name,
            created_at=tx.cloud.now(),
            **msgspec.structs.asdict(name),
        )
    )
