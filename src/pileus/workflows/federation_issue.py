"""Us as an identity provider: signed assertions for other clouds, and the metadata by which they believe them."""

import msgspec

from pileus.core.errors import Unavailable
from pileus.core.identity.authorization.access import Session
from pileus.core.identity.federation import statements
from pileus.core.identity.federation.federation_records import ServiceProvider
from pileus.core.identity.federation.statements import Said
from pileus.drivers.errors import DriverError
from pileus.drivers.federation.protocol import KeyPair, Party, Statement
from pileus.workflows.site import Site


class Signed(msgspec.Struct, frozen=True):
    """A Response for a service provider."""

    provider: ServiceProvider
    response: str
    id: str


async def sign(site: Site, session: Session, service_provider: str, issuer: str) -> Signed:
    """Raises NotFound, Forbidden."""
    said: Said = await statements.prepare(site.cloud, session, service_provider)
    statement = Statement(
        issuer=issuer,
        recipient=said.provider.sp_url,
        subject=said.subject,
        values=said.values,
        id=said.id.hex,
        issued_at=said.issued_at,
        until=said.until,
        session=said.id.hex,
    )
    try:
        return Signed(said.provider, await site.saml.issue(statement, await pair(site)), said.id.hex)
    except DriverError as error:
        raise Unavailable("The assertion cannot be signed.", private=str(error)) from error


async def wrap(site: Site, signed: Signed) -> str:
    """In the envelope that an enhanced client takes to the service provider."""
    state = f"{signed.provider.relay_state_prefix}{signed.id}"
    return await site.saml.wrapped(signed.response, recipient=signed.provider.sp_url, state=state)


async def describe_provider(site: Site, entity: str, address: str) -> str:
    return await site.saml.describe_provider(entity, address, await pair(site))


async def describe_service(site: Site, entity: str, consumer: str) -> str:
    return await site.saml.describe_service(Party(entity=entity, consumer=consumer), await pair(site))


async def pair(site: Site) -> KeyPair:
    """Ours, on either side: what we say is signed with it, and what is said to us may be encrypted for it."""
    held = await statements.pair(site.cloud)
    return KeyPair(key=held.key, certificate=held.certificate)
