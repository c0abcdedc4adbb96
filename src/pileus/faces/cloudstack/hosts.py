"""Hosts: what they have and can do, whether they take new machines, their maintenance."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

from pileus.core.cloud import Look
from pileus.core.compute import hosts as core
from pileus.core.compute import traits
from pileus.core.compute.records import Cluster, Host, Pod, Server, Zone
from pileus.core.errors import Invalid
from pileus.faces.cloudstack.commands import Call, Done, Listed, command, view
from pileus.faces.cloudstack.guest_os import cut
from pileus.faces.cloudstack.infrastructure import DRIVERS, InPod, find, named
from pileus.faces.cloudstack.params import Listing, Params, param

MAINTENANCE, PREPARING = "Maintenance", "PrepareForMaintenance"
STATES = {"enable": True, "disable": False}


class ListHosts(InPod):
    cluster: UUID | None = param("clusterid", "list those of a cluster", default=None)
    type: str = param("type", "list by type; Routing is what runs virtual machines", default="")
    state: str = param("state", "list by state, Up or Down", default="")
    resource_state: str = param("resourcestate", "list by whether it takes new machines", default="")
    hypervisor: str = param("hypervisor", "list by hypervisor", default="")
    server: UUID | None = param("virtualmachineid", "list hosts to which this machine can move", default=None)
    details: tuple[str, ...] = param(
        "details", "what to show: all, capacity, events, stats or min", default=()
    )


class OfHost(Params):
    host: UUID = param("id", "the host")


class UpdateHost(OfHost):
    state: str = param("allocationstate", "Enable or Disable: whether new machines may come", default="")
    tags: tuple[str, ...] | None = param(
        "hosttags", "what it can do: words that offerings ask for", default=None
    )


class DeleteHost(OfHost):
    force: bool = param("forced", "changes nothing: a host that has machines is never deleted", default=False)


@view(Host, "host", "Host")
async def hosts_shown(call: Call, look: Look, hosts: Sequence[Host]) -> list[dict[str, Any]]:
    zones = await named(look, Zone, [host.zone for host in hosts])
    pods = await named(look, Pod, [host.pod for host in hosts])
    clusters = await named(look, Cluster, [host.cluster for host in hosts])
    running = await core.running_on(look, [host for host in hosts if host.maintenance])
    return [
        host_shown(host)
        | maintenance_shown(host, running.get(host.id, 0))
        | {
            "zonename": zones.get(host.zone),
            "podname": pods.get(host.pod),
            "clustername": clusters.get(host.cluster),
        }
        for host in hosts
    ]


def host_shown(host: Host) -> dict[str, Any]:
    vcpus, memory = int(host.vcpus * host.vcpu_ratio), int(host.memory_mib * host.memory_ratio)
    return {
        "id": host.id,
        "name": host.hostname,
        "state": "Up" if host.up else "Down",
        "type": "Routing",
        "ipaddress": host.address,
        "zoneid": host.zone,
        "podid": host.pod,
        "clusterid": host.cluster,
        "clustertype": "CloudManaged",
        "hypervisor": DRIVERS.get(host.hypervisor, host.hypervisor_type),
        "hypervisorversion": str(host.hypervisor_version),
        "arch": host.architecture,
        "cpunumber": host.vcpus,
        "cpuwithoverprovisioning": str(vcpus),
        "cpuallocated": percent(host.vcpus_used, vcpus),
        "memorytotal": host.memory_mib << 20,
        "memorywithoverprovisioning": str(memory << 20),
        "memoryallocated": host.memory_mib_used << 20,
        "disksizetotal": host.disk_gib << 30,
        "disksizeallocated": host.disk_gib_used << 30,
        "capabilities": "hvm",
        "hosttags": ",".join(host.traits) or None,
        "explicithosttags": ",".join(host.traits) or None,
        "islocalstorageactive": True,
        "hahost": False,
        "suitableformigration": False,
        "version": str(host.generation),
        "created": host.created_at,
        "lastpinged": host.seen_at,
        "events": "",
    }


def percent(used: int, total: int) -> str:
    return f"{100 * used / total:.2f}%" if total else "0%"


def maintenance_shown(host: Host, running: int) -> dict[str, Any]:
    details = {"acceleration": host.acceleration, "acceleration.reason": host.acceleration_reason}
    if not host.maintenance:
        return {"resourcestate": "Enabled" if host.enabled else "Disabled", "details": details}
    if running:
        many = "1 instance still runs" if running == 1 else f"{running} instances still run"
        said = f"{many} here; stop or delete what must not be interrupted: nothing is moved by itself."
    else:
        said = "No instance runs here; the host may be switched off."
    return {
        "resourcestate": PREPARING if running else MAINTENANCE,
        "details": details | {"maintenance": said},
    }


@command("listHosts", params=ListHosts, view=hosts_shown, ignored=("hahost",))
async def hosts(call: Call, params: ListHosts) -> Listed[Host]:
    """Lists hosts."""
    states = {"": {}, "Up": {"up": True}, "Down": {"up": False}}
    resource_states: dict[str, dict[str, Any]] = {
        "": {},
        "Enabled": {"enabled": True, "maintenance": False},
        "Disabled": {"enabled": False, "maintenance": False},
        MAINTENANCE: {"maintenance": True},
        PREPARING: {"maintenance": True},
    }
    unknown = params.state not in states or params.resource_state not in resource_states
    if unknown or params.type.lower() not in ("", "routing"):
        return Listed([], 0)
    driver = {name.lower(): key for key, name in DRIVERS.items()}.get(params.hypervisor.lower())
    if params.hypervisor and driver is None:
        return Listed([], 0)
    wanted = states[params.state] | resource_states[params.resource_state]
    async with call.cloud.view() as look:
        if params.server is not None:
            await call.caller.find(look.rows, Server, params.server, "server.read")
            return Listed([], 0)
        if params.resource_state in (MAINTENANCE, PREPARING):
            kept = await maintained(look, quiet=params.resource_state == MAINTENANCE)
            if params.id is None or params.id in kept:
                wanted["id"] = (params.id,) if params.id else kept
            else:
                return Listed([], 0)
        found = await find(look, Host, params, name="hostname", hypervisor=driver, **wanted)
    return Listed(found.items, found.total)


async def maintained(look: Look, *, quiet: bool) -> tuple[UUID, ...]:
    """The hosts in maintenance on which nothing runs any more, or on which something does."""
    running = await core.running_on(look, await look.list(Host, maintenance=True))
    return tuple(host for host, count in running.items() if (count == 0) is quiet)


@command("updateHost", params=UpdateHost, view=hosts_shown)
async def update(call: Call, params: UpdateHost) -> Host:
    """Changes whether new machines may come to a host, and its tags."""
    host = await core.show(call.cloud, call.caller, params.host)
    if params.state:
        if params.state.lower() not in STATES:
            raise Invalid(f"Allocation state {params.state[:50]} is unknown; write Enable or Disable.")
        host = await core.enable(call.cloud, call.caller, host.id, STATES[params.state.lower()])
    if params.tags is not None:
        host = await core.set_traits(call.cloud, call.caller, host.id, params.tags)
    return host


@command("deleteHost", params=DeleteHost, ignored=("forcedestroylocalstorage",))
async def delete(call: Call, params: DeleteHost) -> None:
    """Forgets a host that has no machines."""
    await core.remove(call.cloud, call.caller, params.host)


@command("prepareHostForMaintenance", params=OfHost, view=hosts_shown)
async def prepare(call: Call, params: OfHost) -> Done:
    """Keeps new machines from a host. Those that run there go on; its details say how many they are."""
    return Done(record=await core.maintain(call.cloud, call.caller, params.host, True))


@command("cancelHostMaintenance", params=OfHost, view=hosts_shown)
async def cancel(call: Call, params: OfHost) -> Done:
    """Ends a host's maintenance: new machines may come again."""
    return Done(record=await core.maintain(call.cloud, call.caller, params.host, False))


@command("listHostTags", params=Listing)
async def tags(call: Call, params: Listing) -> Listed[Any]:
    """Lists the tags of hosts, once for each host that has it."""
    found = [
        {"id": uuid5(host, word), "name": word, "isimplicit": False}
        for host, word in await traits.holders(call.cloud, call.caller)
        if params.keyword.lower() in word.lower()
    ]
    return cut(found, params)
