"""What users prove themselves with besides passwords: keys, application credentials, codes, consumers of OAuth."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from pileus.store import Record, table

CLOUDSTACK, EC2, TOTP = "cloudstack", "ec2", "totp"
"""The kinds of credentials that we read ourselves; Keystone's clients may keep others (`cert`, ...)."""


class KeyRule(msgspec.Struct, frozen=True, kw_only=True):
    """What a key pair may call, as a rule of an account's role says it."""

    rule: str
    allow: bool
    description: str = ""


@table("credential", indexes=(("user",), ("kind", "user")), unique=(("access",),))
class Credential(Record):
    """A key pair (`access`, and its secret) or another kind of secret. `secret` is encrypted with the key in the state
    directory, for signatures need its plain form: of a pair the secret key, of other kinds the whole blob.
    """

    id: UUID
    kind: str
    user: UUID
    project: UUID | None = None
    access: str | None = None
    """Of pairs: the public half. None for kinds that have none."""
    secret: str
    name: str = ""
    """Of CloudStack's further pairs."""
    description: str = ""
    enabled: bool = True
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    """Of CloudStack's pairs: between these it is good; None: without end."""
    rules: tuple[KeyRule, ...] = ()
    """Of CloudStack's pairs: the first that fits a command decides, and what none fits is denied; none: all that its
    user may."""
    trust: UUID | None = None
    application_credential: UUID | None = None
    access_token: str = ""
    """What a pair was made by: it acts for no more than that, and ends with it."""
    last_step: int = 0
    """Of one-time codes: the time step of the last code that was taken."""
    extra: dict[str, Any] = {}
    created_at: datetime


@table("access_rule", indexes=(("user",),), unique=(("user", "service", "path", "method"),))
class AccessRule(Record):
    """A request that application credentials may be bound to: `path` with `*` (in a part), `**` (any parts), `{name}`."""

    id: UUID
    user: UUID
    service: str
    path: str
    method: str
    created_at: datetime


@table("application_credential", indexes=(("user",),), unique=(("user", "name"),))
class ApplicationCredential(Record):
    """Keystone's application credential: a secret (hashed) that acts for its user in one project."""

    id: UUID
    user: UUID
    project: UUID
    name: str
    secret: str
    description: str = ""
    roles: tuple[UUID, ...] = ()
    access_rules: tuple[UUID, ...] | None = None
    """None: not bound to any; empty would allow nothing."""
    unrestricted: bool = False
    expires_at: datetime | None = None
    created_at: datetime


@table("oauth_consumer")
class Consumer(Record):
    """A program that asks users for access tokens (Keystone's OS-OAUTH1); the secret is encrypted."""

    id: UUID
    secret: str
    description: str = ""
    extra: dict[str, Any] = {}
    created_at: datetime


@table("oauth_request_token", indexes=(("consumer",), ("expires_at",)))
class RequestToken(Record):
    id: UUID
    consumer: UUID
    secret: str
    project: UUID
    verifier: str = ""
    """Encrypted; set when a user has authorized it."""
    user: UUID | None = None
    roles: tuple[UUID, ...] = ()
    expires_at: datetime | None = None
    created_at: datetime


@table("oauth_access_token", indexes=(("consumer",), ("user",)))
class AccessToken(Record):
    id: UUID
    consumer: UUID
    secret: str
    user: UUID
    project: UUID
    roles: tuple[UUID, ...] = ()
    expires_at: datetime | None = None
    created_at: datetime


@table("oauth_nonce", indexes=(("at",),))
class UsedNonce(Record):
    """A signed request that was served, kept for as long as it could be sent again."""

    id: UUID
    """Made from the consumer, the token, the time and the nonce."""
    at: datetime
    """That the request names."""


@table("login_failure", indexes=(("at",),))
class LoginFailures(Record):
    """Failures in a row under one key (a user's password, an access key, a second factor, a source address)."""

    id: UUID
    """Made from the key, so that it needs no other index."""
    key: str
    failures: int = 0
    at: datetime
    """Of the last one."""
