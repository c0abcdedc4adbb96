"""A volume that is made for a server that is there: filled, then given to it, in one operation."""

from uuid import UUID

from msgspec.structs import replace

from pileus.core.block import volumes
from pileus.core.block.volumes import Create
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.compute.records import Server
from pileus.core.compute.records import State as ServerState
from pileus.core.errors import Conflict, Invalid
from pileus.core.operations import Accepted


async def create(
    cloud: Cloud, caller: Caller, want: Create, server_id: UUID, *, command: str = ""
) -> Accepted:
    """The server's operations wait until the volume is filled and plugged."""
    caller.require("volume.create", project=want.project)
    async with cloud.transaction(caller) as tx:
        server = await caller.find(tx.rows, Server, server_id, "server.update")
        if server.project != want.project:
            raise Invalid(f"Server {server.id} belongs to another project than the volume would.")
        if server.state is ServerState.BUILDING or server.state not in volumes.ATTACHABLE:
            raise Conflict(f"Server {server.id} is {server.state}; a volume cannot be attached now.")
        volume = await volumes.add_for_server(tx, caller, server, want, root=False, delete_with_server=False)
        operation = await tx.start("volume.create_for", subject=volume, key=server.id, command=command)
        volume = await tx.put(replace(volume, operation=operation.id))
    return Accepted(volume, operation)
