"""One-time codes by time (RFC 6238: HMAC-SHA1, six digits, 30 seconds), of which none is taken twice."""

import base64
import binascii
import hmac
import struct
from datetime import datetime
from uuid import UUID

import msgspec

from pileus.core.cloud import Cloud
from pileus.core.errors import Unauthenticated
from pileus.core.identity.authentication import failures
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.authentication.credential_records import TOTP, Credential
from pileus.core.identity.records import User

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


async def check(cloud: Cloud, user: User | None, given: str, source: str = "") -> User:
    """The user, of whose TOTP credentials one gives this code now. Raises Unauthenticated, also for nobody.

    The caller sees to whether the user and its domain are enabled.
    """
    key = failures.of_factor(user.id if user else UUID(int=0))
    who = user.id if user else None
    async with failures.turn(cloud, key):
        await failures.allow(cloud, key, source=source, user=who)
        if user is None or not await _take(cloud, user.id, given):
            raise await _failed(cloud, key, source, who)
        await failures.allow(cloud, key, source=source, user=who)
        await failures.succeeded(cloud, key)
    return user


async def _failed(cloud: Cloud, key: str, source: str, user: UUID | None) -> Unauthenticated:
    return await failures.failed(cloud, key, reason="wrong one-time code", source=source, user=user)


async def _take(cloud: Cloud, user: UUID, given: str) -> bool:
    """Whether the code is good; then no longer, in one transaction, for two may come at once."""
    now = cloud.now()
    async with cloud.transaction() as tx:
        for listed in await tx.list(Credential, user=user, kind=TOTP, enabled=True):
            credential = await tx.get(Credential, listed.id)  # which another process cannot take meanwhile
            secret = secret_of(vault.of(cloud).decrypt(credential.secret))
            if secret is None:
                continue
            step = step_of(secret, given, now, credential.last_step)
            if step is not None:
                # No change that anybody else sees: without an event.
                await tx.rows.update(msgspec.structs.replace(credential, last_step=step))
                return True
    return False
