"""/v3/groups, and who is in them."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.errors import Forbidden, Invalid, NotFound
from pileus.core.identity import groups as core
from pileus.core.identity import users as core_users
from pileus.core.identity.domains import ROOT
from pileus.core.identity.records import Group
from pileus.faces.openstack.identity.attributes import (
    changes,
    extras,
    kept,
    text,
    trimmed,
)
from pileus.faces.openstack.identity.attributes import shown as shown_text
from pileus.faces.openstack.identity.filters import names, part, shown
from pileus.faces.openstack.identity.refs import (
    IdText,
    Name,
    ShortName,
    domain_id,
    domain_key,
    filter_key,
    self_link,
    target,
)
from pileus.faces.openstack.identity.service import SERVICE
from pileus.faces.wire import Request

MEMBER = "/v3/groups/{group}/users/{user}"


class CreateGroup(msgspec.Struct, frozen=True, kw_only=True):
    name: ShortName
    domain_id: IdText | UnsetType = UNSET
    description: str | None = None


class UpdateGroup(msgspec.Struct, frozen=True, kw_only=True):
    name: ShortName | UnsetType = UNSET
    domain_id: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET


class GroupQuery(msgspec.Struct, frozen=True, kw_only=True):
    name: Name | None = None
    domain_id: IdText | None = None
    limit: int | None = None
    marker: str | None = None


def view(request: Request, group: Group) -> dict[str, Any]:
    key = group.id.hex
    return {
        **group.extra,
        "id": key,
        "name": group.name,
        "domain_id": domain_id(group.domain),
        "description": shown_text(group.description, group.extra),
        "links": self_link(request, "groups", key),
    }


async def found(request: Request, rule: str, group: UUID) -> Group:
    """The group, when the rule lets the caller do this to it."""
    try:
        held = await core.show(request.cloud, request.caller, group)
    except (NotFound, Forbidden):
        request.enforce(rule, {})
        raise
    request.enforce(rule, target(group__id=held.id, group__domain_id=held.domain))
    return held


async def both(request: Request, rule: str, group: UUID, user: UUID) -> None:
    """The rule about a group and a user. Raises NotFound, Forbidden."""
    try:
        held = await core.show(request.cloud, request.caller, group)
        member = await core_users.show(request.cloud, request.caller, user)
    except (NotFound, Forbidden):
        request.enforce(rule, {})
        raise
    request.enforce(
        rule,
        target(
            group__id=held.id,
            group__domain_id=held.domain,
            user__id=member.id,
            user__domain_id=member.domain,
        ),
    )


@SERVICE.operation("GET", "/v3/groups", policy="identity:list_groups", query=GroupQuery)
async def list_all(request: Request, query: GroupQuery) -> dict[str, Any]:
    own = request.caller.domain
    request.enforce("identity:list_groups", target(group__domain_id=own))
    window = part(query.limit, query.marker)
    want = core.GroupFilter(
        domain=filter_key(query.domain_id) or own, name=query.name, names=names(request), within=own
    )
    return shown(
        request,
        "groups",
        await core.list_page(request.cloud, request.caller, want, window),
        window,
        view,
    )


@SERVICE.operation(
    "POST", "/v3/groups", policy="identity:create_group", body=("group", CreateGroup), status=201
)
async def create(request: Request, body: CreateGroup) -> dict[str, Any]:
    named = domain_key(body.domain_id) if body.domain_id is not UNSET else None
    domain = named or request.caller.domain or ROOT
    request.enforce("identity:create_group", target(group__domain_id=domain))
    want = core.CreateGroup(
        name=body.name.strip(),
        domain=domain,
        description=body.description or "",
        extra=await extras(request, "group", CreateGroup, texts=True),
    )
    return {"group": view(request, await core.create(request.cloud, request.caller, want))}


@SERVICE.operation("GET", "/v3/groups/{group}", policy="identity:get_group")
async def show(request: Request, group: UUID) -> dict[str, Any]:
    return {"group": view(request, await found(request, "identity:get_group", group))}


@SERVICE.operation("PATCH", "/v3/groups/{group}", policy="identity:update_group", body=("group", UpdateGroup))
async def update(request: Request, group: UUID, body: UpdateGroup) -> dict[str, Any]:
    held = await found(request, "identity:update_group", group)
    extra = await changes(request, "group", UpdateGroup, group.hex, texts=True)
    if isinstance(body.domain_id, str) and body.domain_id != domain_id(held.domain):
        raise Invalid("Cannot change Domain ID; create a group there.")
    want = core.UpdateGroup(name=trimmed(body.name), description=text(body.description), extra=kept(extra))
    return {"group": view(request, await core.update(request.cloud, request.caller, group, want))}


@SERVICE.operation("DELETE", "/v3/groups/{group}", policy="identity:delete_group", status=204)
async def delete(request: Request, group: UUID) -> None:
    await found(request, "identity:delete_group", group)
    await core.delete(request.cloud, request.caller, group)


@SERVICE.operation("PUT", MEMBER, policy="identity:add_user_to_group", status=204)
async def add_member(request: Request, group: UUID, user: UUID) -> None:
    await both(request, "identity:add_user_to_group", group, user)
    await core.add_member(request.cloud, request.caller, group, user)


@SERVICE.operation("HEAD", MEMBER, policy="identity:check_user_in_group", status=204)
@SERVICE.operation("GET", MEMBER, policy="identity:check_user_in_group", status=204)
async def check_member(request: Request, group: UUID, user: UUID) -> None:
    await both(request, "identity:check_user_in_group", group, user)
    if not await core.has_member(request.cloud, request.caller, group, user):
        raise NotFound("User", f"{user.hex} in group {group.hex}")


@SERVICE.operation("DELETE", MEMBER, policy="identity:remove_user_from_group", status=204)
async def remove_member(request: Request, group: UUID, user: UUID) -> None:
    await both(request, "identity:remove_user_from_group", group, user)
    await core.remove_member(request.cloud, request.caller, group, user)
