"""Invitations into a project: to an account, to a user, or to whoever can read an e-mail address."""

import hashlib
import hmac
import secrets
from datetime import timedelta
from uuid import UUID

import msgspec
from msgspec.structs import replace

from pileus.core import mail
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Look, Tx
from pileus.core.errors import Exists, Forbidden, Invalid, NotFound
from pileus.core.identity.authorization import authority
from pileus.core.identity.changes import changed
from pileus.core.identity.records import Actor, Project, ProjectKind, User
from pileus.core.identity.tenancy import project_members
from pileus.core.identity.tenancy.project_members import Joining, Part
from pileus.core.identity.tenancy.tenancy_records import InvitationState, ProjectInvitation

State = InvitationState


class Invitee(msgspec.Struct, frozen=True, kw_only=True):
    """`actor` None: whoever reads the address."""

    actor: UUID | None = None
    kind: Actor = Actor.ACCOUNT
    email: str = ""
    part: Part = Part.REGULAR
    role: UUID | None = None


async def invite(cloud: Cloud, caller: Caller, key: UUID, want: Invitee) -> ProjectInvitation:
    """With an address, a letter with the token goes out. Raises Exists when an invitation is pending, Unsupported
    where no mail is sent, and what `project_members.add` raises."""
    token = secrets.token_urlsafe(18) if want.email else ""
    async with cloud.transaction(caller) as tx:
        project = await _invitable(tx, caller, key, want)
        await _clear(tx, key, want)
        if want.email:
            await mail.post(tx, letter(want.email, project, token))
        return await tx.add(
            ProjectInvitation(
                id=cloud.new_id(),
                project=key,
                account=want.actor if want.kind is Actor.ACCOUNT else None,
                user=want.actor if want.kind is Actor.USER else None,
                email=want.email,
                token=digest(token) if token else "",
                manager=want.part is Part.ADMIN,
                project_role=want.role,
                created_at=cloud.now(),
                expires_at=cloud.now() + timedelta(seconds=cloud.config.project_invite_seconds),
            )
        )


def letter(to: str, project: Project, token: str) -> mail.Letter:
    return mail.Letter(
        to=to,
        subject=f"You are invited to join the project {project.name}",
        text=f"You are invited to join the project {project.name} (id {project.id}).\n"
        f"Accept or decline with this token: {token}\n",
    )


async def _invitable(tx: Tx, caller: Caller, key: UUID, want: Invitee) -> Project:
    if want.actor is not None:
        joining = Joining(actor=want.actor, kind=want.kind, part=want.part, role=want.role)
        return await project_members.joinable(tx, caller, key, joining)
    project = await project_members.visible(tx, caller, key)
    await project_members.require_manages(tx, caller, project, "project.member.create")
    if not project.enabled:
        raise Invalid("Can't add account to the specified project, as it's no longer active")
    await project_members.check_role(tx, key, want.role)
    return project


async def _clear(tx: Tx, project: UUID, want: Invitee) -> None:
    """Forget the one before, when it has come to nothing."""
    about = {"email": want.email} if want.email else {want.kind.value: want.actor}
    for held in await tx.list(ProjectInvitation, project=project, **about):
        if state_of(tx.cloud, held) is State.PENDING:
            whom = want.email or f"{want.kind.value} {want.actor}"
            raise Exists(f"There is already a pending invitation for {whom} to the project {project}")
        await tx.remove(held)


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def state_of(cloud: Cloud, invitation: ProjectInvitation) -> State:
    late = invitation.expires_at is not None and invitation.expires_at <= cloud.now()
    return State.EXPIRED if late and invitation.state is State.PENDING else invitation.state


async def answer(
    cloud: Cloud,
    caller: Caller,
    key: UUID,
    *,
    accept: bool,
    account: UUID | None = None,
    user: UUID | None = None,
    token: str = "",
) -> ProjectInvitation:
    """Accept or decline, for the caller's own account and itself, or for one whose domain it manages. A token is
    needed for what was mailed, and is all that is needed. Raises NotFound, Invalid when it is too late, Forbidden."""
    async with cloud.transaction(caller) as tx:
        project = await tx.maybe(Project, key)
        if project is None or project.kind is not ProjectKind.PROJECT:
            raise NotFound("Project", key)
        me = await tx.get(User, caller.user)
        for_whom = await _answering(tx, caller, me, account, user)
        held = await tx.get(ProjectInvitation, (await _pending(tx, key, for_whom, token)).id)  # locked
        if held.state is not State.PENDING:
            raise Invalid(f"Unable to find invitation to the project={key}")
        late = accept and state_of(cloud, held) is State.EXPIRED
        if accept and not late:
            await _join(tx, project, held, for_whom)
        outcome = State.EXPIRED if late else State.COMPLETED if accept else State.DECLINED
        ended = await tx.put(replace(held, state=outcome))
        await changed(tx)
    if late:
        raise Invalid(f"Invitation is expired to the project {project.name}; ask for another.")
    return ended


class Answering(msgspec.Struct, frozen=True):
    user: UUID | None
    account: UUID | None


async def _answering(
    look: Look, caller: Caller, me: User, account: UUID | None, user: UUID | None
) -> Answering:
    """For whom. Raises Forbidden."""
    if account is None and user is None:
        return Answering(me.id, me.account or caller.project)
    holder = await look.maybe(User, user) if user else await look.maybe(Project, account)
    own = holder is not None and holder.id in (me.id, me.account, caller.project)
    if holder is None or not (own or await authority.manages(look, caller, holder.domain)):
        raise Forbidden("You can answer invitations of your own account only.")
    if isinstance(holder, User):
        return Answering(holder.id, holder.account)
    return Answering(me.id if own else None, holder.id)


async def _pending(look: Look, project: UUID, whom: Answering, token: str) -> ProjectInvitation:
    pending = await look.list(ProjectInvitation, project=project, state=State.PENDING, order=("created_at",))
    for held in pending:
        if token and held.token and hmac.compare_digest(held.token, digest(token)):
            return held
        mine = held.user == whom.user if held.user else held.account == whom.account
        if not token and not held.email and mine and (held.user or held.account):
            return held
    raise Invalid(f"Unable to find invitation to the project={project}")


async def _join(tx: Tx, project: Project, held: ProjectInvitation, whom: Answering) -> None:
    kind = Actor.USER if held.user else Actor.ACCOUNT
    actor = held.user or held.account or whom.account
    holder = await project_members.actor_of(tx, kind, actor) if actor else None
    if actor is None or holder is None or holder.domain != project.domain:
        raise Invalid(f"You are not of the domain of project {project.name}, which you would join.")
    if any(member.actor == actor for member in await project_members.of(tx, project.id)):
        return
    part = Part.ADMIN if held.manager else Part.REGULAR
    await project_members.assign(
        tx, project.id, Joining(actor=actor, kind=kind, part=part, role=held.project_role)
    )


async def list_all(
    cloud: Cloud, caller: Caller, *, project: UUID | None = None, every: bool = False
) -> list[ProjectInvitation]:
    """Those to the caller and its account; with `project`, all of it for who manages it; `every`: all that the caller
    manages by its domain or as an administrator."""
    equals = {"project": project} if project else {}
    async with cloud.view() as look:
        found = await look.list(ProjectInvitation, order=("created_at", "id"), **equals)
        me = await look.get(User, caller.user)
        keys = {held.project for held in found}
        known = {held.id: held for held in await look.list(Project, id=tuple(keys))} if keys else {}
        managed = set()
        if project is not None or every:
            for key, held in known.items():
                if await project_members.manages(look, caller, held):
                    managed.add(key)
    mine = {me.id, me.account or caller.project} - {None}
    return [held for held in found if held.project in managed or (held.user or held.account) in mine]


async def delete(cloud: Cloud, caller: Caller, key: UUID) -> ProjectInvitation:
    """By who manages the project; whoever was invited declines instead. Raises NotFound, Forbidden."""
    async with cloud.transaction(caller) as tx:
        held = await tx.maybe(ProjectInvitation, key)
        if held is None:
            raise NotFound("Project invitation", key)
        project = await tx.get(Project, held.project)
        if not await project_members.manages(tx, caller, project):
            me = await tx.get(User, caller.user)
            if (held.user or held.account) not in (me.id, me.account or caller.project):
                raise NotFound("Project invitation", key)
            raise Forbidden("Only who manages the project takes an invitation back; decline it instead.")
        await tx.remove(held)
        return held
