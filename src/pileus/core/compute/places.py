"""Zones, pods and clusters: made, renamed and removed. A host brings itself; here is where it may be."""

from typing import Any
from uuid import UUID

from msgspec.structs import replace

from pileus.core import icons
from pileus.core.block.records import StoragePool, Volume
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.compute.host_groups import ZONE
from pileus.core.compute.records import Cluster, Host, HostGroup, Pod, Server, Zone
from pileus.core.errors import Exists, InUse, Invalid
from pileus.core.image.records import ImageStoreRecord
from pileus.core.placement.groups import announce
from pileus.store import Record


async def create_zone(cloud: Cloud, caller: Caller, name: str, *, enabled: bool = True) -> Zone:
    """Raises Exists."""
    caller.require_admin("zone.create")
    async with cloud.transaction(caller) as tx:
        await _refuse_zone_name(tx, name)
        zone = Zone(
            id=cloud.new_id(), name=name, region=cloud.config.region, enabled=enabled, created_at=cloud.now()
        )
        await announce(tx)
        return await tx.add(zone)


async def _refuse_zone_name(look: Look, name: str) -> None:
    if not name.strip():
        raise Invalid("A zone needs a name.")
    if await look.one(Zone, name=name) is not None:
        raise Exists(f"A zone with name {name} already exists.")
    for group in await look.list(HostGroup):
        if group.metadata.get(ZONE) == name:
            raise Exists(
                f"The part of a zone that host group {group.name} makes is called {name}; take another name."
            )


async def update_zone(
    cloud: Cloud, caller: Caller, key: UUID, *, name: str | None = None, enabled: bool | None = None
) -> Zone:
    """Rename it, also in the host groups that name it, and say whether new servers may come. Raises Exists."""
    caller.require_admin("zone.update")
    async with cloud.transaction(caller) as tx:
        zone = await tx.get(Zone, key)
        if name is not None and name != zone.name:
            await _refuse_zone_name(tx, name)
            for group in await tx.list(HostGroup, zone=key):
                await tx.put(replace(group, metadata=group.metadata | {ZONE: name}))
            zone = replace(zone, name=name)
        await announce(tx)
        return await tx.put(replace(zone, enabled=zone.enabled if enabled is None else enabled))


async def remove_zone(cloud: Cloud, caller: Caller, key: UUID) -> None:
    """Raises InUse while anything is in it."""
    caller.require_admin("zone.delete")
    async with cloud.transaction(caller) as tx:
        zone = await tx.get(Zone, key)
        await _refuse_used(tx, f"Zone {zone.name}", (Pod, Host, StoragePool, ImageStoreRecord), zone=key)
        await _refuse_used(tx, f"Zone {zone.name}", (Server, Volume, HostGroup), zone=key)
        await announce(tx)
        await icons.forget(tx, key)
        await tx.remove(zone)


async def _refuse_used(look: Look, what: str, classes: tuple[type[Record], ...], **equals: Any) -> None:
    for cls in classes:
        held = await look.count(cls, **equals)
        if held:
            raise InUse(f"{what} is in use: {WORDS[cls]} in it: {held}. Remove them first.")


WORDS: dict[type[Record], str] = {
    Pod: "pods",
    Cluster: "clusters",
    Host: "hosts",
    StoragePool: "storage pools",
    ImageStoreRecord: "image stores",
    Server: "servers",
    Volume: "volumes",
    HostGroup: "host groups",
}


async def create_pod(cloud: Cloud, caller: Caller, zone: UUID, name: str) -> Pod:
    """Raises NotFound, Exists for a name that the zone has."""
    caller.require_admin("pod.create")
    async with cloud.transaction(caller) as tx:
        await tx.get(Zone, zone)
        await _refuse_name(tx, Pod, name, zone=zone)
        return await tx.add(Pod(id=cloud.new_id(), zone=zone, name=name, created_at=cloud.now()))


async def _refuse_name(look: Look, cls: type[Record], name: str, **inside: Any) -> None:
    kind = cls.__name__.lower()
    if not name.strip():
        raise Invalid(f"A {kind} needs a name.")
    if await look.one(cls, name=name, **inside) is not None:
        raise Exists(f"A {kind} with name {name} already exists there.")


async def rename_pod(cloud: Cloud, caller: Caller, key: UUID, name: str) -> Pod:
    """An empty name changes nothing."""
    caller.require_admin("pod.update")
    async with cloud.transaction(caller) as tx:
        pod = await tx.get(Pod, key)
        if name and name != pod.name:
            await _refuse_name(tx, Pod, name, zone=pod.zone)
        return await tx.put(replace(pod, name=name or pod.name))


async def remove_pod(cloud: Cloud, caller: Caller, key: UUID) -> None:
    caller.require_admin("pod.delete")
    async with cloud.transaction(caller) as tx:
        pod = await tx.get(Pod, key)
        await _refuse_used(tx, f"Pod {pod.name}", (Cluster, Host, StoragePool), pod=key)
        await tx.remove(pod)


async def create_cluster(
    cloud: Cloud, caller: Caller, pod: UUID, name: str, hypervisor: str, *, zone: UUID | None = None
) -> Cluster:
    """`hypervisor`: what its hosts run, as shown; `zone`: that the pod must be in. Raises NotFound, Exists, Invalid."""
    caller.require_admin("cluster.create")
    async with cloud.transaction(caller) as tx:
        inside = await tx.get(Pod, pod)
        if zone is not None and (await tx.get(Zone, zone)).id != inside.zone:
            raise Invalid(f"Pod {inside.name} is not in zone {zone}; name the pod's own zone.")
        await _refuse_name(tx, Cluster, name, pod=pod)
        cluster = Cluster(
            id=cloud.new_id(),
            zone=inside.zone,
            pod=pod,
            name=name,
            hypervisor=hypervisor,
            created_at=cloud.now(),
        )
        return await tx.add(cluster)


async def rename_cluster(cloud: Cloud, caller: Caller, key: UUID, name: str) -> Cluster:
    """An empty name changes nothing."""
    caller.require_admin("cluster.update")
    async with cloud.transaction(caller) as tx:
        cluster = await tx.get(Cluster, key)
        if name and name != cluster.name:
            await _refuse_name(tx, Cluster, name, pod=cluster.pod)
        return await tx.put(replace(cluster, name=name or cluster.name))


async def remove_cluster(cloud: Cloud, caller: Caller, key: UUID) -> None:
    caller.require_admin("cluster.delete")
    async with cloud.transaction(caller) as tx:
        cluster = await tx.get(Cluster, key)
        await _refuse_used(tx, f"Cluster {cluster.name}", (Host, StoragePool), cluster=key)
        await tx.remove(cluster)
