"""What was done to a server: its operations, also after it is gone."""

from uuid import UUID

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.compute.records import Host, Server
from pileus.core.errors import NotFound
from pileus.core.operations import Operation


async def of_server(cloud: Cloud, caller: Caller, key: UUID, *, deleted: bool = True) -> list[Operation]:
    """Newest first. Raises NotFound for a server that never was, or (without `deleted`) is no more."""
    async with cloud.view() as look:
        server = await look.maybe(Server, key)
        found = await look.list(Operation, key=key, order=("-sequence",))
    if server is not None:
        project: UUID | None = server.project
    else:
        own = next((each for each in found if each.subject == key and each.kind == "server"), None)
        project = own.project if own is not None and deleted else None
    if project is None or not caller.sees(project):
        raise NotFound("Server", key)
    caller.require("server.read", project=project)
    return found


async def host_of(cloud: Cloud, key: UUID) -> Host | None:
    """Where the server is; None for one that is nowhere or gone. For who has read its history."""
    async with cloud.view() as look:
        server = await look.maybe(Server, key)
        return await look.maybe(Host, server.host) if server is not None and server.host else None
