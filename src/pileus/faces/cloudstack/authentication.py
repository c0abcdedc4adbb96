"""Who calls: by a signed request with an API key, or by the session that a login opened."""

import base64
import hashlib
import hmac
from datetime import timedelta
from http.cookies import CookieError, SimpleCookie
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.errors import Forbidden, Unauthenticated
from pileus.core.identity import access, domains, keys, login
from pileus.core.identity.access import Session
from pileus.core.identity.changes import change_count
from pileus.core.identity.login import ByPassword, Named
from pileus.core.identity.percloud import per_cloud
from pileus.core.identity.records import Domain, User
from pileus.core.identity.tokens import Token, new_audit_id
from pileus.core.identity.tokens import of as tokens_of
from pileus.faces.cloudstack import signing
from pileus.faces.cloudstack.commands import COMMANDS, FACE, Call
from pileus.faces.cloudstack.errors import ACCOUNT, ApiError, BadCredentials, UnknownCommand
from pileus.faces.cloudstack.params import Sent
from pileus.faces.wire import Request

COOKIE = "JSESSIONID"
REMEMBERED = 10_000


class Known(msgspec.Struct, frozen=True):
    """A user as it acts in its account."""

    user: User
    secret: str
    caller: Caller


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
            known = await by_signature(request.cloud, sent, pairs)
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
    if not found.allows(call.role):
        raise UnknownCommand(name)
    return call


async def by_signature(cloud: Cloud, sent: Sent, pairs: signing.Pairs) -> Known:
    if signing.expired(sent.get("signatureversion", ""), sent.get("expires"), cloud.now()):
        raise BadCredentials
    key = sent["apikey"]
    async with cloud.view() as look:
        change = await change_count(look)
    known = memory(cloud).recall(key, change)
    if known is None:
        user, secret = await login.by_api_key(cloud, key)
        known = Known(user, secret, await keys.caller_of(cloud, user))
    if not signing.verify(pairs, known.secret, sent.get("signature", "")):
        raise BadCredentials
    memory(cloud).keep(key, change, known)
    return known


async def by_session(request: Request, sent: Sent) -> Known:
    """The cookie, and the session key that belongs to it, which other sites' pages cannot know."""
    text = cookie(request)
    if not text or not hmac.compare_digest(session_key(text), sent.get("sessionkey", "")):
        raise BadCredentials
    session = await open_session(request.cloud, text)
    return Known(session.user, "", await keys.caller_of(request.cloud, session.user))


async def open_session(cloud: Cloud, text: str) -> Session:
    """Raises Unauthenticated. Only what a login here gives out is a session: no scope, nothing but a password."""
    session = await access.present(cloud, text)
    token = session.token
    if token.scope is not None or token.methods != ("password",) or session.application_credential:
        raise BadCredentials
    return session


def cookie(request: Request) -> str:
    try:
        jar = SimpleCookie(request.headers.get("cookie", ""))
    except CookieError:
        return ""
    return jar[COOKIE].value if COOKIE in jar else ""


def session_key(text: str) -> str:
    """Follows from the cookie and says nothing of it."""
    return base64.urlsafe_b64encode(hashlib.sha256(f"sessionkey {text}".encode()).digest()).decode()


async def open_by_password(cloud: Cloud, username: str, password: str, path: str) -> tuple[User, str]:
    """The user, and a new session's cookie. Raises ApiError 531, in the same words for every cause."""
    try:
        domain = await domain_at(cloud, path)
        named = Named(name=username, domain=Named(id=domain or UUID(int=0)))
        user = await login.by_password(cloud, ByPassword(user=named, password=password))
    except Unauthenticated as error:
        raise ApiError(
            ACCOUNT,
            f"Failed to authenticate user {username[:100]} in domain {path[:200] or '/'}; "
            "please provide valid credentials",
            exception="CloudAuthenticationException",
        ) from error
    now = cloud.now()
    token = Token(
        user=user.id,
        methods=("password",),
        audit=(new_audit_id(),),
        issued_at=now,
        expires_at=now + timedelta(seconds=cloud.config.token_seconds),
    )
    return user, tokens_of(cloud).issue(token)


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
