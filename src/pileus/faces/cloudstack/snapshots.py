"""Snapshots of volumes."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from pileus.core.block import snapshots
from pileus.core.block.records import Snapshot, SnapshotState, Volume
from pileus.core.block.sources import find
from pileus.core.cloud import Look
from pileus.core.compute.records import Server
from pileus.core.errors import Unsupported
from pileus.core.operations import Accepted
from pileus.faces.cloudstack import owners
from pileus.faces.cloudstack.commands import Call, Listed, command, view
from pileus.faces.cloudstack.params import Params, TaggedListing, param
from pileus.faces.cloudstack.places import check_zone, zones
from pileus.faces.cloudstack.server_view import by_id
from pileus.faces.cloudstack.volumes import STATE as VOLUME_STATE
from pileus.store import Condition, like, literal

STATE: Mapping[SnapshotState, str] = {
    SnapshotState.CREATING: "Creating",
    SnapshotState.AVAILABLE: "BackedUp",
    SnapshotState.ERROR: "Error",
    SnapshotState.DELETING: "Destroying",
}
MANUAL = "MANUAL"


class CreateSnapshot(Params):
    volume: UUID = param("volumeid", "the volume")
    name: str = param("name", "the name", default="")
    quiesce: bool = param(
        "quiescevm", "whether the guest shall be quiet meanwhile; not possible", default=False
    )


class ListSnapshots(TaggedListing):
    id: UUID | None = param("id", "list by id", default=None)
    ids: tuple[UUID, ...] = param("ids", "list by several ids", default=())
    name: str = param("name", "list by name", default="")
    type: str = param("snapshottype", "list by type; all are MANUAL", default="")
    interval: str = param("intervaltype", "list by interval; all are MANUAL", default="")
    volume: UUID | None = param("volumeid", "list those of a volume", default=None)
    zone: UUID | None = param("zoneid", "list those in a zone", default=None)


class DeleteSnapshot(Params):
    snapshot: UUID = param("id", "the snapshot")


@view(Snapshot, "snapshot", "Snapshot")
async def shown(call: Call, look: Look, found: Sequence[Snapshot]) -> list[dict[str, Any]]:
    sources = await by_id(look, Volume, (snapshot.volume for snapshot in found))
    holders = await owners.shown(look, (snapshot.project for snapshot in found))
    places = await zones(look)
    return [
        one(snapshot, sources.get(snapshot.volume))
        | places.shown(sources[snapshot.volume].zone if snapshot.volume in sources else None)
        | holders.get(snapshot.project, {})
        for snapshot in found
    ]


def one(snapshot: Snapshot, volume: Volume | None) -> dict[str, Any]:
    seen: dict[str, Any] = {
        "id": snapshot.id,
        "name": snapshot.name or str(snapshot.id),
        "state": STATE[snapshot.state],
        "status": snapshot.fault or None,
        "created": snapshot.created_at,
        "snapshottype": MANUAL,
        "intervaltype": MANUAL,
        "locationtype": "PRIMARY",
        "revertable": False,
        "virtualsize": snapshot.size_gib << 30,
        "volumeid": snapshot.volume,
        "tags": [],
    }
    if volume is not None:
        seen |= {
            "volumename": volume.name or str(volume.id),
            "volumetype": "ROOT" if volume.root else "DATADISK",
            "volumestate": VOLUME_STATE[volume.state],
        }
    return seen


@command(
    "createSnapshot",
    params=CreateSnapshot,
    ignored=("account", "domainid", "asyncbackup", "locationtype", "usestoragereplication"),
)
async def create(call: Call, params: CreateSnapshot) -> Accepted:
    """Makes a snapshot of a volume; of one in use as if the power had been cut."""
    if params.quiesce:
        raise Unsupported("Guests cannot be made quiet here; leave quiescevm out.")
    name = params.name or await default_name(call, params.volume)
    want = snapshots.Create(volume=params.volume, name=name, force=True)
    return await snapshots.create(call.cloud, call.caller, want)


async def default_name(call: Call, key: UUID) -> str:
    """Machine, volume and time."""
    async with call.cloud.view() as look:
        volume = await find(look, call.caller, key, "volume.read")
        server = await look.maybe(Server, volume.server) if volume.server else None
    holder = server.hostname if server else "detached"
    return f"{holder}_{volume.name}_{call.cloud.now():%Y%m%d%H%M%S}"[:255]


@command("listSnapshots", params=ListSnapshots, ignored=("showunique", "locationtype"))
async def listing(call: Call, params: ListSnapshots) -> Listed[Snapshot]:
    """Lists snapshots."""
    where: list[Condition] = [like("name", f"%{literal(params.keyword)}%")] if params.keyword else []
    equals: dict[str, Any] = {"name": params.name} if params.name else {}
    async with call.cloud.view() as look:
        await check_zone(look, params.zone)
        if params.id is not None:
            equals["id"] = (await call.caller.find(look.rows, Snapshot, params.id, "snapshot.read")).id
        elif params.ids:
            equals["id"] = params.ids
        if params.volume is not None:
            equals["volume"] = (await call.caller.find(look.rows, Volume, params.volume, "volume.read")).id
        order = ("created_at", "id")
        found = await owners.listed(call, look, params, Snapshot, *where, order=order, **equals)
    others = {params.type.upper(), params.interval.upper()} - {"", MANUAL}
    return Listed([], 0) if params.tags or others else Listed(found.items, found.total)


@command("deleteSnapshot", params=DeleteSnapshot, ignored=("zoneid",))
async def delete(call: Call, params: DeleteSnapshot) -> Accepted:
    """Deletes a snapshot."""
    return await snapshots.delete(call.cloud, call.caller, params.snapshot)
