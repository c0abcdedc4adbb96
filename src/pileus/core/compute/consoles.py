"""One-time tokens to look at a server's screen."""

import hashlib
import secrets
from datetime import timedelta
from uuid import UUID

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.compute.records import ConsoleToken, Server, State
from pileus.core.errors import Conflict, Unauthenticated
from pileus.store import lt

SECONDS = 600
WITH_SCREEN = frozenset({State.ACTIVE, State.PAUSED, State.REBOOTING, State.REBOOTING_HARD, State.STOPPING})


async def issue(cloud: Cloud, caller: Caller, server_id: UUID, *, kind: str = "novnc") -> str:
    """A token that opens the server's screen once, within ten minutes. Raises Conflict when it has no screen now."""
    token = secrets.token_urlsafe(24)
    async with cloud.transaction(caller) as tx:
        server = await caller.find(tx.rows, Server, server_id, "server.update")
        if server.state not in WITH_SCREEN or server.host is None:
            raise Conflict(f"Server {server_id} is {server.state}; it has no screen now.")
        now = cloud.now()
        await tx.rows.delete_where(ConsoleToken, lt("expires_at", now))
        until = now + timedelta(seconds=SECONDS)
        await tx.rows.insert(ConsoleToken(id=_digest(token), server=server_id, kind=kind, expires_at=until))
    return token


async def redeem(cloud: Cloud, token: str) -> Server:
    """The server that the token opens; the token is used up. Raises Unauthenticated."""
    async with cloud.transaction() as tx:
        held = await tx.maybe(ConsoleToken, _digest(token))
        if held is not None:
            await tx.rows.delete(ConsoleToken, held.id)
        server = await tx.maybe(Server, held.server) if held is not None else None
    if held is None or server is None or held.expires_at < cloud.now():
        raise Unauthenticated("This console link was used or is too old; ask for a new one.")
    return server


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
