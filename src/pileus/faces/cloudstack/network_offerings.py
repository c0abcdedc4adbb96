"""Network offerings: a fixed table of the kinds of network that can be made, with the services that each really has."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

import msgspec

from pileus.core.cloud import Look
from pileus.core.network import visible
from pileus.core.network.records import Network, NetworkKind, Router, Subnet
from pileus.core.network.whole import routers_of
from pileus.faces.cloudstack.commands import Call, Listed, command
from pileus.faces.cloudstack.errors import invalid_id
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Listing, param
from pileus.faces.cloudstack.places import check_zone

NAMES = UUID("6f2ac3d2-6f0e-5a41-9f53-0c5a5d2c8f10")
"""Offerings have the same ids in every cloud."""
PROVIDER = "VirtualRouter"
ISOLATED, SHARED, L2 = "Isolated", "Shared", "L2"
INSIDE = ("Dhcp", "Dns", "UserData")
ROUTED = (*INSIDE, "SourceNat", "StaticNat", "PortForwarding", "Firewall")
CAPABILITIES: dict[str, dict[str, str]] = {
    "Dhcp": {"DhcpAccrossMultipleSubnets": "true"},
    "Dns": {"AllowDnsSuffixModification": "true"},
    "SourceNat": {"SupportedSourceNatTypes": "peraccount", "RedundantRouter": "false"},
    "Firewall": {
        "SupportedProtocols": "tcp,udp,icmp",
        "SupportedEgressProtocols": "tcp,udp,icmp,all",
        "SupportedTrafficDirection": "ingress, egress",
        "MultipleIps": "true",
        "TrafficStatistics": "none",
    },
}


class Offering(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    text: str
    type: str
    services: tuple[str, ...] = ()
    default: bool = True
    vlan: bool = False
    """Whether its networks may be on a VLAN of the physical network: for administrators."""
    ranges: bool = False
    """Whether the maker has to say the addresses."""
    egress_allowed: bool = True
    availability: str = "Optional"

    @property
    def id(self) -> UUID:
        return uuid5(NAMES, self.name)

    @property
    def routed(self) -> bool:
        return "SourceNat" in self.services


SOURCE_NAT = Offering(
    name="DefaultIsolatedNetworkOfferingWithSourceNatService",
    text="Isolated network with source NAT; all traffic may leave it",
    type=ISOLATED,
    services=ROUTED,
    availability="Required",
)
EGRESS_DENIED = Offering(
    name="IsolatedNetworkOfferingWithSourceNatServiceEgressDenied",
    text="Isolated network with source NAT; only what egress rules permit may leave it",
    type=ISOLATED,
    services=ROUTED,
    default=False,
    egress_allowed=False,
)
UNROUTED = Offering(
    name="DefaultIsolatedNetworkOffering",
    text="Isolated network without a way out",
    type=ISOLATED,
    services=INSIDE,
)
SHARED_GROUPS = Offering(
    name="DefaultSharedNetworkOfferingWithSGService",
    text="Shared network with security groups",
    type=SHARED,
    services=(*INSIDE, "SecurityGroup"),
    vlan=True,
    ranges=True,
)
SHARED_PLAIN = Offering(
    name="DefaultSharedNetworkOffering",
    text="Shared network without security groups",
    type=SHARED,
    services=INSIDE,
    vlan=True,
    ranges=True,
)
LAYER2 = Offering(name="DefaultL2NetworkOffering", text="Network of layer 2 without services", type=L2)
OFFERINGS = (SOURCE_NAT, EGRESS_DENIED, UNROUTED, SHARED_GROUPS, SHARED_PLAIN, LAYER2)
BY_ID = {offering.id: offering for offering in OFFERINGS}


def of(network: Network, routers: Sequence[Router], *, addressed: bool) -> Offering:
    """What a network is, whoever made it. `addressed`: it has a subnet."""
    if network.kind is NetworkKind.L2 or not addressed:
        return LAYER2
    if network.shared or network.external:
        return SHARED_GROUPS if network.port_security else SHARED_PLAIN
    ways_out = [router for router in routers if router.external is not None and router.snat]
    if not ways_out:
        return UNROUTED
    return EGRESS_DENIED if all(router.egress_default_deny for router in ways_out) else SOURCE_NAT


def services_shown(offering: Offering) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "provider": [{"name": "SecurityGroupProvider" if name == "SecurityGroup" else PROVIDER}],
            "capability": [
                {"name": key, "value": value, "canchooseservicecapability": False}
                for key, value in CAPABILITIES.get(name, {}).items()
            ],
        }
        for name in offering.services
    ]


def shown(offering: Offering) -> dict[str, Any]:
    """`serviceofferingid` is there for clients that read it of every offering: no machine serves a network here."""
    return {
        "id": offering.id,
        "name": offering.name,
        "displaytext": offering.text,
        "traffictype": "Guest",
        "isdefault": offering.default,
        "specifyvlan": offering.vlan,
        "conservemode": True,
        "specifyipranges": offering.ranges,
        "availability": offering.availability,
        "state": "Enabled",
        "guestiptype": offering.type,
        "serviceofferingid": "",
        "service": services_shown(offering),
        "forvpc": False,
        "fornsx": False,
        "fortungsten": False,
        "ispersistent": False,
        "egressdefaultpolicy": offering.egress_allowed,
        "supportsstrechedl2subnet": False,
        "supportspublicaccess": False,
        "supportsinternallb": False,
        "internetprotocol": "ipv4",
        "specifyasnumber": False,
    }


class ListNetworkOfferings(Listing):
    id: UUID | None = param("id", "list by id", default=None)
    name: str = param("name", "list by name", default="")
    text: str = param("displaytext", "list by text", default="")
    traffic: str = param("traffictype", "list by type of traffic; all are Guest", default="")
    default: bool | None = param("isdefault", "list default offerings, or others", default=None)
    vlan: bool | None = param("specifyvlan", "list by whether a VLAN can be said", default=None)
    availability: str = param("availability", "list by availability: Required or Optional", default="")
    zone: UUID | None = param("zoneid", "list those of a zone; every zone has all of them", default=None)
    state: str = param("state", "list by state; all are Enabled", default="")
    network: UUID | None = param("networkid", "list those that this network can have", default=None)
    type: str = param("guestiptype", "list by type: Isolated, Shared or L2", default="")
    services: tuple[str, ...] = param(
        "supportedservices", "list those that have all these services", default=()
    )
    source_nat: bool | None = param("sourcenatsupported", "list by whether there is source NAT", default=None)
    ranges: bool | None = param("specifyipranges", "list by whether addresses have to be said", default=None)
    vpc: bool | None = param("forvpc", "list by whether they are for VPCs; none is", default=None)
    tagged: bool | None = param("istagged", "list by whether they have tags; none has", default=None)


@command("listNetworkOfferings", params=ListNetworkOfferings, ignored=("domainid", "routingmode"))
async def listing(call: Call, params: ListNetworkOfferings) -> Listed[Any]:
    """Lists network offerings."""
    skip, limit = window(params)
    if params.id is not None and params.id not in BY_ID:
        raise invalid_id(call.name, "id", str(params.id))
    found = [offering for offering in OFFERINGS if fits(params, offering)]
    async with call.cloud.view() as look:
        await check_zone(look, params.zone)
        if params.network is not None:
            own = await of_network(call, look, params.network)
            found = [offering for offering in found if offering is own]
    return Listed([shown(offering) for offering in found[skip : skip + limit]], len(found))


async def of_network(call: Call, look: Look, key: UUID) -> Offering:
    network = await visible.network(look, call.caller, key)
    addressed = await look.count(Subnet, network=key) > 0
    return of(network, (await routers_of(look, [key]))[key], addressed=addressed)


def fits(params: ListNetworkOfferings, offering: Offering) -> bool:
    wanted: Sequence[tuple[Any, Any]] = (
        (params.id, offering.id),
        (params.name.lower() or None, offering.name.lower()),
        (params.text.lower() or None, offering.text.lower()),
        (params.traffic.lower() or None, "guest"),
        (params.default, offering.default),
        (params.vlan, offering.vlan),
        (params.availability.lower() or None, offering.availability.lower()),
        (params.state.lower() or None, "enabled"),
        (params.type.lower() or None, offering.type.lower()),
        (params.source_nat, offering.routed),
        (params.ranges, offering.ranges),
        (params.vpc, False),
        (params.tagged, False),
    )
    has = {name.lower() for name in offering.services}
    return (
        all(value is None or value == real for value, real in wanted)
        and {name.lower() for name in params.services} <= has
        and params.keyword.lower() in f"{offering.name} {offering.text}".lower()
    )
