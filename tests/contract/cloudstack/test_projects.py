"""Projects with their members, roles and invitations, which every API sees alike."""

from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.core.identity.authorization.assignments import Place
from pileus.core.identity.records import Assignment, Project, Scope, User
from pileus.core.mail import Mail, opened
from pileus.workflows import tenant_delete, tenant_suspend
from pileus.workflows.worker import Worker
from tests.contract.cloudstack.conftest import Stack, give
from tests.contract.cloudstack.people import People, people

__all__ = ["people"]


async def founded(who: Stack, worker: Worker, name: str = "apollo", **more: Any) -> str:
    done = await who.job(worker, "createProject", name=name, displaytext="To the moon", **more)
    return str(done["project"]["id"])


async def members(who: Stack, project: str, **more: Any) -> dict[str, str]:
    """Role types by account, or by user."""
    shown = (await who.call("listProjectAccounts", projectid=project, **more)).get("projectaccount", [])
    return {one.get("username", one["account"]): one["role"] for one in shown}


def configured(cloud: Cloud, **settings: Any) -> None:
    cloud.config = msgspec.structs.replace(cloud.config, **settings)


async def test_a_project_from_its_making_to_its_end(people: People, worker: Worker, cloud: Cloud) -> None:
    user = people["User"]
    started = await user.call("createProject", name="apollo", displaytext="To the moon")
    await worker.idle()
    project = started["id"]
    (shown,) = (await user.call("listProjects"))["project"]
    assert (shown["id"], shown["state"], shown["owner"]) == (project, "Active", [{"account": "user"}])
    assert (shown["name"], shown["displaytext"]) == ("apollo", "To the moon")
    assert await members(user, project) == {"user": "Admin"}
    assert "already exists in domain" in await user.refused("createProject", 431, name="apollo")
    done = await user.job(worker, "updateProject", id=project, name="artemis", displaytext="Again")
    assert (done["project"]["name"], done["project"]["displaytext"]) == ("artemis", "Again")
    done = await user.job(worker, "suspendProject", id=project)
    assert done["project"]["state"] == "Suspended"
    assert (await user.call("listProjects", state="suspended"))["count"] == 1
    assert await user.call("listProjects", state="Active") == {}
    done = await user.job(worker, "activateProject", id=project)
    assert done["project"]["state"] == "Active"
    assert await user.job(worker, "deleteProject", id=project) == {"success": True}
    assert await user.call("listProjects", listall=True) == {}
    async with cloud.view() as look:
        assert not await look.count(Assignment, target=UUID(project))


async def test_a_project_is_deleted_with_what_is_in_it_only_when_asked_to(
    member: Stack, worker: Worker, place: dict[str, str], cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (tenant_delete, tenant_suspend):
        monkeypatch.setattr(module, "LOOK_AGAIN", 0.01)
    project = await founded(member, worker)
    inside = {"projectid": project, "zoneid": place["zoneid"]}
    offerings = (await member.call("listNetworkOfferings"))["networkoffering"]
    isolated = next(each["id"] for each in offerings if each["guestiptype"] == "Isolated")
    network = await member.call(
        "createNetwork", name="n", displaytext="n", networkofferingid=isolated, **inside
    )
    key = network["network"]["id"]
    await worker.idle()
    machine = await member.job(
        worker, "deployVirtualMachine", **place, projectid=project, networkids=key, name="vm"
    )
    assert machine["virtualmachine"]["projectid"] == project
    await member.job(worker, "associateIpAddress", networkid=key, projectid=project)
    offering = (await member.call("listDiskOfferings"))["diskoffering"][0]["id"]
    await member.job(
        worker, "createVolume", name="data", diskofferingid=offering, size=1, projectid=project,
        zoneid=place["zoneid"],
    )  # fmt: skip
    await member.call("createSecurityGroup", name="sg", projectid=project)
    text = await member.refused("deleteProject", 536, id=project)
    assert text.startswith("Can't delete the project yet because it has 1 server")
    done = await member.job(worker, "suspendProject", id=project)
    shown = await member.call("listVirtualMachines", projectid=project)
    assert (done["project"]["state"], shown["virtualmachine"][0]["state"]) == ("Suspended", "Stopped")
    stopped = shown["virtualmachine"][0]["id"]
    assert "no longer active" in await member.refused("startVirtualMachine", 531, id=stopped)
    assert "no longer active" in await member.refused("createSecurityGroup", 531, name="x", projectid=project)
    started = await member.call("deleteProject", id=project, cleanup=True)
    again = await member.call("deleteProject", id=project, cleanup=True)
    assert started["jobid"] == again["jobid"]
    await worker.idle()
    done = await member.call("queryAsyncJobResult", jobid=started["jobid"])
    assert (done["jobstatus"], done["jobresult"]) == (1, {"success": True}), done
    async with cloud.view() as look:
        assert await look.maybe(Project, UUID(project)) is None


async def test_members_come_go_and_change_their_part(people: People, worker: Worker, cloud: Cloud) -> None:
    user, neighbour = people["User"], people["Neighbour"]
    project = await founded(user, worker)
    await user.job(worker, "addAccountToProject", projectid=project, account="neighbour")
    await user.job(worker, "addAccountToProject", projectid=project, account="neighbour")
    assert await members(user, project) == {"user": "Admin", "neighbour": "Regular"}
    assert await members(user, project, role="Admin") == {"user": "Admin"}
    assert (await neighbour.call("listProjects"))["project"][0]["id"] == project
    for command, sent in (
        ("addAccountToProject", {"projectid": project, "account": "domainadmin"}),
        ("deleteAccountFromProject", {"projectid": project, "account": "user"}),
        ("updateProject", {"id": project, "name": "mine"}),
        ("suspendProject", {"id": project}),
        ("deleteProject", {"id": project}),
        ("createProjectRole", {"projectid": project, "name": "x"}),
    ):
        await neighbour.refused(command, 531, **sent)
    await user.refused("addAccountToProject", 431, projectid=project, account="stranger")
    await user.refused("addAccountToProject", 431, projectid=project)
    await user.refused("deleteAccountFromProject", 431, projectid=project, account="user")
    await user.refused("updateProject", 431, id=project, account="user", swapowner=False, roletype="Regular")
    await user.job(worker, "updateProject", id=project, account="neighbour")
    assert await members(user, project) == {"user": "Regular", "neighbour": "Admin"}
    await neighbour.job(
        worker, "updateProject", id=project, account="user", swapowner=False, roletype="Admin"
    )
    assert set((await members(user, project)).values()) == {"Admin"}
    await user.job(worker, "deleteAccountFromProject", projectid=project, account="neighbour")
    await user.refused("deleteAccountFromProject", 431, projectid=project, account="neighbour")
    assert await neighbour.call("listProjects") == {}
    await neighbour.refused("listProjectAccounts", 431, projectid=project)
    await neighbour.refused("listVirtualMachines", 431, projectid=project)


async def test_a_single_user_may_be_a_member(people: People, worker: Worker, cloud: Cloud) -> None:
    user, neighbour = people["User"], people["Neighbour"]
    project = await founded(user, worker)
    await user.job(worker, "addUserToProject", projectid=project, username="neighbour", roletype="Admin")
    assert await members(user, project) == {"user": "Admin", "neighbour": "Admin"}
    (one,) = (await user.call("listProjectAccounts", projectid=project, userid=str(neighbour.user.id)))[
        "projectaccount"
    ]
    assert (one["account"], one["username"], one["accounttype"]) == ("neighbour", "neighbour", 0)
    await user.refused("addUserToProject", 431, projectid=project, username="user")
    await user.job(worker, "updateProject", id=project, userid=str(neighbour.user.id), roletype="Regular")
    await neighbour.refused("suspendProject", 531, id=project)
    await user.job(worker, "deleteUserFromProject", projectid=project, userid=str(neighbour.user.id))
    assert await members(user, project) == {"user": "Admin"}
    await user.refused("deleteUserFromProject", 431, projectid=project, userid=str(neighbour.user.id))
    owned = await founded(
        people["DomainAdmin"], worker, "theirs", userid=str(user.user.id), accountid=str(user.account.id)
    )
    assert await members(user, owned) == {"user": "Admin"}


async def test_an_account_that_alone_manages_a_project_stays_until_it_is_handed_over(
    people: People, admin: Stack, worker: Worker, cloud: Cloud
) -> None:
    user = people["User"]
    project = await founded(user, worker)
    text = await admin.refused("deleteAccount", 536, id=str(user.account.id))
    assert text == "Account user is the owner of project apollo; give that to another first."
    await user.job(worker, "addAccountToProject", projectid=project, account="neighbour", roletype="Admin")
    await admin.job(worker, "deleteAccount", id=str(user.account.id))
    assert await members(admin, project) == {"neighbour": "Admin"}


async def test_keystones_members_are_members_here(
    admin: Stack, member: Stack, other: Stack, worker: Worker, cloud: Cloud
) -> None:
    project = await founded(member, worker)
    async with cloud.view() as look:
        (granted,) = await look.list(Assignment, target=UUID(project), scope=Scope.PROJECT)
        assert granted.actor == member.account.id
    await give(cloud, system(), other.user.id, "member", Place(Scope.PROJECT, UUID(project)))
    assert await members(member, project) == {"demo": "Admin", "other": "Regular"}
    assert (await other.call("listProjects"))["count"] == 1
    await give(cloud, system(), other.user.id, "manager", Place(Scope.PROJECT, UUID(project)))
    assert await members(member, project) == {"demo": "Admin", "other": "Admin"}


async def test_project_roles_narrow_what_regular_members_call_there(people: People, worker: Worker) -> None:
    user, neighbour = people["User"], people["Neighbour"]
    project = await founded(user, worker)
    here = {"projectid": project}
    role = (await user.call("createProjectRole", name="looker", description="looks", **here))["projectrole"]
    assert (role["projectid"], role["description"]) == (project, "looks")
    await user.refused("createProjectRole", 431, name="looker", **here)
    role = (await user.call("updateProjectRole", id=role["id"], name="viewer", **here))["projectrole"]
    named = {"projectroleid": role["id"], **here}
    for rule, permission in (("list*", "allow"), ("*", "deny")):
        made = await user.call("createProjectRolePermission", rule=rule, permission=permission, **named)
        assert made["projectrolepermission"]["permission"] == permission
    await user.refused("createProjectRolePermission", 431, rule="list*", permission="deny", **named)
    shown = (await user.call("listProjectRolePermissions", **named))["projectrolepermission"]
    assert [each["rule"] for each in shown] == ["list*", "*"]
    await user.job(worker, "addAccountToProject", account="neighbour", **named)
    (one,) = (await user.call("listProjectAccounts", **named))["projectaccount"]
    assert (one["account"], one["projectroleid"]) == ("neighbour", role["id"])
    await neighbour.call("listVirtualMachines", **here)
    text = await neighbour.refused("createSecurityGroup", 531, name="x", **here)
    assert text == "The API createSecurityGroup is denied for the user's/account's project role."
    await neighbour.call("createSecurityGroup", name="x")
    await user.call("createSecurityGroup", name="x", **here)
    order = [each["id"] for each in reversed(shown)]
    await user.call("updateProjectRolePermission", ruleorder=order, **named)
    await neighbour.refused("listVirtualMachines", 531, **here)
    await user.call(
        "updateProjectRolePermission", projectrolepermissionid=order[0], permission="allow", **named
    )
    await neighbour.call("createSecurityGroup", name="y", **here)
    await user.refused("deleteProjectRole", 531, id=role["id"], **here)
    await user.call("deleteProjectRolePermission", id=order[0], **here)
    await user.job(worker, "deleteAccountFromProject", account="neighbour", **here)
    await user.call("deleteProjectRole", id=role["id"], **here)
    assert await user.call("listProjectRoles", **here) == {}


async def test_who_is_invited_joins_by_accepting(people: People, worker: Worker, cloud: Cloud) -> None:
    user, neighbour = people["User"], people["Neighbour"]
    project = await founded(user, worker)
    configured(cloud, project_invite_required=True)
    sent = {"projectid": project, "account": "neighbour"}
    await user.job(worker, "addAccountToProject", **sent)
    assert await members(user, project) == {"user": "Admin"}
    await user.refused("addAccountToProject", 431, **sent)
    (one,) = (await neighbour.call("listProjectInvitations"))["projectinvitation"]
    assert (one["project"], one["account"], one["state"]) == ("apollo", "neighbour", "Pending")
    assert (await user.call("listProjectInvitations", projectid=project))["count"] == 1
    assert await user.call("listProjectInvitations") == {}
    assert await people["Stranger"].call("listProjectInvitations", projectid=project) == {}
    await people["Stranger"].refused("updateProjectInvitation", 431, projectid=project)
    await neighbour.refused("deleteProjectInvitation", 531, id=one["id"])
    await neighbour.job(worker, "updateProjectInvitation", projectid=project, accept=False)
    assert (await neighbour.call("listProjectInvitations", state="declined"))["count"] == 1
    await neighbour.refused("updateProjectInvitation", 431, projectid=project)
    await user.job(worker, "addAccountToProject", **sent, roletype="Admin")
    await neighbour.job(worker, "updateProjectInvitation", projectid=project, account="neighbour")
    assert await members(user, project) == {"user": "Admin", "neighbour": "Admin"}


async def test_an_invitation_can_be_taken_back_and_ends_by_itself(
    people: People, worker: Worker, cloud: Cloud
) -> None:
    user, neighbour = people["User"], people["Neighbour"]
    project = await founded(user, worker)
    configured(cloud, project_invite_required=True, project_invite_seconds=0)
    await user.job(worker, "addUserToProject", projectid=project, username="neighbour")
    (one,) = (await neighbour.call("listProjectInvitations"))["projectinvitation"]
    assert (one["state"], one["userid"]) == ("Expired", str(neighbour.user.id))
    assert await neighbour.call("listProjectInvitations", activeonly=True) == {}
    assert "expired" in await neighbour.refused("updateProjectInvitation", 431, projectid=project)
    await user.job(worker, "deleteProjectInvitation", id=one["id"])
    assert await neighbour.call("listProjectInvitations") == {}
    await user.refused("deleteProjectInvitation", 431, id=one["id"])


async def test_who_reads_the_letter_joins_with_its_token(
    people: People, worker: Worker, cloud: Cloud
) -> None:
    user, neighbour = people["User"], people["Neighbour"]
    project = await founded(user, worker)
    configured(cloud, project_invite_required=True)
    here = {"projectid": project, "email": "somebody@example.org"}
    await user.refused("addAccountToProject", 431, **here)
    await worker.stop()
    configured(cloud, smtp_host="127.0.0.1")
    await user.call("addAccountToProject", **here)
    async with cloud.view() as look:
        (mail,) = await look.list(Mail)
    letter = opened(cloud, mail)
    token = letter.text.split()[-1]
    assert letter.to == "somebody@example.org"
    await neighbour.refused("updateProjectInvitation", 431, projectid=project)
    await neighbour.refused("updateProjectInvitation", 431, projectid=project, token=f"{token}x")
    assert await members(user, project) == {"user": "Admin"}
    await neighbour.call("updateProjectInvitation", projectid=project, token=token)
    assert await members(user, project) == {"user": "Admin", "neighbour": "Regular"}


async def test_whose_projects_are_listed(people: People, admin: Stack, worker: Worker) -> None:
    user, manager = people["User"], people["DomainAdmin"]
    mine = await founded(user, worker)
    theirs = await founded(people["Stranger"], worker, "elsewhere")

    async def listed(who: Stack, **sent: Any) -> set[str]:
        return {each["id"] for each in (await who.call("listProjects", **sent)).get("project", [])}

    sales = str(user.user.domain)
    for who, sent, wanted in (
        (user, {}, {mine}),
        (user, {"listall": True}, {mine}),
        (user, {"account": "user", "domainid": sales}, {mine}),
        (user, {"keyword": "MOON"}, {mine}),
        (manager, {}, set()),
        (manager, {"listall": True}, {mine}),
        (manager, {"domainid": sales}, {mine}),
        (manager, {"domainid": sales, "account": "user"}, {mine}),
        (manager, {"domainid": sales, "username": "neighbour"}, set()),
        (admin, {}, set()),
        (admin, {"listall": True}, {mine, theirs}),
        (admin, {"domainid": str(admin.user.domain), "isrecursive": True}, {mine, theirs}),
        (admin, {"id": theirs}, {theirs}),
        (admin, {"listall": True, "displaytext": "To the moon", "name": "elsewhere"}, {theirs}),
        (admin, {"listall": True, "tags[0].key": "a", "tags[0].value": "b"}, set()),
    ):
        assert await listed(who, **sent) == wanted, sent
    assert "vmtotal" not in (await user.call("listProjects", details="min"))["project"][0]
    await admin.refused("listProjects", 431, account="user")
    await user.refused("listProjects", 431, domainid=str(people["Stranger"].user.domain))
    await user.refused("listProjects", 431, state="Sleeping")


async def test_who_may_make_projects(people: People, admin: Stack, worker: Worker, cloud: Cloud) -> None:
    sales, user = str(people["User"].user.domain), people["User"]
    made = await founded(admin, worker, "given", account="user", domainid=sales)
    assert await members(user, made) == {"user": "Admin"}
    await user.refused("createProject", 431, name="x", account="neighbour", domainid=sales)
    await user.refused("createProject", 431, name="x", account="user")
    await user.refused("createProject", 431, name="x", userid=str(user.user.id))
    await user.refused("createProject", 431, name="x", accountid=str(uuid4()))
    await user.refused("createProject", 431, name=" ")
    configured(cloud, projects_by_users=False)
    assert await user.refused("createProject", 531, name="x") == (
        "Regular user is not permitted to create a project"
    )
    await founded(people["DomainAdmin"], worker, "y")


@pytest.mark.parametrize("command", ["suspendProject", "deleteProject", "updateProject", "activateProject"])
async def test_projects_of_others_are_not_found(
    command: str, people: People, worker: Worker, cloud: Cloud
) -> None:
    project = await founded(people["User"], worker)
    hidden = await people["Stranger"].refused(command, 431, id=project)
    nothing = await people["Stranger"].refused(command, 431, id=str(uuid4()))
    assert hidden.replace(project, "") == nothing.replace(nothing.split("value=")[1].split()[0], "")
    own = str(people["User"].account.id)
    await people["User"].refused(command, 431, id=own)
    async with cloud.view() as look:
        assert (await look.get(Project, UUID(project))).enabled
        assert await look.count(User, account=UUID(own))
