"""Logins by somebody else's word: the provider is asked through its driver, and the core lets in whom it names.

A login in a browser goes away and comes back. What must still be known then travels sealed with the browser (`Journey`),
so that nothing is kept for those who never return.
"""

import base64
import hashlib
import secrets
from datetime import datetime, timedelta

import msgspec

from pileus.core.cloud import Cloud
from pileus.core.errors import Invalid, Unauthenticated, Unavailable
from pileus.core.identity.authentication import login
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.authentication.login import Issued
from pileus.core.identity.authentication.tokens import refused
from pileus.core.identity.federation import arrivals, assertions, attributes, providers
from pileus.core.identity.federation.arrivals import Door
from pileus.core.identity.federation.federation_records import IdentityProvider
from pileus.drivers.errors import DriverError, Unreachable
from pileus.drivers.federation.protocol import Assertion, Claims, Client
from pileus.drivers.federation.protocol import Party as Party
from pileus.workflows import federation_issue
from pileus.workflows.site import Site

AWAY = timedelta(minutes=15)
"""How long a login at the provider may take."""
OPENID, SAML = "openid", "saml2"


class Journey(msgspec.Struct, frozen=True, kw_only=True):
    """A login that is under way at a provider."""

    provider: str
    protocol: str
    origin: str = ""
    """Where the token goes in the end."""
    state: str
    """What the provider must send back."""
    request: str = ""
    """Id of the SAML request that the assertion must answer."""
    entity: str = ""
    """Who must answer it, of several whom one metadata document names; empty: whichever does."""
    nonce: str = ""
    verifier: str = ""
    until: datetime


class Departure(msgspec.Struct, frozen=True):
    """Where a browser goes to log in, and what it brings back as a cookie."""

    location: str
    sealed: str
    kind: str


def client_of(cloud: Cloud, provider: IdentityProvider) -> Client:
    """Raises Unavailable when nobody has said how the provider is spoken with."""
    return Client(**msgspec.structs.asdict(providers.openid(cloud, provider)))


def speaks(at: Door) -> str:
    """OPENID or SAML: by the protocol's name where that says it, else by what is known of the provider."""
    if at.protocol.id in (OPENID, SAML):
        return at.protocol.id
    return SAML if at.provider.settings.get("metadata") and not at.provider.settings.get("issuer") else OPENID


def failed(error: DriverError, provider: str) -> Unauthenticated | Unavailable:
    """What the face says: no proof, or nobody to ask."""
    if isinstance(error, Unreachable):
        return Unavailable(
            f"Identity provider {provider} does not answer; try again later.", private=str(error)
        )
    return refused(f"identity provider {provider}: {error}")


async def by_access_token(site: Site, at: Door, token: str) -> Issued:
    """A token for the one to whom the OpenID provider issued the access token. Raises Unauthenticated, Forbidden,
    Unavailable."""
    try:
        claims = await site.openid.inspect(client_of(site.cloud, at.provider), token)
    except DriverError as error:
        raise failed(error, at.provider.id) from error
    return await _admit_claims(site, at, claims)


async def depart(site: Site, at: Door, origin: str, redirect: str, party: Party) -> Departure:
    """Send a browser to the provider. `redirect`: where an OpenID provider sends it back to."""
    now = site.cloud.now()
    state = secrets.token_urlsafe(24)
    kind = speaks(at)
    journey = Journey(
        provider=at.provider.id,
        protocol=at.protocol.id,
        origin=origin,
        state=state,
        request=f"_{secrets.token_hex(20)}",
        nonce=secrets.token_urlsafe(24),
        verifier=secrets.token_urlsafe(48),
        until=now + AWAY,
    )
    try:
        if kind == OPENID:
            location = await site.openid.begin(
                client_of(site.cloud, at.provider),
                redirect=redirect,
                state=state,
                nonce=journey.nonce,
                challenge=challenge_of(journey.verifier),
            )
        else:
            metadata = providers.metadata(at.provider)
            location = await site.saml.request(party, metadata, id=journey.request, state=state, at=now)
    except DriverError as error:
        raise failed(error, at.provider.id) from error
    return Departure(location, seal(site.cloud, journey), kind)


async def arrive_by_code(site: Site, journey: Journey, code: str, redirect: str, issuer: str) -> Issued:
    """The browser came back from an OpenID provider: from the `issuer`, where it says that."""
    at = await arrivals.door(site.cloud, journey.provider, journey.protocol)
    try:
        claims = await site.openid.finish(
            client_of(site.cloud, at.provider),
            code=code,
            redirect=redirect,
            verifier=journey.verifier,
            nonce=journey.nonce,
            issuer=issuer,
        )
    except DriverError as error:
        raise failed(error, at.provider.id) from error
    return await _admit_claims(site, at, claims)


async def arrive_by_assertion(site: Site, at: Door, party: Party, message: bytes, asked: str) -> Issued:
    """A SAML assertion, which must answer the request of the id `asked`; empty: nobody asked (another cloud's user comes
    with an assertion of its own accord). One assertion lets in once."""
    said = await read(site, at.provider, party, message, asked)
    values = attributes.of_saml(said.issuer, said.subject, said.values)
    await assertions.use(site.cloud, said.issuer, said.id, said.until)
    vouched = await arrivals.admit(site.cloud, at, said.issuer, values)
    return await login.issue(site.cloud, vouched)


async def read(site: Site, provider: IdentityProvider, party: Party, message: bytes, asked: str) -> Assertion:
    """What the provider's assertion says, which must answer the request of the id `asked`. Raises Unauthenticated."""
    metadata, keys = providers.metadata(provider), await federation_issue.pair(site)
    try:
        said = await site.saml.accept(party, metadata, message, at=site.cloud.now(), pair=keys)
    except DriverError as error:
        raise failed(error, provider.id) from error
    if said.in_response_to != asked:
        raise refused("the assertion answers another request")
    return said


async def _admit_claims(site: Site, at: Door, claims: Claims) -> Issued:
    values = attributes.of_openid(claims.issuer, claims.subject, claims.values)
    return await login.issue(site.cloud, await arrivals.admit(site.cloud, at, claims.issuer, values))


def challenge_of(verifier: str) -> str:
    """PKCE's S256."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def seal(cloud: Cloud, journey: Journey) -> str:
    return vault.of(cloud).encrypt(msgspec.json.encode(journey).decode())


def unseal(cloud: Cloud, sealed: str) -> Journey:
    """Raises Unauthenticated for what is not ours, or took too long."""
    try:
        journey = msgspec.json.decode(vault.of(cloud).decrypt(sealed), type=Journey)
    except (Unavailable, msgspec.DecodeError, ValueError) as error:
        raise refused("the login under way is not one of ours") from error
    if journey.until < cloud.now():
        raise refused("the login at the provider took too long")
    return journey


def compared(journey: Journey, state: str) -> None:
    """Raises Unauthenticated when the provider's answer belongs to another browser."""
    if not state or not secrets.compare_digest(journey.state.encode(), state.encode()):
        raise refused("the answer belongs to another login")


async def brought(site: Site, message: bytes) -> Journey:
    """The login that an enhanced client has begun, by the state that it brings back. Raises Unauthenticated."""
    try:
        return unseal(site.cloud, await site.saml.relayed(message))
    except DriverError as error:
        raise refused(f"an enhanced client's message: {error}") from error


async def ask_enhanced(site: Site, at: Door, party: Party) -> str:
    """The envelope with which a program goes to its provider itself."""
    now = site.cloud.now()
    journey = Journey(
        provider=at.provider.id,
        protocol=at.protocol.id,
        state="",
        request=f"_{secrets.token_hex(20)}",
        until=now + AWAY,
    )
    state = seal(site.cloud, journey)
    return await site.saml.envelope(party, id=journey.request, state=state, at=now)


async def readable(site: Site, metadata: str) -> list[tuple[str, str]]:
    """(entity id, name) of the providers that a SAML metadata document names. Raises Invalid when there are none."""
    try:
        return await site.saml.entities(metadata)
    except DriverError as error:
        raise Invalid(f"The SAML metadata cannot be used: {error}.") from error
