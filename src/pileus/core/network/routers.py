"""Routers: interfaces in subnets, a gateway to an external network, and routes of their own."""

from ipaddress import ip_address, ip_network
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.network import interfaces, plugs, visible
from pileus.core.network.changes import amend, given, touch, unchanged_since
from pileus.core.network.errors import BadRouter, BadRoutes, GatewayNeeded, NotExternal, RouterInUse
from pileus.core.network.plugs import Fixed
from pileus.core.network.records import Address, FixedAddress, Port, PortUse, Router, Subnet
from pileus.core.network.sync import sync

NOBODY = UUID(int=0)
"""The project of gateways' and addresses' ports: no tenant sees them."""
Routes = tuple[tuple[str, str], ...]


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """`snat` None: as it was, on at first. `fixed` None: any address."""

    network: UUID
    snat: bool | None = None
    fixed: tuple[Fixed, ...] | None = None


class RouterWant(msgspec.Struct, frozen=True, kw_only=True):
    name: str = ""
    project: UUID | None = None
    description: str = ""
    enabled: bool = True
    gateway: Gateway | None = None
    egress_default_deny: bool = False
    tags: tuple[str, ...] = ()


class RouterChange(msgspec.Struct, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    gateway: Gateway | UnsetType | None = UNSET
    routes: Routes | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET


class Shown(msgspec.Struct, frozen=True):
    """A router and the addresses of its gateway."""

    router: Router
    outside: tuple[FixedAddress, ...] = ()


async def create(cloud: Cloud, caller: Caller, want: RouterWant) -> Shown:
    async with cloud.transaction(caller) as tx:
        router = await create_in(tx, caller, want)
        await sync(tx, router)
        return await shown(tx, router)


async def create_in(tx: Tx, caller: Caller, want: RouterWant) -> Router:
    """The rows alone; the caller starts the sync."""
    project = want.project or caller.home
    caller.require("router.create", project=project)
    await tx.charge(project, "routers", 1)
    now = tx.cloud.now()
    router = await tx.add(
        Router(
            id=tx.cloud.new_id(),
            project=project,
            name=want.name,
            description=want.description,
            enabled=want.enabled,
            egress_default_deny=want.egress_default_deny,
            tags=want.tags,
            created_at=now,
            updated_at=now,
        )
    )
    return await set_gateway(tx, caller, router, want.gateway) if want.gateway else router


async def shown(look: Look, router: Router) -> Shown:
    port = await gateway_port(look, router.id)
    return Shown(router, tuple(await plugs.addresses_of(look, port.id)) if port else ())


async def gateway_port(look: Look, router: UUID) -> Port | None:
    return await look.one(Port, device=router, use=PortUse.ROUTER_GATEWAY)


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Shown:
    async with cloud.view() as look:
        return await shown(look, await caller.find(look.rows, Router, key, "router.read"))


async def list_(cloud: Cloud, caller: Caller, **equals: object) -> list[Shown]:
    async with cloud.view() as look:
        found = await look.list(Router, **visible.projects(caller, equals), order=("created_at", "id"))
        outside: dict[UUID | None, list[FixedAddress]] = {}
        keys = tuple(router.id for router in found if router.external)
        gateways = await look.list(Port, device=keys, use=PortUse.ROUTER_GATEWAY)
        router_of = {port.id: port.device for port in gateways}
        for held in await look.list(FixedAddress, port=tuple(router_of)):
            outside.setdefault(router_of[held.port], []).append(held)
        return [Shown(router, tuple(outside.get(router.id, ()))) for router in found]


async def update(
    cloud: Cloud, caller: Caller, key: UUID, change: RouterChange, *, revision: int | None = None
) -> Shown:
    async with cloud.transaction(caller) as tx:
        router = await caller.find(tx.rows, Router, key, "router.update")
        unchanged_since(router, revision)
        changes = given(change)
        gateway = changes.pop("gateway", UNSET)
        if gateway is None:
            router = await clear_gateway(tx, router)
        elif gateway is not UNSET:
            router = await set_gateway(tx, caller, router, gateway)
        if "routes" in changes:
            changes["routes"] = await checked_routes(tx, router, changes["routes"])
        router = await amend(tx, router, **changes)
        await sync(tx, router)
        return await shown(tx, router)


async def set_gateway(tx: Tx, caller: Caller, router: Router, want: Gateway) -> Router:
    """Give the router this way out. Raises NotExternal, GatewayNeeded, BadRouter."""
    network = await visible.network(tx, caller, want.network)
    if not network.external:
        raise NotExternal(network.id)
    snat = router.snat if want.snat is None else want.snat
    port = await gateway_port(tx, router.id)
    if port is not None and port.network == network.id:
        if want.fixed is not None:
            await plugs.readdress(tx, port, want.fixed)
        return await amend(tx, router, snat=snat)
    if port is not None:
        router = await clear_gateway(tx, router)
    await interfaces.check_overlap(tx, router, await tx.list(Subnet, network=network.id))
    _, held = await plugs.make(
        tx,
        network,
        project=NOBODY,
        fixed=want.fixed,
        use=PortUse.ROUTER_GATEWAY,
        device=router.id,
        port_security=False,
    )
    if not held:
        raise BadRouter(
            f"External network {network.id} has no subnet, so router {router.id} gets no address there."
        )
    return await amend(tx, router, external=network.id, snat=True if want.snat is None else snat)


async def clear_gateway(tx: Tx, router: Router) -> Router:
    """Take the way out away. Raises GatewayNeeded while an address needs it."""
    if router.external is None:
        return router
    if await tx.count(Address, router=router.id):
        raise GatewayNeeded(router.id, router.external)
    port = await gateway_port(tx, router.id)
    if port is not None:
        await plugs.drop(tx, port)
    return await amend(tx, router, external=None)


async def delete(cloud: Cloud, caller: Caller, key: UUID, *, revision: int | None = None) -> None:
    async with cloud.transaction(caller) as tx:
        router = await caller.find(tx.rows, Router, key, "router.delete")
        unchanged_since(router, revision)
        interface = await tx.one(Port, device=router.id, use=PortUse.ROUTER_INTERFACE)
        if interface is not None:
            raise RouterInUse(router.id, f"still has ports ({interface.id}); remove its interfaces first")
        router = await clear_gateway(tx, router)
        await tx.charge(router.project, "routers", -1)
        await tx.remove(router)
        await sync(tx, router)


async def checked_routes(tx: Tx, router: Router, routes: Routes) -> Routes:
    """Raises BadRoutes for what is malformed, there twice, or whose next hop is not beside the router."""
    beside, own = await _connected(tx, router)
    checked: dict[tuple[str, str], None] = {}
    for destination, hop in routes:
        try:
            net, address = ip_network(destination), ip_address(hop)
        except ValueError as error:
            raise BadRoutes(str(error)) from None
        if not any(address in ip_network(cidr) for cidr in beside):
            raise BadRoutes(f"the nexthop {hop} is not connected with router")
        if str(address) in own:
            raise BadRoutes(f"the nexthop {hop} is used by router")
        if (str(net), str(address)) in checked:
            raise BadRoutes(f"the route to {net} by {hop} is there twice")
        checked[str(net), str(address)] = None
    return tuple(checked)


async def _connected(tx: Tx, router: Router) -> tuple[set[str], set[str]]:
    """The cidrs beside the router, and its own addresses."""
    cidrs, own = set(), set()
    for port in await tx.list(Port, device=router.id):
        for held in await plugs.addresses_of(tx, port.id):
            own.add(held.address)
            cidrs.add((await tx.get(Subnet, held.subnet)).cidr)
    return cidrs, own


async def add_routes(cloud: Cloud, caller: Caller, key: UUID, routes: Routes) -> Shown:
    """These besides those that are there; one that is there stays."""
    return await _change_routes(cloud, caller, key, add=routes, remove=())


async def remove_routes(cloud: Cloud, caller: Caller, key: UUID, routes: Routes) -> Shown:
    """Take these away; one that is not there is gone already."""
    return await _change_routes(cloud, caller, key, add=(), remove=routes)


async def _change_routes(cloud: Cloud, caller: Caller, key: UUID, *, add: Routes, remove: Routes) -> Shown:
    async with cloud.transaction(caller) as tx:
        router = await caller.find(tx.rows, Router, key, "router.update")
        kept = [route for route in router.routes if route not in remove]
        fresh = await checked_routes(tx, router, add)
        routes = (*kept, *(route for route in fresh if route not in kept))
        router = await amend(tx, router, routes=routes)
        await sync(tx, router)
        return await shown(tx, router)


async def add_interface(
    cloud: Cloud, caller: Caller, key: UUID, *, subnet: UUID | None = None, port: UUID | None = None
) -> tuple[Router, Port, list[FixedAddress]]:
    """Connect a subnet, at its gateway address, or by a port that the caller made."""
    async with cloud.transaction(caller) as tx:
        router = await caller.find(tx.rows, Router, key, "router.update")
        made, held = await interfaces.plug(tx, caller, router, subnet=subnet, port=port)
        router = await touch(tx, router)
        await sync(tx, router)
        return router, made, held


async def remove_interface(
    cloud: Cloud, caller: Caller, key: UUID, *, subnet: UUID | None = None, port: UUID | None = None
) -> tuple[Router, Port, list[FixedAddress]]:
    """Disconnect it; the port goes. Raises InterfaceMissing, InterfaceNeeded, InterfaceRouted."""
    async with cloud.transaction(caller) as tx:
        router = await caller.find(tx.rows, Router, key, "router.update")
        gone, held = await interfaces.unplug(tx, caller, router, subnet=subnet, port=port)
        router = await touch(tx, router)
        await sync(tx, router)
        return router, gone, held
