"""What is asked of an OpenID provider, and of whoever reads and writes SAML messages.

Every call may be repeated unless it says otherwise. Any call may raise Refused (what was presented is no proof; the
text says why, for the log) or Unreachable (the provider did not answer).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

Opaque = Literal["refuse", "introspection", "userinfo"]
"""How access tokens are believed that are no JWTs: not at all; when the provider's introspection says that they are
active, and ours; or, where it has none, by its userinfo. That does not say for whom a token was issued: whoever was
given a token of some user by the provider, for whatever purpose, can then come in as that user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Us as a client of an OpenID provider."""

    issuer: str
    client: str
    secret: str = field(default="", repr=False)
    scopes: tuple[str, ...] = ("openid",)
    audiences: tuple[str, ...] = ()
    opaque_tokens: Opaque = "introspection"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a provider says of somebody, with its own names; a value is several where it was a list."""

    issuer: str
    subject: str
    values: Mapping[str, tuple[str, ...]]


class OpenId(Protocol):
    async def begin(self, client: Client, *, redirect: str, state: str, nonce: str, challenge: str) -> str:
        """The address to which a browser is sent: authorization code flow, PKCE by S256."""

    async def finish(
        self,
        client: Client,
        *,
        code: str,
        redirect: str,
        verifier: str,
        nonce: str,
        issuer: str | None = None,
    ) -> Claims:
        """What is said of the one who came back with the code, once: a code is good for one call. `nonce` empty: none
        was sent. `issuer`: from whom the browser says that it comes (RFC 9207; empty: it does not say), so that no
        provider is given another's code; None: the browser was not ours to send."""

    async def inspect(self, client: Client, token: str) -> Claims:
        """What is said of the one for whom an access token was issued to us."""

    async def plain(self, client: Client, endpoints: "Endpoints", *, code: str, redirect: str) -> Claims:
        """As `finish`, of a provider that speaks OAuth2 only and has no discovery: by its token and user addresses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Of an OAuth2 provider without discovery."""

    token: str
    user: str
    emails: str = ""
    """Where addresses are that the user's own record does not show (GitHub)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Us in a SAML conversation: our entity id, and the addresses at which messages reach us."""

    entity: str
    consumer: str
    """Address of the assertion consumer service."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """Of ours, in PEM form."""

    key: bytes = field(repr=False)
    certificate: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """What a verified SAML assertion says. `id` with `until` lets the caller refuse it a second time."""

    id: str
    issuer: str
    subject: str
    values: Mapping[str, tuple[str, ...]]
    until: datetime
    in_response_to: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What we say of a user of ours to another cloud."""

    issuer: str
    recipient: str
    """Address of the other's assertion consumer service."""
    subject: str
    values: Mapping[str, tuple[str, ...]]
    id: str
    issued_at: datetime
    until: datetime
    session: str


class Saml(Protocol):
    async def request(
        self, party: Party, metadata: str, *, id: str, state: str, at: datetime, entity: str = ""
    ) -> str:
        """The address to which a browser is sent with an authentication request (HTTP-Redirect). `entity`: which of
        the metadata's providers is asked; empty: the first."""

    async def logout(self, party: Party, metadata: str, *, id: str, subject: str, at: datetime) -> str:
        """The address to which a browser is sent to log out there; empty when the provider has none."""

    async def envelope(self, party: Party, *, id: str, state: str, at: datetime) -> str:
        """The SOAP envelope with which an enhanced client goes to its provider (ECP, PAOS)."""

    async def accept(
        self, party: Party, metadata: str, message: bytes, *, at: datetime, pair: KeyPair
    ) -> Assertion:
        """What a Response (base64 of a browser's form, or XML, also within a SOAP envelope) says, when it is signed by
        the provider of the metadata and meant for us now. `pair`: for whose certificate the assertion may be encrypted.
        The caller compares `in_response_to`, and remembers ids; whoever sent it is told no cause of a refusal."""

    async def relayed(self, message: bytes) -> str:
        """The state in the header of a SOAP envelope; empty when there is none."""

    async def issue(self, statement: Statement, pair: KeyPair) -> str:
        """A signed Response with one signed assertion, as XML."""

    async def wrapped(self, response: str, *, recipient: str, state: str) -> str:
        """The Response in a SOAP envelope, as an enhanced client takes it to a service provider."""

    async def describe_service(self, party: Party, pair: KeyPair) -> str:
        """Our metadata as a service provider, with the certificate for which assertions may be encrypted."""

    async def describe_provider(self, entity: str, address: str, pair: KeyPair) -> str:
        """Our metadata as an identity provider."""

    async def entities(self, metadata: str) -> list[tuple[str, str]]:
        """(entity id, name shown) of the identity providers in a metadata document."""
