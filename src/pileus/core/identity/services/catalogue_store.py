"""The catalogue in a key-value store, for all processes: one value, good for one count of changes.

The store is only quicker than the database, never asked instead of it: the count is the database's, and what the store
holds under another one, or did not get from this cloud, is as good as nothing.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import msgspec
import structlog

from pileus.core.cloud import Cloud
from pileus.core.errors import Unauthenticated, Unavailable
from pileus.core.identity.authentication import tokens
from pileus.core.identity.percloud import per_cloud

log = structlog.get_logger("pileus.catalogue")

T = TypeVar("T")
KEPT_SECONDS = 86_400
PATIENCE = 1.0
"""Seconds that a request waits for the store, since the database has it too."""
PAUSE = timedelta(seconds=10)
"""Without asking a store that did not answer."""


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """`seal`: the hash of the rest, sealed with the keys of tokens."""

    change: int
    seal: str
    body: bytes


class Absence:
    """Since when the store is away, and until when nobody asks it again."""

    until: datetime | None = None


pack, unpack = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Kept).decode
absence = per_cloud(lambda cloud: Absence())


async def find(cloud: Cloud, mark: UUID | None, form: str, change: int) -> bytes | None:
    """What was kept at this count of changes, in this form, by the cloud with this mark; None: read the records."""
    store = cloud.catalogue_store
    raw = await asked(cloud, store.get(key(mark, form))) if store is not None and present(cloud) else None
    if not raw:
        return None
    try:
        kept = unpack(raw)
        if kept.change != change:
            return None
        good = hmac.compare_digest(tokens.of(cloud).unseal(kept.seal), digest(change, kept.body))
    except (msgspec.DecodeError, Unauthenticated):
        good = False
    if not good:
        log.warning("the catalogue in the store is not of this cloud's making, or of keys that are gone")
    return kept.body if good else None


async def keep(cloud: Cloud, mark: UUID | None, form: str, change: int, body: bytes) -> None:
    """In place of what was there. Does nothing while the store is away."""
    store = cloud.catalogue_store
    if store is not None and present(cloud):
        value = pack(Kept(change, tokens.of(cloud).seal(digest(change, body)), body))
        await asked(cloud, store.put(key(mark, form), value, KEPT_SECONDS))


def key(mark: UUID | None, form: str) -> str:
    """Several clouds, and releases of one cloud, may share a store."""
    return f"catalogue/{mark.hex if mark else '-'}/{form}"


def digest(change: int, body: bytes) -> bytes:
    return b"catalogue\0" + hashlib.sha256(f"{change}\n".encode() + body).digest()


def present(cloud: Cloud) -> bool:
    until = absence(cloud).until
    return until is None or until <= cloud.now()


async def asked(cloud: Cloud, asking: Awaitable[T]) -> T | None:
    """The answer; None when there is none in time. Going and coming back are logged, once each."""
    known = absence(cloud)
    try:
        async with asyncio.timeout(PATIENCE):
            answer = await asking
    except (Unavailable, TimeoutError) as error:
        if known.until is None:
            reason = error.private if isinstance(error, Unavailable) else "no answer in time"
            log.warning("the store of the catalogue is away; the database is read", reason=reason)
        known.until = cloud.now() + PAUSE
        return None
    if known.until is not None:
        log.info("the store of the catalogue is back")
        known.until = None
    return answer
