"""/v2.0/routers, their interfaces and their routes."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from pileus.core.errors import Invalid
from pileus.core.network import routers as core
from pileus.core.network.records import NetState
from pileus.core.network.routers import Gateway, RouterChange, RouterWant
from pileus.faces.openstack.network import attributes as read
from pileus.faces.openstack.network.attributes import Attribute, Unfit, build
from pileus.faces.openstack.network.collection import COMMON, Collection, Shown, declare, single, stamps
from pileus.faces.openstack.network.service import SERVICE, V2
from pileus.faces.openstack.wire import hex_id
from pileus.faces.wire.request import Request

STATUS = {
    NetState.BUILDING: "ALLOCATING",
    NetState.ACTIVE: "ACTIVE",
    NetState.ERROR: "ERROR",
    NetState.DELETING: "ACTIVE",
}


def gateway(value: Any) -> Gateway | None:
    if value is None or value == {}:
        return None
    if not isinstance(value, dict) or "network_id" not in value:
        raise Unfit("it needs 'network_id', or must be null to clear the gateway")
    unknown = set(value) - {"network_id", "enable_snat", "external_fixed_ips", "qos_policy_id"}
    if unknown or value.get("qos_policy_id") is not None:
        raise Unfit(f"'{', '.join(sorted(unknown)) or 'qos_policy_id'}' is not supported here")
    snat, fixed = value.get("enable_snat"), value.get("external_fixed_ips")
    return Gateway(
        network=read.uuid(value["network_id"]),
        snat=None if snat is None else read.boolean(snat),
        fixed=None if not fixed else read.many(read.fixed)(fixed),
    )


def off(value: Any) -> None:
    """Routers are highly available by the platform; there is nothing to switch."""
    if read.boolean(value):
        raise Unfit("this is not supported; leave it out")


ATTRIBUTES = (
    read.NAME,
    read.DESCRIPTION,
    Attribute("admin_state_up", read.boolean, "enabled"),
    Attribute("external_gateway_info", gateway, "gateway", default=None),
    Attribute("routes", read.routes, "routes", create=False),
    Attribute("distributed", off, "nothing", default=None),
    Attribute("ha", off, "nothing", default=None),
)
READONLY = ("availability_zones", "flavor_id")


def view(request: Request, shown: core.Shown) -> Shown:
    router = shown.router
    answer = {
        **stamps(router),
        "status": STATUS[router.state],
        "admin_state_up": router.enabled,
        "external_gateway_info": outside(shown),
        "routes": [{"destination": to, "nexthop": hop} for to, hop in router.routes],
        "availability_zones": [request.cloud.config.zone],
        "availability_zone_hints": [],
        "flavor_id": None,
    }
    if request.allowed("get_router:ha"):
        answer |= {"ha": False, "distributed": False}
    return answer


def outside(shown: core.Shown) -> Shown | None:
    if shown.router.external is None:
        return None
    return {
        "network_id": str(shown.router.external),
        "enable_snat": shown.router.snat,
        "external_fixed_ips": [{"subnet_id": str(o.subnet), "ip_address": o.address} for o in shown.outside],
    }


def permit(request: Request, verb: str, fields: dict[str, Any]) -> None:
    wanted = fields.get("gateway")
    if wanted is None:
        return
    if wanted.snat is not None:
        request.enforce(f"{verb}_router:external_gateway_info:enable_snat")
    if wanted.fixed is not None:
        request.enforce(f"{verb}_router:external_gateway_info:external_fixed_ips")


async def create(request: Request, items: list[dict[str, Any]]) -> list[Shown]:
    (fields,) = items
    permit(request, "create", fields)
    fields.pop("nothing", None)
    return [view(request, await core.create(request.cloud, request.caller, build(RouterWant, fields)))]


async def list_(request: Request, conditions: dict[str, Any]) -> list[Shown]:
    return [view(request, one) for one in await core.list_(request.cloud, request.caller, **conditions)]


async def show(request: Request, key: UUID) -> Shown:
    return view(request, await core.show(request.cloud, request.caller, key))


async def update(request: Request, key: UUID, fields: dict[str, Any], revision: int | None) -> Shown:
    permit(request, "update", fields)
    fields.pop("nothing", None)
    change = build(RouterChange, fields)
    return view(request, await core.update(request.cloud, request.caller, key, change, revision=revision))


async def delete(request: Request, key: UUID, revision: int | None) -> None:
    await core.delete(request.cloud, request.caller, key, revision=revision)


ROUTERS = declare(
    Collection(
        one="router",
        many="routers",
        what="Router",
        path="routers",
        attributes=ATTRIBUTES,
        readonly=READONLY,
        bulk=False,
        create=create,
        list=list_,
        show=show,
        update=update,
        delete=delete,
        pushed=COMMON,
    )
)


def target(body: dict[str, Any]) -> dict[str, UUID]:
    """The subnet or port that an interface is named by."""
    found = {}
    for name, field in (("subnet_id", "subnet"), ("port_id", "port")):
        if body.get(name) is not None:
            try:
                found[field] = read.uuid(body[name])
            except Unfit as error:
                raise Invalid(f"Invalid input for {name}. Reason: {error}.") from None
    if not found or set(body) - {"subnet_id", "port_id", "tenant_id", "project_id"}:
        raise Invalid("Either subnet_id or port_id must be specified, and nothing else.")
    return found


def interface(router: Any, port: Any, held: list[Any]) -> Shown:
    subnets = [str(one.subnet) for one in held]
    return {
        "id": str(router.id),
        "port_id": str(port.id),
        "network_id": str(port.network),
        "subnet_id": subnets[0] if subnets else None,
        "subnet_ids": subnets,
        "project_id": hex_id(router.project),
        "tenant_id": hex_id(router.project),
        "tags": list(router.tags),
    }


@SERVICE.operation(
    "PUT", f"{V2}/routers/{{id}}/add_router_interface", policy="add_router_interface", body=dict[str, Any]
)
async def add_router_interface(request: Request, id: str, body: dict[str, Any]) -> Shown:
    wanted = target(body)
    return interface(*await core.add_interface(request.cloud, request.caller, ROUTERS.key(id), **wanted))


@SERVICE.operation(
    "PUT",
    f"{V2}/routers/{{id}}/remove_router_interface",
    policy="remove_router_interface",
    body=dict[str, Any],
)
async def remove_router_interface(request: Request, id: str, body: dict[str, Any]) -> Shown:
    wanted = target(body)
    return interface(*await core.remove_interface(request.cloud, request.caller, ROUTERS.key(id), **wanted))


Change = Callable[..., Awaitable[core.Shown]]


async def change_routes(request: Request, id: str, body: dict[str, Any], change: Change) -> Shown:
    values = single(ROUTERS, body)
    if not isinstance(values, dict) or set(values) != {"routes"}:
        raise Invalid("Malformed request body: send {'router': {'routes': [...]}}.")
    try:
        routes = read.routes(values["routes"])
    except Unfit as error:
        raise Invalid(f"Invalid input for routes. Reason: {error}.") from None
    shown = await change(request.cloud, request.caller, ROUTERS.key(id), routes)
    return {"router": view(request, shown)}


@SERVICE.operation(
    "PUT", f"{V2}/routers/{{id}}/add_extraroutes", policy="add_extraroutes", body=dict[str, Any]
)
async def add_extraroutes(request: Request, id: str, body: dict[str, Any]) -> Shown:
    return await change_routes(request, id, body, core.add_routes)


@SERVICE.operation(
    "PUT", f"{V2}/routers/{{id}}/remove_extraroutes", policy="remove_extraroutes", body=dict[str, Any]
)
async def remove_extraroutes(request: Request, id: str, body: dict[str, Any]) -> Shown:
    return await change_routes(request, id, body, core.remove_routes)
