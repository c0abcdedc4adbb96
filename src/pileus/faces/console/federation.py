"""How identity providers are spoken with: what Keystone's API has no words for."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from pileus.core.errors import Invalid
from pileus.core.identity.federation import providers
from pileus.core.identity.federation.federation_records import IdentityProvider
from pileus.core.identity.federation.providers import Opaque, OpenIdSettings, SamlSettings
from pileus.faces.console.service import SERVICE
from pileus.faces.wire import Request
from pileus.workflows import federated_login

Text = Annotated[str, Meta(min_length=1, max_length=1024)]


class Openid(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A secret that is left out stays as it was."""

    issuer: Text
    client: Text
    secret: str = ""
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    audiences: tuple[str, ...] = ()
    opaque_tokens: Opaque = "introspection"


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    openid: Openid | None = None
    saml_metadata: str | None = None


def view(provider: IdentityProvider) -> dict[str, Any]:
    """Nothing secret; and of SAML's metadata only whether it is there."""
    settings = dict(provider.settings)
    metadata = settings.pop("metadata", "")
    return {
        "id": provider.id,
        "enabled": provider.enabled,
        "openid": settings | {"has_secret": bool(provider.secrets)} if settings else None,
        "saml": bool(metadata),
    }


@SERVICE.operation("GET", "/identity-providers", policy="console:federation:read")
async def index(request: Request) -> dict[str, Any]:
    found = await providers.list_all(request.cloud, request.caller)
    return {"identity_providers": [view(provider) for provider in found]}


@SERVICE.operation(
    "PUT",
    "/identity-providers/{provider}/settings",
    policy="console:federation:write",
    body=("settings", Wanted),
)
async def connect(request: Request, provider: str, body: Wanted) -> dict[str, Any]:
    if body.openid is None and body.saml_metadata is None:
        raise Invalid("The settings are empty; give openid, saml_metadata, or both.")
    if body.saml_metadata is not None:
        await federated_login.readable(request.site, body.saml_metadata)
    held = await providers.show(request.cloud, request.caller, provider)
    if body.openid is not None:
        settings = OpenIdSettings(**msgspec.structs.asdict(body.openid))
        held = await providers.connect(request.cloud, request.caller, provider, settings)
    if body.saml_metadata is not None:
        saml = SamlSettings(metadata=body.saml_metadata)
        held = await providers.connect(request.cloud, request.caller, provider, saml)
    return {"identity_provider": view(held)}
