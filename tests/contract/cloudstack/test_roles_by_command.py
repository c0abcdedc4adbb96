"""Role type by command, over what tenants are managed with: callable by whom CloudStack's default roles name, by none else.

The table is CloudStack's own catalogue, so that a command which is served tomorrow is in it.
"""

import pytest

from pileus.core.cloud import Cloud
from pileus.faces.cloudstack.catalogue import CATALOGUE
from pileus.faces.cloudstack.commands import COMMANDS
from pileus.faces.cloudstack.sessions import ANONYMOUS
from tests.contract.cloudstack.conftest import Stack
from tests.contract.cloudstack.people import People, people
from tests.contract.cloudstack.test_commands import required

__all__ = ["people"]
GROUPS = frozenset(
    {
        "admin/acl",
        "admin/acl/project",
        "admin/account",
        "admin/domain",
        "admin/ldap",
        "admin/resource",
        "admin/user",
        "ldap",
        "user/account",
        "user/project",
        "user/resource",
        "user/user",
    }
)
TYPES = ("Admin", "ResourceAdmin", "DomainAdmin", "User")
SERVED = sorted(name for name in COMMANDS if COMMANDS[name].entry.group in GROUPS and name not in ANONYMOUS)
UNAVAILABLE = 432


async def test_each_command_is_for_the_role_types_that_cloudstack_names(people: People) -> None:
    wrong = []
    for name in SERVED:
        named = CATALOGUE.commands[name].roles or TYPES
        for kind in TYPES:
            reply = await people[kind].ask(name, **required(name))
            allowed = kind in named
            if (reply.status == UNAVAILABLE) is allowed or reply.status in (401, 530):
                wrong.append(f"{name} by {kind}: {reply.status} {reply.text[:200]}")
    assert not wrong, f"{len(wrong)} of {len(SERVED) * len(TYPES)}:\n" + "\n".join(wrong)


@pytest.mark.parametrize("kind", TYPES)
async def test_list_apis_tells_each_role_type_what_it_may_call(
    kind: str, people: People, cloud: Cloud
) -> None:
    known = {each["name"] for each in (await people[kind].call("listApis"))["api"]}
    of_type = {name for name, command in COMMANDS.items() if kind in (command.entry.roles or TYPES)}
    assert known == (COMMANDS.keys() if kind == "Admin" else of_type)


async def test_a_refusal_names_command_and_account(admin: Stack, people: People) -> None:
    text = await people["User"].refused("createRole", UNAVAILABLE, name="x", type="User")
    assert text == "The API [createRole] does not exist or is not available for the account user."
