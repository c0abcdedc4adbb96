"""Programs that act for users who let them (OAuth 1.0): consumers, the tokens they ask for, and what users gave them."""

import hmac
import secrets
import string
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Invalid, NotFound
from pileus.core.identity import departures
from pileus.core.identity.authentication import secrets as vault
from pileus.core.identity.authentication.credential_records import AccessToken, Consumer, RequestToken
from pileus.core.identity.authentication.login import Vouched
from pileus.core.identity.authentication.tokens import refused
from pileus.core.identity.authorization import authority
from pileus.core.identity.authorization.holding import effective
from pileus.core.identity.changes import changed, given
from pileus.core.identity.delegation import signed_requests
from pileus.core.identity.delegation.signed_requests import Parameters, Signed, wrong
from pileus.core.identity.records import Project, Role, Scope, User

VERIFIER = 8
"""Characters of what a user hands to the program, for it may be typed."""
LETTERS = "".join(sorted(set(string.ascii_letters + string.digits) - set("jiIl1oO0")))
CONSUMER: departures.Parts = ((RequestToken, "consumer"), (AccessToken, "consumer"))


class CreateConsumer(msgspec.Struct, frozen=True, kw_only=True):
    description: str = ""
    extra: Mapping[str, Any] = {}


class UpdateConsumer(msgspec.Struct, frozen=True, kw_only=True):
    """`extra` is put over what is there."""

    description: str | UnsetType = UNSET
    extra: Mapping[str, Any] | UnsetType = UNSET


class Handed(msgspec.Struct, frozen=True):
    """A key, its plain secret (which is shown this once), and until when it is good (None: for ever)."""

    id: UUID
    secret: str
    expires_at: datetime | None


class RoleName(msgspec.Struct, frozen=True, kw_only=True):
    """A role by its id or its name."""

    id: UUID | None = None
    name: str = ""


# --- consumers


async def create_consumer(cloud: Cloud, caller: Caller, want: CreateConsumer) -> tuple[Consumer, str]:
    """The consumer and its secret."""
    caller.require_admin("consumer.create")
    secret = secrets.token_hex(16)
    async with cloud.transaction(caller) as tx:
        made = await tx.add(
            Consumer(
                id=cloud.new_id(),
                secret=vault.of(cloud).encrypt(secret),
                description=want.description,
                extra=dict(want.extra),
                created_at=cloud.now(),
            )
        )
    return made, secret


async def list_consumers(cloud: Cloud, caller: Caller) -> list[Consumer]:
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "consumer.read")
        return await look.list(Consumer, order=("created_at",))


async def show_consumer(cloud: Cloud, caller: Caller, key: UUID) -> Consumer:
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "consumer.read")
        return await look.get(Consumer, key)


async def update_consumer(cloud: Cloud, caller: Caller, key: UUID, want: UpdateConsumer) -> Consumer:
    caller.require_admin("consumer.update")
    values = given(want)
    async with cloud.transaction(caller) as tx:
        held = await tx.get(Consumer, key)
        if "extra" in values:
            values["extra"] = {**held.extra, **values["extra"]}
        return await tx.put(replace(held, **values))


async def delete_consumer(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """With every token that it was given: what it does by them ends at once."""
    caller.require_admin("consumer.delete")
    async with cloud.transaction(caller) as tx:
        held = await tx.get(Consumer, key)
        await departures.clear(tx, CONSUMER, key)
        await tx.remove(held)
        await changed(tx)


# --- from a request to an access token


async def ask(cloud: Cloud, signed: Signed, project: UUID) -> Handed:
    """A request token, for a user to authorize: the program shall act in the project."""
    said = signed_requests.read(signed)
    consumer = await _consumer(cloud, said)
    await signed_requests.verify(cloud, signed, said, _plain(cloud, consumer.secret), "")
    secret, now = secrets.token_hex(16), cloud.now()
    async with cloud.transaction() as tx:
        await tx.get(Project, project)
        made = await tx.add(
            RequestToken(
                id=cloud.new_id(),
                consumer=consumer.id,
                secret=vault.of(cloud).encrypt(secret),
                project=project,
                expires_at=_end(now, cloud.config.oauth_request_seconds),
                created_at=now,
            )
        )
    return Handed(made.id, secret, made.expires_at)


async def authorize(cloud: Cloud, caller: Caller, key: UUID, roles: Sequence[RoleName]) -> str:
    """The caller lets the program have these of its roles. Returns what to tell the program."""
    verifier = "".join(secrets.choice(LETTERS) for _ in range(VERIFIER))
    if not roles:
        raise Invalid("Name at least one role that the program shall have.")
    async with cloud.transaction(caller) as tx:
        held = await _request(tx, key, cloud.now())
        wanted = {await _role(tx, role) for role in roles}
        has = {role.id for role in await effective(tx, caller.user, Scope.PROJECT, held.project)}
        if not wanted <= has:
            raise wrong("The authorizing user does not have every role that it would give.")
        hidden = vault.of(cloud).encrypt(verifier)
        await tx.put(replace(held, user=caller.user, roles=tuple(sorted(wanted)), verifier=hidden))
    return verifier


async def exchange(cloud: Cloud, signed: Signed) -> Handed:
    """An access token for a request token that a user authorized; it is good once."""
    said = signed_requests.read(signed)
    if not said.token or not said.verifier:
        missing = "oauth_verifier" if said.token else "oauth_token"
        raise Invalid(f"Expecting to find {missing} in the header Authorization.")
    now = cloud.now()
    async with cloud.view() as look:
        asked = await _request(look, _key(said.token, "Request token"), now)
    consumer = await _consumer(cloud, said)
    if asked.consumer != consumer.id:
        raise wrong("The request token was given to another consumer.")
    plain = vault.of(cloud).decrypt
    await signed_requests.verify(cloud, signed, said, plain(consumer.secret), plain(asked.secret))
    secret = secrets.token_hex(16)
    async with cloud.transaction() as tx:
        asked = await _request(tx, asked.id, now)
        if asked.user is None or not hmac.compare_digest(
            plain(asked.verifier).encode(), said.verifier.encode()
        ):
            raise wrong("The verifier is not the one of the request token, or no user has authorized it.")
        made = await tx.add(
            AccessToken(
                id=cloud.new_id(),
                consumer=asked.consumer,
                secret=vault.of(cloud).encrypt(secret),
                user=asked.user,
                project=asked.project,
                roles=asked.roles,
                expires_at=_end(now, cloud.config.oauth_access_seconds),
                created_at=now,
            )
        )
        await tx.remove(asked)
    return Handed(made.id, secret, made.expires_at)


async def prove(cloud: Cloud, signed: Signed) -> Vouched:
    """The user for whom the program acts that signed this with an access token. Raises Unauthenticated, Invalid."""
    said = signed_requests.read(signed)
    if not said.token:
        raise Invalid("Expecting to find oauth_token in the header Authorization.")
    async with cloud.view() as look:
        token = await look.maybe(AccessToken, _key(said.token, "Access token"))
        consumer = await look.maybe(Consumer, token.consumer) if token else None
        user = await look.maybe(User, token.user) if token else None
    if token is None or consumer is None or user is None or consumer.id.hex != said.consumer:
        raise refused("access token is unknown, or of another consumer")
    if token.expires_at is not None and token.expires_at <= cloud.now():
        raise refused("access token expired")
    plain = vault.of(cloud).decrypt
    await signed_requests.verify(cloud, signed, said, plain(consumer.secret), plain(token.secret))
    return Vouched(
        user=user,
        methods=("oauth1",),
        access_token=token.id,
        project=token.project,
        expires_at=token.expires_at,
    )


async def _consumer(cloud: Cloud, said: Parameters) -> Consumer:
    async with cloud.view() as look:
        return await look.get(Consumer, _key(said.consumer, "Consumer"))


async def _request(look: Look, key: UUID, now: datetime) -> RequestToken:
    """Raises NotFound, and Unauthenticated when it has expired."""
    held = await look.maybe(RequestToken, key)
    if held is None:
        raise NotFound("Request token", key.hex)
    if held.expires_at is not None and held.expires_at <= now:
        raise wrong("The request token has expired.")
    return held


async def _role(tx: Tx, named: RoleName) -> UUID:
    if named.id is not None:
        return (await tx.get(Role, named.id)).id
    found = await tx.list(Role, name=named.name, domain=None)
    if not found:
        raise NotFound("Role", named.name[:64])
    return found[0].id


def _key(text: str, what: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(what, text[:64]) from None


def _plain(cloud: Cloud, hidden: str) -> str:
    return vault.of(cloud).decrypt(hidden)


def _end(now: datetime, seconds: int) -> datetime | None:
    return now + timedelta(seconds=seconds) if seconds else None


# --- what a user gave


async def list_access(cloud: Cloud, caller: Caller, user: UUID) -> list[AccessToken]:
    async with cloud.view() as look:
        await _require(look, caller, user, "access_token.read")
        return await look.list(AccessToken, user=user, order=("created_at",))


async def show_access(cloud: Cloud, caller: Caller, user: UUID, key: UUID) -> AccessToken:
    async with cloud.view() as look:
        await _require(look, caller, user, "access_token.read")
        return await _given(look, user, key)


async def roles_of(cloud: Cloud, caller: Caller, user: UUID, key: UUID) -> list[Role]:
    """The roles that the access token gives, but for those that are gone."""
    async with cloud.view() as look:
        await _require(look, caller, user, "access_token.read")
        token = await _given(look, user, key)
        return await look.list(Role, id=token.roles, order=("name",)) if token.roles else []


async def revoke(cloud: Cloud, caller: Caller, user: UUID, key: UUID) -> None:
    """The program may no longer act for the user, nor by tokens that it got before."""
    async with cloud.transaction(caller) as tx:
        await _require(tx, caller, user, "access_token.delete")
        await tx.remove(await _given(tx, user, key))
        await changed(tx)


async def _require(look: Look, caller: Caller, user: UUID, verb: str) -> None:
    owner = await look.maybe(User, user)
    if caller.user != user:
        await authority.require_manages_user(look, caller, owner, verb)
    if owner is None:
        raise NotFound("User", user.hex)


async def _given(look: Look, user: UUID, key: UUID) -> AccessToken:
    found = await look.maybe(AccessToken, key)
    if found is None or found.user != user:
        raise NotFound("Access token", key.hex)
    return found
