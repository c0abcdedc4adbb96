"""Operations as those see them who asked for the work, and those who run the cloud."""

from uuid import UUID

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.errors import NotFound
from pileus.core.operations import Operation


async def show(cloud: Cloud, caller: Caller, key: UUID) -> Operation:
    """Raises NotFound for what the caller may not see; what belongs to no project is for administrators."""
    async with cloud.view() as look:
        found = await look.maybe(Operation, key)
    if found is None or not (caller.admin or (found.project is not None and caller.sees(found.project))):
        raise NotFound("Operation", key)
    if found.project is not None:
        caller.require("operation.read", project=found.project)
    return found
