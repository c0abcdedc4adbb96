"""Whether a password is the one of a user."""

from datetime import timedelta
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Tx
from pileus.core.errors import Invalid, Unauthenticated
from pileus.core.identity import options, users
from pileus.core.identity.authentication import failures, password_policy
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.authentication.tokens import refused
from pileus.core.identity.changes import changed
from pileus.core.identity.directories import directory_login, directory_writes
from pileus.core.identity.named import Named, find_user
from pileus.core.identity.records import Domain, Source, User


async def check(cloud: Cloud, named: Named, password: str, source: str = "") -> User:
    """The user whose password this is. Takes as long for users that do not exist. Raises Unauthenticated.

    `source`: the address that it came from.
    """
    user = await prove(cloud, named, password, source)
    if password_policy.expired(user, cloud.now()):
        failures.refusal("password expired", source, user.id)
        raise Unauthenticated(
            f"The password is expired and needs to be changed for user: {user.id.hex}.",
            private="password expired",
        )
    if user.source is Source.SQL and vault.of(cloud).outdated(user.password):
        await _renew_hash(cloud, user, password)
    await seen(cloud, user)
    return user


async def prove(cloud: Cloud, named: Named, password: str, source: str = "") -> User:
    """As `check`, and a password that has expired is good too: for changing it."""
    async with cloud.view() as look:
        user = await find_user(look, named)
        domain = await look.maybe(Domain, user.domain) if user else None
    key = failures.of_user(user.id if user else _words(named))
    async with failures.turn(cloud, key):
        if user is not None:  # it may have changed while others had their turn
            async with cloud.view() as look:
                user = await look.maybe(User, user.id)
        return await _proven(cloud, key, named, user, domain, password, source)


async def _proven(
    cloud: Cloud,
    key: str,
    named: Named,
    user: User | None,
    domain: Domain | None,
    password: str,
    source: str,
) -> User:
    who = user.id if user else None
    await failures.allow(cloud, key, source=source, user=who)
    if not (user and user.options.get(options.IGNORE_LOCKOUT_FAILURE_ATTEMPTS)):
        await _refuse_locked(cloud, key, source, user)
    elsewhere = await directory_login.check(cloud, named, user, password)
    if elsewhere is not None:
        user, domain, right = elsewhere.user, elsewhere.domain, elsewhere.right
    else:
        right = await vault.of(cloud).verify(user.password if user else "", password)
    if user is None or domain is None or not right:
        raise await failures.failed(
            cloud, key, reason="wrong password, or no such user", source=source, user=who
        )
    await failures.allow(cloud, key, source=source, user=who)
    if not domain.enabled or not password_policy.enabled(cloud.config, user, cloud.now()):
        raise failures.refusal("user or domain is disabled", source, who)
    await failures.succeeded(cloud, key)
    return user


async def _refuse_locked(cloud: Cloud, key: str, source: str, user: User | None) -> None:
    if await failures.locked(cloud, key):
        raise failures.refusal("locked after too many failures", source, user.id if user else None)


def _words(named: Named) -> str:
    """What stands for a user that does not exist."""
    domain = named.domain
    place = (domain.id.hex if domain.id else domain.name) if domain else ""
    return named.id.hex if named.id else f"{place}/{named.name}"


async def change(cloud: Cloud, key: UUID, original: str, new: str, source: str = "") -> None:
    """By the user, who proves it with the old one, even when that has expired. Raises Unauthenticated when it is wrong,
    Invalid where the configuration forbids the new one."""
    held = await prove(cloud, Named(id=key), original, source)
    now = cloud.now()
    if not new:
        raise Invalid("The new password is empty; choose one.")
    if new == original:
        raise Invalid("The new password is the old one; choose another.")
    if await directory_writes.change_password(cloud, held, original, new):
        return
    password_policy.require_own_change(cloud.config, held, now)
    await password_policy.require_unused(cloud, held, new)
    hashed = await users.hash_chosen(cloud, new)
    caller = Caller(user=held.id, user_name=held.name, user_domain=held.domain)
    async with cloud.transaction(caller) as tx:
        held = await _unchanged(tx, held)
        await password_policy.remember(tx, held)
        expires = password_policy.expiry(cloud.config, held.options, now, own=True)
        await tx.put(
            msgspec.structs.replace(
                held, password=hashed, password_at=now, own_password=True, password_expires_at=expires
            )
        )
        await users.end_tokens(tx, key)
        await changed(tx)


async def _unchanged(tx: Tx, before: User) -> User:
    held = await tx.get(User, before.id)
    if held.password != before.password:
        raise refused("the password was changed meanwhile")
    return held


async def _renew_hash(cloud: Cloud, user: User, password: str) -> None:
    """An imported or weaker hash becomes one of ours, now that the password is at hand."""
    hashed = await vault.of(cloud).hash(password)
    async with cloud.transaction() as tx:
        now = await tx.maybe(User, user.id)
        if now is not None and now.password == user.password:
            await tx.put(msgspec.structs.replace(now, password=hashed))


async def seen(cloud: Cloud, user: User) -> None:
    """Keep the day of a login, where it matters."""
    now = cloud.now()
    if not cloud.config.disable_user_account_days_inactive:
        return
    if user.active_at is not None and now - user.active_at < timedelta(days=1):
        return
    async with cloud.transaction() as tx:
        held = await tx.maybe(User, user.id)
        if held is not None:
            await tx.put(msgspec.structs.replace(held, active_at=now))
