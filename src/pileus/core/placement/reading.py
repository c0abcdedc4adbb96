"""What hosts have and what of it is taken, for those who plan: administrators and other services."""

from collections import Counter
from typing import Any
from uuid import UUID

from pileus.core.caller import SERVICE, Caller
from pileus.core.cloud import Cloud
from pileus.core.compute.records import Host
from pileus.core.errors import Forbidden, NotFound
from pileus.core.placement.records import Claim


def require(caller: Caller) -> None:
    if not caller.admin and SERVICE not in caller.roles:
        raise Forbidden("Only an administrator or a service may read placement.")


async def hosts(cloud: Cloud, caller: Caller, **equals: Any) -> list[Host]:
    require(caller)
    async with cloud.view() as look:
        return await look.list(Host, order=("number",), **equals)


async def host(cloud: Cloud, caller: Caller, key: UUID) -> Host:
    require(caller)
    async with cloud.view() as look:
        found = await look.maybe(Host, key)
    if found is None:
        raise NotFound("Resource provider", key)
    return found


async def claims_on(cloud: Cloud, caller: Caller, key: UUID) -> list[Claim]:
    require(caller)
    async with cloud.view() as look:
        return await look.list(Claim, host=key)


async def claim_of(cloud: Cloud, caller: Caller, consumer: UUID) -> tuple[Claim, Host] | None:
    require(caller)
    async with cloud.view() as look:
        found = await look.maybe(Claim, consumer)
        holder = await look.maybe(Host, found.host) if found else None
    return (found, holder) if found and holder else None


async def used_by(
    cloud: Cloud, caller: Caller, project: UUID, user: UUID | None = None
) -> tuple[Counter[str], int]:
    """What the claims of a project (of one user in it) sum to, and how many they are."""
    if not caller.sees(project) and SERVICE not in caller.roles:
        raise Forbidden("The usage of another project is for administrators.")
    more = {"user": user} if user else {}
    async with cloud.view() as look:
        found = await look.list(Claim, project=project, **more)
    used: Counter[str] = Counter()
    for claim in found:
        used += Counter({"vcpus": claim.vcpus, "memory_mib": claim.memory_mib, "disk_gib": claim.disk_gib})
    return used, len(found)
