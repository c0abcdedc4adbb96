"""OAuth2 providers of the login page: who they are, and logging in with what they say."""

from typing import Any
from uuid import UUID

from pileus.core.errors import Forbidden, Unauthenticated
from pileus.core.identity.authentication import keys
from pileus.core.identity.federation import login_providers as core
from pileus.core.identity.tenancy.tenancy_records import LoginProvider
from pileus.faces.cloudstack.authentication import domain_at
from pileus.faces.cloudstack.commands import Bare, Call, Done, Listed, Shown, command
from pileus.faces.cloudstack.errors import ACCOUNT, ApiError
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import UUID_TEXT, Listing, Params, Sent, param, parse
from pileus.faces.cloudstack.sessions import ANONYMOUS, METHOD_NOT_ALLOWED, entered
from pileus.faces.wire import Request
from pileus.workflows import outside_login


class Register(Params):
    provider: str = param("provider", "google, github, keycloak or any other OpenID provider")
    description: str = param("description", "what the login page says of it")
    client: str = param("clientid", "what the provider calls us", length=1024)
    secret: str = param("secretkey", "the secret that the provider gave us", length=4096)
    redirect_uri: str = param("redirecturi", "where the provider sends browsers back to", length=4096)
    details: dict[str, str] = param(
        "details", "details[0].issuer= of a provider that is not known by its name", default={}
    )


class Update(Params):
    id: UUID = param("id", "the provider")
    description: str | None = param("description", "what the login page says of it", default=None)
    client: str | None = param("clientid", "what the provider calls us", default=None, length=1024)
    secret: str | None = param("secretkey", "the secret that the provider gave us", default=None, length=4096)
    redirect_uri: str | None = param(
        "redirecturi", "where the provider sends browsers back to", default=None, length=4096
    )
    enabled: bool | None = param("enabled", "whether one may log in by it", default=None)


class Delete(Params):
    id: UUID = param("id", "the provider")


class ListProviders(Listing):
    id: UUID | None = param("id", "list by id", default=None)
    provider: str = param("provider", "list by name", default="")


class Verify(Listing):
    provider: str = param("provider", "the provider's name")
    code: str = param("secretcode", "the code with which it sent the browser back", default="", length=4096)


class Login(Params):
    provider: str = param("provider", "the provider's name")
    code: str = param("secretcode", "the code with which it sent the browser back", default="", length=4096)
    email: str = param("email", "the address that the provider says")
    domain: str = param("domain", "path of the user's domain; empty or / is ROOT", default="", length=4096)
    domain_id: str = param("domainid", "id of the user's domain; goes before its path", default="")


def shown(provider: LoginProvider) -> dict[str, Any]:
    """The secret stays here: whoever may log in may see this."""
    return {
        "id": provider.id,
        "provider": provider.provider,
        "name": provider.provider,
        "description": provider.description,
        "clientid": provider.client,
        "redirecturi": provider.redirect_uri,
        "enabled": provider.enabled,
    }


@command("registerOauthProvider", params=Register)
async def register(call: Call, params: Register) -> Done:
    """Registers an OAuth2 provider by which users may log in."""
    want = core.Register(
        provider=params.provider,
        description=params.description,
        client=params.client,
        secret=params.secret,
        redirect_uri=params.redirect_uri,
        details=params.details,
    )
    await core.register(call.cloud, call.caller, want)
    return Done()


@command("updateOauthProvider", params=Update)
async def update(call: Call, params: Update) -> Shown:
    """Changes a registered OAuth2 provider."""
    changes: dict[str, Any] = {
        name: value for name in core.Change.__struct_fields__ if (value := getattr(params, name)) is not None
    }
    changed = await core.update(call.cloud, call.caller, params.id, core.Change(**changes))
    return Shown(shown(changed))


@command("deleteOauthProvider", params=Delete)
async def delete(call: Call, params: Delete) -> Done:
    """Removes a registered OAuth2 provider."""
    await core.delete(call.cloud, call.caller, params.id)
    return Done()


async def listed(request: Request, sent: Sent) -> Bare:
    want = parse("listOauthProvider", ListProviders, sent)
    assert isinstance(want, ListProviders)
    skip, most = window(want)
    equals: dict[str, Any] = {} if want.id is None else {"id": want.id}
    if want.provider:
        equals["provider"] = want.provider
    found = await core.list_all(request.cloud, **equals)
    if want.keyword:
        found = [each for each in found if want.keyword.lower() in each.provider.lower()]
    seen = [shown(each) for each in found[skip : skip + most]]
    return Bare({"count": len(found), "oauthprovider": seen} if found else {})


async def verified(request: Request, sent: Sent) -> Bare:
    want = parse("verifyOAuthCodeAndGetUser", Verify, sent)
    assert isinstance(want, Verify)
    try:
        email = await outside_login.email_by_code(request.site, want.provider, want.code)
    except Unauthenticated as error:
        raise refusal(error) from error
    return Bare({"oauthemail": {"email": email}})


async def enter(request: Request, sent: Sent) -> Bare:
    if request.method != "POST":
        raise ApiError(METHOD_NOT_ALLOWED, "Please use HTTP POST to authenticate using this API")
    want = parse("oauthlogin", Login, sent)
    assert isinstance(want, Login)
    if want.domain_id and not UUID_TEXT.fullmatch(want.domain_id):
        raise ApiError(401, "Invalid domain id entered, please enter a valid one")
    place = UUID(want.domain_id) if want.domain_id else await domain_at(request.cloud, want.domain)
    try:
        user = await outside_login.user_by_code(
            request.site, want.provider, want.code, want.email, place or UUID(int=0)
        )
        caller = await keys.caller_of(request.cloud, user)
    except (Unauthenticated, Forbidden) as error:
        raise refusal(error) from error
    return await entered(request, user, caller)


def refusal(error: Unauthenticated | Forbidden) -> ApiError:
    """Says no more than that it did not work, but for what the login page's user can change."""
    text = error.public if isinstance(error, Unauthenticated) else "The account may not log in."
    made = ApiError(ACCOUNT, text, exception="CloudAuthenticationException")
    made.private = error.private or error.public
    return made


ANONYMOUS |= {"listOauthProvider": listed, "verifyOAuthCodeAndGetUser": verified, "oauthlogin": enter}


@command("listOauthProvider", params=ListProviders)
async def list_providers(call: Call, params: ListProviders) -> Listed[LoginProvider]:
    """Lists the OAuth2 providers of the login page."""
    body = (await listed(call.request, call.sent)).body
    return Listed(body.get("oauthprovider", []), body.get("count", 0))


@command("verifyOAuthCodeAndGetUser", params=Verify)
async def verify(call: Call, params: Verify) -> Bare:
    """Asks the provider whose a code is."""
    return await verified(call.request, call.sent)


@command("oauthlogin", params=Login)
async def log_in(call: Call, params: Login) -> Bare:
    """Logs in a user by the code of an OAuth2 provider; opens a session for the web interface."""
    return await enter(call.request, call.sent)
