"""Zones, pods and clusters: made, changed and removed by administrators."""

from typing import Any
from uuid import UUID

from pileus.core.compute import places
from pileus.core.compute.records import Cluster, Pod, Zone
from pileus.core.errors import Invalid, Unsupported
from pileus.faces.cloudstack.commands import Call, Listed, command
from pileus.faces.cloudstack.infrastructure import DRIVERS, clusters_shown, pods_shown, zones_shown
from pileus.faces.cloudstack.params import Params, param

ENABLED = {"": None, "enabled": True, "disabled": False}
STATE_HELP = "Enabled or Disabled: whether new machines may come"
ONE_NETWORK = ("startip", "endip", "netmask", "gateway")
"""Of a pod: addresses of system machines, of which there are none."""


class CreateZone(Params):
    name: str = param("name", "the name")
    kind: str = param("networktype", "Advanced; there is no other here")
    outer_resolver: str = param("dns1", "changes nothing: the resolvers of the cloud serve all its zones")
    inner_resolver: str = param("internaldns1", "the same")
    state: str = param("allocationstate", STATE_HELP, default="")


class UpdateZone(Params):
    zone: UUID = param("id", "the zone")
    name: str | None = param("name", "the new name", default=None)
    state: str = param("allocationstate", STATE_HELP, default="")


class OfZone(Params):
    zone: UUID = param("id", "the zone")


class CreatePod(Params):
    name: str = param("name", "the name")
    zone: UUID = param("zoneid", "the zone that it is in")
    state: str = param("allocationstate", "Enabled", default="")


class OfPod(Params):
    pod: UUID = param("id", "the pod")


class UpdatePod(OfPod):
    name: str = param("name", "the new name", default="")
    state: str = param("allocationstate", "Enabled", default="")


class AddCluster(Params):
    name: str = param("clustername", "the name")
    pod: UUID = param("podid", "the pod that it is in")
    zone: UUID = param("zoneid", "the zone of that pod")
    hypervisor: str = param("hypervisor", "what its hosts run, of those that listHypervisors lists")
    kind: str = param("clustertype", "CloudManaged: hosts join by themselves")
    state: str = param("allocationstate", "Enabled", default="")


class OfCluster(Params):
    cluster: UUID = param("id", "the cluster")


class UpdateCluster(OfCluster):
    name: str = param("clustername", "the new name", default="")
    state: str = param("allocationstate", "Enabled", default="")
    managed: str = param("managedstate", "Managed", default="")


def enabled(state: str) -> bool | None:
    if state.lower() not in ENABLED:
        raise Invalid(f"Allocation state {state[:50]} is unknown; write Enabled or Disabled.")
    return ENABLED[state.lower()]


def always_enabled(state: str, what: str) -> None:
    if enabled(state) is False:
        raise Unsupported(f"A {what} cannot be disabled here; disable its hosts, or its zone.")


RESOLVERS = ("dns2", "internaldns2", "guestcidraddress", "domain")
"""The resolvers and ranges are the cloud's, by its configuration."""
SWITCHES = ("securitygroupenabled", "localstorageenabled", "isedge")


@command("createZone", params=CreateZone, view=zones_shown, ignored=(*RESOLVERS, *SWITCHES))
async def create_zone(call: Call, params: CreateZone) -> Zone:
    """Creates a zone, in which there is nothing yet."""
    if params.kind.lower() != "advanced":
        raise Invalid(f"Network type {params.kind[:50]} is not there; every zone is of type Advanced.")
    on = enabled(params.state)
    return await places.create_zone(call.cloud, call.caller, params.name, enabled=on is not False)


@command("updateZone", params=UpdateZone, view=zones_shown)
async def update_zone(call: Call, params: UpdateZone) -> Zone:
    """Renames a zone, and says whether new machines may come."""
    return await places.update_zone(
        call.cloud, call.caller, params.zone, name=params.name, enabled=enabled(params.state)
    )


@command("deleteZone", params=OfZone)
async def delete_zone(call: Call, params: OfZone) -> None:
    """Deletes a zone in which there is nothing."""
    await places.remove_zone(call.cloud, call.caller, params.zone)


@command("createPod", params=CreatePod, view=pods_shown, ignored=ONE_NETWORK)
async def create_pod(call: Call, params: CreatePod) -> Pod:
    """Creates a pod."""
    always_enabled(params.state, "pod")
    return await places.create_pod(call.cloud, call.caller, params.zone, params.name)


@command("updatePod", params=UpdatePod, view=pods_shown, ignored=ONE_NETWORK)
async def update_pod(call: Call, params: UpdatePod) -> Pod:
    """Renames a pod."""
    always_enabled(params.state, "pod")
    return await places.rename_pod(call.cloud, call.caller, params.pod, params.name)


@command("deletePod", params=OfPod)
async def delete_pod(call: Call, params: OfPod) -> None:
    """Deletes a pod in which there is nothing."""
    await places.remove_pod(call.cloud, call.caller, params.pod)


@command("addCluster", params=AddCluster, view=clusters_shown)
async def add_cluster(call: Call, params: AddCluster) -> Listed[Any]:
    """Creates a cluster. Hosts join it by themselves."""
    always_enabled(params.state, "cluster")
    known = {name.lower(): name for name in DRIVERS.values()}
    hypervisor = known.get(params.hypervisor.lower())
    if hypervisor is None:
        raise Invalid(
            f"Hypervisor {params.hypervisor[:50]} is not run here; use {' or '.join(known.values())}."
        )
    if params.kind.lower() != "cloudmanaged":
        raise Invalid(f"Cluster type {params.kind[:50]} is not there; every cluster is CloudManaged.")
    made = await places.create_cluster(
        call.cloud, call.caller, params.pod, params.name, hypervisor, zone=params.zone
    )
    return Listed([made], 1)


@command("updateCluster", params=UpdateCluster, view=clusters_shown)
async def update_cluster(call: Call, params: UpdateCluster) -> Cluster:
    """Renames a cluster."""
    always_enabled(params.state, "cluster")
    if params.managed.lower() not in ("", "managed"):
        raise Unsupported("A cluster cannot be unmanaged here; disable its hosts.")
    return await places.rename_cluster(call.cloud, call.caller, params.cluster, params.name)


@command("deleteCluster", params=OfCluster)
async def delete_cluster(call: Call, params: OfCluster) -> None:
    """Deletes a cluster that has no hosts."""
    await places.remove_cluster(call.cloud, call.caller, params.cluster)
