"""Roles inside one project: what of an API its regular members may call there. They only narrow."""

from collections.abc import Sequence
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look
from pileus.core.errors import Exists, Forbidden, Invalid, NotFound
from pileus.core.identity.changes import changed, given
from pileus.core.identity.tenancy.project_members import require_manages, visible
from pileus.core.identity.tenancy.rule_lists import checked, ordered
from pileus.core.identity.tenancy.tenancy_records import (
    ProjectInvitation,
    ProjectRole,
    ProjectRoleHolder,
    ProjectRoleRule,
)

VERB = "project.role.update"


class UpdateProjectRole(msgspec.Struct, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET


async def create(
    cloud: Cloud, caller: Caller, project: UUID, name: str, description: str = ""
) -> ProjectRole:
    async with cloud.transaction(caller) as tx:
        await require_manages(tx, caller, await visible(tx, caller, project), VERB)
        await _free(tx, project, name)
        return await tx.add(
            ProjectRole(
                id=cloud.new_id(),
                project=project,
                name=name,
                description=description,
                created_at=cloud.now(),
            )
        )


async def list_all(cloud: Cloud, caller: Caller, project: UUID) -> list[ProjectRole]:
    """Its members see them."""
    async with cloud.view() as look:
        await visible(look, caller, project)
        return await look.list(ProjectRole, project=project, order=("created_at", "id"))


async def update(
    cloud: Cloud, caller: Caller, project: UUID, key: UUID, want: UpdateProjectRole
) -> ProjectRole:
    async with cloud.transaction(caller) as tx:
        await require_manages(tx, caller, await visible(tx, caller, project), VERB)
        held = await find(tx, project, key)
        changes = given(want)
        if changes.get("name", held.name) != held.name:
            await _free(tx, project, changes["name"])
        return await tx.put(msgspec.structs.replace(held, **changes))


async def delete(cloud: Cloud, caller: Caller, project: UUID, key: UUID) -> None:
    """Raises Forbidden while members have it."""
    async with cloud.transaction(caller) as tx:
        await require_manages(tx, caller, await visible(tx, caller, project), VERB)
        held = await find(tx, project, key)
        if await tx.count(ProjectRoleHolder, role=key):
            raise Forbidden("Found users that have the project role in use, cannot delete the Project Role")
        for rule in await rules(tx, project, key):
            await tx.remove(rule)
        for invitation in await tx.list(ProjectInvitation, project=project, project_role=key):
            await tx.put(msgspec.structs.replace(invitation, project_role=None))
        await tx.remove(held)
        await changed(tx)


async def rules(look: Look, project: UUID, role: UUID | None = None) -> list[ProjectRoleRule]:
    """In order; of all roles of the project, role after role, when none is named."""
    named = {"role": role} if role else {}
    return await look.list(ProjectRoleRule, project=project, order=("role", "position", "id"), **named)


async def list_rules(cloud: Cloud, caller: Caller, project: UUID, role: UUID | None) -> list[ProjectRoleRule]:
    """In order. Raises Invalid for a role that is of no such project."""
    async with cloud.view() as look:
        await visible(look, caller, project)
        if role is not None and not await look.count(ProjectRole, id=role, project=project):
            raise Invalid("Invalid project role ID provided")
        return await rules(look, project, role)


async def add_rule(
    cloud: Cloud, caller: Caller, project: UUID, role: UUID, rule: str, allow: bool, description: str = ""
) -> ProjectRoleRule:
    """As the last one. Raises Invalid, Exists."""
    checked(rule)
    async with cloud.transaction(caller) as tx:
        await require_manages(tx, caller, await visible(tx, caller, project), VERB)
        await find(tx, project, role)
        there = await rules(tx, project, role)
        if any(held.rule == rule for held in there):
            raise Exists(f"Project role permission for {rule} seems to already exist.")
        made = await tx.add(
            ProjectRoleRule(
                id=cloud.new_id(),
                project=project,
                role=role,
                position=there[-1].position + 1 if there else 0,
                rule=rule,
                allow=allow,
                description=description,
            )
        )
        await changed(tx)
        return made


async def set_rule(cloud: Cloud, caller: Caller, project: UUID, role: UUID, rule: UUID, allow: bool) -> None:
    async with cloud.transaction(caller) as tx:
        await require_manages(tx, caller, await visible(tx, caller, project), VERB)
        held = await tx.maybe(ProjectRoleRule, rule)
        if held is None or (held.project, held.role) != (project, role):
            raise Invalid("Role permission doesn't exist in the project, probably because of invalid rule id")
        await tx.put(msgspec.structs.replace(held, allow=allow))
        await changed(tx)


async def reorder(cloud: Cloud, caller: Caller, project: UUID, role: UUID, order: Sequence[UUID]) -> None:
    """`order` names every rule of the role once. Raises Invalid."""
    async with cloud.transaction(caller) as tx:
        await require_manages(tx, caller, await visible(tx, caller, project), VERB)
        await find(tx, project, role)
        there = await rules(tx, project, role)
        places = ordered(order, [rule.id for rule in there])
        for rule in there:
            await tx.put(msgspec.structs.replace(rule, position=places[rule.id]))
        await changed(tx)


async def remove_rule(cloud: Cloud, caller: Caller, project: UUID, rule: UUID) -> None:
    async with cloud.transaction(caller) as tx:
        await require_manages(tx, caller, await visible(tx, caller, project), VERB)
        held = await tx.maybe(ProjectRoleRule, rule)
        if held is None or held.project != project:
            raise NotFound("Project role permission", rule)
        await tx.remove(held)
        await changed(tx)


async def find(look: Look, project: UUID, key: UUID) -> ProjectRole:
    held = await look.maybe(ProjectRole, key)
    if held is None or held.project != project:
        raise NotFound("Project role", key)
    return held


async def _free(look: Look, project: UUID, name: str) -> None:
    if not name.strip():
        raise Invalid("The project role needs a name.")
    if await look.count(ProjectRole, project=project, name=name):
        raise Exists(f"A project role named {name} exists in this project already; choose another name.")
