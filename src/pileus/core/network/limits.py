"""What a project may have of network resources, what it has, and how much of a network's addresses is in use."""

from collections.abc import Mapping
from uuid import UUID

import msgspec

from pileus.core import limits, quota
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.errors import Invalid
from pileus.core.identity.records import Project
from pileus.core.network import allocation, visible
from pileus.core.network.records import FixedAddress, Network, Subnet
from pileus.core.quota import Limit

RESOURCES = ("networks", "subnets", "ports", "routers", "addresses", "security_groups", "security_rules")


async def change(
    cloud: Cloud, caller: Caller, project: UUID, wanted: Mapping[str, int], *, force: bool = True
) -> None:
    """Set limits; UNLIMITED is -1. Without `force` none below what is used."""
    if not set(wanted) <= set(RESOURCES):
        raise Invalid(f"{', '.join(set(wanted) - set(RESOURCES))} cannot be limited here.")
    await limits.change(cloud, caller, project, wanted, force=force)


async def changed(cloud: Cloud, caller: Caller) -> dict[UUID, dict[str, int]]:
    """The limits of every project that has some of its own."""
    caller.require_admin("quota.list")
    async with cloud.view() as look:
        rows = await look.list(Limit, resource=RESOURCES)
        known = await look.list(Project, id=tuple({row.project for row in rows})) if rows else []
        ours = await quota.defaults(look.rows)
    found = {project.id: {name: ours[name] for name in RESOURCES} for project in known}
    for row in rows:
        if row.project in found:
            found[row.project][row.resource] = row.limit
    return found


class Filled(msgspec.Struct, frozen=True):
    """How many addresses of a subnet's pools there are, and how many of the subnet are in use."""

    subnet: Subnet
    total: int
    used: int


async def filled(cloud: Cloud, caller: Caller, key: UUID | None = None) -> list[tuple[Network, list[Filled]]]:
    """By network; of one network where `key` names it."""
    caller.require_admin("network.usage")
    async with cloud.view() as look:
        found = [await visible.network(look, caller, key)] if key else await visible.networks(look, caller)
        shown = []
        for network in found:
            subnets = await look.list(Subnet, network=network.id, order=("created_at", "id"))
            counts = [
                Filled(
                    subnet,
                    sum(last - first + 1 for first, last in allocation.ranges(subnet)),
                    await look.count(FixedAddress, subnet=subnet.id),
                )
                for subnet in subnets
            ]
            shown.append((network, counts))
        return shown
