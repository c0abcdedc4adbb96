"""Limits of a project for some resources, which each part of the cloud names for itself: shown, and put back."""

from collections.abc import Sequence
from uuid import UUID

from pileus.core import quota
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.quota import DEFAULTS, Limit


async def show(
    cloud: Cloud, caller: Caller, project: UUID, resources: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """(used, limit) by resource."""
    caller.require("quota.read", project=project)
    async with cloud.view() as look:
        every = await quota.usages(look.rows, project)
    return {name: every[name] for name in resources}


async def reset(cloud: Cloud, caller: Caller, project: UUID, resources: Sequence[str]) -> None:
    """Back to the defaults."""
    caller.require_admin("quota.delete")
    async with cloud.transaction(caller) as tx:
        for name in resources:
            await tx.rows.delete(Limit, project, name)


def defaults(resources: Sequence[str]) -> dict[str, int]:
    return {name: DEFAULTS[name] for name in resources}
