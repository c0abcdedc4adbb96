"""Roles of accounts."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.identity.tenancy import account_roles
from pileus.core.identity.tenancy.account_roles import CreateRole, RuleWant, UpdateRole
from pileus.core.identity.tenancy.tenancy_records import AccountRole, RoleType
from pileus.faces.cloudstack import default_rules, permissions
from pileus.faces.cloudstack.commands import Call, Listed, command, role_of, view
from pileus.faces.cloudstack.errors import PARAMETER, ApiError
from pileus.faces.cloudstack.guest_os import cut
from pileus.faces.cloudstack.params import Listing, Params, Rows, param


class Described(Params):
    type: str = param("type", "the type: Admin, ResourceAdmin, DomainAdmin or User", default="")
    description: str = param("description", "what the role is for", default="")


class NewRole(Described):
    name: str = param("name", "the role's name, which no other has")
    role: UUID | None = param(
        "roleid", "the role whose type and rules it gets, instead of type", default=None
    )
    public: bool = param("ispublic", "whether others than root administrators see it", default=True)


class ImportedRole(Described):
    name: str = param("name", "the role's name")
    rules: Rows = param("rules", "rules in order, as rules[0].rule=list*&rules[0].permission=allow")
    forced: bool = param("forced", "whether a role of this name is replaced", default=False)
    public: bool = param("ispublic", "whether others than root administrators see it", default=True)


class ChangedRole(Params):
    id: UUID = param("id", "the role")
    name: str | None = param("name", "its new name", default=None)
    type: str = param("type", "its new type; of a role that no account has", default="")
    description: str | None = param("description", "its new description", default=None)
    public: bool | None = param("ispublic", "whether others than root administrators see it", default=None)


class OnRole(Params):
    id: UUID = param("id", "the role")


class ListRoles(Listing):
    id: UUID | None = param("id", "list by id", default=None)
    name: str = param("name", "list by name", default="")
    type: str = param("type", "list by type: Admin, ResourceAdmin, DomainAdmin or User", default="")
    state: str = param("state", "list by state: enabled or disabled", default="")


def type_of(text: str) -> RoleType:
    """Raises ApiError 431."""
    found = next((each for each in RoleType if each.value.lower() == text.lower()), None)
    if found is None:
        raise ApiError(
            PARAMETER, f"Invalid role type provided: {text[:100]}; there are {', '.join(RoleType)}."
        )
    return found


def permission_of(text: str) -> bool:
    """Whether it allows. Raises ApiError 431."""
    if text.lower() not in ("allow", "deny"):
        raise ApiError(PARAMETER, "Values for permission parameter should be: allow or deny")
    return text.lower() == "allow"


@view(AccountRole, "role", "Role")
async def roles_shown(call: Call, look: Look, roles: Sequence[AccountRole]) -> list[dict[str, Any]]:
    return [
        {
            "id": role.id,
            "name": role.name,
            "type": role.type.value,
            "description": role.description or None,
            "isdefault": role.default,
            "ispublic": role.public,
            "state": "enabled" if role.enabled else "disabled",
        }
        for role in roles
    ]


@command("createRole", params=NewRole)
async def create(call: Call, params: NewRole) -> AccountRole:
    """Creates a role of a type, or as a copy of another with its rules."""
    if not params.type and params.role is None:
        raise ApiError(PARAMETER, "Neither role type nor role ID is provided")
    if params.type and params.role is not None:
        raise ApiError(PARAMETER, "Both role type and role ID should not be specified")
    rules: tuple[RuleWant, ...] = ()
    if params.role is None:
        kind = type_of(params.type)
    else:
        source = await account_roles.show(call.cloud, call.caller, params.role)
        kind, rules = source.type, await rules_of(call, source)
    want = CreateRole(
        name=params.name, type=kind, description=params.description, public=params.public, rules=rules
    )
    return await account_roles.create(call.cloud, call.caller, want)


async def rules_of(call: Call, role: AccountRole) -> tuple[RuleWant, ...]:
    if role.default:
        return tuple(default_rules.of(role))
    async with call.cloud.view() as look:
        held = await account_roles.rules(look, role.id)
    return tuple(RuleWant(rule=each.rule, allow=each.allow, description=each.description) for each in held)


@command("importRole", params=ImportedRole)
async def bring(call: Call, params: ImportedRole) -> AccountRole:
    """Creates a role with all its rules, or puts it in the place of the one of its name."""
    if not params.type:
        raise ApiError(PARAMETER, "Invalid role type provided")
    rules = []
    for row in params.rules:
        sent = {name.lower(): value for name, value in row.items()}
        if not sent.get("rule"):
            raise ApiError(PARAMETER, "Empty rule provided in rules param")
        if not sent.get("permission"):
            raise ApiError(PARAMETER, "Invalid permission: null provided in rules param")
        allow, text = permission_of(sent["permission"]), sent.get("description", "")
        rules.append(RuleWant(rule=sent["rule"], allow=allow, description=text))
    want = CreateRole(
        name=params.name,
        type=type_of(params.type),
        description=params.description,
        public=params.public,
        rules=tuple(rules),
    )
    return await account_roles.replace(call.cloud, call.caller, want, forced=params.forced)


@command("updateRole", params=ChangedRole)
async def update(call: Call, params: ChangedRole) -> AccountRole:
    """Changes a role; of a default role only whether it is public."""
    changes: dict[str, Any] = {
        "name": params.name or None,
        "description": params.description or None,
        "type": type_of(params.type) if params.type else None,
        "public": params.public,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    return await account_roles.update(call.cloud, call.caller, params.id, UpdateRole(**given))


@command("deleteRole", params=OnRole)
async def delete(call: Call, params: OnRole) -> None:
    """Deletes a role that no account has."""
    await account_roles.delete(call.cloud, call.caller, params.id)


@command("enableRole", params=OnRole)
async def enable(call: Call, params: OnRole) -> None:
    """Lets the accounts of a role call what it allows again."""
    await account_roles.set_enabled(call.cloud, call.caller, params.id, True)


@command("disableRole", params=OnRole)
async def disable(call: Call, params: OnRole) -> None:
    """Lets the accounts of a role call nothing."""
    await account_roles.set_enabled(call.cloud, call.caller, params.id, False)


@command("listRoles", params=ListRoles)
async def listing(call: Call, params: ListRoles) -> Listed[Any]:
    """Lists roles; to others than root administrators those that are public and allow no more than their own."""
    if params.state.lower() not in ("", "enabled", "disabled"):
        raise ApiError(PARAMETER, "Unrecognized role state value")
    kind = type_of(params.type) if params.type else None
    found = [
        role
        for role in await account_roles.list_all(call.cloud)
        if params.id in (None, role.id)
        and params.name in ("", role.name)
        and params.keyword.lower() in role.name.lower()
        and kind in (None, role.type)
        and params.state.lower() in ("", "enabled" if role.enabled else "disabled")
    ]
    async with call.cloud.view() as look:
        if not call.admin:
            found = [role for role in found if await shows(call, look, role)]
        return cut(await roles_shown(call, look, found), params)


async def shows(call: Call, look: Look, role: AccountRole) -> bool:
    if role.type is RoleType.ADMIN or not role.public:
        return False
    theirs = await permissions.of_role(call.cloud, look, role, RoleType(role_of(call.caller)))
    return theirs.within(call.allowed)
