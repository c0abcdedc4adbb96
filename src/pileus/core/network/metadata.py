"""The port by which a network's guests reach the metadata service; it follows the first subnet with DHCP."""

from uuid import UUID

from pileus.core.cloud import Look, Tx
from pileus.core.network import allocation, plugs
from pileus.core.network.changes import amend
from pileus.core.network.plugs import Fixed
from pileus.core.network.records import Network, Port, PortUse, Subnet


async def settle(tx: Tx, key: UUID) -> Network:
    """Make, move or remove the port, after the network's subnets have changed."""
    network = await tx.get(Network, key)
    subnet = await served(tx, key)
    port = await tx.maybe(Port, network.metadata_port) if network.metadata_port else None
    if port is not None:
        held = await plugs.addresses_of(tx, port.id)
        if subnet is not None and any(address.subnet == subnet.id for address in held):
            return network
        await plugs.drop(tx, port)
    made = None if subnet is None else await _make(tx, network, subnet)
    return await amend(tx, network, metadata_port=made)


async def _make(tx: Tx, network: Network, subnet: Subnet) -> UUID | None:
    """None where every address is in use: guests then have the config drive."""
    if not await allocation.has_free(tx, subnet):
        return None
    port, _ = await plugs.make(
        tx,
        network,
        project=network.project,
        fixed=(Fixed(subnet=subnet.id),),
        use=PortUse.METADATA,
        device=network.id,
        port_security=False,
    )
    return port.id


async def served(look: Look, network: UUID) -> Subnet | None:
    found = await look.list(
        Subnet, network=network, version=4, dhcp=True, order=("created_at", "id"), limit=1
    )
    return found[0] if found else None
