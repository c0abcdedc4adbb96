"""Volumes: data disks, and the root disks of virtual machines."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from pileus.core.block import compound, kinds, volumes
from pileus.core.block.records import StoragePool, Volume, VolumeKind, VolumeState
from pileus.core.block.sources import find
from pileus.core.cloud import Look
from pileus.core.compute.records import Server, Size
from pileus.core.errors import Invalid, Unsupported
from pileus.core.image.records import Image
from pileus.core.listing import owned
from pileus.core.operations import Accepted
from pileus.faces.cloudstack import owners
from pileus.faces.cloudstack.commands import Call, Done, Listed, command, view
from pileus.faces.cloudstack.errors import invalid, missing
from pileus.faces.cloudstack.infrastructure import hypervisors_of
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Params, Placed, TaggedListing, param
from pileus.faces.cloudstack.places import NOWHERE, Zones, check_zone, hosts_in, zones
from pileus.faces.cloudstack.server_view import STATE as SERVER_STATE
from pileus.faces.cloudstack.server_view import by_id
from pileus.faces.cloudstack.waiting import settled
from pileus.store import Condition, eq, like, literal

STATE: Mapping[VolumeState, str] = {
    VolumeState.CREATING: "Creating",
    VolumeState.AVAILABLE: "Ready",
    VolumeState.ATTACHING: "Attaching",
    VolumeState.IN_USE: "Ready",
    VolumeState.DETACHING: "Ready",
    VolumeState.EXTENDING: "Resizing",
    VolumeState.UPLOADING: "Copying",
    VolumeState.RETAINED: "Expunged",
    VolumeState.ERROR: "Error",
    VolumeState.DELETING: "Expunging",
}
TYPES = {"ROOT": True, "DATADISK": False}
"""Whether it is the disk that a machine boots from."""
LAST_DEVICE = 25


class CreateVolume(Placed):
    name: str = param("name", "the name", default="")
    kind: UUID | None = param("diskofferingid", "the disk offering", default=None)
    size_gib: int | None = param("size", "size in GiB, for a custom disk offering", default=None)
    snapshot: UUID | None = param("snapshotid", "the snapshot to make it from", default=None)
    zone: UUID | None = param("zoneid", "the zone to make it in", default=None)
    server: UUID | None = param(
        "virtualmachineid", "the virtual machine to attach it to when it is made", default=None
    )


class ListVolumes(TaggedListing):
    id: UUID | None = param("id", "list by id", default=None)
    ids: tuple[UUID, ...] = param("ids", "list by several ids", default=())
    name: str = param("name", "list by name", default="")
    server: UUID | None = param("virtualmachineid", "list those of a virtual machine", default=None)
    type: str = param("type", "list by type: ROOT or DATADISK", default="")
    state: str = param("state", "list by state", default="")
    zone: UUID | None = param("zoneid", "list those in a zone", default=None)
    pod: UUID | None = param("podid", "list those on hosts of a pod", default=None)
    cluster: UUID | None = param("clusterid", "list those on hosts of a cluster", default=None)
    host: UUID | None = param("hostid", "list those on a host", default=None)
    pool: str = param("storageid", "list those in a storage pool", default="")
    size: UUID | None = param(
        "serviceofferingid", "list those of machines of a service offering", default=None
    )
    kind: UUID | None = param("diskofferingid", "list those of a disk offering", default=None)
    encrypted: bool = param("isencrypted", "list those that are encrypted; none is", default=False)
    count_only: bool = param("retrieveonlyresourcecount", "tell only how many there are", default=False)


class OnVolume(Params):
    volume: UUID = param("id", "the volume")


class AttachVolume(OnVolume):
    server: UUID = param("virtualmachineid", "the virtual machine to attach it to")
    device: int | None = param("deviceid", "its place there, from 1; chosen when left out", default=None)


class DetachVolume(Params):
    volume: UUID | None = param("id", "the volume", default=None)
    server: UUID | None = param(
        "virtualmachineid", "with deviceid: the virtual machine that has it", default=None
    )
    device: int | None = param("deviceid", "its place there", default=None)


class ResizeVolume(OnVolume):
    size_gib: int | None = param("size", "the new size in GiB", default=None)
    kind: UUID | None = param("diskofferingid", "the new disk offering", default=None)
    shrink: bool = param("shrinkok", "whether it may become smaller, which is not done here", default=False)


class DestroyVolume(OnVolume):
    expunge: bool = param("expunge", "delete it for good; it cannot be recovered", default=False)


class UpdateVolume(Params):
    volume: UUID | None = param("id", "the volume", default=None)
    name: str | None = param("name", "the new name", default=None)


@view(Volume, "volume", "Volume")
async def shown(call: Call, look: Look, found: Sequence[Volume]) -> list[dict[str, Any]]:
    servers = await by_id(look, Server, (volume.server for volume in found))
    sizes = await by_id(look, Size, (server.size for server in servers.values()))
    images = await by_id(look, Image, (volume.image for volume in found))
    pools = await by_id(look, StoragePool, (volume.pool for volume in found))
    offerings = await by_id(look, VolumeKind, (volume.kind for volume in found))
    holders = await owners.shown(look, (volume.project for volume in found))
    places, hypervisors = await zones(look), await hypervisors_of(look)
    return [
        one(volume)
        | placed(volume, places, hypervisors, pools.get(volume.pool), call.admin)
        | attachment(volume, servers.get(volume.server) if volume.server else None)
        | offering(volume, servers, sizes, offerings)
        | template(images.get(volume.image) if volume.image else None)
        | holders.get(volume.project, {})
        for volume in found
    ]


def one(volume: Volume) -> dict[str, Any]:
    return {
        "id": volume.id,
        "name": volume.name or str(volume.id),
        "type": "ROOT" if volume.root else "DATADISK",
        "size": volume.size_gib << 30,
        "virtualsize": volume.size_gib << 30,
        "state": STATE[volume.state],
        "status": volume.fault or None,
        "created": volume.created_at,
        "snapshotid": volume.source_snapshot,
        "provisioningtype": "thin",
        "storagetype": "shared",
        "destroyed": False,
        "isextractable": False,
        "quiescevm": False,
        "supportsstoragesnapshot": False,
        "deleteprotection": False,
        "displayvolume": True,
        "tags": [],
    }


def placed(
    volume: Volume, places: Zones, hypervisors: Mapping[UUID, str], pool: StoragePool | None, admin: bool
) -> dict[str, Any]:
    seen: dict[str, Any] = places.shown(volume.zone)
    seen["hypervisor"] = hypervisors.get(seen.get("zoneid", NOWHERE))
    if admin and pool is not None:
        seen |= {"storage": pool.name, "storageid": pool.id, "path": str(volume.id)}
    return seen


def attachment(volume: Volume, server: Server | None) -> dict[str, Any]:
    if server is None:
        return {}
    return {
        "virtualmachineid": server.id,
        "vmname": server.hostname,
        "vmdisplayname": server.name,
        "vmstate": SERVER_STATE[server.state],
        "vmtype": "User",
        "deviceid": device_id(volume),
        "attached": volume.attached_at or volume.created_at,
    }


def device_id(volume: Volume) -> int | None:
    """vda is 0."""
    return ord(volume.device[-1]) - ord("a") if volume.device else None


def offering(
    volume: Volume,
    servers: Mapping[UUID, Server],
    sizes: Mapping[UUID, Size],
    offerings: Mapping[UUID, VolumeKind],
) -> dict[str, Any]:
    """A root disk that came with its machine is of the service offering; others are of a disk offering."""
    server = servers.get(volume.server) if volume.server else None
    if volume.ephemeral and server is not None:
        size = sizes.get(server.size)
        seen: dict[str, Any] = {"serviceofferingid": server.size}
        if size is not None:
            text = size.description or size.name
            seen |= {"serviceofferingname": size.name, "serviceofferingdisplaytext": text}
        return seen
    kind = offerings.get(volume.kind)
    if kind is None:
        return {"diskofferingid": volume.kind}
    text = kind.description or kind.name
    return {"diskofferingid": kind.id, "diskofferingname": kind.name, "diskofferingdisplaytext": text}


def template(image: Image | None) -> dict[str, Any]:
    if image is None:
        return {}
    return {
        "templateid": image.id,
        "templatename": image.name,
        "templatedisplaytext": image.description or image.name,
    }


@command("listVolumes", params=ListVolumes, ignored=("listsystemvms",))
async def listing(call: Call, params: ListVolumes) -> Listed[Volume]:
    """Lists volumes."""
    skip, limit = window(params)
    async with call.cloud.view() as look:
        if params.id is not None:
            await find(look, call.caller, params.id, "volume.read")
        equals = await filters(call, look, params)
        scope = await owners.scope(call, look, params)
        if params.tags or params.encrypted:
            return Listed([], 0)
        found = await owned(
            look,
            call.caller,
            Volume,
            *conditions(params),
            *scope.where,
            projects=scope.projects,
            order=("created_at", "id"),
            skip=skip,
            limit=limit,
            **equals,
        )
        if params.count_only:
            total = await look.count(Volume, *conditions(params), *scope.where, **narrowed(equals, scope))
            return Listed([], total)
    return Listed(found.items, found.total)


def narrowed(equals: dict[str, Any], scope: owners.Scope) -> dict[str, Any]:
    return equals if scope.projects is None else equals | {"project": scope.projects}


def conditions(params: ListVolumes) -> list[Condition]:
    wanted = params.state.lower()
    states = tuple(state for state in volumes.SHOWN if not wanted or STATE[state].lower() == wanted)
    where = [eq("state", states)]
    if params.keyword:
        where.append(like("name", f"%{literal(params.keyword)}%"))
    if params.name:
        where.append(eq("name", params.name))
    return where


async def filters(call: Call, look: Look, params: ListVolumes) -> dict[str, Any]:
    """Columns and what they must equal."""
    await check_zone(look, params.zone)
    sent = {"zone": params.zone, "kind": params.kind}
    equals: dict[str, Any] = {name: value for name, value in sent.items() if value is not None}
    keys = {params.id} if params.id else set(params.ids)
    if keys:
        equals["id"] = tuple(keys)
    if params.type:
        if params.type.upper() not in TYPES:
            raise invalid(call.name, "type", params.type, "write ROOT or DATADISK.")
        equals["root"] = TYPES[params.type.upper()]
    if params.pool:
        pools = [pool.id for pool in await look.list(StoragePool) if str(pool.id) == params.pool.lower()]
        equals["pool"] = tuple(pools) or (NOWHERE,)
    if params.server is not None:
        equals["server"] = (await call.caller.find(look.rows, Server, params.server, "server.read")).id
    elif params.size or params.host or params.pod or params.cluster:
        equals["server"] = await servers_of(call, look, params)
    return equals


async def servers_of(call: Call, look: Look, params: ListVolumes) -> tuple[UUID, ...]:
    equals: dict[str, Any] = {"size": params.size} if params.size else {}
    if params.host or params.pod or params.cluster:
        call.caller.require_admin("host.read")
        equals["host"] = await hosts_in(look, host=params.host, pod=params.pod, cluster=params.cluster)
    return tuple(server.id for server in await look.list(Server, **equals)) or (NOWHERE,)


@command("createVolume", params=CreateVolume)
async def create(call: Call, params: CreateVolume) -> Accepted:
    """Creates a volume, empty or from a snapshot, and attaches it where a virtual machine is named."""
    caller = await owners.acting(call, params)
    if params.snapshot is None and params.kind is None:
        raise missing(call.name, "diskofferingid")
    if params.snapshot is None and params.zone is None and params.server is None:
        raise missing(call.name, "zoneid")
    async with call.cloud.view() as look:
        await check_zone(look, params.zone)
    size = params.size_gib or 0
    if params.size_gib is not None and size < 1:
        raise invalid(call.name, "size", str(size), "at least 1 GiB is needed.")
    if params.kind is not None:
        kind = await kinds.show(call.cloud, caller, params.kind)
        size = kind.size_gib or size
        if not size and params.snapshot is None:
            raise Invalid(f"Disk offering {kind.name} is custom: say the size in GiB.")
    want = volumes.Create(
        project=caller.home,
        name=params.name or f"DATA-{call.cloud.new_id().hex[-8:]}",
        size_gib=size,
        kind=params.kind,
        snapshot=params.snapshot,
        zone=params.zone,
    )
    if params.server is not None:
        return await compound.create_for(call.cloud, caller, want, params.server, command=call.name)
    return await volumes.create(call.cloud, caller, want)


@command("attachVolume", params=AttachVolume)
async def attach(call: Call, params: AttachVolume) -> Accepted:
    """Attaches a data volume to a virtual machine."""
    device = None
    if params.device is not None:
        if not 1 <= params.device <= LAST_DEVICE:
            raise invalid(
                call.name, "deviceid", str(params.device), f"it is 1 to {LAST_DEVICE}; 0 is the root's."
            )
        device = f"vd{chr(ord('a') + params.device)}"
    return await volumes.attach(call.cloud, call.caller, params.volume, params.server, device=device)


@command("detachVolume", params=DetachVolume)
async def detach(call: Call, params: DetachVolume) -> Accepted:
    """Detaches a data volume from its virtual machine."""
    key = params.volume
    if key is None:
        if params.server is None or params.device is None:
            raise missing(call.name, "id")
        async with call.cloud.view() as look:
            server = await call.caller.find(look.rows, Server, params.server, "server.update")
            held = await volumes.of_server(look, server.id)
        found = [volume.id for volume in held if device_id(volume) == params.device]
        if not found:
            raise Invalid(f"Virtual machine {params.server} has no volume with device id {params.device}.")
        key = found[0]
    return await volumes.detach(call.cloud, call.caller, key, server=params.server)


@command("resizeVolume", params=ResizeVolume, ignored=("automigrate",))
async def resize(call: Call, params: ResizeVolume) -> Accepted | Done:
    """Makes a volume larger, or changes its disk offering."""
    if params.size_gib is None and params.kind is None:
        raise missing(call.name, "size")
    size = params.size_gib or 0
    if params.kind is not None:
        size = (await kinds.show(call.cloud, call.caller, params.kind)).size_gib or size
    if not size:
        size = (await volumes.show(call.cloud, call.caller, params.volume)).size_gib
    changed = await compound.resize(call.cloud, call.caller, params.volume, size_gib=size, kind=params.kind)
    return changed if isinstance(changed, Accepted) else Done(record=changed)


@command("deleteVolume", params=OnVolume)
async def delete(call: Call, params: OnVolume) -> None:
    """Deletes a volume that is not attached; its snapshots stay."""
    await settled(call, await volumes.delete(call.cloud, call.caller, params.volume, keep_snapshots=True))


@command("destroyVolume", params=DestroyVolume)
async def destroy(call: Call, params: DestroyVolume) -> Accepted:
    """Deletes a volume for good."""
    if not params.expunge:
        raise Unsupported(
            "Destroyed volumes are not kept here, so none could be recovered; say expunge=true to delete it for good."
        )
    return await volumes.delete(call.cloud, call.caller, params.volume, keep_snapshots=True)


@command("updateVolume", params=UpdateVolume)
async def update(call: Call, params: UpdateVolume) -> Done:
    """Changes a volume's name."""
    if params.volume is None:
        raise missing(call.name, "id")
    changes = {} if params.name is None else {"name": params.name}
    return Done(record=await volumes.update(call.cloud, call.caller, params.volume, **changes))
