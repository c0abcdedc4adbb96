"""The catalogue: which services there are, and at which addresses. What this cloud serves itself is always in it."""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID, uuid5

import msgspec
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Tx
from pileus.core.errors import Exists, Forbidden, InUse, Invalid
from pileus.core.identity import departures
from pileus.core.identity.authorization import authority
from pileus.core.identity.changes import changed, given
from pileus.core.identity.domains import ROOT
from pileus.core.identity.services.catalogue_records import (
    Endpoint,
    PolicyAssociation,
    ProjectEndpoint,
    Region,
    RegisteredLimit,
    Service,
)
from pileus.store import Condition

INTERFACES = ("public", "internal", "admin")
PLACEHOLDERS = frozenset(
    {"tenant_id", "project_id", "user_id", "compute_host", "public_endpoint", "public_url"}
)
"""What an address may name to be filled in for who reads it, as in `$(project_id)s`."""
PLACE = re.compile(r"[$%]\(([a-z_]+)\)s|%%|%|\$\(")
ENDPOINT: departures.Parts = ((ProjectEndpoint, "endpoint"), (PolicyAssociation, "endpoint"))
SERVICE: departures.Parts = ((PolicyAssociation, "service"),)
"""What goes with them."""


class Served(msgspec.Struct, frozen=True):
    """A service of this cloud: `url` with `$(public_url)s` for how clients reach it."""

    type: str
    name: str
    url: str


class CreateService(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    name: str = ""
    description: str = ""
    enabled: bool = True
    extra: Mapping[str, Any] = {}


class UpdateService(msgspec.Struct, frozen=True, kw_only=True):
    """`extra` is put over what is there."""

    type: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    extra: Mapping[str, Any] | UnsetType = UNSET


class CreateEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """`make_region`: a region that is not there is made."""

    service: UUID
    interface: str
    url: str
    region: str | None = None
    make_region: bool = False
    name: str = ""
    enabled: bool = True
    extra: Mapping[str, Any] = {}


class UpdateEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    service: UUID | UnsetType = UNSET
    interface: str | UnsetType = UNSET
    url: str | UnsetType = UNSET
    region: str | UnsetType | None = UNSET
    make_region: bool = False
    name: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    extra: Mapping[str, Any] | UnsetType = UNSET


def service_key(kind: str) -> UUID:
    """Of an own service; the same in every cloud."""
    return uuid5(ROOT, f"service/{kind}")


def own(endpoint: Endpoint) -> bool:
    """Whether the endpoint is one that this cloud serves: its id says so."""
    return endpoint.id == uuid5(endpoint.service, endpoint.interface)


async def ensure(cloud: Cloud, served: Iterable[Served]) -> None:
    """What this cloud serves is in the catalogue, in the region of the configuration; repeating is fine.

    What an operator changed (an address, a name, whether it is enabled) stays.
    """
    wanted = tuple(served)
    try:
        await _ensure_all(cloud, wanted)
    except Exists:
        # Another process that starts too was quicker, so all of it is there now.
        await _ensure_all(cloud, wanted)


async def _ensure_all(cloud: Cloud, served: Iterable[Served]) -> None:
    async with cloud.transaction() as tx:
        left: set[str] = set()
        new = [await _ensure_region(tx, cloud.config.region)]
        new += [await _ensure(tx, each, left) for each in served]
        for region in left - {cloud.config.region}:
            await _leave(tx, region)
        if any(new):
            await changed(tx)


async def _ensure(tx: Tx, served: Served, left: set[str]) -> bool:
    """One service and its endpoints; whether anything changed. `left` gets the regions that they moved from."""
    key, now, region = service_key(served.type), tx.cloud.now(), tx.cloud.config.region
    new = await tx.maybe(Service, key) is None
    if new:
        await tx.add(Service(id=key, type=served.type, name=served.name, own=True, created_at=now))
    for interface in INTERFACES:
        endpoint = uuid5(key, interface)
        held = await tx.maybe(Endpoint, endpoint)
        if held is None:
            await tx.add(
                Endpoint(
                    id=endpoint,
                    service=key,
                    interface=interface,
                    region=region,
                    url=served.url,
                    created_at=now,
                )
            )
        elif held.region != region:
            left.update({held.region} if held.region else ())
            await tx.put(replace(held, region=region))
        new = new or held is None or held.region != region
    return new


async def _ensure_region(tx: Tx, key: str) -> bool:
    if await tx.maybe(Region, key) is not None:
        return False
    await tx.add(Region(id=key, created_at=tx.cloud.now()))
    return True


async def _leave(tx: Tx, key: str) -> None:
    """A region that the own endpoints were in goes, unless something else is in it, or somebody described it."""
    held = await tx.maybe(Region, key)
    if held is None or held.description or held.extra or held.parent:
        return
    needed = (
        (Endpoint, "region"),
        (Region, "parent"),
        (RegisteredLimit, "region"),
        (PolicyAssociation, "region"),
    )
    for cls, field in needed:
        if await tx.count(cls, **{field: key}):
            return
    await tx.remove(held)


# --- services


async def create_service(cloud: Cloud, caller: Caller, want: CreateService) -> Service:
    caller.require_admin("service.create")
    async with cloud.transaction(caller) as tx:
        made = await tx.add(
            Service(
                id=cloud.new_id(),
                type=want.type,
                name=want.name,
                description=want.description,
                enabled=want.enabled,
                extra=dict(want.extra),
                created_at=cloud.now(),
            )
        )
        await changed(tx)
    return made


async def list_services(
    cloud: Cloud,
    caller: Caller,
    *where: Condition,
    type: str | None = None,
    name: str | None = None,
) -> list[Service]:
    equals = {key: value for key, value in (("type", type), ("name", name)) if value is not None}
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "service.read")
        return await look.list(Service, *where, order=("created_at",), **equals)


async def show_service(cloud: Cloud, caller: Caller, key: UUID) -> Service:
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "service.read")
        return await look.get(Service, key)


async def update_service(cloud: Cloud, caller: Caller, key: UUID, want: UpdateService) -> Service:
    caller.require_admin("service.update")
    async with cloud.transaction(caller) as tx:
        held = await tx.get(Service, key)
        updated = replace(held, **_over(held.extra, given(want)))
        if held.own and updated.type != held.type:
            raise Forbidden(
                f"Service {held.type} is served by this cloud, so its type stays; disable it, or make another."
            )
        await tx.put(updated)
        await changed(tx)
    return updated


async def delete_service(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """With its endpoints."""
    caller.require_admin("service.delete")
    async with cloud.transaction(caller) as tx:
        held = await tx.get(Service, key)
        if held.own:
            raise Forbidden(
                f"Service {held.type} is served by this cloud and cannot be deleted; disable it instead."
            )
        if await tx.count(RegisteredLimit, service=key):
            raise InUse(f"Service {key.hex} has registered limits; delete those first.")
        for endpoint in await tx.list(Endpoint, service=key):
            await _remove(tx, endpoint)
        await departures.clear(tx, SERVICE, key)
        await tx.remove(held)
        await changed(tx)


# --- endpoints


async def create_endpoint(cloud: Cloud, caller: Caller, want: CreateEndpoint) -> Endpoint:
    """Raises Invalid for a service or region that does not exist, or an address with placeholders unknown here."""
    caller.require_admin("endpoint.create")
    check_url(want.url)
    async with cloud.transaction(caller) as tx:
        await _require_places(tx, want.service, want.region, want.make_region)
        made = await tx.add(
            Endpoint(
                id=cloud.new_id(),
                service=want.service,
                interface=want.interface,
                region=want.region,
                url=want.url,
                name=want.name,
                enabled=want.enabled,
                extra=dict(want.extra),
                created_at=cloud.now(),
            )
        )
        await changed(tx)
    return made


async def list_endpoints(cloud: Cloud, caller: Caller, **equals: Any) -> list[Endpoint]:
    """By `service`, `interface`, `region`, and as they come otherwise."""
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "endpoint.read")
        return await look.list(Endpoint, order=("created_at",), **equals)


async def show_endpoint(cloud: Cloud, caller: Caller, key: UUID) -> Endpoint:
    async with cloud.view() as look:
        await authority.require_reads(look, caller, None, "endpoint.read")
        return await look.get(Endpoint, key)


async def update_endpoint(cloud: Cloud, caller: Caller, key: UUID, want: UpdateEndpoint) -> Endpoint:
    caller.require_admin("endpoint.update")
    values = given(want)
    make = values.pop("make_region")
    if want.url is not UNSET:
        check_url(want.url)
    async with cloud.transaction(caller) as tx:
        held = await tx.get(Endpoint, key)
        updated = replace(held, **_over(held.extra, values))
        where = ("service", "interface", "region")
        if own(held) and any(getattr(updated, name) != getattr(held, name) for name in where):
            raise Forbidden(
                f"Endpoint {key.hex} is served by this cloud, so its service, interface and region stay; "
                "change its URL, disable it, or make another."
            )
        await _require_places(tx, updated.service, updated.region, make)
        await tx.put(updated)
        await changed(tx)
    return updated


async def delete_endpoint(cloud: Cloud, caller: Caller, key: UUID) -> None:
    caller.require_admin("endpoint.delete")
    async with cloud.transaction(caller) as tx:
        held = await tx.get(Endpoint, key)
        if own(held):
            raise Forbidden(
                f"Endpoint {key.hex} is served by this cloud and cannot be deleted; disable it instead."
            )
        await _remove(tx, held)
        await changed(tx)


async def _remove(tx: Tx, endpoint: Endpoint) -> None:
    await departures.clear(tx, ENDPOINT, endpoint.id)
    await tx.remove(endpoint)


async def _require_places(tx: Tx, service: UUID, region: str | None, make_region: bool) -> None:
    if await tx.maybe(Service, service) is None:
        raise Invalid(f"There is no service {service.hex}; an endpoint needs the id of one that exists.")
    if region is None:
        return
    if make_region:
        await _ensure_region(tx, region)
    elif await tx.maybe(Region, region) is None:
        raise Invalid(f"There is no region {region[:64]!r}; make it first.")


def _over(extra: Mapping[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    return values | ({"extra": {**extra, **values["extra"]}} if "extra" in values else {})


def check_url(url: str) -> None:
    """Raises Invalid for an address with a placeholder that could never be filled in."""
    for found in PLACE.finditer(url):
        if found[0] != "%%" and found[1] not in PLACEHOLDERS:
            raise Invalid(
                f"Cannot create an endpoint with an invalid URL: {url[:255]}. "
                f"It may name {', '.join(sorted(PLACEHOLDERS))}, each as $(name)s."
            )


def expand(url: str, values: Mapping[str, str]) -> str | None:
    """The address with its placeholders filled in; None when one has no value for this reader."""
    missing: list[str] = []

    def fill(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        if found[1] is None or found[1] not in values:
            missing.append(found[0])
            return ""
        return values[found[1]]

    filled = PLACE.sub(fill, url) if "%" in url or "$(" in url else url
    return None if missing else filled
