"""What must be true when everything is quiet again: functions that return what is not."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from pileus.core import invariants
from pileus.core.block.records import VOLUME_TRANSITIONAL, Snapshot, SnapshotState, Volume, VolumeState
from pileus.core.cloud import Look
from pileus.core.compute.records import TRANSITIONAL, Host, Server, State
from pileus.core.image.records import Image
from pileus.core.network.ports import Plug
from pileus.core.network.records import NetState, Network, Port, PortUse, Router, SecurityGroup
from pileus.core.operations import LIVE, Operation
from pileus.core.operations import Outcome as OperationOutcome
from pileus.drivers.hypervisor.protocol import Power
from pileus.drivers.network.protocol import Kind
from pileus.drivers.simulated import SimulatedWorld
from pileus.workflows.network_sync import DRIVEN
from pileus.workflows.site import Site

POWERS = {
    State.ACTIVE: {Power.ON},
    State.STOPPED: {Power.OFF, None},
    State.PAUSED: {Power.PAUSED},
    State.SUSPENDED: {Power.SUSPENDED},
    State.DESTROYED: {Power.OFF, Power.SUSPENDED, None},
    State.ERROR: {Power.CRASHED, Power.ON, Power.OFF, Power.PAUSED, Power.SUSPENDED, None},
}
"""What the platform may have of a server in each state that lasts."""


async def findings(site: Site, world: SimulatedWorld) -> list[str]:
    async with site.cloud.view() as look:
        return [
            *await invariants.violations(site.cloud),
            *await unfinished(look),
            *await guests(look, world),
            *await disks(look, world),
            *await networks(look, world),
        ]


async def live(look: Look) -> list[Operation]:
    return await look.list(Operation, outcome=tuple(LIVE))


async def unfinished(look: Look) -> list[str]:
    wrong = [
        f"operation {one.id} ({one.workflow}) is {one.outcome} at {one.step}: {one.why or one.fault}"
        for one in await live(look)
    ]
    for cls, states in (
        (Server, TRANSITIONAL),
        (Volume, VOLUME_TRANSITIONAL),
        (Snapshot, {SnapshotState.CREATING, SnapshotState.DELETING}),
        (Network, {NetState.BUILDING, NetState.DELETING, NetState.ERROR}),
        (Router, {NetState.BUILDING, NetState.DELETING, NetState.ERROR}),
    ):
        for row in await look.list(cls):  # type: ignore[type-var]
            if row.state in states:  # type: ignore[attr-defined]
                wrong.append(f"{cls.__name__} {row.id} is still {row.state}")  # type: ignore[attr-defined]
    return wrong


def differ(what: str, there: Iterable[Any], recorded: Iterable[Any]) -> list[str]:
    there, recorded = set(there), set(recorded)
    return [f"{what} {key} is there and not recorded" for key in sorted(there - recorded)] + [
        f"{what} {key} is recorded and not there" for key in sorted(recorded - there)
    ]


async def guests(look: Look, world: SimulatedWorld) -> list[str]:
    """Every guest is a server's, on its host, in its power state, with its disks and ports."""
    wrong: list[str] = []
    servers = {server.id: server for server in await look.list(Server)}
    hosts = {host.id: host.hostname for host in await look.list(Host)}
    by_name = {host.name: host for host in world.hosts.values()}
    held = {(hosts[s.host], s.id) for s in servers.values() if s.host is not None}
    there = {(name, guest) for name, host in by_name.items() for guest in host._machines}
    wrong += [f"guest {guest} on {name} is nobody's" for name, guest in sorted(there - held)]
    drives = {drive for pool in world.pools.values() for drive in pool.drives}
    kept = await not_let_go(look)
    volumes = await look.list(Volume, state=(VolumeState.IN_USE,))
    ports = await look.list(Port, use=PortUse.SERVER)
    for name, key in sorted(held):
        machine = by_name[name]._machines.get(key)
        server = servers[key]
        power = machine.power if machine else None
        if server.state in POWERS and power not in POWERS[server.state]:
            wrong.append(f"server {key} is {server.state}, its guest is {power}")
        if machine is None:
            continue
        with_drive = {key} & drives
        wrong += differ(
            f"disk of guest {key}",
            {disk.volume for disk in machine.guest.disks} - with_drive,
            {volume.id for volume in volumes if volume.server == key},
        )
        plugged = {nic.port for nic in machine.guest.nics}
        of_server = {port.id for port in ports if port.device == key}
        wrong += differ(f"nic of guest {key}", plugged - (kept - of_server), of_server)
    return wrong


async def not_let_go(look: Look) -> set[UUID]:
    """Ports that were deleted, and that their guests did not let go: told by the operation, until the next start."""
    failed = await look.list(Operation, workflow="server.detach_nic", outcome=OperationOutcome.FAILED)
    return {operation.wanted(Plug).port for operation in failed}


async def disks(look: Look, world: SimulatedWorld) -> list[str]:
    """Every disk is a volume's, every snapshot in it recorded, every base some image's or disk's."""
    there = {key: disk for pool in world.pools.values() for key, disk in pool.disks.items()}
    volumes = {volume.id: volume for volume in await look.list(Volume)}
    sound = {key for key, volume in volumes.items() if volume.state is not VolumeState.ERROR}
    wrong = [f"disk {key} is nobody's" for key in sorted(there.keys() - volumes.keys())]
    wrong += [f"volume {key} is {volumes[key].state} and has no disk" for key in sorted(sound - there.keys())]
    good = {(s.volume, s.id) for s in await look.list(Snapshot, state=SnapshotState.AVAILABLE)}
    every = {(s.volume, s.id) for s in await look.list(Snapshot)}
    kept = {(key, snapshot) for key, disk in there.items() for snapshot in disk.snapshots}
    wrong += [f"snapshot {of} is in its disk and not recorded" for of in sorted(kept - every)]
    wrong += [f"snapshot {of} is recorded and not in its disk" for of in sorted(good - kept)]
    images = {image.id for image in await look.list(Image)} | {volume.image for volume in volumes.values()}
    bases = {base for pool in world.pools.values() for base in pool.base_disks}
    wrong += [f"base {base} is nobody's" for base in sorted(bases - images)]
    drives = {drive for pool in world.pools.values() for drive in pool.drives}
    servers = {server.id for server in await look.list(Server)}
    wrong += [f"config drive {drive} is nobody's" for drive in sorted(drives - servers)]
    return wrong


async def networks(look: Look, world: SimulatedWorld) -> list[str]:
    net = world.network
    recorded: dict[Kind, set[UUID]] = {
        Kind.NETWORK: {row.id for row in await look.list(Network)},
        Kind.ROUTER: {row.id for row in await look.list(Router)},
        Kind.GROUP: {row.id for row in await look.list(SecurityGroup)},
        Kind.PORT: {row.id for row in await look.list(Port, use=tuple(DRIVEN))},
    }
    there = {
        Kind.NETWORK: net.networks,
        Kind.ROUTER: net.routers,
        Kind.GROUP: net.groups,
        Kind.PORT: net.ports,
    }
    return [line for kind in Kind for line in differ(kind.value, there[kind], recorded[kind])]
