"""Tokens that carry themselves: a packed payload, sealed with a key of a rotating repository."""

import base64
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import msgspec
from cryptography.fernet import InvalidToken

from pileus.core.cloud import Cloud
from pileus.core.errors import Unauthenticated
from pileus.core.identity.authentication.keyfiles import Repository
from pileus.core.identity.percloud import per_cloud
from pileus.core.identity.records import Scope

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WEB_SESSION = "session"
METHODS = (
    "password",
    "token",
    "application_credential",
    "totp",
    "ec2credential",
    "mapped",
    "oauth1",
    "saml2",
    "openid",
    "oauth2_credential",
    "external",
    "staticpin",
    WEB_SESSION,
)
"""WEB_SESSION marks what a web interface of another API got for a password, also before a second factor: good there
alone.
Their places are stored in tokens: only ever append."""
SCOPES: tuple[Scope | None, ...] = (None, Scope.PROJECT, Scope.DOMAIN, Scope.SYSTEM)
NIL = UUID(int=0)
ROTATE_SECONDS = 86_400
ACTIVE_KEYS = 3
MAX_LENGTH = 4096


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """What a token says. `audit` names it, then the first of its chain; `target` is nil without a place."""

    user: UUID
    methods: tuple[str, ...]
    scope: Scope | None = None
    target: UUID = NIL
    audit: tuple[str, ...]
    issued_at: datetime
    expires_at: datetime
    application_credential: UUID | None = None
    trust: UUID | None = None
    provider: str = ""
    protocol: str = ""
    """Of a federated login: the identity provider and its protocol."""
    groups: tuple[UUID, ...] = ()
    """Groups that came with a federated login."""
    access_token: UUID | None = None
    """The OAuth1 access token by which it was got."""
    thumbprint: str = ""
    """SHA-256 of the client's certificate to which an OAuth2 token is bound."""
    roles: tuple[UUID, ...] = ()
    """When there are any: it gives no others than these and what they imply."""


class Packed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    form: int
    user: bytes
    methods: int
    scope: int
    target: bytes
    audit: tuple[bytes, ...]
    issued: int
    expires: int
    application_credential: bytes
    trust: bytes = b""
    provider: str = ""
    protocol: str = ""
    groups: tuple[bytes, ...] = ()
    access_token: bytes = b""
    thumbprint: str = ""
    roles: tuple[bytes, ...] = ()


FORM = 1
pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder(Packed).decode


class Tokens:
    """Seals and opens tokens."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._keys = Repository(directory)

    def issue(self, token: Token) -> str:
        return self.seal(pack(packed(token)))

    def open(self, text: str) -> Token:
        """What the token says, still good or not. Raises Unauthenticated for one that is not ours."""
        try:
            return unpacked(unpack(self.unseal(text)))
        except (msgspec.DecodeError, ValueError, IndexError):
            raise refused("what was sealed is no token") from None

    def seal(self, payload: bytes) -> str:
        """Something else than a token that a client is to bring back unchanged."""
        _, key = self._keys.primary()
        return key.encrypt(payload).decode().rstrip("=")

    def unseal(self, text: str) -> bytes:
        """Raises Unauthenticated for what is not ours."""
        if not 0 < len(text) <= MAX_LENGTH or not text.isascii():
            raise refused("sealed text has no possible form")
        try:
            return self._open((text + "=" * (-len(text) % 4)).encode())
        except InvalidToken:
            raise refused("sealed text is not ours or was tampered with") from None

    def rotate(self, now: datetime, token_seconds: int) -> tuple[int, ...]:
        """The staged key becomes primary, a new one is staged; the keys there are now, the primary last.

        The oldest go, but none while a token may live that it sealed: so it may be repeated as often as one likes.
        """
        numbers = self._keys.rotate(now)
        self._keys.retire(numbers[: -(ACTIVE_KEYS - 1)], now, token_seconds)
        return self._keys.numbers()

    def rotate_when_due(self, now: datetime, token_seconds: int) -> bool:
        """Rotate when the last time is a day ago, or the life of a token if that is longer: none ends before its time.
        Whether it was due."""
        last = datetime.fromtimestamp(self.directory.stat().st_mtime, UTC)
        if (now - last).total_seconds() < max(ROTATE_SECONDS, token_seconds):
            return False
        self.rotate(now, token_seconds)
        return True

    def _open(self, sealed: bytes) -> bytes:
        try:
            return self._keys.every().decrypt(sealed)
        except InvalidToken:
            if not self._keys.refresh():
                raise
        return self._keys.every().decrypt(sealed)


of: Callable[[Cloud], Tokens] = per_cloud(lambda cloud: Tokens(cloud.config.state / "keys" / "tokens"))
"""The tokens of a cloud."""


def refused(private: str) -> Unauthenticated:
    """One text for every cause, so that nobody learns which it was."""
    return Unauthenticated("The request you have made requires authentication.", private=private)


def new_audit_id() -> str:
    return text_of(secrets.token_bytes(16))


def packed(token: Token) -> Packed:
    return Packed(
        FORM,
        token.user.bytes,
        sum(1 << METHODS.index(method) for method in set(token.methods)),
        SCOPES.index(token.scope),
        token.target.bytes,
        tuple(base64.urlsafe_b64decode(audit + "==") for audit in token.audit),
        microseconds(token.issued_at),
        microseconds(token.expires_at),
        token.application_credential.bytes if token.application_credential else b"",
        token.trust.bytes if token.trust else b"",
        token.provider,
        token.protocol,
        tuple(group.bytes for group in token.groups),
        token.access_token.bytes if token.access_token else b"",
        token.thumbprint,
        tuple(role.bytes for role in token.roles),
    )


def unpacked(raw: Packed) -> Token:
    if raw.form != FORM:
        raise ValueError(f"payload of form {raw.form}")
    return Token(
        user=UUID(bytes=raw.user),
        methods=tuple(method for place, method in enumerate(METHODS) if raw.methods >> place & 1),
        scope=SCOPES[raw.scope],
        target=UUID(bytes=raw.target),
        audit=tuple(map(text_of, raw.audit)),
        issued_at=EPOCH + timedelta(microseconds=raw.issued),
        expires_at=EPOCH + timedelta(microseconds=raw.expires),
        application_credential=maybe(raw.application_credential),
        trust=maybe(raw.trust),
        provider=raw.provider,
        protocol=raw.protocol,
        groups=tuple(UUID(bytes=group) for group in raw.groups),
        access_token=maybe(raw.access_token),
        thumbprint=raw.thumbprint,
        roles=tuple(UUID(bytes=role) for role in raw.roles),
    )


def maybe(raw: bytes) -> UUID | None:
    return UUID(bytes=raw) if raw else None


def text_of(audit: bytes) -> str:
    return base64.urlsafe_b64encode(audit).decode().rstrip("=")


def microseconds(at: datetime) -> int:
    return (at - EPOCH) // timedelta(microseconds=1)
