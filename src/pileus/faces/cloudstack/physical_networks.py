"""The physical side of networks, to be read: one physical network a zone, its traffic, and the public ranges."""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid5

from pileus.core.cloud import Look
from pileus.core.compute.records import Zone
from pileus.core.network.records import Network, Subnet
from pileus.faces.cloudstack import owners
from pileus.faces.cloudstack.commands import Call, Listed, command
from pileus.faces.cloudstack.errors import invalid_id
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Listing, param
from pileus.faces.cloudstack.places import Zones, check_zone, physical_id, zones
from pileus.store import any_of, eq

TRAFFIC = ("Guest", "Management", "Public")


class ListPhysicalNetworks(Listing):
    id: UUID | None = param("id", "list by id", default=None)
    zone: UUID | None = param("zoneid", "list those of a zone", default=None)
    name: str = param("name", "list by name", default="")


class ListTrafficTypes(Listing):
    physical: UUID = param("physicalnetworkid", "the physical network")


class ListRanges(Listing):
    id: UUID | None = param("id", "list by id", default=None)
    zone: UUID | None = param("zoneid", "list those of a zone", default=None)
    network: UUID | None = param("networkid", "list those of a network", default=None)
    physical: UUID | None = param("physicalnetworkid", "list those on a physical network", default=None)
    public: bool | None = param(
        "forvirtualnetwork", "true: ranges of public networks; false: of shared ones", default=None
    )
    vlan: str = param("vlan", "list by VLAN", default="")


def physical_name(zone: Zone) -> str:
    return f"physical network of {zone.name}"


@command("listPhysicalNetworks", params=ListPhysicalNetworks)
async def listing(call: Call, params: ListPhysicalNetworks) -> Listed[Any]:
    """Lists physical networks: every zone has one, on which guest networks are tunnelled."""
    skip, limit = window(params)
    async with call.cloud.view() as look:
        await check_zone(look, params.zone)
        every = (await zones(look)).by_id.values()
    if params.id is not None and params.id not in {physical_id(zone.id) for zone in every}:
        raise invalid_id(call.name, "id", str(params.id))
    found = [
        {
            "id": physical_id(zone.id),
            "name": physical_name(zone),
            "zoneid": zone.id,
            "zonename": zone.name,
            "state": "Enabled",
            "broadcastdomainrange": "ZONE",
            "isolationmethods": "GENEVE",
        }
        for zone in every
        if params.id in (None, physical_id(zone.id))
        and params.zone in (None, zone.id)
        and params.name in ("", physical_name(zone))
        and params.keyword.lower() in physical_name(zone).lower()
    ]
    return Listed(found[skip : skip + limit], len(found))


@command("listTrafficTypes", params=ListTrafficTypes)
async def traffic(call: Call, params: ListTrafficTypes) -> Listed[Any]:
    """Lists the types of traffic on a physical network."""
    skip, limit = window(params)
    async with call.cloud.view() as look:
        if params.physical not in {physical_id(zone) for zone in (await zones(look)).by_id}:
            raise invalid_id(call.name, "physicalnetworkid", str(params.physical))
    config = call.cloud.config
    bridges = {"Guest": config.integration_bridge, "Public": config.external_bridge}
    found = [
        {
            "id": uuid5(params.physical, kind),
            "traffictype": kind,
            "physicalnetworkid": params.physical,
            "kvmnetworklabel": bridges.get(kind),
        }
        for kind in TRAFFIC
        if params.keyword.lower() in kind.lower()
    ]
    return Listed(found[skip : skip + limit], len(found))


@command("listVlanIpRanges", params=ListRanges)
async def ranges(call: Call, params: ListRanges) -> Listed[Any]:
    """Lists the ranges of addresses of public and shared networks."""
    skip, limit = window(params)
    async with call.cloud.view() as look:
        await check_zone(look, params.zone)
        places = await zones(look)
        open_to_all = any_of(eq("external", True), eq("shared", True))
        equals: dict[str, Any] = {"id": params.network} if params.network else {}
        equals |= {"external": params.public} if params.public is not None else {}
        inside = [places.within(params.zone)] if params.zone else []
        networks = await look.list(Network, open_to_all, *inside, order=("created_at", "id"), **equals)
        if params.vlan:
            networks = [
                each for each in networks if vlan(each) == params.vlan.lower().removeprefix("vlan://")
            ]
        if params.physical is not None:
            networks = [each for each in networks if places.physical(each.zone) == params.physical]
        made = await of_networks(look, networks, places)
    found = [one for one in made if params.id in (None, one["id"])]
    return Listed(found[skip : skip + limit], len(found))


def vlan(network: Network) -> str:
    return str(network.vlan) if network.vlan else "untagged"


async def of_networks(look: Look, networks: Sequence[Network], places: Zones) -> list[dict[str, Any]]:
    """One for each stretch of addresses; the first of a subnet has the subnet's id, as addresses refer to it."""
    holders = await owners.shown(look, (network.project for network in networks))
    by_id = {network.id: network for network in networks}
    found: list[dict[str, Any]] = []
    for subnet in await look.list(Subnet, network=tuple(by_id), order=("created_at", "id")):
        network = by_id[subnet.network]
        for number, (first, last) in enumerate(subnet.pools):
            found.append(
                {
                    "id": uuid5(subnet.id, first) if number else subnet.id,
                    "zoneid": places.shown(network.zone).get("zoneid"),
                    "physicalnetworkid": places.physical(network.zone),
                    "networkid": network.id,
                    "vlan": f"vlan://{vlan(network)}",
                    "forvirtualnetwork": network.external,
                    "forsystemvms": False,
                    **span(subnet, first, last),
                    **holders.get(network.project, {}),
                }
            )
    return found


def span(subnet: Subnet, first: str, last: str) -> dict[str, Any]:
    if subnet.version == 6:
        return {"ip6cidr": subnet.cidr, "ip6gateway": subnet.gateway, "startipv6": first, "endipv6": last}
    return {
        "cidr": subnet.cidr,
        "netmask": str(ip_network(subnet.cidr).netmask),
        "gateway": subnet.gateway,
        "startip": first,
        "endip": last,
    }
