"""Limits of a project for some resources, which each part of the cloud names for itself: shown, set, put back; and the
defaults of all projects."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from pileus.core import quota
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud
from pileus.core.errors import Forbidden, Invalid, NotFound
from pileus.core.identity import domain_limits
from pileus.core.identity.authorization import authority
from pileus.core.identity.records import Project
from pileus.core.quota import EVERYONE, HIGHEST, UNLIMITED, Limit


async def show(
    cloud: Cloud, caller: Caller, project: UUID, resources: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """(used, limit) by resource."""
    if not caller.sees(project):
        caller.require("quota.read", project=project)
    async with cloud.view() as look:
        every = await quota.usages(look.rows, project)
    return {name: every[name] for name in resources}


async def change(
    cloud: Cloud, caller: Caller, project: UUID, limits: Mapping[str, int], *, force: bool = True
) -> None:
    """Set limits of a project; UNLIMITED is -1. Without `force` none below what is used. Raises Invalid."""
    caller.require_admin("quota.update")
    check(limits)
    async with cloud.transaction(caller) as tx:
        held = {} if force else await quota.usages(tx.rows, project)
        for name, limit in limits.items():
            if not force and limit != UNLIMITED and limit < held[name][0]:
                raise Invalid(
                    f"Quota limit {limit} for {name} must be greater than or equal to already used {held[name][0]}."
                )
            await quota.keep(tx.rows, project, name, limit)


async def delegate(cloud: Cloud, caller: Caller, project: UUID, limits: Mapping[str, int]) -> None:
    """Set limits of a project as the manager of a domain above it: not of its own project, and none above what the domain
    may have. Raises Forbidden, Invalid, NotFound."""
    check(limits)
    async with cloud.transaction(caller) as tx:
        held = await tx.maybe(Project, project)
        await authority.require_manages(tx, caller, held.domain if held else None, "quota.update")
        if held is None:
            raise NotFound("Project", project.hex)
        if not caller.admin and project == caller.project:
            raise Forbidden(f"The limits of {held.name}, to which you belong, are for those above it to set.")
        for name, limit in limits.items():
            if quota.TAG in name:
                most = await quota.limit(tx.rows, project, quota.untagged(name))
                domain_limits.refuse_above_untagged(f"account {held.name}", name, limit, most)
            if not caller.admin:
                await domain_limits.require_within(tx, held.domain, name, limit)
            await quota.keep(tx.rows, project, name, limit)


def check(limits: Mapping[str, int]) -> None:
    """Raises Invalid."""
    for name, limit in limits.items():
        if not quota.countable(name) or not UNLIMITED <= limit <= HIGHEST:
            raise Invalid(f"The limit {limit} of {name} cannot be set; limits are -1 (none) or more.")


async def reset(cloud: Cloud, caller: Caller, project: UUID, resources: Sequence[str]) -> None:
    """Back to the defaults."""
    caller.require_admin("quota.delete")
    async with cloud.transaction(caller) as tx:
        for name in resources:
            await tx.rows.delete(Limit, project, name)


async def defaults(cloud: Cloud, resources: Sequence[str]) -> dict[str, int]:
    async with cloud.view() as look:
        every = await quota.defaults(look.rows)
    return {name: every[name] for name in resources}


async def change_defaults(cloud: Cloud, caller: Caller, limits: Mapping[str, int]) -> None:
    """Set what projects without limits of their own have. Raises Invalid."""
    caller.require_admin("quota.update")
    check(limits)
    async with cloud.transaction(caller) as tx:
        for name, limit in limits.items():
            await quota.keep(tx.rows, EVERYONE, name, limit)
