"""New keys for tokens and for stored secrets, at an operator's word. Those of tokens rotate by themselves too
(`Tokens.rotate_when_due`)."""

import asyncio
from uuid import uuid5

import msgspec
import structlog

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.identity.authentication import encrypted, tokens
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.changes import changed
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import Domain
from pileus.core.operations import Operation

log = structlog.get_logger("pileus.identity")

RENEW = "secrets.renew"
"""The workflow that encrypts with the newest key what is stored."""
QUEUE = uuid5(ROOT, RENEW)
KEPT_SECONDS = 3600
"""An older key of secrets is kept at least so long: for logins at providers that are under way, and sessions by SAML,
which bring encrypted texts back in cookies, and for requests that began before the rotation."""


class Rotated(msgspec.Struct, frozen=True):
    """The numbers of the keys there are now, the primary last, and the operation that renews what is stored."""

    tokens: tuple[int, ...]
    secrets: tuple[int, ...]
    operation: Operation


async def rotate(cloud: Cloud, caller: Caller) -> Rotated:
    """Seal new tokens, and encrypt secrets, with the staged keys, stage others, and begin to encrypt what is stored
    with the new one. Tokens that live stay good, and stored secrets readable. Raises Forbidden. May be repeated."""
    caller.require_admin("keys.rotate")
    now = cloud.now()
    of_tokens = await asyncio.to_thread(tokens.of(cloud).rotate, now, cloud.config.token_seconds)
    of_secrets = await asyncio.to_thread(vault.of(cloud).keys.rotate, now)
    async with cloud.transaction(caller) as tx:
        # The subject is the whole cloud's domain; the queue is its own, for nobody has to wait for this.
        operation = await tx.start(RENEW, subject=await tx.get(Domain, ROOT), key=QUEUE)
    log.info("keys rotated", by=caller.user.hex, tokens=of_tokens[-1], secrets=of_secrets[-1])
    return Rotated(of_tokens, of_secrets, operation)


async def retire(cloud: Cloud) -> tuple[int, ...]:
    """Drop the keys of secrets that nothing needs any more; their numbers. To be repeated now and then: it also renews
    what was stored with an older key since, or by a rotation that was killed before it began.

    A key goes only when a look at all that is stored finds nothing of it, and it has not been used for KEPT_SECONDS,
    nor for the life of a token: so nothing that was read before can come back encrypted with it.
    """
    keys = vault.of(cloud).keys
    used = [number for number in keys.numbers() if number]
    if len(used) < 2:
        return ()
    renewal = await encrypted.renew(cloud)
    idle = [number for number in used[:-1] if number not in renewal.older]
    rest = cloud.now(), max(KEPT_SECONDS, cloud.config.token_seconds)
    if keys.rested(idle, *rest):
        async with cloud.transaction() as tx:
            await changed(tx)  # records that processes remember may hold texts of these keys
    gone = await asyncio.to_thread(keys.retire, idle, *rest)
    if renewal.renewed or gone:
        log.info("keys of secrets retired", renewed=renewal.renewed, dropped=list(gone))
    return gone
