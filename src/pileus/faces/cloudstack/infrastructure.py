"""Where things run: zones, pods, clusters, primary and secondary storage, hypervisors, regions."""

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from pileus.core.block.records import StoragePool
from pileus.core.cloud import Look
from pileus.core.compute.records import Cluster, Pod, Zone
from pileus.core.image.records import ImageStoreRecord
from pileus.core.listing import Page, page
from pileus.faces.cloudstack.commands import Call, Listed, command, view
from pileus.faces.cloudstack.guest_os import cut
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Listing, Params, Rows, param
from pileus.store import Condition, Record, like, literal

R = TypeVar("R", bound=Record)
DRIVERS = {"libvirt": "KVM", "simulator": "Simulator"}
"""Hypervisors as CloudStack calls them; whether KVM accelerates is in a host's details."""


class ById(Listing):
    id: UUID | None = param("id", "list by id", default=None)
    name: str = param("name", "list by name", default="")


class InZone(ById):
    zone: UUID | None = param("zoneid", "list those of a zone", default=None)


class InPod(InZone):
    pod: UUID | None = param("podid", "list those of a pod", default=None)


class ListZones(ById):
    ids: tuple[UUID, ...] = param("ids", "list by several ids", default=())
    available: bool | None = param("available", "true: also zones that are disabled", default=None)
    tags: Rows = param("tags", "list what has these tags", default=())
    icon: bool = param("showicon", "show the icon of each", default=False)


class ListPods(InZone):
    state: str = param("allocationstate", "list by state, Enabled or Disabled", default="")


class ListClusters(InPod):
    state: str = param("allocationstate", "list by state, Enabled or Disabled", default="")
    hypervisor: str = param("hypervisor", "list by hypervisor", default="")
    managed: str = param("managedstate", "list by whether it is managed", default="")


class ListPools(InPod):
    cluster: UUID | None = param("clusterid", "list those of a cluster", default=None)
    scope: str = param("scope", "list by scope: ZONE, CLUSTER or HOST", default="")
    path: str = param("path", "list by path", default="", length=1024)


class ListStores(InZone):
    provider: str = param("provider", "list by provider", default="")
    protocol: str = param("protocol", "list by protocol", default="")


class ListHypervisors(Params):
    zone: UUID | None = param("zoneid", "those of a zone", default=None)


class ListRegions(Listing):
    id: int | None = param("id", "list by id", default=None)
    name: str = param("name", "list by name", default="")


async def find(
    look: Look, cls: type[R], params: ById, *where: Condition, name: str = "name", **equals: Any
) -> Page[R]:
    """By the parameters that all these lists have; filters that are None do not filter."""
    wanted = {key: value for key, value in equals.items() if value is not None}
    for key in ("id", "zone", "pod", "cluster"):
        if getattr(params, key, None) is not None:
            wanted[key] = getattr(params, key)
    if params.name:
        wanted[name] = params.name
    if params.keyword:
        where = (*where, like(name, f"%{literal(params.keyword)}%"))
    skip, limit = window(params)
    return await page(look, cls, *where, skip=skip, limit=limit, **wanted)


async def named(look: Look, cls: Any, keys: Sequence[UUID | None]) -> dict[UUID | None, str]:
    wanted = tuple({key for key in keys if key is not None})
    return {held.id: held.name for held in await look.list(cls, id=wanted)} if wanted else {}


async def hypervisors_of(look: Look) -> dict[UUID, str]:
    """By zone, what its first cluster runs."""
    found: dict[UUID, str] = {}
    for cluster in await look.list(Cluster, order=("created_at",)):
        found.setdefault(cluster.zone, cluster.hypervisor)
    return found


@view(Zone, "zone", "Zone")
async def zones_shown(call: Call, look: Look, zones: Sequence[Zone]) -> list[dict[str, Any]]:
    config = call.cloud.config
    resolvers = (*config.dns_servers, None, None)
    return [
        {
            "id": zone.id,
            "name": zone.name,
            "networktype": "Advanced",
            "type": "Core",
            "securitygroupsenabled": True,
            "allocationstate": "Enabled" if zone.enabled else "Disabled",
            "dhcpprovider": "VirtualRouter",
            "localstorageenabled": True,
            "dns1": resolvers[0],
            "dns2": resolvers[1],
            "guestcidraddress": config.isolated_cidr if call.admin else None,
            "tags": [],
            "ismultiarch": False,
            "allowuserspecifyvrmtu": False,
        }
        for zone in zones
    ]


@command("listZones", params=ListZones, view=zones_shown, ignored=("showcapacities",))
async def zones(call: Call, params: ListZones) -> Listed[Zone]:
    """Lists zones."""
    equals: dict[str, Any] = {"id": params.ids} if params.ids and params.id is None else {}
    if not call.admin and not params.available:
        equals["enabled"] = True
    if params.tags:
        return Listed([], 0)
    async with call.cloud.view() as look:
        found = await find(look, Zone, params, **equals)
    return Listed(found.items, found.total)


@view(Pod, "pod", "Pod")
async def pods_shown(call: Call, look: Look, pods: Sequence[Pod]) -> list[dict[str, Any]]:
    zones = await named(look, Zone, [pod.zone for pod in pods])
    return [
        {
            "id": pod.id,
            "name": pod.name,
            "zoneid": pod.zone,
            "zonename": zones.get(pod.zone),
            "allocationstate": "Enabled",
        }
        for pod in pods
    ]


@command("listPods", params=ListPods, view=pods_shown, ignored=("showcapacities",))
async def pods(call: Call, params: ListPods) -> Listed[Pod]:
    """Lists pods."""
    if params.state not in ("", "Enabled"):
        return Listed([], 0)
    async with call.cloud.view() as look:
        found = await find(look, Pod, params)
    return Listed(found.items, found.total)


@view(Cluster, "cluster", "Cluster")
async def clusters_shown(call: Call, look: Look, clusters: Sequence[Cluster]) -> list[dict[str, Any]]:
    zones = await named(look, Zone, [cluster.zone for cluster in clusters])
    pods = await named(look, Pod, [cluster.pod for cluster in clusters])
    config = call.cloud.config
    return [
        {
            "id": cluster.id,
            "name": cluster.name,
            "podid": cluster.pod,
            "podname": pods.get(cluster.pod),
            "zoneid": cluster.zone,
            "zonename": zones.get(cluster.zone),
            "hypervisortype": cluster.hypervisor,
            "clustertype": "CloudManaged",
            "allocationstate": "Enabled",
            "managedstate": "Managed",
            "cpuovercommitratio": str(config.vcpu_overcommit),
            "memoryovercommitratio": str(config.memory_overcommit),
        }
        for cluster in clusters
    ]


@command("listClusters", params=ListClusters, view=clusters_shown, ignored=("showcapacities", "clustertype"))
async def clusters(call: Call, params: ListClusters) -> Listed[Cluster]:
    """Lists clusters."""
    if params.state not in ("", "Enabled") or params.managed not in ("", "Managed"):
        return Listed([], 0)
    where = [like("hypervisor", literal(params.hypervisor))] if params.hypervisor else []
    async with call.cloud.view() as look:
        found = await find(look, Cluster, params, *where)
    return Listed(found.items, found.total)


@view(StoragePool, "storagepool", "StoragePool")
async def pools_shown(call: Call, look: Look, pools: Sequence[StoragePool]) -> list[dict[str, Any]]:
    zones = await named(look, Zone, [pool.zone for pool in pools])
    pods = await named(look, Pod, [pool.pod for pool in pools])
    clusters = await named(look, Cluster, [pool.cluster for pool in pools])
    return [
        {
            "id": pool.id,
            "name": pool.name,
            "zoneid": pool.zone,
            "zonename": zones.get(pool.zone),
            "podid": pool.pod,
            "podname": pods.get(pool.pod),
            "clusterid": pool.cluster,
            "clustername": clusters.get(pool.cluster),
            "path": pool.path,
            "type": "Filesystem",
            "scope": scope_of(pool),
            "state": "Up",
            "provider": "DefaultPrimary",
            "disksizetotal": pool.total_bytes,
            "disksizeused": pool.used_bytes,
            "overprovisionfactor": "1.0",
            "managed": False,
            "suitableformigration": False,
            "created": pool.created_at,
        }
        for pool in pools
    ]


def scope_of(pool: StoragePool) -> str:
    return "HOST" if pool.host else ("CLUSTER" if pool.cluster else "ZONE")


@command("listStoragePools", params=ListPools, view=pools_shown, ignored=("storagecustomstats",))
async def pools(call: Call, params: ListPools) -> Listed[StoragePool]:
    """Lists storage pools: primary storage."""
    async with call.cloud.view() as look:
        found = await find(look, StoragePool, params, path=params.path or None)
    kept = [pool for pool in found.items if params.scope.upper() in ("", scope_of(pool))]
    return Listed(kept, found.total if not params.scope else len(kept))


@view(ImageStoreRecord, "imagestore", "ImageStore")
async def stores_shown(call: Call, look: Look, stores: Sequence[ImageStoreRecord]) -> list[dict[str, Any]]:
    zones = await named(look, Zone, [store.zone for store in stores])
    return [
        {
            "id": store.id,
            "name": store.name,
            "zoneid": store.zone,
            "zonename": zones.get(store.zone),
            "url": f"file://{store.path}",
            "protocol": "file",
            "providername": store.driver,
            "scope": "ZONE",
            "readonly": False,
        }
        for store in stores
    ]


@command("listImageStores", params=ListStores, view=stores_shown)
async def stores(call: Call, params: ListStores) -> Listed[ImageStoreRecord]:
    """Lists image stores: secondary storage."""
    if params.protocol not in ("", "file"):
        return Listed([], 0)
    async with call.cloud.view() as look:
        found = await find(look, ImageStoreRecord, params, driver=params.provider or None)
    return Listed(found.items, found.total)


@command("listHypervisors", params=ListHypervisors)
async def hypervisors(call: Call, params: ListHypervisors) -> Listed[Any]:
    """Lists the hypervisors that hosts here run."""
    async with call.cloud.view() as look:
        equals = {"zone": params.zone} if params.zone else {}
        found = sorted({cluster.hypervisor for cluster in await look.list(Cluster, **equals)})
    return Listed([{"name": name} for name in found], len(found))


@command("listRegions", params=ListRegions)
async def regions(call: Call, params: ListRegions) -> Listed[Any]:
    """Lists regions: this cloud is one."""
    name = call.cloud.config.region
    shown = {
        "id": 1,
        "name": name,
        "endpoint": f"{call.base_url}/client/",
        "gslbserviceenabled": False,
        "portableipserviceenabled": False,
    }
    matches = params.id in (None, 1) and params.name in ("", name) and params.keyword.lower() in name.lower()
    return cut([shown] if matches else [], params)
