"""Network interfaces of servers that are there: given and taken while they run or are stopped."""

from uuid import UUID

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.compute.lifecycle import refuse_locked
from pileus.core.compute.records import Server, State
from pileus.core.compute.states import HostUnready, StateConflict
from pileus.core.errors import Conflict, NotFound
from pileus.core.network import ports
from pileus.core.network.ports import NicWant, Plug
from pileus.core.operations import Accepted

PLUGGABLE = frozenset({State.ACTIVE, State.PAUSED, State.STOPPED})


def refuse(caller: Caller, server: Server, verb: str) -> None:
    refuse_locked(caller, server)
    if server.state not in PLUGGABLE:
        raise StateConflict(server.id, verb, server.state)
    if server.host is None:
        raise HostUnready(server.id)


async def attach_nic(
    cloud: Cloud, caller: Caller, key: UUID, nic: NicWant, *, command: str = "attach_interface"
) -> Accepted:
    """Take or make a port and plug it; the resource is the port, the operation is the server's."""
    async with cloud.transaction(caller) as tx:
        server = await caller.find(tx.rows, Server, key, "server.attach_nic")
        refuse(caller, server, "attach_nic")
        port = await ports.add(tx, caller, server, nic)
        operation = await tx.start(
            "server.attach_nic", subject=server, want=Plug(port=port.id), command=command
        )
    return Accepted(port, operation)


async def detach_nic(
    cloud: Cloud,
    caller: Caller,
    key: UUID,
    port: UUID,
    *,
    default_stays: bool = False,
    command: str = "detach_interface",
) -> Accepted:
    """Unplug a port; one that was made for the server goes, another is free again. `default_stays`: not the first."""
    async with cloud.transaction(caller) as tx:
        server = await caller.find(tx.rows, Server, key, "server.detach_nic")
        refuse(caller, server, "detach_nic")
        held = [one for one, _ in await ports.of_server(tx, key)]
        found = next((one for one in held if one.id == port), None)
        if found is None:
            raise NotFound("Port", port)
        if default_stays and found is held[0]:
            raise Conflict(f"Interface {port} is the default one of server {key} and stays with it.")
        operation = await tx.start("server.detach_nic", subject=server, want=Plug(port=port), command=command)
    return Accepted(found, operation)
