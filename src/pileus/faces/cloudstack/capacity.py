"""How much there is of what machines take, and how much of it is taken, by zone."""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

from pileus.core.block.records import StoragePool
from pileus.core.compute import hosts as core
from pileus.core.compute.records import Host, Zone
from pileus.faces.cloudstack.commands import Call, Listed, command
from pileus.faces.cloudstack.guest_os import cut
from pileus.faces.cloudstack.params import Listing, param

TYPES = {"MEMORY": 0, "CPU": 1, "STORAGE": 2, "CPU_CORE": 90}
MHZ = 1000
"""What one core is counted as."""


class ListCapacity(Listing):
    zone: UUID | None = param("zoneid", "of a zone", default=None)
    pod: UUID | None = param("podid", "of a pod", default=None)
    cluster: UUID | None = param("clusterid", "of a cluster", default=None)
    type: int | None = param("type", "by type: 0 memory, 1 CPU, 2 primary storage, 90 cores", default=None)


@command("listCapacity", params=ListCapacity, ignored=("fetchlatest",))
async def capacity(call: Call, params: ListCapacity) -> Listed[Any]:
    """Lists what there is and what of it is taken."""
    sent = {"zone": params.zone, "pod": params.pod, "cluster": params.cluster}
    place = {name: value for name, value in sent.items() if value is not None}
    held = await core.listing(call.cloud, call.caller, **place)
    async with call.cloud.view() as look:
        pools = await look.list(StoragePool, **place)
        zones = await look.list(Zone, order=("created_at",))
    found = [
        {"zoneid": zone.id, "zonename": zone.name, **shown}
        for zone in zones
        for shown in of_zone(
            [host for host in held if host.zone == zone.id], [pool for pool in pools if pool.zone == zone.id]
        )
        if params.type in (None, shown["type"]) and params.keyword.lower() in shown["name"].lower()
    ]
    return cut(found, params)


def of_zone(held: Sequence[Host], pools: Sequence[StoragePool]) -> Iterator[dict[str, Any]]:
    cores = sum(int(host.vcpus * host.vcpu_ratio) for host in held)
    cores_used = sum(host.vcpus_used for host in held)
    memory = sum(int((host.memory_mib - host.memory_mib_reserved) * host.memory_ratio) for host in held)
    memory_used = sum(host.memory_mib_used for host in held)
    if held:
        yield amount("MEMORY", memory_used << 20, memory << 20)
        yield amount("CPU", cores_used * MHZ, cores * MHZ)
        yield amount("CPU_CORE", cores_used, cores)
    if pools:
        used, total = sum(pool.used_bytes for pool in pools), sum(pool.total_bytes for pool in pools)
        yield amount("STORAGE", used, total)


def amount(name: str, used: int, total: int) -> dict[str, Any]:
    return {
        "type": TYPES[name],
        "name": name,
        "capacityused": used,
        "capacityallocated": used,
        "capacitytotal": total,
        "percentused": f"{100 * used / total:.2f}" if total else "0",
    }
