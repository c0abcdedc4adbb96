"""Where volumes are kept, and what this API offers: services, pools, zones, extensions, filters."""

from typing import Any

from pileus.core.block import kinds, pictures
from pileus.core.block.records import StoragePool
from pileus.core.compute import hosts
from pileus.core.errors import Invalid, NotFound
from pileus.faces.openstack.volume import snapshots, view, volumes
from pileus.faces.openstack.volume.service import service
from pileus.faces.openstack.volume.words import flag, stamp
from pileus.faces.wire import Request

GIB = 1 << 30
EXTENSIONS = {
    "OS-SCH-HNT": "SchedulerHints",
    "os-admin-actions": "AdminActions",
    "os-availability-zone": "AvailabilityZones",
    "os-extended-services": "ExtendedServices",
    "os-extended-snapshot-attributes": "ExtendedSnapshotAttributes",
    "os-quota-class-sets": "QuotaClasses",
    "os-quota-sets": "Quotas",
    "os-services": "Services",
    "os-snapshot-actions": "SnapshotActions",
    "os-types-extra-specs": "TypesExtraSpecs",
    "os-types-manage": "TypesManage",
    "os-used-limits": "UsedLimits",
    "os-vol-host-attr": "VolumeHostAttribute",
    "os-vol-image-meta": "VolumeImageMetadata",
    "os-vol-mig-status-attr": "VolumeMigStatusAttribute",
    "os-vol-tenant-attr": "VolumeTenantAttribute",
    "os-volume-actions": "VolumeActions",
    "os-volume-type-access": "VolumeTypeAccess",
    "scheduler-stats": "Scheduler_stats",
}


@service.operation("GET", "/os-availability-zone")
async def zones(request: Request) -> dict[str, Any]:
    found = await hosts.zones(request.cloud)
    shown = [{"zoneName": zone.name, "zoneState": {"available": zone.enabled}} for zone in found]
    return {"availabilityZoneInfo": shown}


@service.operation("GET", "/extensions")
async def extensions(request: Request) -> dict[str, Any]:
    return {"extensions": [extension(alias) for alias in EXTENSIONS]}


@service.operation("GET", "/extensions/{alias}")
async def show_extension(request: Request, alias: str) -> dict[str, Any]:
    if alias not in EXTENSIONS:
        raise NotFound("Extension", alias[:255])
    return {"extension": extension(alias)}


def extension(alias: str) -> dict[str, Any]:
    name = EXTENSIONS[alias]
    return {
        "alias": alias,
        "name": name,
        "description": f"{name} support.",
        "updated": "2013-06-27T00:00:00+00:00",
        "links": [],
    }


@service.operation("GET", "/resource_filters", since=(3, 33))
async def resource_filters(request: Request) -> dict[str, Any]:
    """What lists may be asked for by users."""
    offered = {
        "volume": [name for name in volumes.FILTERS if request.version >= volumes.SINCE.get(name, (0, 0))],
        "snapshot": [
            name for name in snapshots.FILTERS if request.version >= snapshots.SINCE.get(name, (0, 0))
        ],
        "pool": ["name", "volume_type"],
        "volume_type": ["is_public", "extra_specs"],
    }
    asked = request.query.get("resource")
    return {
        "resource_filters": [
            {"resource": resource, "filters": names}
            for resource, names in offered.items()
            if asked is None or asked == resource
        ]
    }


@service.operation("GET", "/os-services", policy="volume_extension:services:index")
async def services(request: Request) -> dict[str, Any]:
    """The one process that places volumes, and one service for each storage pool."""
    names = {zone.id: zone.name for zone in await hosts.zones(request.cloud)}
    pools, query = await pictures.pools(request.cloud), request.query
    shown = [row(request, "cinder-scheduler", "pileus", request.cloud.config.zone, up=True)]
    for pool in pools:
        up = pool.id in request.site.pools
        kept = row(request, "cinder-volume", view.backend_of(pool), names.get(pool.zone, ""), up=up)
        kept |= {"replication_status": "disabled", "active_backend_id": None, "frozen": False}
        if request.version >= (3, 49):
            kept["backend_state"] = "up" if up else "down"
        shown.append(kept)
    host, binary = query.get("host"), query.get("binary")
    return {
        "services": [
            one
            for one in shown
            if host in (None, one["host"], one["host"].partition("@")[0]) and binary in (None, one["binary"])
        ]
    }


def row(request: Request, binary: str, host: str, zone: str, *, up: bool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "binary": binary,
        "host": host,
        "zone": zone,
        "status": "enabled",
        "state": "up" if up else "down",
        "updated_at": stamp(request.cloud.now()),
        "disabled_reason": None,
    }
    if request.version >= (3, 7):
        made["cluster"] = None
    return made


@service.operation(
    "GET", "/scheduler-stats/get_pools", policy="scheduler_extension:scheduler_stats:get_pools"
)
async def pools(request: Request) -> dict[str, Any]:
    query = request.query
    found = await pictures.pools(request.cloud)
    if "name" in query and request.version >= (3, 28):
        found = [pool for pool in found if view.host_of(pool) == query["name"]]
    if "volume_type" in query and request.version >= (3, 35):
        await kind(request, query["volume_type"])
    if flag("detail", query.get("detail", "false")):
        return {"pools": [{"name": view.host_of(p), "capabilities": capabilities(p)} for p in found]}
    return {"pools": [{"name": view.host_of(pool)} for pool in found]}


async def kind(request: Request, named: str) -> None:
    """Every pool takes every kind, so a kind only has to exist."""
    known = await kinds.listing(request.cloud, request.caller)
    if not any(named in (each.name, str(each.id)) for each in known):
        raise Invalid(f"Volume type {named[:64]} does not exist; list them with GET /types.")


def capabilities(pool: StoragePool) -> dict[str, Any]:
    free = max(0, pool.total_bytes - pool.used_bytes)
    return {
        "volume_backend_name": pool.name,
        "vendor_name": "Pileus",
        "driver_version": "1.0",
        "storage_protocol": pool.driver,
        "total_capacity_gb": round(pool.total_bytes / GIB, 2),
        "free_capacity_gb": round(free / GIB, 2),
        "reserved_percentage": 0,
        "thin_provisioning_support": True,
        "thick_provisioning_support": False,
        "multiattach": False,
        "QoS_support": False,
        "backend_state": "up",
    }
