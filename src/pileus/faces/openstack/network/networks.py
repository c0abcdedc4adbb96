"""/v2.0/networks."""

from typing import Any
from uuid import UUID

from pileus.core.errors import Invalid
from pileus.core.network import networks as core
from pileus.core.network import removal
from pileus.core.network.networks import NetworkChange, NetworkWant
from pileus.core.network.records import NetState
from pileus.faces.openstack.network import attributes as read
from pileus.faces.openstack.network.attributes import Attribute, build
from pileus.faces.openstack.network.collection import COMMON, Collection, Shown, declare, stamps
from pileus.faces.openstack.network.policies import PROVIDER
from pileus.faces.wire.request import Request

STATUS = {
    NetState.BUILDING: "BUILD",
    NetState.ACTIVE: "ACTIVE",
    NetState.ERROR: "ERROR",
    NetState.DELETING: "ACTIVE",
}
TYPES = {name: name for name in ("geneve", "flat", "vlan")}

ATTRIBUTES = (
    read.NAME,
    read.DESCRIPTION,
    Attribute("admin_state_up", read.boolean, "enabled"),
    Attribute("shared", read.boolean, "shared", default=False),
    Attribute("router:external", read.boolean, "external", default=False),
    Attribute("is_default", read.boolean, "default", default=False),
    Attribute("mtu", read.integer(0, 65535), "mtu"),
    Attribute("port_security_enabled", read.boolean, "port_security"),
    Attribute("dns_domain", read.dns_domain, "dns_domain"),
    Attribute("provider:network_type", read.one_of(TYPES), "type", update=False),
    Attribute(
        "provider:physical_network", read.nullable(read.text(128)), "physical", update=False, default=None
    ),
    Attribute(
        "provider:segmentation_id", read.nullable(read.integer(1, 4094)), "vlan", update=False, default=None
    ),
)
READONLY = ("subnets", "availability_zones", "ipv4_address_scope", "ipv6_address_scope")


def view(request: Request, network: Any, subnets: list[UUID]) -> Shown:
    shown = {
        **stamps(network),
        "status": STATUS[network.state],
        "admin_state_up": network.enabled,
        "subnets": [str(key) for key in subnets],
        "shared": network.shared,
        "router:external": network.external,
        "is_default": network.default,
        "mtu": network.mtu,
        "port_security_enabled": network.port_security,
        "dns_domain": network.dns_domain,
        "availability_zones": [request.cloud.config.zone],
        "availability_zone_hints": [],
        "ipv4_address_scope": None,
        "ipv6_address_scope": None,
    }
    if request.allowed(f"get_network:{PROVIDER[0]}"):
        kind = "geneve" if not network.physical else ("vlan" if network.vlan else "flat")
        shown["provider:network_type"] = kind
        shown["provider:physical_network"] = network.physical or None
        shown["provider:segmentation_id"] = network.vlan or None
    return shown


def want(fields: dict[str, Any]) -> NetworkWant:
    """The provider attributes must agree with each other."""
    physical, vlan = fields.get("physical") or "", fields.get("vlan") or 0
    kind = fields.pop("type", "geneve" if not physical else ("vlan" if vlan else "flat"))
    if kind == "geneve" and (physical or vlan):
        raise Invalid(
            "A geneve network has no provider:physical_network and no provider:segmentation_id here."
        )
    if kind != "geneve" and not physical:
        raise Invalid(f"A {kind} network needs provider:physical_network.")
    if (kind == "vlan") is not bool(vlan):
        raise Invalid(
            "provider:segmentation_id is the VLAN's number: a vlan network needs it, others have none."
        )
    wanted: NetworkWant = build(NetworkWant, {**fields, "physical": physical, "vlan": vlan})
    return wanted


async def create(request: Request, items: list[dict[str, Any]]) -> list[Shown]:
    made = await core.create_all(request.cloud, request.caller, [want(item) for item in items])
    return [view(request, *one) for one in made]


async def list_(request: Request, conditions: dict[str, Any]) -> list[Shown]:
    return [view(request, *one) for one in await core.list_(request.cloud, request.caller, **conditions)]


async def show(request: Request, key: UUID) -> Shown:
    return view(request, *await core.show(request.cloud, request.caller, key))


async def update(request: Request, key: UUID, fields: dict[str, Any], revision: int | None) -> Shown:
    change = build(NetworkChange, fields)
    return view(request, *await core.update(request.cloud, request.caller, key, change, revision=revision))


async def delete(request: Request, key: UUID, revision: int | None) -> None:
    await removal.delete(request.cloud, request.caller, key, revision=revision)


NETWORKS = declare(
    Collection(
        one="network",
        many="networks",
        what="Network",
        path="networks",
        attributes=ATTRIBUTES,
        readonly=READONLY,
        create=create,
        list=list_,
        show=show,
        update=update,
        delete=delete,
        pushed=COMMON,
    )
)
