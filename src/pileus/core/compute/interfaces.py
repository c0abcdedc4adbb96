"""Network interfaces of servers that are there: given and taken while they run or are stopped."""

from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.compute.lifecycle import refuse_locked
from pileus.core.compute.records import Server, State
from pileus.core.compute.states import HostUnready, StateConflict
from pileus.core.errors import NotFound
from pileus.core.network import ports
from pileus.core.network.ports import NicWant
from pileus.core.network.records import Port, PortUse
from pileus.core.operations import Accepted

PLUGGABLE = frozenset({State.ACTIVE, State.PAUSED, State.STOPPED})


class Plug(msgspec.Struct, frozen=True, kw_only=True):
    """The server whose interface (the operation's subject, a port) comes or goes."""

    server: UUID


def refuse(caller: Caller, server: Server, verb: str) -> None:
    refuse_locked(caller, server)
    if server.state not in PLUGGABLE:
        raise StateConflict(server.id, verb, server.state)
    if server.host is None:
        raise HostUnready(server.id)


async def attach_nic(cloud: Cloud, caller: Caller, key: UUID, nic: NicWant) -> Accepted:
    """Take or make a port and plug it; the resource is the port."""
    async with cloud.transaction(caller) as tx:
        server = await caller.find(tx.rows, Server, key, "server.attach_nic")
        refuse(caller, server, "attach_nic")
        port = await ports.add(tx, caller, server, nic)
        operation = await tx.start(
            "nic.attach", subject=port, want=Plug(server=key), key=key, command="attach_interface"
        )
    return Accepted(port, operation)


async def detach_nic(cloud: Cloud, caller: Caller, key: UUID, port_id: UUID) -> Accepted:
    """Unplug a port; one that was made for the server goes, another is free again."""
    async with cloud.transaction(caller) as tx:
        server = await caller.find(tx.rows, Server, key, "server.detach_nic")
        refuse(caller, server, "detach_nic")
        port = await tx.maybe(Port, port_id)
        if port is None or port.device != key or port.use is not PortUse.SERVER:
            raise NotFound("Port", port_id)
        operation = await tx.start(
            "nic.detach", subject=port, want=Plug(server=key), key=key, command="detach_interface"
        )
    return Accepted(port, operation)
