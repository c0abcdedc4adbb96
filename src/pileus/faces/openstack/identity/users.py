"""/v3/users, their passwords, projects and groups."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.errors import Forbidden, Invalid, NotFound
from pileus.core.identity import groups as core_groups
from pileus.core.identity import projects as core_projects
from pileus.core.identity import users as core
from pileus.core.identity.authentication import password_policy, passwords
from pileus.core.identity.domains import ROOT
from pileus.core.identity.federation import identities
from pileus.core.identity.federation.federation_records import FederatedIdentity
from pileus.core.identity.listing import Found, Window
from pileus.core.identity.records import Group, User
from pileus.faces.openstack.identity import groups, projects
from pileus.faces.openstack.identity.attributes import (
    changes,
    extras,
    kept,
    shown_texts,
    text,
    trimmed,
)
from pileus.faces.openstack.identity.filters import expires, flag, names, part, shown
from pileus.faces.openstack.identity.options import UserOptions, changed, given
from pileus.faces.openstack.identity.refs import (
    IdText,
    Name,
    domain_id,
    domain_key,
    filter_key,
    known_key,
    self_link,
    target,
)
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.openstack.wire import precise
from pileus.faces.wire import Request


class ProtocolRef(msgspec.Struct, frozen=True, kw_only=True):
    protocol_id: str
    unique_id: str


class FederatedRef(msgspec.Struct, frozen=True, kw_only=True):
    idp_id: str
    protocols: tuple[ProtocolRef, ...]


def known_as(federated: tuple[FederatedRef, ...]) -> tuple[identities.Name, ...]:
    return tuple(
        identities.Name(provider=each.idp_id, protocol=protocol.protocol_id, subject=protocol.unique_id)
        for each in federated
        for protocol in each.protocols
    )


class CreateUser(msgspec.Struct, frozen=True, kw_only=True):
    name: Name
    password: str | None = None
    domain_id: IdText | UnsetType = UNSET
    default_project_id: str | None = None
    email: str | None = None
    description: str | None = None
    enabled: bool = True
    options: UserOptions | UnsetType = UNSET
    federated: tuple[FederatedRef, ...] = ()


class UpdateUser(msgspec.Struct, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    password: str | UnsetType | None = UNSET
    domain_id: str | UnsetType = UNSET
    default_project_id: str | UnsetType | None = UNSET
    email: str | UnsetType | None = UNSET
    description: str | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET
    options: UserOptions | UnsetType = UNSET
    federated: tuple[FederatedRef, ...] | UnsetType = UNSET


class UserQuery(msgspec.Struct, frozen=True, kw_only=True):
    name: Name | None = None
    domain_id: IdText | None = None
    enabled: str | None = None
    password_expires_at: tuple[str, ...] = ()
    idp_id: str | None = None
    protocol_id: str | None = None
    unique_id: str | None = None
    limit: int | None = None
    marker: str | None = None


class MemberQuery(msgspec.Struct, frozen=True, kw_only=True):
    name: str | None = None
    enabled: str | None = None
    password_expires_at: tuple[str, ...] = ()
    limit: int | None = None
    marker: str | None = None


class PlaceQuery(msgspec.Struct, frozen=True, kw_only=True):
    name: str | None = None
    enabled: str | None = None
    domain_id: str | None = None
    limit: int | None = None
    marker: str | None = None


class ChangePassword(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    original_password: str
    password: str


def view(request: Request, user: User, known: list[FederatedIdentity] | None = None) -> dict[str, Any]:
    key = user.id.hex
    cloud = request.cloud
    until = precise(user.password_expires_at)
    exempt = bool(user.options.get("ignore_password_expiry"))
    answer: dict[str, Any] = {
        **user.extra,
        "id": key,
        "name": user.name,
        "domain_id": domain_id(user.domain),
        "enabled": password_policy.enabled(cloud.config, user, cloud.now()),
        "password_expires_at": until.removesuffix("Z") if until and not exempt else None,
        "options": user.options,
        "links": self_link(request, "users", key),
    }
    if user.default_project is not None:
        answer["default_project_id"] = user.default_project.hex
    answer |= shown_texts(user.extra, email=user.email, description=user.description)
    if known:
        answer["federated"] = federated(known)
    return answer


def federated(known: list[FederatedIdentity]) -> list[dict[str, Any]]:
    """By provider, each with its protocols."""
    found: dict[str, list[dict[str, str]]] = {}
    for identity in known:
        protocol = {"protocol_id": identity.protocol, "unique_id": identity.subject}
        found.setdefault(identity.provider, []).append(protocol)
    return [{"idp_id": provider, "protocols": protocols} for provider, protocols in found.items()]


async def one(request: Request, user: User) -> dict[str, Any]:
    known = await core.federated(request.cloud, [user.id])
    return {"user": view(request, user, known.get(user.id))}


async def updated(request: Request, user: User) -> dict[str, Any]:
    """As `one`; Keystone shows what it has no field for once more."""
    texts = shown_texts(user.extra, email=user.email, description=user.description)
    answer = await one(request, user)
    return {"user": answer["user"] | {"extra": user.extra | texts}}


async def many(request: Request, found: Found[User], window: Window) -> dict[str, Any]:
    known = await core.federated(request.cloud, [user.id for user in found.items])
    return shown(request, "users", found, window, lambda _, user: view(request, user, known.get(user.id)))


def target_of(user: User) -> dict[str, str]:
    return target(user__id=user.id, user__domain_id=user.domain)


async def found(request: Request, rule: str, user: UUID) -> User:
    """The user, when the rule lets the caller do this to it."""
    try:
        held = await core.show(request.cloud, request.caller, user)
    except (NotFound, Forbidden):
        request.enforce(rule, {})
        raise
    request.enforce(rule, target_of(held))
    return held


@SERVICE.operation("GET", "/v3/users", policy="identity:list_users", query=UserQuery)
async def list_all(request: Request, query: UserQuery) -> dict[str, Any]:
    own = request.caller.domain
    request.enforce("identity:list_users", target(domain_id=own))
    window = part(query.limit, query.marker)
    want = core.UserFilter(
        domain=filter_key(query.domain_id) or own,
        within=own,
        name=query.name,
        enabled=flag(query.enabled, "enabled"),
        names=names(request),
        expires=expires(query.password_expires_at),
        provider=query.idp_id,
        protocol=query.protocol_id,
        subject=query.unique_id,
    )
    return await many(request, await core.list_page(request.cloud, request.caller, want, window), window)


@SERVICE.operation("POST", "/v3/users", policy="identity:create_user", body=("user", CreateUser), status=201)
async def create(request: Request, body: CreateUser) -> dict[str, Any]:
    domain = place_of(request, body.domain_id)
    request.enforce("identity:create_user", target(user__domain_id=domain))
    project = known_key(body.default_project_id, "Project") if body.default_project_id else None
    want = core.CreateUser(
        name=body.name.strip(),
        domain=domain,
        password=body.password or "",
        default_project=project,
        email=body.email or "",
        description=body.description or "",
        enabled=body.enabled,
        options=given(body.options),
        known_as=known_as(body.federated),
        extra=await extras(request, "user", CreateUser, texts=True),
    )
    return await one(request, await core.create(request.cloud, request.caller, want))


def place_of(request: Request, text: str | UnsetType) -> UUID:
    """The domain in which something is made: the named one, the token's, or else the first."""
    named = domain_key(text) if text is not UNSET else None
    return named or request.caller.domain or ROOT


@SERVICE.operation("GET", "/v3/users/{user}", policy="identity:get_user")
async def show(request: Request, user: UUID) -> dict[str, Any]:
    return await one(request, await found(request, "identity:get_user", user))


@SERVICE.operation("PATCH", "/v3/users/{user}", policy="identity:update_user", body=("user", UpdateUser))
async def update(request: Request, user: UUID, body: UpdateUser) -> dict[str, Any]:
    held = await found(request, "identity:update_user", user)
    extra = await changes(request, "user", UpdateUser, user.hex, texts=True)
    if isinstance(body.domain_id, str) and body.domain_id != domain_id(held.domain):
        raise Invalid("Cannot change Domain ID; create a user there.")
    project: UUID | UnsetType | None = UNSET
    if body.default_project_id is not UNSET:
        project = known_key(body.default_project_id, "Project") if body.default_project_id else None
    want = core.UpdateUser(
        name=trimmed(body.name),
        password=text(body.password),
        default_project=project,
        email=text(body.email),
        description=text(body.description),
        enabled=body.enabled,
        options=changed(body.options),
        known_as=UNSET if body.federated is UNSET else known_as(body.federated),
        extra=kept(extra),
    )
    return await updated(request, await core.update(request.cloud, request.caller, user, want))


@SERVICE.operation("DELETE", "/v3/users/{user}", policy="identity:delete_user", status=204)
async def delete(request: Request, user: UUID) -> None:
    await found(request, "identity:delete_user", user)
    await core.delete(request.cloud, request.caller, user)


@SERVICE.operation(
    "POST", "/v3/users/{user}/password", public=True, body=("user", ChangePassword), status=204
)
async def change_password(request: Request, user: str, body: ChangePassword) -> None:
    """Without a token: the old password proves who asks. An unknown user is refused as a wrong password is."""
    key = filter_key(user) or ROOT
    await passwords.change(request.cloud, key, body.original_password, body.password, request.client)


@SERVICE.operation("GET", "/v3/users/{user}/projects", policy="identity:list_user_projects", query=PlaceQuery)
async def list_projects(request: Request, user: UUID, query: PlaceQuery) -> dict[str, Any]:
    await found(request, "identity:list_user_projects", user)
    window = part(query.limit, query.marker)
    want = core_projects.ProjectFilter(
        domain=filter_key(query.domain_id),
        name=query.name,
        enabled=flag(query.enabled, "enabled"),
        names=names(request),
    )
    held = await core_projects.of_user(request.cloud, request.caller, user, want, window)
    return shown(request, "projects", held, window, projects.view)


@SERVICE.operation(
    "GET", "/v3/users/{user}/groups", policy="identity:list_groups_for_user", query=groups.GroupQuery
)
async def list_groups(request: Request, user: UUID, query: groups.GroupQuery) -> dict[str, Any]:
    await found(request, "identity:list_groups_for_user", user)
    window = part(query.limit, query.marker)
    want = core_groups.GroupFilter(name=query.name, names=names(request), user=user)
    held = await core_groups.list_page(request.cloud, request.caller, want, window)
    ends = await core_groups.ends(request.cloud, user)

    def view_of(request: Request, group: Group) -> dict[str, Any]:
        return groups.view(request, group) | {"membership_expires_at": precise(ends.get(group.id))}

    return shown(request, "groups", held, window, view_of)


@SERVICE.operation(
    "GET", "/v3/groups/{group}/users", policy="identity:list_users_in_group", query=MemberQuery
)
async def list_members(request: Request, group: UUID, query: MemberQuery) -> dict[str, Any]:
    held = await groups.found(request, "identity:list_users_in_group", group)
    window = part(query.limit, query.marker)
    want = core.UserFilter(
        domain=None if request.caller.domain is None else held.domain,
        name=query.name,
        enabled=flag(query.enabled, "enabled"),
        names=names(request),
        expires=expires(query.password_expires_at),
        group=held.id,
    )
    return await many(request, await core.list_page(request.cloud, request.caller, want, window), window)
