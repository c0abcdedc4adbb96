"""login and logout: a session in a cookie, and the session key that every further request repeats; and new passwords for
those who have forgotten theirs."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pileus.core.caller import Caller
from pileus.core.errors import Unauthenticated
from pileus.core.identity.authentication import password_resets, second_factor, token_store
from pileus.core.identity.records import Project, User
from pileus.core.identity.tenancy import account_types
from pileus.faces.cloudstack.authentication import (
    COOKIE,
    KEY_COOKIE,
    by_password,
    cookie,
    cookies,
    domain_at,
    end,
    new_session,
    open_session,
    session_key,
)
from pileus.faces.cloudstack.commands import Bare, Call, command
from pileus.faces.cloudstack.errors import PARAMETER, ApiError, BadCredentials
from pileus.faces.cloudstack.params import UUID_TEXT, Params, Sent, param, parse
from pileus.faces.cloudstack.users import ACCOUNT_TYPES
from pileus.faces.wire import Request, Response

METHOD_NOT_ALLOWED, UNAUTHORIZED = 405, 401
Anonymous = Callable[[Request, Sent], Awaitable[Bare | Response]]


class Login(Params):
    username: str = param("username", "the user's name")
    password: str = param("password", "the user's password", length=4096)
    domain: str = param("domain", "path of the user's domain; empty or / is ROOT", default="", length=4096)
    domain_id: str = param("domainid", "id of the user's domain; goes before its path", default="")


class Forgot(Params):
    username: str = param("username", "the user's name")
    domain: str = param("domain", "path of the user's domain; empty or / is ROOT", default="", length=4096)


class Reset(Forgot):
    token: str = param("token", "what the letter said")
    password: str = param("password", "the new password", length=4096)


async def enter(request: Request, sent: Sent) -> Bare:
    if request.method != "POST":
        raise ApiError(METHOD_NOT_ALLOWED, "Please use HTTP POST to authenticate using this API")
    want = parse("login", Login, sent)
    assert isinstance(want, Login)
    if want.domain_id and not UUID_TEXT.fullmatch(want.domain_id):
        raise ApiError(UNAUTHORIZED, "Invalid domain id entered, please enter a valid one")
    cloud = request.cloud
    place = UUID(want.domain_id) if want.domain_id else await domain_at(cloud, want.domain)
    user, caller = await by_password(
        request, want.username, want.password, place, want.domain_id or want.domain
    )
    return await entered(request, user, caller)


async def entered(request: Request, user: User, caller: Caller) -> Bare:
    """The answer to a login, however it was done, with the session in cookies."""
    cloud, token = request.cloud, new_session(request.cloud, user)
    factor = await second_factor.begin(cloud, user)
    async with cloud.view() as look:
        account = await look.get(Project, caller.home)
        type = (await account_types.of_users(look, [user]))[user.id]
    body = {
        "username": user.name,
        "userid": user.id,
        "domainid": user.domain,
        "timeout": cloud.config.token_seconds,
        "account": account.name,
        "firstname": user.first_name,
        "lastname": user.last_name,
        "type": str(ACCOUNT_TYPES[type]),
        "timezone": user.timezone or "UTC",
        "timezoneoffset": str(offset(user.timezone, cloud.now())),
        "registered": "false",
        "sessionkey": session_key(token),
        "is2faenabled": "true" if factor.demanded else "false",
        "is2faverified": "false" if factor.demanded else "true",
        "providerfor2fa": factor.provider or None,
        "issuerfor2fa": cloud.config.second_factor_issuer,
    }
    text = await token_store.issue(cloud, token)
    return Bare(body, {"set-cookie": cookies(request, text, token), "cache-control": "no-store"})


def offset(timezone: str, now: datetime) -> float:
    """Hours that the zone is ahead of UTC; of one that is none: 0."""
    try:
        ahead = now.astimezone(ZoneInfo(timezone or "UTC")).utcoffset()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        ahead = now.astimezone(UTC).utcoffset()
    return ahead.total_seconds() / 3600 if ahead else 0.0


async def leave(request: Request, sent: Sent) -> Bare:
    """Ends the session of the cookie, for which its key must be there; without one there is nothing to end."""
    try:
        session = await open_session(request.cloud, cookie(request))
    except (Unauthenticated, BadCredentials):
        session = None
    if session is not None:
        if session_key(session.token) != sent.get("sessionkey"):
            raise BadCredentials
        await end(request, session)
    gone = tuple(f"{name}=; Path=/client; HttpOnly; Max-Age=0" for name in (COOKIE, KEY_COOKIE))
    return Bare({"description": "success"}, {"set-cookie": gone})


async def forgot(request: Request, sent: Sent) -> Bare:
    """Says the same whoever is named."""
    want = parse("forgotPassword", Forgot, sent)
    assert isinstance(want, Forgot)
    cloud = request.cloud
    place = await domain_at(cloud, want.domain)
    await password_resets.ask(cloud, place, want.username, want.domain, request.client)
    return Bare({"success": True})


async def reset(request: Request, sent: Sent) -> Bare:
    want = parse("resetPassword", Reset, sent)
    assert isinstance(want, Reset)
    if not UUID_TEXT.fullmatch(want.token):
        raise ApiError(PARAMETER, "Invalid token")
    cloud = request.cloud
    place = await domain_at(cloud, want.domain)
    await password_resets.use(cloud, place, want.username, want.token, want.password, request.client)
    return Bare({"success": True})


ANONYMOUS: dict[str, Anonymous] = {
    "login": enter,
    "logout": leave,
    "forgotPassword": forgot,
    "resetPassword": reset,
}
"""Commands that need no authentication; other modules add their own."""


@command("login", params=Login)
async def declared_login(call: Call, params: Login) -> Bare:
    """Logs a user into the CloudStack API; opens a session for the web interface."""
    return await enter(call.request, call.sent)


@command("logout")
async def declared_logout(call: Call, params: Params) -> Bare:
    """Logs the user out; ends the session."""
    return await leave(call.request, call.sent)


@command("forgotPassword", params=Forgot)
async def declared_forgot(call: Call, params: Forgot) -> Bare:
    """Mails a user who has forgotten the password a link by which to choose another."""
    return await forgot(call.request, call.sent)


@command("resetPassword", params=Reset)
async def declared_reset(call: Call, params: Reset) -> Bare:
    """Sets a new password by the token of a letter."""
    return await reset(call.request, call.sent)
