"""Availability zones, hypervisors and services: the hosts, as three of the original's resources."""

import json
import re
from typing import Any
from uuid import UUID, uuid5

from msgspec import UNSET, UnsetType

from pileus.core.compute import host_groups, hosts
from pileus.core.compute.records import Host, Server
from pileus.core.errors import Invalid, NotFound
from pileus.faces.openstack.compute.parsing import Struct, truth, truthy
from pileus.faces.openstack.compute.server_filters import one_number
from pileus.faces.openstack.compute.service import MAX_LIMIT, service
from pileus.faces.openstack.wire import SECONDS
from pileus.faces.wire import Request, page

CONTROL = UUID("b3c5bfb1-0e3c-5d5a-8a3e-5b7f6f7b6c55")
"""Namespace of the ids of the services that Pileus itself is."""
CONTROLLERS = ("nova-conductor", "nova-scheduler")


@service.operation("GET", "/os-availability-zone", policy="os_compute_api:os-availability-zone:list")
async def zones(request: Request) -> dict[str, Any]:
    found = await host_groups.zones(request.cloud)
    return {"availabilityZoneInfo": [zone_view(name, enabled, None) for name, enabled in found]}


def zone_view(name: str, enabled: bool, listed: dict[str, Any] | None) -> dict[str, Any]:
    return {"zoneName": name, "zoneState": {"available": enabled}, "hosts": listed}


@service.operation("GET", "/os-availability-zone/detail", policy="os_compute_api:os-availability-zone:detail")
async def zones_in_detail(request: Request) -> dict[str, Any]:
    async with request.cloud.view() as look:
        found = await host_groups.by_zone(look)
    shown = []
    for name, enabled, members in found:
        listed = {
            host.hostname: {
                "nova-compute": {"available": host.up, "active": open_to_new(host), "updated_at": stamp(host)}
            }
            for host in members
        }
        shown.append(zone_view(name, enabled, listed))
    return {"availabilityZoneInfo": shown}


def open_to_new(host: Host) -> bool:
    return host.enabled and not host.maintenance


def reason(host: Host) -> str | None:
    if host.maintenance:
        return f"In maintenance. {host.disabled_reason}".strip()
    return host.disabled_reason or None


def stamp(host: Host) -> str:
    return f"{host.seen_at.strftime(SECONDS)}.000000"


# Hypervisors


def host_key(request: Request, host: Host) -> Any:
    return str(host.id) if request.version >= (2, 53) else host.number


def brief(request: Request, host: Host) -> dict[str, Any]:
    return {
        "id": host_key(request, host),
        "hypervisor_hostname": host.hostname,
        "state": "up" if host.up else "down",
        "status": "enabled" if open_to_new(host) else "disabled",
    }


def full(request: Request, host: Host) -> dict[str, Any]:
    version = request.version
    shown = brief(request, host) | {
        "host_ip": host.address,
        "hypervisor_type": host.hypervisor_type,
        "hypervisor_version": host.hypervisor_version,
        "service": {
            "id": host_key(request, host),
            "host": host.hostname,
            "disabled_reason": reason(host),
        },
    }
    if version >= (2, 88):
        return shown | {"uptime": None}
    processor = {"arch": host.architecture, "model": host.cpu_model}
    return shown | counts([host]) | {"cpu_info": processor if version >= (2, 28) else json.dumps(processor)}


def counts(listed: list[Host]) -> dict[str, int]:
    def total(name: str) -> int:
        return sum(getattr(host, name) for host in listed)

    disk, memory = total("disk_gib"), total("memory_mib")
    used_disk, used_memory = total("disk_gib_used"), total("memory_mib_used") + total("memory_mib_reserved")
    return {
        "vcpus": total("vcpus"),
        "vcpus_used": total("vcpus_used"),
        "memory_mb": memory,
        "memory_mb_used": used_memory,
        "free_ram_mb": memory - used_memory,
        "local_gb": disk,
        "local_gb_used": used_disk,
        "free_disk_gb": disk - used_disk,
        "disk_available_least": disk - used_disk,
        "running_vms": total("servers"),
        "current_workload": 0,
    }


def with_servers(request: Request, shown: dict[str, Any], held: list[Server] | None) -> dict[str, Any]:
    if held is None:
        return shown
    listed = [{"uuid": str(server.id), "name": server.name} for server in held]
    return shown | ({"servers": listed} if listed or request.version >= (2, 75) else {})


async def hypervisors(request: Request, view: Any) -> dict[str, Any]:
    query, version = request.query, request.version
    known = {"limit", "marker", "hypervisor_hostname_pattern", "with_servers"}
    for parameter in query.keys() - known:
        if version >= (2, 53):
            raise Invalid(
                f"Invalid input for query parameters. Additional properties are not allowed ('{parameter}' was unexpected)"
            )
    found = await hosts.listing(request.cloud, request.caller)
    named = query.get("hypervisor_hostname_pattern") if version >= (2, 53) else None
    if named is not None:
        if "limit" in query or "marker" in query:
            raise Invalid(
                "Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not supported."
            )
        found = [host for host in found if named in host.hostname]
        if not found:
            raise NotFound("No hypervisor matching", f"'{named}'")
    more: dict[str, Any] = {}
    if version >= (2, 33) and named is None:
        limit, marker = one_number(request, "limit"), query.get("marker")
        cut = page(request, found, limit, MAX_LIMIT, key=lambda host: host_key(request, host), marker=marker)
        found, more = list(cut.items), cut.links("hypervisors")
    held = None
    if version >= (2, 53) and truthy(query.get("with_servers")):
        held = await hosts.servers_of(request.cloud, request.caller, found)
    shown = [
        with_servers(request, view(request, host), held[host.id] if held is not None else None)
        for host in found
    ]
    return {"hypervisors": shown, **more}


@service.operation("GET", "/os-hypervisors", policy="os_compute_api:os-hypervisors:list")
async def list_hypervisors(request: Request) -> dict[str, Any]:
    return await hypervisors(request, brief)


@service.operation("GET", "/os-hypervisors/detail", policy="os_compute_api:os-hypervisors:list-detail")
async def detail_hypervisors(request: Request) -> dict[str, Any]:
    return await hypervisors(request, full)


@service.operation(
    "GET", "/os-hypervisors/statistics", policy="os_compute_api:os-hypervisors:statistics", until=(2, 87)
)
async def statistics(request: Request) -> dict[str, Any]:
    found = [host for host in await hosts.listing(request.cloud, request.caller) if open_to_new(host)]
    return {"hypervisor_statistics": {"count": len(found), **counts(found)}}


async def one(request: Request, key: str) -> Host:
    """By the id of the request's version. Raises NotFound."""
    new = request.version >= (2, 53)
    for host in await hosts.listing(request.cloud, request.caller):
        if key == str(host.id if new else host.number):
            return host
    if new:
        try:
            UUID(key)
        except ValueError:
            raise Invalid(f"Invalid uuid {key[:64]}") from None
    raise NotFound("Hypervisor with ID", f"'{key}'")


@service.operation("GET", "/os-hypervisors/{hypervisor}", policy="os_compute_api:os-hypervisors:show")
async def show_hypervisor(request: Request, hypervisor: str) -> dict[str, Any]:
    host = await one(request, hypervisor)
    held = None
    if request.version >= (2, 53) and truthy(request.query.get("with_servers")):
        held = (await hosts.servers_of(request.cloud, request.caller, [host]))[host.id]
    return {"hypervisor": with_servers(request, full(request, host), held)}


@service.operation(
    "GET", "/os-hypervisors/{hypervisor}/uptime", policy="os_compute_api:os-hypervisors:uptime", until=(2, 87)
)
async def uptime(request: Request, hypervisor: str) -> dict[str, Any]:
    await one(request, hypervisor)
    raise Invalid("The hypervisor does not tell its uptime.")


@service.operation(
    "GET", "/os-hypervisors/{pattern}/search", policy="os_compute_api:os-hypervisors:search", until=(2, 52)
)
async def search(request: Request, pattern: str) -> dict[str, Any]:
    return {"hypervisors": [brief(request, host) for host in await matching(request, pattern)]}


@service.operation(
    "GET", "/os-hypervisors/{pattern}/servers", policy="os_compute_api:os-hypervisors:servers", until=(2, 52)
)
async def servers(request: Request, pattern: str) -> dict[str, Any]:
    found = await matching(request, pattern)
    held = await hosts.servers_of(request.cloud, request.caller, found)
    return {"hypervisors": [with_servers(request, brief(request, host), held[host.id]) for host in found]}


async def matching(request: Request, pattern: str) -> list[Host]:
    found = [host for host in await hosts.listing(request.cloud, request.caller) if pattern in host.hostname]
    if not found:
        raise NotFound("No hypervisor matching", f"'{pattern}'")
    return found


# Services


def service_view(request: Request, host: Host, zone: str) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": host_key(request, host),
        "binary": "nova-compute",
        "host": host.hostname,
        "zone": zone,
        "status": "enabled" if open_to_new(host) else "disabled",
        "state": "up" if host.up else "down",
        "updated_at": stamp(host),
        "disabled_reason": reason(host),
    }
    return shown | ({"forced_down": host.forced_down} if request.version >= (2, 11) else {})


def controller(request: Request, number: int, binary: str) -> dict[str, Any]:
    """Pileus itself, as the programs that the original would run for it."""
    new = request.version >= (2, 53)
    shown: dict[str, Any] = {
        "id": str(uuid5(CONTROL, binary)) if new else 1_000_000 + number,
        "binary": binary,
        "host": "pileus",
        "zone": "internal",
        "status": "enabled",
        "state": "up",
        "updated_at": f"{request.cloud.now().strftime(SECONDS)}.000000",
        "disabled_reason": None,
    }
    return shown | ({"forced_down": False} if request.version >= (2, 11) else {})


@service.operation("GET", "/os-services", policy="os_compute_api:os-services:list")
async def services(request: Request) -> dict[str, Any]:
    for parameter in request.query.keys() - {"host", "binary"}:
        if request.version >= (2, 75):
            raise Invalid(
                f"Invalid input for query parameters. Additional properties are not allowed ('{parameter}' was unexpected)"
            )
    listed = [controller(request, at, binary) for at, binary in enumerate(CONTROLLERS)]
    held = await hosts.listing(request.cloud, request.caller)
    async with request.cloud.view() as look:
        named = await host_groups.zone_names(look, held)
    listed += [service_view(request, host, named[host.id]) for host in held]
    for key in ("host", "binary"):
        if key in request.query:
            listed = [shown for shown in listed if shown[key] == request.query[key]]
    return {"services": listed}


class Change(Struct, frozen=True, kw_only=True):
    status: str | UnsetType = UNSET
    disabled_reason: str | UnsetType = UNSET
    forced_down: bool | UnsetType = UNSET


@service.operation(
    "PUT", "/os-services/{key}", policy="os_compute_api:os-services:update", body=Change, since=(2, 53)
)
async def update_service(request: Request, key: str, body: Change) -> dict[str, Any]:
    try:
        host = await hosts.show(request.cloud, request.caller, UUID(key))
    except ValueError:
        raise Invalid(f"Invalid uuid {key[:64]}") from None
    except NotFound:
        raise NotFound("Service", key) from None
    given = body.disabled_reason if isinstance(body.disabled_reason, str) else ""
    if body.status is UNSET and (body.forced_down is UNSET or given):
        raise Invalid("No updates were requested. Fields 'status' or 'forced_down' must be specified.")
    if body.status not in (UNSET, "enabled", "disabled"):
        raise Invalid(
            f"Invalid input for field/attribute status. Value: {body.status}. It is enabled or disabled."
        )
    if given and body.status == "enabled":
        raise Invalid("Specifying disabled_reason when status is enabled is invalid.")
    if body.status is not UNSET:
        host = await switched(request, host, body.status == "enabled", given)
    if body.forced_down is not UNSET:
        host = await hosts.force_down(request.cloud, request.caller, host.id, body.forced_down)
    return {"service": await shown_service(request, host)}


async def switched(request: Request, host: Host, enabled: bool, text: str) -> Host:
    check_reason(text)
    return await hosts.enable(request.cloud, request.caller, host.id, enabled, reason=text)


async def shown_service(request: Request, host: Host) -> dict[str, Any]:
    async with request.cloud.view() as look:
        named = await host_groups.zone_names(look, [host])
    return service_view(request, host, named[host.id])


def check_reason(reason: str) -> None:
    if len(reason) > 255 or (reason and not re.search(r"\S", reason)):
        raise Invalid("Disabled reason contains invalid characters or is too long")


class OldChange(Struct, frozen=True, kw_only=True):
    host: str
    binary: str
    disabled_reason: str | None = None
    forced_down: bool | str | None = None


@service.operation(
    "PUT", "/os-services/{action}", policy="os_compute_api:os-services:update", body=OldChange, until=(2, 52)
)
async def update_service_before(request: Request, action: str, body: OldChange) -> dict[str, Any]:
    """Enable, disable, disable-log-reason or force-down, by host."""
    if action == "force-down" and request.version < (2, 11):
        raise NotFound("Action", action)
    if action not in ("enable", "disable", "disable-log-reason", "force-down"):
        raise NotFound("Action", action)
    if action == "disable-log-reason" and not body.disabled_reason:
        raise Invalid("Missing disabled reason field")
    async with request.cloud.view() as look:
        host = await hosts.named(look, body.host)
    answer: dict[str, Any] = {"host": host.hostname, "binary": body.binary}
    if action == "force-down":
        if body.forced_down is None:
            raise Invalid("Missing forced_down field")
        down = truth(body.forced_down, "forced_down")
        changed = await hosts.force_down(request.cloud, request.caller, host.id, down)
        return {"service": answer | {"forced_down": changed.forced_down}}
    text = body.disabled_reason or "" if action == "disable-log-reason" else ""
    changed = await switched(request, host, action == "enable", text)
    answer["status"] = "enabled" if open_to_new(changed) else "disabled"
    return {"service": answer | ({"disabled_reason": text} if text else {})}
