"""How a server's interfaces are shown, for servers and for listNics."""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any
from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.network.records import Address, FixedAddress, Network, NetworkKind, Port, PortUse, Subnet


async def nics_of(look: Look, servers: Sequence[UUID]) -> dict[UUID, list[dict[str, Any]]]:
    """By server, the default interface first."""
    ports = await look.list(
        Port, device=tuple(servers), use=PortUse.SERVER, order=("position", "created_at", "id")
    )
    found: dict[UUID, list[dict[str, Any]]] = {server: [] for server in servers}
    default: set[UUID] = set()
    for port, seen in zip(ports, await nics_shown(look, ports), strict=True):
        if port.device is not None:
            found[port.device].append(seen | {"isdefault": port.device not in default})
            default.add(port.device)
    return found


async def nics_shown(look: Look, ports: Sequence[Port]) -> list[dict[str, Any]]:
    keys = tuple(port.id for port in ports)
    if not keys:
        return []
    held = await look.list(FixedAddress, port=keys)
    fixed: dict[UUID, list[FixedAddress]] = {}
    for one in held:
        fixed.setdefault(one.port, []).append(one)
    networks = {
        held.id: held for held in await look.list(Network, id=tuple({port.network for port in ports}))
    }
    subnets = {held.id: held for held in await look.list(Subnet, id=tuple({one.subnet for one in held}))}
    public = {held.port: held for held in await look.list(Address, port=keys)}
    return [
        nic(port, networks[port.network], fixed.get(port.id, ()), subnets) | outside(public.get(port.id))
        for port in ports
    ]


def outside(address: Address | None) -> dict[str, Any]:
    return {"publicipid": address.id, "publicip": address.address} if address else {}


def nic(
    port: Port, network: Network, fixed: Sequence[FixedAddress], subnets: dict[UUID, Subnet]
) -> dict[str, Any]:
    seen: dict[str, Any] = {
        "id": port.id,
        "networkid": network.id,
        "networkname": network.name,
        "macaddress": port.mac,
        "traffictype": "Guest",
        "type": guest_type(network),
        "isdefault": port.position == 0,
        "deviceid": str(port.position),
        "virtualmachineid": port.device,
        "mtu": network.mtu,
        "secondaryip": [],
    }
    for held in fixed:
        subnet = subnets[held.subnet]
        if subnet.version == 6:
            seen |= {"ip6address": held.address, "ip6cidr": subnet.cidr, "ip6gateway": subnet.gateway}
        elif "ipaddress" in seen:
            seen["secondaryip"].append({"id": port.id, "ipaddress": held.address})
        else:
            netmask = str(ip_network(subnet.cidr).netmask)
            seen |= {"ipaddress": held.address, "netmask": netmask, "gateway": subnet.gateway}
    return seen


def guest_type(network: Network) -> str:
    """Isolated, Shared or L2."""
    if network.kind is NetworkKind.L2:
        return "L2"
    return "Shared" if network.shared or network.external else "Isolated"
