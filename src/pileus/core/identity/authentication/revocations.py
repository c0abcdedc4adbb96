"""Tokens that ended before their time: one of them with those got by it, or all that a user has."""

from datetime import datetime, timedelta
from uuid import UUID

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Tx
from pileus.core.errors import Forbidden, NotFound
from pileus.core.identity.changes import changed
from pileus.core.identity.records import Revocation, User
from pileus.store import lt

WINDOW = timedelta(days=2)
"""How long after their end tokens can still be asked about; a revocation is kept as long."""


async def end_tokens(tx: Tx, user: UUID) -> None:
    """All that were issued until now."""
    now = tx.cloud.now()
    await _remember(
        tx,
        Revocation(id=tx.cloud.new_id(), user=user, before=now, expires_at=_forgettable(tx), created_at=now),
    )


async def end_token(tx: Tx, user: UUID, audit: str, *, descendants: bool = True) -> None:
    """The one token with this audit id, and those whose chain it began."""
    await _remember(
        tx,
        Revocation(
            id=tx.cloud.new_id(),
            user=user,
            audit=audit,
            chain=audit if descendants else "",
            expires_at=_forgettable(tx),
            created_at=tx.cloud.now(),
        ),
    )


async def end_all_of(cloud: Cloud, caller: Caller, user: UUID) -> None:
    """By the user itself, or an administrator."""
    if caller.user != user:
        caller.require_admin("token.revoke")
    async with cloud.transaction(caller) as tx:
        if await tx.maybe(User, user) is None:
            raise NotFound("User", user.hex)
        await end_tokens(tx, user)
        await changed(tx)


async def list_all(cloud: Cloud, caller: Caller, since: datetime | None = None) -> list[Revocation]:
    """Those that are remembered, the oldest first. For administrators and services."""
    if not caller.admin and "service" not in caller.roles:
        raise Forbidden("You are not authorized to perform the requested action: revocation.read.")
    async with cloud.view() as look:
        found = await look.list(Revocation, order=("created_at",))
    return [revocation for revocation in found if since is None or revocation.created_at > since]


async def _remember(tx: Tx, revocation: Revocation) -> None:
    """Keep it, and forget those whose tokens nobody can ask about any more."""
    await tx.rows.delete_where(Revocation, lt("expires_at", tx.cloud.now()))
    await tx.add(revocation)


def _forgettable(tx: Tx) -> datetime:
    return tx.cloud.now() + timedelta(seconds=tx.cloud.config.token_seconds) + WINDOW
