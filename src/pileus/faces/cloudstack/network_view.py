"""How networks are shown, with the offering that says what each is, whoever made it."""

from collections.abc import Mapping, Sequence
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import msgspec

from pileus.core.cloud import Look
from pileus.core.network.records import NetState, Network, Router, Subnet
from pileus.core.network.whole import routers_of
from pileus.faces.cloudstack import network_offerings, owners
from pileus.faces.cloudstack.commands import Call, view
from pileus.faces.cloudstack.network_offerings import Offering, services_shown
from pileus.faces.cloudstack.places import Zones, zones

STATE: Mapping[NetState, str] = {
    NetState.BUILDING: "Implementing",
    NetState.ACTIVE: "Implemented",
    NetState.ERROR: "Shutdown",
    NetState.DELETING: "Destroy",
}


class Seen(msgspec.Struct, frozen=True):
    """A network with what tells what it is."""

    network: Network
    subnets: Sequence[Subnet]
    routers: Sequence[Router]

    @property
    def offering(self) -> Offering:
        return network_offerings.of(self.network, self.routers, addressed=bool(self.subnets))


async def around(look: Look, found: Sequence[Network]) -> list[Seen]:
    keys = tuple(network.id for network in found)
    routers = await routers_of(look, keys)
    inside: dict[UUID, list[Subnet]] = {key: [] for key in keys}
    for subnet in await look.list(Subnet, network=keys, order=("created_at", "id")):
        inside[subnet.network].append(subnet)
    return [Seen(network, inside[network.id], routers[network.id]) for network in found]


@view(Network, "network", "Network")
async def shown(call: Call, look: Look, found: Sequence[Network]) -> list[dict[str, Any]]:
    holders = await owners.shown(look, (network.project for network in found))
    places = await zones(look)
    resolvers = call.cloud.config.dns_servers
    return [
        one(seen)
        | service(seen.offering)
        | placed(seen.network, places, admin=call.admin)
        | addressing(seen.subnets, resolvers)
        | holders.get(seen.network.project, {})
        for seen in await around(look, found)
    ]


def one(seen: Seen) -> dict[str, Any]:
    network = seen.network
    return {
        "id": network.id,
        "name": network.name or str(network.id),
        "displaytext": network.description or network.name,
        "state": STATE[network.state],
        "traffictype": "Public" if network.external else "Guest",
        "issystem": network.external,
        "related": network.id,
        "acltype": access_of(network),
        "subdomainaccess": network.shared,
        "isdefault": network.default,
        "networkdomain": network.dns_domain or None,
        "restartrequired": network.state is NetState.ERROR,
        "canusefordeploy": usable(network),
        "ispersistent": False,
        "strechedl2subnet": False,
        "redundantrouter": False,
        "supportsvmautoscaling": False,
        "displaynetwork": True,
        "privatemtu": network.mtu,
        "created": network.created_at,
        "tags": [],
    }


def access_of(network: Network) -> str:
    return "Domain" if network.shared or network.external else "Account"


def usable(network: Network) -> bool:
    return network.enabled and not network.external and network.state is not NetState.DELETING


def service(offering: Offering) -> dict[str, Any]:
    return {
        "type": offering.type,
        "networkofferingid": offering.id,
        "networkofferingname": offering.name,
        "networkofferingdisplaytext": offering.text,
        "networkofferingconservemode": True,
        "networkofferingavailability": offering.availability,
        "specifyvlan": offering.vlan,
        "specifyipranges": offering.ranges,
        "service": services_shown(offering),
        "egressdefaultpolicy": offering.egress_allowed if offering.routed else None,
        "internetprotocol": "ipv4",
    }


def placed(network: Network, places: Zones, *, admin: bool) -> dict[str, Any]:
    """The VLAN is for administrators; what is on none is a logical switch."""
    kind = "Lswitch" if not network.physical else "Vlan" if network.vlan else "Native"
    seen = places.shown(network.zone) | {"broadcastdomaintype": kind}
    seen["physicalnetworkid"] = places.physical(network.zone)
    if admin and network.physical:
        vlan = str(network.vlan) if network.vlan else "untagged"
        seen |= {"vlan": vlan, "broadcasturi": f"vlan://{vlan}"}
    return seen


def addressing(subnets: Sequence[Subnet], resolvers: tuple[str, ...]) -> dict[str, Any]:
    """Of the first subnet of each IP version."""
    seen: dict[str, Any] = {}
    for subnet in reversed(subnets):
        if subnet.version == 6:
            seen |= {"ip6cidr": subnet.cidr, "ip6gateway": subnet.gateway}
            continue
        dns = (*(subnet.dns_servers or resolvers), None, None)
        seen |= {
            "cidr": subnet.cidr,
            "netmask": str(ip_network(subnet.cidr).netmask),
            "gateway": subnet.gateway,
            "dns1": dns[0],
            "dns2": dns[1],
        }
    return seen
