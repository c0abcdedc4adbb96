"""Identity providers: who else may say who somebody is, how it is spoken with, and the domain of its users."""

from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import READER, Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Exists, Forbidden, Invalid, NotFound, Unavailable
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.changes import changed, given
from pileus.core.identity.domains import ROOT
from pileus.core.identity.federation import removal
from pileus.core.identity.federation.federation_records import IdentityProvider
from pileus.core.identity.records import Domain

KIND = "Identity Provider"


Opaque = Literal["refuse", "introspection", "userinfo"]
"""How access tokens are believed that are no JWTs: not at all; by the provider's introspection, which says for whom they
were issued; or, where it has none, by its userinfo, which does not."""


class CreateProvider(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    domain: UUID | None = None
    """Where its users are; None: in a domain that is made for it."""
    enabled: bool = False
    description: str = ""
    remote_ids: tuple[str, ...] = ()
    authorization_minutes: int | None = None


class UpdateProvider(msgspec.Struct, frozen=True, kw_only=True):
    enabled: bool | UnsetType = UNSET
    description: str | UnsetType = UNSET
    remote_ids: tuple[str, ...] | UnsetType = UNSET
    authorization_minutes: int | UnsetType | None = UNSET


class OpenIdSettings(msgspec.Struct, frozen=True, kw_only=True):
    """We as a client of an OpenID provider; `secret` empty: a public client."""

    issuer: str
    client: str
    secret: str = ""
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    audiences: tuple[str, ...] = ()
    """For whom access tokens may have been issued beside our own client; what is for nobody named here is refused."""
    opaque_tokens: Opaque = "introspection"


class SamlSettings(msgspec.Struct, frozen=True, kw_only=True):
    """A SAML identity provider by its metadata, an XML document."""

    metadata: str


def require_reads(caller: Caller, verb: str) -> None:
    """Raises Forbidden: administrators and readers of the system see how logins are set up."""
    if not (caller.admin or (caller.system and READER in caller.roles)):
        raise Forbidden(f"You are not authorized to perform the requested action: {verb}.")


async def create(cloud: Cloud, caller: Caller, want: CreateProvider) -> IdentityProvider:
    """Raises Exists for a provider or remote id that is there, NotFound for the domain."""
    caller.require_admin("identity_provider.create")
    async with cloud.transaction(caller) as tx:
        await changed(tx)
        if await tx.maybe(IdentityProvider, want.id) is not None:
            raise Exists(
                f"Conflict occurred attempting to store identity_provider - {want.id} exists already."
            )
        await _free(tx, want.id, want.remote_ids)
        if want.domain is None:
            domain = (await _own_domain(tx, want.id)).id
        else:
            domain = (await tx.get(Domain, want.domain)).id
        fields = msgspec.structs.asdict(want) | {"domain": domain}
        return await tx.add(IdentityProvider(created_at=cloud.now(), **fields))


async def show(cloud: Cloud, caller: Caller, key: str) -> IdentityProvider:
    require_reads(caller, "identity_provider.read")
    async with cloud.view() as look:
        return await known(look, key)


async def list_all(cloud: Cloud, caller: Caller, **equals: Any) -> list[IdentityProvider]:
    require_reads(caller, "identity_provider.read")
    async with cloud.view() as look:
        return await look.list(IdentityProvider, order=("created_at",), **equals)


async def update(cloud: Cloud, caller: Caller, key: str, want: UpdateProvider) -> IdentityProvider:
    """A disabled one lets nobody in, and the tokens that came by it are void."""
    caller.require_admin("identity_provider.update")
    changes = given(want)
    async with cloud.transaction(caller) as tx:
        await changed(tx)
        held = await known(tx, key)
        await _free(tx, key, changes.get("remote_ids", ()))
        return await tx.put(msgspec.structs.replace(held, **changes))


async def connect(
    cloud: Cloud, caller: Caller, key: str, settings: OpenIdSettings | SamlSettings
) -> IdentityProvider:
    """Say how the provider is spoken with; what is not said stays, and so does a secret left empty."""
    caller.require_admin("identity_provider.update")
    hidden = vault.of(cloud)
    async with cloud.transaction(caller) as tx:
        await changed(tx)
        held = await known(tx, key)
        if isinstance(settings, SamlSettings):
            fresh = msgspec.structs.replace(held, settings=held.settings | {"metadata": settings.metadata})
            return await tx.put(fresh)
        _address(settings.issuer)
        shown = msgspec.to_builtins(settings)
        secret = shown.pop("secret")
        kept = hidden.encrypt(secret) if secret else held.secrets
        return await tx.put(msgspec.structs.replace(held, settings=held.settings | shown, secrets=kept))


async def delete(cloud: Cloud, caller: Caller, key: str) -> None:
    """With its protocols, and with the users who can come in by nothing else. Its domain stays."""
    caller.require_admin("identity_provider.delete")
    async with cloud.transaction(caller) as tx:
        await changed(tx)
        await removal.provider(tx, await known(tx, key))


async def known(look: Look, key: str) -> IdentityProvider:
    held = await look.maybe(IdentityProvider, key)
    if held is None:
        raise NotFound(KIND, key)
    return held


async def enabled(look: Look, key: str) -> IdentityProvider:
    """Raises NotFound, Forbidden."""
    held = await known(look, key)
    if not held.enabled:
        raise Forbidden(
            "You are not authorized to perform the requested action.",
            private=f"identity provider {key} is disabled",
        )
    return held


def openid(cloud: Cloud, provider: IdentityProvider) -> OpenIdSettings:
    """Raises Unavailable when nobody has said how the provider is spoken with."""
    settings = provider.settings
    if not settings.get("issuer"):
        raise Unavailable(
            f"Identity provider {provider.id} has no OpenID Connect settings; an administrator sets them with"
            f" `pileus federation set {provider.id} --issuer ... --client-id ...`."
        )
    secret = vault.of(cloud).decrypt(provider.secrets) if provider.secrets else ""
    return OpenIdSettings(
        issuer=settings["issuer"],
        client=settings["client"],
        secret=secret,
        scopes=tuple(settings["scopes"]),
        audiences=tuple(settings["audiences"]),
        opaque_tokens=settings.get("opaque_tokens", "introspection"),
    )


def metadata(provider: IdentityProvider) -> str:
    """The provider's SAML metadata. Raises Unavailable when there is none."""
    text: str = provider.settings.get("metadata", "")
    if not text:
        raise Unavailable(
            f"Identity provider {provider.id} has no SAML metadata; an administrator sets it with"
            f" `pileus federation set {provider.id} --metadata-file ...`."
        )
    return text


def _address(issuer: str) -> None:
    if not issuer.startswith(("https://", "http://")):
        raise Invalid(
            f"The issuer {issuer[:200]!r} is no http or https address; write the provider's issuer."
        )


async def _free(tx: Tx, key: str, remote_ids: tuple[str, ...]) -> None:
    wanted = set(remote_ids)
    if not wanted:
        return
    for other in await tx.list(IdentityProvider):
        if other.id != key and wanted & set(other.remote_ids):
            raise Exists(
                "Conflict occurred attempting to store identity_provider - the remote id "
                f"{sorted(wanted & set(other.remote_ids))[0]} belongs to {other.id}."
            )


async def _own_domain(tx: Tx, key: str) -> Domain:
    domain = tx.cloud.new_id()
    return await tx.add(
        Domain(
            id=domain,
            name=domain.hex,
            parent=ROOT,
            description=f"Auto generated federated domain for Identity Provider: {key}",
            created_at=tx.cloud.now(),
        )
    )
