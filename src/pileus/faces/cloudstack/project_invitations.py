"""Invitations into projects."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pileus.core.cloud import Look
from pileus.core.identity.records import Project, ProjectKind
from pileus.core.identity.tenancy import project_invitations
from pileus.core.identity.tenancy.project_invitations import state_of
from pileus.core.identity.tenancy.tenancy_records import InvitationState, ProjectInvitation
from pileus.faces.cloudstack import owners
from pileus.faces.cloudstack.commands import Call, Done, Listed, command, view
from pileus.faces.cloudstack.errors import PARAMETER, ApiError
from pileus.faces.cloudstack.guest_os import cut
from pileus.faces.cloudstack.params import OwnedListing, Params, param
from pileus.faces.cloudstack.users import inside


class ListInvitations(OwnedListing):
    project: UUID | None = param("projectid", "list those into a project", default=None)
    id: UUID | None = param("id", "list by id", default=None)
    user: UUID | None = param("userid", "list those to a user", default=None)
    active: bool = param("activeonly", "only those that can still be accepted", default=False)
    state: str = param("state", "list by state: Pending, Completed, Expired or Declined", default="")


class Answer(Params):
    project: UUID = param("projectid", "the project")
    account: str = param("account", "the account that was invited; else the caller's own", default="")
    user: UUID | None = param("userid", "the user that was invited; else the caller", default=None)
    token: str = param("token", "what came by mail", default="")
    accept: bool = param("accept", "whether to join; false declines", default=True)


class OnInvitation(Params):
    id: UUID = param("id", "the invitation")


@view(ProjectInvitation, "projectinvitation", "ProjectInvitation")
async def shown(call: Call, look: Look, invitations: Sequence[ProjectInvitation]) -> list[dict[str, Any]]:
    known = await look.list(Project, id=tuple({key for each in invitations for key in about(each)}))
    held = {project.id: project for project in known}
    places = await owners.domains_shown(look, {project.domain for project in known})
    made = []
    for each in invitations:
        project = held.get(each.project)
        account = held.get(each.account) if each.account else None
        made.append(
            {
                "id": each.id,
                "projectid": each.project,
                "project": project.name if project else None,
                "account": account.name if account else None,
                "userid": each.user,
                "email": each.email or None,
                "state": state_of(call.cloud, each).value,
                **(places[project.domain] if project else {}),
            }
        )
    return made


def about(invitation: ProjectInvitation) -> set[UUID]:
    return {invitation.project, *([invitation.account] if invitation.account else [])}


@command("listProjectInvitations", params=ListInvitations)
async def listing(call: Call, params: ListInvitations) -> Listed[Any]:
    """Lists invitations: the caller's, those into a project that it manages, or with listall all that it may see."""
    states = {each.value.lower(): each for each in InvitationState}
    if params.state and params.state.lower() not in states:
        raise ApiError(PARAMETER, f"An invitation's state is {', '.join(InvitationState)}.")
    every = params.all or bool(params.account or params.domain or params.id)
    found = await project_invitations.list_all(call.cloud, call.caller, project=params.project, every=every)
    wanted = InvitationState.PENDING if params.active else states.get(params.state.lower())
    async with call.cloud.view() as look:
        accounts = await named(call, look, params)
        kept = [
            each
            for each in found
            if params.id in (None, each.id)
            and params.user in (None, each.user)
            and (accounts is None or each.account in accounts)
            and wanted in (None, state_of(call.cloud, each))
        ]
        seen = await shown(call, look, kept)
    text = params.keyword.lower()
    return cut([one for one in seen if text in (one["project"] or "").lower()], params)


async def named(call: Call, look: Look, params: ListInvitations) -> set[UUID] | None:
    """The accounts whose invitations are asked for; None: of all."""
    if params.account:
        return {(await owners.account_named(look, call, params.account, params.domain)).id}
    if params.domain is None:
        return None
    domains = await inside(call, look, params.domain, params.recursive)
    return {held.id for held in await look.list(Project, domain=domains, kind=ProjectKind.ACCOUNT)}


@command("updateProjectInvitation", params=Answer)
async def answer(call: Call, params: Answer) -> Done:
    """Accepts or declines an invitation."""
    account = None
    if params.account:
        async with call.cloud.view() as look:
            account = (await owners.account_named(look, call, params.account, None)).id
    done = await project_invitations.answer(
        call.cloud,
        call.caller,
        params.project,
        accept=params.accept,
        account=account,
        user=params.user,
        token=params.token,
    )
    return Done(subject=done.id, kind="project_invitation")


@command("deleteProjectInvitation", params=OnInvitation)
async def delete(call: Call, params: OnInvitation) -> Done:
    """Takes an invitation back."""
    gone = await project_invitations.delete(call.cloud, call.caller, params.id)
    return Done(subject=gone.id, kind="project_invitation")
