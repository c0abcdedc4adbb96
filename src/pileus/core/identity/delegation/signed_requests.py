"""Requests signed as RFC 5849 (OAuth 1.0) says: what they say of themselves, and whether the signature is right and new."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid5

import msgspec
from oauthlib.common import Request
from oauthlib.oauth1.rfc5849 import signature, utils

from pileus.core.cloud import Cloud
from pileus.core.errors import Invalid, Unauthenticated
from pileus.core.identity.authentication import failures
from pileus.core.identity.authentication.credential_records import UsedNonce
from pileus.core.identity.authentication.tokens import refused
from pileus.store import lt
from pileus.store.errors import Duplicate

SPACE = UUID("5b1c8b0c-6f3a-5d0e-9b52-0f6f8f7c2d41")
WINDOW = timedelta(minutes=5)
"""By how much the client's clock may differ from ours; a nonce is remembered for as long as its time is good."""
MAX_HEADER = 8192
NEEDED = ("oauth_consumer_key", "oauth_signature_method", "oauth_timestamp", "oauth_nonce", "oauth_signature")
CHECKS: dict[str, Callable[..., bool]] = {
    "HMAC-SHA1": signature.verify_hmac_sha1,
    "HMAC-SHA256": signature.verify_hmac_sha256,
    "HMAC-SHA512": signature.verify_hmac_sha512,
}


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A request as the client signed it. `urls`: the addresses, with their query, by which it may have called us."""

    method: str
    urls: tuple[str, ...]
    authorization: str
    body: str = ""
    """Of a form; empty for any other."""
    source: str = ""
    """The address that it came from."""


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """What the Authorization header says."""

    consumer: str
    token: str
    verifier: str
    method: str
    signature: str
    at: datetime
    nonce: str


def read(signed: Signed) -> Parameters:
    """Raises Invalid that names what is missing or malformed."""
    try:
        pairs = utils.parse_authorization_header(signed.authorization[:MAX_HEADER])
    except ValueError:
        raise Invalid("The request is not signed: the header Authorization must begin with OAuth.") from None
    given = {name: utils.unescape(value) for name, value in pairs}
    for name in NEEDED:
        if not given.get(name):
            raise Invalid(f"Expecting to find {name} in the header Authorization.")
    if given["oauth_signature_method"] not in CHECKS:
        raise Invalid(f"The signature method must be one of {', '.join(CHECKS)}.")
    if given.get("oauth_version", "1.0") != "1.0":
        raise Invalid("oauth_version must be 1.0.")
    timestamp = given["oauth_timestamp"]
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) == 10):
        raise Invalid("oauth_timestamp must be the time in seconds since 1970, a number of ten digits.")
    return Parameters(
        consumer=given["oauth_consumer_key"],
        token=given.get("oauth_token", ""),
        verifier=given.get("oauth_verifier", ""),
        method=given["oauth_signature_method"],
        signature=given["oauth_signature"],
        at=datetime.fromtimestamp(int(timestamp), UTC),
        nonce=given["oauth_nonce"],
    )


async def verify(
    cloud: Cloud, signed: Signed, said: Parameters, consumer_secret: str, token_secret: str
) -> None:
    """Whether the request is signed with the secrets, of now, and not sent before. Raises Unauthenticated."""
    key = failures.of_key(f"oauth1/{said.consumer}")
    await failures.allow(cloud, key, source=signed.source)
    if abs(cloud.now() - said.at) > WINDOW:
        raise wrong(f"Timestamp given is invalid, it differs by over {int(WINDOW.total_seconds())} seconds.")
    if not any(_right(signed, said, url, consumer_secret, token_secret) for url in signed.urls):
        raise await failures.failed(cloud, key, reason="wrong signature", source=signed.source)
    await _first_time(cloud, said)
    await failures.succeeded(cloud, key)


def wrong(public: str) -> Unauthenticated:
    return Unauthenticated(public, private=public)


def _right(signed: Signed, said: Parameters, url: str, consumer_secret: str, token_secret: str) -> bool:
    request = Request(url, signed.method)
    request.params = parameters(signed, url)
    request.signature = said.signature
    return CHECKS[said.method](request, consumer_secret, token_secret or None)


def parameters(signed: Signed, url: str) -> Sequence[tuple[str, Any]]:
    """All that the signature is of."""
    try:
        found: Sequence[tuple[str, Any]] = signature.collect_parameters(
            uri_query=urlsplit(url).query,
            body=signed.body,
            headers={"Authorization": signed.authorization},
        )
    except ValueError:
        raise refused("query or form is malformed, so nothing of it can be signed") from None
    return found


async def _first_time(cloud: Cloud, said: Parameters) -> None:
    """Raises Unauthenticated for a nonce that was used before with this time."""
    moment = int(said.at.timestamp())
    key = uuid5(SPACE, "\n".join((said.consumer, said.token, str(moment), said.nonce)))
    try:
        async with cloud.transaction() as tx:
            await tx.rows.delete_where(UsedNonce, lt("at", cloud.now() - 2 * WINDOW))
            await tx.rows.insert(UsedNonce(id=key, at=said.at))
    except Duplicate:
        raise refused("nonce was used before") from None
