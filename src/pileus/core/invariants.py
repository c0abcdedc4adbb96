"""What is always true, whatever was killed when: functions that return the violations, of which there are none.

Kinds are discovered from their records: one with an `operation` field and a `state` is checked from the day it exists.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Any
from uuid import UUID

from pileus.core import uses
from pileus.core.block.records import Snapshot, Volume
from pileus.core.cloud import Cloud, Look
from pileus.core.compute.records import (
    Host,
    HostGroup,
    HostGroupMember,
    Server,
    ServerGroup,
    ServerGroupMember,
)
from pileus.core.image.records import ImageState
from pileus.core.network.records import (
    Address,
    FixedAddress,
    Network,
    Port,
    PortForwarding,
    PortUse,
    Router,
    Subnet,
)
from pileus.core.operations import LIVE, Operation
from pileus.core.placement import claims
from pileus.core.placement.records import Claim
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


async def miscounted(look: Look) -> list[str]:
    """Holders of limits whose recorded use is not the sum of their records."""
    return [wrong.text for wrong in await uses.differences(look)]


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
