"""One-time codes by time (RFC 6238: HMAC-SHA1, six digits, 30 seconds), of which none is taken twice; and those of
credentials of the type `totp`."""

import base64
import binascii
import hmac
import struct
from datetime import datetime
from uuid import UUID

import msgspec

from pileus.core.cloud import Look, Tx
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.authentication.credential_records import TOTP, Credential

STEP = 30
"""Seconds for which a code is shown."""
DIGITS = 6
EARLIER = 1
"""Steps back in which a code is still good: people type slowly."""


def step_at(moment: datetime) -> int:
    return int(moment.timestamp()) // STEP


def code(secret: bytes, step: int) -> str:
    mac = hmac.digest(secret, struct.pack(">Q", step), "sha1")
    place = mac[-1] & 15
    number = int.from_bytes(mac[place : place + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def secret_of(text: str) -> bytes | None:
    """The key in base32, as authenticator programs are given it, with or without padding; None: it is none."""
    bare = text.strip().replace(" ", "").rstrip("=").upper()
    try:
        return base64.b32decode(bare + "=" * (-len(bare) % 8))
    except (binascii.Error, ValueError):
        return None


def step_of(secret: bytes, given: str, now: datetime, after: int = 0) -> int | None:
    """The step whose code this is, now or one back; None when it is wrong, or not younger than step `after`.

    Keep the step and pass it as `after` the next time, so that a code that somebody saw is of no use.
    """
    present = step_at(now)
    for step in range(present, present - EARLIER - 1, -1):
        if hmac.compare_digest(code(secret, step).encode(), given.encode()):
            return step if step > after else None
    return None


async def held(look: Look, user: UUID) -> bool:
    """Whether the user has a credential that gives codes."""
    return await look.count(Credential, user=user, kind=TOTP, enabled=True) > 0


async def take(tx: Tx, user: UUID, given: str) -> bool:
    """Whether a credential of the user gives this code now; then no longer, in any that has the same key."""
    right = False
    for listed in await tx.list(Credential, user=user, kind=TOTP, enabled=True):
        credential = await tx.get(Credential, listed.id)  # which another process cannot take meanwhile
        secret = secret_of(vault.of(tx.cloud).decrypt(credential.secret))
        if secret is None:
            continue
        step = step_of(secret, given, tx.cloud.now(), credential.last_step)
        if step is not None:
            # No change that anybody else sees: without an event.
            await tx.rows.update(msgspec.structs.replace(credential, last_step=step))
            right = True
    return right
