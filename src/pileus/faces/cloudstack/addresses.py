"""Public addresses: acquired, put before a virtual machine (static NAT), and released."""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from itertools import islice
from typing import Any
from uuid import UUID, uuid5

import msgspec

from pileus.core.cloud import Look
from pileus.core.compute.records import Server
from pileus.core.errors import Conflict, Invalid, NotFound
from pileus.core.listing import owned
from pileus.core.network import addresses, allocation, visible
from pileus.core.network.records import (
    Address,
    FirewallRule,
    FixedAddress,
    Network,
    Port,
    PortForwarding,
    PortUse,
    Subnet,
)
from pileus.core.network.whole import routers_of
from pileus.core.operations import Accepted
from pileus.faces.cloudstack import owners
from pileus.faces.cloudstack.commands import Call, Listed, command, view
from pileus.faces.cloudstack.conflicts import conflicts
from pileus.faces.cloudstack.errors import missing
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Params, Placed, TaggedListing, param
from pileus.faces.cloudstack.places import NOWHERE, Zones, check_zone, zones
from pileus.faces.cloudstack.server_view import by_id
from pileus.faces.cloudstack.targets import Target, target
from pileus.faces.cloudstack.waiting import settled
from pileus.store import Condition, any_of, eq, like, literal, ne


class Associate(Placed):
    network: UUID | None = param("networkid", "the network that it is for", default=None)
    zone: UUID | None = param("zoneid", "instead of networkid: the zone", default=None)
    address: str = param("ipaddress", "this very address", default="")


class ListAddresses(TaggedListing):
    id: UUID | None = param("id", "list by id", default=None)
    address: str = param("ipaddress", "list by address", default="")
    allocated: bool = param("allocatedonly", "false: also those that nobody has", default=True)
    state: str = param("state", "list by state: Allocated or Free", default="")
    virtual: bool = param("forvirtualnetwork", "list those for guest networks: all are", default=True)
    range: UUID | None = param("vlanid", "list those of a range", default=None)
    zone: UUID | None = param("zoneid", "list those in a zone", default=None)
    physical: UUID | None = param("physicalnetworkid", "list those on a physical network", default=None)
    guest: UUID | None = param("associatednetworkid", "list those for a guest network", default=None)
    external: UUID | None = param("networkid", "list those of a public network", default=None)
    source_nat: bool | None = param(
        "issourcenat", "list by whether it is a network's source NAT", default=None
    )
    static_nat: bool | None = param("isstaticnat", "list by whether it stands for a machine", default=None)
    balancing: bool | None = param("forloadbalancing", "list those that balance load", default=None)
    vpc: UUID | None = param("vpcid", "list those of a VPC; there are none", default=None)
    count_only: bool = param("retrieveonlyresourcecount", "tell only how many there are", default=False)


class Disassociate(Params):
    id: UUID | None = param("id", "the address's id", default=None)
    address: str = param("ipaddress", "instead of id: the address", default="")


class EnableStaticNat(Params):
    address: UUID = param("ipaddressid", "the address")
    server: UUID = param("virtualmachineid", "the virtual machine")
    network: UUID | None = param("networkid", "the network of its interface that is meant", default=None)
    inside: str = param("vmguestip", "the interface's address that is meant", default="")


class DisableStaticNat(Params):
    address: UUID = param("ipaddressid", "the address")


@view(Address, "ipaddress", "IpAddress")
async def shown(call: Call, look: Look, found: Sequence[Address]) -> list[dict[str, Any]]:
    keys = tuple(address.id for address in found)
    ports = await by_id(look, Port, (address.port for address in found))
    servers = await by_id(
        look, Server, (port.device for port in ports.values() if port.use is PortUse.SERVER)
    )
    inner = [address.network for address in found] + [port.network for port in ports.values()]
    networks = await by_id(look, Network, [*inner, *(address.external for address in found)])
    holders = await owners.shown(look, (address.project for address in found))
    ruled = {rule.address for rule in await look.list(FirewallRule, address=keys)}
    ruled |= {rule.address for rule in await look.list(PortForwarding, address=keys)}
    places = await zones(look)
    return [
        allocated(address)
        | outside(networks.get(address.external), places)
        | inside(address, ports.get(address.port) if address.port else None, networks, servers)
        | {"hasrules": address.id in ruled}
        | holders.get(address.project, {})
        for address in found
    ]


def allocated(address: Address) -> dict[str, Any]:
    return {
        "id": address.id,
        "ipaddress": address.address,
        "allocated": address.created_at,
        "state": "Allocated",
        "issourcenat": address.source_nat,
        "isstaticnat": address.port is not None,
        "vlanid": address.subnet,
        "networkid": address.external,
        **COMMON,
    }


COMMON: dict[str, Any] = {
    "forvirtualnetwork": True,
    "issystem": False,
    "isportable": False,
    "fordisplay": True,
    "forsystemvms": False,
    "tags": [],
}


def outside(external: Network | None, places: Zones) -> dict[str, Any]:
    if external is None:
        return places.shown(None)
    return places.shown(external.zone) | {
        "networkname": external.name,
        "vlanname": f"vlan://{external.vlan or 'untagged'}",
        "physicalnetworkid": places.physical(external.zone),
    }


def inside(
    address: Address, port: Port | None, networks: dict[UUID, Network], servers: dict[UUID, Server]
) -> dict[str, Any]:
    """The network that it is for, and the machine that it stands for."""
    network = networks.get(address.network or (port.network if port else NOWHERE))
    seen: dict[str, Any] = {}
    if network is not None:
        seen = {"associatednetworkid": network.id, "associatednetworkname": network.name}
    if port is None:
        return seen
    seen["vmipaddress"] = address.fixed
    server = servers.get(port.device) if port.device else None
    if server is not None:
        seen |= {
            "virtualmachineid": server.id,
            "virtualmachinename": server.hostname,
            "virtualmachinedisplayname": server.name,
            "virtualmachinetype": "User",
        }
    return seen


@command("listPublicIpAddresses", params=ListAddresses, ignored=("forsystemvms", "forprovider"))
async def listing(call: Call, params: ListAddresses) -> Listed[Any]:
    """Lists public addresses."""
    skip, limit = window(params)
    async with call.cloud.view() as look:
        await check_zone(look, params.zone)
        if params.id is not None:
            await call.caller.find(look.rows, Address, params.id, "address.read")
        scope = await owners.scope(call, look, params)
        where = await conditions(look, params)
        if where is None:
            return Listed([], 0)
        if params.state.lower() == "free":
            return await free(call, look, params, skip, limit, before=0)
        found = await owned(
            look,
            call.caller,
            Address,
            *where,
            *scope.where,
            projects=scope.projects,
            order=("created_at", "id"),
            skip=skip,
            limit=limit,
        )
        seen: Sequence[Any] = await shown(call, look, found.items)
        total = found.total
        if wants_free(params):
            left = limit - len(seen)
            more = await free(call, look, params, max(0, skip - total), left, before=total)
            seen, total = [*seen, *more.items], more.total
    return Listed([] if params.count_only else seen, total)


def wants_free(params: ListAddresses) -> bool:
    named = params.id or params.guest or params.source_nat or params.static_nat
    return not params.allocated and not named and params.state.lower() != "allocated"


async def conditions(look: Look, params: ListAddresses) -> list[Condition] | None:
    """None when nothing can match."""
    where: list[Condition] = []
    known = params.state.lower() in ("", "allocated", "free")
    if params.tags or params.balancing or params.vpc or not params.virtual or not known:
        return None
    if params.zone or params.physical:
        where.append(eq("external", tuple(held.id for held in await externals(look, params)) or (NOWHERE,)))
    if params.id is not None:
        where.append(eq("id", params.id))
    if params.address:
        where.append(eq("address", params.address))
    if params.keyword:
        where.append(like("address", f"%{literal(params.keyword)}%"))
    if params.range is not None:
        where.append(eq("subnet", params.range))
    if params.external is not None:
        where.append(eq("external", params.external))
    if params.source_nat is not None:
        where.append(eq("source_nat", params.source_nat))
    if params.static_nat is not None:
        where.append(ne("port", None) if params.static_nat else eq("port", None))
    if params.guest is not None:
        ports = tuple(port.id for port in await look.list(Port, network=params.guest))
        where.append(any_of(eq("network", params.guest), eq("port", ports or (NOWHERE,))))
    return where


async def externals(look: Look, params: ListAddresses) -> list[Network]:
    """The public networks that are asked for."""
    places = await zones(look)
    equals = {"id": params.external} if params.external else {}
    found = await look.list(
        Network,
        *([places.within(params.zone)] if params.zone else []),
        external=True,
        order=("created_at", "id"),
        **equals,
    )
    return [each for each in found if params.physical in (None, places.physical(each.zone))]


class Range(msgspec.Struct, frozen=True):
    network: Network
    subnet: Subnet
    used: frozenset[str]


async def free(
    call: Call, look: Look, params: ListAddresses, skip: int, limit: int, *, before: int
) -> Listed[Any]:
    """Addresses that nobody has; `before` are counted already."""
    ranges, total = [], before
    for network in await externals(look, params):
        for subnet in await look.list(Subnet, network=network.id, version=4, order=("created_at", "id")):
            if params.range not in (None, subnet.id):
                continue
            used = frozenset(held.address for held in await look.list(FixedAddress, subnet=subnet.id))
            ranges.append(Range(network, subnet, used))
    texts = matching(ranges, params)
    if params.address or params.keyword:
        kept = list(texts)
        return Listed(await as_free(look, kept[skip : skip + limit]), total + len(kept))
    total += sum(room(one) for one in ranges)
    return Listed(await as_free(look, list(islice(texts, skip, skip + limit))), total)


def room(one: Range) -> int:
    """How many are left: those in use are few beside those that there are."""
    inside = [int(ip_address(text)) for text in one.used]
    return sum(
        last - first + 1 - sum(first <= number <= last for number in inside)
        for first, last in allocation.ranges(one.subnet)
    )


def matching(ranges: Sequence[Range], params: ListAddresses) -> Iterator[tuple[Range, str]]:
    for one in ranges:
        for first, last in allocation.ranges(one.subnet):
            for number in range(first, last + 1):
                text = str(ip_address(number))
                if text not in one.used and params.address in ("", text) and params.keyword in text:
                    yield one, text


async def as_free(look: Look, found: Sequence[tuple[Range, str]]) -> list[dict[str, Any]]:
    places = await zones(look)
    return [
        {
            "id": uuid5(one.subnet.id, text),
            "ipaddress": text,
            "state": "Free",
            "issourcenat": False,
            "isstaticnat": False,
            "vlanid": one.subnet.id,
            "networkid": one.network.id,
            **COMMON,
            **outside(one.network, places),
        }
        for one, text in found
    ]


@command("associateIpAddress", params=Associate)
async def associate(call: Call, params: Associate) -> Accepted:
    """Acquires a public address. Nothing enters by it until there is a firewall rule."""
    caller = await owners.acting(call, params)
    if params.network is None and params.zone is None:
        raise missing(call.name, "networkid")
    async with call.cloud.view() as look:
        await check_zone(look, params.zone)
        network, external = await way_out(call, look, params)
    with conflicts():
        return await addresses.acquire(
            call.cloud,
            caller,
            network=network,
            external=external,
            wanted=params.address or None,
            project=None if network else caller.home,
            command=call.name,
        )


async def way_out(call: Call, look: Look, params: Associate) -> tuple[UUID | None, UUID | None]:
    """The isolated network, or the public one that another network's router leads to."""
    if params.network is None:
        chosen = await look.list(Network, external=True, order=("-default", "created_at"))
        if not chosen:
            raise Conflict("There is no public network; an administrator has to make one.")
        return None, chosen[0].id
    network = await visible.owned_network(look, call.caller, params.network, "address.create")
    if network.router is not None:
        return network.id, None
    for router in (await routers_of(look, [network.id]))[network.id]:
        if router.external is not None:
            return None, router.external
    raise Invalid(
        f"Network {network.name or network.id} has no router that leads out, so an address cannot serve it."
    )


@command("disassociateIpAddress", params=Disassociate, ignored=("accountid",))
async def disassociate(call: Call, params: Disassociate) -> Accepted:
    """Releases a public address with its rules. A network's source NAT goes with the network only."""
    key = params.id
    if key is None:
        if not params.address:
            raise missing(call.name, "id")
        async with call.cloud.view() as look:
            found = await look.list(Address, address=params.address)
        mine = [address.id for address in found if call.caller.sees(address.project)]
        if not mine:
            raise NotFound("Address", params.address)
        key = mine[0]
    return await addresses.release(call.cloud, call.caller, key, command=call.name)


@command("enableStaticNat", params=EnableStaticNat)
async def enable(call: Call, params: EnableStaticNat) -> None:
    """Puts a public address before a virtual machine."""
    want = Target(
        address=params.address, server=params.server, network=params.network, inside=params.inside or None
    )
    found = await target(call, want)
    with conflicts():
        accepted = await addresses.enable_static_nat(
            call.cloud, call.caller, params.address, found.port, fixed=found.inside, command=call.name
        )
    await settled(call, accepted)


@command("disableStaticNat", params=DisableStaticNat)
async def disable(call: Call, params: DisableStaticNat) -> Accepted:
    """Takes a public address away from before its virtual machine."""
    held = await addresses.show(call.cloud, call.caller, params.address)
    if held.port is None:
        raise Invalid(
            f"Address {held.address} stands for no virtual machine, so there is no static NAT to end."
        )
    return await addresses.disable_static_nat(call.cloud, call.caller, params.address, command=call.name)
