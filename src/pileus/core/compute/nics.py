"""Interfaces of servers that are there, given and taken by operations on the server."""

from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.compute.interfaces import refuse
from pileus.core.compute.records import Server
from pileus.core.errors import Conflict, NotFound
from pileus.core.network import ports
from pileus.core.network.ports import NicWant
from pileus.core.operations import Accepted


class OnPort(msgspec.Struct, frozen=True, kw_only=True):
    """The port that comes to the server, or goes."""

    port: UUID


async def add(cloud: Cloud, caller: Caller, key: UUID, nic: NicWant, *, command: str = "") -> Accepted:
    """Make (or take) a port and plug it; the resource is the server."""
    async with cloud.transaction(caller) as tx:
        server = await caller.find(tx.rows, Server, key, "server.attach_nic")
        refuse(caller, server, "attach_nic")
        port = await ports.add(tx, caller, server, nic)
        operation = await tx.start(
            "server.attach_nic", subject=server, want=OnPort(port=port.id), command=command
        )
    return Accepted(server, operation)


async def remove(cloud: Cloud, caller: Caller, key: UUID, port: UUID, *, command: str = "") -> Accepted:
    """Unplug a port that is not the first one; the resource is the server."""
    async with cloud.transaction(caller) as tx:
        server = await caller.find(tx.rows, Server, key, "server.detach_nic")
        refuse(caller, server, "detach_nic")
        held = [one.id for one, _ in await ports.of_server(tx, key)]
        if port not in held:
            raise NotFound("Port", port)
        if held[0] == port:
            raise Conflict(f"Interface {port} is the default one of server {key} and stays with it.")
        operation = await tx.start(
            "server.detach_nic", subject=server, want=OnPort(port=port), command=command
        )
    return Accepted(server, operation)
