"""A server as the original shows it, by version, and with what only some may see."""

import hashlib
from base64 import b64encode
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from pileus.core.compute import sizes
from pileus.core.compute.pictures import Interface, Picture
from pileus.core.compute.records import Host, Server, Size, State
from pileus.faces.openstack.compute.service import bookmark, links
from pileus.faces.openstack.compute.words import POWER, PROGRESSING, STATES, STATUS
from pileus.faces.openstack.wire import moment, seconds
from pileus.faces.wire import Request

FACET = "openstack"
PINNED = "availability_zone"
"""In the facet: the part of a zone that was asked for."""


def brief(request: Request, server: Server) -> dict[str, Any]:
    key = str(server.id)
    return {"id": key, "name": server.name, "links": links(request, "servers", key)}


def full(request: Request, picture: Picture, *, one: bool = True) -> dict[str, Any]:
    """`one`: shown by itself, where the list of servers leaves something out."""
    server, version = picture.server, request.version
    status = STATUS[server.state]
    vm_state, task_state = task_of(server)
    shown: dict[str, Any] = {
        **brief(request, server),
        "status": status,
        "tenant_id": server.project.hex,
        "user_id": server.user.hex,
        "metadata": server.metadata,
        "hostId": host_id(server.project, server.host) if server.host else "",
        "image": image(request, server),
        "flavor": flavor(request, server, picture.size),
        "created": moment(server.created_at),
        "updated": moment(server.updated_at),
        "addresses": addresses(picture.interfaces),
        "accessIPv4": picture.facet.get("accessIPv4", ""),
        "accessIPv6": picture.facet.get("accessIPv6", ""),
        "OS-DCF:diskConfig": picture.facet.get("diskConfig", "MANUAL"),
        "OS-EXT-AZ:availability_zone": picture.facet.get(PINNED) or picture.zone_name,
        "config_drive": "True" if server.config_drive else "",
        "key_name": server.key_name or None,
        "OS-SRV-USG:launched_at": plain_time(server.launched_at),
        "OS-SRV-USG:terminated_at": None,
        "OS-EXT-STS:task_state": task_state,
        "OS-EXT-STS:vm_state": vm_state,
        "OS-EXT-STS:power_state": POWER[server.state],
        "os-extended-volumes:volumes_attached": attached(picture, version),
    }
    if status in PROGRESSING:
        shown["progress"] = 0 if status == "BUILD" else 100
    if server.fault and status == "ERROR":
        shown["fault"] = fault(server)
    if picture.groups:
        shown["security_groups"] = [{"name": group.name} for group in picture.groups]
    shown |= versioned(request, picture, one=one)
    if request.allowed("os_compute_api:os-extended-server-attributes"):
        shown |= extended(picture, version)
    elif version >= (2, 90):
        shown["OS-EXT-SRV-ATTR:hostname"] = server.hostname
    return shown


def task_of(server: Server) -> tuple[str, str | None]:
    vm_state, task_state = STATES[server.state]
    if server.state is State.BUILDING and server.host is None:
        return vm_state, "scheduling"
    return vm_state, task_state


def versioned(request: Request, picture: Picture, *, one: bool) -> dict[str, Any]:
    """What came with later versions."""
    server, version = picture.server, request.version
    shown: dict[str, Any] = {}
    if version >= (2, 9):
        shown["locked"] = server.locked
    if version >= (2, 16) and request.allowed("os_compute_api:servers:show:host_status"):
        shown["host_status"] = host_status(picture.host)
    if version >= (2, 19):
        shown["description"] = server.description or None
    if version >= (2, 26):
        shown["tags"] = list(server.tags)
    if version >= (2, 63):
        shown["trusted_image_certificates"] = None
    if version >= (2, 71) and one:
        shown["server_groups"] = [str(group.id) for group in picture.server_groups]
    if version >= (2, 73):
        shown["locked_reason"] = picture.facet.get("locked_reason") if server.locked else None
    if version >= (2, 96):
        pinned = picture.pinned.name if picture.pinned else None
        shown["pinned_availability_zone"] = picture.facet.get(PINNED) or pinned
    return shown


def extended(picture: Picture, version: tuple[int, int]) -> dict[str, Any]:
    server, host = picture.server, picture.host
    name = host.hostname if host else None
    shown: dict[str, Any] = {
        "host": name,
        "instance_name": f"instance-{server.id.hex[-8:]}",
        "hypervisor_hostname": name,
    }
    if version >= (2, 3):
        shown |= {
            "hostname": server.hostname,
            "kernel_id": "",
            "ramdisk_id": "",
            "launch_index": int(picture.facet.get("index", 0)),
            "reservation_id": picture.facet.get("reservation_id") or f"r-{server.id.hex[-8:]}",
            "root_device_name": "/dev/vda",
            "user_data": b64encode(server.user_data).decode() if server.user_data else None,
        }
    return {f"OS-EXT-SRV-ATTR:{key}": value for key, value in shown.items()}


def host_status(host: Host | None) -> str:
    if host is None:
        return ""
    if not host.up:
        return "DOWN"
    return "UP" if host.enabled and not host.maintenance else "MAINTENANCE"


@lru_cache(maxsize=8192)
def host_id(project: UUID, host: UUID) -> str:
    """The same for a project's servers on one host, and telling nothing of it."""
    return hashlib.sha224(f"{project.hex}{host.hex}".encode()).hexdigest()


def image(request: Request, server: Server) -> Any:
    if server.image is None:
        return ""
    key = str(server.image)
    return {"id": key, "links": [bookmark(request, "images", key)]}


def flavor(request: Request, server: Server, size: Size | None) -> dict[str, Any]:
    ref = size.ref if size else str(server.size)
    if request.version < (2, 47):
        return {"id": ref, "links": [bookmark(request, "flavors", ref)]}
    shown: dict[str, Any] = {
        "vcpus": server.vcpus,
        "ram": server.memory_mib,
        "disk": size.disk_gib if size else server.disk_gib,
        "ephemeral": size.ephemeral_gib if size else 0,
        "swap": size.swap_mib if size else 0,
        "original_name": size.name if size else ref,
    }
    if request.allowed("os_compute_api:servers:show:flavor-extra-specs"):
        shown["extra_specs"] = sizes.specs(size) if size else {}
    return shown


def addresses(interfaces: list[Interface]) -> dict[str, list[dict[str, Any]]]:
    """Fixed and floating ones by the network's name."""
    found: dict[str, list[dict[str, Any]]] = {}
    for interface in interfaces:
        name = interface.network.name if interface.network else str(interface.port.network)
        listed = [(address.address, "fixed") for address in interface.addresses] + [
            (outer.address, "floating") for outer in interface.outer
        ]
        for text, kind in listed:
            found.setdefault(name, []).append(
                {
                    "version": 6 if ":" in text else 4,
                    "addr": text,
                    "OS-EXT-IPS:type": kind,
                    "OS-EXT-IPS-MAC:mac_addr": interface.port.mac,
                }
            )
    return found


def attached(picture: Picture, version: tuple[int, int]) -> list[dict[str, Any]]:
    """Volumes; the server's own root disk is none."""
    held = [volume for volume in picture.volumes if not volume.ephemeral]
    if version < (2, 3):
        return [{"id": str(volume.id)} for volume in held]
    return [{"id": str(volume.id), "delete_on_termination": volume.delete_with_server} for volume in held]


def fault(server: Server) -> dict[str, Any]:
    return {"code": 500, "created": moment(server.fault_at or server.updated_at), "message": server.fault}


def plain_time(at: datetime | None) -> str | None:
    return f"{seconds(at)}.000000" if at is not None else None
