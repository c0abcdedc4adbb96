"""What was done to a server: its operations, also after it is gone."""

from uuid import UUID

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.compute.records import Server
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


async def one(
    cloud: Cloud, caller: Caller, key: UUID, request: str, *, deleted: bool = True
) -> list[Operation]:
    """What one request began on the server, oldest first. Raises NotFound."""
    found = [each for each in await of_server(cloud, caller, key, deleted=deleted) if each.request == request]
    if not found:
        raise NotFound("Action", request)
    return found[::-1]
