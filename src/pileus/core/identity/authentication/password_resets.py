"""A new password for who has forgotten it, by a token that is mailed to the address of the user."""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID, uuid4

from pileus.core import mail
from pileus.core.caller import system
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import CoreError, Invalid, Unauthenticated
from pileus.core.identity import users
from pileus.core.identity.authentication import failures
from pileus.core.identity.authorization import access
from pileus.core.identity.records import Source, User
from pileus.core.identity.tenancy.tenancy_records import PasswordReset
from pileus.store import lt

TEXT = """Hello {name}!

Somebody, probably you, wants a new password for the user {user}. Choose it here:

{link}

The link is good for {minutes} minutes, and once. If you did not ask for it, ignore this letter.
"""


class Wrong(Invalid):
    """The same words whether there is no such user, no token, or another one."""

    def __init__(self) -> None:
        super().__init__("The token is not good for this user, or no longer; ask for another one.")


async def ask(cloud: Cloud, domain: UUID | None, name: str, link: Callable[[str], str]) -> None:
    """Mail a token to the user, when there is one with an address who could log in; who asks is told nothing. While one
    is on its way no other is sent. `link` makes an address of the token. Raises Unsupported where no mail is sent.
    """
    mail.require(cloud)
    async with cloud.view() as look:
        user = await look.one(User, domain=domain, name=name) if domain else None
        good = user is not None and await _may(look, user)
    token = str(uuid4())
    now = cloud.now()
    async with cloud.transaction(system()) as tx:
        await tx.rows.delete_where(PasswordReset, lt("expires_at", now))
        if user is None or not good or await tx.count(PasswordReset, user=user.id):
            return
        lasts = timedelta(seconds=cloud.config.password_reset_seconds)
        await tx.rows.insert(
            PasswordReset(
                id=cloud.new_id(), user=user.id, token=hashed(token), expires_at=now + lasts, created_at=now
            )
        )
        text = TEXT.format(
            name=user.first_name or user.name,
            user=user.name,
            link=link(token),
            minutes=max(1, cloud.config.password_reset_seconds // 60),
        )
        await mail.post(tx, mail.Letter(to=user.email, subject="A new password", text=text))


async def _may(look: Look, user: User) -> bool:
    if user.source is not Source.SQL:
        return False
    try:
        mail.address(user.email)
        await access.enabled_user(look, user.id)
    except (Invalid, Unauthenticated):
        return False
    return True


async def use(
    cloud: Cloud, domain: UUID | None, name: str, token: str, password: str, source: str = ""
) -> None:
    """Set the password, once for a token; all sessions end. Raises Wrong, and Invalid for a password that is not allowed,
    after which the token is good again.
    """
    if not password:
        raise Invalid("The new password is empty; choose one.")
    key = failures.of_reset(domain, name)
    await failures.allow(cloud, key, source=source)
    async with cloud.transaction(system()) as tx:
        taken = await _take(tx, domain, name, token)
    if taken is None:
        await failures.failed(cloud, key, reason="wrong token for a new password", source=source)
        raise Wrong
    try:
        await users.update(cloud, system(), taken.user, users.UpdateUser(password=password))
    except CoreError:
        async with cloud.transaction(system()) as tx:
            await tx.rows.insert(taken)
        raise
    await failures.succeeded(cloud, key)


async def _take(tx: Tx, domain: UUID | None, name: str, token: str) -> PasswordReset | None:
    user = await tx.one(User, domain=domain, name=name) if domain else None
    if user is None or not await _may(tx, user):
        return None
    held = await tx.one(PasswordReset, user=user.id, token=hashed(token))
    if held is None or held.expires_at <= tx.cloud.now():
        return None
    # Of two that come at once, one finds it gone.
    return held if await tx.rows.delete(PasswordReset, held.id) else None


def hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
