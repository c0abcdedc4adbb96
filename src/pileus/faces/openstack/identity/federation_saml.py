"""SAML's documents: assertions for other clouds (Keystone to Keystone), and our metadata on both sides."""

import msgspec

from pileus.core.identity.authentication import client_certificates
from pileus.core.identity.authorization import access
from pileus.faces.openstack.identity.federation_auth import service_party
from pileus.faces.openstack.identity.refs import url
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request, Response
from pileus.faces.wire.certificates import presented
from pileus.workflows import federation_issue
from pileus.workflows.federation_issue import Signed

XML = "text/xml"
ASSERT = "/v3/auth/OS-FEDERATION/saml2"


class Ref(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str


class Proof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: Ref
    methods: tuple[str, ...] = ()


class Scope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    service_provider: Ref


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    identity: Proof
    scope: Scope


def issuer(request: Request) -> str:
    """Our entity id as an identity provider."""
    return url(request, "OS-FEDERATION", "saml2", "idp")


async def signed(request: Request, asked: Asked) -> Signed:
    session = await access.present(request.cloud, asked.identity.token.id)
    client_certificates.require_holder(session.token.thumbprint, presented(request))
    provider = asked.scope.service_provider.id
    return await federation_issue.sign(request.site, session, provider, issuer(request))


def told(made: Signed, content: str) -> Response:
    """Where the client takes it."""
    headers = {"X-sp-url": made.provider.sp_url, "X-auth-url": made.provider.auth_url}
    return Response(200, content.encode(), headers, content_type=XML)


@SERVICE.operation("POST", ASSERT, public=True, body=("auth", Asked))
async def assertion(request: Request, body: Asked) -> Response:
    made = await signed(request, body)
    return told(made, made.response)


@SERVICE.operation("POST", f"{ASSERT}/ecp", public=True, body=("auth", Asked))
async def enhanced(request: Request, body: Asked) -> Response:
    made = await signed(request, body)
    return told(made, await federation_issue.wrap(request.site, made))


@SERVICE.operation("GET", "/v3/OS-FEDERATION/saml2/metadata", public=True)
async def provider_metadata(request: Request) -> Response:
    """Of us as an identity provider."""
    address = url(request, "auth", "OS-FEDERATION", "saml2")
    text = await federation_issue.describe_provider(request.site, issuer(request), address)
    return Response(200, text.encode(), content_type=XML)


@SERVICE.operation("GET", f"{ASSERT}/service", public=True)
async def service_metadata(request: Request) -> Response:
    """Of us as a service provider; its address is our entity id."""
    party = service_party(request)
    text = await federation_issue.describe_service(request.site, party.entity, party.consumer)
    return Response(200, text.encode(), content_type=XML)
