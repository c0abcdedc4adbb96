"""A CloudStack project is a project of Keystone's with role assignments, and the other way round."""

import pytest

from pileus.core.cloud import Cloud
from pileus.faces.wire import Kernel
from pileus.workflows.worker import Worker
from tests.contract.cloudstack.both import asked, kernel, openstack
from tests.contract.cloudstack.conftest import Stack
from tests.contract.cloudstack.test_projects import founded, members
from tests.contract.openstack.conftest import Person, person

__all__ = ["kernel", "openstack"]


@pytest.fixture
async def root(kernel: Kernel, cloud: Cloud) -> Person:
    """The administrator, through OpenStack's APIs."""
    return await person(kernel, cloud, "admin")


async def scoped(who: Person, project: str) -> dict[str, object]:
    """The roles in a token that the user's own is exchanged for."""
    scope = {"project": {"id": project.replace("-", "")}}
    identity = {"methods": ["token"], "token": {"id": who.token}}
    body = {"auth": {"identity": identity, "scope": scope}}
    reply = await who.request("POST", "/identity/v3/auth/tokens", json=body)
    assert reply.status == 201, reply.text
    token: dict[str, object] = reply.json()["token"]
    return token


async def test_keystone_shows_the_members_of_a_cloudstack_project(
    root: Person, member: Stack, other: Stack, openstack: Person, worker: Worker
) -> None:
    project = await founded(member, worker)
    await member.job(worker, "addAccountToProject", projectid=project, account="other")
    key = project.replace("-", "")
    shown = (await asked(root, "GET", f"/identity/v3/projects/{key}"))["project"]
    assert (shown["name"], shown["enabled"]) == ("apollo", True)
    path = f"/identity/v3/role_assignments?scope.project.id={key}&include_names&effective"
    held = (await asked(root, "GET", path))["role_assignments"]
    by_user: dict[str, set[str]] = {}
    for one in held:
        by_user.setdefault(one["user"]["name"], set()).add(one["role"]["name"])
    assert {name: "manager" in roles for name, roles in by_user.items()} == {"demo": True, "other": False}
    token = await scoped(openstack, project)
    assert {role["name"] for role in token["roles"]} >= {"manager", "member"}  # type: ignore[attr-defined]
    await member.job(worker, "suspendProject", id=project)
    shown = (await asked(root, "GET", f"/identity/v3/projects/{key}"))["project"]
    assert shown["enabled"] is False


async def test_a_project_of_keystone_is_one_here_with_its_users(
    admin: Stack, member: Stack, root: Person, worker: Worker
) -> None:
    made = (await asked(root, "POST", "/identity/v3/projects", {"project": {"name": "hermes"}}))["project"]
    roles = (await asked(root, "GET", "/identity/v3/roles?name=member"))["roles"]
    user = member.user.id.hex
    await asked(root, "PUT", f"/identity/v3/projects/{made['id']}/users/{user}/roles/{roles[0]['id']}")
    (shown,) = (await member.call("listProjects"))["project"]
    assert (shown["name"], shown["id"].replace("-", "")) == ("hermes", made["id"])
    assert await members(member, shown["id"]) == {"demo": "Regular"}
    await asked(root, "PATCH", f"/identity/v3/projects/{made['id']}", {"project": {"enabled": False}})
    (shown,) = (await member.call("listProjects"))["project"]
    assert shown["state"] == "Suspended"
    assert await admin.job(worker, "deleteProject", id=shown["id"]) == {"success": True}
    reply = await root.request("GET", f"/identity/v3/projects/{made['id']}")
    assert reply.status == 404
