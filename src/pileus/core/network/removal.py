"""The end of a network: of a plain one, and of an isolated one with its router and addresses."""

from uuid import UUID

from pileus.core import deletion
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Tx
from pileus.core.network import networks, plugs, visible
from pileus.core.network.changes import unchanged_since
from pileus.core.network.records import (
    Address,
    FirewallRule,
    Network,
    NetworkKind,
    Port,
    PortForwarding,
    PortUse,
    Router,
)
from pileus.core.network.sync import Touched, sync
from pileus.core.operations import Accepted


async def delete(
    cloud: Cloud, caller: Caller, key: UUID, *, revision: int | None = None, command: str = ""
) -> Accepted:
    """Remove the network; its rows are gone at once, the operation clears the platform.

    The addresses of an external network that stand for nothing go with it. Raises NetworkInUse for all else.
    """
    async with cloud.transaction(caller) as tx:
        network = await visible.owned_network(tx, caller, key, "network.delete")
        unchanged_since(network, revision)
        building = await deletion.under_way(tx, network)
        router = await _dismantle(tx, network) if network.kind is NetworkKind.ISOLATED else None
        for address in await tx.list(Address, external=network.id, port=None, router=None):
            await forget_address(tx, address)
        await networks.drop(tx, network)
        for rule in await tx.list(FirewallRule, network=network.id):
            await tx.remove(rule)
        if building is not None:
            await deletion.call_off(tx, building)
        touched = Touched(routers=(router,) if router else ())
        return Accepted(network, await sync(tx, network, touched, command=command, own=True))


async def _dismantle(tx: Tx, network: Network) -> UUID | None:
    """Take an isolated network's router and addresses away, when nothing but them is in it."""
    held = await tx.list(Port, network=network.id)
    networks.refuse_used(network, [port for port in held if port.use in plugs.CHARGED])
    for address in await tx.list(Address, network=network.id):
        await forget_address(tx, address)
    router = await tx.maybe(Router, network.router) if network.router else None
    if router is None:
        return None
    ports = await tx.list(Port, device=router.id)
    for port in ports:
        if port.network == network.id:
            await plugs.drop(tx, port)
    if any(port.use is PortUse.ROUTER_INTERFACE and port.network != network.id for port in ports):
        return router.id
    for port in ports:
        if port.use is PortUse.ROUTER_GATEWAY:
            await plugs.drop(tx, port)
    await tx.charge(router.project, "routers", -1)
    await tx.remove(router)
    return router.id


async def forget_address(tx: Tx, address: Address) -> None:
    """The rows of an address with its rules; a source NAT address keeps its holder, which is the router's gateway."""
    for forwarding in await tx.list(PortForwarding, address=address.id):
        await tx.remove(forwarding)
    for rule in await tx.list(FirewallRule, address=address.id):
        await tx.remove(rule)
    holder = await tx.maybe(Port, address.holder)
    if holder is not None and holder.use is PortUse.ADDRESS:
        await plugs.drop(tx, holder)
    await tx.charge(address.project, "addresses", -1)
    await tx.remove(address)
