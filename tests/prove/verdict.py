"""Whether a cloud is sound: nothing under way, records and platforms agree both ways, and everything can be deleted."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from pileus.core import invariants
from pileus.core.block import snapshots, volumes
from pileus.core.block.records import Snapshot, SnapshotState, Volume, VolumeState
from pileus.core.compute import servers
from pileus.core.compute.records import Server, State
from pileus.core.image import images
from pileus.core.image.records import Image, ImageState
from pileus.core.network import addresses, groups, ports, removal, routers
from pileus.core.network.records import (
    Address,
    NetState,
    Network,
    Port,
    PortUse,
    Router,
    SecurityGroup,
)
from pileus.core.operations import Outcome
from pileus.drivers.hypervisor.protocol import Power
from pileus.drivers.network.fake import FakeNetwork
from pileus.drivers.volume.fake import GIB, MemoryImages, MemoryPool
from pileus.reconcile.network import SYNC, Reconciler
from pileus.reconcile.servers import LOOKS, Servers
from pileus.store import REGISTRY
from pileus.workflows.network_sync import DRIVEN
from pileus.workflows.site import Site
from tests.prove.platforms import OneFile, drivers_of
from tests.prove.scene import Scene

UNCOUNTED = frozenset({"operation", "event", "counter", "subnet_cursor"})
"""Tables whose rows tell how something was done, not what is there."""
POWER = {
    State.ACTIVE: Power.ON,
    State.STOPPED: Power.OFF,
    State.DESTROYED: Power.OFF,
    State.PAUSED: Power.PAUSED,
    State.SUSPENDED: Power.SUSPENDED,
}
UNKNOWN = "is known to no record"
HELD = frozenset({VolumeState.IN_USE, VolumeState.EXTENDING})
JUDGED = (Server, Volume, Snapshot, Image, Network, Router, Port, Address, SecurityGroup)
Signature = Counter[tuple[Any, ...]]


class World:
    """The platforms as they are, and the records as they are."""

    def __init__(self, at: Scene, records: dict[type, list[Any]]) -> None:
        self.at, self.records = at, records
        drivers = list(at.drivers.values())
        self.hosts: list[OneFile] = [one for one in drivers if isinstance(one, OneFile)]
        self.pools: list[MemoryPool] = [one for one in drivers if isinstance(one, MemoryPool)]
        (self.network,) = [one for one in drivers if isinstance(one, FakeNetwork)]
        (self.images,) = [one for one in drivers if isinstance(one, MemoryImages)]

    @classmethod
    async def of(cls, at: Scene, kinds: Iterable[type] = JUDGED) -> "World":
        async with at.cloud.view() as look:
            return cls(at, {kind: await look.list(kind) for kind in kinds})

    def rows(self, cls: type[Any]) -> list[Any]:
        return self.records[cls]

    def guests(self) -> Iterator[tuple[OneFile, UUID, Any]]:
        for host in self.hosts:
            for key, machine in host._machines.items():
                yield host, key, machine


async def judge(at: Scene, *, outcome: Outcome | None, operation: UUID | None = None) -> list[str]:
    """What is wrong. `outcome`: how the operation should have ended."""
    wrong = [
        f"{one.workflow} is {one.outcome} at {one.step or 'its begin'}: {one.why or one.fault}"
        for one in await at.live()
    ]
    if operation is not None and outcome is not None:
        ended = await at.operation(operation)
        if ended.outcome is not outcome:
            wrong.append(f"it ended {ended.outcome}, not {outcome}: {ended.fault}")
    if outcome is Outcome.FAILED:
        before = await World.of(at)
        wrong += [each for each in (*guests(before), *disks(before), *contents(before)) if UNKNOWN in each]
        await reconcile(at)
    world = await World.of(at)
    wrong += await invariants.violations(at.cloud)
    wrong += [*guests(world), *disks(world), *contents(world), *await networks(world)]
    return wrong


async def reconcile(at: Scene) -> None:
    """After a failure records stand as they were wanted, or as they were; what the platforms have otherwise is put
    right, or told, as in a running cloud. What nobody knows was told before."""
    hosts, network = Servers(at.site), Reconciler(at.site)
    for _ in range(LOOKS):
        await hosts.look()
        await network.once()
        await at.finish()


def guests(world: World) -> Iterator[str]:
    """Of hosts: each server's guest once, on its host, as its record has it."""
    recorded = {server.id: server for server in world.rows(Server)}
    seen = Counter(key for _, key, _ in world.guests())
    for host, key, machine in world.guests():
        server = recorded.get(key)
        if server is None or server.host != host.host_id:
            yield f"guest {key} {UNKNOWN}"
        elif server.state in POWER and machine.power is not POWER[server.state]:
            yield f"server {key} is {server.state}, its guest {machine.power}"
        if server is not None and server.state in POWER:
            yield from devices(world, server, machine.guest)
    for key, number in seen.items():
        if number > 1:
            yield f"server {key} has {number} guests"
    for server in recorded.values():
        lost = server.state is State.STOPPED and server.fault
        if server.state in POWER and server.host is not None and server.id not in seen and not lost:
            yield f"server {server.id} is {server.state} and has no guest"
    drives = {key for pool in world.pools for key in pool.drives}
    yield from (f"config drive {key} {UNKNOWN}" for key in drives - recorded.keys())


def devices(world: World, server: Server, guest: Any) -> Iterator[str]:
    plugged = Counter(disk.volume for disk in guest.disks if not disk.cdrom)
    held = {v.id for v in world.rows(Volume) if v.server == server.id and v.state in HELD}
    if set(plugged) != held or any(number > 1 for number in plugged.values()):
        yield f"the guest of {server.id} has disks {list(plugged)}, its record {held}"
    cards = Counter(nic.port for nic in guest.nics)
    named = {p.id for p in world.rows(Port) if p.use is PortUse.SERVER and p.device == server.id}
    if set(cards) != named or any(number > 1 for number in cards.values()):
        yield f"the guest of {server.id} has interfaces {list(cards)}, its record {named}"


def disks(world: World) -> Iterator[str]:
    """Of pools: a disk for each volume and none besides, of its size, with its snapshots."""
    kept, taken = world.rows(Volume), world.rows(Snapshot)
    there = {key: disk for pool in world.pools for key, disk in pool.disks.items()}
    yield from (f"disk {key} {UNKNOWN}" for key in there.keys() - {v.id for v in kept})
    good = {s.id for s in taken if s.state is SnapshotState.AVAILABLE}
    needed = {s.volume for s in taken if s.state is SnapshotState.AVAILABLE}
    for volume in kept:
        if volume.id not in there:
            if volume.state is not VolumeState.ERROR and (
                volume.state is not VolumeState.RETAINED or volume.id in needed
            ):
                yield f"volume {volume.id} is {volume.state} and has no disk"
        elif there[volume.id].virtual_bytes < volume.size_gib * GIB:
            yield f"volume {volume.id} of {volume.size_gib} GiB has {there[volume.id].virtual_bytes} bytes"
    inside = {key for disk in there.values() for key in disk.snapshots}
    yield from (f"snapshot {key} {UNKNOWN}" for key in inside - {s.id for s in taken})
    yield from (f"snapshot {key} has no content" for key in good - inside)


def contents(world: World) -> Iterator[str]:
    """Of the image store: content for each image and none besides; and bases that something explains."""
    pictures = world.rows(Image)
    explained = {i.id for i in pictures} | {v.image for v in world.rows(Volume)}
    bases = {key for pool in world.pools for key in pool.base_disks}
    yield from (f"base {key} {UNKNOWN}" for key in bases - explained)
    stored = set(world.images.contents)
    active = {i.id for i in pictures if i.state in (ImageState.ACTIVE, ImageState.DEACTIVATED)}
    broken = {i.id for i in pictures if i.state is ImageState.ERROR}
    yield from (f"content {key} {UNKNOWN}" for key in stored - active - broken)
    yield from (f"image {key} has no content" for key in active - stored)
    exports = world.at.cloud.config.state / "exports"
    yield from (
        f"{path.name} is left of an export" for path in (exports.iterdir() if exports.exists() else ())
    )


async def networks(world: World) -> list[str]:
    """The platform's networks are what the records would make of an empty one."""
    driven = [port for port in world.rows(Port) if port.use in DRIVEN]
    records = (world.rows(SecurityGroup), world.rows(Network), world.rows(Router), driven)
    made = FakeNetwork()
    parts = {name: getattr(world.at.site, name) for (name, key), _ in drivers_of(world.at.site)}
    site = Site(world.at.cloud, **{**parts, "network": made})
    for sync, of_kind in zip(SYNC.values(), records, strict=True):
        for record in of_kind:
            await sync(site, record.id)
    wrong = [
        f"{record.id} is {record.state}"
        for kind in records[1:3]
        for record in kind
        if record.state is not NetState.ACTIVE
    ]
    for kind in ("groups", "networks", "routers", "ports"):
        wanted, there = getattr(made, kind), getattr(world.network, kind)
        wrong += [f"{kind}: {key} is left" for key in there.keys() - wanted.keys()]
        wrong += [f"{kind}: {key} is not there" for key in wanted.keys() - there.keys()]
        wrong += [
            f"{kind}: {key} is not as recorded"
            for key in wanted.keys() & there.keys()
            if wanted[key] != there[key]
        ]
    return wrong


async def signature(at: Scene) -> Signature:
    """What there is, without names and times: two runs that end well end alike."""
    world = await World.of(at, [layout.cls for layout in REGISTRY])
    found: Signature = Counter()
    for layout in REGISTRY:
        if layout.name in UNCOUNTED:
            continue
        for record in world.rows(layout.cls):
            found[layout.name, *(told(getattr(record, name, None)) for name in TOLD)] += 1
    for host, key, machine in world.guests():
        boots = (await host.console_log(key)).count(b"Linux version")
        found["guest", machine.power, len(machine.guest.disks), len(machine.guest.nics), boots] += 1
    for pool in world.pools:
        for disk in pool.disks.values():
            found["disk", disk.virtual_bytes, len(disk.snapshots)] += 1
        found["pool", len(pool.base_disks), len(pool.drives)] += 1
    found["contents", len(world.images.contents)] += 1
    return found


TOLD = ("state", "fault", "size_gib", "server", "host", "operation", "use")


def told(value: Any) -> Any:
    return bool(value) if isinstance(value, UUID) or value is None else value


def differences(wanted: Signature, found: Signature) -> list[str]:
    lines = [f"missing at the end: {number} x {what}" for what, number in (wanted - found).items()]
    return lines + [f"too many at the end: {number} x {what}" for what, number in (found - wanted).items()]


async def clear(at: Scene) -> list[str]:
    """Delete all that the owner has, as the owner would, and look for what is left."""
    if not await at.owned():
        return await judge(at, outcome=None)
    caller = await at.owner()
    home = {"project": caller.home}

    async def each(cls: type[Any], delete: Any, **more: Any) -> None:
        async with at.cloud.view() as look:
            found = await look.list(cls, **home, **more)
        for record in found:
            await delete(at.cloud, caller, record.id)

    async with at.working():
        await each(Server, servers.delete)
        await each(Snapshot, snapshots.delete)
        await at.quiet()
        await each(Volume, volumes.delete, state=volumes.SHOWN)
        await each(Image, images.delete)
        await each(Address, addresses.release, source_nat=False)
        async with at.cloud.view() as look:
            inside = await look.list(Port, use=PortUse.ROUTER_INTERFACE, **home)
            own = {network.router for network in await look.list(Network, **home)}
        for port in inside:
            if port.device is not None and port.device not in own:
                await routers.remove_interface(at.cloud, caller, port.device, port=port.id)
        async with at.cloud.view() as look:
            plain = [router for router in await look.list(Router, **home) if router.id not in own]
        for router in plain:
            await routers.delete(at.cloud, caller, router.id)
        await each(Port, ports.delete, use=PortUse.NONE)
        await each(Network, removal.delete)
        await each(SecurityGroup, groups.delete, default=False)
        await at.quiet()
    left = await judge(at, outcome=None)
    world = await World.of(at)
    for cls in (Server, Volume, Snapshot, Image, Network, Router, Port, Address):
        left += [
            f"{cls.__name__.lower()} {one.id} could not be deleted"
            for one in world.rows(cls)
            if one.project == caller.home
        ]
    return [f"after deleting everything: {each}" for each in left]
