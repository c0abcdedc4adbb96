"""Accounts and users in projects."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.identity.records import Actor, Project, User
from pileus.core.identity.tenancy import account_types, project_invitations, project_members
from pileus.core.identity.tenancy.project_invitations import Invitee
from pileus.core.identity.tenancy.project_members import Joining, Member, Part
from pileus.faces.cloudstack import owners
from pileus.faces.cloudstack.commands import Call, Done, Listed, command
from pileus.faces.cloudstack.errors import PARAMETER, ApiError
from pileus.faces.cloudstack.guest_os import cut
from pileus.faces.cloudstack.params import Listing, Params, param
from pileus.faces.cloudstack.projects import account_in, part_of, shown_to
from pileus.faces.cloudstack.users import ACCOUNT_TYPES, users_shown


class Joined(Params):
    project: UUID = param("projectid", "the project")
    email: str = param("email", "where the invitation is sent, when one is needed", default="")
    role: UUID | None = param("projectroleid", "its project role", default=None)
    part: str = param("roletype", "Admin or Regular", default="")


class AddAccount(Joined):
    account: str = param("account", "the name of the account", default="")


class AddUser(Joined):
    username: str = param("username", "the name of the user")


class DropAccount(Params):
    project: UUID = param("projectid", "the project")
    account: str = param("account", "the name of the account")


class DropUser(Params):
    project: UUID = param("projectid", "the project")
    user: UUID = param("userid", "the user")


class ListMembers(Listing):
    project: UUID = param("projectid", "the project")
    account: str = param("account", "list by the name of the account", default="")
    user: UUID | None = param("userid", "list by user", default=None)
    part: str = param("role", "list by role type: Admin or Regular", default="")
    role: UUID | None = param("projectroleid", "list by project role", default=None)


@command("addAccountToProject", params=AddAccount)
async def add_account(call: Call, params: AddAccount) -> Done:
    """Adds an account to a project, or invites it where this cloud wants that."""
    project = await shown_to(call, params.project)
    account = await account_in(call, project, params.account) if params.account else None
    return await add(call, params, account, Actor.ACCOUNT)


@command("addUserToProject", params=AddUser)
async def add_user(call: Call, params: AddUser) -> Done:
    """Adds a single user to a project, or invites it where this cloud wants that."""
    project = await shown_to(call, params.project)
    async with call.cloud.view() as look:
        await project_members.require_manages(look, call.caller, project, "project.member.create")
        user = await look.one(User, domain=project.domain, name=params.username)
    if user is None:
        raise ApiError(
            PARAMETER,
            f"Unable to find user {params.username[:100]} in domain id={project.domain}",
            exception="InvalidParameterValueException",
        )
    return await add(call, params, user.id, Actor.USER)


async def add(call: Call, params: Joined, actor: UUID | None, kind: Actor) -> Done:
    part = part_of(params.part) if params.part else Part.REGULAR
    if call.cloud.config.project_invite_required:
        if actor is None and not params.email:
            raise ApiError(PARAMETER, "Name the account, or an e-mail address to which the invitation goes.")
        email = params.email if actor is None or kind is Actor.USER else ""
        invitee = Invitee(actor=actor, kind=kind, email=email, part=part, role=params.role)
        await project_invitations.invite(call.cloud, call.caller, params.project, invitee)
    elif actor is None:
        raise ApiError(PARAMETER, "Account information is required for assigning account to the project")
    else:
        joining = Joining(actor=actor, kind=kind, part=part, role=params.role)
        await project_members.add(call.cloud, call.caller, params.project, joining)
    return Done(subject=params.project, kind="project")


@command("deleteAccountFromProject", params=DropAccount)
async def drop_account(call: Call, params: DropAccount) -> Done:
    """Takes an account out of a project."""
    project = await shown_to(call, params.project)
    account = await account_in(call, project, params.account)
    await project_members.remove(call.cloud, call.caller, params.project, account)
    return Done(subject=params.project, kind="project")


@command("deleteUserFromProject", params=DropUser)
async def drop_user(call: Call, params: DropUser) -> Done:
    """Takes a single user out of a project."""
    await shown_to(call, params.project)
    await project_members.remove(call.cloud, call.caller, params.project, params.user)
    return Done(subject=params.project, kind="project")


@command("listProjectAccounts", params=ListMembers)
async def listing(call: Call, params: ListMembers) -> Listed[Any]:
    """Lists the accounts and users of a project."""
    part = part_of(params.part) if params.part else None
    members = await project_members.listed(call.cloud, call.caller, params.project)
    async with call.cloud.view() as look:
        project = await look.get(Project, params.project)
        seen = await shown(call, look, project, members)
    kept = [
        one
        for one in seen
        if params.account in ("", one["account"])
        and params.user in (None, one["userid"])
        and part in (None, one["role"])
        and params.role in (None, one["projectroleid"])
        and params.keyword.lower() in (one["account"] or "").lower()
    ]
    return cut(kept, params)


async def shown(call: Call, look: Look, project: Project, members: Sequence[Member]) -> list[dict[str, Any]]:
    """Users with the account that they are of; that of a user without one is not told."""
    place = (await owners.domains_shown(look, [project.domain]))[project.domain]
    users = {user.id: user for user in await look.list(User, id=keys(members, Actor.USER))}
    of_users = {user.account for user in users.values() if user.account}
    wanted = {*keys(members, Actor.ACCOUNT), *of_users}
    held = {account.id: account for account in await look.list(Project, id=tuple(wanted))}
    types = await account_types.of_accounts(look, list(held.values()))
    made = []
    for member in members:
        user = users.get(member.actor)
        account = held.get(user.account) if user and user.account else held.get(member.actor)
        if user is None and account is None:
            continue
        inside = await look.list(User, account=account.id) if account and user is None else []
        made.append(
            {
                "projectid": project.id,
                "project": project.name,
                "accountid": account.id if account else None,
                "account": account.name if account else None,
                "accounttype": ACCOUNT_TYPES[types[account.id]] if account else 0,
                "userid": user.id if user else None,
                "username": user.name if user else None,
                "role": member.part.value,
                "projectroleid": member.role,
                "user": await users_shown(call, look, inside) if inside else None,
                **place,
            }
        )
    return made


def keys(members: Sequence[Member], kind: Actor) -> tuple[UUID, ...]:
    return tuple(member.actor for member in members if member.kind is kind)
