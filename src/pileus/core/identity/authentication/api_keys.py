"""The key pairs with which a user signs requests of CloudStack's API: the one that every user may have, and further
ones with a name, a time in which they are good, and rules on what they may call."""

import hmac
import secrets
from datetime import datetime
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Exists, Invalid, NotFound
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.authentication.credential_records import CLOUDSTACK, Credential, KeyRule
from pileus.core.identity.authentication.credentials import KeyPair
from pileus.core.identity.authentication.tokens import refused
from pileus.core.identity.authorization import access
from pileus.core.identity.authorization.homes import home
from pileus.core.identity.changes import changed
from pileus.core.identity.records import Project, User
from pileus.core.identity.tenancy import account_users
from pileus.core.identity.tenancy.rule_lists import checked

BYTES = 64


class Holder(msgspec.Struct, frozen=True):
    """Whose key it is, and the secret with which the request is signed."""

    user: User
    credential: Credential
    secret: str


class NewPair(msgspec.Struct, frozen=True, kw_only=True):
    """`starts_at` and `ends_at`: between these it is good; None: without end. `rules`: in order; none: all that its user
    may."""

    name: str
    description: str = ""
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    rules: tuple[KeyRule, ...] = ()


async def holder(cloud: Cloud, key: str) -> Holder:
    """Raises Unauthenticated, also for a key that is not good now, and where keys are not taken."""
    async with cloud.view() as look:
        credential = await look.one(Credential, access=key)
        if credential is None or credential.kind != CLOUDSTACK or not good(credential, cloud.now()):
            raise refused("no such key, or not good now")
        user, _ = await access.enabled_user(look, credential.user)
        if not await taken(look, user):
            raise refused("keys are not taken of this user")
    return Holder(user, credential, vault.of(cloud).decrypt(credential.secret))


def good(credential: Credential, now: datetime) -> bool:
    begun = credential.starts_at is None or credential.starts_at <= now
    return credential.enabled and begun and (credential.ends_at is None or now < credential.ends_at)


async def taken(look: Look, user: User) -> bool:
    """Whether the user's keys are taken: as is said of it, or else of its account."""
    if user.api_access is not None:
        return user.api_access
    account = await look.maybe(Project, user.account) if user.account else None
    return account is None or account.api_access is not False


async def create(cloud: Cloud, caller: Caller, user: UUID, want: NewPair) -> KeyPair:
    """A further pair. Raises Invalid for times that make no sense and for rules that are none, NotFound."""
    now = cloud.now()
    for each in want.rules:
        checked(each.rule)
    if want.ends_at is not None and want.ends_at <= now:
        raise Invalid("Keypair cannot be created with expired date, please input a date in the future.")
    if want.starts_at is not None and want.ends_at is not None and want.starts_at >= want.ends_at:
        raise Invalid("Please specify an end date that is after the start date.")
    key, secret = secrets.token_urlsafe(BYTES), secrets.token_urlsafe(BYTES)
    async with cloud.transaction(caller) as tx:
        owner = await account_users.own_or_managed(tx, caller, user, "credential.create")
        credential = await tx.add(
            Credential(
                id=cloud.new_id(),
                kind=CLOUDSTACK,
                user=user,
                project=await home(tx, owner),
                access=key,
                secret=vault.of(cloud).encrypt(secret),
                created_at=now,
                name=want.name,
                description=want.description,
                starts_at=want.starts_at,
                ends_at=want.ends_at,
                rules=want.rules,
            )
        )
        await changed(tx)
    return KeyPair(credential, secret)


async def put(cloud: Cloud, caller: Caller, user: UUID, key: str, secret: str) -> None:
    """Set the user's own pair to one that was made elsewhere. Raises Exists, Invalid."""
    async with cloud.transaction(caller) as tx:
        owner = await account_users.own_or_managed(tx, caller, user, "credential.update")
        held = await free(tx, user, key, secret) or await latest(tx, user)
        hidden = vault.of(cloud).encrypt(secret)
        if held is not None:
            await tx.put(msgspec.structs.replace(held, access=key, secret=hidden))
        else:
            await tx.add(
                Credential(
                    id=cloud.new_id(),
                    kind=CLOUDSTACK,
                    user=user,
                    project=await home(tx, owner),
                    access=key,
                    secret=hidden,
                    created_at=cloud.now(),
                )
            )
        await changed(tx)


async def free(look: Look, user: UUID, key: str, secret: str) -> Credential | None:
    """The user's pair of this key, if it is one. Raises Exists for another's, Invalid."""
    if not key or not secret:
        raise Invalid("Please provide a valid API and secret key pair.")
    held = await look.one(Credential, access=key)
    if held is not None and (held.user != user or held.kind != CLOUDSTACK):
        raise Exists("This API key exists already; choose another.")
    return held


async def latest(look: Look, user: UUID) -> Credential | None:
    """The pair that is meant where none is named: that without a name, or else the newest."""
    pairs = await look.list(Credential, user=user, kind=CLOUDSTACK, order=("-created_at",))
    return next((pair for pair in pairs if not pair.name), pairs[0] if pairs else None)


async def show(cloud: Cloud, caller: Caller, user: UUID) -> tuple[KeyPair | None, bool]:
    """The user's pair, and whether keys are taken of it. Raises NotFound."""
    async with cloud.view() as look:
        owner = await account_users.own_or_managed(look, caller, user, "credential.read")
        pair = await latest(look, user)
        return (opened(cloud, pair) if pair else None), await taken(look, owner)


async def find(look: Look, caller: Caller, *, id: UUID | None = None, key: str = "") -> Credential:
    """A pair that the caller has power over. Raises NotFound."""
    held = await look.maybe(Credential, id) if id is not None else await look.one(Credential, access=key)
    if held is None or held.kind != CLOUDSTACK or (key and not hmac.compare_digest(held.access or "", key)):
        raise NotFound("Key pair", id or key)
    try:
        await account_users.own_or_managed(look, caller, held.user, "credential.read")
    except NotFound:
        raise NotFound("Key pair", id or key) from None
    return held


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """Requests signed with it are refused from now on."""
    async with cloud.transaction(caller) as tx:
        await tx.remove(await find(tx, caller, id=key))
        await changed(tx)


def opened(cloud: Cloud, credential: Credential) -> KeyPair:
    return KeyPair(credential, vault.of(cloud).decrypt(credential.secret))
