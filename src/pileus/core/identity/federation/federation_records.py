"""Who else may say who somebody is: identity providers, their protocols, and how what they say becomes users and groups.

Keystone's OS-FEDERATION; ids of these are texts that the operator chooses.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from pileus.store import Record, table


@table("identity_provider", indexes=(("domain",),))
class IdentityProvider(Record):
    id: str
    domain: UUID
    """Where its users are."""
    enabled: bool = False
    description: str = ""
    remote_ids: tuple[str, ...] = ()
    """What names it in assertions: an OpenID issuer, or a SAML entity id. Each belongs to one provider only."""
    authorization_minutes: int | None = None
    """How long groups that came with a login last."""
    settings: dict[str, Any] = {}
    """What we need to speak with it (issuer, client id, SAML metadata); nothing secret."""
    secrets: str = ""
    """Encrypted JSON of what is secret among the settings (the client's secret)."""
    extra: dict[str, Any] = {}
    created_at: datetime


@table("federation_protocol", key=("provider", "id"), indexes=(("mapping",),))
class Protocol(Record):
    provider: str
    id: str
    """Such as `openid`, `saml2` or `mapped`."""
    mapping: str
    remote_id_attribute: str = ""
    created_at: datetime


@table("federation_mapping")
class Mapping(Record):
    id: str
    rules: Any
    schema_version: str = "1.0"
    created_at: datetime


@table("service_provider")
class ServiceProvider(Record):
    """Another cloud, to which users of this one can go with an assertion of ours."""

    id: str
    auth_url: str
    sp_url: str
    enabled: bool = False
    description: str = ""
    relay_state_prefix: str = "ss:mem:"
    extra: dict[str, Any] = {}
    created_at: datetime


@table(
    "federated_identity",
    indexes=(("user",), ("provider", "protocol")),
    unique=(("provider", "protocol", "subject"),),
)
class FederatedIdentity(Record):
    """What names a user at a provider."""

    id: UUID
    user: UUID
    provider: str
    protocol: str
    subject: str
    display_name: str = ""
    created_at: datetime


@table("used_assertion", indexes=(("expires_at",),))
class UsedAssertion(Record):
    """A SAML assertion that has let somebody in, by the hash of its issuer and id: it does so once."""

    id: str
    expires_at: datetime
