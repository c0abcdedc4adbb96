"""Snapshots: lists, one, create, change, delete."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from msgspec import UNSET, Struct

from pileus.core.block import snapshots as core
from pileus.core.block.records import Snapshot, SnapshotState
from pileus.core.compute import hosts
from pileus.core.errors import Invalid, NotFound
from pileus.faces.openstack.volume import listing as lists
from pileus.faces.openstack.volume import view
from pileus.faces.openstack.volume.service import service
from pileus.faces.openstack.volume.volumes import find, named
from pileus.faces.openstack.volume.words import SNAPSHOT_STATUS, Flag, Text, flag, pairs, text
from pileus.faces.openstack.wire import parse_id
from pileus.faces.wire import Request

FILTERS = ("name", "name~", "status", "volume_id", "metadata", "availability_zone", "consumes_quota")
ADMIN_FILTERS = ("id", "user_id")
SINCE: Mapping[str, tuple[int, int]] = {
    "metadata": (3, 22),
    "availability_zone": (3, 31),
    "name~": lists.LIKE,
    "consumes_quota": (3, 65),
}
COLUMNS = {
    "id": "id",
    "status": "state",
    "volume_id": "volume",
    "volume_size": "size_gib",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "user_id": "user",
    "project_id": "project",
    "display_name": "name",
}
IN_USE = (3, 66)
"""From here on a volume in use is no reason to force anything."""


async def wanted(request: Request) -> lists.Wanted[Snapshot]:
    known = [name for name in FILTERS if request.version >= SINCE.get(name, (0, 0))]
    if request.caller.admin:
        known += ADMIN_FILTERS
    asked = lists.Wanted[Snapshot]()
    for name, value in lists.filters(request, known).items():
        await narrow(request, asked, name, value)
    return asked


async def narrow(request: Request, asked: lists.Wanted[Snapshot], name: str, value: str) -> None:
    match name:
        case "name":
            asked.equals["name"] = value
        case "name~":
            asked.where.append(lists.contains("name", value))
        case "status":
            asked.equals["state"] = tuple(s for s, word in SNAPSHOT_STATUS.items() if word == value.lower())
        case "volume_id":
            asked.equals["volume"] = parse_id(value, "Volume")
        case "metadata":
            sought = lists.mapping(name, value)
            asked.tests.append(lambda snapshot: sought.items() <= snapshot.metadata.items())
        case "availability_zone":
            zones = [zone.id for zone in await hosts.zones(request.cloud) if zone.name == value]
            inside = await core.volumes_in(request.cloud, lists.scope(request), zones)
            asked.tests.append(lambda snapshot: snapshot.volume in inside)
        case "id":
            asked.equals["id"] = parse_id(value, "Snapshot")
        case "user_id":
            asked.equals["user"] = parse_id(value, "User")
        case "consumes_quota":
            if not flag(name, value):
                asked.nothing()


async def part(request: Request) -> lists.Part[Snapshot]:
    async def rows(*where: Any, **asked: Any) -> list[Snapshot]:
        return await core.listing(request.cloud, request.caller, *where, **asked)

    async def number(*where: Any, **asked: Any) -> int:
        return await core.count(request.cloud, request.caller, *where, **asked)

    async def marked(key: UUID) -> Snapshot:
        return await core.show(request.cloud, request.caller, key)

    columns = COLUMNS | {"name": "name"} if request.version >= (3, 30) else COLUMNS
    return await lists.listed(
        request, await wanted(request), columns, rows=rows, number=number, marked=marked
    )


@service.operation("GET", "/snapshots", policy="volume:get_all_snapshots")
async def index(request: Request) -> dict[str, Any]:
    found = await part(request)
    return found.envelope("snapshots", [view.snapshot_summary(request, each) for each in found.items])


@service.operation("GET", "/snapshots/detail", policy="volume:get_all_snapshots")
async def detailed(request: Request) -> dict[str, Any]:
    found = await part(request)
    return found.envelope("snapshots", [view.snapshot_detail(request, each) for each in found.items])


@service.operation("GET", "/snapshots/{snapshot}", policy="volume:get_snapshot")
async def show(request: Request, snapshot: UUID) -> dict[str, Any]:
    found = await core.show(request.cloud, request.caller, snapshot)
    return {"snapshot": view.snapshot_detail(request, found)}


class CreateSnapshot(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    volume_id: UUID | None
    name: Text = UNSET
    display_name: Text = UNSET
    description: Text = UNSET
    force: Flag | None = None
    metadata: dict[str, str | None] | None = None


@service.operation(
    "POST", "/snapshots", policy="volume:create_snapshot", body=("snapshot", CreateSnapshot), status=202
)
async def create(request: Request, body: CreateSnapshot) -> dict[str, Any]:
    force = body.force is not None and flag("force", body.force)
    if request.version >= IN_USE:
        if body.force is not None and not force:
            raise Invalid(
                "Since microversion 3.66 the 'force' flag is invalid for this request; only a true one is ignored."
            )
        force = True
    if body.volume_id is None:
        raise NotFound("Volume", None)
    want = core.Create(
        volume=body.volume_id,
        name=text("name", body.name) or text("display_name", body.display_name),
        description=text("description", body.description),
        force=force,
        metadata=pairs("metadata", body.metadata),
    )
    await find(request, body.volume_id)
    made = await core.create(request.cloud, request.caller, want)
    return {"snapshot": view.changed_snapshot(request, made.resource)}


class UpdateSnapshot(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Text = UNSET
    display_name: Text = UNSET
    description: Text = UNSET
    display_description: Text = UNSET


@service.operation(
    "PUT", "/snapshots/{snapshot}", policy="volume:update_snapshot", body=("snapshot", UpdateSnapshot)
)
async def update(request: Request, snapshot: UUID, body: UpdateSnapshot) -> dict[str, Any]:
    changes = named(body.name, body.display_name, "name")
    changes |= named(body.description, body.display_description, "description")
    if not changes:
        raise Invalid("Invalid input for the request: name or description is a required property.")
    changed = await core.update(request.cloud, request.caller, snapshot, **changes)
    return {"snapshot": view.changed_snapshot(request, changed)}


@service.operation("DELETE", "/snapshots/{snapshot}", policy="volume:delete_snapshot", status=202)
async def delete(request: Request, snapshot: UUID) -> None:
    await core.delete(request.cloud, request.caller, snapshot)


class Status(Struct, frozen=True, forbid_unknown_fields=True):
    status: str


@service.action(
    "/snapshots/{snapshot}/action",
    "os-reset_status",
    policy="volume_extension:snapshot_admin_actions:reset_status",
    body=Status,
)
async def reset_status(request: Request, snapshot: UUID, body: Status) -> None:
    state = {"available": SnapshotState.AVAILABLE, "error": SnapshotState.ERROR}.get(body.status.lower())
    if state is None:
        raise Invalid(f"Cannot reset-state to {body.status[:40]}; use available or error.")
    await core.reset_state(request.cloud, request.caller, snapshot, state)


@service.action(
    "/snapshots/{snapshot}/action",
    "os-force_delete",
    policy="volume_extension:snapshot_admin_actions:force_delete",
    body=Any,
)
async def force_delete(request: Request, snapshot: UUID, body: Any) -> None:
    """Every state that a snapshot can be in allows its deletion already."""
    await core.delete(request.cloud, request.caller, snapshot)
