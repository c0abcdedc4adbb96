"""/v3/auth: tokens, and what a token can be exchanged for."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from pileus.core.errors import Forbidden, Unauthenticated
from pileus.core.identity.authentication import login
from pileus.core.identity.authentication.receipts import MoreProof, Receipt
from pileus.core.identity.authorization import access, assignments
from pileus.core.identity.authorization.access import Session
from pileus.core.identity.records import Domain, Project, Scope, User
from pileus.faces.openstack.identity import access_rules, domains, projects
from pileus.faces.openstack.identity.catalog import catalog
from pileus.faces.openstack.identity.proofs import METHODS, Auth, UnknownMethod, proofs, wish
from pileus.faces.openstack.identity.refs import domain_id, listed, on, self_link, target
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.openstack.wire import keystone_error, precise, session, unauthorized
from pileus.faces.wire import Request, Response

VARY = {"vary": "X-Auth-Token"}
NO = "You are not authorized to perform the requested action."
ADDED: list[Callable[[Request, Session], Awaitable[dict[str, Any]]]] = []
"""What other modules show in every token."""


class IssueQuery(msgspec.Struct, frozen=True, kw_only=True):
    nocatalog: str | None = None


class ValidateQuery(msgspec.Struct, frozen=True, kw_only=True):
    nocatalog: str | None = None
    allow_expired: str | None = None


class RevokeQuery(msgspec.Struct, frozen=True, kw_only=True):
    cascade: str | None = None


def domain_ref(domain: Domain) -> dict[str, str]:
    return {"id": domain_id(domain.id), "name": domain.name}


def user_view(user: User, domain: Domain) -> dict[str, Any]:
    return {"id": user.id.hex, "name": user.name, "domain": domain_ref(domain)}


async def view(request: Request, held: Session, *, with_catalog: bool) -> dict[str, Any]:
    token = held.token
    shown: dict[str, Any] = {
        "methods": list(token.methods),
        "user": user_view(held.user, held.user_domain) | federation_view(held),
        "audit_ids": list(token.audit),
        "expires_at": precise(token.expires_at),
        "issued_at": precise(token.issued_at),
    }
    if token.scope is not None:
        shown["roles"] = [{"id": role.id.hex, "name": role.name} for role in held.roles]
        if with_catalog:
            shown["catalog"] = await catalog(request, held)
    if held.project is not None and held.project_domain is not None:
        project = {"id": held.project.id.hex, "name": held.project.name}
        shown["project"] = project | {"domain": domain_ref(held.project_domain)}
        if held.trust is None:
            shown["is_domain"] = False
    if held.domain is not None:
        shown["domain"] = domain_ref(held.domain)
    if token.scope is Scope.SYSTEM:
        shown["system"] = {"all": True}
    for part in ADDED:
        shown |= await part(request, held)
    return shown | handed_on_view(held)


def federation_view(held: Session) -> dict[str, Any]:
    """What a token says of its user beside the name."""
    token = held.token
    if not token.provider:
        expires = precise(held.user.password_expires_at)
        return {"password_expires_at": expires.removesuffix("Z") if expires else None}
    return {
        "OS-FEDERATION": {
            "groups": [{"id": group.hex} for group in token.groups],
            "identity_provider": {"id": token.provider},
            "protocol": {"id": token.protocol},
        }
    }


def handed_on_view(held: Session) -> dict[str, Any]:
    """By what a token acts that is not its user's own password."""
    shown: dict[str, Any] = {}
    trust, access_token, credential = held.trust, held.access_token, held.application_credential
    if trust is not None:
        shown["OS-TRUST:trust"] = {
            "id": trust.id.hex,
            "trustor_user": {"id": trust.trustor.hex},
            "trustee_user": {"id": trust.trustee.hex},
            "impersonation": trust.impersonation,
        }
    if access_token is not None:
        shown["OS-OAUTH1"] = {
            "access_token_id": access_token.id.hex,
            "consumer_id": access_token.consumer.hex,
        }
    if credential is not None:
        shown["application_credential"] = {
            "id": credential.id.hex,
            "name": credential.name,
            "restricted": not credential.unrestricted,
        }
        if held.access_rules is not None:
            rules = [access_rules.brief(rule) for rule in held.access_rules]
            shown["application_credential"]["access_rules"] = rules
    if held.token.thumbprint:
        shown["oauth2_credential"] = {"x5t#S256": held.token.thumbprint}
    return shown


@SERVICE.operation("POST", "/v3/auth/tokens", public=True, body=("auth", Auth), query=IssueQuery, status=201)
async def issue(request: Request, query: IssueQuery, body: Auth) -> Response:
    try:
        issued = await login.authenticate(
            request.cloud,
            await proofs(request, body.identity),
            wish(body.scope),
            receipt=request.headers.get("openstack-auth-receipt", ""),
            methods=METHODS,
        )
    except MoreProof as more:
        return receipt_view(more.receipt)
    except UnknownMethod as error:
        fault = keystone_error(401, error.public) | {"identity": {"methods": list(METHODS)}}
        return Response(401, {"error": fault}, unauthorized(request).headers)
    return await issued_view(request, issued, with_catalog=query.nocatalog is None)


async def issued_view(request: Request, issued: login.Issued, *, with_catalog: bool = True) -> Response:
    """The answer to whoever was given a token."""
    shown = await view(request, issued.session, with_catalog=with_catalog)
    return Response(201, {"token": shown}, {"x-subject-token": issued.text, **VARY})


def receipt_view(receipt: Receipt) -> Response:
    shown = {
        "methods": list(receipt.methods),
        "user": user_view(receipt.user, receipt.domain),
        "expires_at": precise(receipt.expires_at),
        "issued_at": precise(receipt.issued_at),
    }
    body = {"receipt": shown, "required_auth_methods": [list(rule) for rule in receipt.missing]}
    return Response(401, body, {"openstack-auth-receipt": receipt.text, **VARY})


async def subject(request: Request, rule: str, *, allow_expired: bool = False) -> Session:
    """The session of the token that is asked about. Raises NotFound when it is not good, or when it is bound to
    requests and the client has not said that it minds that; where none is named, Forbidden to those who may ask about
    their own only."""
    text = request.headers.get("x-subject-token", "")
    if not text:
        request.enforce(rule, {})
    try:
        held = await access.present(request.cloud, text, allow_expired=allow_expired, bound=True)
    except Unauthenticated as error:
        raise login.BadToken(error.private) from None
    if held.access_rules is not None and not minds_rules(request):
        raise login.BadToken("client does not mind access rules")
    return held


def minds_rules(request: Request) -> bool:
    try:
        return float(request.headers.get("openstack-identity-access-rules", "0")) >= 1
    except ValueError:
        return False


@SERVICE.operation("GET", "/v3/auth/tokens", policy="identity:validate_token", query=ValidateQuery)
async def validate(request: Request, query: ValidateQuery) -> Response:
    return await asked(request, query, "identity:validate_token")


@SERVICE.operation("HEAD", "/v3/auth/tokens", policy="identity:check_token", query=ValidateQuery)
async def check(request: Request, query: ValidateQuery) -> Response:
    return await asked(request, query, "identity:check_token")


async def asked(request: Request, query: ValidateQuery, rule: str) -> Response:
    held = await subject(request, rule, allow_expired=on(query.allow_expired))
    request.enforce(rule, target(token__user_id=held.user.id))
    shown = await view(request, held, with_catalog=query.nocatalog is None)
    headers = {"x-subject-token": request.headers["x-subject-token"], **VARY}
    return Response(200, {"token": shown}, headers)


@SERVICE.operation("DELETE", "/v3/auth/tokens", policy="identity:revoke_token", query=RevokeQuery, status=204)
async def revoke(request: Request, query: RevokeQuery) -> None:
    held = await subject(request, "identity:revoke_token")
    request.enforce("identity:revoke_token", target(token__user_id=held.user.id))
    cascade = query.cascade is None or on(query.cascade)
    await login.end(request.cloud, request.caller, held, descendants=cascade)


async def own(request: Request) -> list[assignments.Reach]:
    return await assignments.own_places(request.cloud, request.caller, session(request).token.groups)


@SERVICE.operation("GET", "/v3/auth/projects", policy="identity:get_auth_projects")
async def list_projects(request: Request) -> dict[str, Any]:
    found: dict[Any, Project] = {}
    for granted in await own(request):
        if granted.project is not None:
            found[granted.project.id] = granted.project
    return listed(request, "projects", [projects.view(request, project) for project in found.values()])


@SERVICE.operation("GET", "/v3/auth/domains", policy="identity:get_auth_domains")
async def list_domains(request: Request) -> dict[str, Any]:
    found: dict[Any, Domain] = {}
    for granted in await own(request):
        if granted.domain is not None:
            found[granted.domain.id] = granted.domain
    return listed(request, "domains", [domains.view(request, domain) for domain in found.values()])


@SERVICE.operation("GET", "/v3/auth/system", policy="identity:get_auth_system")
async def list_systems(request: Request) -> dict[str, Any]:
    places = await own(request)
    whole = any(granted.place.scope is Scope.SYSTEM for granted in places)
    return {"system": [{"all": True}] if whole else [], "links": self_link(request, "auth", "system")}


@SERVICE.operation("GET", "/v3/auth/catalog", policy="identity:get_auth_catalog")
async def show_catalog(request: Request) -> dict[str, Any]:
    held = session(request)
    if held.project is None:
        raise Forbidden(NO)
    return {"catalog": await catalog(request, held), "links": self_link(request, "auth", "catalog")}
