"""Roles of accounts: what of an API the users of an account may call. They only narrow what the core allows."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid5

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Conflict, Exists, Forbidden, Invalid, NotFound
from pileus.core.identity.changes import changed, given
from pileus.core.identity.records import Project, ProjectKind
from pileus.core.identity.tenancy.rule_lists import checked, ordered
from pileus.core.identity.tenancy.tenancy_records import AccountRole, AccountRoleRule, RoleType

NAMES = UUID("6f0f6e5c-6d58-5c53-9d5b-1f0f5b1f7a10")
"""Namespace of the ids that every cloud shares."""
DEFAULTS: Sequence[tuple[str, RoleType, str]] = (
    ("Root Admin", RoleType.ADMIN, "Default root admin role"),
    ("Resource Admin", RoleType.RESOURCE_ADMIN, "Default resource admin role"),
    ("Domain Admin", RoleType.DOMAIN_ADMIN, "Default domain admin role"),
    ("User", RoleType.USER, "Default user role"),
    ("Read-Only Admin - Default", RoleType.ADMIN, "Default read-only admin role"),
    ("Read-Only User - Default", RoleType.USER, "Default read-only user role"),
    ("Support Admin - Default", RoleType.ADMIN, "Default support admin role"),
    ("Support User - Default", RoleType.USER, "Default support user role"),
)
"""The roles that every cloud has; the first of each type is what an account without a role of its own has. Their rules
belong to the API whose commands they name."""


def id_of(name: str) -> UUID:
    """Of a default role: the same in every cloud."""
    return uuid5(NAMES, f"account_role/{name}")


DEFAULT: dict[RoleType, UUID] = {type_: id_of(name) for name, type_, _ in reversed(DEFAULTS)}
ROOT_ADMIN = DEFAULT[RoleType.ADMIN]


class RuleWant(msgspec.Struct, frozen=True, kw_only=True):
    rule: str
    allow: bool
    description: str = ""


class CreateRole(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    type: RoleType
    description: str = ""
    public: bool = True
    rules: tuple[RuleWant, ...] = ()
    """In order."""


class UpdateRole(msgspec.Struct, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    type: RoleType | UnsetType = UNSET
    public: bool | UnsetType = UNSET


async def ensure(cloud: Cloud) -> None:
    """Make the default roles that are missing; repeating is fine."""
    async with cloud.view() as look:
        there = {role.id for role in await look.list(AccountRole, default=True)}
    if there >= {id_of(name) for name, _, _ in DEFAULTS}:
        return
    async with cloud.transaction() as tx:
        for name, type_, description in DEFAULTS:
            if await tx.maybe(AccountRole, id_of(name)) is None:
                role = AccountRole(
                    id=id_of(name),
                    name=name,
                    type=type_,
                    description=description,
                    default=True,
                    created_at=cloud.now(),
                )
                await tx.add(role)


async def of(look: Look, account: Project, type_: RoleType) -> AccountRole:
    """The role of an account; the default one of the type that its users have in the core, where it has none."""
    held = await look.maybe(AccountRole, account.account_role) if account.account_role else None
    return held or await look.get(AccountRole, DEFAULT[type_])


async def rules(look: Look, role: UUID) -> list[AccountRoleRule]:
    """In order."""
    return await look.list(AccountRoleRule, role=role, order=("position", "id"))


async def show(cloud: Cloud, caller: Caller, key: UUID) -> AccountRole:
    caller.require_admin("account_role.read")
    async with cloud.view() as look:
        return await find(look, key)


async def find(look: Look, key: UUID) -> AccountRole:
    held = await look.maybe(AccountRole, key)
    if held is None:
        raise NotFound("Role", key)
    return held


async def list_all(cloud: Cloud) -> list[AccountRole]:
    """All of them; whoever shows them leaves out what a caller may not see."""
    async with cloud.view() as look:
        return await look.list(AccountRole, order=("created_at", "name"))


async def create(cloud: Cloud, caller: Caller, want: CreateRole) -> AccountRole:
    caller.require_admin("account_role.create")
    async with cloud.transaction(caller) as tx:
        await _free(tx, want.name)
        role = await tx.add(
            AccountRole(
                id=cloud.new_id(),
                name=want.name,
                type=want.type,
                description=want.description,
                public=want.public,
                created_at=cloud.now(),
            )
        )
        await _write(tx, role.id, want.rules)
        await changed(tx)
        return role


async def replace(cloud: Cloud, caller: Caller, want: CreateRole, *, forced: bool) -> AccountRole:
    """Create it or, `forced`, put it in the place of the one of the same name and type. Raises Exists, Forbidden."""
    caller.require_admin("account_role.create")
    async with cloud.view() as look:
        held = await look.one(AccountRole, name=want.name)
    if held is None:
        return await create(cloud, caller, want)
    if not forced:
        raise Exists("Role already exists")
    if held.default:
        raise Forbidden(f"Failed to import the role: {want.name}, default role cannot be overriden")
    async with cloud.transaction(caller) as tx:
        held = await find(tx, held.id)
        if held.type is not want.type:
            await _refuse_used(tx, held, "won't allow to change role type")
        for rule in await rules(tx, held.id):
            await tx.remove(rule)
        role = await tx.put(
            msgspec.structs.replace(held, type=want.type, description=want.description, public=want.public)
        )
        await _write(tx, role.id, want.rules)
        await changed(tx)
        return role


async def _write(tx: Tx, role: UUID, wanted: Sequence[RuleWant]) -> None:
    seen: set[str] = set()
    for place, want in enumerate(wanted):
        if checked(want.rule) in seen:
            raise Exists(f"The rule {want.rule} is there twice; name each rule once.")
        seen.add(want.rule)
        await tx.add(_rule(tx, role, place, want))


def _rule(tx: Tx, role: UUID, place: int, want: RuleWant) -> AccountRoleRule:
    return AccountRoleRule(
        id=tx.cloud.new_id(),
        role=role,
        position=place,
        rule=want.rule,
        allow=want.allow,
        description=want.description,
    )


async def update(cloud: Cloud, caller: Caller, key: UUID, want: UpdateRole) -> AccountRole:
    """Of a default role only whether it is public; the type of none that accounts have."""
    caller.require_admin("account_role.update")
    async with cloud.transaction(caller) as tx:
        held = await find(tx, key)
        changes: dict[str, Any] = given(want)
        if held.default and changes.keys() != {"public"}:
            raise Forbidden(
                "Default roles cannot be updated (with the exception of making it private/public)."
            )
        if changes.get("type", held.type) is not held.type:
            await _refuse_used(tx, held, "won't allow to change role type")
        if changes.get("name", held.name) != held.name:
            await _free(tx, changes["name"])
        updated = await tx.put(msgspec.structs.replace(held, **changes))
        await changed(tx)
        return updated


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> None:
    caller.require_admin("account_role.delete")
    async with cloud.transaction(caller) as tx:
        held = await find(tx, key)
        if held.default:
            raise Forbidden("Default roles cannot be deleted")
        await _refuse_used(tx, held, "won't allow to delete role")
        for rule in await rules(tx, key):
            await tx.remove(rule)
        await tx.remove(held)
        await changed(tx)


async def set_enabled(cloud: Cloud, caller: Caller, key: UUID, enabled: bool) -> AccountRole:
    """Accounts of a disabled role may call nothing. Raises Forbidden for the root administrators' own, which would
    lock everybody out, and Conflict when nothing would change."""
    caller.require_admin("account_role.update")
    async with cloud.transaction(caller) as tx:
        held = await find(tx, key)
        if held.enabled is enabled:
            raise Conflict(f"Role is already {'enabled' if enabled else 'disabled'}")
        if held.id == ROOT_ADMIN:
            raise Forbidden(f"The role {held.name} cannot be disabled: nobody could enable it again.")
        updated = await tx.put(msgspec.structs.replace(held, enabled=enabled))
        await changed(tx)
        return updated


async def add_rule(cloud: Cloud, caller: Caller, role: UUID, want: RuleWant) -> AccountRoleRule:
    """As the last one. Raises Invalid, Exists, Forbidden."""
    caller.require_admin("account_role.update")
    checked(want.rule)
    async with cloud.transaction(caller) as tx:
        held = await find(tx, role)
        _refuse_default(held, "added")
        there = await rules(tx, role)
        if any(rule.rule == want.rule for rule in there):
            raise Exists(f"Rule already exists for the role: {held.name}")
        place = there[-1].position + 1 if there else 0
        made = await tx.add(_rule(tx, role, place, want))
        await changed(tx)
        return made


async def set_rule(cloud: Cloud, caller: Caller, role: UUID, rule: UUID, allow: bool) -> AccountRoleRule:
    caller.require_admin("account_role.update")
    async with cloud.transaction(caller) as tx:
        _refuse_default(await find(tx, role), "updated")
        held = await tx.maybe(AccountRoleRule, rule)
        if held is None or held.role != role:
            raise Invalid("Invalid rule id provided")
        updated = await tx.put(msgspec.structs.replace(held, allow=allow))
        await changed(tx)
        return updated


async def reorder(cloud: Cloud, caller: Caller, role: UUID, order: Sequence[UUID]) -> None:
    """`order` names every rule of the role once. Raises Invalid."""
    caller.require_admin("account_role.update")
    async with cloud.transaction(caller) as tx:
        _refuse_default(await find(tx, role), "updated")
        there = await rules(tx, role)
        places = ordered(order, [rule.id for rule in there])
        for rule in there:
            await tx.put(msgspec.structs.replace(rule, position=places[rule.id]))
        await changed(tx)


async def remove_rule(cloud: Cloud, caller: Caller, rule: UUID) -> None:
    caller.require_admin("account_role.update")
    async with cloud.transaction(caller) as tx:
        held = await tx.maybe(AccountRoleRule, rule)
        if held is None:
            raise NotFound("Role permission", rule)
        _refuse_default(await find(tx, held.role), "deleted")
        await tx.remove(held)
        await changed(tx)


def _refuse_default(role: AccountRole, verb: str) -> None:
    if role.default:
        raise Forbidden(f"Role permission cannot be {verb} for Default roles")


async def _refuse_used(look: Look, role: AccountRole, what: str) -> None:
    if await look.count(Project, account_role=role.id, kind=ProjectKind.ACCOUNT):
        raise Forbidden(f"Found accounts that have role in use, {what}")


async def _free(tx: Tx, name: str) -> None:
    if not name.strip():
        raise Invalid("Invalid role name provided")
    if await tx.count(AccountRole, name=name):
        raise Exists(f"A role named {name} exists already; choose another name.")
