"""login and logout: a session in a cookie, and the session key that every further request repeats."""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from pileus.core.errors import Unauthenticated
from pileus.core.identity import keys, login
from pileus.core.identity.records import Project
from pileus.faces.cloudstack.authentication import (
    COOKIE,
    cookie,
    open_by_password,
    open_session,
    session_key,
)
from pileus.faces.cloudstack.commands import ADMIN, DOMAIN_ADMIN, FACE, USER, Bare, Call, command, role_of
from pileus.faces.cloudstack.errors import BadCredentials
from pileus.faces.cloudstack.params import Params, Sent, param, parse
from pileus.faces.wire import Request

TYPES = {USER: "0", ADMIN: "1", DOMAIN_ADMIN: "2"}
Anonymous = Callable[[Request, Sent], Awaitable[Bare]]


class Login(Params):
    username: str = param("username", "the user's name")
    password: str = param("password", "the user's password", length=4096)
    domain: str = param("domain", "path of the user's domain; empty or / is ROOT", default="", length=4096)


async def enter(request: Request, sent: Sent) -> Bare:
    want = parse("login", Login, sent)
    assert isinstance(want, Login)
    user, text = await open_by_password(request.cloud, want.username, want.password, want.domain)
    caller = await keys.caller_of(request.cloud, user)
    async with request.cloud.view() as look:
        account = await look.get(Project, caller.home)
    key = session_key(text)
    body = {
        "username": user.name,
        "userid": user.id,
        "domainid": user.domain,
        "timeout": request.cloud.config.token_seconds,
        "account": account.name,
        "firstname": user.first_name,
        "lastname": user.last_name,
        "type": TYPES[role_of(caller)],
        "timezone": "UTC",
        "timezoneoffset": "0.0",
        "registered": "false",
        "sessionkey": key,
        "is2faenabled": "false",
        "is2faverified": "true",
    }
    secure = "; Secure" if request.base_url.startswith("https") else ""
    cookies = (
        f"{COOKIE}={text}; Path=/client; HttpOnly; SameSite=Lax{secure}",
        f"sessionkey={key}; Path=/client; HttpOnly; SameSite=Lax{secure}",
    )
    return Bare(body, {"set-cookie": cookies, "cache-control": "no-store"})


async def leave(request: Request, sent: Sent) -> Bare:
    """Ends the session of the cookie, for which its key must be there; without one there is nothing to end."""
    text = cookie(request)
    if text:
        if session_key(text) != sent.get("sessionkey"):
            raise BadCredentials
        await end(request, text)
    gone = tuple(f"{name}=; Path=/client; HttpOnly; Max-Age=0" for name in (COOKIE, "sessionkey"))
    return Bare({"description": "success"}, {"set-cookie": gone})


async def end(request: Request, text: str) -> None:
    try:
        session = await open_session(request.cloud, text)
    except (Unauthenticated, BadCredentials):
        return
    caller = msgspec.structs.replace(session.caller, request=request.id, trace=request.trace, face=FACE)
    await login.end(request.cloud, caller, session)


ANONYMOUS: Mapping[str, Anonymous] = {"login": enter, "logout": leave}
"""Commands that need no authentication."""


@command("login", params=Login)
async def declared_login(call: Call, params: Login) -> Bare:
    """Logs a user into the CloudStack API; opens a session for the web interface."""
    return await enter(call.request, call.sent)


@command("logout")
async def declared_logout(call: Call, params: Params) -> Bare:
    """Logs the user out; ends the session."""
    return await leave(call.request, call.sent)
