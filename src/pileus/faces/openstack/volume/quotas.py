"""Quotas of projects, and what a project has left."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pileus.core import limits as core
from pileus.core.block.limits import RESOURCES, change
from pileus.core.errors import Invalid
from pileus.faces.openstack.volume.service import service
from pileus.faces.openstack.volume.words import flag
from pileus.faces.openstack.wire import parse_id
from pileus.faces.wire import Request

NAMES: Mapping[str, str] = {"volumes": "volumes", "gigabytes": "volume_gib", "snapshots": "snapshots"}
FIXED: Mapping[str, int] = {"per_volume_gigabytes": -1, "backups": 0, "backup_gigabytes": 0, "groups": 0}
"""What cannot be limited, or what there is none of."""


def plain(limits: Mapping[str, int]) -> dict[str, int]:
    return {name: limits[resource] for name, resource in NAMES.items()} | dict(FIXED)


async def shown(request: Request, project: UUID, *, usage: bool = False) -> dict[str, Any]:
    every = await core.show(request.cloud, request.caller, project, RESOURCES)
    if not usage:
        return plain({resource: limit for resource, (_, limit) in every.items()})
    made = {
        name: {"limit": every[resource][1], "in_use": every[resource][0], "reserved": 0}
        for name, resource in NAMES.items()
    }
    return made | {name: {"limit": limit, "in_use": 0, "reserved": 0} for name, limit in FIXED.items()}


def enforce(request: Request, rule: str, project: UUID) -> None:
    request.enforce(rule, {"project_id": project.hex, "tenant_id": project.hex})


@service.operation("GET", "/os-quota-sets/{project}", policy="volume_extension:quotas:show", targeted=True)
async def show(request: Request, project: UUID) -> dict[str, Any]:
    enforce(request, "volume_extension:quotas:show", project)
    usage = flag("usage", request.query.get("usage", "false"))
    return {"quota_set": await shown(request, project, usage=usage) | {"id": project.hex}}


@service.operation(
    "GET", "/os-quota-sets/{project}/defaults", policy="volume_extension:quotas:show", targeted=True
)
async def defaults(request: Request, project: UUID) -> dict[str, Any]:
    enforce(request, "volume_extension:quotas:show", project)
    return {"quota_set": plain(await core.defaults(request.cloud, RESOURCES)) | {"id": project.hex}}


@service.operation(
    "PUT",
    "/os-quota-sets/{project}",
    policy="volume_extension:quotas:update",
    body=("quota_set", dict[str, int | str]),
)
async def update(request: Request, project: UUID, body: Mapping[str, int | str]) -> dict[str, Any]:
    await change(request.cloud, request.caller, project, limits_of(body))
    return {"quota_set": await shown(request, project)}


def limits_of(body: Mapping[str, int | str]) -> dict[str, int]:
    """By the core's names. Raises Invalid."""
    limits: dict[str, int] = {}
    for name, value in body.items():
        if name in ("tenant_id", "project_id", "id"):
            continue
        limit = number(name, value)
        if name in NAMES:
            limits[NAMES[name]] = limit
        elif limit != FIXED.get(name, -1):
            raise Invalid(f"Quota {name[:60]} cannot be set to {limit}; {', '.join(NAMES)} can be limited.")
    return limits


def number(name: str, value: int | str) -> int:
    try:
        return int(value)
    except ValueError:
        raise Invalid(
            f"Invalid input for field/attribute quota_set.{name[:60]}: it is not a whole number."
        ) from None


@service.operation("DELETE", "/os-quota-sets/{project}", policy="volume_extension:quotas:delete")
async def delete(request: Request, project: UUID) -> None:
    await core.reset(request.cloud, request.caller, project, RESOURCES)


CLASS = "/os-quota-class-sets/{name}"
DEFAULT = "default"
"""The one class that means something: what projects without limits of their own have."""


@service.operation("GET", CLASS, policy="volume_extension:quota_classes:get")
async def show_class(request: Request, name: str) -> dict[str, Any]:
    held = plain(await core.defaults(request.cloud, RESOURCES))
    return {"quota_class_set": held | {"id": name}}


@service.operation(
    "PUT",
    CLASS,
    policy="volume_extension:quota_classes:update",
    body=("quota_class_set", dict[str, int | str]),
)
async def update_class(request: Request, name: str, body: Mapping[str, int | str]) -> dict[str, Any]:
    if name != DEFAULT:
        raise Invalid(
            f"Quota class {name[:60]} is not used by anything; the defaults are the class {DEFAULT}."
        )
    await core.change_defaults(request.cloud, request.caller, limits_of(body))
    return {"quota_class_set": plain(await core.defaults(request.cloud, RESOURCES))}


@service.operation("GET", "/limits", policy="limits_extension:used_limits")
async def limits(request: Request) -> dict[str, Any]:
    """Of the own project; since 3.39 an administrator may name another."""
    project, query = request.caller.project, request.query
    other = query.get("project_id", query.get("tenant_id"))
    if other and request.caller.admin and request.version >= (3, 39):
        project = parse_id(other, "Project")
    every = await core.show(request.cloud, request.caller, project or request.caller.home, RESOURCES)
    absolute = {
        "maxTotalVolumes": every["volumes"][1],
        "maxTotalVolumeGigabytes": every["volume_gib"][1],
        "maxTotalSnapshots": every["snapshots"][1],
        "maxTotalBackups": 0,
        "maxTotalBackupGigabytes": 0,
        "totalVolumesUsed": every["volumes"][0],
        "totalGigabytesUsed": every["volume_gib"][0],
        "totalSnapshotsUsed": every["snapshots"][0],
        "totalBackupsUsed": 0,
        "totalBackupGigabytesUsed": 0,
    }
    return {"limits": {"rate": [], "absolute": absolute}}
