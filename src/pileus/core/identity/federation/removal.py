"""What goes with an identity provider or a protocol: who came by it, and nobody who has another way in."""

from uuid import UUID

from pileus.core.cloud import Tx
from pileus.core.identity import users
from pileus.core.identity.federation.federation_records import FederatedIdentity, IdentityProvider, Protocol
from pileus.core.identity.records import Source, User


async def provider(tx: Tx, record: IdentityProvider) -> None:
    for held in await tx.list(Protocol, provider=record.id):
        await protocol(tx, held)
    await tx.remove(record)


async def protocol(tx: Tx, record: Protocol) -> None:
    identities = await tx.list(FederatedIdentity, provider=record.provider, protocol=record.id)
    for identity in identities:
        await tx.remove(identity)
    for key in {identity.user for identity in identities}:
        user = await tx.maybe(User, key)
        if user is None or user.source is not Source.FEDERATED:
            continue
        if not await tx.count(FederatedIdentity, user=key):
            await users.remove(tx, user)
    await tx.remove(record)


async def of_domain(tx: Tx, domain: UUID) -> None:
    """The providers whose users are in a domain that goes."""
    for record in await tx.list(IdentityProvider, domain=domain):
        await provider(tx, record)
