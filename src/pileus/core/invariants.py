"""What is always true, whatever was killed when: functions that return the violations, of which there are none.

Kinds are discovered from their records: one with an `operation` field and a `state` is checked from the day it exists.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any
from uuid import UUID

from pileus.core import quota
from pileus.core.block.records import Snapshot, Volume, VolumeState
from pileus.core.cloud import Cloud, Look
from pileus.core.compute.records import (
    Host,
    HostGroup,
    HostGroupMember,
    KeyPair,
    Server,
    ServerGroup,
    ServerGroupMember,
)
from pileus.core.image.records import Image, ImageState
from pileus.core.network.plugs import CHARGED
from pileus.core.network.records import (
    Address,
    FixedAddress,
    Network,
    Port,
    PortForwarding,
    PortUse,
    Router,
    SecurityGroup,
    SecurityRule,
    Subnet,
)
from pileus.core.operations import LIVE, Operation
from pileus.core.placement import claims
from pileus.core.placement.records import Claim
from pileus.core.quota import Usage
from pileus.store import REGISTRY, Record
from pileus.store.records import Layout

BY_CLIENT = frozenset({ImageState.SAVING})
"""Transitional states in which a client may be at work instead of an operation: it sends the content."""


async def violations(cloud: Cloud) -> list[str]:
    async with cloud.view() as look:
        return [
            *await stuck(look),
            *await claims.differences(look),
            *await unclaimed(look),
            *await miscounted(look),
            *await dangling(look),
        ]


def transitional(state: Enum) -> bool:
    """By its word: what is being done to a thing is told by a participle (building, rebooting hard)."""
    return str(state.value).partition(" ")[0].endswith("ing")


def worked_on() -> list[Layout[Any]]:
    """The kinds of record that long work acts on: those that name their operation."""
    named = [layout for layout in REGISTRY if layout.name not in ("operation", "event")]
    return [layout for layout in named if {"state", "operation"} <= layout.columns.keys()]


async def stuck(look: Look) -> list[str]:
    """Records in a transitional state without a live operation, or in a steady one that name an operation."""
    live = {operation.id for operation in await look.list(Operation, outcome=tuple(LIVE))}
    wrong = []
    for layout in worked_on():
        for record in await look.list(layout.cls):
            moving, named = transitional(record.state), record.operation
            if moving and named not in live and not (named is None and record.state in BY_CLIENT):
                wrong.append(f"{layout.name} {record.id} is {record.state.value} without a live operation")
            if not moving and named is not None:
                wrong.append(f"{layout.name} {record.id} is {record.state.value} and names operation {named}")
    return wrong


async def unclaimed(look: Look) -> list[str]:
    """Servers on a host without a claim there, and claims without a server."""
    held = {claim.id: claim.host for claim in await look.list(Claim)}
    placed = {server.id: server.host for server in await look.list(Server) if server.host is not None}
    return [
        f"server {key} is on host {placed.get(key)}, its claim on {held.get(key)}"
        for key in held.keys() | placed.keys()
        if held.get(key) != placed.get(key)
    ]


Use = Callable[[Any], Mapping[str, int]]


def _volume(volume: Volume) -> Mapping[str, int]:
    """A server's own root disk is part of the server; one kept for its snapshots is nobody's any more."""
    if volume.ephemeral or volume.state is VolumeState.RETAINED:
        return {}
    return {"volumes": 1, "volume_gib": volume.size_gib}


USES: Mapping[type[Record], Use] = {
    Server: lambda one: {"servers": 1, "vcpus": one.vcpus, "memory_mib": one.memory_mib},
    Volume: _volume,
    Snapshot: lambda one: {"snapshots": 1},
    Image: lambda one: {"images": 1},
    Network: lambda one: {"networks": 1},
    Subnet: lambda one: {"subnets": 1},
    Port: lambda one: {"ports": 1} if one.use in CHARGED else {},
    Router: lambda one: {"routers": 1},
    Address: lambda one: {"addresses": 1},
    SecurityGroup: lambda one: {"security_groups": 1},
    SecurityRule: lambda one: {"security_rules": 1},
    KeyPair: lambda one: {"key_pairs": 1},
    ServerGroup: lambda one: {"server_groups": 1},
}
"""What one record uses of its project's limits. The uses of a record are a limit's whole meaning."""


async def miscounted(look: Look) -> list[str]:
    """Projects whose recorded use is not the sum of their records."""
    counted: Counter[tuple[UUID, str]] = Counter()
    for cls, use in USES.items():
        owner = "user" if cls is KeyPair else "project"
        for record in await look.list(cls):
            counted.update({(getattr(record, owner), name): number for name, number in use(record).items()})
    recorded = {(use.project, use.resource): use.used for use in await look.list(Usage)}
    wrong = quota.differences(recorded, counted)
    return [
        f"{resource} of project {project}: {kept} recorded, {real} counted"
        for (project, resource), (kept, real) in wrong.items()
    ]


OF_DEVICE: Mapping[PortUse, type[Record]] = {
    PortUse.SERVER: Server,
    PortUse.ROUTER_INTERFACE: Router,
    PortUse.ROUTER_GATEWAY: Router,
    PortUse.ADDRESS: Address,
}
"""What a port in use is held by."""


async def dangling(look: Look) -> list[str]:
    """Records that point at what is gone."""
    targets: tuple[type[Any], ...] = (
        *(Server, Volume, Network, Subnet, Port, Router, Address),
        *(Host, HostGroup, ServerGroup),
    )
    known = {cls: {record.id for record in await look.list(cls)} for cls in targets}
    wrong = []

    def need(of: str, key: Any, cls: type[Record], target: UUID | None) -> None:
        if target is not None and target not in known[cls]:
            wrong.append(f"{of} {key} points at {cls.__name__.lower()} {target}, which is gone")

    for volume in await look.list(Volume):
        need("volume", volume.id, Server, volume.server)
    for snapshot in await look.list(Snapshot):
        need("snapshot", snapshot.id, Volume, snapshot.volume)
    for port in await look.list(Port):
        need("port", port.id, Network, port.network)
        if port.use in OF_DEVICE:
            need(f"{port.use.value} port", port.id, OF_DEVICE[port.use], port.device)
    for fixed in await look.list(FixedAddress):
        need("fixed address", fixed.address, Port, fixed.port)
        need("fixed address", fixed.address, Subnet, fixed.subnet)
    for address in await look.list(Address):
        need("address", address.id, Port, address.holder)
        need("address", address.id, Port, address.port)
        need("address", address.id, Router, address.router)
    for forwarding in await look.list(PortForwarding):
        need("forwarding", forwarding.id, Address, forwarding.address)
        need("forwarding", forwarding.id, Port, forwarding.port)
    for member in await look.list(ServerGroupMember):
        need("member of server group", member.group, Server, member.server)
        need("group of server", member.server, ServerGroup, member.group)
    for inside in await look.list(HostGroupMember):
        need("member of host group", inside.group, Host, inside.host)
        need("group of host", inside.host, HostGroup, inside.group)
    return wrong
