"""Who is in a project: accounts and users that have a role there, one who manages it or one who works in it.

Being a member is having the role `member` or `manager` in the project, given to the account or to the user itself, so
every API sees the same members; a project role, which only narrows, is kept beside it.
"""

from collections.abc import Iterable
from enum import StrEnum
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from pileus.core.caller import ADMIN, MANAGER, MEMBER, Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Conflict, Exists, Forbidden, Invalid, NotFound
from pileus.core.identity import domain_limits, options
from pileus.core.identity.authorization import authority
from pileus.core.identity.authorization.inference import closure
from pileus.core.identity.changes import changed
from pileus.core.identity.records import (
    Actor,
    Assignment,
    Project,
    ProjectKind,
    Role,
    Scope,
    User,
)
from pileus.core.identity.tenancy.tenancy_records import ProjectInvitation, ProjectRole, ProjectRoleHolder


class Part(StrEnum):
    """What a member is to the project."""

    ADMIN = "Admin"
    """Manages it and its members."""
    REGULAR = "Regular"


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """An account, or a single user with the account that it is of (None: it has none)."""

    actor: UUID
    kind: Actor
    part: Part
    role: UUID | None = None
    """Project role."""


class Founding(msgspec.Struct, frozen=True, kw_only=True):
    """A project to be made. `owner`: the account, or with `kind` USER the user, that manages it first."""

    name: str
    description: str = ""
    owner: UUID
    kind: Actor = Actor.ACCOUNT


class Joining(msgspec.Struct, frozen=True, kw_only=True):
    actor: UUID
    kind: Actor
    part: Part = Part.REGULAR
    role: UUID | None = None


class Revision(msgspec.Struct, frozen=True, kw_only=True):
    """`owner`: an account in the project that manages it in place of those who do. `member`: who is of `part` from
    now on."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    owner: UUID | None = None
    member: UUID | None = None
    part: Part = Part.REGULAR


async def found(cloud: Cloud, caller: Caller, want: Founding) -> Project:
    """Make a project in its owner's domain. Everybody may found one for itself when the cloud lets users do so;
    managers of a domain for who is there. Raises Exists, Forbidden, NotFound."""
    async with cloud.transaction(caller) as tx:
        owner = await actor_of(tx, want.kind, want.owner)
        if not await authority.manages(tx, caller, owner.domain):
            _refuse_stranger(cloud, caller, owner)
        await _free(tx, owner.domain, want.name)
        await domain_limits.room_for_project(tx, owner.domain)
        project = await tx.add(
            Project(
                id=cloud.new_id(),
                domain=owner.domain,
                name=want.name,
                kind=ProjectKind.PROJECT,
                description=want.description,
                created_at=cloud.now(),
            )
        )
        await assign(tx, project.id, Joining(actor=owner.id, kind=want.kind, part=Part.ADMIN))
        await changed(tx)
        return project


async def _free(look: Look, domain: UUID, name: str) -> None:
    if not name.strip():
        raise Invalid("The project needs a name.")
    if await look.count(Project, domain=domain, name=name):
        raise Exists(f"Project with name {name} already exists in domain id={domain}")


def _refuse_stranger(cloud: Cloud, caller: Caller, owner: Project | User) -> None:
    if owner.id not in (caller.project, caller.user):
        raise Forbidden(f"You cannot make a project for {owner.name}; make one for yourself.")
    if not cloud.config.projects_by_users:
        raise Forbidden("Regular user is not permitted to create a project")


async def actor_of(look: Look, kind: Actor, key: UUID) -> Project | User:
    held: Project | User | None
    held = await look.maybe(User, key) if kind is Actor.USER else await look.maybe(Project, key)
    if held is None:
        raise NotFound("User" if kind is Actor.USER else "Account", key)
    return held


async def of(look: Look, project: UUID) -> list[Member]:
    """Those that have a role in the project itself, in the order in which they joined."""
    held = await look.list(
        Assignment,
        scope=Scope.PROJECT,
        target=project,
        inherited=False,
        actor_kind=(Actor.USER, Actor.ACCOUNT),
        order=("created_at", "id"),
    )
    known = {role.id: role for role in await look.list(Role)}
    roles = {each.actor: each.role for each in await look.list(ProjectRoleHolder, project=project)}
    members: dict[UUID, Member] = {}
    for each in held:
        before = members.get(each.actor)
        part = before.part if before and before.part is Part.ADMIN else part_of(known, [each.role])
        members[each.actor] = Member(
            actor=each.actor, kind=each.actor_kind, part=part, role=roles.get(each.actor)
        )
    return list(members.values())


def part_of(known: dict[UUID, Role], granted: Iterable[UUID]) -> Part:
    names = {known[key].name for key in closure(known, granted)}
    return Part.ADMIN if names & {MANAGER, ADMIN} else Part.REGULAR


async def standing(look: Look, user: User, project: UUID) -> Member | None:
    """What a user is there: by itself, or else by its account. None: no member."""
    members = {member.actor: member for member in await of(look, project)}
    return members.get(user.id) or (members.get(user.account) if user.account else None)


async def manages(look: Look, caller: Caller, project: Project) -> bool:
    if await authority.manages(look, caller, project.domain):
        return True
    user = await look.maybe(User, caller.user)
    held = await standing(look, user, project.id) if user else None
    return held is not None and held.part is Part.ADMIN


async def require_manages(look: Look, caller: Caller, project: Project, verb: str) -> None:
    """Administrators, managers of its domain and its own managers pass. Raises NotFound for those who do not even see
    the project, Forbidden."""
    if await manages(look, caller, project):
        return
    if not caller.sees(project.id):
        raise NotFound("Project", project.id)
    raise Forbidden(f"You do not manage project {project.name}; only its managers may do {verb}.")


async def visible(look: Look, caller: Caller, key: UUID) -> Project:
    """A project that is no account, as far as the caller sees it. Raises NotFound."""
    held = await look.maybe(Project, key)
    if held is None or held.kind is not ProjectKind.PROJECT:
        raise NotFound("Project", key)
    if not caller.sees(key) and not await authority.reads(look, caller, held.domain):
        raise NotFound("Project", key)
    return held


async def listed(cloud: Cloud, caller: Caller, key: UUID) -> list[Member]:
    """Those who are in it see each other."""
    async with cloud.view() as look:
        await visible(look, caller, key)
        return await of(look, key)


async def add(cloud: Cloud, caller: Caller, key: UUID, want: Joining) -> Member:
    """Repeating changes nothing. Raises Conflict for a project that is suspended, Invalid for a user whose account is
    in it already."""
    async with cloud.transaction(caller) as tx:
        project = await joinable(tx, caller, key, want)
        held = {member.actor: member for member in await of(tx, project.id)}
        if want.actor in held:
            return held[want.actor]
        member = await assign(tx, key, want)
        await changed(tx)
        return member


async def joinable(tx: Tx, caller: Caller, key: UUID, want: Joining) -> Project:
    """The project, when the caller may bring these into it. Raises NotFound, Forbidden, Conflict, Invalid."""
    project = await visible(tx, caller, key)
    await require_manages(tx, caller, project, "project.member.create")
    what = "user" if want.kind is Actor.USER else "account"
    if not project.enabled:
        raise Conflict(f"Can't add {what} to the specified project, as it's no longer active")
    actor = await actor_of(tx, want.kind, want.actor)
    if actor.domain != project.domain:
        raise Invalid(f"Unable to find {what} {actor.name} in the domain of project {project.name}.")
    if isinstance(actor, User) and actor.account in {member.actor for member in await of(tx, key)}:
        raise Invalid(f"User belongs to account {actor.account} which is already part of the project")
    await check_role(tx, key, want.role)
    return project


async def check_role(look: Look, project: UUID, role: UUID | None) -> None:
    held = await look.maybe(ProjectRole, role) if role else None
    if role is not None and (held is None or held.project != project):
        raise Invalid("Invalid project role ID for the given project")


async def assign(tx: Tx, project: UUID, want: Joining) -> Member:
    """Write what makes it a member of this part, in place of what it was; the caller calls `changed`."""
    await _withdraw(tx, project, want.actor)
    name = MANAGER if want.part is Part.ADMIN else MEMBER
    role = await tx.one(Role, name=name, domain=None)
    if role is None:
        raise NotFound("Role", name)
    await tx.add(
        Assignment(
            id=tx.cloud.new_id(),
            actor=want.actor,
            actor_kind=want.kind,
            role=role.id,
            scope=Scope.PROJECT,
            target=project,
            created_at=tx.cloud.now(),
        )
    )
    if want.role is not None:
        await tx.rows.put(ProjectRoleHolder(project=project, actor=want.actor, role=want.role))
    return Member(actor=want.actor, kind=want.kind, part=want.part, role=want.role)


async def _withdraw(tx: Tx, project: UUID, actor: UUID) -> None:
    for held in await tx.list(Assignment, actor=actor, scope=Scope.PROJECT, target=project, inherited=False):
        await tx.remove(held)
    await tx.rows.delete_where(ProjectRoleHolder, project=project, actor=actor)


async def remove(cloud: Cloud, caller: Caller, key: UUID, actor: UUID) -> None:
    """With its invitations. Raises Invalid for who is not in it, Conflict for the last who manages it."""
    async with cloud.transaction(caller) as tx:
        project = await visible(tx, caller, key)
        await require_manages(tx, caller, project, "project.member.delete")
        member = await _member(tx, project, actor)
        await refuse_last(tx, key, member, f"Unable to delete {await named(tx, member)} from the project")
        await _withdraw(tx, key, actor)
        field = "user" if member.kind is Actor.USER else "account"
        for invitation in await tx.list(ProjectInvitation, project=key, **{field: actor}):
            await tx.remove(invitation)
        await changed(tx)


async def revise(cloud: Cloud, caller: Caller, key: UUID, want: Revision) -> Project:
    """Raises Invalid for who is not in the project, Conflict when nobody would manage it, Exists for a name in use."""
    async with cloud.transaction(caller) as tx:
        project = await visible(tx, caller, key)
        await require_manages(tx, caller, project, "project.update")
        changes = {"name": want.name, "description": want.description}
        given = {name: value for name, value in changes.items() if value is not UNSET}
        if given:
            options.refuse_immutable_update("project", key, project.options, given)
        if given.get("name", project.name) != project.name:
            await _free(tx, project.domain, given["name"])
        project = await tx.put(msgspec.structs.replace(project, **given))
        if want.owner is not None:
            await _hand_over(tx, project, want.owner)
        if want.member is not None:
            await _set_part(tx, project, want.member, want.part)
        await changed(tx)
        return project


async def _set_part(tx: Tx, project: Project, actor: UUID, part: Part) -> None:
    member = await _member(tx, project, actor)
    if part is not Part.ADMIN:
        await refuse_last(tx, project.id, member, "Cannot demote the only admin of the project")
    await assign(tx, project.id, Joining(actor=actor, kind=member.kind, part=part, role=member.role))


async def _hand_over(tx: Tx, project: Project, account: UUID) -> None:
    await _member(tx, project, account)
    for member in await of(tx, project.id):
        part = Part.ADMIN if member.actor == account else Part.REGULAR
        if member.part is not part:
            joining = Joining(actor=member.actor, kind=member.kind, part=part, role=member.role)
            await assign(tx, project.id, joining)


async def _member(look: Look, project: Project, actor: UUID) -> Member:
    held = next((member for member in await of(look, project.id) if member.actor == actor), None)
    if held is None:
        raise Invalid(f"{actor} is not assigned to the project {project.name}; add it to the project first.")
    return held


async def refuse_last(look: Look, project: UUID, member: Member, why: str) -> None:
    managing = [one.actor for one in await of(look, project) if one.part is Part.ADMIN]
    if managing == [member.actor]:
        raise Conflict(f"{why}: nobody else manages it; make another its owner first.")


async def named(look: Look, member: Member) -> str:
    held = await actor_of(look, member.kind, member.actor)
    return f"{member.kind.value} {held.name}"


async def managed_alone(look: Look, account: UUID) -> list[Project]:
    """The projects that only the account, or a user of it, manages."""
    users = {user.id for user in await look.list(User, account=account)}
    mine = {account, *users}
    held = await look.list(Assignment, actor=tuple(mine), scope=Scope.PROJECT)
    found = []
    for key in sorted({each.target for each in held} - {account}):
        managing = {member.actor for member in await of(look, key) if member.part is Part.ADMIN}
        project = await look.maybe(Project, key)
        if managing and managing <= mine and project is not None and project.kind is ProjectKind.PROJECT:
            found.append(project)
    return found
