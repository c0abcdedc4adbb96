"""What a project may have of volumes and snapshots, and what it has."""

from collections.abc import Mapping
from uuid import UUID

from pileus.core import limits, quota
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.errors import Invalid
from pileus.core.quota import UNLIMITED

RESOURCES = ("volumes", "volume_gib", "snapshots")


async def change(cloud: Cloud, caller: Caller, project: UUID, wanted: Mapping[str, int]) -> None:
    """Set limits, none of them below what is used; UNLIMITED is -1."""
    caller.require_admin("quota.update")
    limits.check(wanted)
    async with cloud.transaction(caller) as tx:
        every = await quota.usages(tx.rows, project)
        for name, limit in wanted.items():
            if limit != UNLIMITED and limit < every[name][0]:
                raise Invalid(
                    f"Quota {name} limit must be equal or greater than existing resources: "
                    f"{every[name][0]} are in use, and the requested limit is {limit}."
                )
            await quota.keep(tx.rows, project, name, limit)
