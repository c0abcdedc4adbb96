"""How volumes and snapshots look."""

from typing import Any

from pileus.core.block.pictures import Picture
from pileus.core.block.records import Snapshot, StoragePool, Volume
from pileus.faces.openstack.volume.service import links
from pileus.faces.openstack.volume.words import SNAPSHOT_STATUS, STATUS, stamp
from pileus.faces.wire import Request


def host_of(pool: StoragePool | None) -> str | None:
    """host@backend#pool: of a pool here all three are the pool."""
    return f"{backend_of(pool)}#{pool.name}" if pool else None


def backend_of(pool: StoragePool) -> str:
    return f"pileus@{pool.name}"


def summary(request: Request, volume: Volume) -> dict[str, Any]:
    return {
        "id": str(volume.id),
        "name": volume.name or None,
        "links": links(request, "volumes", volume.id),
    }


def detail(request: Request, of: Picture) -> dict[str, Any]:
    return changed(request, of) | extended(request, of)


def changed(request: Request, of: Picture) -> dict[str, Any]:
    """What the answer to its making or change shows: without the extensions' part."""
    volume = of.volume
    shown = {
        "id": str(volume.id),
        "status": STATUS[volume.state],
        "size": volume.size_gib,
        "availability_zone": of.zone.name if of.zone else None,
        "created_at": stamp(volume.created_at),
        "updated_at": stamp(volume.updated_at),
        "name": volume.name or None,
        "description": volume.description or None,
        "volume_type": of.kind.name if of.kind else None,
        "snapshot_id": str(volume.source_snapshot) if volume.source_snapshot else None,
        "source_volid": str(volume.source_volume) if volume.source_volume else None,
        "metadata": volume.metadata,
        "links": links(request, "volumes", volume.id),
        "user_id": volume.user.hex,
        "bootable": "true" if volume.bootable else "false",
        "encrypted": False,
        "replication_status": None,
        "consistencygroup_id": None,
        "multiattach": False,
        "attachments": attachments(request, of),
    }
    if request.caller.admin:
        shown["migration_status"] = None
    return shown | newer(request, of)


def attachments(request: Request, of: Picture) -> list[dict[str, Any]]:
    volume = of.volume
    if volume.server is None or volume.attached_at is None:
        return []
    admin = request.caller.admin
    return [
        {
            "id": str(volume.id),
            "attachment_id": str(volume.attachment),
            "volume_id": str(volume.id),
            "server_id": str(volume.server),
            "host_name": of.host.hostname if of.host and admin else None,
            "device": f"/dev/{volume.device}",
            "attached_at": stamp(volume.attached_at),
        }
    ]


def extended(request: Request, of: Picture) -> dict[str, Any]:
    """What the extensions add, as far as the caller may see it."""
    volume, shown = of.volume, dict[str, Any]()
    if request.allowed("volume_extension:volume_host_attribute"):
        shown["os-vol-host-attr:host"] = host_of(of.pool)
    if request.allowed("volume_extension:volume_mig_status_attribute"):
        shown |= {"os-vol-mig-status-attr:migstat": None, "os-vol-mig-status-attr:name_id": None}
    if request.allowed("volume_extension:volume_tenant_attribute"):
        shown["os-vol-tenant-attr:tenant_id"] = volume.project.hex
    if volume.image_properties and request.allowed("volume_extension:volume_image_metadata:show"):
        shown["volume_image_metadata"] = volume.image_properties
    return shown


def newer(request: Request, of: Picture) -> dict[str, Any]:
    """What later versions added."""
    admin, shown = request.caller.admin, dict[str, Any]()
    if request.version >= (3, 13):
        shown["group_id"] = None
    if request.version >= (3, 21) and admin:
        shown["provider_id"] = None
    if request.version >= (3, 48):
        shown["shared_targets"] = False
        shown["service_uuid"] = str(of.volume.pool)
    if request.version >= (3, 61) and admin:
        shown["cluster_name"] = None
    if request.version >= (3, 63):
        shown["volume_type_id"] = str(of.volume.kind)
    if request.version >= (3, 65):
        shown["consumes_quota"] = True
    return shown


def snapshot_summary(request: Request, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "id": str(snapshot.id),
        "created_at": stamp(snapshot.created_at),
        "updated_at": stamp(snapshot.updated_at),
        "name": snapshot.name or None,
        "description": snapshot.description or None,
        "volume_id": str(snapshot.volume),
        "status": SNAPSHOT_STATUS[snapshot.state],
        "size": snapshot.size_gib,
        "metadata": snapshot.metadata,
    }


def snapshot_detail(request: Request, snapshot: Snapshot) -> dict[str, Any]:
    shown = changed_snapshot(request, snapshot)
    if request.allowed("volume_extension:extended_snapshot_attributes"):
        shown["os-extended-snapshot-attributes:project_id"] = snapshot.project.hex
        progress = "100%" if SNAPSHOT_STATUS[snapshot.state] == "available" else "0%"
        shown["os-extended-snapshot-attributes:progress"] = progress
    return shown


def changed_snapshot(request: Request, snapshot: Snapshot) -> dict[str, Any]:
    """What the answer to its making or change shows."""
    shown = snapshot_summary(request, snapshot)
    if request.version >= (3, 14):
        shown["group_snapshot_id"] = None
    if request.version >= (3, 41):
        shown["user_id"] = snapshot.user.hex
    if request.version >= (3, 65):
        shown["consumes_quota"] = True
    return shown
