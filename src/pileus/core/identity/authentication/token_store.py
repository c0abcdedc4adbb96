"""Tokens as callers carry them: sealed payloads that carry themselves, or short names of what a key-value store keeps.

A kept token is `pk.<audit id>.<secret>`; the store has the sealed payload and the secret's hash under the audit id, so
who reads the store cannot use what is in it. Revoking deletes it there; the records say it too (`Revocation`).
"""

import hashlib
import hmac
import re
import secrets

import msgspec

from pileus.core.cloud import Cloud
from pileus.core.identity.authentication import tokens
from pileus.core.identity.authentication.tokens import Token, refused

FORM = "pk"
AUDIT = re.compile(r"[A-Za-z0-9_-]{22}")


class Kept(msgspec.Struct, frozen=True, array_like=True):
    secret: bytes
    sealed: str


pack, unpack = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Kept).decode


async def issue(cloud: Cloud, token: Token) -> str:
    """The text for the caller. Raises Unavailable when the store does not answer."""
    sealed = tokens.of(cloud).issue(token)
    store = cloud.keyvalue
    if store is None:
        return sealed
    secret = secrets.token_urlsafe(24)
    seconds = int((token.expires_at - cloud.now()).total_seconds()) + 1
    kept = pack(Kept(digest(secret), sealed))
    await store.put(key(token.audit[0]), kept, max(seconds, 1))
    return f"{FORM}.{token.audit[0]}.{secret}"


async def find(cloud: Cloud, text: str) -> Token:
    """What the text stands for. Sealed ones of before the store was configured are good too. Raises Unauthenticated,
    Unavailable."""
    form, _, rest = text.partition(".")
    if form != FORM:
        return tokens.of(cloud).open(text)
    audit, _, secret = rest.partition(".")
    if cloud.keyvalue is None or not AUDIT.fullmatch(audit):
        raise refused("token has no possible form")
    raw = await cloud.keyvalue.get(key(audit))
    kept = unpack(raw) if raw else None
    if kept is None or not hmac.compare_digest(kept.secret, digest(secret)):
        raise refused("token is not kept any more, or its secret is wrong")
    return tokens.of(cloud).open(kept.sealed)


async def forget(cloud: Cloud, audit: str) -> None:
    """After the revocation was recorded."""
    if cloud.keyvalue is not None:
        await cloud.keyvalue.delete(key(audit))


def key(audit: str) -> str:
    return f"token/{audit}"


def digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
