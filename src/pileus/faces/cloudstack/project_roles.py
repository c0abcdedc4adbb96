"""Roles inside projects, and their rules."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from msgspec import UNSET

from pileus.core.cloud import Look
from pileus.core.identity.tenancy import project_roles
from pileus.core.identity.tenancy.project_roles import UpdateProjectRole
from pileus.core.identity.tenancy.tenancy_records import ProjectRole, ProjectRoleRule
from pileus.faces.cloudstack.commands import Call, Listed, command, view
from pileus.faces.cloudstack.errors import PARAMETER, ApiError
from pileus.faces.cloudstack.guest_os import cut
from pileus.faces.cloudstack.params import Listing, Params, param
from pileus.faces.cloudstack.roles import permission_of


class InProject(Params):
    project: UUID = param("projectid", "the project")


class NewRole(InProject):
    name: str = param("name", "the role's name, which no other of the project has")
    description: str = param("description", "what the role is for", default="")


class ChangedRole(InProject):
    id: UUID = param("id", "the project role")
    name: str = param("name", "its new name", default="")
    description: str = param("description", "its new description", default="")


class OnRole(InProject):
    id: UUID = param("id", "the project role")


class ListRoles(Listing):
    project: UUID = param("projectid", "the project")
    role: UUID | None = param("projectroleid", "list by id", default=None)
    name: str = param("name", "list by name", default="")


class NewRule(InProject):
    role: UUID = param("projectroleid", "the project role")
    rule: str = param("rule", "a command, or many by a wildcard such as list*")
    permission: str = param("permission", "allow or deny")
    description: str = param("description", "what the rule is for", default="")


class ChangedRule(InProject):
    role: UUID = param("projectroleid", "the project role")
    order: tuple[UUID, ...] | None = param(
        "ruleorder", "all rules of the role in their new order", default=None
    )
    rule: UUID | None = param("projectrolepermissionid", "the rule that is changed", default=None)
    permission: str = param("permission", "allow or deny", default="")


class OnRule(InProject):
    id: UUID = param("id", "the rule")


class ListRules(InProject):
    role: UUID | None = param("projectroleid", "list those of a role", default=None)


@view(ProjectRole, "projectrole", "ProjectRole")
async def roles_shown(call: Call, look: Look, roles: Sequence[ProjectRole]) -> list[dict[str, Any]]:
    return [
        {
            "id": role.id,
            "projectid": role.project,
            "name": role.name,
            "description": role.description or None,
        }
        for role in roles
    ]


@view(ProjectRoleRule, "projectrolepermission", "ProjectRolePermission")
async def rules_shown(call: Call, look: Look, rules: Sequence[ProjectRoleRule]) -> list[dict[str, Any]]:
    wanted = tuple({rule.role for rule in rules})
    names = {role.id: role.name for role in await look.list(ProjectRole, id=wanted)}
    return [
        {
            "id": rule.id,
            "projectid": rule.project,
            "projectroleid": rule.role,
            "projectrolename": names.get(rule.role),
            "rule": rule.rule,
            "permission": "allow" if rule.allow else "deny",
            "description": rule.description or None,
        }
        for rule in rules
    ]


@command("createProjectRole", params=NewRole)
async def create(call: Call, params: NewRole) -> ProjectRole:
    """Creates a role inside a project."""
    return await project_roles.create(
        call.cloud, call.caller, params.project, params.name, params.description
    )


@command("updateProjectRole", params=ChangedRole)
async def update(call: Call, params: ChangedRole) -> ProjectRole:
    """Changes a project role's name or description."""
    want = UpdateProjectRole(name=params.name or UNSET, description=params.description or UNSET)
    return await project_roles.update(call.cloud, call.caller, params.project, params.id, want)


@command("deleteProjectRole", params=OnRole)
async def delete(call: Call, params: OnRole) -> None:
    """Deletes a project role that no member has."""
    await project_roles.delete(call.cloud, call.caller, params.project, params.id)


@command("listProjectRoles", params=ListRoles)
async def listing(call: Call, params: ListRoles) -> Listed[Any]:
    """Lists the roles of a project."""
    found = [
        role
        for role in await project_roles.list_all(call.cloud, call.caller, params.project)
        if params.role in (None, role.id)
        and params.name in ("", role.name)
        and params.keyword.lower() in role.name.lower()
    ]
    async with call.cloud.view() as look:
        return cut(await roles_shown(call, look, found), params)


@command("createProjectRolePermission", params=NewRule)
async def add_rule(call: Call, params: NewRule) -> ProjectRoleRule:
    """Adds a rule to a project role, as the last one."""
    return await project_roles.add_rule(
        call.cloud,
        call.caller,
        params.project,
        params.role,
        params.rule,
        permission_of(params.permission),
        params.description,
    )


@command("updateProjectRolePermission", params=ChangedRule)
async def set_rule(call: Call, params: ChangedRule) -> None:
    """Orders the rules of a project role, or changes what one of them says."""
    where = (call.cloud, call.caller, params.project, params.role)
    if params.order is not None:
        if params.rule is not None or params.permission:
            raise ApiError(
                PARAMETER, "Parameters permission and ruleid must be mutually exclusive with ruleorder"
            )
        await project_roles.reorder(*where, params.order)
        return
    if params.rule is None or not params.permission:
        raise ApiError(
            PARAMETER,
            "Name the new order by ruleorder, or a rule by projectrolepermissionid with its permission.",
        )
    await project_roles.set_rule(*where, params.rule, permission_of(params.permission))


@command("deleteProjectRolePermission", params=OnRule)
async def remove_rule(call: Call, params: OnRule) -> None:
    """Takes a rule away from its project role."""
    await project_roles.remove_rule(call.cloud, call.caller, params.project, params.id)


@command("listProjectRolePermissions", params=ListRules)
async def list_rules(call: Call, params: ListRules) -> Listed[ProjectRoleRule]:
    """Lists the rules of a project role, or of all of the project, in order."""
    found = await project_roles.list_rules(call.cloud, call.caller, params.project, params.role)
    return Listed(found, len(found))
