"""From a server's records to the guest that runs it, and what only its platform knows: console log and screen."""

from uuid import UUID

import msgspec

from pileus.core.block import volumes
from pileus.core.block.records import Volume
from pileus.core.caller import Caller
from pileus.core.cloud import Look
from pileus.core.compute import consoles
from pileus.core.compute.records import Server
from pileus.core.errors import Conflict, Unavailable, Unsupported
from pileus.core.network import ports
from pileus.core.network.records import Network, Port
from pileus.drivers.errors import Missing, Refused, Unreachable
from pileus.drivers.hypervisor.protocol import Disk, Guest, Hypervisor, Nic, Screen
from pileus.workflows.disks import disk_of
from pileus.workflows.site import Site

CONFIG_DRIVE = "vdz"
DEFAULT_MTU = 1442


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """The records that a guest is made of."""

    server: Server
    volumes: list[Volume]
    ports: list[Port]
    mtus: dict[UUID, int]


async def parts(look: Look, server: Server) -> Parts:
    held = [port for port, _ in await ports.of_server(look, server.id)]
    keys = tuple({port.network for port in held})
    mtus = {network.id: network.mtu for network in await look.list(Network, id=keys)}
    return Parts(server=server, volumes=await volumes.of_server(look, server.id), ports=held, mtus=mtus)


async def guest_of(site: Site, server: Server, *, config_drive: Disk | None = None) -> Guest:
    """The guest as its records want it now. Raises Missing for a disk that its pool does not have."""
    async with site.cloud.view() as look:
        of = await parts(look, server)
    disks = [await disk_of(site, volume) for volume in of.volumes]
    if config_drive is not None:
        disks.append(config_drive)
    return Guest(
        id=server.id,
        name=server.name,
        vcpus=server.vcpus,
        memory_mib=server.memory_mib,
        disks=tuple(disks),
        nics=tuple(nic_of(port, of.mtus.get(port.network, DEFAULT_MTU)) for port in of.ports),
        firmware=firmware(of.volumes),
    )


def firmware(disks: list[Volume]) -> str:
    """As the image that the root disk was made from asks."""
    asked = disks[0].image_properties.get("hw_firmware_type", "") if disks else ""
    return "uefi" if asked == "uefi" else "bios"


def nic_of(port: Port, mtu: int) -> Nic:
    return Nic(port=port.id, mac=port.mac, mtu=mtu)


def drive(server: UUID, path: str, format: str) -> Disk:
    return Disk(volume=server, path=path, format=format, device=CONFIG_DRIVE, read_only=True, cdrom=True)


def hypervisor_of(site: Site, server: Server) -> Hypervisor:
    """Where the server runs. Raises Conflict for one that is on no host."""
    if server.host is None:
        raise Conflict(f"Server {server.id} is on no host; it is not running.")
    return site.hypervisor(server.host)


async def console_log(site: Site, caller: Caller, key: UUID, *, max_bytes: int = 1 << 20) -> str:
    """The end of what the guest wrote to its serial port. Raises Conflict, Unsupported, Unavailable."""
    async with site.cloud.view() as look:
        server = await caller.find(look.rows, Server, key, "server.read")
    hypervisor = hypervisor_of(site, server)
    if not hypervisor.capabilities.console_log:
        raise Unsupported(f"{hypervisor.capabilities.hypervisor} keeps no console log.")
    try:
        written = await hypervisor.console_log(key, max_bytes=max_bytes)
    except Missing:
        raise Conflict(f"Server {key} has no guest on its host; start it first.") from None
    except Unreachable as error:
        raise Unavailable("The server's host does not answer.", private=str(error)) from error
    return written.decode("utf-8", "replace")


async def screen(site: Site, key: UUID) -> Screen:
    """Where the guest's screen is served now. Raises Conflict when there is none."""
    async with site.cloud.view() as look:
        server = await look.get(Server, key)
    try:
        return await hypervisor_of(site, server).screen(key)
    except (Missing, Refused):
        raise Conflict(f"Server {key} is not running; it has no screen now.") from None
    except Unreachable as error:
        raise Unavailable("The server's host does not answer.", private=str(error)) from error


async def open_console(site: Site, caller: Caller, key: UUID, *, kind: str = "novnc") -> str:
    """The path, with its one-time token, at which a browser sees the server's screen."""
    async with site.cloud.view() as look:
        server = await caller.find(look.rows, Server, key, "server.console")
    if "vnc" not in hypervisor_of(site, server).capabilities.consoles:
        raise Unsupported("Unavailable console type vnc.")
    token = await consoles.issue(site.cloud, caller, key, kind=kind)
    return f"/console/vnc?token={token}"
