"""A project's limits as administrators set them; key pairs are counted by user."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from pileus.core import limits, quota
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.errors import Invalid
from pileus.core.identity.records import Project

__all__ = ["of_project", "reset_limits", "set_limits"]


async def of_project(cloud: Cloud, caller: Caller, project: UUID) -> dict[str, tuple[int, int]]:
    """(used, limit) by resource."""
    if not caller.sees(project):
        caller.require("quota.read", project=project)
    async with cloud.view() as look:
        used = await quota.usages(look.rows, project)
        pairs, _ = (await quota.usages(look.rows, caller.user))[quota.KEY_PAIRS]
    return used | {quota.KEY_PAIRS: (pairs, used[quota.KEY_PAIRS][1])}


async def set_limits(
    cloud: Cloud, caller: Caller, project: UUID, wanted: Mapping[str, int], *, force: bool = False
) -> dict[str, tuple[int, int]]:
    """`force`: also below what is used already. Raises Invalid."""
    caller.require_admin("quota.update")
    async with cloud.view() as look:
        if await look.maybe(Project, project) is None:
            raise Invalid(f"Project ID {project.hex} is not a valid project.")
    await limits.change(cloud, caller, project, wanted, force=force)
    async with cloud.view() as look:
        return await quota.usages(look.rows, project)


async def reset_limits(cloud: Cloud, caller: Caller, project: UUID, resources: Sequence[str]) -> None:
    """Back to the defaults."""
    await limits.reset(cloud, caller, project, resources)
