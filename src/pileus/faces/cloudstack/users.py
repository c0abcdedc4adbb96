"""Users of accounts, and how they and their roles are shown."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec import UNSET

from pileus.core.caller import Caller
from pileus.core.cloud import Look
from pileus.core.errors import Forbidden, Unauthenticated
from pileus.core.identity import users
from pileus.core.identity.authentication import api_keys, passwords, second_factor
from pileus.core.identity.authorization import authority
from pileus.core.identity.records import Domain, Project, Source, User
from pileus.core.identity.tenancy import account_roles, account_types, account_users
from pileus.core.identity.tenancy.accounts import NewUser
from pileus.core.identity.tenancy.tenancy_records import AccountRole, RoleType
from pileus.core.listing import page
from pileus.core.together import together
from pileus.faces.cloudstack import key_rules, owners
from pileus.faces.cloudstack.account_names import account_id
from pileus.faces.cloudstack.commands import Call, Done, Listed, command, view
from pileus.faces.cloudstack.errors import PARAMETER, ApiError, invalid, invalid_id
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import OwnedListing, Params, param
from pileus.store import Condition, any_of, eq, like, literal

ACCOUNT_TYPES: Mapping[RoleType, int] = {
    RoleType.USER: 0,
    RoleType.ADMIN: 1,
    RoleType.DOMAIN_ADMIN: 2,
    RoleType.RESOURCE_ADMIN: 3,
}
SOURCES = {Source.SQL: "native", Source.LDAP: "ldap", Source.FEDERATED: "saml2"}
KEY_ACCESS: Mapping[str, bool | None] = {"enabled": True, "disabled": False, "inherit": None}


class CreateUser(Params):
    account: str = param("account", "the account that the user is to belong to")
    email: str = param("email", "the user's e-mail address")
    first_name: str = param("firstname", "the user's first name")
    last_name: str = param("lastname", "the user's last name")
    password: str = param("password", "the user's password", length=4096)
    username: str = param("username", "the name for logging in, unique in the domain")
    domain: UUID | None = param(
        "domainid", "the domain of the account; the caller's by default", default=None
    )
    timezone: str = param("timezone", "the user's time zone", default="")
    id: UUID | None = param("userid", "the id of the user, where an external system chose it", default=None)


class UpdateUser(Params):
    id: UUID = param("id", "the user")
    email: str | None = param("email", "a new e-mail address", default=None)
    first_name: str | None = param("firstname", "a new first name", default=None)
    last_name: str | None = param("lastname", "a new last name", default=None)
    username: str | None = param("username", "a new name for logging in", default=None)
    timezone: str | None = param("timezone", "a new time zone", default=None)
    password: str | None = param("password", "a new password", default=None, length=4096)
    current: str = param(
        "currentpassword", "the present password, where users change their own", default="", length=4096
    )
    key: str | None = param("userapikey", "an API key that was made elsewhere", default=None)
    secret: str | None = param("usersecretkey", "its secret key", default=None)
    key_access: str = param(
        "apikeyaccess", "whether API keys are taken: enabled, disabled, inherit", default=""
    )
    demand: bool | None = param("mandate2fa", "whether the user must set up a second factor", default=None)


class OnUser(Params):
    user: UUID = param("id", "the user")


class MoveUser(OnUser):
    account: str = param("account", "the account to move to; or accountid", default="")
    account_id: UUID | None = param("accountid", "the account to move to; or account", default=None)


class GetUser(Params):
    key: str = param("userapikey", "the user's API key")


class ListUsers(OwnedListing):
    id: UUID | None = param("id", "list by id", default=None)
    username: str = param("username", "list by name", default="")
    state: str = param("state", "list by state: enabled, disabled or locked", default="")
    type: int | None = param("accounttype", "0: users, 1: administrators, 2: of domains", default=None)
    key_access: str = param("apikeyaccess", "list by whether API keys are taken", default="")
    source: str = param("usersource", "list by where the password is checked", default="")
    icon: bool = param("showicon", "show the icon of each", default=False)


def state(record: User | Project) -> str:
    if not record.enabled:
        return "disabled"
    return "locked" if record.locked else "enabled"


def in_state(word: str) -> list[Condition]:
    """Records in the state; of a word that is none: nothing."""
    conditions = {
        "enabled": [eq("enabled", True), eq("locked", False)],
        "disabled": [eq("enabled", False)],
        "locked": [eq("enabled", True), eq("locked", True)],
        "": [],
    }
    return conditions.get(word.lower(), [any_of()])


def type_named(call: Call, number: int) -> RoleType:
    found = {number: type for type, number in ACCOUNT_TYPES.items()}.get(number)
    if found is None:
        raise invalid(call.name, "accounttype", str(number), "write 0, 1, 2 or 3.")
    return found


def key_access_named(call: Call, word: str) -> bool | None:
    if word.lower() not in KEY_ACCESS:
        raise ApiError(PARAMETER, "ApiKeyAccess value can only be Enabled/Disabled/Inherit")
    return KEY_ACCESS[word.lower()]


def key_access_word(wanted: bool | None) -> str:
    return next(word.upper() for word, value in KEY_ACCESS.items() if value is wanted)


async def role_fields(
    look: Look, accounts: Mapping[UUID, Project], types: Mapping[UUID, RoleType]
) -> dict[UUID, dict[str, Any]]:
    """By whatever `types` is by; `accounts` are those of them that have one."""
    known = {role.id: role for role in await look.list(AccountRole)}
    return {key: _role(known, accounts.get(key), type) for key, type in types.items()}


def _role(known: Mapping[UUID, AccountRole], account: Project | None, type: RoleType) -> dict[str, Any]:
    role = known.get(account.account_role) if account is not None and account.account_role else None
    role = role or known.get(account_roles.DEFAULT[type])
    named = {"roleid": role.id, "rolename": role.name} if role else {}
    return {"accounttype": ACCOUNT_TYPES[type], "roletype": type.value, **named}


@view(User, "user", "User")
async def users_shown(call: Call, look: Look, found: Sequence[User]) -> list[dict[str, Any]]:
    places = await owners.domains_shown(look, {user.domain for user in found})
    held = {user.id: user.account or user.default_project for user in found}
    accounts = {
        project.id: project for project in await look.list(Project, id=tuple({*held.values()} - {None}))
    }
    of = {user: accounts[key] for user, key in held.items() if key in accounts}
    roles = await role_fields(look, of, await account_types.of_users(look, found))
    factors = await second_factor.of_users(call.cloud, look, [user.id for user in found])
    below = set(await authority.below(look, call.user.domain)) - {call.user.domain}
    made = []
    for user in found:
        factor, account = factors[user.id], of.get(user.id)
        made.append(
            {
                "id": user.id,
                "username": user.name,
                "firstname": user.first_name,
                "lastname": user.last_name,
                "email": user.email,
                "timezone": user.timezone or None,
                "created": user.created_at,
                "state": state(user),
                "account": account.name if account else None,
                "accountid": account.id if account else None,
                "usersource": SOURCES[user.source],
                "iscallerchilddomain": user.domain in below,
                "isdefault": False,
                "is2faenabled": factor.ready or factor.demanded or bool(factor.provider),
                "is2famandated": second_factor.mandatory(call.cloud),
                "apikeyaccess": key_access_word(user.api_access) if call.admin else None,
                **roles[user.id],
                **places[user.domain],
            }
        )
    return made


@command("createUser", params=CreateUser, view=users_shown)
async def create(call: Call, params: CreateUser) -> User:
    """Creates a user of an account that there is."""
    account = await account_id(call, None, params.account, params.domain)
    return await account_users.create(call.cloud, call.caller, account, new_user(params))


def new_user(params: Any) -> NewUser:
    if not params.password.strip():
        raise ApiError(PARAMETER, "Empty passwords are not allowed")
    return NewUser(
        name=params.username,
        password=params.password,
        email=params.email,
        first_name=params.first_name,
        last_name=params.last_name,
        timezone=params.timezone,
        id=params.id,
    )


@command("updateUser", params=UpdateUser, view=users_shown)
async def update(call: Call, params: UpdateUser) -> User:
    """Changes a user: names, address, password, API keys."""
    if (params.key is None) != (params.secret is None):
        raise ApiError(PARAMETER, "Please provide a userApiKey/userSecretKey pair")
    if params.key is not None:
        key_rules.refuse_setting(call)
    access = key_access_named(call, params.key_access) if params.key_access else None
    if params.key_access:
        call.caller.require_admin("updateUser with apikeyaccess")
    plain = {name: getattr(params, name) for name in ("email", "first_name", "last_name", "timezone")}
    changes = users.UpdateUser(
        name=UNSET if params.username is None else params.username,
        **{name: UNSET if value is None else value for name, value in plain.items()},
    )
    async with call.cloud.view() as look:
        await account_users.may_update(look, call.caller, params.id, changes)
        if params.key is not None and params.secret is not None:
            await api_keys.free(look, params.id, params.key, params.secret)
    if params.password is not None:
        await set_password(call, params.id, params.password, params.current)
    async with together(call.cloud, call.caller) as joined:
        updated = await account_users.update(joined, call.caller, params.id, changes)
        if params.key is not None and params.secret is not None:
            await api_keys.put(joined, call.caller, params.id, params.key, params.secret)
        if params.key_access:
            updated = await account_users.take_keys(joined, call.caller, params.id, access)
        if params.demand is not None:
            await second_factor.demand(joined, call.caller, params.id, params.demand)
    return updated


async def set_password(call: Call, user: UUID, new: str, current: str) -> None:
    """Administrators need not know the present one. Raises ApiError 431 for a wrong one."""
    if not new.strip():
        raise ApiError(PARAMETER, "Password cannot be empty or blank.")
    async with call.cloud.view() as look:
        held = await look.get(User, user)
        if held.source is not Source.SQL:
            raise ApiError(PARAMETER, "Passwords of LDAP and SAML users are changed where they come from.")
        powerful = await manages(look, call.caller, held)
    if powerful:
        await users.update(call.cloud, call.caller, user, users.UpdateUser(password=new))
        return
    if not current:
        raise ApiError(PARAMETER, "To set a new password the current password must be provided.")
    try:
        await passwords.change(call.cloud, user, current, new, call.request.client)
    except Unauthenticated as error:
        raise ApiError(PARAMETER, "Current password is incorrect.") from error


async def manages(look: Look, caller: Caller, user: User) -> bool:
    try:
        await account_users.managed(look, caller, user.id, "user.update")
    except Forbidden:
        return False
    return True


@command("deleteUser", params=OnUser)
async def delete(call: Call, params: OnUser) -> None:
    """Deletes a user; what it made stays with its account."""
    await account_users.delete(call.cloud, call.caller, params.user)


@command("disableUser", params=OnUser, view=users_shown, key="user")
async def disable(call: Call, params: OnUser) -> Done:
    """Disables a user: its sessions and keys end at once."""
    return Done(record=await account_users.disable(call.cloud, call.caller, params.user))


@command("enableUser", params=OnUser, view=users_shown, key="user")
async def enable(call: Call, params: OnUser) -> User:
    """Enables a user, and its account with it."""
    return await account_users.enable(call.cloud, call.caller, params.user)


@command("lockUser", params=OnUser, view=users_shown, key="user")
async def lock(call: Call, params: OnUser) -> User:
    """Locks a user, who cannot log in until it is enabled."""
    return await account_users.lock(call.cloud, call.caller, params.user)


@command("moveUser", params=MoveUser)
async def move(call: Call, params: MoveUser) -> None:
    """Moves a user to another account of the same domain."""
    if bool(params.account) == bool(params.account_id):
        raise ApiError(PARAMETER, "Name the account to move to, by account or by accountid.")
    async with call.cloud.view() as look:
        user = await account_users.managed(look, call.caller, params.user, "user.move")
    account = await account_id(call, params.account_id, params.account, user.domain)
    await account_users.move(call.cloud, call.caller, params.user, account)


@command("getUser", params=GetUser, view=users_shown)
async def by_key(call: Call, params: GetUser) -> User:
    """Finds the user to whom an API key belongs."""
    try:
        return (await api_keys.holder(call.cloud, params.key)).user
    except Unauthenticated as error:
        raise invalid_id(call.name, "userapikey", params.key[:8]) from error


@command("listUsers", params=ListUsers, view=users_shown)
async def listing(call: Call, params: ListUsers) -> Listed[User]:
    """Lists users: the caller, those of its account, or of the domains that it manages."""
    where = in_state(params.state)
    if params.keyword:
        text = f"%{literal(params.keyword)}%"
        where.append(any_of(*(like(name, text) for name in ("name", "first_name", "last_name", "email"))))
    if params.username:
        where.append(like("name", literal(params.username)))
    if params.key_access:
        where.append(eq("api_access", key_access_named(call, params.key_access)))
    if params.source:
        where.append(eq("source", tuple(s for s, word in SOURCES.items() if word == params.source.lower())))
    skip, limit = window(params)
    async with call.cloud.view() as look:
        where += await reached(call, look, params)
        if params.type is not None:
            where.append(await account_types.where_user(look, type_named(call, params.type)))
        found = await page(look, User, *where, skip=skip, limit=limit)
    return Listed(found.items, found.total)


async def reached(call: Call, look: Look, params: ListUsers) -> list[Condition]:
    """Those whom the caller may list, and whom the parameters of ownership name."""
    caller = call.caller
    wide = call.admin or (caller.domain is not None and await authority.manages(look, caller, caller.domain))
    if not wide:
        if params.id not in (None, caller.user):
            raise Forbidden("Calling user is not authorized to see the user requested by id")
        await _own_domain(call, look, params.domain)
        return [eq("id", caller.user)]
    where: list[Condition] = [eq("id", params.id)] if params.id else []
    if not call.admin and caller.domain is not None:
        where.append(eq("domain", tuple(await authority.below(look, caller.domain))))
    if params.account:
        account = await account_id(call, None, params.account, params.domain)
        return [*where, account_users.belonging([account])]
    if params.domain is not None:
        return [*where, eq("domain", await inside(call, look, params.domain, params.recursive))]
    if not (params.id or params.all):
        where.append(any_of(account_users.belonging([call.account]), eq("id", caller.user)))
    return where


async def _own_domain(call: Call, look: Look, domain: UUID | None) -> None:
    if domain is not None:
        await inside(call, look, domain, False)


async def inside(call: Call, look: Look, domain: UUID, recursive: bool) -> tuple[UUID, ...]:
    """The domain, and those below it; raises ApiError 431 for one that the caller may not see."""
    if await look.maybe(Domain, domain) is None or (
        domain != call.user.domain and not await authority.reads(look, call.caller, domain)
    ):
        raise invalid_id(call.name, "domainid", str(domain))
    return tuple(await authority.below(look, domain)) if recursive else (domain,)
