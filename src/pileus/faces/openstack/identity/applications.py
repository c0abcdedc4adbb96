"""/v3/users/{user}/application_credentials."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from pileus.core.errors import Forbidden, Invalid
from pileus.core.identity.authentication.credential_records import AccessRule, ApplicationCredential
from pileus.core.identity.delegation import access_rules as core_rules
from pileus.core.identity.delegation import applications as core
from pileus.core.identity.delegation.access_rules import WantedRule
from pileus.core.identity.records import Role
from pileus.faces.openstack.identity import access_rules
from pileus.faces.openstack.identity import roles as role_views
from pileus.faces.openstack.identity.moments import expiry
from pileus.faces.openstack.identity.refs import Name, filter_key, known_key, listed, self_link, target
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.openstack.wire import precise, session
from pileus.faces.wire import Request

PATH = "/v3/users/{user}/application_credentials"


class RoleRef(msgspec.Struct, frozen=True, kw_only=True):
    id: str | None = None
    name: str | None = None


class RuleRef(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of the user's rules, or what a rule shall allow."""

    id: str | None = None
    service: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    path: Annotated[str, Meta(pattern="^/", max_length=255)] | None = None
    method: Literal["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"] | None = None


class CreateApplicationCredential(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`id`, `project_id` and `system` are taken as Keystone takes them: they change nothing."""

    name: Name
    id: str = ""
    project_id: str = ""
    system: str | None = None
    secret: str | None = None
    description: str | None = None
    expires_at: str | None = None
    roles: tuple[RoleRef, ...] = ()
    unrestricted: bool | None = None
    access_rules: tuple[RuleRef, ...] = ()


class ApplicationQuery(msgspec.Struct, frozen=True, kw_only=True):
    name: str | None = None


def view(
    request: Request,
    credential: ApplicationCredential,
    roles: Mapping[UUID, Role],
    rules: Mapping[UUID, AccessRule],
) -> dict[str, Any]:
    key = credential.id.hex
    held = [roles[role] for role in credential.roles if role in roles]
    expires = precise(credential.expires_at)
    shown = {
        "id": key,
        "name": credential.name,
        "description": credential.description or None,
        "user_id": credential.user.hex,
        "project_id": credential.project.hex,
        "system": None,
        "expires_at": expires.removesuffix("Z") if expires else None,
        "unrestricted": credential.unrestricted,
        "roles": [role_view(request, role) for role in held],
        "links": self_link(request, "users", credential.user.hex, "application_credentials", key),
    }
    if credential.access_rules is not None:
        bound = [rules[rule] for rule in credential.access_rules if rule in rules]
        shown["access_rules"] = [access_rules.brief(rule) for rule in bound]
    return shown


def role_view(request: Request, role: Role) -> dict[str, Any]:
    shown = role_views.view(request, role)
    return {name: value for name, value in shown.items() if name != "links"}


async def views(request: Request, found: list[ApplicationCredential]) -> list[dict[str, Any]]:
    roles = await core.roles_of(request.cloud, found)
    rules = await core_rules.of(request.cloud, found)
    return [view(request, credential, roles, rules) for credential in found]


def refuse_restricted(request: Request) -> None:
    """A program must not multiply itself, unless it was allowed to."""
    used = session(request).application_credential
    if used is not None and not used.unrestricted:
        raise Forbidden(
            "You are not authorized to perform the requested action: Using method 'application_credential' is "
            "not allowed for managing additional application credentials."
        )


@SERVICE.operation(
    "POST",
    PATH,
    policy="identity:create_application_credential",
    body=("application_credential", CreateApplicationCredential),
    status=201,
)
async def create(request: Request, user: UUID, body: CreateApplicationCredential) -> dict[str, Any]:
    request.enforce("identity:create_application_credential", target(user__id=user))
    access_rules.refuse_delegated(session(request))
    refuse_restricted(request)
    want = core.CreateApplicationCredential(
        name=body.name,
        secret=body.secret or "",
        description=body.description or "",
        roles=tuple(role_ref(role) for role in body.roles),
        unrestricted=bool(body.unrestricted),
        expires_at=expiry(body.expires_at),
        access_rules=tuple(rule_ref(rule) for rule in body.access_rules),
    )
    made = await core.create(request.cloud, request.caller, user, want)
    shown = (await views(request, [made.credential]))[0]
    return {"application_credential": shown | {"secret": made.secret}}


def rule_ref(rule: RuleRef) -> WantedRule:
    if rule.id is not None:
        return WantedRule(id=known_key(rule.id, "Access Rule"))
    if rule.service is None or rule.path is None or rule.method is None:
        raise Invalid("Each of the access_rules needs an id, or a service, a path and a method.")
    return WantedRule(service=rule.service, path=rule.path, method=rule.method)


def role_ref(role: RoleRef) -> UUID | str:
    if (role.id is None) == (role.name is None):
        raise Invalid("Each of the roles needs an id or a name, and not both.")
    return filter_key(role.id) or role.name or ""


@SERVICE.operation("GET", PATH, policy="identity:list_application_credentials", query=ApplicationQuery)
async def list_all(request: Request, user: UUID, query: ApplicationQuery) -> dict[str, Any]:
    request.enforce("identity:list_application_credentials", target(user__id=user))
    access_rules.refuse_delegated(session(request))
    found = await core.list_all(request.cloud, request.caller, user, name=query.name)
    return listed(request, "application_credentials", await views(request, found))


async def enforce_owner(request: Request, rule: str, user: UUID, key: UUID) -> None:
    """The rule about whose credential it is, whoever stands in the path; of one that does not exist, the user there."""
    request.enforce(rule, target(user__id=await core.owner(request.cloud, key) or user))
    access_rules.refuse_delegated(session(request))


@SERVICE.operation("GET", PATH + "/{credential}", policy="identity:get_application_credential", targeted=True)
async def show(request: Request, user: UUID, credential: UUID) -> dict[str, Any]:
    await enforce_owner(request, "identity:get_application_credential", user, credential)
    found = await core.show(request.cloud, request.caller, user, credential)
    return {"application_credential": (await views(request, [found]))[0]}


@SERVICE.operation(
    "DELETE",
    PATH + "/{credential}",
    policy="identity:delete_application_credential",
    targeted=True,
    status=204,
)
async def delete(request: Request, user: UUID, credential: UUID) -> None:
    await enforce_owner(request, "identity:delete_application_credential", user, credential)
    refuse_restricted(request)
    await core.delete(request.cloud, request.caller, user, credential)
