"""Who calls: by a signed request with an API key, or by the session that a login opened."""

import base64
import hashlib
import hmac
from datetime import datetime, timedelta
from http.cookies import CookieError, SimpleCookie
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.errors import Forbidden, Unauthenticated
from pileus.core.identity import domains
from pileus.core.identity.authentication import api_keys, failures, keys, login, revocations, second_factor
from pileus.core.identity.authentication.credential_records import Credential
from pileus.core.identity.authentication.login import ByPassword, Named
from pileus.core.identity.authentication.tokens import WEB_SESSION, Token, new_audit_id
from pileus.core.identity.authorization import access
from pileus.core.identity.authorization.access import Session
from pileus.core.identity.changes import change_count, changed
from pileus.core.identity.percloud import per_cloud
from pileus.core.identity.records import Domain, User
from pileus.faces.cloudstack import permissions, signing, throttling
from pileus.faces.cloudstack.commands import COMMANDS, FACE, Call
from pileus.faces.cloudstack.errors import (
    ACCOUNT,
    ApiError,
    BadCredentials,
    SecondFactorMissing,
    UnknownCommand,
)
from pileus.faces.cloudstack.params import Sent
from pileus.faces.wire import Request

COOKIE, KEY_COOKIE = "JSESSIONID", "sessionkey"
SESSION = "session"
"""In `request.state`: the session of a request that came by one."""
OPENED = frozenset({"password", WEB_SESSION})
"""What stands in the token of every session: it is good in no other face."""
SHOWN = "staticpin"
"""The method that stands in a session's token for any second factor: one that no other face gives out."""
REMEMBERED = 10_000
BEFORE_FACTOR = frozenset(
    {
        "listApis",
        "listIdps",
        "listUserTwoFactorAuthenticatorProviders",
        "setupUserTwoFactorAuthentication",
        "validateUserTwoFactorAuthenticationCode",
    }
)
"""What a session may call that has not shown the second factor it must."""


class Known(msgspec.Struct, frozen=True):
    """A user as it acts in its account."""

    user: User
    secret: str
    caller: Caller
    credential: Credential | None = None

    def good(self, now: datetime) -> bool:
        """Whether the key may still be used; what else may have ended it is a change of identity."""
        return self.credential is None or api_keys.good(self.credential, now)


class Memory:
    """Keys by their access id, with the count of changes of identity at which they were true."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[int, Known]] = {}

    def recall(self, key: str, change: int) -> Known | None:
        held = self._held.get(key)
        return held[1] if held is not None and held[0] == change else None

    def keep(self, key: str, change: int, known: Known) -> None:
        """Who manages a domain reaches projects that are yet to come, and is looked up each time."""
        if known.caller.domain is not None:
            return
        if len(self._held) >= REMEMBERED:
            self._held.clear()
        self._held[key] = (change, known)


memory = per_cloud(lambda cloud: Memory())


async def call_of(request: Request, sent: Sent, pairs: signing.Pairs) -> Call:
    """Raises BadCredentials (401) for every failure, UnknownCommand (432) for what a known caller cannot call."""
    name = sent.get("command", "")
    try:
        if "apikey" in sent:
            known = await by_signature(request.cloud, sent, pairs, request.client)
            if name not in COMMANDS:
                raise BadCredentials
        else:
            known = await by_session(request, sent)
    except (Unauthenticated, Forbidden) as error:
        raise BadCredentials from error
    found = COMMANDS.get(name)
    if found is None:
        raise UnknownCommand(name)
    caller = msgspec.structs.replace(known.caller, request=request.id, trace=request.trace, face=FACE)
    assert caller.project is not None
    call = Call(request, found, sent, known.user, caller, caller.project)
    call.pair = known.credential
    throttling.count(call)
    await permissions.admit(call)
    if SESSION in request.state:
        await refuse_unverified(call)
    return call


async def refuse_unverified(call: Call) -> None:
    """A session that has to show a second factor may call nothing else before. Raises SecondFactorMissing."""
    session: Session = call.request.state[SESSION]
    if SHOWN in session.token.methods or call.name in BEFORE_FACTOR:
        return
    async with call.cloud.view() as look:
        standing = await second_factor.of_session(call.cloud, look, call.user)
    if standing.demanded:
        await end(call.request, session)
        raise SecondFactorMissing(standing.ready)


async def by_signature(cloud: Cloud, sent: Sent, pairs: signing.Pairs, source: str = "") -> Known:
    """A wrong signature counts as a failure of the key, which then has to wait. It does not count for the source, for a
    program that goes on signing wrongly must not keep others there out."""
    if signing.expired(sent.get("signatureversion", ""), sent.get("expires"), cloud.now()):
        raise BadCredentials
    key = sent["apikey"]
    async with cloud.view() as look:
        change = await change_count(look)
    known = memory(cloud).recall(key, change)
    if known is None or not known.good(cloud.now()):
        holder = await api_keys.holder(cloud, key)
        caller = await keys.caller_of(cloud, holder.user)
        known = Known(holder.user, holder.secret, caller, holder.credential)
    failing = failures.of_key(key)
    await failures.allow(cloud, failing)
    if not signing.verify(pairs, known.secret, sent.get("signature", "")):
        reason = f"wrong signature of a request from {source or 'nowhere'}"
        await failures.failed(cloud, failing, reason=reason, user=known.user.id)
        raise BadCredentials
    memory(cloud).keep(key, change, known)
    return known


async def by_session(request: Request, sent: Sent) -> Known:
    """The cookie, and the session key that belongs to it, which other sites' pages cannot know. It comes as a parameter;
    where it comes as a cookie too, that has to be the same."""
    session = await open_session(request.cloud, cookie(request))
    right = session_key(session.token).encode()
    if not hmac.compare_digest(right, sent.get("sessionkey", "").encode()):
        raise BadCredentials
    repeated = cookie(request, KEY_COOKIE)
    if repeated and not hmac.compare_digest(right, repeated.encode()):
        raise BadCredentials
    request.state[SESSION] = session
    return Known(session.user, "", await keys.caller_of(request.cloud, session.user))


async def open_session(cloud: Cloud, text: str) -> Session:
    """Raises Unauthenticated. Only what a login here gives out is a session: no scope, nothing but what is shown here."""
    if not text:
        raise BadCredentials
    session = await access.present(cloud, text, web=True)
    if not OPENED <= set(session.token.methods) <= OPENED | {SHOWN}:
        raise BadCredentials
    return session


def cookie(request: Request, name: str = COOKIE) -> str:
    try:
        jar = SimpleCookie(request.headers.get("cookie", ""))
    except CookieError:
        return ""
    return jar[name].value if name in jar else ""


def session_key(token: Token) -> str:
    """Follows from the first token of the session, so that it stays the same when a second factor is shown."""
    return base64.urlsafe_b64encode(
        hashlib.sha256(f"sessionkey {token.audit[-1]}".encode()).digest()
    ).decode()


def cookies(request: Request, text: str, token: Token) -> tuple[str, str]:
    secure = "; Secure" if request.base_url.startswith("https") else ""
    return (
        f"{COOKIE}={text}; Path=/client; HttpOnly; SameSite=Lax{secure}",
        f"{KEY_COOKIE}={session_key(token)}; Path=/client; HttpOnly; SameSite=Lax{secure}",
    )


async def by_password(
    request: Request, username: str, password: str, domain: UUID | None, path: str
) -> tuple[User, Caller]:
    """Whose password it is, and the caller that it is. Raises ApiError 531, in the same words for every cause."""
    cloud = request.cloud
    try:
        named = Named(name=username, domain=Named(id=domain or UUID(int=0)))
        proof = ByPassword(user=named, password=password, source=request.client)
        user = await login.by_password(cloud, proof)
        async with cloud.view() as look:
            await access.enabled_user(look, user.id)
        caller = await keys.caller_of(cloud, user)
    except (Unauthenticated, Forbidden) as error:
        raise ApiError(
            ACCOUNT,
            f"Failed to authenticate user {username[:100]} in domain {path[:200] or '/'}; "
            "please provide valid credentials",
            exception="CloudAuthenticationException",
        ) from error
    return user, caller


def new_session(cloud: Cloud, user: User) -> Token:
    """Of a user who has been proven."""
    now = cloud.now()
    return Token(
        user=user.id,
        methods=tuple(OPENED),
        audit=(new_audit_id(),),
        issued_at=now,
        expires_at=now + timedelta(seconds=cloud.config.token_seconds),
    )


def verified(token: Token) -> Token:
    """The same session, in which the second factor was shown."""
    audit = (new_audit_id(), token.audit[-1])
    return msgspec.structs.replace(token, methods=(*OPENED, SHOWN), audit=audit)


async def end(request: Request, session: Session) -> None:
    """With what it was before the second factor was shown."""
    caller = msgspec.structs.replace(session.caller, request=request.id, trace=request.trace, face=FACE)
    async with request.cloud.transaction(caller) as tx:
        for audit in session.token.audit:
            await revocations.end_token(tx, session.user.id, audit)
        await changed(tx)


async def domain_at(cloud: Cloud, path: str) -> UUID | None:
    """By a path such as /, ROOT, ROOT/sales or /sales/emea; None when there is none."""
    parts = [part for part in path.split("/") if part]
    if parts and parts[0].upper() == "ROOT":
        parts = parts[1:]
    found: UUID = domains.ROOT
    async with cloud.view() as look:
        for part in parts:
            below = await look.one(Domain, parent=found, name=part)
            if below is None:
                return None
            found = below.id
    return found
