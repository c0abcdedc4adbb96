"""What the configuration asks of passwords: strength, history, age, expiry; and of accounts that nobody uses."""

import re
from datetime import datetime, timedelta

import structlog

from pileus.config import Config
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Invalid
from pileus.core.identity import options
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.records import OldPassword, User

log = structlog.get_logger("pileus.login")


def require_strong(config: Config, password: str) -> None:
    """Raises Invalid, with the operator's description of what is wanted."""
    if not config.password_regex:
        return
    try:
        good = re.match(config.password_regex, password)
    except re.error as error:
        log.error("password_regex is no regular expression", error=str(error))
        raise Invalid(
            "Password validation error: Unable to validate password due to invalid configuration."
        ) from error
    if not good:
        raise Invalid(
            f"The password does not match the requirements: {config.password_regex_description or 'a pattern'}."
        )


async def require_unused(cloud: Cloud, user: User, password: str) -> None:
    """Raises Invalid for one of the last passwords, the present one among them."""
    count = cloud.config.unique_last_password_count
    if count <= 0:
        return
    async with cloud.view() as look:
        hashes = [user.password, *(old.password for old in await _history(look, user))][:count]
    for hashed in hashes:
        if hashed and await vault.of(cloud).verify(hashed, password):
            raise Invalid(
                "The new password cannot be identical to a previous password. The total number which includes "
                f"the new password must be unique is {count}."
            )


def require_own_change(config: Config, user: User, now: datetime) -> None:
    """Raises Invalid when the user may not change the password itself: it is locked, or too young."""
    if user.options.get(options.LOCK_PASSWORD):
        raise Invalid(
            "You cannot change your password at this time due to password policy disallowing password changes. "
            "Please contact your administrator to reset your password."
        )
    if config.minimum_password_age <= 0 or user.password_at is None or not user.own_password:
        return
    free = user.password_at + timedelta(days=config.minimum_password_age)
    if now < free:
        raise Invalid(
            "You cannot change your password at this time due to the minimum password age. Once you change your "
            f"password, it must be used for {config.minimum_password_age} day(s) before it can be changed. Please "
            f"try again in {(free - now).days} day(s) or contact your administrator to reset your password."
        )


def expiry(config: Config, options_: dict[str, object], now: datetime, *, own: bool) -> datetime | None:
    """When a password that is set now expires: at once if another set it and the user must choose its own."""
    if (
        not own
        and config.change_password_upon_first_use
        and not options_.get(options.IGNORE_CHANGE_PASSWORD_UPON_FIRST_USE)
    ):
        return now
    if config.password_expires_days <= 0 or options_.get(options.IGNORE_PASSWORD_EXPIRY):
        return None
    return now + timedelta(days=config.password_expires_days)


def expired(user: User, now: datetime) -> bool:
    if user.password_expires_at is None or user.options.get(options.IGNORE_PASSWORD_EXPIRY):
        return False
    return user.password_expires_at <= now


def enabled(config: Config, user: User, now: datetime) -> bool:
    """Whether the user may log in: enabled, not locked, and not away for too long."""
    if not user.enabled or user.locked:
        return False
    days = config.disable_user_account_days_inactive
    if days <= 0 or user.options.get(options.IGNORE_USER_INACTIVITY):
        return True
    return now - (user.active_at or user.created_at) < timedelta(days=days + 1)


async def remember(tx: Tx, user: User) -> None:
    """Keep the user's present hash as an old one, and no more of them than the configuration compares with."""
    kept = max(tx.cloud.config.unique_last_password_count - 1, 0)
    if user.password and kept:
        now = tx.cloud.now()
        old = OldPassword(id=tx.cloud.new_id(), user=user.id, password=user.password, created_at=now)
        await tx.rows.insert(old)
    for old in (await _history(tx, user))[kept:]:
        await tx.rows.delete(OldPassword, old.id)


async def _history(look: Look, user: User) -> list[OldPassword]:
    """Newest first."""
    return await look.list(OldPassword, user=user.id, order=("-created_at",))
