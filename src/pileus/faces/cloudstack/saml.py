"""Single sign-on by SAML: the identity providers are those that are set up for the cloud, the users those whom an
administrator has let in by one of them."""

from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote
from uuid import UUID

from pileus.core.errors import CoreError, Forbidden, NotFound, Unauthenticated
from pileus.core.identity.authentication import keys
from pileus.core.identity.federation import single_sign_on as core
from pileus.core.identity.records import Domain, Project, User
from pileus.faces.cloudstack.authentication import by_session
from pileus.faces.cloudstack.commands import Bare, Call, Done, Listed, command
from pileus.faces.cloudstack.errors import ACCOUNT, PARAMETER, ApiError
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Listing, Params, Sent, param, parse
from pileus.faces.cloudstack.sessions import ANONYMOUS, entered, leave
from pileus.faces.wire import Request, Response
from pileus.workflows import federated_login, federation_issue, outside_login
from pileus.workflows.outside_login import Party

COOKIE, NAME_COOKIE = "pileus_federation", "pileus_saml"
SHOWN_COOKIES = ("userid", "username", "account", "domainid", "timezone", "timezoneoffset")
"""From which the web interface learns who has come in; none is a secret."""


class SignOn(Params):
    entity: str = param("idpid", "entity id of the identity provider", length=2048)


class Authorize(Params):
    user: UUID = param("userid", "the user")
    enable: bool = param("enable", "whether the user may come in by SAML")
    entity: str = param("entityid", "entity id of the identity provider", default="", length=2048)


class ListAuthorizations(Listing):
    user: UUID | None = param("userid", "list by user", default=None)


class Switch(Params):
    user: UUID | None = param("userid", "the user to go on as", default=None)
    domain: UUID | None = param("domainid", "the domain of that user", default=None)


def base(request: Request) -> str:
    return (request.cloud.config.public_url or request.base_url).rstrip("/")


def party(request: Request) -> Party:
    """Us as we are configured, whatever host the request names (an assertion for another's address is none for us)."""
    here = f"{request.cloud.config.url.rstrip('/')}/client/api"
    return Party(entity=f"{here}?command=getSPMetadata", consumer=f"{here}?command=samlSso")


def jar(request: Request, name: str) -> str:
    try:
        found = SimpleCookie(request.headers.get("cookie", ""))
    except CookieError:
        return ""
    return found[name].value if name in found else ""


def cookie(request: Request, name: str, value: str, *, hidden: bool = True) -> str:
    """The provider's form comes from its own site: only a cookie that may cross sites comes with it."""
    crossing = "; Secure; SameSite=None" if base(request).startswith("https") else ""
    return (
        f"{name}={value}; Path=/client{'; HttpOnly' if hidden else ''}{crossing}"
        f"{'' if value else '; Max-Age=0'}"
    )


async def sign_on(request: Request, sent: Sent) -> Response:
    """To the identity provider, or back from it, with a form that it made."""
    if sent.get("samlresponse"):
        return await come_back(request, sent["samlresponse"], sent.get("relaystate", ""))
    want = parse("samlSso", SignOn, sent)
    assert isinstance(want, SignOn)
    try:
        left = await outside_login.depart(request.site, want.entity, party(request))
    except NotFound as error:
        words = f"IdP ID ({want.entity[:200]}) is not found in our list of supported IdPs, cannot proceed."
        raise ApiError(PARAMETER, words) from error
    kept = cookie(request, COOKIE, left.sealed)
    headers = {"location": left.location, "set-cookie": kept, "cache-control": "no-store"}
    return Response(302, None, headers)


async def come_back(request: Request, response: str, state: str) -> Response:
    try:
        journey = federated_login.unseal(request.cloud, jar(request, COOKIE))
        federated_login.compared(journey, state)
        arrived = await outside_login.arrive(request.site, journey, party(request), response.encode())
        user = arrived.users[0]
        made = await entered(request, user, await keys.caller_of(request.cloud, user))
    except (Unauthenticated, Forbidden) as error:
        raise refusal(error) from error
    sessions = made.headers["set-cookie"]
    assert isinstance(sessions, tuple)
    told = tuple(
        cookie(request, name, quote(str(made.body[name]), safe=""), hidden=False) for name in SHOWN_COOKIES
    )
    kept = cookie(request, NAME_COOKIE, outside_login.sealed_name(request.cloud, arrived))
    cookies = (*sessions, *told, kept, cookie(request, COOKIE, ""))
    headers: dict[str, Any] = {"location": f"{base(request)}/client/", "set-cookie": cookies}
    return Response(302, None, headers | {"cache-control": "no-store"})


def refusal(error: CoreError) -> ApiError:
    """In the same words for every cause, which is for the log alone."""
    made = ApiError(
        ACCOUNT,
        "Failed to log in by SAML. Please log in again, and let your administrator authorize you for it.",
        exception="CloudAuthenticationException",
    )
    made.private = error.private or error.public
    return made


async def sign_off(request: Request, sent: Sent) -> Response:
    """Out of the session here, and then at the provider where it takes logouts."""
    parse("samlSlo", Params, sent)
    ended = await leave(request, sent)
    where, sealed = "", jar(request, NAME_COOKIE)
    if sealed:
        try:
            provider, subject, _, _ = outside_login.open_name(request.cloud, sealed)
            where = await outside_login.leave(request.site, provider, subject, party(request))
        except CoreError:
            where = ""  # the session here has ended whatever the provider's cookie is
    gone = ended.headers["set-cookie"]
    assert isinstance(gone, tuple)
    headers: dict[str, Any] = {
        "location": where or f"{base(request)}/client/",
        "set-cookie": (*gone, cookie(request, NAME_COOKIE, "")),
    }
    return Response(302, None, headers)


async def idps(request: Request, sent: Sent) -> Bare:
    found = await outside_login.entities(request.site)
    shown = [{"id": key, "orgName": name, "orgUrl": ""} for key, name, _ in found]
    return Bare({"count": len(shown), "idp": shown} if shown else {})


async def metadata(request: Request, sent: Sent) -> Response:
    """The document itself, as identity providers read it."""
    ours = party(request)
    text = await federation_issue.describe_service(request.site, ours.entity, ours.consumer)
    return Response(200, text.encode(), content_type="text/xml")


async def switch(request: Request, sent: Sent) -> Bare:
    """The users of one name whom the same provider may let in; or the session of another of them."""
    want = parse("listAndSwitchSamlAccount", Switch, sent)
    assert isinstance(want, Switch)
    known = await by_session(request, sent)
    entity = await core.entity_of(request.cloud, known.user.id)
    others = await core.admitted(request.cloud, known.user.name, entity) if entity else []
    if not others or vouched(request) != (known.user.name, entity):
        raise ApiError(ACCOUNT, "Only authenticated saml users can request this API")
    if want.user is None or want.domain is None:
        return Bare({"count": len(others), "samluseraccount": await accounts(request, others, entity)})
    for user in others:
        if user.id == want.user and user.domain == want.domain:
            return await entered(request, user, await keys.caller_of(request.cloud, user))
    raise ApiError(PARAMETER, "User account is not allowed to switch to the requested account")


def vouched(request: Request) -> tuple[str, str]:
    """The name with which this browser came by SAML, and the provider that said so; empty when it did not."""
    try:
        _, _, name, entity = outside_login.open_name(request.cloud, jar(request, NAME_COOKIE))
    except Unauthenticated:
        return "", ""
    return name, entity


async def accounts(request: Request, users: list[User], entity: str) -> list[dict[str, Any]]:
    shown = []
    async with request.cloud.view() as look:
        for user in users:
            domain = await look.get(Domain, user.domain)
            account = await look.maybe(Project, user.account) if user.account else None
            shown.append(
                {
                    "userId": user.id,
                    "userName": user.name,
                    "domainId": domain.id,
                    "domainName": domain.name,
                    "accountName": account.name if account else "",
                    "idpId": entity,
                }
            )
    return shown


ANONYMOUS |= {
    "samlSso": sign_on,
    "samlSlo": sign_off,
    "listIdps": idps,
    "getSPMetadata": metadata,
    "listAndSwitchSamlAccount": switch,
}


@command("samlSso", params=SignOn)
async def declared_sign_on(call: Call, params: SignOn) -> Response:
    """Sends a browser to a SAML identity provider, and logs in who comes back from it."""
    return await sign_on(call.request, call.sent)


@command("samlSlo")
async def declared_sign_off(call: Call, params: Params) -> Response:
    """Logs out here, and at the SAML identity provider."""
    return await sign_off(call.request, call.sent)


@command("listIdps")
async def declared_idps(call: Call, params: Params) -> Bare:
    """Lists the SAML identity providers."""
    return await idps(call.request, call.sent)


@command("getSPMetadata")
async def declared_metadata(call: Call, params: Params) -> Response:
    """Returns our metadata as a SAML service provider."""
    return await metadata(call.request, call.sent)


@command("listAndSwitchSamlAccount", params=Switch)
async def declared_switch(call: Call, params: Switch) -> Bare:
    """Lists the users that a user may go on as after single sign-on, and switches to one of them."""
    return await switch(call.request, call.sent)


@command("authorizeSamlSso", params=Authorize)
async def authorize(call: Call, params: Authorize) -> Done:
    """Lets a user come in by a SAML identity provider, or no longer."""
    if params.enable:
        try:
            await outside_login.known(call.site, params.entity)
        except NotFound as error:
            words = "Invalid IdP entity ID provided. Please use one from the list of IdPs"
            raise ApiError(PARAMETER, words) from error
    await core.authorize(call.cloud, call.caller, params.user, params.entity, enable=params.enable)
    return Done()


@command("listSamlAuthorization", params=ListAuthorizations)
async def authorizations(call: Call, params: ListAuthorizations) -> Listed[Any]:
    """Lists which users may come in by SAML."""
    skip, most = window(params)
    found = await core.list_all(call.cloud, call.caller, params.user)
    shown = [
        {
            "userid": user.id,
            "status": held is not None and held.enabled,
            "idpid": held.entity if held is not None else None,
        }
        for user, held in found
    ]
    return Listed(shown[skip : skip + most], len(shown))
