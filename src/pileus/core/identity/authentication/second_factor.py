"""What a user shows at a login besides the password: a code of an authenticator program, or a pin.

It is set up in CloudStack's API and guards the logins of people in all of them. A session there shows it after the
password; a token of Keystone is given for the methods `password` and `totp` together (`required`, `check`).
"""

import base64
import hmac
import secrets
from collections.abc import Set
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Conflict, Invalid, Unauthenticated
from pileus.core.identity.authentication import codes, failures, receipts
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.records import User
from pileus.core.identity.tenancy import account_users
from pileus.core.identity.tenancy.tenancy_records import SecondFactor

TOTP, PIN = "totp", "staticpin"
PROVIDERS = (TOTP, PIN)
KEY_BYTES = 20
PIN_DIGITS = 6
BY_PEOPLE = frozenset({"password", "totp"})
"""Methods of a login by what a person knows and holds; where a factor is due, both of them. All others prove themselves:
a secret that was made for a program or for signing, a token, the word of an identity provider."""


SETTING_UP: list[str] = []
"""How people set one up, as the faces that let them say it; each adds its own."""


class SetupMissing(Unauthenticated):
    """The password is right, and a second factor is demanded that the user has not set up."""

    def __init__(self, user: User) -> None:
        super().__init__(
            f"A second factor is demanded of user {user.id.hex} and none is set up: {setting_up()}, then log in "
            "here with the methods password and totp.",
            private="a second factor is demanded and none is set up",
        )


def setting_up() -> str:
    return ", or ".join(SETTING_UP) or "set one up"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """`ready`: it was set up and shown right once. `demanded`: no session does without it, set up or not."""

    provider: str = ""
    ready: bool = False
    demanded: bool = False


async def of(cloud: Cloud, look: Look, user: UUID) -> Standing:
    return (await of_users(cloud, look, [user]))[user]


async def of_users(cloud: Cloud, look: Look, users: list[UUID]) -> dict[UUID, Standing]:
    """By user, in one query."""
    rows = {held.user: held for held in await look.list(SecondFactor, user=tuple(users))} if users else {}
    return {user: _standing(cloud, rows.get(user)) for user in users}


async def of_session(cloud: Cloud, look: Look, user: User) -> Standing:
    """What a session that was opened by less has to show. Without a factor that is ready: a code of a credential of the type
    `totp`, where a factor is demanded or the user's own rules ask for more than a password; `ready` then too, so that
    the password alone sets up no factor beside it."""
    standing = await of(cloud, look, user.id)
    ruled = receipts.asks_more(user)
    if standing.ready or not (standing.demanded or ruled):
        return standing
    if ruled or await codes.held(look, user.id):
        return Standing(provider=TOTP, ready=True, demanded=True)
    return standing


def mandatory(cloud: Cloud) -> bool:
    return cloud.config.second_factor and cloud.config.second_factor_mandatory


async def required(
    cloud: Cloud, user: User, proven: Set[str], shown: Set[str], source: str = ""
) -> frozenset[str]:
    """The methods that must have been shown for a token of Keystone: BY_PEOPLE where a factor is due, else none.

    `proven`: the methods of this request; `shown`: with those of its receipt. A credential of the type `totp` serves as
    well as the factor. Raises SetupMissing when there is neither, and logs it.
    """
    if not cloud.config.second_factor or not proven <= BY_PEOPLE:
        return frozenset()
    async with cloud.view() as look:
        standing = await of(cloud, look, user.id)
        if not standing.demanded:
            return frozenset()
        if standing.ready or TOTP in shown or await codes.held(look, user.id):
            return BY_PEOPLE
    failures.refusal(
        f"a second factor is demanded of the user and none is set up; {setting_up()}", source, user.id
    )
    raise SetupMissing(user)


def _standing(cloud: Cloud, held: SecondFactor | None) -> Standing:
    ready = held is not None and held.confirmed
    wanted = ready or mandatory(cloud) or (held is not None and held.demanded)
    return Standing(provider=held.provider if held else "", ready=ready, demanded=wanted)


async def set_up(cloud: Cloud, caller: Caller, provider: str = "") -> str:
    """The secret of a new factor of the caller: the key of an authenticator program in base32, or the pin. It counts when
    it was shown right once. Raises Conflict where there are none, or beside one that counts already: until the new one
    was shown neither would guard the user. Raises Invalid.
    """
    if not cloud.config.second_factor:
        raise Conflict("2FA is not enabled for this domain or at global level")
    provider = (provider or cloud.config.second_factor_provider).lower()
    if provider not in PROVIDERS:
        raise Invalid(f"Failed to find two factor authentication provider by the name: {provider[:40]}.")
    secret = (
        base64.b32encode(secrets.token_bytes(KEY_BYTES)).decode()
        if provider == TOTP
        else f"{secrets.randbelow(10**PIN_DIGITS):0{PIN_DIGITS}d}"
    )
    hidden = vault.of(cloud).encrypt(secret)
    async with cloud.transaction(caller) as tx:
        held = await tx.maybe(SecondFactor, caller.user)
        if held is not None and held.confirmed:
            raise Conflict("A second factor is set up already; take it away first, by enable=false.")
        made = SecondFactor(
            user=caller.user,
            provider=provider,
            secret=hidden,
            demanded=held.demanded if held else False,
            created_at=cloud.now(),
        )
        await tx.rows.put(made)
    return secret


async def drop(cloud: Cloud, caller: Caller, user: UUID | None = None) -> User:
    """The caller's own factor, or one of a user that it has power over. What is demanded stays so. May be repeated."""
    key = user or caller.user
    async with cloud.transaction(caller) as tx:
        held = await account_users.own_or_managed(tx, caller, key, "user.update")
        await _forget(tx, key)
    return held


async def demand(cloud: Cloud, caller: Caller, user: UUID, wanted: bool) -> None:
    """Whether the user must have one; of whom it was demanded no more, what it has stays. May be repeated."""
    async with cloud.transaction(caller) as tx:
        await account_users.managed(tx, caller, user, "user.update")
        held = await tx.maybe(SecondFactor, user)
        if held is not None:
            await tx.rows.put(msgspec.structs.replace(held, demanded=wanted))
            if not wanted and not held.provider:
                await tx.rows.delete(SecondFactor, user)
        elif wanted:
            await tx.rows.put(
                SecondFactor(user=user, provider="", secret="", demanded=True, created_at=cloud.now())
            )


async def begin(cloud: Cloud, user: User) -> Standing:
    """At a login: what was set up and never shown right is forgotten, for who did so may have lost it."""
    async with cloud.view() as look:
        held = await look.maybe(SecondFactor, user.id)
        standing = await of_session(cloud, look, user)
    if held is None or not held.provider or held.confirmed:
        return standing
    async with cloud.transaction() as tx:
        held = await tx.maybe(SecondFactor, user.id)
        if held is not None and not held.confirmed:
            await _forget(tx, user.id)
        return await of_session(cloud, tx, user)


async def show(cloud: Cloud, user: User, given: str, source: str = "") -> str:
    """The provider whose code or pin this is; no code is taken twice. Who has set up none shows a code of a credential of
    the type `totp`. A wrong one during the setup ends that. Raises Unauthenticated, Conflict when there is nothing to be shown.
    """
    async with failures.turn(cloud, failures.of_factor(user.id)):
        return await _shown(cloud, user, given, source)


async def _shown(cloud: Cloud, user: User, given: str, source: str) -> str:
    key = failures.of_factor(user.id)
    await failures.allow(cloud, key, source=source, user=user.id)
    async with cloud.transaction() as tx:
        held = await tx.maybe(SecondFactor, user.id)
        own = held is not None and bool(held.provider)
        if held is None or not own:
            if not await codes.held(tx, user.id):
                raise Conflict(f"Two factor authentication is not enabled on the user: {user.name}")
            right = await codes.take(tx, user.id, given)
        elif right := await _take(tx, held, given):
            await codes.take(tx, user.id, given)  # where the same key is a credential too
        elif not held.confirmed:
            await _forget(tx, user.id)
    if not right:
        raise await _refused(cloud, key, source, user)
    await failures.allow(cloud, key, source=source, user=user.id)
    await failures.succeeded(cloud, key)
    return held.provider if held is not None and own else TOTP


async def check(cloud: Cloud, user: User | None, given: str, source: str = "") -> User:
    """The user, whose factor that is ready (a code, or the pin) or of whose credentials of the type `totp` one gives this
    now; no code is taken twice. Raises Unauthenticated, also for nobody.

    The caller sees to whether the user and its domain are enabled.
    """
    key = failures.of_factor(user.id if user else UUID(int=0))
    who = user.id if user else None
    async with failures.turn(cloud, key):
        await failures.allow(cloud, key, source=source, user=who)
        if user is None or not await _given(cloud, user.id, given):
            raise await failures.failed(
                cloud, key, reason="wrong one-time code or pin", source=source, user=who
            )
        await failures.allow(cloud, key, source=source, user=who)
        await failures.succeeded(cloud, key)
    return user


async def _given(cloud: Cloud, user: UUID, given: str) -> bool:
    """In one transaction, for two may come at once. Each is asked, lest a code be good again in another."""
    async with cloud.transaction() as tx:
        held = await tx.maybe(SecondFactor, user)
        ready = cloud.config.second_factor and held is not None and held.confirmed
        by_factor = held is not None and ready and await _take(tx, held, given)
        by_credential = await codes.take(tx, user, given)
    return by_factor or by_credential


async def _take(tx: Tx, held: SecondFactor, given: str) -> bool:
    secret = vault.of(tx.cloud).decrypt(held.secret)
    step: int | None = held.last_step
    if held.provider == TOTP:
        step = codes.step_of(codes.secret_of(secret) or b"", given, tx.cloud.now(), held.last_step)
        right = step is not None
    else:
        right = hmac.compare_digest(secret.encode(), given.encode())
    if right:
        await tx.rows.put(msgspec.structs.replace(held, confirmed=True, last_step=step))
    return right


async def _refused(cloud: Cloud, key: str, source: str, user: User) -> Unauthenticated:
    return await failures.failed(cloud, key, reason="wrong second factor", source=source, user=user.id)


async def _forget(tx: Tx, user: UUID) -> None:
    held = await tx.maybe(SecondFactor, user)
    if held is not None and held.demanded:
        await tx.rows.put(msgspec.structs.replace(held, provider="", secret="", confirmed=False, last_step=0))
    else:
        await tx.rows.delete(SecondFactor, user)
