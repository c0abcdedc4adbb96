"""Projects: those of the core that are no accounts."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from msgspec import UNSET

from pileus.core.cloud import Look
from pileus.core.errors import Invalid
from pileus.core.identity.authorization import holding
from pileus.core.identity.records import Actor, Assignment, Project, ProjectKind, Scope, User
from pileus.core.identity.tenancy import project_members, tenants
from pileus.core.identity.tenancy.project_members import Founding, Member, Part, Revision
from pileus.core.listing import page
from pileus.core.operations import Accepted
from pileus.faces.cloudstack import limits, owners
from pileus.faces.cloudstack.commands import Call, Done, Listed, command, view
from pileus.faces.cloudstack.errors import PARAMETER, ApiError, invalid_id
from pileus.faces.cloudstack.paging import window
from pileus.faces.cloudstack.params import OwnedListing, Params, Rows, param
from pileus.faces.cloudstack.users import inside
from pileus.store import Condition, any_of, eq, like, literal, not_in

NOT_OF_PROJECTS = frozenset({"projectlimit", "projecttotal", "projectavailable"})
DETAILS = frozenset({"all", "resource", "min"})


class NewProject(Params):
    name: str = param("name", "the project's name, which no other of the domain has")
    text: str = param("displaytext", "what the project is for", default="")
    account: str = param("account", "the account that owns it; needs domainid", default="")
    domain: UUID | None = param("domainid", "the domain of the account", default=None)
    account_id: UUID | None = param("accountid", "the account of userid", default=None)
    user: UUID | None = param("userid", "the user that owns it, instead of an account", default=None)


class OnProject(Params):
    id: UUID = param("id", "the project")


class DeletedProject(OnProject):
    cleanup: bool = param("cleanup", "whether what is in it is deleted with it", default=False)


class ChangedProject(OnProject):
    name: str | None = param("name", "its new name", default=None)
    text: str | None = param("displaytext", "its new text", default=None)
    account: str = param("account", "an account in it, to own it or to be of another role type", default="")
    user: UUID | None = param("userid", "a user in it, to be of another role type", default=None)
    part: str = param("roletype", "Admin or Regular", default="")
    swap: bool = param("swapowner", "whether the account takes the place of the owners", default=True)


class ListProjects(OwnedListing):
    id: UUID | None = param("id", "list by id", default=None)
    name: str = param("name", "list by name", default="")
    state: str = param("state", "list by state: Active, Suspended or Disabled", default="")
    description: str = param("displaytext", "list by text", default="")
    username: str = param("username", "list those of a user; needs domainid", default="")
    details: tuple[str, ...] = param("details", "what is shown: all, resource or min", default=())
    tags: Rows = param("tags", "list what has these tags, as tags[0].key=&tags[0].value=", default=())
    icon: bool = param("showicon", "show the icon of each", default=False)


def part_of(text: str) -> Part:
    """Raises ApiError 431."""
    found = next((each for each in Part if each.value.lower() == text.lower()), None)
    if found is None:
        raise ApiError(PARAMETER, f"Invalid role type {text[:100]}; only Admin or Regular are valid.")
    return found


@view(Project, "project", "Project")
async def projects_shown(call: Call, look: Look, projects: Sequence[Project]) -> list[dict[str, Any]]:
    places = await owners.domains_shown(look, {project.domain for project in projects})
    leaving = await tenants.leaving(look, [project.id for project in projects])
    full = "min" not in call.sent.get("details", "all").lower().split(",")
    return [
        {
            "id": project.id,
            "name": project.name,
            "displaytext": project.description or project.name,
            "state": "Disabled" if project.id in leaving else "Active" if project.enabled else "Suspended",
            "created": project.created_at,
            "tags": [],
            "owner": await owners_shown(look, await project_members.of(look, project.id)),
            **places[project.domain],
            **(await limits_of(call, look, project.id) if full else {}),
        }
        for project in projects
    ]


async def limits_of(call: Call, look: Look, project: UUID) -> dict[str, Any]:
    """Without those of projects, which a project has none of."""
    fields = await limits.fields_of(call, look, project)
    return {name: value for name, value in fields.items() if name not in NOT_OF_PROJECTS}


async def owners_shown(look: Look, members: Sequence[Member]) -> list[dict[str, Any]]:
    """Those who manage it."""
    made = []
    for member in members:
        if member.part is Part.ADMIN:
            user = await look.maybe(User, member.actor) if member.kind is Actor.USER else None
            key = user.account if user else member.actor
            account = await look.maybe(Project, key) if key else None
            shown = {"account": account.name if account else None}
            made.append(shown | ({"user": user.name, "userid": user.id} if user else {}))
    return made


@command("createProject", params=NewProject)
async def create(call: Call, params: NewProject) -> Done:
    """Creates a project."""
    kind, owner = await owner_of(call, params)
    want = Founding(name=params.name, description=params.text, owner=owner, kind=kind)
    return Done(record=await project_members.found(call.cloud, call.caller, want))


async def owner_of(call: Call, params: NewProject) -> tuple[Actor, UUID]:
    """Raises ApiError 431."""
    if params.user is None and bool(params.account) != (params.domain is not None):
        raise ApiError(PARAMETER, "Account name and domain id must be specified together")
    if params.user is not None and params.account_id is None and params.domain is None:
        raise ApiError(PARAMETER, "Domain ID and account ID must be provided with User ID")
    async with call.cloud.view() as look:
        if params.user is not None:
            user = await look.maybe(User, params.user)
            if user is None or not (
                user.id == call.user.id or (user.account and call.caller.sees(user.account))
            ):
                raise invalid_id(call.name, "userid", str(params.user))
            if params.account_id not in (None, user.account) or params.domain not in (None, user.domain):
                raise Invalid("User doesn't belong to the specified account or domain")
            return Actor.USER, user.id
        if params.account:
            named = await owners.account_named(look, call, params.account, params.domain)
            return Actor.ACCOUNT, named.id
        own = await look.maybe(Project, params.account_id or call.account)
        if own is None or not call.caller.sees(own.id):
            raise invalid_id(call.name, "accountid", str(params.account_id))
    return (Actor.ACCOUNT, own.id) if own.kind is ProjectKind.ACCOUNT else (Actor.USER, call.user.id)


@command("activateProject", params=OnProject)
async def activate(call: Call, params: OnProject) -> Done:
    """Lets a suspended project be used again."""
    await shown_to(call, params.id)
    return Done(record=await tenants.activate(call.cloud, call.caller, params.id))


@command("suspendProject", params=OnProject)
async def suspend(call: Call, params: OnProject) -> Accepted:
    """Stops a project's machines, and lets nothing be made in it until it is activated."""
    await shown_to(call, params.id)
    return await tenants.suspend(call.cloud, call.caller, params.id, command=call.name)


@command("deleteProject", params=DeletedProject)
async def delete(call: Call, params: DeletedProject) -> Accepted:
    """Deletes a project; with cleanup, and all that is in it."""
    await shown_to(call, params.id)
    return await tenants.delete(call.cloud, call.caller, params.id, cleanup=params.cleanup, command=call.name)


async def shown_to(call: Call, key: UUID) -> Project:
    """Raises NotFound for what is no project, or none that the caller sees."""
    async with call.cloud.view() as look:
        return await project_members.visible(look, call.caller, key)


@command("updateProject", params=ChangedProject)
async def update(call: Call, params: ChangedProject) -> Done:
    """Changes a project's name, text or owner, or what one of its members is to it."""
    if params.account and params.user is not None:
        raise ApiError(
            PARAMETER,
            "Account name and User ID are mutually exclusive. Provide either Account name to update Account or "
            "user ID to update the user of the project",
        )
    account = None
    project = await shown_to(call, params.id)
    if params.account:
        account = await account_in(call, project, params.account)
    want = Revision(
        name=params.name or UNSET,
        description=UNSET if params.text is None else params.text,
        owner=account if params.swap else None,
        member=params.user or (None if params.swap else account),
        part=part_of(params.part) if params.part else Part.REGULAR,
    )
    return Done(record=await project_members.revise(call.cloud, call.caller, params.id, want))


async def account_in(call: Call, project: Project, name: str) -> UUID:
    """An account of the project's domain, which who manages the project may name. Raises ApiError 431, Forbidden."""
    async with call.cloud.view() as look:
        await project_members.require_manages(look, call.caller, project, "project.member.update")
        found = await look.one(Project, domain=project.domain, name=name, kind=ProjectKind.ACCOUNT)
    if found is None:
        raise ApiError(
            PARAMETER,
            f"Unable to find account name={name[:100]} in domain id={project.domain}",
            exception="InvalidParameterValueException",
        )
    return found.id


@command("listProjects", params=ListProjects, view=projects_shown)
async def listing(call: Call, params: ListProjects) -> Listed[Project]:
    """Lists the projects that the caller is in; listall: all that it may see."""
    if not set(map(str.lower, params.details)) <= DETAILS:
        raise ApiError(PARAMETER, f"The details parameter takes {', '.join(sorted(DETAILS))}.")
    skip, limit = window(params)
    async with call.cloud.view() as look:
        where = [*await within(call, look, params), *await conditions(look, params)]
        found = await page(look, Project, *where, skip=skip, limit=limit, kind=ProjectKind.PROJECT)
    return Listed([] if params.tags else found.items, 0 if params.tags else found.total)


async def conditions(look: Look, params: ListProjects) -> list[Condition]:
    where: list[Condition] = []
    if params.keyword:
        text = f"%{literal(params.keyword)}%"
        where.append(any_of(like("name", text), like("description", text)))
    for name, value in (("id", params.id), ("name", params.name), ("description", params.description)):
        if value:
            where.append(eq(name, value))
    state = params.state.lower()
    if state not in ("", "active", "suspended", "disabled"):
        raise ApiError(
            PARAMETER, f"A project's state is Active, Suspended or Disabled, not {params.state[:50]}."
        )
    if state:
        leaving = tuple(await tenants.leaving(look))
        where.append(eq("id", leaving) if state == "disabled" else not_in("id", leaving))
        where.append(eq("enabled", state == "active"))
    return where


async def within(call: Call, look: Look, params: ListProjects) -> list[Condition]:
    """Whose projects. Raises ApiError 431 for an account, a user or a domain that the caller cannot name."""
    if params.account or params.username:
        return [eq("id", await of_member(call, look, params))]
    if params.domain is not None:
        inside_ = await inside(call, look, params.domain, params.recursive)
        among = [] if call.admin else [eq("id", owners.reach(call.caller))]
        return [eq("domain", inside_), *among]
    if call.admin and (params.all or params.id or params.name):
        return []
    if call.caller.domain is not None and not params.all and not (params.id or params.name):
        return [eq("id", await owners.joined(look, call.caller))]
    if call.admin:
        return [eq("id", await owners.joined(look, call.caller))]
    return [eq("id", owners.reach(call.caller))]


async def of_member(call: Call, look: Look, params: ListProjects) -> tuple[UUID, ...]:
    """The projects in which the named account, or user, has a role."""
    if params.domain is None and (call.admin or call.caller.domain is not None):
        raise ApiError(
            PARAMETER, f"could not find {params.account or params.username} because domain is not specified"
        )
    place = params.domain or call.user.domain
    await inside(call, look, place, False)
    acting: tuple[UUID, ...] = ()
    if params.account:
        acting = ((await owners.account_named(look, call, params.account, place)).id,)
    if params.username:
        user = await look.one(User, domain=place, name=params.username)
        own = user is not None and (
            user.id == call.user.id or (user.account and call.caller.sees(user.account))
        )
        if user is None or not own:
            raise ApiError(PARAMETER, f"Unable to find user {params.username[:100]} in domain {place}")
        acting = await holding.actors(look, user.id)
    held = await look.list(Assignment, actor=acting, scope=Scope.PROJECT, inherited=False)
    return tuple({each.target for each in held if call.caller.sees(each.target)})
