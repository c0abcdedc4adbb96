"""OAuth2 providers of the login page, and the codes of theirs that have been redeemed."""

import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.errors import Exists, Invalid, NotFound, Unauthenticated
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.changes import given
from pileus.core.identity.records import User
from pileus.core.identity.tenancy.tenancy_records import LoginProvider, VerifiedCode
from pileus.store import lt

KIND = "OAuth provider"
WAITS = timedelta(minutes=5)
"""How long a redeemed code may be logged in with."""
ISSUERS = {"google": "https://accounts.google.com"}
GITHUB = "github"
REALM = "/protocol/openid-connect/"
"""What Keycloak's addresses have behind their issuer."""


class Register(msgspec.Struct, frozen=True, kw_only=True):
    """`details`: `issuer` of a provider that is not known by its name, or Keycloak's `authorizeurl` and `tokenurl`."""

    provider: str
    description: str
    client: str
    secret: str
    redirect_uri: str
    details: Mapping[str, str] = {}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    description: str | UnsetType = UNSET
    client: str | UnsetType = UNSET
    secret: str | UnsetType = UNSET
    redirect_uri: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


async def register(cloud: Cloud, caller: Caller, want: Register) -> LoginProvider:
    """Raises Invalid for one that nobody would know how to speak with, Exists for a second one of the name."""
    caller.require_admin("login_provider.create")
    details = {name.lower(): value for name, value in want.details.items()}
    issuer = issuer_of(want.provider, details)
    if want.provider != GITHUB and not issuer.startswith(("https://", "http://")):
        raise Invalid(
            f"The provider {want.provider[:60]!r} is not known by its name; give details[0].issuer, or tokenurl."
        )
    async with cloud.transaction(caller) as tx:
        if await tx.count(LoginProvider, provider=want.provider):
            raise Exists(f"Provider with the name {want.provider} is already registered")
        return await tx.add(
            LoginProvider(
                id=cloud.new_id(),
                provider=want.provider,
                description=want.description,
                client=want.client,
                secret=vault.of(cloud).encrypt(want.secret),
                redirect_uri=want.redirect_uri,
                authorize_url=details.get("authorizeurl", ""),
                token_url=details.get("tokenurl", ""),
                extra={"issuer": issuer},
                created_at=cloud.now(),
            )
        )


def issuer_of(provider: str, details: Mapping[str, str]) -> str:
    """Empty where nothing says it."""
    token_url = details.get("tokenurl", "")
    realm = token_url.partition(REALM)[0] if REALM in token_url else ""
    return details.get("issuer") or ISSUERS.get(provider, "") or realm


async def update(cloud: Cloud, caller: Caller, key: UUID, want: Change) -> LoginProvider:
    caller.require_admin("login_provider.update")
    changes: dict[str, Any] = given(want)
    if "secret" in changes:
        changes["secret"] = vault.of(cloud).encrypt(changes["secret"])
    async with cloud.transaction(caller) as tx:
        held = await tx.maybe(LoginProvider, key)
        if held is None:
            raise NotFound(KIND, key)
        return await tx.put(msgspec.structs.replace(held, **changes))


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    caller.require_admin("login_provider.delete")
    async with cloud.transaction(caller) as tx:
        held = await tx.maybe(LoginProvider, key)
        if held is None:
            raise NotFound(KIND, key)
        await tx.remove(held)


async def list_all(cloud: Cloud, **equals: Any) -> list[LoginProvider]:
    """Everybody may see them: a login page shows them to those who are nobody yet."""
    async with cloud.view() as look:
        return await look.list(LoginProvider, order=("created_at",), **equals)


async def usable(cloud: Cloud, provider: str) -> LoginProvider:
    """Raises Unauthenticated for one that is not there, or not enabled."""
    async with cloud.view() as look:
        held = await look.one(LoginProvider, provider=provider)
    if held is None or not held.enabled:
        raise Unauthenticated(
            f"{provider[:60]} provider is not registered or not enabled, so user cannot be verified"
        )
    return held


async def remember(cloud: Cloud, provider: str, code: str, email: str) -> None:
    async with cloud.transaction() as tx:
        await tx.rows.delete_where(VerifiedCode, lt("expires_at", cloud.now()))
        await tx.add(VerifiedCode(id=digest(provider, code), email=email, expires_at=cloud.now() + WAITS))


async def take(cloud: Cloud, provider: str, code: str) -> str:
    """Whose the code was, once; empty when nothing is known of it."""
    async with cloud.transaction() as tx:
        held = await tx.maybe(VerifiedCode, digest(provider, code))
        if held is None:
            return ""
        await tx.remove(held)
        return held.email if held.expires_at > cloud.now() else ""


async def named(cloud: Cloud, email: str, domain: UUID) -> User:
    """The one user of a domain with this address. Raises Unauthenticated for none and for several."""
    async with cloud.view() as look:
        found = [user for user in await look.list(User, domain=domain, email=email) if user.enabled]
    if len(found) != 1:
        words = "Multiple Users found" if found else "User not found"
        raise Unauthenticated(
            f"{words} to log in. If user belongs to any specific domain, please provide it."
        )
    return found[0]


def digest(provider: str, code: str) -> str:
    return hashlib.sha256(f"{provider}\0{code}".encode()).hexdigest()
