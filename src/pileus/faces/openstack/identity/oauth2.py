"""/v3/OS-OAUTH2/token: tokens for programs (RFC 6749, client credentials), by a secret or by a certificate (RFC 8705)."""

import base64
import binascii
from urllib.parse import parse_qs

from pileus.core.errors import CoreError, Invalid, Unauthenticated
from pileus.core.identity.authentication import client_certificates, login
from pileus.core.identity.authentication.login import ByApplicationCredential, Issued
from pileus.core.identity.authentication.tokens import refused
from pileus.faces.openstack.identity.refs import filter_key
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.openstack.wire import public_url
from pileus.faces.wire import Request, Response
from pileus.faces.wire.certificates import presented
from pileus.faces.wire.errors import STATUS

FORM = "application/x-www-form-urlencoded"
FRESH = {"cache-control": "no-store", "pragma": "no-cache", "vary": "X-Auth-Token"}
HOW = (
    "Client authentication failed: send the id and the secret of an application credential by HTTP Basic, "
    "or a client certificate through the proxy in front of this cloud."
)


def refusal(request: Request, code: int, error: str, description: str) -> Response:
    headers = dict(FRESH)
    if code == 401:
        headers["www-authenticate"] = f'Keystone uri="{public_url(request)}/identity/v3"'
    return Response(code, {"error": error, "error_description": description}, headers)


@SERVICE.operation("POST", "/v3/OS-OAUTH2/token", public=True)
async def issue(request: Request) -> Response:
    form = await fields(request)
    grant = form.get("grant_type")
    if grant is None:
        return refusal(request, 400, "invalid_request", "The parameter grant_type is required.")
    if grant != "client_credentials":
        text = f"The parameter grant_type {grant[:64]} is not supported."
        return refusal(request, 400, "unsupported_grant_type", text)
    try:
        issued = await authenticated(request, form)
    except Unauthenticated:
        return refusal(request, 401, "invalid_client", HOW)
    except Invalid as error:
        return refusal(request, 400, "invalid_request", error.public)
    except CoreError as error:
        return refusal(request, STATUS[error.kind], "other_error", error.public)
    token = issued.session.token
    shown = {
        "access_token": issued.text,
        "token_type": "Bearer",
        "expires_in": int((token.expires_at - request.cloud.now()).total_seconds()),
    }
    return Response(200, shown, FRESH)


async def fields(request: Request) -> dict[str, str]:
    """The form that was sent; nothing of any other body."""
    if not request.headers.get("content-type", "").startswith(FORM):
        return {}
    body = (await request.body()).decode("latin-1")
    try:
        return {name: values[-1] for name, values in parse_qs(body, max_num_fields=32).items()}
    except ValueError:
        return {}


async def authenticated(request: Request, form: dict[str, str]) -> Issued:
    certificate = presented(request)
    client, secret = form.get("client_id", ""), form.get("client_secret", "")
    if certificate:
        key = filter_key(client)
        if not client or key is None:
            raise refused("no client_id beside the certificate")
        return await login.issue(
            request.cloud, await client_certificates.prove(request.cloud, key, certificate)
        )
    client, secret = basic(request) or (client, secret)
    if not client or not secret:
        raise refused("neither a secret nor a certificate")
    proof = ByApplicationCredential(id=filter_key(client), secret=secret)
    return await login.authenticate(request.cloud, [proof])


def basic(request: Request) -> tuple[str, str] | None:
    kind, _, content = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        client, _, secret = base64.b64decode(content.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return client, secret
