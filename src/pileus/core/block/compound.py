"""What is done to volumes in one go: made for a server that is there, and changed in kind and size."""

from uuid import UUID

from msgspec.structs import replace

from pileus.core.block import volumes
from pileus.core.block.records import Volume
from pileus.core.block.volumes import Create
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.compute.records import Server
from pileus.core.compute.records import State as ServerState
from pileus.core.errors import Conflict, Invalid, Unsupported
from pileus.core.operations import Accepted
from pileus.core.together import together


async def create_for(
    cloud: Cloud, caller: Caller, want: Create, server_id: UUID, *, command: str = ""
) -> Accepted:
    """A volume that is filled, then given to the server; the server's other operations wait for it."""
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


async def resize(
    cloud: Cloud, caller: Caller, key: UUID, *, size_gib: int, kind: UUID | None = None
) -> Accepted | Volume:
    """Another kind, and a larger size. Without growth it is done at once."""
    async with together(cloud, caller) as joined:
        volume = await volumes.show(joined, caller, key)
        if volume.ephemeral:
            raise Unsupported(
                f"Volume {key} came with server {volume.server}, whose size says how large it is."
            )
        if size_gib < volume.size_gib:
            raise Invalid(
                f"Volume {key} has {volume.size_gib} GiB and cannot become smaller; make a new one of {size_gib} GiB."
            )
        if kind is not None:
            volume = await volumes.update(joined, caller, key, kind=kind)
        if size_gib > volume.size_gib or kind is None:
            return await volumes.extend(joined, caller, key, size_gib)
        return volume
