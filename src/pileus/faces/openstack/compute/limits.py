"""Limits and quotas: what a project may use of this service and what it uses; the network's only in old versions."""

from typing import Any
from uuid import UUID

from msgspec import UNSET, UnsetType

from pileus.core import limits as core
from pileus.core.compute import quotas
from pileus.core.compute.labels import MAX_METADATA
from pileus.core.errors import Invalid
from pileus.core.quota import DEFAULTS
from pileus.faces.openstack.compute.parsing import Struct, number, truth
from pileus.faces.openstack.compute.service import service
from pileus.faces.wire import Request

ONE = "/os-quota-sets/{project}"
KEPT = {
    "instances": "servers",
    "cores": "vcpus",
    "ram": "memory_mib",
    "key_pairs": "key_pairs",
    "server_groups": "server_groups",
    "server_group_members": "server_group_members",
}
"""The quotas that this service keeps, by the core's names."""
NETWORK = {
    "floating_ips": "addresses",
    "security_groups": "security_groups",
    "security_group_rules": "security_rules",
    "networks": "networks",
}
FIXED = {"metadata_items": MAX_METADATA}
FILES = {"injected_files": 0, "injected_file_content_bytes": 0, "injected_file_path_bytes": 0}


def names(version: tuple[int, int]) -> dict[str, str | int]:
    """Quotas of the version: the core's name, or a number that does not change."""
    shown: dict[str, str | int] = {**KEPT, **FIXED}
    if version < (2, 36):
        shown |= {
            "floating_ips": "addresses",
            "security_groups": "security_groups",
            "security_group_rules": "security_rules",
            "fixed_ips": -1,
        }
    if version < (2, 57):
        shown |= FILES
    return shown


@service.operation("GET", "/limits", policy="os_compute_api:limits")
async def limits(request: Request) -> dict[str, Any]:
    version = request.version
    project = request.caller.home
    for parameter in request.query:
        if parameter not in ("reserved", "tenant_id") and version >= (2, 75):
            raise Invalid(
                f"Invalid input for query parameters. Additional properties are not allowed ('{parameter}' was unexpected)"
            )
    if "tenant_id" in request.query and request.query["tenant_id"] != project.hex:
        request.enforce("os_compute_api:limits:other_project")
        project = project_id(request.query["tenant_id"])
    used = await quotas.of_project(request.cloud, request.caller, project)
    absolute: dict[str, int] = {
        "maxTotalInstances": used["servers"][1],
        "maxTotalCores": used["vcpus"][1],
        "maxTotalRAMSize": used["memory_mib"][1],
        "maxTotalKeypairs": used["key_pairs"][1],
        "maxServerMeta": MAX_METADATA,
        "maxServerGroups": used["server_groups"][1],
        "maxServerGroupMembers": used["server_group_members"][1],
        "totalInstancesUsed": used["servers"][0],
        "totalCoresUsed": used["vcpus"][0],
        "totalRAMUsed": used["memory_mib"][0],
        "totalServerGroupsUsed": used["server_groups"][0],
    }
    if version < (2, 36):
        absolute |= {
            "maxTotalFloatingIps": used["addresses"][1],
            "totalFloatingIpsUsed": used["addresses"][0],
            "maxSecurityGroups": used["security_groups"][1],
            "totalSecurityGroupsUsed": used["security_groups"][0],
            "maxSecurityGroupRules": used["security_rules"][1],
        }
    if version < (2, 39):
        absolute["maxImageMeta"] = MAX_METADATA
    if version < (2, 57):
        absolute |= {"maxPersonality": 0, "maxPersonalitySize": 0}
    return {"limits": {"rate": [], "absolute": absolute}}


def project_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Invalid(f"Project ID {text[:64]} is not a valid project.") from None


def own_or_admin(request: Request, rule: str, text: str) -> UUID:
    key = project_id(text)
    request.enforce(f"os_compute_api:os-quota-sets:{rule}", {"project_id": key.hex})
    return key


def strict(request: Request) -> None:
    for parameter in request.query:
        if parameter not in ("user_id",) and request.version >= (2, 75):
            raise Invalid(
                f"Invalid input for query parameters. Additional properties are not allowed ('{parameter}' was unexpected)"
            )


def rendered(request: Request, used: dict[str, tuple[int, int]]) -> dict[str, int]:
    return {name: used[of][1] if isinstance(of, str) else of for name, of in names(request.version).items()}


@service.operation("GET", ONE, policy="os_compute_api:os-quota-sets:show")
async def show(request: Request, project: str) -> dict[str, Any]:
    strict(request)
    key = own_or_admin(request, "show", project)
    used = await quotas.of_project(request.cloud, request.caller, key)
    return {"quota_set": {"id": project, **rendered(request, used)}}


@service.operation("GET", ONE + "/detail", policy="os_compute_api:os-quota-sets:detail")
async def detail(request: Request, project: str) -> dict[str, Any]:
    strict(request)
    key = own_or_admin(request, "detail", project)
    used = await quotas.of_project(request.cloud, request.caller, key)
    shown: dict[str, Any] = {"id": project}
    for name, of in names(request.version).items():
        count, limit = used[of] if isinstance(of, str) else (0, of)
        shown[name] = {"in_use": count, "limit": limit, "reserved": 0}
    return {"quota_set": shown}


@service.operation("GET", ONE + "/defaults", policy="os_compute_api:os-quota-sets:defaults")
async def defaults(request: Request, project: str) -> dict[str, Any]:
    return {"quota_set": {"id": project, **rendered(request, await ours(request))}}


async def ours(request: Request) -> dict[str, tuple[int, int]]:
    """The defaults, as of somebody who uses nothing."""
    found = await core.defaults(request.cloud, tuple(DEFAULTS))
    return {name: (0, limit) for name, limit in found.items()}


class Update(Struct, frozen=True, kw_only=True):
    instances: int | str | UnsetType = UNSET
    cores: int | str | UnsetType = UNSET
    ram: int | str | UnsetType = UNSET
    key_pairs: int | str | UnsetType = UNSET
    metadata_items: int | str | UnsetType = UNSET
    server_groups: int | str | UnsetType = UNSET
    server_group_members: int | str | UnsetType = UNSET
    floating_ips: int | str | UnsetType = UNSET
    fixed_ips: int | str | UnsetType = UNSET
    security_groups: int | str | UnsetType = UNSET
    security_group_rules: int | str | UnsetType = UNSET
    networks: int | str | UnsetType = UNSET
    injected_files: int | str | UnsetType = UNSET
    injected_file_content_bytes: int | str | UnsetType = UNSET
    injected_file_path_bytes: int | str | UnsetType = UNSET
    force: bool | str = False
    tenant_id: str = ""


@service.operation("PUT", ONE, policy="os_compute_api:os-quota-sets:update", body=("quota_set", Update))
async def update(request: Request, project: str, body: Update) -> dict[str, Any]:
    wanted = limits_of(request, body)
    force = truth(body.force, "force")
    key = project_id(project)
    used = await quotas.set_limits(request.cloud, request.caller, key, wanted, force=force)
    return {"quota_set": rendered(request, used)}


def limits_of(request: Request, body: Update) -> dict[str, int]:
    """By the core's names. Raises Invalid."""
    known = names(request.version)
    wanted: dict[str, int] = {}
    for name in (*KEPT, *FIXED, *NETWORK, *FILES, "fixed_ips"):
        value = getattr(body, name)
        if value is UNSET:
            continue
        if name not in known:
            raise Invalid(f"Additional properties are not allowed ('{name}' was unexpected)")
        of, limit = known[name], number(value, name, least=-1)
        if isinstance(of, str):
            wanted[of] = limit
        elif limit != of:
            raise Invalid(f"The quota {name} is fixed at {of} here; leave it out.")
    return wanted


@service.operation("DELETE", ONE, policy="os_compute_api:os-quota-sets:delete", status=202)
async def delete(request: Request, project: str) -> None:
    await quotas.reset_limits(request.cloud, request.caller, project_id(project), tuple(KEPT.values()))


CLASS = "/os-quota-class-sets/{name}"
DEFAULT = "default"
"""The one class that means something: what projects without limits of their own have."""


@service.operation("GET", CLASS, policy="os_compute_api:os-quota-class-sets:show")
async def show_class(request: Request, name: str) -> dict[str, Any]:
    return {"quota_class_set": {"id": name, **class_view(request, await ours(request))}}


def class_view(request: Request, held: dict[str, tuple[int, int]]) -> dict[str, int]:
    """Before 2.50 the groups of servers are left out."""
    shown = rendered(request, held)
    if request.version < (2, 50):
        del shown["server_groups"], shown["server_group_members"]
    return shown


@service.operation(
    "PUT", CLASS, policy="os_compute_api:os-quota-class-sets:update", body=("quota_class_set", Update)
)
async def update_class(request: Request, name: str, body: Update) -> dict[str, Any]:
    if name != DEFAULT:
        raise Invalid(
            f"Quota class {name[:64]} is not used by anything; the defaults are the class {DEFAULT}."
        )
    await core.change_defaults(request.cloud, request.caller, limits_of(request, body))
    return {"quota_class_set": class_view(request, await ours(request))}
