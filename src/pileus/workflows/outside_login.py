"""Users of ours who come in by an OAuth2 provider's code or a SAML assertion instead of a password."""

import secrets
from uuid import UUID

import msgspec

from pileus.core.cloud import Cloud
from pileus.core.errors import NotFound, Unauthenticated, Unavailable
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.authentication.tokens import refused
from pileus.core.identity.federation import assertions, login_providers, providers, single_sign_on
from pileus.core.identity.federation.federation_records import IdentityProvider
from pileus.core.identity.federation.login_providers import GITHUB
from pileus.core.identity.records import User
from pileus.core.identity.tenancy.tenancy_records import LoginProvider
from pileus.drivers.errors import DriverError
from pileus.drivers.federation.protocol import Claims, Client, Endpoints
from pileus.drivers.federation.protocol import Party as Party
from pileus.workflows.federated_login import AWAY, Departure, Journey, failed, read, readable, seal
from pileus.workflows.site import Site

GITHUB_ENDPOINTS = Endpoints(
    token="https://github.com/login/oauth/access_token",  # noqa: S106
    user="https://api.github.com/user",
    emails="https://api.github.com/user/emails",
)
USERNAME = "uid"
"""The attribute that holds the user's name; the subject where it is not said."""


class Arrived(msgspec.Struct, frozen=True):
    """By an assertion: the users it may be (the first is logged in), and what a logout must say."""

    users: list[User]
    provider: str
    subject: str
    name: str
    entity: str


async def email_by_code(site: Site, name: str, code: str) -> str:
    """Whose the provider's code is; kept, so that a login with it can follow. Raises Unauthenticated, Unavailable."""
    provider = await login_providers.usable(site.cloud, name)
    secret = vault.of(site.cloud).decrypt(provider.secret)
    issuer = str(provider.extra.get("issuer", ""))
    client = Client(issuer=issuer or GITHUB, client=provider.client, secret=secret)
    try:
        claims = await _redeemed(site, provider, client, code)
    except DriverError as error:
        raise failed(error, name) from error
    email = next(iter(claims.values.get("email", ())), "")
    # Of GitHub's addresses only a verified one was taken; others say it of the one they name.
    verified = provider.provider == GITHUB or "true" in claims.values.get("email_verified", ())
    if not email or not verified:
        raise refused(f"{name} names no verified address")
    await login_providers.remember(site.cloud, name, code, email)
    return email


async def _redeemed(site: Site, provider: LoginProvider, client: Client, code: str) -> Claims:
    redirect = provider.redirect_uri
    if provider.provider == GITHUB:
        return await site.openid.plain(client, GITHUB_ENDPOINTS, code=code, redirect=redirect)
    return await site.openid.finish(client, code=code, redirect=redirect, verifier="", nonce="")


async def user_by_code(site: Site, name: str, code: str, email: str, domain: UUID) -> User:
    """The user with the address that the provider says; it must be the one that is claimed. Raises Unauthenticated."""
    await login_providers.usable(site.cloud, name)
    said = await login_providers.take(site.cloud, name, code)
    if not said:
        said = await email_by_code(site, name, code)
        await login_providers.take(site.cloud, name, code)
    if said.lower() != email.lower():
        raise Unauthenticated("Unable to verify the email address with the provided secret")
    return await login_providers.named(site.cloud, said, domain)


async def entities(site: Site) -> list[tuple[str, str, IdentityProvider]]:
    """(entity id, name, provider) of every SAML identity provider that is known."""
    found = []
    for provider in await single_sign_on.providers(site.cloud):
        for key, name in await readable(site, providers.metadata(provider)):
            found.append((key, name, provider))
    return found


async def known(site: Site, entity: str) -> IdentityProvider:
    """Raises NotFound."""
    for key, _, provider in await entities(site):
        if key == entity:
            return provider
    raise NotFound("Identity provider", entity[:200])


async def depart(site: Site, entity: str, party: Party) -> Departure:
    provider = await known(site, entity)
    now = site.cloud.now()
    journey = Journey(
        provider=provider.id,
        protocol="",
        state=secrets.token_urlsafe(24),
        request=f"_{secrets.token_hex(20)}",
        entity=entity,
        until=now + AWAY,
    )
    metadata = providers.metadata(provider)
    try:
        where = await site.saml.request(
            party, metadata, id=journey.request, state=journey.state, at=now, entity=entity
        )
    except DriverError as error:
        raise failed(error, provider.id) from error
    return Departure(where, seal(site.cloud, journey), "saml2")


async def arrive(site: Site, journey: Journey, party: Party, message: bytes) -> Arrived:
    """By an assertion that answers the request; it lets in once. Raises Unauthenticated."""
    async with site.cloud.view() as look:
        provider = await providers.enabled(look, journey.provider)
    said = await read(site, provider, party, message, journey.request)
    if said.issuer != journey.entity:
        raise refused(f"{said.issuer} answers what {journey.entity} was asked")
    await assertions.use(site.cloud, said.issuer, said.id, said.until)
    name = next(iter(said.values.get(USERNAME, ())), said.subject)
    users = await single_sign_on.admitted(site.cloud, name, said.issuer)
    if not users:
        raise refused(f"{said.issuer} may let in nobody named {name[:100]}")
    return Arrived(users, provider.id, said.subject, name, said.issuer)


async def leave(site: Site, provider: str, subject: str, party: Party) -> str:
    """Where a browser goes to log out at the provider too; empty when it takes no logouts."""
    now = site.cloud.now()
    async with site.cloud.view() as look:
        held = await look.maybe(IdentityProvider, provider)
    if held is None or not held.settings.get("metadata"):
        return ""
    key, metadata = f"_{secrets.token_hex(20)}", providers.metadata(held)
    try:
        return await site.saml.logout(party, metadata, id=key, subject=subject, at=now)
    except DriverError as error:
        raise failed(error, provider) from error


def sealed_name(cloud: Cloud, arrived: Arrived) -> str:
    """Who came, for a cookie: a later logout needs it, and going on as another user of the name."""
    vouched = [arrived.provider, arrived.subject, arrived.name, arrived.entity]
    return vault.of(cloud).encrypt(msgspec.json.encode(vouched).decode())


def open_name(cloud: Cloud, sealed: str) -> tuple[str, str, str, str]:
    """Provider, subject, and the name for which the entity has vouched. Raises Unauthenticated for what is not ours."""
    try:
        return msgspec.json.decode(vault.of(cloud).decrypt(sealed), type=tuple[str, str, str, str])
    except (Unavailable, msgspec.DecodeError) as error:
        raise refused("who came by SAML is not said by us") from error
