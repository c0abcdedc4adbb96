"""Visitors who make an account of their own: asked for, confirmed from the mailbox, approved where that is wanted.

What is answered to a visitor never tells whether a name or an address is known: that only a letter tells, which goes
to the address itself. What a token proves is hashed like the token it is, so the database cannot be used to confirm.
"""

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from urllib.parse import quote
from uuid import UUID

import msgspec
import structlog

from pileus.core import mail
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Conflict, Forbidden, Invalid, NotFound, TooMany, Unsupported
from pileus.core.identity import users
from pileus.core.identity.authentication import failures, password_policy
from pileus.core.identity.authorization import authority
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import (
    Domain,
    Project,
    User,
)
from pileus.core.identity.tenancy import account_types
from pileus.core.identity.tenancy.registration_records import Invitation, Registration, RegistrationState
from pileus.core.identity.tenancy.tenancy_records import RoleType
from pileus.core.mail import Letter
from pileus.store import gt, lt

log = structlog.get_logger("pileus.login")

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{1,63}")
HOURLY_OF_SOURCE, HOURLY_OF_ADDRESS = 20, 3
"""Registrations that one network address may ask for, and letters that one e-mail address gets."""
HOUR = timedelta(hours=1)
LATER = "Too many registrations were asked for; try again in an hour."
INVITED_FOR = 7
"""Times as long as a confirmation is an invitation good."""
MOST_NAMES = 5
"""Users of one address that a letter names."""


class Register(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    email: str
    password: str
    first_name: str = ""
    last_name: str = ""
    organisation: str = ""
    invitation: str = ""
    """The token of an invitation, where those are needed."""


async def register(cloud: Cloud, want: Register, page: str, *, source: str = "") -> None:
    """Ask for an account; a letter to the address says how to go on at the `page`, or that there is one already.

    Raises Unsupported (closed, or no mail), Invalid, TooMany; for an invitation that is not good, Forbidden.
    """
    require_open(cloud)
    mail.require(cloud)
    mail.address(want.email)
    require_name(want.name)
    password_policy.require_strong(cloud.config, want.password)
    if not want.password:
        raise Invalid("The password is empty; choose one.")
    typed, source = want.email, failures.source_of(source)
    want = msgspec.structs.replace(want, email=want.email.lower())  # one mailbox, however it is typed
    mailbox, place = f"registration for {want.email}", f"registration from {source}"
    async with failures.turn(cloud, mailbox), failures.turn(cloud, place):  # many at once are many in a row
        async with cloud.view() as look:  # before the work that a hash is
            await _refuse_flood(cloud, look, want.email, source)
        hashed = await users.hash_new(cloud, want.password)
        await _keep(cloud, msgspec.structs.replace(want, password=hashed), typed, page, source)
    log.info("registration asked for", source=source)


async def _keep(cloud: Cloud, want: Register, typed: str, page: str, source: str) -> None:
    """With its letter; the password is a hash by now. `typed`: the address as it was written."""
    mode, now = cloud.config.registration, cloud.now()
    token = secrets.token_urlsafe(32)
    async with cloud.transaction() as tx:
        await tx.rows.delete_where(Registration, lt("expires_at", now), state=RegistrationState.UNCONFIRMED)
        await _refuse_flood(cloud, tx, want.email, source)
        invitation = await _invited(tx, want) if want.invitation or mode == "invitation" else None
        domain = invitation.domain if invitation else ROOT
        known = [user.name for user in await tx.list(User, email=(want.email, typed), order=("name",))]
        await tx.add(
            Registration(
                id=cloud.new_id(),
                name=want.name,
                email=want.email,
                password=want.password,
                first_name=want.first_name,
                last_name=want.last_name,
                organisation=want.organisation,
                domain=domain,
                token="" if known else digest(token),
                invitation=invitation.id if invitation else None,
                source=source,
                created_at=now,
                expires_at=now + timedelta(seconds=cloud.config.registration_seconds),
            )
        )
        await mail.post(
            tx, _known(cloud, want, known) if known else _asked(cloud, want, f"{page}#confirm={token}")
        )


def require_open(cloud: Cloud) -> None:
    if cloud.config.registration == "closed":
        raise Unsupported("This cloud takes no registrations; ask its operator for an account.")


def require_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise Invalid(
            "A name has 2 to 64 letters, digits and . _ @ + -, and begins with a letter or digit; choose another."
        )


async def _refuse_flood(cloud: Cloud, look: Look, email: str, source: str) -> None:
    recent = gt("created_at", cloud.now() - HOUR)
    if source and await look.count(Registration, recent, source=source) >= HOURLY_OF_SOURCE:
        raise TooMany(LATER)
    if await look.count(Registration, recent, email=email) >= HOURLY_OF_ADDRESS:
        raise TooMany(LATER)


async def _invited(tx: Tx, want: Register) -> Invitation:
    if not want.invitation:
        raise Forbidden("Registration needs an invitation; use the link of the letter that invited you.")
    found = await _good(tx, want.invitation, tx.cloud.now())
    if found.email.lower() != want.email:
        raise Forbidden(
            "This invitation is for another address; register with the one that the letter was sent to."
        )
    return found


async def invited(cloud: Cloud, token: str) -> Invitation:
    """The invitation that a letter's link means. Raises Forbidden for one that is not good, or no longer."""
    async with cloud.view() as look:
        return await _good(look, token, cloud.now())


async def _good(look: Look, token: str, now: datetime) -> Invitation:
    found = await look.one(Invitation, token=digest(token)) if token else None
    if found is None or found.used or found.expires_at <= now:
        raise Forbidden(
            "This invitation was used already, was withdrawn, or is too old; ask who invited you for another."
        )
    return found


async def confirm(cloud: Cloud, token: str, *, name: str = "") -> Registration:
    """The reader of the mailbox goes on; `name`: another than first asked for, when that is taken.

    Makes the account, or leaves it waiting for approval. Raises NotFound, Conflict when the name is taken, Unsupported
    where registration was closed meanwhile.
    """
    require_open(cloud)
    async with cloud.transaction() as tx:
        found = await tx.one(Registration, token=digest(token)) if token else None
        held = await tx.maybe(Registration, found.id) if found else None  # locked: it makes one account
        if (
            held is None
            or held.state is not RegistrationState.UNCONFIRMED
            or held.expires_at <= tx.cloud.now()
        ):
            raise NotFound("Registration", "with this token", private="token unknown, used or too old")
        held = await _free(tx, held, name)
        await _use_invitation(tx, held)
        if cloud.config.registration == "approval" and held.invitation is None:
            waiting = msgspec.structs.replace(held, state=RegistrationState.WAITING, token="")
            return await tx.put(waiting)
        return await _make(tx, held)


async def _free(tx: Tx, held: Registration, name: str) -> Registration:
    """With the name, where another is given. Raises Conflict when it is taken."""
    if name:
        require_name(name)
        held = msgspec.structs.replace(held, name=name)
    taken = await tx.count(User, domain=held.domain, name=held.name)
    if taken or await tx.count(Project, domain=held.domain, name=held.name):
        raise Conflict(f"The name {held.name} is taken; choose another.")
    return held


async def _use_invitation(tx: Tx, held: Registration) -> None:
    if held.invitation is None:
        return
    invitation = await tx.get(Invitation, held.invitation)
    if invitation.used:
        raise Conflict("The invitation was used already; ask for another.")
    await tx.put(msgspec.structs.replace(invitation, used=True))


async def _make(tx: Tx, held: Registration) -> Registration:
    """The account, its user and the user's role; quota is the default one, for the project has none of its own."""
    account = await account_types.found(
        tx, held.domain, held.name, RoleType.USER, description=held.organisation
    )
    want = users.CreateUser(
        name=held.name,
        domain=held.domain,
        account=account.id,
        default_project=account.id,
        email=held.email,
        first_name=held.first_name,
        last_name=held.last_name,
    )
    user = await users.add(tx, want, held.password, own=True)
    done = msgspec.structs.replace(held, state=RegistrationState.DONE, token="", password="", user=user.id)
    return await tx.put(done)


async def list_all(cloud: Cloud, caller: Caller, *, state: str = "") -> list[Registration]:
    """Those of the domains that the caller manages, newest first."""
    equals = {"state": RegistrationState(state)} if state else {}
    async with cloud.view() as look:
        domain = None if caller.admin else caller.domain
        await authority.require_manages(look, caller, domain, "registration.read")
        if domain is not None:
            equals["domain"] = tuple(await authority.below(look, domain))  # type: ignore[assignment]
        return await look.list(Registration, order=("-created_at",), **equals)


async def approve(cloud: Cloud, caller: Caller, key: UUID, *, name: str = "") -> Registration:
    """Makes the account; `name`: another than was asked for, when that is taken meanwhile (Conflict)."""
    async with cloud.transaction(caller) as tx:
        held = await _free(tx, await _waiting(tx, caller, key, "registration.approve"), name)
        made = await _make(tx, held)
        await mail.post(tx, _welcome(cloud, held))
    return made


async def refuse(cloud: Cloud, caller: Caller, key: UUID, reason: str) -> Registration:
    """The reason is told to the visitor."""
    async with cloud.transaction(caller) as tx:
        held = await _waiting(tx, caller, key, "registration.refuse")
        refused = msgspec.structs.replace(
            held, state=RegistrationState.REFUSED, reason=reason, password="", token=""
        )
        await tx.put(refused)
        await mail.post(tx, _refused(cloud, held, reason))
    return refused


async def _waiting(tx: Tx, caller: Caller, key: UUID, verb: str) -> Registration:
    held = await tx.maybe(Registration, key)
    await authority.require_manages(tx, caller, held.domain if held else None, verb)
    if held is None:
        raise NotFound("Registration", key)
    if held.state is not RegistrationState.WAITING:
        raise Conflict(
            f"The registration of {held.name} is {held.state}; only those that wait can be decided."
        )
    return held


async def invite(cloud: Cloud, caller: Caller, email: str, page: str, domain: UUID = ROOT) -> Invitation:
    """Leave for one address to register; the letter holds the link to the `page`."""
    mail.require(cloud)
    email = mail.address(email).lower()
    if cloud.config.registration == "closed":
        raise Unsupported("This cloud takes no registrations; set `registration` to invitation first.")
    token = secrets.token_urlsafe(32)
    now = cloud.now()
    async with cloud.transaction(caller) as tx:
        await authority.require_manages(tx, caller, domain, "invitation.create")
        await tx.get(Domain, domain)
        good = timedelta(seconds=INVITED_FOR * cloud.config.registration_seconds)
        made = await tx.add(
            Invitation(
                id=cloud.new_id(),
                email=email,
                domain=domain,
                token=digest(token),
                created_at=now,
                expires_at=now + good,
            )
        )
        await mail.post(tx, _invitation(cloud, email, f"{page}#invitation={token}&email={quote(email)}"))
    return made


async def invitations(cloud: Cloud, caller: Caller) -> list[Invitation]:
    equals: dict[str, object] = {}
    async with cloud.view() as look:
        domain = None if caller.admin else caller.domain
        await authority.require_manages(look, caller, domain, "invitation.read")
        if domain is not None:
            equals["domain"] = tuple(await authority.below(look, domain))
        return await look.list(Invitation, order=("-created_at",), **equals)


async def withdraw(cloud: Cloud, caller: Caller, key: UUID) -> None:
    async with cloud.transaction(caller) as tx:
        held = await tx.maybe(Invitation, key)
        await authority.require_manages(tx, caller, held.domain if held else None, "invitation.delete")
        if held is None:
            raise NotFound("Invitation", key)
        await tx.remove(held)


def digest(token: str) -> str:
    """Tokens are long and random: a fast hash keeps them."""
    return hashlib.sha256(token.encode()).hexdigest()


def _asked(cloud: Cloud, want: Register, link: str) -> Letter:
    return Letter(
        to=want.email,
        subject="Confirm your registration",
        text=f"Somebody, probably you, asked for an account at {cloud.config.url} with this address.\n"
        f"To confirm, open this link:\n\n{link}\n\n"
        f"The link is good for {lasting(cloud.config.registration_seconds)}, and once. "
        "If it was not you, do nothing: no account is made.\n",
    )


def _known(cloud: Cloud, want: Register, names: list[str]) -> Letter:
    return Letter(
        to=want.email,
        subject="You have an account already",
        text=f"Somebody, probably you, asked for an account at {cloud.config.url} with this address, which has one.\n"
        f"Log in as {' or '.join(names[:MOST_NAMES])}; if you forgot the password, choose a new one:\n\n"
        f"{cloud.config.password_page}\n\n"
        "If it was not you, do nothing.\n",
    )


def _welcome(cloud: Cloud, held: Registration) -> Letter:
    return Letter(
        to=held.email,
        subject="Your account is ready",
        text=f"Your account at {cloud.config.url} was approved. Log in as {held.name}, with the password you chose.\n",
    )


def _refused(cloud: Cloud, held: Registration, reason: str) -> Letter:
    return Letter(
        to=held.email,
        subject="Your registration was refused",
        text=f"Your registration at {cloud.config.url} was refused: {reason}\n",
    )


def _invitation(cloud: Cloud, email: str, link: str) -> Letter:
    return Letter(
        to=email,
        subject="You are invited",
        text=f"You are invited to make an account at {cloud.config.url}. Open this link:\n\n{link}\n\n"
        f"It is good for {lasting(INVITED_FOR * cloud.config.registration_seconds)}, and for this address.\n",
    )


def lasting(seconds: int) -> str:
    """In words, rounded down."""
    for unit, length in (("days", 172_800), ("hours", 7200), ("minutes", 120)):
        if seconds >= length:
            return f"{seconds // (length // 2)} {unit}"
    return f"{seconds} seconds"
