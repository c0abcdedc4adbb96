"""What is asked of a server by POST .../action."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta, UnsetType

from pileus.core.compute import servers
from pileus.core.compute.records import State
from pileus.core.errors import Conflict, Invalid, NotFound
from pileus.core.network import addresses, ports
from pileus.core.network.addresses import AddressChange
from pileus.core.network.ports import PortChange
from pileus.faces.openstack.compute.parsing import Struct, Text255, number
from pileus.faces.openstack.compute.server_requests import group_named
from pileus.faces.openstack.compute.server_view import FACET
from pileus.faces.openstack.compute.service import service
from pileus.faces.openstack.wire import public_url
from pileus.faces.wire import Request
from pileus.workflows import guests

PATH = "/servers/{server}/action"
Nothing = Any
"""The original ignores what stands under most actions."""

VERBS: tuple[tuple[str, str, Any], ...] = (
    ("os-start", "servers:start", servers.start),
    ("os-stop", "servers:stop", servers.stop),
    ("pause", "os-pause-server:pause", servers.pause),
    ("unpause", "os-pause-server:unpause", servers.unpause),
    ("suspend", "os-suspend-server:suspend", servers.suspend),
    ("resume", "os-suspend-server:resume", servers.resume),
    ("restore", "os-deferred-delete:restore", servers.recover),
    ("forceDelete", "os-deferred-delete:force", servers.delete),
)
"""Wire name, policy, the core's verb."""


def declare(action: str, policy: str, verb: Any) -> None:
    async def handler(request: Request, server: UUID, body: Nothing) -> None:
        await verb(request.cloud, request.caller, server)

    handler.__doc__ = f"{action}: {verb.__name__} the server."
    service.action(PATH, action, policy=f"os_compute_api:{policy}", body=Any)(handler)


for row in VERBS:
    declare(*row)


class Reboot(Struct, frozen=True, kw_only=True):
    type: str


@service.action(PATH, "reboot", policy="os_compute_api:servers:reboot", body=Reboot)
async def reboot(request: Request, server: UUID, body: Reboot) -> None:
    kind = body.type.upper()
    if kind not in ("SOFT", "HARD"):
        raise Invalid(f"Invalid input for field/attribute type. Value: {body.type[:40]}. It is HARD or SOFT.")
    await servers.reboot(request.cloud, request.caller, server, hard=kind == "HARD")


class Lock(Struct, frozen=True, kw_only=True):
    locked_reason: Annotated[str, Meta(min_length=1, max_length=255)] | UnsetType = msgspec.UNSET


@service.action(PATH, "lock", policy="os_compute_api:os-lock-server:lock", body=Any)
async def lock(request: Request, server: UUID, body: Any) -> None:
    reason = None
    if request.version >= (2, 73) and body is not None:
        try:
            given = msgspec.convert(body, Lock).locked_reason
        except msgspec.ValidationError as error:
            raise Invalid(f"Invalid input for field/attribute lock. {error}") from None
        reason = given if isinstance(given, str) else None
    facet = {FACET: {"locked_reason": reason}}
    await servers.set_lock(request.cloud, request.caller, server, True, facets=facet)


@service.action(PATH, "unlock", policy="os_compute_api:os-lock-server:unlock", body=Any)
async def unlock(request: Request, server: UUID, body: Any) -> None:
    facet = {FACET: {"locked_reason": None}}
    await servers.set_lock(request.cloud, request.caller, server, False, facets=facet)


class ResetState(Struct, frozen=True, kw_only=True):
    state: str


@service.action(PATH, "os-resetState", policy="os_compute_api:os-admin-actions:reset_state", body=ResetState)
async def reset_state(request: Request, server: UUID, body: ResetState) -> None:
    if body.state not in ("active", "error"):
        raise Invalid(
            f"Invalid input for field/attribute state. Value: {body.state[:40]}. It is active or error."
        )
    await servers.reset_state(request.cloud, request.caller, server, State(body.state))


class Output(Struct, frozen=True, kw_only=True):
    length: int | str | None = None


@service.action(
    PATH, "os-getConsoleOutput", policy="os_compute_api:os-console-output", body=Output, status=200
)
async def console_output(request: Request, server: UUID, body: Output) -> dict[str, Any]:
    lines = None if body.length is None else number(body.length, "length", least=-1)
    try:
        text = await guests.console_log(request.site, request.caller, server)
    except Conflict as error:
        raise Conflict(f"Instance {server} is not ready: {error.public}") from None
    if lines is not None and lines >= 0:
        text = "".join(text.splitlines(keepends=True)[-lines:]) if lines else ""
    return {"output": text}


class OldConsole(Struct, frozen=True, kw_only=True):
    type: str


@service.action(
    PATH,
    "os-getVNCConsole",
    policy="os_compute_api:os-remote-consoles",
    body=OldConsole,
    status=200,
    until=(2, 5),
)
async def vnc_console(request: Request, server: UUID, body: OldConsole) -> dict[str, Any]:
    if body.type not in ("novnc", "xvpvnc"):
        raise Invalid(f"Invalid input for field/attribute type. Value: {body.type[:40]}. It is novnc.")
    return {"console": {"type": body.type, "url": await console_url(request, server, body.type)}}


class Console(Struct, frozen=True, kw_only=True):
    protocol: str
    type: str


CONSOLES = {
    "vnc": ("novnc", "xvpvnc"),
    "spice": ("spice-html5",),
    "rdp": ("rdp-html5",),
    "serial": ("serial",),
    "mks": ("webmks",),
}


@service.operation(
    "POST",
    "/servers/{server}/remote-consoles",
    policy="os_compute_api:os-remote-consoles",
    body=("remote_console", Console),
    since=(2, 6),
)
async def remote_console(request: Request, server: UUID, body: Console) -> dict[str, Any]:
    """A one-time address at which a browser sees the server's screen."""
    known = CONSOLES.keys() - ({"mks"} if request.version < (2, 8) else set())
    if body.protocol not in known:
        raise Invalid(f"Invalid input for field/attribute protocol. Value: {body.protocol[:40]}.")
    if body.type not in {kind for kinds in CONSOLES.values() for kind in kinds}:
        raise Invalid(f"Invalid input for field/attribute type. Value: {body.type[:40]}.")
    await servers.show(request.cloud, request.caller, server)
    if body.protocol != "vnc" or body.type != "novnc":
        raise Invalid(f"Unavailable console type {body.type}.")
    url = await console_url(request, server, body.type)
    return {"remote_console": {"protocol": body.protocol, "type": body.type, "url": url}}


async def console_url(request: Request, server: UUID, kind: str) -> str:
    if kind != "novnc":
        raise Invalid(f"Unavailable console type {kind}.")
    return public_url(request) + await guests.open_console(request.site, request.caller, server, kind=kind)


class Group(Struct, frozen=True, kw_only=True):
    name: Annotated[str, Meta(min_length=1, max_length=255)]


@service.action(PATH, "addSecurityGroup", policy="os_compute_api:os-security-groups:add", body=Group)
async def add_group(request: Request, server: UUID, body: Group) -> None:
    """On every port of the server."""
    await servers.show(request.cloud, request.caller, server)
    group = await named_group(request, body.name)
    for port, _ in await ports_of(request, server):
        if group not in port.groups:
            change = PortChange(groups=(*port.groups, group))
            await ports.update(request.cloud, request.caller, port.id, change)


@service.action(PATH, "removeSecurityGroup", policy="os_compute_api:os-security-groups:remove", body=Group)
async def remove_group(request: Request, server: UUID, body: Group) -> None:
    await servers.show(request.cloud, request.caller, server)
    group = await named_group(request, body.name)
    held = [port for port, _ in await ports_of(request, server) if group in port.groups]
    if not held:
        raise NotFound("Security group", f"{body.name} of instance {server}")
    for port in held:
        change = PortChange(groups=tuple(each for each in port.groups if each != group))
        await ports.update(request.cloud, request.caller, port.id, change)


async def named_group(request: Request, text: str) -> UUID:
    try:
        return (await group_named(request, text)).id
    except Invalid:
        raise NotFound("Security group", text) from None


async def ports_of(request: Request, server: UUID) -> list[ports.Addressed]:
    async with request.cloud.view() as look:
        return await ports.of_server(look, server)


class Floating(Struct, frozen=True, kw_only=True):
    address: str
    fixed_address: Text255 | None = None


@service.action(
    PATH, "addFloatingIp", policy="os_compute_api:os-floating-ips:add", body=Floating, until=(2, 43)
)
async def add_floating(request: Request, server: UUID, body: Floating) -> None:
    await servers.show(request.cloud, request.caller, server)
    held = [(port, fixed) for port, fixed in await ports_of(request, server) if fixed]
    if body.fixed_address:
        held = [(port, fixed) for port, fixed in held if body.fixed_address in {one.address for one in fixed}]
    if not held:
        raise Invalid(
            "Specified fixed address not assigned to instance"
            if body.fixed_address
            else "No fixed IPs associated to instance"
        )
    port, fixed = held[0]
    change = AddressChange(port=port.id, fixed=body.fixed_address or fixed[0].address)
    found = await floating(request, body.address)
    await addresses.update(request.cloud, request.caller, found, change)


@service.action(
    PATH, "removeFloatingIp", policy="os_compute_api:os-floating-ips:remove", body=Floating, until=(2, 43)
)
async def remove_floating(request: Request, server: UUID, body: Floating) -> None:
    await servers.show(request.cloud, request.caller, server)
    own = {port.id for port, _ in await ports_of(request, server)}
    found = await floating(request, body.address)
    address = await addresses.show(request.cloud, request.caller, found)
    if address.port not in own:
        raise Conflict(f"Floating IP {body.address} is not associated with instance {server}.")
    await addresses.update(request.cloud, request.caller, found, AddressChange(port=None))


async def floating(request: Request, text: str) -> UUID:
    found = await addresses.list_(request.cloud, request.caller, address=text)
    if not found:
        raise NotFound("Floating IP", text)
    return found[0].id
