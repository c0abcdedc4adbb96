"""Interfaces and volumes of a server: listed, attached and detached."""

from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from pileus.core.block import volumes
from pileus.core.block.records import Volume, VolumeState
from pileus.core.compute import pictures, servers
from pileus.core.compute.pictures import Interface
from pileus.core.compute.records import State
from pileus.core.compute.states import StateConflict
from pileus.core.errors import Conflict, Invalid, NotFound
from pileus.core.network.ports import NicWant
from pileus.faces.openstack.compute.parsing import Struct, Tag, key, refuse_out_of_version, sent, truth
from pileus.faces.openstack.compute.server_filters import one_number
from pileus.faces.openstack.compute.service import MAX_LIMIT, service
from pileus.faces.wire import Request, Response

INTERFACES = "/servers/{server}/os-interface"
VOLUMES = "/servers/{server}/os-volume_attachments"
ATTACHABLE = frozenset({State.ACTIVE, State.PAUSED, State.STOPPED})


class Fixed(Struct, frozen=True, kw_only=True):
    ip_address: str


class Attach(Struct, frozen=True, kw_only=True):
    net_id: str | None = None
    port_id: str | None = None
    fixed_ips: list[Fixed] = []
    tag: Tag | UnsetType = UNSET


def interface(request: Request, shown: Interface) -> dict[str, Any]:
    view: dict[str, Any] = {
        "net_id": str(shown.port.network),
        "port_id": str(shown.port.id),
        "mac_addr": shown.port.mac,
        "port_state": "ACTIVE" if shown.port.up else "DOWN",
        "fixed_ips": [{"subnet_id": str(one.subnet), "ip_address": one.address} for one in shown.addresses],
    }
    return view | ({"tag": None} if request.version >= (2, 70) else {})


@service.operation("GET", INTERFACES, policy="os_compute_api:os-attach-interfaces:list")
async def interfaces(request: Request, server: UUID) -> dict[str, Any]:
    picture = await pictures.show(request.cloud, request.caller, server)
    return {"interfaceAttachments": [interface(request, shown) for shown in picture.interfaces]}


@service.operation("GET", INTERFACES + "/{port}", policy="os_compute_api:os-attach-interfaces:show")
async def show_interface(request: Request, server: UUID, port: UUID) -> dict[str, Any]:
    return {"interfaceAttachment": interface(request, await one_interface(request, server, port))}


async def one_interface(request: Request, server: UUID, port: UUID) -> Interface:
    picture = await pictures.show(request.cloud, request.caller, server)
    found = next((shown for shown in picture.interfaces if shown.port.id == port), None)
    if found is None:
        raise NotFound("Port", f"{port} of instance {server}")
    return found


@service.operation(
    "POST",
    INTERFACES,
    policy="os_compute_api:os-attach-interfaces:create",
    body=("interfaceAttachment", Attach),
)
async def attach_interface(request: Request, server: UUID, body: Attach) -> dict[str, Any]:
    refuse_out_of_version(sent(body), {"tag": (2, 49)}, request.version, "interfaceAttachment")
    if body.net_id and body.port_id:
        raise Invalid("Must not input both network_id and port_id")
    if body.fixed_ips and not body.net_id:
        raise Invalid("Must input network_id when request IP address")
    if len(body.fixed_ips) > 1:
        raise Invalid("Invalid input for field/attribute fixed_ips. At most one address can be asked for.")
    nic = NicWant(
        network=key(body.net_id, "net_id") if body.net_id else None,
        port=key(body.port_id, "port_id") if body.port_id else None,
        address=body.fixed_ips[0].ip_address if body.fixed_ips else None,
    )
    await servers.show(request.cloud, request.caller, server)
    try:
        accepted = await servers.attach_nic(request.cloud, request.caller, server, nic)
    except NotFound as error:
        raise Invalid(error.public) from None
    return {
        "interfaceAttachment": interface(request, await one_interface(request, server, accepted.resource.id))
    }


@service.operation(
    "DELETE", INTERFACES + "/{port}", policy="os_compute_api:os-attach-interfaces:delete", status=202
)
async def detach_interface(request: Request, server: UUID, port: UUID) -> None:
    await servers.detach_nic(request.cloud, request.caller, server, port)


class AttachVolume(Struct, frozen=True, kw_only=True):
    volumeId: str
    device: Annotated[str, Meta(min_length=1, max_length=255)] | None = None
    tag: Tag | UnsetType = UNSET
    delete_on_termination: bool | str | UnsetType = UNSET


def attachment(request: Request, volume: Volume) -> dict[str, Any]:
    version = request.version
    shown: dict[str, Any] = {
        "volumeId": str(volume.id),
        "serverId": str(volume.server),
        "device": f"/dev/{volume.device}" if volume.device else None,
    }
    if version < (2, 89):
        shown["id"] = str(volume.id)
    if version >= (2, 70):
        shown["tag"] = None
    if version >= (2, 79):
        shown["delete_on_termination"] = volume.delete_with_server
    if version >= (2, 89):
        shown |= {"attachment_id": str(volume.attachment), "bdm_uuid": str(volume.attachment)}
    return shown


async def held(request: Request, server: UUID) -> list[Volume]:
    picture = await pictures.show(request.cloud, request.caller, server)
    return [volume for volume in picture.volumes if not volume.ephemeral]


@service.operation("GET", VOLUMES, policy="os_compute_api:os-volumes-attachments:index")
async def attachments(request: Request, server: UUID) -> dict[str, Any]:
    start, limit = one_number(request, "offset") or 0, one_number(request, "limit")
    shown = await held(request, server)
    end = start + min(limit if limit is not None else MAX_LIMIT, MAX_LIMIT)
    return {"volumeAttachments": [attachment(request, volume) for volume in shown[start:end]]}


async def one_held(request: Request, server: UUID, volume: UUID) -> Volume:
    found = next((each for each in await held(request, server) if each.id == volume), None)
    if found is None:
        raise NotFound("Volume", f"{volume} attached to instance {server}")
    return found


@service.operation("GET", VOLUMES + "/{volume}", policy="os_compute_api:os-volumes-attachments:show")
async def show_attachment(request: Request, server: UUID, volume: UUID) -> dict[str, Any]:
    return {"volumeAttachment": attachment(request, await one_held(request, server, volume))}


@service.operation(
    "POST",
    VOLUMES,
    policy="os_compute_api:os-volumes-attachments:create",
    body=("volumeAttachment", AttachVolume),
)
async def attach_volume(request: Request, server: UUID, body: AttachVolume) -> Response:
    spans = {"tag": (2, 49), "delete_on_termination": (2, 79)}
    refuse_out_of_version(sent(body), spans, request.version, "volumeAttachment")
    await refuse_state(request, server, "attach_volume")
    delete = (
        truth(body.delete_on_termination, "delete_on_termination")
        if body.delete_on_termination is not UNSET
        else False
    )
    try:
        accepted = await volumes.attach(
            request.cloud,
            request.caller,
            key(body.volumeId, "volumeId"),
            server,
            device=body.device,
            delete_with_server=delete,
        )
    except Conflict as error:
        # A volume in the wrong state is bad input to the original, an instance in the wrong state is not.
        raise Invalid(f"Invalid volume: {error.public}") from None
    return Response(200, {"volumeAttachment": attachment(request, accepted.resource)})


async def refuse_state(request: Request, server: UUID, verb: str) -> None:
    found = await servers.show(request.cloud, request.caller, server)
    if found.state not in ATTACHABLE:
        raise StateConflict(server, verb, found.state)


class ChangeVolume(Struct, frozen=True, kw_only=True):
    volumeId: str
    id: str | UnsetType = UNSET
    serverId: str | UnsetType = UNSET
    device: str | UnsetType | None = UNSET
    tag: str | UnsetType | None = UNSET
    delete_on_termination: bool | str | UnsetType = UNSET
    attachment_id: str | UnsetType = UNSET
    bdm_uuid: str | UnsetType = UNSET


@service.operation(
    "PUT",
    VOLUMES + "/{volume}",
    policy="os_compute_api:os-volumes-attachments:update",
    body=("volumeAttachment", ChangeVolume),
    status=202,
)
async def change_attachment(request: Request, server: UUID, volume: UUID, body: ChangeVolume) -> None:
    """Only whether the volume goes with the server changes; another volume in its place is refused."""
    if key(body.volumeId, "volumeId") != volume:
        raise Invalid("A volume cannot be swapped for another here; detach it and attach the other.")
    if request.version < (2, 85):
        raise Invalid("A volume cannot be swapped for itself.")
    await one_held(request, server, volume)
    if body.delete_on_termination is not UNSET:
        flag = truth(body.delete_on_termination, "delete_on_termination")
        await volumes.update(request.cloud, request.caller, volume, delete_with_server=flag)


@service.operation(
    "DELETE", VOLUMES + "/{volume}", policy="os_compute_api:os-volumes-attachments:delete", status=202
)
async def detach_volume(request: Request, server: UUID, volume: UUID) -> None:
    await refuse_state(request, server, "detach_volume")
    found = await one_held(request, server, volume)
    if found.root:
        raise Invalid("Cannot detach a root device volume")
    if found.state is not VolumeState.IN_USE:
        raise Conflict(f"Unable to detach volume {volume}: it is {found.state}.")
    await volumes.detach(request.cloud, request.caller, volume, server=server)
