"""Accounts: made with their first user, disabled, locked, deleted with all they own."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from msgspec import UNSET

from pileus.core.cloud import Look
from pileus.core.compute.records import Server, State
from pileus.core.identity import domains
from pileus.core.identity.authorization import authority
from pileus.core.identity.records import Project, ProjectKind, User
from pileus.core.identity.tenancy import account_types, account_users, accounts
from pileus.core.identity.tenancy.accounts import DETAILS
from pileus.core.listing import page
from pileus.core.operations import Accepted
from pileus.faces.cloudstack import limits, owners, permissions
from pileus.faces.cloudstack.account_names import account_id
from pileus.faces.cloudstack.commands import Call, Done, Listed, command
from pileus.faces.cloudstack.domains import DETAIL_WORDS, least
from pileus.faces.cloudstack.errors import PARAMETER, ApiError, invalid_id
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Listing, Params, param
from pileus.faces.cloudstack.users import (
    in_state,
    inside,
    key_access_named,
    key_access_word,
    new_user,
    role_fields,
    state,
    type_named,
    users_shown,
)
from pileus.store import Condition, any_of, eq, like, literal

ACCOUNT_NAME = "the account, with domainid; or id"

__all__ = ["inside"]


class CreateAccount(Params):
    email: str = param("email", "the first user's e-mail address")
    first_name: str = param("firstname", "the first user's first name")
    last_name: str = param("lastname", "the first user's last name")
    password: str = param("password", "the first user's password", length=4096)
    username: str = param("username", "the first user's name, unique in the domain")
    account: str = param("account", "the name of the account; that of the user by default", default="")
    type: int | None = param("accounttype", "0: users, 1: administrators, 2: of domains", default=None)
    role: UUID | None = param("roleid", "the role of the account; or accounttype", default=None)
    domain: UUID | None = param("domainid", "the domain; ROOT by default", default=None)
    timezone: str = param("timezone", "the first user's time zone", default="")
    network_domain: str = param("networkdomain", "the DNS suffix of the account's networks", default="")
    details: dict[str, str] | None = param("accountdetails", "details of the account", default=None)
    account_id: UUID | None = param("accountid", "the id, where an external system chose it", default=None)
    id: UUID | None = param("userid", "the id of the user, where an external system chose it", default=None)


class OnAccount(Params):
    id: UUID | None = param("id", "the account; or account and domainid", default=None)
    account: str = param("account", ACCOUNT_NAME, default="")
    domain: UUID | None = param("domainid", "the domain of the account", default=None)


class UpdateAccount(OnAccount):
    role: UUID | None = param("roleid", "another role", default=None)
    name: str | None = param("newname", "another name", default=None)
    network_domain: str | None = param("networkdomain", "the DNS suffix of its networks", default=None)
    details: dict[str, str] | None = param("accountdetails", "details to add, or to empty", default=None)
    key_access: str = param(
        "apikeyaccess", "whether API keys are taken: enabled, disabled, inherit", default=""
    )


class DisableAccount(OnAccount):
    lock: bool = param("lock", "true: lock it; false: disable it and stop its machines")


class LockAccount(Params):
    account: str = param("account", "the account")
    domain: UUID = param("domainid", "the domain of the account")


class DeleteAccount(Params):
    id: UUID = param("id", "the account")


class ListAccounts(Listing):
    id: UUID | None = param("id", "list by id", default=None)
    name: str = param("name", "list by name", default="")
    type: int | None = param("accounttype", "0: users, 1: administrators, 2: of domains", default=None)
    state: str = param("state", "list by state: enabled, disabled or locked", default="")
    cleanup: bool | None = param("iscleanuprequired", "list those that wait for being cleaned", default=None)
    key_access: str = param("apikeyaccess", "list by whether API keys are taken", default="")
    details: tuple[str, ...] = param("details", "what to show: all, resource or min", default=())
    domain: UUID | None = param("domainid", "list those of a domain", default=None)
    recursive: bool = param("isrecursive", "with domainid: also what is below that domain", default=False)
    all: bool = param("listall", "list all that the caller may see", default=False)
    icon: bool = param("showicon", "show the icon of each", default=False)
    tag: str = param("tag", "of the limits by tags show those by this one", default="")


async def accounts_shown(call: Call, look: Look, found: Sequence[Project]) -> list[dict[str, Any]]:
    belonging = account_users.belonging(account.id for account in found)
    people = await look.list(User, belonging, order=("created_at",))
    seen = {user["id"]: user for user in await users_shown(call, look, people)}
    places = await owners.domains_shown(look, {account.domain for account in found})
    types = await account_types.of_accounts(look, found)
    roles = await role_fields(look, {account.id: account for account in found}, types)
    made = []
    for account in found:
        made.append(
            {
                "id": account.id,
                "name": account.name,
                "state": state(account),
                "created": account.created_at,
                "networkdomain": account.network_domain or None,
                "accountdetails": account.extra.get(DETAILS),
                "isdefault": False,
                "iscleanuprequired": False,
                "user": [
                    seen[user.id] for user in people if (user.account or user.default_project) == account.id
                ],
                "apikeyaccess": key_access_word(account.api_access) if call.admin else None,
                **roles[account.id],
                **places[account.domain],
                **await used(call, look, account),
            }
        )
    return made


async def used(call: Call, look: Look, account: Project) -> dict[str, Any]:
    """Limits and counts, unless the caller wants the least."""
    if least(call):
        return {}
    running = await look.count(Server, project=account.id, state=State.ACTIVE)
    every = await look.count(Server, project=account.id)
    shown = {"vmrunning": running, "vmstopped": every - running}
    return {**shown, **await limits.fields_of(call, look, account.id)}


@command("createAccount", params=CreateAccount, view=accounts_shown)
async def create(call: Call, params: CreateAccount) -> Project:
    """Creates an account with its first user."""
    if params.type is None and params.role is None:
        raise ApiError(PARAMETER, "Neither account type nor role ID is provided; name one of them.")
    type_ = None if params.type is None else type_named(call, params.type)
    await permissions.refuse_more(call, params.role, type_)
    want = accounts.CreateAccount(
        name=params.account or params.username,
        domain=params.domain or domains.ROOT,
        user=new_user(params),
        type=type_,
        role=params.role,
        network_domain=params.network_domain,
        details=params.details or {},
        id=params.account_id,
    )
    account, _ = await accounts.create(call.cloud, call.caller, want)
    return account


@command("updateAccount", params=UpdateAccount, view=accounts_shown)
async def update(call: Call, params: UpdateAccount) -> Project:
    """Changes an account: name, role, network domain, details."""
    await permissions.refuse_more(call, params.role, None)
    access = key_access_named(call, params.key_access) if params.key_access else UNSET
    want = accounts.UpdateAccount(
        name=UNSET if params.name is None else params.name,
        role=UNSET if params.role is None else params.role,
        network_domain=UNSET if params.network_domain is None else params.network_domain,
        details=UNSET if params.details is None else params.details,
        api_access=access,
    )
    return await accounts.update(call.cloud, call.caller, await named(call, params), want)


async def named(call: Call, params: OnAccount) -> UUID:
    return await account_id(call, params.id, params.account, params.domain)


@command("disableAccount", params=DisableAccount, view=accounts_shown)
async def disable(call: Call, params: DisableAccount) -> Accepted | Done:
    """Disables an account, whose users are out at once and whose machines are stopped; or locks it."""
    key = await named(call, params)
    if params.lock:
        return Done(record=await accounts.lock(call.cloud, call.caller, key))
    return await accounts.disable(call.cloud, call.caller, key, command=call.name)


@command("enableAccount", params=OnAccount, view=accounts_shown)
async def enable(call: Call, params: OnAccount) -> Project:
    """Enables an account that was disabled or locked."""
    return await accounts.enable(call.cloud, call.caller, await named(call, params))


@command("lockAccount", params=LockAccount, view=accounts_shown)
async def lock(call: Call, params: LockAccount) -> Project:
    """Locks an account: its users look on, and make and start nothing."""
    key = await account_id(call, None, params.account, params.domain)
    return await accounts.lock(call.cloud, call.caller, key)


@command("deleteAccount", params=DeleteAccount)
async def delete(call: Call, params: DeleteAccount) -> Accepted:
    """Deletes an account with its users and everything that it owns."""
    return await accounts.delete(call.cloud, call.caller, params.id, command=call.name)


@command("listAccounts", params=ListAccounts, view=accounts_shown)
async def listing(call: Call, params: ListAccounts) -> Listed[Project]:
    """Lists accounts: the caller's, or those of the domains that it manages."""
    if not DETAIL_WORDS.issuperset(params.details):
        raise ApiError(
            PARAMETER, "The details parameter contains a non permitted value; write all, resource or min."
        )
    where = [eq("kind", ProjectKind.ACCOUNT), *in_state(params.state)]
    if params.keyword:
        where.append(like("name", f"%{literal(params.keyword)}%"))
    if params.name:
        where.append(eq("name", params.name))
    if params.key_access:
        where.append(eq("api_access", key_access_named(call, params.key_access)))
    if params.cleanup:
        where.append(any_of())  # what is deleted goes by an operation, and waits for nobody
    skip, limit = window(params)
    async with call.cloud.view() as look:
        where += await reached(call, look, params)
        if params.type is not None:
            where.append(await account_types.where_account(look, type_named(call, params.type)))
        found = await page(look, Project, *where, skip=skip, limit=limit)
    return Listed(found.items, found.total)


async def reached(call: Call, look: Look, params: ListAccounts) -> list[Condition]:
    """Those that the caller may list, and that the parameters of ownership name."""
    caller = call.caller
    wide = call.admin or (caller.domain is not None and await authority.manages(look, caller, caller.domain))
    if params.domain is not None:
        domain = await inside(call, look, params.domain, params.recursive or (params.all and wide))
    if not wide:
        if params.id not in (None, call.account):
            raise invalid_id(call.name, "id", str(params.id))
        return [eq("id", call.account)]
    where: list[Condition] = []
    if not call.admin and caller.domain is not None:
        where.append(eq("domain", tuple(await authority.below(look, caller.domain))))
    if params.id is not None:
        where.append(eq("id", params.id))
        if not await look.count(Project, *where, kind=ProjectKind.ACCOUNT):
            raise invalid_id(call.name, "id", str(params.id))
    if params.domain is not None:
        where.append(eq("domain", domain))
    elif params.id is None and not params.all and not params.name:
        where.append(eq("id", call.account))
    return where
