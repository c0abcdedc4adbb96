"""Why somebody may do something to an object, and why not."""

from typing import Any
from uuid import uuid4

from pileus.faces import cloudstack
from tests.contract.openstack.conftest import Person


async def explained(who: Person, user: str, action: str, thing: str = "") -> Any:
    reply = await who.get(f"/console/access/explain?user={user}&action={action}&object={thing}")
    assert reply.status == 200, reply.text
    return reply.json()


async def test_an_administrator_sees_which_rule_lets_a_member_delete_its_server(
    admin: Person, member: Person, server: dict[str, Any]
) -> None:
    told = await explained(admin, member.user.id.hex, "os_compute_api:servers:delete", server["id"])
    assert told["allowed"] is True
    assert told["object"]["kind"] == "server"
    (token,) = told["tokens"]
    assert (token["scope"], token["core"], token["rule"]) == ("project", None, True)
    assert any(part["holds"] for part in token["parts"])
    assert told["advice"] == []


async def test_somebody_of_another_project_may_not_and_is_told_what_would_help(
    admin: Person, other: Person, server: dict[str, Any]
) -> None:
    told = await explained(admin, other.user.id.hex, "os_compute_api:servers:delete", server["id"])
    assert told["allowed"] is False
    assert told["tokens"][0]["core"] == "The server is in another project, so it is not found."
    assert told["advice"][0].startswith("Grant the user a role on project")


async def test_a_disabled_user_may_do_nothing_whatever_its_roles(admin: Person, member: Person) -> None:
    who = member.user.id.hex
    reply = await admin.patch(f"/identity/v3/users/{who}", json={"user": {"enabled": False}})
    assert reply.status == 200, reply.text
    told = await explained(admin, who, "os_compute_api:servers:create")
    assert told["allowed"] is False
    assert told["user"]["problems"][0].endswith("is disabled.")


async def test_nobody_but_administrators_asks_about_others(member: Person, other: Person) -> None:
    query = "action=os_compute_api:servers:create&object="
    refused = await member.get(f"/console/access/explain?user={other.user.id.hex}&{query}")
    assert refused.status == 403
    own = await member.get(f"/console/access/explain?user={member.user.id.hex}&{query}")
    assert own.status == 200
    assert own.json()["allowed"] is True


async def test_what_is_unknown_is_said(admin: Person, member: Person, other: Person) -> None:
    rule = "os_compute_api:servers:create"
    for user, action, thing, status in (
        (str(uuid4()), rule, "", 404),
        (member.user.id.hex, "no:such:rule", "", 400),
        (member.user.id.hex, rule, str(uuid4()), 404),
        (member.user.id.hex, rule, "not-an-id", 400),
    ):
        path = f"/console/access/explain?user={user}&action={action}&object={thing}"
        assert (await admin.get(path)).status == status, path


async def test_a_command_is_decided_by_the_role_of_the_account(
    admin: Person, member: Person, server: dict[str, Any]
) -> None:
    if not admin.app.explainers:
        cloudstack.mount(admin.app)
    who = member.user.id.hex
    told = await explained(admin, who, "stopVirtualMachine", server["id"])
    assert (told["allowed"], told["tokens"][0]["roles"]) == (True, ["User (User)"])
    told = await explained(admin, who, "createDomain")
    assert told["allowed"] is False
    assert told["advice"]
