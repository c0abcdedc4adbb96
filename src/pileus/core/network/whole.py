"""Networks with all that belongs to them, made and changed in one transaction."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.network import isolated, networks, subnets, visible
from pileus.core.network.isolated import IsolatedWant
from pileus.core.network.networks import NetworkChange, NetworkWant
from pileus.core.network.records import Network, Port, PortUse, Router, Subnet
from pileus.core.network.subnets import Pools, SubnetChange, SubnetWant
from pileus.core.network.sync import Touched, sync
from pileus.core.operations import Accepted
from pileus.core.together import together

ROUTED = frozenset({PortUse.ROUTER_INTERFACE, PortUse.ROUTER_GATEWAY})


class Inside(msgspec.Struct, frozen=True, kw_only=True):
    """What a network's only subnet shall be. `gateway` None: no way out of it; `pools` None: all but the gateway."""

    cidr: str
    gateway: str | None = None
    pools: Pools | None = None
    dns_servers: tuple[str, ...] = ()


async def create(cloud: Cloud, caller: Caller, want: NetworkWant, inside: Inside | None = None) -> Network:
    """A network and, unless it is of layer 2 only, its subnet."""
    async with together(cloud, caller) as joined:
        network, _ = await networks.create(joined, caller, want)
        if inside is not None:
            subnet = SubnetWant(
                network=network.id,
                name=want.name,
                cidr=inside.cidr,
                gateway=inside.gateway,
                pools=inside.pools,
                dns_servers=inside.dns_servers,
            )
            await subnets.create(joined, caller, subnet)
        return await joined.tx.get(Network, network.id)


async def create_isolated(
    cloud: Cloud, caller: Caller, want: IsolatedWant, *, pools: Pools | None = None, command: str = ""
) -> Accepted:
    """An isolated network that the firewall of its router guards, not security groups."""
    async with together(cloud, caller) as joined:
        made = await isolated.create(joined, caller, want, command=command)
        network: Network = made.resource
        await networks.update(joined, caller, network.id, NetworkChange(port_security=False))
        if pools is not None:
            (subnet,) = await joined.tx.list(Subnet, network=network.id)
            await subnets.update(joined, caller, subnet.id, SubnetChange(pools=pools))
        return Accepted(await joined.tx.get(Network, network.id), made.operation)


async def update(
    cloud: Cloud,
    caller: Caller,
    key: UUID,
    change: NetworkChange,
    *,
    dns_servers: tuple[str, ...] | None = None,
) -> Network:
    """Change the network, and the resolvers that its IPv4 subnets tell."""
    async with together(cloud, caller) as joined:
        network, _ = await networks.update(joined, caller, key, change)
        if dns_servers is not None:
            for subnet in await joined.tx.list(Subnet, network=network.id, version=4):
                await subnets.update(joined, caller, subnet.id, SubnetChange(dns_servers=dns_servers))
        return await joined.tx.get(Network, network.id)


async def restart(cloud: Cloud, caller: Caller, key: UUID, *, command: str = "") -> Accepted:
    """Apply the network, its routers and its servers' ports to the platform again."""
    async with cloud.transaction(caller) as tx:
        network = await visible.owned_network(tx, caller, key, "network.update")
        ports = await tx.list(Port, network=network.id, order=("id",))
        touched = Touched(
            routers=tuple(sorted({port.device for port in ports if port.use in ROUTED and port.device})),
            ports=tuple(port.id for port in ports if port.use is PortUse.SERVER),
        )
        return Accepted(network, await sync(tx, network, touched, command=command, own=True))


async def routers_of(look: Look, keys: Sequence[UUID]) -> dict[UUID, list[Router]]:
    """By network, the routers that stand in it."""
    ports = await look.list(
        Port, network=tuple(keys), use=PortUse.ROUTER_INTERFACE, order=("created_at", "id")
    )
    wanted = tuple({port.device for port in ports if port.device})
    known = {router.id: router for router in await look.list(Router, id=wanted)} if wanted else {}
    found: dict[UUID, list[Router]] = {key: [] for key in keys}
    for port in ports:
        if port.device in known and known[port.device] not in found[port.network]:
            found[port.network].append(known[port.device])
    return found
