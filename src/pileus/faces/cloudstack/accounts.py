"""Accounts, users, domains, projects and their limits: the core's projects, users and domains."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from pileus.core import quota
from pileus.core.caller import ADMIN as ADMIN_ROLE
from pileus.core.caller import MANAGER
from pileus.core.cloud import Look
from pileus.core.errors import Unauthenticated
from pileus.core.identity import authority, credentials, domains, login
from pileus.core.identity.credential_records import CLOUDSTACK
from pileus.core.identity.records import (
    Assignment,
    Domain,
    Project,
    ProjectKind,
    Role,
    Scope,
    User,
)
from pileus.core.listing import page
from pileus.faces.cloudstack import owners
from pileus.faces.cloudstack.catalogue import CATALOGUE
from pileus.faces.cloudstack.commands import ADMIN, DOMAIN_ADMIN, USER, Call, Listed, Shown, command, view
from pileus.faces.cloudstack.errors import invalid_id
from pileus.faces.cloudstack.guest_os import cut
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import Listing, OwnedListing, Params, ProjectListing, param
from pileus.store import Condition, eq, like, literal

ROLE_NAMES = {ADMIN: "Root Admin", DOMAIN_ADMIN: "Domain Admin", USER: "User"}
ACCOUNT_TYPES = {USER: 0, ADMIN: 1, DOMAIN_ADMIN: 2}
LIMITS: Mapping[str, str] = {
    "user_vm": "servers",
    "public_ip": "addresses",
    "volume": "volumes",
    "snapshot": "snapshots",
    "template": "images",
    "network": "networks",
    "vpc": "routers",
    "cpu": "vcpus",
    "memory": "memory_mib",
    "primary_storage": "volume_gib",
}
"""CloudStack's kinds of resources that the core limits."""
PREFIXES = {"user_vm": "vm", "public_ip": "ip", "primary_storage": "primarystorage"}


class ListAccounts(Listing):
    id: UUID | None = param("id", "list by id", default=None)
    name: str = param("name", "list by name", default="")
    type: int | None = param("accounttype", "0: users, 1: administrators, 2: of domains", default=None)
    state: str = param("state", "list by state: enabled or disabled", default="")
    domain: UUID | None = param("domainid", "list those of a domain", default=None)
    recursive: bool = param("isrecursive", "with domainid: also what is below that domain", default=False)
    all: bool = param("listall", "list all that the caller may see", default=False)


class ListUsers(OwnedListing):
    id: UUID | None = param("id", "list by id", default=None)
    username: str = param("username", "list by name", default="")
    state: str = param("state", "list by state: enabled or disabled", default="")
    type: int | None = param("accounttype", "0: users, 1: administrators, 2: of domains", default=None)


class GetUser(Params):
    key: str = param("userapikey", "the user's API key")


class OnUser(Params):
    user: UUID = param("id", "the user")


class ListDomains(Listing):
    id: UUID | None = param("id", "list by id", default=None)
    name: str = param("name", "list by name", default="")
    level: int | None = param("level", "list those so far below ROOT", default=None)
    all: bool = param("listall", "list all that the caller may see", default=False)


class ListProjects(OwnedListing):
    id: UUID | None = param("id", "list by id", default=None)
    name: str = param("name", "list by name", default="")
    state: str = param("state", "list by state: Active or Suspended", default="")
    description: str = param("displaytext", "list by text", default="")


class ListLimits(ProjectListing):
    type: int | None = param("resourcetype", "number of the kind of resource", default=None)
    type_name: str = param("resourcetypename", "name of the kind of resource", default="")


async def role_types(look: Look, users: Sequence[User]) -> dict[UUID, str]:
    """By user, from the roles granted to it."""
    keys = tuple(user.id for user in users)
    if not keys:
        return {}
    roles = {role.id: role.name for role in await look.list(Role)}
    found = dict.fromkeys(keys, USER)
    for held in await look.list(Assignment, actor=keys):
        name = roles.get(held.role)
        if name == ADMIN_ROLE and held.scope is not Scope.DOMAIN:
            found[held.actor] = ADMIN
        elif name in (MANAGER, ADMIN_ROLE) and held.scope is Scope.DOMAIN and found[held.actor] == USER:
            found[held.actor] = DOMAIN_ADMIN
    return found


def role_fields(role: str) -> dict[str, Any]:
    return {"accounttype": ACCOUNT_TYPES[role], "roletype": role, "rolename": ROLE_NAMES[role]}


def limit_fields(used: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """vmlimit, vmtotal, vmavailable and the like."""
    made: dict[str, Any] = {}
    for name, resource in LIMITS.items():
        prefix = PREFIXES.get(name, name)
        now, limit = used[resource]
        unlimited = limit == quota.UNLIMITED
        made[f"{prefix}limit"] = "Unlimited" if unlimited else str(limit)
        made[f"{prefix}total"] = now
        made[f"{prefix}available"] = "Unlimited" if unlimited else str(max(0, limit - now))
    return made


@view(User, "user", "User")
async def users_shown(call: Call, look: Look, users: Sequence[User]) -> list[dict[str, Any]]:
    roles = await role_types(look, users)
    places = await owners.domains_shown(look, {user.domain for user in users})
    accounts = {
        project.id: project
        for project in await look.list(Project, id=tuple({account_of(user) for user in users} - {None}))
    }
    return [
        {
            "id": user.id,
            "username": user.name,
            "firstname": user.first_name,
            "lastname": user.last_name,
            "email": user.email,
            "created": user.created_at,
            "state": state(user.enabled),
            "account": accounts[key].name if (key := account_of(user)) in accounts else None,
            "accountid": key,
            "usersource": "native",
            "iscallerchilddomain": False,
            "isdefault": False,
            "is2faenabled": False,
            "is2famandated": False,
            **role_fields(roles[user.id]),
            **places[user.domain],
        }
        for user in users
    ]


def account_of(user: User) -> UUID | None:
    return user.account or user.default_project


def state(enabled: bool) -> str:
    return "enabled" if enabled else "disabled"


async def accounts_shown(call: Call, look: Look, accounts: Sequence[Project]) -> list[dict[str, Any]]:
    users = await look.list(User, account=tuple(account.id for account in accounts))
    roles = await role_types(look, users)
    seen = {user["id"]: user for user in await users_shown(call, look, users)}
    places = await owners.domains_shown(look, {account.domain for account in accounts})
    made = []
    for account in accounts:
        own = [user for user in users if user.account == account.id]
        role = max((roles[user.id] for user in own), key=lambda name: name == ADMIN, default=USER)
        made.append(
            {
                "id": account.id,
                "name": account.name,
                "state": state(account.enabled),
                "created": account.created_at,
                "isdefault": False,
                "user": [seen[user.id] for user in own],
                **role_fields(role),
                **places[account.domain],
                **limit_fields(await quota.usages(look.rows, account.id)),
            }
        )
    return made


@command("listAccounts", params=ListAccounts, view=accounts_shown, ignored=("details",))
async def accounts(call: Call, params: ListAccounts) -> Listed[Project]:
    """Lists accounts."""
    where: list[Condition] = [like("name", f"%{literal(params.keyword)}%")] if params.keyword else []
    equals: dict[str, Any] = {"kind": ProjectKind.ACCOUNT}
    equals |= {"enabled": params.state.lower() == "enabled"} if params.state else {}
    equals |= {"name": params.name} if params.name else {}
    skip, limit = window(params)
    async with call.cloud.view() as look:
        if params.domain is not None:
            equals["domain"] = await inside(call, look, params.domain, params.recursive)
        elif params.id is None and not params.name and not params.all:
            where.append(eq("id", call.account))
        if params.id is not None:
            where.append(eq("id", params.id))
        if not call.admin:
            where.append(eq("id", owners.reach(call.caller)))
        if params.type is None:
            found = await page(look, Project, *where, skip=skip, limit=limit, **equals)
            return Listed(found.items, found.total)
        every = await look.list(Project, *where, order=("created_at",), **equals)
        seen = await accounts_shown(call, look, every)
    return cut([one for one in seen if one["accounttype"] == params.type], params)


async def inside(call: Call, look: Look, domain: UUID, recursive: bool) -> tuple[UUID, ...]:
    if await look.maybe(Domain, domain) is None or (
        domain != call.user.domain and not await authority.reads(look, call.caller, domain)
    ):
        raise invalid_id(call.name, "domainid", str(domain))
    return tuple(await authority.below(look, domain)) if recursive else (domain,)


@command("listUsers", params=ListUsers, view=users_shown)
async def users(call: Call, params: ListUsers) -> Listed[User]:
    """Lists users."""
    where: list[Condition] = [like("name", f"%{literal(params.keyword)}%")] if params.keyword else []
    equals: dict[str, Any] = {"id": params.id} if params.id else {}
    equals |= {"name": params.username} if params.username else {}
    equals |= {"enabled": params.state.lower() == "enabled"} if params.state else {}
    async with call.cloud.view() as look:
        if (
            not call.admin
            or params.account
            or params.domain
            or not (params.id or params.username or params.all)
        ):
            scope = await owners.scope(call, look, params)
            equals |= {"account": scope.projects} if scope.projects is not None else {}
        if params.type is None:
            skip, limit = window(params)
            found = await page(look, User, *where, skip=skip, limit=limit, **equals)
            return Listed(found.items, found.total)
        seen = await users_shown(call, look, await look.list(User, *where, order=("created_at",), **equals))
    return cut([one for one in seen if one["accounttype"] == params.type], params)


@command("getUser", params=GetUser, view=users_shown)
async def user(call: Call, params: GetUser) -> User:
    """Finds the user to whom an API key belongs."""
    try:
        found, _ = await login.by_api_key(call.cloud, params.key)
    except Unauthenticated as error:
        raise invalid_id(call.name, "userapikey", params.key[:8]) from error
    return found


@command("registerUserKeys", params=OnUser)
async def renew_keys(call: Call, params: OnUser) -> Shown:
    """Makes a new API key and secret for a user, in place of those before."""
    made = await credentials.renew(call.cloud, call.caller, params.user)
    return Shown({"apikey": made.credential.access, "secretkey": made.secret})


@command("getUserKeys", params=OnUser)
async def show_keys(call: Call, params: OnUser) -> Shown:
    """Shows a user's API key and secret."""
    held = await credentials.list_all(call.cloud, call.caller, params.user, CLOUDSTACK)
    if not held:
        return Shown({})
    return Shown({"apikey": held[-1].credential.access, "secretkey": held[-1].secret})


@view(Domain, "domain", "Domain")
async def domains_shown(call: Call, look: Look, found: Sequence[Domain]) -> list[dict[str, Any]]:
    places = await owners.domains_shown(look, {domain.id for domain in found})
    above = {
        held.id: held for held in await look.list(Domain, id=tuple({d.parent for d in found if d.parent}))
    }
    children = {held.parent for held in await look.list(Domain, parent=tuple(d.id for d in found))}
    return [
        {
            "id": domain.id,
            "name": places[domain.id]["domain"],
            "path": places[domain.id]["domainpath"],
            "level": places[domain.id]["domainpath"].count("/"),
            "haschild": domain.id in children,
            "parentdomainid": domain.parent,
            "parentdomainname": owners.domain_name(domain.parent, above[domain.parent].name)
            if domain.parent
            else None,
            "state": "Active" if domain.enabled else "Inactive",
            "created": domain.created_at,
        }
        for domain in found
    ]


@command("listDomains", params=ListDomains, ignored=("details",))
async def list_domains(call: Call, params: ListDomains) -> Listed[Any]:
    """Lists domains: those at and below the caller's."""
    found = await domains.list_all(call.cloud, call.caller)
    async with call.cloud.view() as look:
        seen = await domains_shown(call, look, sorted(found, key=lambda domain: domain.created_at))
    kept = [
        domain
        for domain in seen
        if params.id in (None, domain["id"])
        and params.name.lower() in ("", domain["name"].lower())
        and params.level in (None, domain["level"])
        and params.keyword.lower() in domain["name"].lower()
    ]
    return cut(kept, params)


@view(Project, "project", "Project")
async def projects_shown(call: Call, look: Look, projects: Sequence[Project]) -> list[dict[str, Any]]:
    places = await owners.domains_shown(look, {project.domain for project in projects})
    return [
        {
            "id": project.id,
            "name": project.name,
            "displaytext": project.description or project.name,
            "state": "Active" if project.enabled else "Suspended",
            "created": project.created_at,
            "tags": [],
            **places[project.domain],
            **limit_fields(await quota.usages(look.rows, project.id)),
        }
        for project in projects
    ]


@command("listProjects", params=ListProjects, view=projects_shown, ignored=("details", "username"))
async def projects(call: Call, params: ListProjects) -> Listed[Project]:
    """Lists the projects that the caller is in; listall: all that it may see."""
    where: list[Condition] = [like("name", f"%{literal(params.keyword)}%")] if params.keyword else []
    equals: dict[str, Any] = {"kind": ProjectKind.PROJECT}
    equals |= {"name": params.name} if params.name else {}
    equals |= {"description": params.description} if params.description else {}
    equals |= {"enabled": params.state.lower() == "active"} if params.state else {}
    skip, limit = window(params)
    async with call.cloud.view() as look:
        if params.domain is not None:
            equals["domain"] = await inside(call, look, params.domain, params.recursive)
        if params.id is not None:
            where.append(eq("id", params.id))
        if not call.admin:
            where.append(eq("id", owners.reach(call.caller)))
        elif not (params.all or params.id or params.name or params.domain):
            held = await look.list(Assignment, actor=call.caller.user, scope=Scope.PROJECT)
            where.append(eq("id", tuple({assignment.target for assignment in held})))
        found = await page(look, Project, *where, skip=skip, limit=limit, **equals)
    return Listed(found.items, found.total)


@command("listResourceLimits", params=ListLimits, ignored=("id", "tag"))
async def limits(call: Call, params: ListLimits) -> Listed[Any]:
    """Lists the limits of an account or project."""
    made = []
    numbers = CATALOGUE.facts.resource_types
    async with call.cloud.view() as look:
        scope = await owners.scope(call, look, params)
        for project in scope.projects or (call.account,):
            call.caller.require("project.read", project=project)
            holder = (await owners.shown(look, [project])).get(project, {})
            used = await quota.usages(look.rows, project)
            made += [
                {
                    "resourcetype": str(number),
                    "resourcetypename": name,
                    "max": used[LIMITS[name]][1] if name in LIMITS else quota.UNLIMITED,
                    **holder,
                }
                for name, number in numbers.items()
                if params.type in (None, number) and params.type_name in ("", name)
            ]
    return cut(made, params)
