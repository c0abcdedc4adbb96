"""A new password for who has forgotten it, by a token that is mailed to the address of the user."""

import asyncio
import hashlib
from datetime import datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID, uuid4

import msgspec

from pileus.core import mail
from pileus.core.caller import system
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Invalid, TooMany, Unauthenticated
from pileus.core.identity import domains, options, users
from pileus.core.identity.authentication import failures, password_policy
from pileus.core.identity.authentication.tokens import NIL
from pileus.core.identity.authorization import access
from pileus.core.identity.changes import changed
from pileus.core.identity.records import Domain, Source, User
from pileus.core.identity.tenancy.tenancy_records import PasswordReset
from pileus.store import gt, lt

SAME = 0.1
"""Seconds that asking takes at least, so that its length does not tell whether a letter was written."""
HOUR = timedelta(hours=1)
ASKED, HOURLY_OF_SOURCE = "password reset", 20
"""Letters that one network address may ask for."""
TEXT = """Hello {name}!

Somebody, probably you, wants a new password for the user {user}. Choose it here:

{link}

The link is good for {minutes} minutes, and once. If you did not ask for it, ignore this letter: the password stays.
"""


class Wrong(Invalid):
    """The same words whether there is no such user, no token, or another one."""

    def __init__(self) -> None:
        super().__init__("The token is not good for this user, or no longer; ask for another one.")


async def domain_of(cloud: Cloud, text: str) -> UUID | None:
    """The domain that a person means: nothing for the first one, a name, or a path such as /sales/emea from there.
    None where there is none, or several."""
    parts = [part for part in text.strip().split("/") if part]
    if parts and parts[0].upper() == "ROOT":
        parts = parts[1:]
    async with cloud.view() as look:
        if len(parts) == 1 and "/" not in text:
            try:
                named = await domains.named(look, parts[0])
            except Invalid:  # who asks learns nothing of domains either
                return None
            return named.id if named else None
        found: UUID = domains.ROOT
        for part in parts:
            below = await look.one(Domain, parent=found, name=part)
            if below is None:
                return None
            found = below.id
    return found


def link(cloud: Cloud, name: str, domain: str, token: str) -> str:
    """What the letter opens; never made of what a request says of the host, for who asks need not be who reads. What it
    tells stands behind the `#`, which browsers send nowhere."""
    named = urlencode({"username": name, "domain": domain, "token": token})
    at = cloud.config.password_page
    return f"{at}{'?' if '#' in at else '#'}{named}"


async def ask(cloud: Cloud, domain: UUID | None, name: str, place: str, source: str = "") -> None:
    """Mail a token to the user, when there is one with an address who could log in; who asks is told nothing. While one
    is on its way no other is sent. `place`: how the domain was named; `source`: the address from which it is asked. Raises
    Unsupported where no mail is sent, TooMany.
    """
    mail.require(cloud)
    source = failures.source_of(source)
    clock = asyncio.get_running_loop().time
    began = clock()
    async with failures.turn(cloud, f"{ASKED}:{source}"):  # for many may come at once
        await _count(cloud, source)
    await _post(cloud, domain, name, place)
    await asyncio.sleep(began + SAME - clock())


async def _count(cloud: Cloud, source: str) -> None:
    """Whoever is named. Raises TooMany."""
    if not source:
        return
    now = cloud.now()
    async with cloud.view() as look:
        recent = await look.count(PasswordReset, gt("created_at", now - HOUR), source=source)
    if recent >= HOURLY_OF_SOURCE:
        raise TooMany("Too many new passwords were asked for; try again in an hour.")
    async with cloud.transaction(system()) as tx:
        await tx.rows.insert(
            PasswordReset(
                id=cloud.new_id(), user=NIL, token="", source=source, expires_at=now + HOUR, created_at=now
            )
        )


async def _post(cloud: Cloud, domain: UUID | None, name: str, place: str) -> None:
    async with cloud.view() as look:
        user = await look.one(User, domain=domain, name=name) if domain else None
        good = user is not None and await _may(look, user)
    token = str(uuid4())
    now = cloud.now()
    async with cloud.transaction(system()) as tx:
        await tx.rows.delete_where(PasswordReset, lt("expires_at", now))
        if user is None or not good or await tx.maybe(User, user.id) is None:  # locked: one letter
            return
        if await tx.count(PasswordReset, user=user.id):
            return
        lasts = timedelta(seconds=cloud.config.password_reset_seconds)
        await tx.rows.insert(
            PasswordReset(
                id=cloud.new_id(),
                user=user.id,
                token=hashed(user, token),
                expires_at=now + lasts,
                created_at=now,
            )
        )
        text = TEXT.format(
            name=user.first_name or user.name,
            user=user.name,
            link=link(cloud, user.name, place, token),
            minutes=max(1, cloud.config.password_reset_seconds // 60),
        )
        await mail.post(tx, mail.Letter(to=user.email, subject="A new password", text=text))


async def _may(look: Look, user: User) -> bool:
    """Whether a letter is for this user: not for one that shall have no password, or may not change it."""
    if user.source is not Source.SQL or not user.password or user.options.get(options.LOCK_PASSWORD):
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
    after which the token is still good.
    """
    if not password:
        raise Invalid("The new password is empty; choose one.")
    # Counted by the source alone: nobody guesses a token, and strangers' tries must not keep the user waiting.
    await failures.allow(cloud, source=source)
    async with cloud.view() as look:
        found = await _found(look, cloud.now(), domain, name, token)
    if found is None:
        await failures.failed(cloud, reason="wrong token for a new password", source=source)
        raise Wrong
    await password_policy.require_unused(cloud, found[0], password)
    hash_ = await users.hash_chosen(cloud, password)
    async with cloud.transaction(system()) as tx:
        again = await _found(tx, cloud.now(), domain, name, token)
        # Of two that come at once, one finds it gone.
        if again is None or not await tx.rows.delete(PasswordReset, again[1].id):
            raise Wrong
        await _set(tx, again[0], hash_)


async def _found(
    look: Look, now: datetime, domain: UUID | None, name: str, token: str
) -> tuple[User, PasswordReset] | None:
    user = await look.one(User, domain=domain, name=name) if domain else None
    if user is None or not await _may(look, user):
        return None
    held = await look.one(PasswordReset, user=user.id, token=hashed(user, token))
    return (user, held) if held is not None and held.expires_at > now else None


async def _set(tx: Tx, user: User, hashed: str) -> None:
    """As a password that the user chose itself. The tries that went wrong before no longer make it wait."""
    config, now = tx.cloud.config, tx.cloud.now()
    await password_policy.remember(tx, user)
    expires = password_policy.expiry(config, user.options, now, own=True)
    await tx.put(
        msgspec.structs.replace(
            user, password=hashed, password_at=now, own_password=True, password_expires_at=expires
        )
    )
    if not config.lockout_failure_attempts:
        await failures.clear(tx, failures.of_user(user.id))
    await users.end_tokens(tx, user.id)
    await changed(tx)


def hashed(user: User, token: str) -> str:
    """Of the token for the user as it is: with another password or address the letter is good no longer."""
    return hashlib.sha256("\n".join((token, user.email, user.password)).encode()).hexdigest()
