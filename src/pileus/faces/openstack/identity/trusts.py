"""/v3/OS-TRUST/trusts: what users let others do in their place."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from pileus.core.errors import Forbidden, Invalid, NotFound
from pileus.core.identity.delegation import delegation
from pileus.core.identity.delegation import trusts as core
from pileus.core.identity.records import Trust
from pileus.faces.openstack.identity import roles
from pileus.faces.openstack.identity.attributes import extras
from pileus.faces.openstack.identity.moments import expiry
from pileus.faces.openstack.identity.refs import filter_key, known_key, listed, self_link, target, url
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.openstack.wire import hex_id, precise, session
from pileus.faces.wire import Request

PATH = "/v3/OS-TRUST/trusts"
ONE = PATH + "/{trust}"


class RoleRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str | None = None
    name: str | None = None


class CreateTrust(msgspec.Struct, frozen=True, kw_only=True):
    trustor_user_id: str
    trustee_user_id: str
    impersonation: bool
    project_id: str | None = None
    roles: tuple[RoleRef, ...] = ()
    expires_at: str | None = None
    remaining_uses: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    allow_redelegation: bool | None = None
    redelegation_count: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    redelegated_trust_id: str | None = None


class TrustQuery(msgspec.Struct, frozen=True, kw_only=True):
    trustor_user_id: str | None = None
    trustee_user_id: str | None = None


def brief(request: Request, trust: Trust) -> dict[str, Any]:
    key = trust.id.hex
    return {
        **trust.extra,
        "id": key,
        "trustor_user_id": trust.trustor.hex,
        "trustee_user_id": trust.trustee.hex,
        "project_id": hex_id(trust.project),
        "impersonation": trust.impersonation,
        "expires_at": precise(trust.expires_at),
        "remaining_uses": trust.remaining_uses,
        "deleted_at": precise(trust.deleted_at),
        "redelegated_trust_id": hex_id(trust.redelegated_from),
        "redelegation_count": trust.redelegations,
        "links": self_link(request, "OS-TRUST", "trusts", key),
    }


async def view(request: Request, trust: Trust) -> dict[str, Any]:
    found = await core.roles_of(request.cloud, trust)
    shown = {
        "roles": [roles.view(request, role) for role in found],
        "roles_links": roles_links(request, trust),
    }
    return brief(request, trust) | shown


def roles_links(request: Request, trust: Trust) -> dict[str, Any]:
    return {"self": url(request, trust.id.hex, "roles"), "next": None, "previous": None}


def refuse_delegated(request: Request) -> None:
    """A token of a trust may hand the trust on; one got by another's secret may not touch trusts."""
    if delegation.by_delegate(session(request).token):
        raise Forbidden(f"{core.NO}Delegated tokens cannot manage trusts.")


def parties(trust: Trust) -> dict[str, Any]:
    return target(trust__trustor_user_id=trust.trustor, trust__trustee_user_id=trust.trustee)


async def allowed(request: Request, rule: str, key: UUID) -> Trust:
    """The trust, when the rule lets the caller at it. Raises NotFound before Forbidden, as Keystone does."""
    trust = await core.find(request.cloud, key)
    request.enforce(rule, parties(trust))
    refuse_delegated(request)
    return trust


@SERVICE.operation("GET", PATH, policy="identity:list_trusts", targeted=True, query=TrustQuery)
async def list_all(request: Request, query: TrustQuery) -> dict[str, Any]:
    trustor, trustee = filter_key(query.trustor_user_id), filter_key(query.trustee_user_id)
    if trustor is not None:
        request.enforce("identity:list_trusts_for_trustor", target(trust__trustor_user_id=trustor))
        trustee = None
    elif trustee is not None:
        request.enforce("identity:list_trusts_for_trustee", target(trust__trustee_user_id=trustee))
    else:
        request.enforce("identity:list_trusts")
    refuse_delegated(request)
    want = core.TrustFilter(trustor=trustor, trustee=trustee)
    found = await core.list_all(request.cloud, request.caller, want)
    return listed(request, "trusts", [brief(request, trust) for trust in found])


@SERVICE.operation("POST", PATH, policy="identity:create_trust", body=("trust", CreateTrust), status=201)
async def create(request: Request, body: CreateTrust) -> dict[str, Any]:
    trustor = filter_key(body.trustor_user_id)
    request.enforce("identity:create_trust", target(trust__trustor_user_id=trustor))
    refuse_delegated(request)
    held = session(request)
    want = core.CreateTrust(
        trustor=known_key(body.trustor_user_id, "user"),
        trustee=known_key(body.trustee_user_id, "user"),
        project=known_key(body.project_id, "project") if body.project_id else None,
        roles=tuple(role_ref(role) for role in body.roles),
        impersonation=body.impersonation,
        expires_at=expiry(body.expires_at),
        remaining_uses=body.remaining_uses,
        redelegable=bool(body.allow_redelegation),
        redelegations=body.redelegation_count,
        by=held.trust.id if held.trust else None,
        extra=await extras(request, "trust", CreateTrust),
    )
    return {"trust": await view(request, await core.create(request.cloud, request.caller, want))}


def role_ref(role: RoleRef) -> UUID | str:
    if (role.id is None) == (role.name is None):
        raise Invalid("Invalid input for field/attribute roles: name each role by its id or by its name.")
    return known_key(role.id, "role") if role.id is not None else role.name or ""


@SERVICE.operation("GET", ONE, policy="identity:get_trust")
async def show(request: Request, trust: UUID) -> dict[str, Any]:
    await allowed(request, "identity:get_trust", trust)
    return {"trust": await view(request, await core.show(request.cloud, request.caller, trust))}


@SERVICE.operation("DELETE", ONE, policy="identity:delete_trust", status=204)
async def delete(request: Request, trust: UUID) -> None:
    await allowed(request, "identity:delete_trust", trust)
    await core.delete(request.cloud, request.caller, trust)


@SERVICE.operation("GET", ONE + "/roles", policy="identity:list_roles_for_trust")
async def list_roles(request: Request, trust: UUID) -> dict[str, Any]:
    await allowed(request, "identity:list_roles_for_trust", trust)
    held = await core.show(request.cloud, request.caller, trust)
    found = await core.roles_of(request.cloud, held)
    return {"roles": [roles.view(request, role) for role in found], "links": roles_links(request, held)}


@SERVICE.operation("GET", ONE + "/roles/{role}", policy="identity:get_role_for_trust")
async def show_role(request: Request, trust: UUID, role: UUID) -> dict[str, Any]:
    await allowed(request, "identity:get_role_for_trust", trust)
    held = await core.show(request.cloud, request.caller, trust)
    for found in await core.roles_of(request.cloud, held):
        if found.id == role:
            return {"role": roles.view(request, found)}
    raise NotFound("role", role.hex)
