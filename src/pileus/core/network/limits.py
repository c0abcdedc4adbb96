"""What a project may have of network resources, what it has, and how much of a network's addresses is in use."""

from collections.abc import Mapping
from uuid import UUID

import msgspec

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.errors import Invalid
from pileus.core.limits import defaults
from pileus.core.network import allocation, visible
from pileus.core.network.records import FixedAddress, Network, Subnet
from pileus.core.quota import UNLIMITED, Limit

RESOURCES = ("networks", "subnets", "ports", "routers", "addresses", "security_groups", "security_rules")


async def change(cloud: Cloud, caller: Caller, project: UUID, limits: Mapping[str, int]) -> None:
    """Set limits; UNLIMITED is -1."""
    caller.require_admin("quota.update")
    for name, limit in limits.items():
        if name not in RESOURCES or limit < UNLIMITED:
            raise Invalid(f"The limit {limit} of {name} cannot be set; limits are -1 (none) or more.")
    async with cloud.transaction(caller) as tx:
        for name, limit in limits.items():
            await tx.rows.put(Limit(project=project, resource=name, limit=limit))


async def changed(cloud: Cloud, caller: Caller) -> dict[UUID, dict[str, int]]:
    """The limits of every project that has some of its own."""
    caller.require_admin("quota.list")
    async with cloud.view() as look:
        rows = await look.list(Limit, resource=RESOURCES)
    found: dict[UUID, dict[str, int]] = {}
    for row in rows:
        found.setdefault(row.project, defaults(RESOURCES))[row.resource] = row.limit
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
