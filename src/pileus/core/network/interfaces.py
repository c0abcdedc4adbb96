"""The ports by which a router stands in its subnets."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from uuid import UUID

from pileus.core.caller import Caller
from pileus.core.cloud import Look, Tx
from pileus.core.network import plugs, visible
from pileus.core.network.changes import amend
from pileus.core.network.errors import (
    BadRouter,
    InterfaceMissing,
    InterfaceNeeded,
    InterfaceRouted,
    PortInUse,
)
from pileus.core.network.plugs import Fixed
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


async def of_router(look: Look, router: UUID) -> list[tuple[Port, list[FixedAddress]]]:
    ports = await look.list(Port, device=router, use=PortUse.ROUTER_INTERFACE, order=("created_at", "id"))
    return [(port, await plugs.addresses_of(look, port.id)) for port in ports]


async def plug(
    tx: Tx, caller: Caller, router: Router, *, subnet: UUID | None = None, port: UUID | None = None
) -> tuple[Port, list[FixedAddress]]:
    """The rows of an interface; the caller starts the sync."""
    if (subnet is None) == (port is None):
        raise BadRouter("Either subnet_id or port_id must be specified, and not both.")
    if port is not None:
        return await _plug_port(tx, caller, router, port)
    assert subnet is not None
    wanted = await visible.subnet(tx, caller, subnet)
    if wanted.gateway is None:
        raise BadRouter(f"Subnet {wanted.id} for router interface must have a gateway IP.")
    await check_overlap(tx, router, [wanted])
    network = await tx.get(Network, wanted.network)
    return await plugs.make(
        tx,
        network,
        project=router.project,
        fixed=(Fixed(subnet=wanted.id, address=wanted.gateway),),
        use=PortUse.ROUTER_INTERFACE,
        device=router.id,
        port_security=False,
    )


async def _plug_port(tx: Tx, caller: Caller, router: Router, key: UUID) -> tuple[Port, list[FixedAddress]]:
    port = await caller.find(tx.rows, Port, key, "port.update")
    if port.use is not PortUse.NONE or port.device_text:
        raise PortInUse(port.id, port.device or port.device_text)
    held = await plugs.addresses_of(tx, port.id)
    if not held:
        raise BadRouter(f"Port {port.id} must have at least one fixed IP to be a router's interface.")
    await check_overlap(tx, router, [await tx.get(Subnet, address.subnet) for address in held])
    await tx.charge(port.project, "ports", -1)
    changes = {"use": PortUse.ROUTER_INTERFACE, "device": router.id, "groups": (), "port_security": False}
    return await amend(tx, port, **changes), held


async def check_overlap(tx: Tx, router: Router, wanted: Sequence[Subnet]) -> None:
    """Raises BadRouter where the router stands in one of these subnets already, or in one that overlaps."""
    for port in await tx.list(Port, device=router.id):
        for held in await plugs.addresses_of(tx, port.id):
            there = await tx.get(Subnet, held.subnet)
            for subnet in wanted:
                if subnet.id == there.id:
                    raise BadRouter(f"Router already has a port on subnet {subnet.id}.")
                mine, theirs = ip_network(subnet.cidr), ip_network(there.cidr)
                if mine.version == theirs.version and mine.overlaps(theirs):
                    raise BadRouter(
                        f"Cidr {mine} of subnet {subnet.id} overlaps with cidr {theirs} of subnet {there.id}."
                    )


async def unplug(
    tx: Tx, caller: Caller, router: Router, *, subnet: UUID | None = None, port: UUID | None = None
) -> tuple[Port, list[FixedAddress]]:
    """Remove the rows of an interface, named by its port, its subnet, or both."""
    if subnet is None and port is None:
        raise BadRouter("Either subnet_id or port_id must be specified.")
    for interface, held in await of_router(tx, router.id):
        subnets = {address.subnet for address in held}
        if (port is None or interface.id == port) and (subnet is None or subnet in subnets):
            for key in subnets:
                await _check_unneeded(tx, router, await tx.get(Subnet, key))
            await plugs.drop(tx, interface)
            return interface, held
    raise InterfaceMissing(router.id, subnet, port)


async def _check_unneeded(tx: Tx, router: Router, subnet: Subnet) -> None:
    cidr = ip_network(subnet.cidr)
    if any(ip_address(hop) in cidr for _, hop in router.routes):
        raise InterfaceRouted(router.id, subnet.id)
    for address in await tx.list(Address, router=router.id):
        inside = [address.fixed] if address.fixed else []
        inside += [forwarding.inside for forwarding in await tx.list(PortForwarding, address=address.id)]
        if any(ip_address(target) in cidr for target in inside):
            raise InterfaceNeeded(router.id, subnet.id)


async def leading_to(look: Look, subnet: UUID, external: UUID) -> Router | None:
    """The router that stands in the subnet and has its gateway on the external network."""
    subnet_row = await look.get(Subnet, subnet)
    for port in await look.list(
        Port, network=subnet_row.network, use=PortUse.ROUTER_INTERFACE, order=("created_at",)
    ):
        if any(held.subnet == subnet for held in await plugs.addresses_of(look, port.id)) and port.device:
            router = await look.maybe(Router, port.device)
            if router is not None and router.external == external:
                return router
    return None
