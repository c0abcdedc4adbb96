"""What a project may have of volumes and snapshots, and what it has."""

from collections.abc import Mapping
from uuid import UUID

from pileus.core import quota
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.errors import Invalid
from pileus.core.quota import UNLIMITED, Limit

RESOURCES = ("volumes", "volume_gib", "snapshots")
HIGHEST = (1 << 31) - 1


async def change(cloud: Cloud, caller: Caller, project: UUID, limits: Mapping[str, int]) -> None:
    """Set limits, none of them below what is used; UNLIMITED is -1."""
    caller.require_admin("quota.update")
    async with cloud.transaction(caller) as tx:
        every = await quota.usages(tx.rows, project)
        for name, limit in limits.items():
            if name not in RESOURCES or not UNLIMITED <= limit <= HIGHEST:
                raise Invalid(f"The limit {limit} of {name} cannot be set; limits are -1 (none) or more.")
            if limit != UNLIMITED and limit < every[name][0]:
                raise Invalid(
                    f"Quota {name} limit must be equal or greater than existing resources: "
                    f"{every[name][0]} are in use, and the requested limit is {limit}."
                )
            await tx.rows.put(Limit(project=project, resource=name, limit=limit))
