"""Makes the platform's networks equal to the records: each sync reads the newest record, applies it, or removes what
has none. Repeating is always right, so no step needs an undo."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.identity.percloud import per_cloud
from pileus.core.network import interfaces, plugs
from pileus.core.network.changes import amend
from pileus.core.network.isolated import BUILD
from pileus.core.network.records import (
    Address,
    FirewallRule,
    FixedAddress,
    NetState,
    Network,
    Port,
    PortForwarding,
    PortUse,
    Router,
    SecurityGroup,
    SecurityRule,
    Subnet,
)
from pileus.core.network.routers import gateway_port
from pileus.core.network.sync import WORKFLOW, Touched
from pileus.drivers.errors import Missing
from pileus.drivers.network.protocol import NetworkSpec, RouterSpec
from pileus.workflows import network_specs as specs
from pileus.workflows.disks import AWAY
from pileus.workflows.engine import PATIENCE, Run, Step, Wait, Workflow, register
from pileus.workflows.site import Site

DRIVEN = frozenset({PortUse.NONE, PortUse.SERVER})
"""Ports that the driver knows as ports: a router's, an address's and the metadata port are parts of other specs."""
CHUNK = 500
SMALL = 100
PER_NAME, LONGEST = 0.001, 5.0
"""A network with more than SMALL names rests after a sync, seconds by name and at most: many servers that come
together are one sync, which reads them all."""

_rests: Callable[[Cloud], dict[UUID, float]] = per_cloud(lambda cloud: {})
"""Until when, by network."""
_locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()


def _lock(key: UUID) -> asyncio.Lock:
    """One sync of an object at a time in this process, so that an older reading is never applied after a newer one."""
    lock = _locks.get(key)
    if lock is None:
        lock = _locks[key] = asyncio.Lock()
    return lock


async def sync_network(site: Site, key: UUID) -> bool:
    async with _lock(key):
        async with site.cloud.view() as look:
            spec = await _network_spec(look, key, site.cloud.config.dns_servers)
        if spec is None:
            _rests(site.cloud).pop(key, None)
            await site.network.remove_network(key)
            return False
        changed = await site.network.apply_network(spec)
        if len(spec.dns_names) > SMALL:
            rest = min(LONGEST, len(spec.dns_names) * PER_NAME)
            _rests(site.cloud)[key] = asyncio.get_running_loop().time() + rest
        return changed


async def _network_spec(look: Look, key: UUID, resolvers: tuple[str, ...]) -> NetworkSpec | None:
    network = await look.maybe(Network, key)
    if network is None:
        return None
    subnets = await look.list(Subnet, network=key, order=("created_at", "id"))
    named = [port for port in await look.list(Port, network=key, order=("id",)) if port.dns_name]
    metadata = await look.maybe(Port, network.metadata_port) if network.metadata_port else None
    own = (metadata, await plugs.addresses_of(look, metadata.id)) if metadata else None
    return specs.network(network, subnets, await addressed(look, named), own, resolvers)


async def addressed(look: Look, ports: list[Port]) -> list[specs.Interface]:
    """Ports with their addresses."""
    held: dict[UUID, list[FixedAddress]] = {port.id: [] for port in ports}
    keys = tuple(held)
    for start in range(0, len(keys), CHUNK):
        for one in await look.list(
            FixedAddress, port=keys[start : start + CHUNK], order=("subnet", "address")
        ):
            held[one.port].append(one)
    return [(port, held[port.id]) for port in ports]


async def sync_port(site: Site, key: UUID) -> bool:
    """A port whose network or groups the platform does not know yet brings them along."""
    async with _lock(key):
        async with site.cloud.view() as look:
            port = await look.maybe(Port, key)
            held = await plugs.addresses_of(look, key) if port else []
        if port is None or port.use not in DRIVEN:
            await site.network.remove_port(key)
            return False
        spec = specs.port(port, held)
        try:
            return await site.network.apply_port(spec)
        except Missing:
            await sync_network(site, port.network)
            for group in port.groups:
                await sync_group(site, group)
            return await site.network.apply_port(spec)


async def sync_group(site: Site, key: UUID) -> bool:
    async with _lock(key):
        async with site.cloud.view() as look:
            group = await look.maybe(SecurityGroup, key)
            rules = await look.list(SecurityRule, group=key, order=("created_at", "id"))
        if group is None:
            await site.network.remove_group(key)
            return False
        return await site.network.apply_group(specs.group(group, rules))


async def sync_router(site: Site, key: UUID) -> bool:
    """A router whose networks the platform does not know yet brings them along."""
    async with _lock(key):
        async with site.cloud.view() as look:
            spec = await _router_spec(look, key)
        if spec is None:
            await site.network.remove_router(key)
            return False
        try:
            return await site.network.apply_router(spec)
        except Missing:
            for port in (*spec.ports, *((spec.gateway,) if spec.gateway else ())):
                await sync_network(site, port.network)
            return await site.network.apply_router(spec)


async def _router_spec(look: Look, key: UUID) -> RouterSpec | None:
    router = await look.maybe(Router, key)
    if router is None:
        return None
    inside = await interfaces.of_router(look, key)
    port = await gateway_port(look, key)
    gateway = (port, await plugs.addresses_of(look, port.id)) if port else None
    every = [*inside, *([gateway] if gateway else [])]
    wanted = tuple({one.subnet for _, held in every for one in held})
    addresses = await look.list(Address, router=key, order=("created_at", "id"))
    address_ids = tuple(address.id for address in addresses)
    networks = tuple({one.network for one, _ in inside})
    rules = await look.list(FirewallRule, address=address_ids, order=("created_at", "id"))
    rules += await look.list(FirewallRule, network=networks, order=("created_at", "id"))
    return specs.router(
        specs.Edge(
            router=router,
            interfaces=inside,
            gateway=gateway,
            subnets={subnet.id: subnet for subnet in await look.list(Subnet, id=wanted)},
            addresses=addresses,
            forwardings=await look.list(PortForwarding, address=address_ids, order=("created_at", "id")),
            firewall=rules,
        )
    )


SUBJECTS = {"network": sync_network, "port": sync_port, "router": sync_router, "security_group": sync_group}
"""The subjects that the driver knows; the other kinds are parts of the routers that they touch."""


async def apply(run: Run) -> Wait | None:
    """The subject, and everything that changed with it; containers before what is in them."""
    want: Touched = run.want
    rests = _rests(run.cloud)
    rest = max((rests.get(key, 0.0) for key in _with(run, "network", want.networks)), default=0.0)
    if (left := rest - asyncio.get_running_loop().time()) > 0:
        return Wait(left, "the network was synced a moment ago")
    for group in _with(run, "security_group", want.groups):
        await sync_group(run.site, group)
    for network in _with(run, "network", want.networks):
        await sync_network(run.site, network)
    for router in _with(run, "router", want.routers):
        await sync_router(run.site, router)
    for port in _with(run, "port", want.ports):
        await sync_port(run.site, port)
    return None


def _with(run: Run, kind: str, touched: Iterable[UUID]) -> list[UUID]:
    own = (run.subject,) if run.operation.kind == kind else ()
    return list(dict.fromkeys((*own, *touched)))


async def _settle(tx: Tx, run: Run, fault: str) -> None:
    """The last word on a network or router: what the platform made of it."""
    cls: Any = {"network": Network, "router": Router}.get(run.operation.kind)
    record = await tx.maybe(cls, run.subject) if cls else None
    if record is None:
        return
    building = isinstance(record, Network) and record.operation == run.operation.id
    if not fault and not building and record.state is not NetState.ERROR:
        return
    changes: dict[str, Any] = {"state": NetState.ERROR if fault else NetState.ACTIVE}
    if isinstance(record, Network):
        changes["fault"] = fault
        if building:
            changes["operation"] = None
    await amend(tx, record, **changes)


async def _finished(run: Run, tx: Tx) -> None:
    await _settle(tx, run, "")


async def _failed(run: Run, tx: Tx, fault: str) -> None:
    """The records stay as wanted; the reconciler tries again."""
    await _settle(tx, run, fault)


def _workflow(name: str) -> Workflow:
    return register(
        Workflow(
            name=name,
            steps=(Step("apply", apply, patience=PATIENCE if name == BUILD else AWAY),),
            failed=_failed,
            finished=_finished,
            want=Touched,
            cancellable=False,
        )
    )


SYNCS = {name: _workflow(name) for name in (*WORKFLOW.values(), BUILD)}
