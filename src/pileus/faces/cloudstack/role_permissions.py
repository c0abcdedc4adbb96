"""The rules of roles."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

from pileus.core.cloud import Look
from pileus.core.identity.tenancy import account_roles
from pileus.core.identity.tenancy.account_roles import RuleWant
from pileus.core.identity.tenancy.tenancy_records import AccountRole, AccountRoleRule
from pileus.faces.cloudstack import default_rules
from pileus.faces.cloudstack.commands import Call, Listed, command, view
from pileus.faces.cloudstack.errors import PARAMETER, ApiError
from pileus.faces.cloudstack.params import Params, param
from pileus.faces.cloudstack.roles import permission_of


class NewRule(Params):
    role: UUID = param("roleid", "the role")
    rule: str = param("rule", "a command, or many by a wildcard such as list*")
    permission: str = param("permission", "allow or deny")
    description: str = param("description", "what the rule is for", default="")


class ChangedRule(Params):
    role: UUID = param("roleid", "the role")
    order: tuple[UUID, ...] | None = param(
        "ruleorder", "all rules of the role in their new order", default=None
    )
    rule: UUID | None = param("ruleid", "the rule that is changed", default=None)
    permission: str = param("permission", "allow or deny", default="")


class OnRule(Params):
    id: UUID = param("id", "the rule")


class ListRules(Params):
    role: UUID | None = param("roleid", "list those of a role", default=None)


@view(AccountRoleRule, "rolepermission", "RolePermission")
async def rules_shown(call: Call, look: Look, rules: Sequence[AccountRoleRule]) -> list[dict[str, Any]]:
    names = {role.id: role.name for role in await look.list(AccountRole)}
    return [shown(rule, rule.id, rule.role, names.get(rule.role)) for rule in rules]


def shown(rule: AccountRoleRule | RuleWant, key: UUID, role: UUID, name: str | None) -> dict[str, Any]:
    return {
        "id": key,
        "roleid": role,
        "rolename": name,
        "rule": rule.rule,
        "permission": "allow" if rule.allow else "deny",
        "description": rule.description or None,
    }


@command("createRolePermission", params=NewRule)
async def create(call: Call, params: NewRule) -> AccountRoleRule:
    """Adds a rule to a role, as the last one."""
    want = RuleWant(rule=params.rule, allow=permission_of(params.permission), description=params.description)
    return await account_roles.add_rule(call.cloud, call.caller, params.role, want)


@command("updateRolePermission", params=ChangedRule)
async def update(call: Call, params: ChangedRule) -> None:
    """Orders the rules of a role, or changes what one of them says."""
    if params.order is not None:
        if params.rule is not None or params.permission:
            raise ApiError(
                PARAMETER, "Parameters permission and ruleid must be mutually exclusive with ruleorder"
            )
        await account_roles.reorder(call.cloud, call.caller, params.role, params.order)
        return
    if params.rule is None or not params.permission:
        raise ApiError(PARAMETER, "Name the new order by ruleorder, or a rule by ruleid with its permission.")
    allow = permission_of(params.permission)
    await account_roles.set_rule(call.cloud, call.caller, params.role, params.rule, allow)


@command("deleteRolePermission", params=OnRule)
async def delete(call: Call, params: OnRule) -> None:
    """Takes a rule away from its role."""
    await account_roles.remove_rule(call.cloud, call.caller, params.id)


@command("listRolePermissions", params=ListRules)
async def listing(call: Call, params: ListRules) -> Listed[Any]:
    """Lists the rules of a role, or of all roles, in order."""
    roles = await account_roles.list_all(call.cloud)
    if params.role is not None:
        roles = [await account_roles.show(call.cloud, call.caller, params.role)]
    async with call.cloud.view() as look:
        found = [each for role in roles for each in await of_role(look, role)]
    return Listed(found, len(found))


async def of_role(look: Look, role: AccountRole) -> list[dict[str, Any]]:
    if not role.default:
        return [shown(rule, rule.id, role.id, role.name) for rule in await account_roles.rules(look, role.id)]
    return [shown(rule, uuid5(role.id, rule.rule), role.id, role.name) for rule in default_rules.of(role)]
