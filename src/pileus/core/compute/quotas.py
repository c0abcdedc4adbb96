"""A project's limits as administrators set them; key pairs are counted by user."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from pileus.core import quota
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.errors import Invalid
from pileus.core.identity.records import Project
from pileus.core.quota import DEFAULTS, UNLIMITED, Limit

__all__ = ["DEFAULTS", "of_project", "reset_limits", "set_limits"]


async def of_project(cloud: Cloud, caller: Caller, project: UUID) -> dict[str, tuple[int, int]]:
    """(used, limit) by resource."""
    if not caller.sees(project):
        caller.require("quota.read", project=project)
    async with cloud.view() as look:
        used = await quota.usages(look.rows, project)
        pairs, _ = (await quota.usages(look.rows, caller.user))["key_pairs"]
    return used | {"key_pairs": (pairs, used["key_pairs"][1])}


async def set_limits(
    cloud: Cloud, caller: Caller, project: UUID, limits: Mapping[str, int], *, force: bool = False
) -> dict[str, tuple[int, int]]:
    """`force`: also below what is used already. Raises Invalid."""
    caller.require_admin("quota.update")
    async with cloud.transaction(caller) as tx:
        if await tx.maybe(Project, project) is None:
            raise Invalid(f"Project ID {project.hex} is not a valid project.")
        held = await quota.usages(tx.rows, project)
        for resource, limit in limits.items():
            used = held[resource][0]
            if limit != UNLIMITED and limit < used and not force:
                raise Invalid(
                    f"Quota limit {limit} for {resource} must be greater than or equal to already used {used}."
                )
            await tx.rows.put(Limit(project=project, resource=resource, limit=limit))
        return await quota.usages(tx.rows, project)


async def reset_limits(cloud: Cloud, caller: Caller, project: UUID, resources: Sequence[str]) -> None:
    """Back to the defaults."""
    caller.require_admin("quota.update")
    async with cloud.transaction(caller) as tx:
        for resource in resources:
            await tx.rows.delete(Limit, project, resource)
