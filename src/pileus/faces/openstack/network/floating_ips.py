"""/v2.0/floatingips and their port forwardings."""

from typing import Any
from uuid import UUID

from pileus.core.errors import Invalid
from pileus.core.network import addresses as core
from pileus.core.network import forwardings
from pileus.core.network.addresses import AddressChange, AddressWant
from pileus.core.network.forwardings import ForwardingChange, ForwardingWant
from pileus.core.network.records import Address, PortForwarding
from pileus.faces.openstack.network import attributes as read
from pileus.faces.openstack.network import listing
from pileus.faces.openstack.network.attributes import Attribute, Unfit, build
from pileus.faces.openstack.network.collection import COMMON, Collection, Shown, declare, stamps
from pileus.faces.openstack.network.service import SERVICE, V2
from pileus.faces.openstack.network.subnets import nothing
from pileus.faces.wire.request import Request

ATTRIBUTES = (
    read.DESCRIPTION,
    Attribute("floating_network_id", read.uuid, "external", update=False, required=True),
    Attribute("floating_ip_address", read.nullable(read.ip), "address", update=False, default=None),
    Attribute("subnet_id", read.nullable(read.uuid), "subnet", update=False),
    Attribute("port_id", read.nullable(read.uuid), "port"),
    Attribute("fixed_ip_address", read.nullable(read.ip), "fixed"),
    Attribute("dns_name", nothing, "nothing", update=False),
    Attribute("dns_domain", nothing, "nothing", update=False),
)
READONLY = ("router_id", "port_forwardings", "port_details")


def view(address: Address, forwarded: list[PortForwarding]) -> Shown:
    shown = {
        **stamps(address),
        "status": "ACTIVE" if address.port or forwarded else "DOWN",
        "floating_network_id": str(address.external),
        "floating_ip_address": address.address,
        "router_id": str(address.router) if address.router and (address.port or forwarded) else None,
        "port_id": str(address.port) if address.port else None,
        "fixed_ip_address": address.fixed,
        "dns_name": address.dns_name,
        "dns_domain": address.dns_domain,
        "port_forwardings": [brief(row) for row in forwarded],
    }
    del shown["name"]
    return shown


def brief(row: PortForwarding) -> Shown:
    return {
        "protocol": row.protocol,
        "internal_ip_address": row.inside,
        "internal_port": row.inside_port,
        "external_port": row.external_port,
    }


async def shown(request: Request, rows: list[Address]) -> list[Shown]:
    forwarded = await forwardings.of_addresses(request.cloud, request.caller, rows)
    return [view(row, forwarded[row.id]) for row in rows]


async def create(request: Request, items: list[dict[str, Any]]) -> list[Shown]:
    (fields,) = items
    fields.pop("nothing", None)
    return await shown(
        request, [await core.create(request.cloud, request.caller, build(AddressWant, fields))]
    )


async def list_(request: Request, conditions: dict[str, Any]) -> list[Shown]:
    """Without source NAT addresses: those are routers' own, and nobody's to hand to a server."""
    return await shown(
        request, await core.list_(request.cloud, request.caller, source_nat=False, **conditions)
    )


async def show(request: Request, key: UUID) -> Shown:
    return (await shown(request, [await core.show(request.cloud, request.caller, key)]))[0]


async def update(request: Request, key: UUID, fields: dict[str, Any], revision: int | None) -> Shown:
    change = build(AddressChange, fields)
    return (
        await shown(
            request, [await core.update(request.cloud, request.caller, key, change, revision=revision)]
        )
    )[0]


async def delete(request: Request, key: UUID, revision: int | None) -> None:
    await core.release(request.cloud, request.caller, key, revision=revision)


FLOATING_IPS = declare(
    Collection(
        one="floatingip",
        many="floatingips",
        what="Address",
        path="floatingips",
        attributes=ATTRIBUTES,
        readonly=READONLY,
        bulk=False,
        create=create,
        list=list_,
        show=show,
        update=update,
        delete=delete,
        pushed={
            **{name: COMMON[name] for name in ("id", "project_id", "tenant_id")},
            "floating_network_id": ("external", UUID),
            "floating_ip_address": ("address", str),
            "port_id": ("port", UUID),
        },
    )
)

FORWARDING = "floatingip_port_forwarding"
FORWARDINGS = f"{V2}/floatingips/{{id}}/port_forwardings"
PORT = read.integer(1, 65535)
FORWARDING_ATTRIBUTES = {
    a.name: a
    for a in (
        Attribute("protocol", read.one_of({"tcp": "tcp", "udp": "udp"}), "protocol", required=True),
        Attribute("internal_port_id", read.uuid, "port", required=True),
        Attribute("internal_ip_address", read.ip, "inside"),
        Attribute("internal_port", PORT, "inside_port"),
        Attribute("external_port", PORT, "external_port"),
        Attribute("internal_port_range", read.text(11, 1), "inside_range"),
        Attribute("external_port_range", read.text(11, 1), "external_range"),
        read.DESCRIPTION,
    )
}


def forwarding_view(row: PortForwarding) -> Shown:
    shown: Shown = {
        "id": str(row.id),
        "protocol": row.protocol,
        "internal_port_id": str(row.port),
        "internal_ip_address": row.inside,
        "internal_port_range": f"{row.inside_port}:{row.inside_port_end}",
        "external_port_range": f"{row.external_port}:{row.external_port_end}",
        "description": row.description,
    }
    if row.external_port == row.external_port_end:
        shown |= {"internal_port": row.inside_port, "external_port": row.external_port}
    return shown


def forwarding_fields(verb: str, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise Invalid("Malformed request body: 'port_forwarding' must be an object.")
    read.refuse_unknown(verb, values, FORWARDING_ATTRIBUTES, ("id", "project_id", "tenant_id"))
    found = {}
    for name, attribute in FORWARDING_ATTRIBUTES.items():
        if name in values:
            found[attribute.core] = read.value_of(attribute, values[name])
        elif attribute.required and verb == "create":
            raise Invalid(f"Failed to parse request. Required attribute '{name}' not specified")
    for field, name in (("inside", "internal_port"), ("external", "external_port")):
        span = found.pop(f"{field}_range", None)
        if span is not None:
            found[f"{field}_port"], found[f"{field}_port_end"] = ends(span, f"{name}_range")
        if verb == "create" and f"{field}_port" not in found:
            raise Invalid(f"Failed to parse request. Required attribute '{name}' not specified")
    return found


def ends(span: str, name: str) -> tuple[int, int]:
    first, _, last = span.partition(":")
    try:
        return PORT(first), PORT(last or first)
    except Unfit as error:
        raise Invalid(f"Invalid input for {name}. Reason: {error}.") from None


def forwarding_body(body: dict[str, Any]) -> Any:
    if set(body) != {"port_forwarding"}:
        raise Invalid("Unable to find 'port_forwarding' in request body")
    return body["port_forwarding"]


@SERVICE.operation("GET", FORWARDINGS, policy=f"get_{FORWARDING}")
async def list_forwardings(request: Request, id: str) -> Shown:
    address = await core.show(request.cloud, request.caller, FLOATING_IPS.key(id))
    rows = await forwardings.list_(request.cloud, request.caller, address=address.id)
    return listing.answer(request, "port_forwardings", [forwarding_view(row) for row in rows])


@SERVICE.operation("POST", FORWARDINGS, policy=f"create_{FORWARDING}", body=dict[str, Any], status=201)
async def create_forwarding(request: Request, id: str, body: dict[str, Any]) -> Shown:
    fields = forwarding_fields("create", forwarding_body(body))
    want = build(ForwardingWant, {**fields, "address": FLOATING_IPS.key(id)})
    accepted = await forwardings.create(request.cloud, request.caller, want)
    return {"port_forwarding": forwarding_view(accepted.resource)}


@SERVICE.operation("GET", f"{FORWARDINGS}/{{forwarding}}", policy=f"get_{FORWARDING}")
async def show_forwarding(request: Request, id: str, forwarding: UUID) -> Shown:
    row = await forwardings.show(request.cloud, request.caller, forwarding, address=FLOATING_IPS.key(id))
    return {"port_forwarding": listing.fields(request, forwarding_view(row))}


@SERVICE.operation("PUT", f"{FORWARDINGS}/{{forwarding}}", policy=f"update_{FORWARDING}", body=dict[str, Any])
async def update_forwarding(request: Request, id: str, forwarding: UUID, body: dict[str, Any]) -> Shown:
    change = build(ForwardingChange, forwarding_fields("update", forwarding_body(body)))
    address = FLOATING_IPS.key(id)
    row = await forwardings.update(request.cloud, request.caller, forwarding, change, address=address)
    return {"port_forwarding": forwarding_view(row)}


@SERVICE.operation("DELETE", f"{FORWARDINGS}/{{forwarding}}", policy=f"delete_{FORWARDING}", status=204)
async def delete_forwarding(request: Request, id: str, forwarding: UUID) -> None:
    await forwardings.delete(request.cloud, request.caller, forwarding, address=FLOATING_IPS.key(id))
