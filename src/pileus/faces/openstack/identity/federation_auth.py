"""/v3/OS-FEDERATION/.../auth and /v3/auth/OS-FEDERATION: logins by the word of an identity provider.

A program brings an access token (OpenID Connect) or goes to its SAML provider itself (ECP); a browser is sent to the
provider, comes back, and posts its token to the dashboard that asked.
"""

import base64
import hashlib
from html import escape
from typing import Any

import msgspec

from pileus.core.errors import Invalid, Unauthenticated
from pileus.core.identity.authentication.login import Issued
from pileus.core.identity.authentication.tokens import refused
from pileus.core.identity.federation import arrivals
from pileus.core.identity.federation.arrivals import Door
from pileus.faces.openstack.identity import tokens
from pileus.faces.openstack.identity.federation_providers import PATH as PROVIDERS
from pileus.faces.openstack.identity.refs import url
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request, Response
from pileus.faces.wire.query import parse
from pileus.workflows import federated_login
from pileus.workflows.federated_login import SAML, Departure, Journey, Party

AUTH = f"{PROVIDERS}/{{identity_provider}}/protocols/{{protocol}}/auth"
WEBSSO = "/v3/auth/OS-FEDERATION/websso/{protocol}"
PROVIDER_WEBSSO = "/v3/auth/OS-FEDERATION/identity_providers/{identity_provider}/protocols/{protocol}/websso"
CALLBACK = "/v3/auth/OS-FEDERATION/openid/callback"
CONSUMER = "/v3/auth/OS-FEDERATION/saml2/consumer"
PAOS = "application/vnd.paos+xml"
FORM = "application/x-www-form-urlencoded"
COOKIE = "pileus_federation"
COOKIE_PATH = "/identity/v3/auth/OS-FEDERATION"
MAX_MESSAGE = 1 << 20
SUBMIT = "document.forms[0].submit()"
SUBMIT_HASH = base64.b64encode(hashlib.sha256(SUBMIT.encode()).digest()).decode()
HTML = "text/html; charset=utf-8"


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    origin: str | None = None


class Returned(msgspec.Struct, frozen=True, kw_only=True):
    code: str | None = None
    state: str | None = None
    iss: str | None = None
    error: str | None = None
    error_description: str | None = None


def service_party(request: Request) -> Party:
    """Us, as browsers' assertions reach us."""
    consumer = fixed(request, *CONSUMER.split("/")[2:])
    return Party(entity=fixed(request, "auth", "OS-FEDERATION", "saml2", "service"), consumer=consumer)


def fixed(request: Request, *parts: str) -> str:
    """An address of ours as it is configured, whatever host the request names: an assertion that was made for somebody
    else's address must not pass for one of ours because a request said so."""
    return "/".join((f"{request.cloud.config.url.rstrip('/')}/identity/v3", *parts))


async def token_answer(request: Request, issued: Issued) -> Response:
    shown = await tokens.view(request, issued.session, with_catalog=True)
    return Response(201, {"token": shown}, {"x-subject-token": issued.text, **tokens.VARY})


@SERVICE.operation("GET", AUTH, public=True, status=201)
async def authenticate(request: Request, identity_provider: str, protocol: str) -> Response:
    at = await arrivals.door(request.cloud, identity_provider, protocol)
    if federated_login.speaks(at) == SAML:
        return await envelope(request, at)
    issued = await federated_login.by_access_token(request.site, at, bearer(request))
    return await token_answer(request, issued)


@SERVICE.operation("POST", AUTH, public=True, status=201, media=(PAOS, FORM))
async def authenticate_by_post(request: Request, identity_provider: str, protocol: str) -> Response:
    """Also where another cloud's user brings an assertion of that cloud, for which nobody here has asked."""
    message = await request.body(MAX_MESSAGE)
    at = await arrivals.door(request.cloud, identity_provider, protocol)
    if federated_login.speaks(at) != SAML or not enhanced(request):
        return await authenticate(request, identity_provider, protocol)
    here = fixed(request, "OS-FEDERATION", "identity_providers", at.provider.id, "protocols", at.protocol.id)
    party = Party(entity=service_party(request).entity, consumer=f"{here}/auth")
    issued = await federated_login.arrive_by_assertion(request.site, at, party, message, "")
    return await token_answer(request, issued)


def enhanced(request: Request) -> bool:
    """Whether a program carries the message (ECP), and no browser."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == PAOS


async def envelope(request: Request, at: Door) -> Response:
    """For clients that say they can carry it to their provider (ECP). Raises Unauthenticated for others."""
    if PAOS not in request.headers.get("accept", "") or "ver=" not in request.headers.get("paos", ""):
        raise refused("a SAML login needs an enhanced client, or a browser at the websso address")
    text = await federated_login.ask_enhanced(request.site, at, service_party(request))
    return Response(200, text.encode(), content_type=PAOS)


def bearer(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise refused("no access token in Authorization: Bearer")
    return token.strip()


def trusted(request: Request, origin: str | None) -> str:
    """The address to which the token will go. Raises Invalid, Unauthenticated."""
    if not origin:
        raise Invalid("Request must have an origin query parameter")
    if origin not in request.cloud.config.trusted_dashboards:
        raise Unauthenticated(
            f"{origin[:200]} is not a trusted dashboard host",
            private=f"{origin[:200]} is not among trusted_dashboards of pileus.toml",
        )
    return origin


@SERVICE.operation("GET", WEBSSO, public=True, query=Origin)
async def choose(request: Request, protocol: str, query: Origin) -> Response:
    """To the one provider of the protocol, or to a page that names them."""
    origin = trusted(request, query.origin)
    found = await arrivals.doors(request.cloud, protocol)
    if not found:
        raise refused(f"no enabled provider has protocol {protocol[:64]}")
    if len(found) == 1:
        return await away(request, found[0], origin)
    links = "".join(
        f'<li><a href="{escape(provider_websso(request, at))}?origin={escape(origin)}">'
        f"{escape(at.provider.description or at.provider.id)}</a></li>"
        for at in found
    )
    return page("Choose where to log in", f"<h1>Log in with</h1><ul>{links}</ul>", "'none'")


@SERVICE.operation("POST", WEBSSO, public=True, query=Origin, media=(FORM,))
async def choose_by_post(request: Request, protocol: str, query: Origin) -> Response:
    await request.body(MAX_MESSAGE)
    return await choose(request, protocol, query)


@SERVICE.operation("GET", PROVIDER_WEBSSO, public=True, query=Origin)
async def websso(request: Request, identity_provider: str, protocol: str, query: Origin) -> Response:
    origin = trusted(request, query.origin)
    return await away(request, await arrivals.door(request.cloud, identity_provider, protocol), origin)


@SERVICE.operation("POST", PROVIDER_WEBSSO, public=True, query=Origin, media=(FORM,))
async def websso_by_post(request: Request, identity_provider: str, protocol: str, query: Origin) -> Response:
    await request.body(MAX_MESSAGE)
    return await websso(request, identity_provider, protocol, query)


@SERVICE.operation("GET", CALLBACK, public=True, query=Returned)
async def come_back(request: Request, query: Returned) -> Response:
    """From an OpenID provider."""
    journey = under_way(request)
    federated_login.compared(journey, query.state or "")
    if not query.code:
        raise refused(f"the provider says {query.error} {query.error_description}"[:300])
    callback = url(request, *CALLBACK.split("/")[2:])
    issued = await federated_login.arrive_by_code(
        request.site, journey, query.code, callback, query.iss or ""
    )
    return hand_over(request, journey, issued)


@SERVICE.operation("POST", CONSUMER, public=True, media=(FORM, PAOS))
async def consume(request: Request) -> Response:
    """From a SAML provider: a form that a browser posts, or an envelope that an enhanced client brings."""
    content = await request.body(MAX_MESSAGE)
    if enhanced(request):
        journey, message = await federated_login.brought(request.site, content), content
    else:
        sent = parse(content, "form")
        journey, message = under_way(request), sent.get("SAMLResponse", "").encode()
        federated_login.compared(journey, sent.get("RelayState", ""))
    at = await arrivals.door(request.cloud, journey.provider, journey.protocol)
    party = service_party(request)
    issued = await federated_login.arrive_by_assertion(request.site, at, party, message, journey.request)
    return await token_answer(request, issued) if enhanced(request) else hand_over(request, journey, issued)


def provider_websso(request: Request, at: Door) -> str:
    parts = ("auth", "OS-FEDERATION", "identity_providers", at.provider.id, "protocols", at.protocol.id)
    return url(request, *parts, "websso")


async def away(request: Request, at: Door, origin: str) -> Response:
    callback = url(request, *CALLBACK.split("/")[2:])
    party = service_party(request)
    left: Departure = await federated_login.depart(request.site, at, origin, callback, party)
    headers = {
        "location": left.location,
        "set-cookie": cookie(request, left.sealed),
        "cache-control": "no-store",
    }
    return Response(302, None, headers)


def cookie(request: Request, value: str) -> str:
    """A SAML provider's form comes from its own site: only a cookie that may cross sites comes with it."""
    crossing = "; Secure; SameSite=None" if url(request).startswith("https") else ""
    ends = "" if value else "; Max-Age=0"
    return f"{COOKIE}={value}; Path={COOKIE_PATH}; HttpOnly{crossing}{ends}"


def under_way(request: Request) -> Journey:
    """The login that this browser has begun. Raises Unauthenticated."""
    for pair in request.headers.get("cookie", "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE and value:
            return federated_login.unseal(request.cloud, value)
    raise refused("this browser has begun no login")


def hand_over(request: Request, journey: Journey, issued: Issued) -> Response:
    """A form with the token that posts itself to the dashboard."""
    origin = trusted(request, journey.origin)
    body = (
        f'<form method="post" action="{escape(origin)}"><input type="hidden" name="token"'
        f' value="{escape(issued.text)}"><button>Continue</button></form><script>{SUBMIT}</script>'
    )
    answer = page("Logging in", body, escape(origin))
    return Response(
        200, answer.body, {**answer.headers, "set-cookie": cookie(request, "")}, content_type=HTML
    )


def page(title: str, body: str, target: str) -> Response:
    """`target`: where its forms may go."""
    policy = (
        f"default-src 'none'; script-src 'sha256-{SUBMIT_HASH}'; form-action {target.replace(';', '%3B')}"
    )
    headers: dict[str, Any] = {
        "content-security-policy": policy,
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
    }
    text = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><body>{body}'
    return Response(200, text.encode(), headers, content_type=HTML)


@SERVICE.operation("GET", "/v3/OS-FEDERATION/projects", policy="identity:get_auth_projects")
async def list_projects(request: Request) -> dict[str, Any]:
    """Those for which the token can be exchanged; /v3/auth/projects by its older name."""
    return await tokens.list_projects(request)


@SERVICE.operation("GET", "/v3/OS-FEDERATION/domains", policy="identity:get_auth_domains")
async def list_domains(request: Request) -> dict[str, Any]:
    """/v3/auth/domains by its older name."""
    return await tokens.list_domains(request)
