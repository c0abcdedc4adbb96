"""Failed proofs in a row, by what was to be proven and where the try came from: they make the next tries wait.

A try that must wait is refused without being looked at and is not counted, so that nobody is kept out for longer than
the wait by tries that others make. Refusals are logged, with the reason and the source, never with a secret.
"""

import asyncio
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Network, ip_address
from uuid import UUID, uuid5
from weakref import WeakValueDictionary

import msgspec
import structlog
from msgspec.structs import replace

from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Unauthenticated
from pileus.core.identity.authentication.credential_records import LoginFailures
from pileus.core.identity.authentication.tokens import refused
from pileus.core.identity.percloud import per_cloud
from pileus.store import lt

log = structlog.get_logger("pileus.login")

SPACE = UUID("0d2f6f0e-3c58-5f4f-8f0e-2b6c1f7d9a11")
FORGOTTEN = timedelta(minutes=15)
"""After the last failure, unless the configuration locks for longer."""
LONGEST_KEY = 200
"""Characters kept of a key, which may be whatever somebody sent as a name."""
USER, KEY, FACTOR, SOURCE = "user", "key", "factor", "source"


class Patience(msgspec.Struct, frozen=True):
    """How many failures cost nothing, and the longest wait in seconds; it begins with one and doubles."""

    free: int
    longest: int


PATIENCE = {
    USER: Patience(5, 30),
    KEY: Patience(5, 30),
    FACTOR: Patience(4, 30),
    SOURCE: Patience(100, 5),
}
"""Many people may share a source, so it waits late and shortly."""


def of_user(user: UUID | str) -> str:
    """The key of a user's passwords; a user that does not exist has one by what it was named, and behaves alike."""
    return f"{USER}:{user.hex if isinstance(user, UUID) else user}"


def of_key(access: str) -> str:
    """Of a key pair's or an application credential's secret, by its public half."""
    return f"{KEY}:{access}"


def of_factor(user: UUID) -> str:
    """Of one-time codes and pins."""
    return f"{FACTOR}:{user.hex}"


def of_source(address: str) -> tuple[str, ...]:
    """Of the address from which a request came; none when it is not known."""
    return (f"{SOURCE}:{source_of(address)}",) if address else ()


def source_of(address: str) -> str:
    """Whom an address counts for: of IPv6 its /64, in which one host may take any address."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return address
    return str(found.ipv4_mapped or IPv6Network((found, 64), strict=False))


def wait(failures: int, patience: Patience) -> int:
    """Seconds after the last failure in which tries are refused."""
    over = failures - patience.free
    return 0 if over < 0 else min(1 << min(over, 16), patience.longest)


class Turns:
    """A lock for each key that is being tried in this process."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def of(self, key: str) -> asyncio.Lock:
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock


turns = per_cloud(lambda cloud: Turns())


def turn(cloud: Cloud, key: str) -> asyncio.Lock:
    """To hold from `allow` to the count, so that many tries at once are as many tries in a row."""
    return turns(cloud).of(key)


async def allow(cloud: Cloud, *keys: str, source: str = "", user: UUID | None = None) -> None:
    """Raises Unauthenticated while one of the keys must wait; ask before the proof is looked at, and again after a
    right one, for another process may have counted failures meanwhile."""
    now = cloud.now()
    async with cloud.view() as look:
        for key in (*keys, *of_source(source)):
            held = await _held(look, key)
            if held is not None and _until(held) > now:
                raise refusal("too many failures, it must wait", source, user)


async def failed(
    cloud: Cloud, *keys: str, reason: str, source: str = "", user: UUID | None = None
) -> Unauthenticated:
    """Count a failure and log it. Returns the error to raise."""
    now = cloud.now()
    config = cloud.config
    lasting = max(FORGOTTEN, timedelta(seconds=config.lockout_duration))
    async with cloud.transaction() as tx:
        if not config.lockout_failure_attempts or config.lockout_duration:
            await tx.rows.delete_where(LoginFailures, lt("at", now - lasting))
        for key in (*keys, *of_source(source)):
            none = LoginFailures(id=_id(key), key=key[:LONGEST_KEY], failures=0, at=now)
            held = await tx.rows.get_or_insert(none)
            await tx.rows.update(replace(held, failures=held.failures + 1, at=now))
    return refusal(reason, source, user)


async def succeeded(cloud: Cloud, *keys: str) -> None:
    """Forget the failures; no write when there were none. A source's stay: one good login there excuses no other."""
    async with cloud.view() as look:
        counted = [key for key in keys if await _held(look, key)]
    if counted:
        async with cloud.transaction() as tx:
            await clear(tx, *counted)


async def clear(tx: Tx, *keys: str) -> None:
    for key in keys:
        await tx.rows.delete(LoginFailures, _id(key))


async def locked(cloud: Cloud, key: str) -> bool:
    """Whether the configured lockout holds: so many failures, the last one not long enough ago."""
    config = cloud.config
    if not config.lockout_failure_attempts:
        return False
    async with cloud.view() as look:
        held = await _held(look, key)
    if held is None or held.failures < config.lockout_failure_attempts:
        return False
    until = held.at + timedelta(seconds=config.lockout_duration)
    return config.lockout_duration == 0 or until > cloud.now()


def refusal(reason: str, source: str = "", user: UUID | None = None) -> Unauthenticated:
    """Log that a login was refused, and make the error, which says nothing of the reason."""
    log.warning("login refused", reason=reason, source=source, user=user.hex if user else None)
    return refused(reason)


async def _held(look: Look, key: str) -> LoginFailures | None:
    return await look.maybe(LoginFailures, _id(key))


def _id(key: str) -> UUID:
    return uuid5(SPACE, key)


def _until(held: LoginFailures) -> datetime:
    return held.at + timedelta(seconds=wait(held.failures, PATIENCE[held.key.partition(":")[0]]))
