"""/v3/users/{user}/application_credentials."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.errors import Forbidden, Invalid, Unsupported
from pileus.core.identity import applications as core
from pileus.core.identity.credential_records import ApplicationCredential
from pileus.core.identity.records import Role
from pileus.faces.openstack.identity.refs import Name, known_key, listed, self_link, target
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.openstack.wire import precise, session
from pileus.faces.wire import Request

PATH = "/v3/users/{user}/application_credentials"


class RoleRef(msgspec.Struct, frozen=True, kw_only=True):
    id: str | None = None
    name: str | None = None


class CreateApplicationCredential(msgspec.Struct, frozen=True, kw_only=True):
    name: Name
    secret: str | None = None
    description: str | None = None
    expires_at: datetime | None = None
    roles: tuple[RoleRef, ...] | None = None
    unrestricted: bool = False
    access_rules: tuple[Any, ...] | None = None


class ApplicationQuery(msgspec.Struct, frozen=True, kw_only=True):
    name: str | None = None


def view(request: Request, credential: ApplicationCredential, roles: Mapping[UUID, Role]) -> dict[str, Any]:
    key = credential.id.hex
    held = [roles[role] for role in credential.roles if role in roles]
    expires = precise(credential.expires_at)
    return {
        "id": key,
        "name": credential.name,
        "description": credential.description,
        "project_id": credential.project.hex,
        "system": None,
        "expires_at": expires.removesuffix("Z") if expires else None,
        "unrestricted": credential.unrestricted,
        "roles": [{"id": role.id.hex, "name": role.name, "domain_id": None} for role in held],
        "links": self_link(request, "users", credential.user.hex, "application_credentials", key),
    }


def refuse_restricted(request: Request) -> None:
    """A program must not multiply itself, unless it was allowed to."""
    used = session(request).application_credential
    if used is not None and not used.unrestricted:
        raise Forbidden("This application credential is restricted: it can neither create nor delete others.")


@SERVICE.operation(
    "POST",
    PATH,
    policy="identity:create_application_credential",
    body=("application_credential", CreateApplicationCredential),
    status=201,
)
async def create(request: Request, user: UUID, body: CreateApplicationCredential) -> dict[str, Any]:
    request.enforce("identity:create_application_credential", target(user__id=user))
    refuse_restricted(request)
    if body.access_rules:
        raise Unsupported("Access rules are not supported; restrict the roles instead.")
    want = core.CreateApplicationCredential(
        name=body.name,
        secret=body.secret or "",
        description=body.description or "",
        roles=tuple(role_ref(role) for role in body.roles or ()),
        unrestricted=body.unrestricted,
        expires_at=zoned(body.expires_at),
    )
    made = await core.create(request.cloud, request.caller, user, want)
    roles = await core.roles_of(request.cloud, [made.credential])
    return {"application_credential": view(request, made.credential, roles) | {"secret": made.secret}}


def role_ref(role: RoleRef) -> UUID | str:
    if role.id is not None:
        return known_key(role.id, "Role")
    if role.name is None:
        raise Invalid("Each of the roles needs an id or a name.")
    return role.name


def zoned(at: datetime | None) -> datetime | None:
    """Times without a zone are in UTC."""
    return at.replace(tzinfo=UTC) if at is not None and at.tzinfo is None else at


@SERVICE.operation("GET", PATH, policy="identity:list_application_credentials", query=ApplicationQuery)
async def list_all(request: Request, user: UUID, query: ApplicationQuery) -> dict[str, Any]:
    request.enforce("identity:list_application_credentials", target(user__id=user))
    found = await core.list_all(request.cloud, request.caller, user, name=query.name)
    roles = await core.roles_of(request.cloud, found)
    shown = [view(request, credential, roles) for credential in found]
    return listed(request, "application_credentials", shown)


@SERVICE.operation("GET", PATH + "/{credential}", policy="identity:get_application_credential")
async def show(request: Request, user: UUID, credential: UUID) -> dict[str, Any]:
    request.enforce("identity:get_application_credential", target(user__id=user))
    found = await core.show(request.cloud, request.caller, user, credential)
    roles = await core.roles_of(request.cloud, [found])
    return {"application_credential": view(request, found, roles)}


@SERVICE.operation(
    "DELETE", PATH + "/{credential}", policy="identity:delete_application_credential", status=204
)
async def delete(request: Request, user: UUID, credential: UUID) -> None:
    request.enforce("identity:delete_application_credential", target(user__id=user))
    refuse_restricted(request)
    await core.delete(request.cloud, request.caller, user, credential)
