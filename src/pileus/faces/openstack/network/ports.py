"""/v2.0/ports."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from pileus.core.network import networks
from pileus.core.network import ports as core
from pileus.core.network.ports import Addressed, PortChange, PortWant
from pileus.core.network.records import Port, PortUse
from pileus.faces.openstack.network import attributes as read
from pileus.faces.openstack.network.attributes import Attribute, Unfit, build
from pileus.faces.openstack.network.collection import COMMON, Collection, Shown, declare, stamps
from pileus.faces.openstack.network.subnets import nothing
from pileus.faces.openstack.wire import hex_id
from pileus.faces.wire.request import Request

OWNER = {
    PortUse.NONE: "",
    PortUse.SERVER: "compute:{zone}",
    PortUse.ROUTER_INTERFACE: "network:router_interface",
    PortUse.ROUTER_GATEWAY: "network:router_gateway",
    PortUse.ADDRESS: "network:floatingip",
    PortUse.METADATA: "network:distributed",
}
"""device_owner by use."""
ALWAYS_UP = frozenset({PortUse.ROUTER_INTERFACE, PortUse.ROUTER_GATEWAY, PortUse.METADATA})
OF_OWNERS = ("mac_address", "port_security_enabled", "allowed_address_pairs")
"""What only the network's owner or an admin may set."""


def vnic(value: Any) -> None:
    if value != "normal":
        raise Unfit(f"'{value}' is not in ['normal']")


def ignored(value: Any) -> None:
    """An admin's hint how a port will be bound; the server that takes the port decides."""


ATTRIBUTES = (
    read.NAME,
    read.DESCRIPTION,
    Attribute("network_id", read.uuid, "network", update=False, required=True),
    Attribute("admin_state_up", read.boolean, "enabled"),
    Attribute("mac_address", read.mac, "mac"),
    Attribute("fixed_ips", read.many(read.fixed), "fixed"),
    Attribute("security_groups", read.many(read.uuid), "groups"),
    Attribute("port_security_enabled", read.boolean, "port_security"),
    Attribute("allowed_address_pairs", read.many(read.address_pair), "allowed_pairs", default=()),
    Attribute("device_id", read.text(), "device_text"),
    Attribute("device_owner", read.text(), "owner_text"),
    Attribute("dns_name", read.dns_label, "dns_name"),
    Attribute("binding:vnic_type", vnic, "nothing"),
    Attribute("binding:host_id", read.nullable(read.text()), "host"),
    Attribute("binding:profile", ignored, "nothing"),
    Attribute("extra_dhcp_opts", nothing, "nothing"),
)
READONLY = ("dns_assignment", "binding:vif_type", "binding:vif_details")


def view(request: Request, port: Port, held: list[Any], hosts: Mapping[UUID, str], domain: str = "") -> Shown:
    zone = request.cloud.config.zone
    shown = {
        **stamps(port),
        "status": status(port),
        "network_id": str(port.network),
        "mac_address": port.mac,
        "admin_state_up": port.enabled,
        "device_id": device(port),
        "device_owner": port.owner_text if port.use is PortUse.NONE else OWNER[port.use].format(zone=zone),
        "fixed_ips": [{"subnet_id": str(one.subnet), "ip_address": one.address} for one in held],
        "security_groups": [str(group) for group in port.groups],
        "port_security_enabled": port.port_security,
        "allowed_address_pairs": [
            {"ip_address": cidr, "mac_address": mac or port.mac} for mac, cidr in port.allowed_pairs
        ],
        "dns_name": port.dns_name,
        "dns_assignment": assignments(port, held, domain),
        "binding:vnic_type": "normal",
        "extra_dhcp_opts": [],
    }
    if request.allowed("get_port:binding:host_id"):
        bound = port.host is not None
        shown["binding:host_id"] = hosts.get(port.host, "") if port.host else ""
        shown["binding:profile"] = {}
        shown["binding:vif_type"] = "ovs" if bound else "unbound"
        shown["binding:vif_details"] = {"port_filter": True} if bound else {}
    return shown


def status(port: Port) -> str:
    if port.use is PortUse.ADDRESS:
        return "N/A"
    return "ACTIVE" if port.up or port.use in ALWAYS_UP else "DOWN"


def device(port: Port) -> str:
    if port.device is None:
        return port.device_text
    return f"ovnmeta-{port.device}" if port.use is PortUse.METADATA else str(port.device)


def assignments(port: Port, held: list[Any], domain: str) -> list[dict[str, str]]:
    """The names that the network's resolver answers; without one, a name made of the address."""
    suffix = f".{domain.strip('.')}." if domain else "."
    found = []
    for one in held:
        name = port.dns_name or "host-" + one.address.replace(".", "-").replace(":", "-")
        found.append({"ip_address": one.address, "hostname": name, "fqdn": f"{name}{suffix}"})
    return found


async def shown(request: Request, rows: list[Addressed]) -> list[Shown]:
    hosts = await core.host_names(request.cloud) if request.allowed("get_port:binding:host_id") else {}
    return [view(request, port, held, hosts) for port, held in rows]


async def permit(request: Request, verb: str, fields: Mapping[str, Any], network: UUID) -> None:
    """The rules that need to know whose the network is."""
    given = [
        a.name for a in ATTRIBUTES if a.name in OF_OWNERS and a.core in fields and fields[a.core] != a.default
    ]
    if not given:
        return
    of, _ = await networks.show(request.cloud, request.caller, network)
    target = {**request.caller.credentials, "network:tenant_id": hex_id(of.project)}
    for name in given:
        request.enforce(f"{verb}_port:{name}", target)


async def locate(request: Request, fields: dict[str, Any]) -> None:
    """The host that a body names, by its id; a name that no host has says nothing."""
    if fields.get("host"):
        known = {name: key for key, name in (await core.host_names(request.cloud)).items()}
        fields["host"] = known.get(fields["host"])
    elif "host" in fields:
        fields["host"] = None


async def create(request: Request, items: list[dict[str, Any]]) -> list[Shown]:
    wants = []
    for item in items:
        await permit(request, "create", item, item["network"])
        await locate(request, item)
        item.pop("nothing", None)
        wants.append(build(PortWant, item))
    return await shown(request, await core.create_all(request.cloud, request.caller, wants))


async def list_(request: Request, conditions: dict[str, Any]) -> list[Shown]:
    return await shown(request, await core.list_(request.cloud, request.caller, **conditions))


async def show(request: Request, key: UUID) -> Shown:
    return (await shown(request, [await core.show(request.cloud, request.caller, key)]))[0]


async def update(request: Request, key: UUID, fields: dict[str, Any], revision: int | None) -> Shown:
    fields.pop("nothing", None)
    if any(a.core in fields for a in ATTRIBUTES if a.name in OF_OWNERS):
        port, _ = await core.show(request.cloud, request.caller, key)
        await permit(request, "update", fields, port.network)
    await locate(request, fields)
    change = build(PortChange, fields)
    changed = await core.update(request.cloud, request.caller, key, change, revision=revision)
    return (await shown(request, [changed]))[0]


async def delete(request: Request, key: UUID, revision: int | None) -> None:
    await core.delete(request.cloud, request.caller, key, revision=revision)


PORTS = declare(
    Collection(
        one="port",
        many="ports",
        what="Port",
        path="ports",
        attributes=ATTRIBUTES,
        readonly=READONLY,
        create=create,
        list=list_,
        show=show,
        update=update,
        delete=delete,
        pushed={**COMMON, "network_id": ("network", UUID), "mac_address": ("mac", str.lower)},
    )
)
