"""Guest networks: isolated ones with their router, shared ones, and those of layer 2 only."""

from collections.abc import Sequence
from ipaddress import IPv4Network, ip_address
from typing import Any
from uuid import UUID

from pileus.core.errors import Forbidden, Invalid
from pileus.core.identity.tenancy import domain_tree
from pileus.core.listing import page
from pileus.core.network import removal, visible, whole
from pileus.core.network.isolated import IsolatedWant
from pileus.core.network.networks import NetworkChange, NetworkWant
from pileus.core.network.records import NetState, Network, NetworkKind
from pileus.core.network.subnets import Pools
from pileus.core.network.whole import Inside
from pileus.core.operations import Accepted
from pileus.faces.cloudstack import network_offerings, owners
from pileus.faces.cloudstack.commands import Call, Done, Listed, command
from pileus.faces.cloudstack.conflicts import conflicts
from pileus.faces.cloudstack.errors import invalid, invalid_id, missing
from pileus.faces.cloudstack.network_offerings import BY_ID, L2, SHARED, Offering
from pileus.faces.cloudstack.network_view import Seen, access_of, around, usable
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Params, Placed, TaggedListing, param
from pileus.faces.cloudstack.places import Zones, check_zone, zones
from pileus.faces.cloudstack.waiting import settled
from pileus.store import Condition, any_of, eq, like, literal

ORDER = ("created_at", "id")
PHYSICAL = "external"
"""The physical network on which VLANs are."""


class CreateNetwork(Placed):
    name: str = param("name", "the name")
    description: str = param("displaytext", "what is shown of it", default="", length=4096)
    offering: UUID = param("networkofferingid", "the network offering")
    zone: UUID = param("zoneid", "the zone")
    physical: UUID | None = param("physicalnetworkid", "the zone's physical network", default=None)
    gateway: str = param("gateway", "address of the gateway", default="")
    netmask: str = param("netmask", "netmask of its addresses", default="")
    first: str = param("startip", "first address that machines get", default="")
    last: str = param("endip", "last address that machines get; the first one when left out", default="")
    domain_name: str = param("networkdomain", "DNS domain of its machines", default="")
    dns1: str = param("dns1", "first resolver", default="")
    dns2: str = param("dns2", "second resolver", default="")
    access: str = param("acltype", "who may use it: account, or domain for shared ones", default="")
    vlan: str = param("vlan", "VLAN of a shared network", default="")


class ListNetworks(TaggedListing):
    id: UUID | None = param("id", "list by id", default=None)
    name: str = param("name", "list by name", default="")
    zone: UUID | None = param("zoneid", "list those in a zone", default=None)
    type: str = param("type", "list by type: Isolated, Shared or L2", default="")
    system: bool | None = param("issystem", "list the system's networks, or others", default=None)
    access: str = param("acltype", "list by who may use it: account or domain", default="")
    traffic: str = param("traffictype", "list by type of traffic: Guest or Public", default="")
    physical: UUID | None = param("physicalnetworkid", "list those on a physical network", default=None)
    services: tuple[str, ...] = param(
        "supportedservices", "list those that have all these services", default=()
    )
    restart: bool | None = param("restartrequired", "list by whether a restart is needed", default=None)
    ranges: bool | None = param("specifyipranges", "list by whether addresses had to be said", default=None)
    vpc_network: bool | None = param("forvpc", "list by whether they are of VPCs; none is", default=None)
    vpc: UUID | None = param("vpcid", "list those of a VPC; there are none", default=None)
    usable: bool | None = param("canusefordeploy", "list those that new machines can use", default=None)
    offering: UUID | None = param("networkofferingid", "list by network offering", default=None)
    filter: str = param(
        "networkfilter", "Account: the caller's own; Domain or Shared: shared ones; All", default=""
    )
    vlan: str = param("vlan", "list by VLAN", default="")
    count_only: bool = param("retrieveonlyresourcecount", "tell only how many there are", default=False)
    icon: bool = param("showicon", "show the icon of each", default=False)


class OnNetwork(Params):
    network: UUID = param("id", "the network")


class UpdateNetwork(OnNetwork):
    name: str | None = param("name", "the new name", default=None)
    description: str | None = param("displaytext", "the new text", default=None, length=4096)
    domain_name: str | None = param("networkdomain", "the new DNS domain", default=None)
    dns1: str | None = param("dns1", "first resolver", default=None)
    dns2: str | None = param("dns2", "second resolver", default=None)


class RestartNetwork(OnNetwork):
    redundant: bool = param("makeredundant", "routers here have no second one to be made", default=False)


@command("listNetworks", params=ListNetworks)
async def listing(call: Call, params: ListNetworks) -> Listed[Network]:
    """Lists networks: the caller's own, and those that are shared with it."""
    skip, limit = window(params)
    public = params.traffic.lower() == "public"
    async with call.cloud.view() as look:
        await check_zone(look, params.zone)
        if params.id is not None:
            await visible.network(look, call.caller, params.id)
        scope = await owners.scope(call, look, params)
        places = await zones(look)
        if impossible(params, places, admin=call.admin):
            return Listed([], 0)
        where = (*conditions(params, scope, places), *(() if public else scope.where))
        if whatever(params):
            found = await page(look, Network, *where, order=ORDER, skip=skip, limit=limit, external=public)
            total, shown = found.total, found.items
        else:
            every = await look.list(Network, *where, order=ORDER, external=public)
            kept = [seen.network for seen in await around(look, every) if fits(params, seen)]
            total, shown = len(kept), kept[skip : skip + limit]
    return Listed([] if params.count_only else shown, total)


def whatever(params: ListNetworks) -> bool:
    """Whether nothing is asked for that only `fits` can tell, so that the store can cut the page."""
    texts = (params.type, params.access, params.vlan, params.services)
    others = (params.offering, params.restart, params.usable, params.ranges)
    return not any(texts) and all(value is None for value in others) and not params.count_only


def impossible(params: ListNetworks, places: Zones, *, admin: bool) -> bool:
    """What is asked for that there is not here, or not for this caller."""
    public = params.traffic.lower() == "public"
    return (
        params.traffic.lower() not in ("", "guest", "public")
        or (public and (not admin or params.system is False))
        or (params.system is True and not public)
        or params.vpc is not None
        or params.vpc_network is True
        or bool(params.tags)
        or (
            params.physical is not None
            and params.physical not in {places.physical(zone) for zone in places.by_id}
        )
    )


def conditions(params: ListNetworks, scope: owners.Scope, places: Zones) -> list[Condition]:
    where: list[Condition] = []
    asked = params.filter.lower()
    if asked in ("domain", "shared"):
        where.append(eq("shared", True))
    elif scope.projects is not None and params.traffic.lower() != "public":
        mine = eq("project", scope.projects)
        where.append(mine if asked == "account" else any_of(mine, eq("shared", True)))
    if params.id is not None:
        where.append(eq("id", params.id))
    if params.zone is not None:
        where.append(places.within(params.zone))
    if params.name:
        where.append(eq("name", params.name))
    if params.keyword:
        pattern = f"%{literal(params.keyword)}%"
        where.append(any_of(like("name", pattern), like("description", pattern)))
    return where


def fits(params: ListNetworks, seen: Seen) -> bool:
    """The filters on what follows from several records."""
    network, offering = seen.network, seen.offering
    wanted: Sequence[tuple[Any, Any]] = (
        (params.type.lower() or None, offering.type.lower()),
        (params.access.lower() or None, access_of(network).lower()),
        (params.offering, offering.id),
        (params.restart, network.state is NetState.ERROR),
        (params.usable, usable(network)),
        (params.ranges, offering.ranges),
        (params.vlan or None, str(network.vlan)),
    )
    return all(value is None or value == real for value, real in wanted) and {
        name.lower() for name in params.services
    } <= {name.lower() for name in offering.services}


@command(
    "createNetwork",
    params=CreateNetwork,
    ignored=("subdomainaccess", "externalid", "hideipaddressusage", "bypassvlanoverlapcheck"),
)
async def create(call: Call, params: CreateNetwork) -> Network:
    """Creates a network. An isolated one gets a router and an address for its source NAT."""
    offering = BY_ID.get(params.offering)
    if offering is None:
        raise invalid_id(call.name, "networkofferingid", str(params.offering))
    caller = await owners.acting(call, params)
    async with call.cloud.view() as look:
        await check_zone(look, params.zone)
        places = await zones(look)
        domain_name = params.domain_name or await domain_tree.network_domain(look, caller.home)
    if params.physical not in (None, places.physical(params.zone)):
        raise invalid_id(call.name, "physicalnetworkid", str(params.physical))
    check_access(call, params, offering)
    if offering.routed:
        want, span = isolated(call, params, offering, domain_name), pools(call, params)
        with conflicts():
            made = await whole.create_isolated(call.cloud, caller, want, pools=span, command=call.name)
        network: Network = await settled(call, made)
        return network
    shared = offering.type == SHARED
    vlan = vlan_of(call, params)
    plain = NetworkWant(
        name=params.name,
        description=params.description,
        kind=NetworkKind.L2 if offering.type == L2 else NetworkKind.TENANT,
        shared=shared,
        physical=PHYSICAL if vlan is not None else "",
        vlan=vlan or 0,
        port_security=offering is not network_offerings.SHARED_PLAIN,
        dns_domain=domain_name,
        zone=params.zone,
    )
    return await whole.create(call.cloud, caller, plain, inside(call, params, offering))


def check_access(call: Call, params: CreateNetwork, offering: Offering) -> None:
    shared = offering.type == SHARED
    if shared and not call.admin:
        raise Forbidden("Only an administrator creates shared networks; choose an isolated or L2 offering.")
    if params.access.lower() not in ("", "domain" if shared else "account"):
        raise invalid(
            call.name,
            "acltype",
            params.access,
            f"it is {'domain' if shared else 'account'} for this offering.",
        )
    if params.vlan and not offering.vlan:
        raise invalid(call.name, "vlan", params.vlan, "networks of this offering are on no VLAN.")
    sent = params.gateway or params.netmask or params.first or params.last
    if offering.type == L2 and sent:
        raise Invalid(
            "A network of an L2 offering has no addresses; leave gateway, netmask, startip and endip out."
        )


def isolated(call: Call, params: CreateNetwork, offering: Offering, domain_name: str) -> IsolatedWant:
    cidr = network_of(call, params)
    return IsolatedWant(
        name=params.name,
        description=params.description,
        zone=params.zone,
        cidr=str(cidr) if cidr else "",
        gateway=params.gateway or None,
        dns_domain=domain_name,
        dns_servers=resolvers(params.dns1, params.dns2),
        egress_default_deny=not offering.egress_allowed,
    )


def inside(call: Call, params: CreateNetwork, offering: Offering) -> Inside | None:
    if offering.type == L2:
        return None
    cidr = network_of(call, params)
    if offering.ranges and (cidr is None or not params.first):
        needed = {"gateway": params.gateway, "netmask": params.netmask, "startip": params.first}
        raise missing(call.name, next(name for name, value in needed.items() if not value))
    return Inside(
        cidr=str(cidr) if cidr else call.cloud.config.isolated_cidr,
        gateway=params.gateway or None,
        pools=pools(call, params),
        dns_servers=resolvers(params.dns1, params.dns2),
    )


def network_of(call: Call, params: CreateNetwork) -> IPv4Network | None:
    """What gateway and netmask, which go together, say."""
    if bool(params.gateway) is not bool(params.netmask):
        raise missing(call.name, "netmask" if params.gateway else "gateway")
    if not params.gateway:
        if params.first or params.last:
            raise missing(call.name, "gateway")
        return None
    try:
        return IPv4Network(f"{params.gateway}/{params.netmask}", strict=False)
    except ValueError as error:
        raise invalid(
            call.name, "gateway", params.gateway, f"with netmask {params.netmask}: {error}."
        ) from None


def pools(call: Call, params: CreateNetwork) -> Pools | None:
    if not params.first:
        if params.last:
            raise missing(call.name, "startip")
        return None
    last = params.last or params.first
    for name, text in (("startip", params.first), ("endip", last)):
        try:
            ip_address(text)
        except ValueError:
            raise invalid(call.name, name, text, "it is no IP address.") from None
    return ((params.first, last),)


def resolvers(*texts: str | None) -> tuple[str, ...]:
    return tuple(text for text in texts if text)


def vlan_of(call: Call, params: CreateNetwork) -> int | None:
    """0 for untagged, None when it was not said."""
    text = params.vlan.lower().removeprefix("vlan://")
    if not text:
        return None
    if text == "untagged":
        return 0
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 4094):
        raise invalid(call.name, "vlan", params.vlan, "it is 1 to 4094, or untagged.")
    return int(text)


@command("updateNetwork", params=UpdateNetwork, ignored=("updateinsequence", "changecidr", "forced"))
async def update(call: Call, params: UpdateNetwork) -> Done:
    """Changes a network's name, text, DNS domain or resolvers."""
    sent = {"name": params.name, "description": params.description, "dns_domain": params.domain_name}
    given: dict[str, Any] = {name: value for name, value in sent.items() if value is not None}
    change = NetworkChange(**given)
    told = None
    if params.dns1 is not None or params.dns2 is not None:
        told = resolvers(params.dns1, params.dns2)
    network = await whole.update(call.cloud, call.caller, params.network, change, dns_servers=told)
    return Done(record=network)


@command("restartNetwork", params=RestartNetwork, ignored=("cleanup", "livepatch"))
async def restart(call: Call, params: RestartNetwork) -> Accepted:
    """Applies a network, its router and its ports to the platform again."""
    if params.redundant:
        raise invalid(
            call.name, "makeredundant", "true", "a router here is on every host; it needs no second one."
        )
    return await whole.restart(call.cloud, call.caller, params.network, command=call.name)


@command("deleteNetwork", params=OnNetwork, ignored=("forced",))
async def delete(call: Call, params: OnNetwork) -> Accepted:
    """Deletes a network that no machine uses; an isolated one with its router and addresses."""
    return await removal.delete(call.cloud, call.caller, params.network, command=call.name)
