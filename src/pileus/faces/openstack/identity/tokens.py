"""/v3/auth: tokens, and what a token can be exchanged for."""

from typing import Any

import msgspec

from pileus.core.errors import NotFound, Unauthenticated
from pileus.core.identity import access, assignments, login
from pileus.core.identity.access import Session
from pileus.core.identity.records import Domain, Project, Scope
from pileus.faces.openstack.identity import domains, projects
from pileus.faces.openstack.identity.catalog import catalog
from pileus.faces.openstack.identity.proofs import Auth, proofs, wish
from pileus.faces.openstack.identity.refs import domain_id, listed, on, target
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.openstack.wire import precise, session
from pileus.faces.wire import Request, Response

VARY = {"vary": "X-Auth-Token"}


class IssueQuery(msgspec.Struct, frozen=True, kw_only=True):
    nocatalog: str | None = None


class ValidateQuery(msgspec.Struct, frozen=True, kw_only=True):
    nocatalog: str | None = None
    allow_expired: str | None = None


def domain_ref(domain: Domain) -> dict[str, str]:
    return {"id": domain_id(domain.id), "name": domain.name}


def view(request: Request, held: Session, *, with_catalog: bool) -> dict[str, Any]:
    token = held.token
    shown: dict[str, Any] = {
        "methods": list(token.methods),
        "user": {
            "id": held.user.id.hex,
            "name": held.user.name,
            "domain": domain_ref(held.user_domain),
            "password_expires_at": None,
        },
        "audit_ids": list(token.audit),
        "expires_at": precise(token.expires_at),
        "issued_at": precise(token.issued_at),
    }
    if token.scope is not None:
        shown["roles"] = [{"id": role.id.hex, "name": role.name} for role in held.roles]
        if with_catalog:
            shown["catalog"] = catalog(request)
    if held.project is not None and held.project_domain is not None:
        shown["is_domain"] = False
        shown["project"] = {
            "id": held.project.id.hex,
            "name": held.project.name,
            "domain": domain_ref(held.project_domain),
        }
    if held.domain is not None:
        shown["domain"] = domain_ref(held.domain)
    if token.scope is Scope.SYSTEM:
        shown["system"] = {"all": True}
    credential = held.application_credential
    if credential is not None:
        shown["application_credential"] = {
            "id": credential.id.hex,
            "name": credential.name,
            "restricted": not credential.unrestricted,
        }
    return shown


@SERVICE.operation("POST", "/v3/auth/tokens", public=True, body=("auth", Auth), query=IssueQuery, status=201)
async def issue(request: Request, query: IssueQuery, body: Auth) -> Response:
    issued = await login.authenticate(request.cloud, proofs(body.identity), wish(body.scope))
    shown = view(request, issued.session, with_catalog=not on(query.nocatalog))
    return Response(201, {"token": shown}, {"x-subject-token": issued.text, **VARY})


async def subject(request: Request, *, allow_expired: bool = False) -> Session:
    """The session of the token that is asked about. Raises NotFound when it is not good."""
    text = request.headers.get("x-subject-token", "")
    try:
        return await access.present(request.cloud, text, allow_expired=allow_expired)
    except Unauthenticated as error:
        raise NotFound("Token", "in X-Subject-Token", private=error.private) from None


@SERVICE.operation("GET", "/v3/auth/tokens", policy="identity:validate_token", query=ValidateQuery)
async def validate(request: Request, query: ValidateQuery) -> Response:
    held = await subject(request, allow_expired=on(query.allow_expired))
    request.enforce("identity:validate_token", target(token__user_id=held.user.id))
    shown = view(request, held, with_catalog=not on(query.nocatalog))
    headers = {"x-subject-token": request.headers["x-subject-token"], **VARY}
    return Response(200, {"token": shown}, headers)


@SERVICE.operation("DELETE", "/v3/auth/tokens", policy="identity:revoke_token", status=204)
async def revoke(request: Request) -> None:
    held = await subject(request)
    request.enforce("identity:revoke_token", target(token__user_id=held.user.id))
    await login.end(request.cloud, request.caller, held)


@SERVICE.operation("GET", "/v3/auth/projects", policy="identity:get_auth_projects")
async def list_projects(request: Request) -> dict[str, Any]:
    found: dict[Any, Project] = {}
    for granted in await assignments.own_places(request.cloud, request.caller):
        if granted.project is not None:
            found[granted.project.id] = granted.project
    return listed(request, "projects", [projects.view(request, project) for project in found.values()])


@SERVICE.operation("GET", "/v3/auth/domains", policy="identity:get_auth_domains")
async def list_domains(request: Request) -> dict[str, Any]:
    found: dict[Any, Domain] = {}
    for granted in await assignments.own_places(request.cloud, request.caller):
        if granted.domain is not None:
            found[granted.domain.id] = granted.domain
    return listed(request, "domains", [domains.view(request, domain) for domain in found.values()])


@SERVICE.operation("GET", "/v3/auth/system", policy="identity:get_auth_system")
async def list_systems(request: Request) -> dict[str, Any]:
    places = await assignments.own_places(request.cloud, request.caller)
    whole = any(granted.place.scope is Scope.SYSTEM for granted in places)
    return listed(request, "system", [{"all": True}] if whole else [])


@SERVICE.operation("GET", "/v3/auth/catalog", policy="identity:get_auth_catalog")
async def show_catalog(request: Request) -> dict[str, Any]:
    shown = catalog(request) if session(request).token.scope is not None else []
    return listed(request, "catalog", shown)
