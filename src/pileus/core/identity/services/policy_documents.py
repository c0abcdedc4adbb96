"""Policies that are kept for others, and the endpoints they are for; nothing here obeys them."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import NotFound
from pileus.core.identity import departures
from pileus.core.identity.authorization import authority
from pileus.core.identity.changes import given
from pileus.core.identity.services.catalogue_records import (
    Endpoint,
    PolicyAssociation,
    PolicyDocument,
    Region,
    Service,
)
from pileus.core.identity.services.regions import below
from pileus.store import Condition

DOCUMENT: departures.Parts = ((PolicyAssociation, "policy"),)


class CreatePolicy(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    blob: str
    extra: Mapping[str, Any] = {}


class UpdatePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """`extra` is put over what is there."""

    type: str | UnsetType = UNSET
    blob: str | UnsetType = UNSET
    extra: Mapping[str, Any] | UnsetType = UNSET


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """What a policy is for: an endpoint, a service, or a service in a region."""

    endpoint: UUID | None = None
    service: UUID | None = None
    region: str | None = None


async def create(cloud: Cloud, caller: Caller, want: CreatePolicy) -> PolicyDocument:
    caller.require_admin("policy.create")
    async with cloud.transaction(caller) as tx:
        return await tx.add(
            PolicyDocument(
                id=cloud.new_id(),
                type=want.type,
                blob=want.blob,
                extra=dict(want.extra),
                created_at=cloud.now(),
            )
        )


async def list_all(
    cloud: Cloud, caller: Caller, *where: Condition, type: str | None = None
) -> list[PolicyDocument]:
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "policy.read")
        equals = {} if type is None else {"type": type}
        return await look.list(PolicyDocument, *where, order=("created_at",), **equals)


async def show(cloud: Cloud, caller: Caller, key: UUID) -> PolicyDocument:
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "policy.read")
        return await look.get(PolicyDocument, key)


async def update(cloud: Cloud, caller: Caller, key: UUID, want: UpdatePolicy) -> PolicyDocument:
    caller.require_admin("policy.update")
    values = given(want)
    async with cloud.transaction(caller) as tx:
        held = await tx.get(PolicyDocument, key)
        if "extra" in values:
            values["extra"] = {**held.extra, **values["extra"]}
        return await tx.put(replace(held, **values))


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    caller.require_admin("policy.delete")
    async with cloud.transaction(caller) as tx:
        held = await tx.get(PolicyDocument, key)
        await departures.clear(tx, DOCUMENT, key)
        await tx.remove(held)


async def use(cloud: Cloud, caller: Caller, key: UUID, use: Use) -> None:
    """The policy is for this from now on, in place of another; repeating is fine."""
    caller.require_admin("policy.use")
    async with cloud.transaction(caller) as tx:
        await _require(tx, key, use)
        for held in await tx.list(PolicyAssociation, **_fields(use)):
            if held.policy == key:
                return
            await tx.remove(held)
        await tx.add(PolicyAssociation(id=cloud.new_id(), policy=key, **_fields(use)))


async def check(cloud: Cloud, caller: Caller, key: UUID, use: Use) -> None:
    """Raises NotFound when the policy is not for this."""
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "policy.read")
        await _require(look, key, use)
        if await look.one(PolicyAssociation, policy=key, **_fields(use)) is None:
            raise NotFound("Policy association", key.hex)


async def disuse(cloud: Cloud, caller: Caller, key: UUID, use: Use) -> None:
    """Repeating is fine."""
    caller.require_admin("policy.use")
    async with cloud.transaction(caller) as tx:
        await _require(tx, key, use)
        for held in await tx.list(PolicyAssociation, policy=key, **_fields(use)):
            await tx.remove(held)


async def endpoints_of(cloud: Cloud, caller: Caller, key: UUID) -> list[Endpoint]:
    """Those for which the policy is the one, each once."""
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "policy.read")
        await look.get(PolicyDocument, key)
        found: dict[UUID, Endpoint] = {}
        for held in await look.list(PolicyAssociation, policy=key):
            for endpoint in await _reached(look, held):
                found[endpoint.id] = endpoint
    return list(found.values())


async def _reached(look: Look, held: PolicyAssociation) -> list[Endpoint]:
    if held.endpoint is not None:
        return await look.list(Endpoint, id=held.endpoint)
    if held.region is None:
        return await look.list(Endpoint, service=held.service)
    inside = tuple(await below(look, held.region))
    return await look.list(Endpoint, service=held.service, region=inside)


async def of_endpoint(cloud: Cloud, caller: Caller, key: UUID) -> PolicyDocument:
    """The endpoint's own policy, else that of its service in its region or one above, else that of its service."""
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "policy.read")
        endpoint = await look.get(Endpoint, key)
        uses = [Use(endpoint=key)]
        at, seen = endpoint.region, set[str]()
        while at is not None and at not in seen:
            seen.add(at)
            uses.append(Use(service=endpoint.service, region=at))
            region = await look.maybe(Region, at)
            at = region.parent if region else None
        uses.append(Use(service=endpoint.service))
        for each in uses:
            found = await look.one(PolicyAssociation, **_fields(each))
            if found is not None:
                return await look.get(PolicyDocument, found.policy)
    raise NotFound("policy association for", f"endpoint {key.hex}")


async def _require(look: Look, key: UUID, use: Use) -> None:
    await look.get(PolicyDocument, key)
    if use.endpoint is not None:
        await look.get(Endpoint, use.endpoint)
    if use.service is not None:
        await look.get(Service, use.service)
    if use.region is not None:
        await look.get(Region, use.region)


def _fields(use: Use) -> dict[str, Any]:
    return {"endpoint": use.endpoint, "service": use.service, "region": use.region}
