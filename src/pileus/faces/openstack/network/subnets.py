"""/v2.0/subnets."""

from typing import Any
from uuid import UUID

from pileus.core.errors import Unsupported
from pileus.core.network import subnets as core
from pileus.core.network.records import Subnet
from pileus.core.network.subnets import SubnetChange, SubnetWant
from pileus.faces.openstack.network import attributes as read
from pileus.faces.openstack.network.attributes import Attribute, Unfit, build
from pileus.faces.openstack.network.collection import COMMON, Collection, Shown, declare, stamps
from pileus.faces.wire.request import Request


def nothing(value: Any) -> None:
    """Attributes of what Pileus does not do: they may be there, empty."""
    if value not in (None, "", []):
        raise Unfit("this is not supported; leave it out")


ATTRIBUTES = (
    read.NAME,
    read.DESCRIPTION,
    Attribute("network_id", read.uuid, "network", update=False, required=True),
    Attribute(
        "ip_version", read.one_of({4: 4, 6: 6, "4": 4, "6": 6}), "version", update=False, required=True
    ),
    Attribute("cidr", read.text(64), "cidr", update=False, required=True),
    Attribute("gateway_ip", read.nullable(read.ip), "gateway"),
    Attribute("allocation_pools", read.nullable(read.pools), "pools"),
    Attribute("enable_dhcp", read.boolean, "dhcp"),
    Attribute("dns_nameservers", read.many(read.ip), "dns_servers"),
    Attribute("host_routes", read.routes, "routes"),
    Attribute("ipv6_ra_mode", read.nullable(read.text()), "ra_mode", update=False),
    Attribute("ipv6_address_mode", read.nullable(read.text()), "address_mode", update=False),
    Attribute("subnetpool_id", nothing, "nothing", update=False),
    Attribute("prefixlen", nothing, "nothing", update=False),
    Attribute("segment_id", nothing, "nothing"),
    Attribute("service_types", nothing, "nothing"),
)


def view(subnet: Subnet) -> Shown:
    return {
        **stamps(subnet),
        "network_id": str(subnet.network),
        "ip_version": subnet.version,
        "cidr": subnet.cidr,
        "gateway_ip": subnet.gateway,
        "allocation_pools": [{"start": first, "end": last} for first, last in subnet.pools],
        "enable_dhcp": subnet.dhcp,
        "dns_nameservers": list(subnet.dns_servers),
        "host_routes": [{"destination": to, "nexthop": hop} for to, hop in subnet.routes],
        "ipv6_ra_mode": None,
        "ipv6_address_mode": None,
        "subnetpool_id": None,
        "segment_id": None,
        "service_types": [],
    }


def want(fields: dict[str, Any]) -> SubnetWant:
    fields.pop("nothing", None)
    modes = {fields.pop("ra_mode", None), fields.pop("address_mode", None)} - {None}
    if modes:
        raise Unsupported(
            f"IPv6 address mode {', '.join(sorted(modes))} is not supported: addresses of IPv6 subnets are "
            "configured by the guests (static). Leave ipv6_ra_mode and ipv6_address_mode out."
        )
    if fields.get("version") == 6:
        fields.setdefault("dhcp", False)
    wanted: SubnetWant = build(SubnetWant, fields)
    return wanted


async def create(request: Request, items: list[dict[str, Any]]) -> list[Shown]:
    made = await core.create_all(request.cloud, request.caller, [want(item) for item in items])
    return [view(subnet) for subnet in made]


async def list_(request: Request, conditions: dict[str, Any]) -> list[Shown]:
    return [view(subnet) for subnet in await core.list_(request.cloud, request.caller, **conditions)]


async def show(request: Request, key: UUID) -> Shown:
    return view(await core.show(request.cloud, request.caller, key))


async def update(request: Request, key: UUID, fields: dict[str, Any], revision: int | None) -> Shown:
    fields.pop("nothing", None)
    if fields.get("pools", ()) is None:
        fields.pop("pools")
    change = build(SubnetChange, fields)
    return view(await core.update(request.cloud, request.caller, key, change, revision=revision))


async def delete(request: Request, key: UUID, revision: int | None) -> None:
    await core.delete(request.cloud, request.caller, key, revision=revision)


SUBNETS = declare(
    Collection(
        one="subnet",
        many="subnets",
        what="Subnet",
        path="subnets",
        attributes=ATTRIBUTES,
        create=create,
        list=list_,
        show=show,
        update=update,
        delete=delete,
        pushed={"id": COMMON["id"], "name": COMMON["name"], "network_id": ("network", UUID)},
    )
)
