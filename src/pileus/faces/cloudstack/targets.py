"""Which interface of a virtual machine a rule of a public address is for."""

from uuid import UUID

import msgspec

from pileus.core.cloud import Look
from pileus.core.compute.records import Server
from pileus.core.errors import Invalid
from pileus.core.network import ports
from pileus.core.network.ports import Addressed
from pileus.core.network.records import Address
from pileus.faces.cloudstack.commands import Call


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """As the parameters say it. Without `network`: the interface in the address's network, or the first one."""

    address: UUID
    server: UUID
    network: UUID | None = None
    inside: str | None = None


class Found(msgspec.Struct, frozen=True):
    port: UUID
    inside: str
    """The interface's IPv4 address."""


async def target(call: Call, want: Target) -> Found:
    """Raises NotFound for ids that name nothing, Invalid where the machine has no such interface."""
    async with call.cloud.view() as look:
        address = await call.caller.find(look.rows, Address, want.address, "address.update")
        server = await call.caller.find(look.rows, Server, want.server, "server.read")
        return await _choose(look, want, address, server)


async def _choose(look: Look, want: Target, address: Address, server: Server) -> Found:
    network = want.network or address.network
    for port, held in await _fitting(look, server, network):
        for one in held:
            if ":" not in one.address and want.inside in (None, one.address):
                return Found(port.id, one.address)
    place = f" in network {network}" if network else ""
    asked = f" with address {want.inside}" if want.inside else ""
    raise Invalid(f"Virtual machine {server.name} ({server.id}) has no interface{place}{asked}.")


async def _fitting(look: Look, server: Server, network: UUID | None) -> list[Addressed]:
    every = await ports.of_server(look, server.id)
    return [held for held in every if network in (None, held[0].network)]
