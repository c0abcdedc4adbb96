"""Host aggregates: the core's host groups. One with an availability zone is that zone's, or a part of one."""

from collections.abc import Awaitable
from datetime import datetime
from typing import Annotated, Any

from msgspec import UNSET, Meta, UnsetType

from pileus.core.compute import host_groups
from pileus.core.compute.host_groups import ZONE, Filled, ZoneClash
from pileus.core.errors import Conflict, Exists, InUse, Invalid, NotFound
from pileus.faces.openstack.compute.parsing import Name, Struct, Text255, name
from pileus.faces.openstack.compute.service import service
from pileus.faces.openstack.wire import seconds
from pileus.faces.wire import Request

ONE = "/os-aggregates/{aggregate}"
ZoneName = Annotated[str, Meta(min_length=1, max_length=255, pattern="^[^:]*$")]
Hostname = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9._-]*$")]
Item = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9-_:. ]{1,255}$")]


def number(text: str) -> int:
    """Of an aggregate; a negative one is a number that none has."""
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        raise Invalid(f"Invalid input received: id must be an integer, not {text[:64]}.")
    return int(text)


def stamp(at: datetime) -> str:
    return f"{seconds(at)}.{at.microsecond:06d}"


def brief(request: Request, found: Filled) -> dict[str, Any]:
    group = found.group
    shown: dict[str, Any] = {
        "id": group.number,
        "name": group.name,
        "availability_zone": found.zone_name or None,
        "created_at": stamp(group.created_at),
        "updated_at": stamp(group.updated_at) if group.updated_at != group.created_at else None,
        "deleted": False,
        "deleted_at": None,
    }
    return shown | ({"uuid": str(group.id)} if request.version >= (2, 41) else {})


def full(request: Request, found: Filled) -> dict[str, Any]:
    return brief(request, found) | {
        "hosts": [host.hostname for host in found.hosts],
        "metadata": found.group.metadata,
    }


async def worded(
    aggregate: str, attempt: Awaitable[Filled], doing: str, kind: type[Conflict | Invalid]
) -> Filled:
    """In the original's sentences, whose answers to one refusal differ by action."""
    try:
        return await attempt
    except ZoneClash as error:
        raise kind(f"Cannot {doing} aggregate {aggregate}. Reason: {error.public}") from None
    except NotFound as error:
        if error.what == "Host group":
            raise
        if doing == "remove host from":
            text = "Cannot remove host in aggregate"
            raise NotFound(text, f"{aggregate}: {error.what.lower()} {error.key}") from None
        raise NotFound("Compute host", error.key) from None


@service.operation("GET", "/os-aggregates", policy="os_compute_api:os-aggregates:index")
async def index(request: Request) -> dict[str, Any]:
    found = await host_groups.listing(request.cloud, request.caller)
    return {"aggregates": [full(request, each) for each in found]}


class Create(Struct, frozen=True, kw_only=True):
    name: Name
    availability_zone: ZoneName | None = None


@service.operation(
    "POST", "/os-aggregates", policy="os_compute_api:os-aggregates:create", body=("aggregate", Create)
)
async def create(request: Request, body: Create) -> dict[str, Any]:
    zone = name(body.availability_zone, "availability_zone") if body.availability_zone else ""
    try:
        made = await host_groups.create(request.cloud, request.caller, name(body.name), zone_name=zone)
    except Exists:
        raise Exists(f"Aggregate {body.name} already exists.") from None
    return {"aggregate": brief(request, made)}


@service.operation("GET", ONE, policy="os_compute_api:os-aggregates:show")
async def show(request: Request, aggregate: str) -> dict[str, Any]:
    found = await host_groups.show(request.cloud, request.caller, number(aggregate))
    return {"aggregate": full(request, found)}


class Update(Struct, frozen=True, kw_only=True):
    name: Name | UnsetType = UNSET
    availability_zone: ZoneName | UnsetType | None = UNSET


@service.operation("PUT", ONE, policy="os_compute_api:os-aggregates:update", body=("aggregate", Update))
async def update(request: Request, aggregate: str, body: Update) -> dict[str, Any]:
    if body.name is UNSET and body.availability_zone is UNSET:
        raise Invalid(
            "Invalid input for field/attribute aggregate. Either 'name' or 'availability_zone' is a required property"
        )
    items = {} if isinstance(body.availability_zone, UnsetType) else {ZONE: body.availability_zone}
    wanted = name(body.name.strip()) if isinstance(body.name, str) else None
    attempt = host_groups.update(
        request.cloud, request.caller, number(aggregate), name=wanted, metadata=items
    )
    try:
        changed = await worded(aggregate, attempt, "update", Invalid)
    except Exists:
        raise Exists(f"Aggregate {wanted} already exists.") from None
    return {"aggregate": full(request, changed)}


@service.operation("DELETE", ONE, policy="os_compute_api:os-aggregates:delete")
async def delete(request: Request, aggregate: str) -> None:
    try:
        await host_groups.remove(request.cloud, request.caller, number(aggregate))
    except InUse:
        raise Invalid(
            f"Cannot remove host from aggregate {aggregate}. Reason: Host aggregate is not empty."
        ) from None


class OfHost(Struct, frozen=True, kw_only=True):
    host: Hostname


@service.action(
    ONE + "/action", "add_host", policy="os_compute_api:os-aggregates:add_host", body=OfHost, status=200
)
async def add_host(request: Request, aggregate: str, body: OfHost) -> dict[str, Any]:
    attempt = host_groups.add_host(request.cloud, request.caller, number(aggregate), body.host)
    try:
        changed = await worded(aggregate, attempt, "add host to", Conflict)
    except Exists:
        raise Exists(f"Aggregate {aggregate} already has host {body.host}.") from None
    return {"aggregate": full(request, changed)}


@service.action(
    ONE + "/action", "remove_host", policy="os_compute_api:os-aggregates:remove_host", body=OfHost, status=200
)
async def remove_host(request: Request, aggregate: str, body: OfHost) -> dict[str, Any]:
    attempt = host_groups.remove_host(request.cloud, request.caller, number(aggregate), body.host)
    changed = await worded(aggregate, attempt, "remove host from", Conflict)
    return {"aggregate": full(request, changed)}


class SetMetadata(Struct, frozen=True, kw_only=True):
    metadata: dict[Item, Text255 | None]


@service.action(
    ONE + "/action",
    "set_metadata",
    policy="os_compute_api:os-aggregates:set_metadata",
    body=SetMetadata,
    status=200,
)
async def set_metadata(request: Request, aggregate: str, body: SetMetadata) -> dict[str, Any]:
    if body.metadata.get(ZONE) == "":
        raise Invalid(f"Aggregate {aggregate} does not support empty named availability zone.")
    attempt = host_groups.update(
        request.cloud, request.caller, number(aggregate), metadata=dict(body.metadata)
    )
    return {"aggregate": full(request, await worded(aggregate, attempt, "update metadata of", Invalid))}
