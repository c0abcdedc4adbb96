"""Second factors of logins: set up by a user, shown in a session, taken away by who has power over the user."""

from typing import Any
from uuid import UUID

from pileus.core.errors import Forbidden, Unauthenticated
from pileus.core.identity.authentication import second_factor, token_store
from pileus.core.identity.authorization.access import Session
from pileus.faces.cloudstack.authentication import SESSION, SHOWN, cookies, end, verified
from pileus.faces.cloudstack.commands import Bare, Call, Listed, Shown, command
from pileus.faces.cloudstack.errors import PARAMETER, UNAUTHORIZED_2FA, ApiError
from pileus.faces.cloudstack.guest_os import cut
from pileus.faces.cloudstack.params import Listing, Params, param

DESCRIPTIONS = {
    second_factor.PIN: "Static Pin user two factor authentication provider Plugin",
    second_factor.TOTP: "TOTP user two factor authentication provider Plugin",
}

second_factor.SETTING_UP.append("set one up in the CloudStack API (setupUserTwoFactorAuthentication)")


class Setup(Params):
    provider: str = param("provider", "totp or staticpin", default="")
    enable: bool = param("enable", "true: set one up; false: do without", default=True)
    user: UUID | None = param("userid", "with enable=false: the user whose factor goes", default=None)


class Validate(Params):
    code: str = param("codefor2fa", "the code that the authenticator program shows, or the pin")


class ListProviders(Params):
    name: str = param("name", "list by name", default="")


class BadCode(ApiError):
    def __init__(self) -> None:
        super().__init__(
            UNAUTHORIZED_2FA,
            "failed to authenticate user, check if two factor authentication code is correct",
            exception="CloudTwoFactorAuthenticationException",
        )


@command("setupUserTwoFactorAuthentication", params=Setup)
async def set_up(call: Call, params: Setup) -> Shown:
    """Sets up the caller's second factor, which counts once it was shown right; or takes one away."""
    if not params.enable:
        await refuse_unshown(call, others=params.user not in (None, call.user.id))
        user = await second_factor.drop(call.cloud, call.caller, params.user)
        return Shown({"id": user.id, "username": user.name, "accountid": user.account})
    if params.user not in (None, call.user.id):
        raise ApiError(
            PARAMETER, "Users set up their second factor themselves; userid goes with enable=false."
        )
    await refuse_unshown(call)
    secret = await second_factor.set_up(call.cloud, call.caller, params.provider)
    named = {"id": call.user.id, "username": call.user.name, "accountid": call.user.account}
    return Shown({**named, "secretcode": secret})


async def refuse_unshown(call: Call, *, others: bool = False) -> None:
    """A session that has not shown the factor there is does not get another: whoever has the password alone. `others`:
    nor does it touch those of others while one is demanded of it."""
    session: Session | None = call.request.state.get(SESSION)
    if session is None or SHOWN in session.token.methods:
        return
    async with call.cloud.view() as look:
        standing = await second_factor.of_session(call.cloud, look, call.user)
    if standing.ready or (others and standing.demanded):
        raise Forbidden(
            "Show the second factor that you have first, by validateUserTwoFactorAuthenticationCode."
        )


@command("validateUserTwoFactorAuthenticationCode", params=Validate)
async def validate(call: Call, params: Validate) -> Bare:
    """Shows the second factor: the session may call everything from now on."""
    session: Session | None = call.request.state.get(SESSION)
    async with call.cloud.view() as look:
        ready = (await second_factor.of_session(call.cloud, look, call.user)).ready
    try:
        await second_factor.show(call.cloud, call.user, params.code, call.request.client)
    except Unauthenticated as error:
        if session is not None and ready:
            await end(call.request, session)
        raise BadCode from error
    headers: dict[str, Any] = {}
    if session is not None:
        token = verified(session.token)
        headers = {"set-cookie": cookies(call.request, await token_store.issue(call.cloud, token), token)}
    return Bare({"success": True}, headers)


@command("listUserTwoFactorAuthenticatorProviders", params=ListProviders)
async def providers(call: Call, params: ListProviders) -> Listed[Any]:
    """Lists the kinds of second factors."""
    shown = [
        {"name": name, "description": text}
        for name, text in DESCRIPTIONS.items()
        if params.name.lower() in ("", name)
    ]
    return cut(shown, Listing())
