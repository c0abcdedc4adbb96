"""Hosts, zones and inventories for the tests, without a database."""

from collections.abc import Iterable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

from pileus.core.cloud import Cloud
from pileus.core.compute.records import Host, HostGroup, HostGroupMember, Zone
from pileus.core.placement.asking import Where
from pileus.core.placement.choice import SPREAD, Choice, chosen
from pileus.core.placement.inventory import Inventory, Need

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def key(number: int) -> UUID:
    """Ids that read well: the kind is in the hundreds."""
    return UUID(int=number)


NOVA, WEST, CLOSED = key(101), key(102), key(103)
POD, OTHER_POD, CLUSTER, OTHER_CLUSTER = key(201), key(202), key(301), key(302)
ZONES = [
    Zone(id=NOVA, name="nova", region="R", created_at=NOW),
    Zone(id=WEST, name="west", region="R", created_at=NOW),
    Zone(id=CLOSED, name="closed", region="R", enabled=False, created_at=NOW),
]


def host(number: int, **more: Any) -> Host:
    """4 processors, 4 GiB of memory, 100 GiB of disk, nothing of it overbooked or taken."""
    fields: dict[str, Any] = {
        "id": key(number),
        "number": number,
        "zone": NOVA,
        "pod": POD,
        "cluster": CLUSTER,
        "hostname": f"h-{number}",
        "hypervisor": "libvirt",
        "hypervisor_type": "KVM",
        "hypervisor_version": 1,
        "vcpus": 4,
        "vcpu_ratio": 2.0,
        "memory_mib": 4096,
        "memory_ratio": 1.0,
        "memory_mib_reserved": 0,
        "disk_gib": 100,
        "seen_at": NOW,
        "created_at": NOW,
        **more,
    }
    return Host(**fields)


def group(number: int, metadata: dict[str, str]) -> HostGroup:
    return HostGroup(
        id=key(number), number=number, name=f"g-{number}", metadata=metadata, created_at=NOW, updated_at=NOW
    )


def inventory(
    hosts: Iterable[Host],
    groups: Iterable[HostGroup] = (),
    members: Iterable[tuple[int, int]] = (),
) -> Inventory:
    """`members`: (number of the group, number of the host)."""
    made = Inventory()
    made.fill(hosts)
    made.groups.take(ZONES, groups, [HostGroupMember(group=key(g), host=key(h)) for g, h in members])
    return made


def decide(held: Inventory, need: Need, where: Where, strategy: str = SPREAD) -> Choice:
    cloud = cast(Cloud, SimpleNamespace(config=SimpleNamespace(placement=strategy)))
    return chosen(cloud, held, need, where, None)
