"""Roles of accounts and their rules: what may be called follows them at the next request, and never more than the core allows."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from pileus.core.cloud import Cloud
from pileus.core.identity.tenancy import account_roles
from pileus.core.identity.tenancy.tenancy_records import RoleType
from pileus.faces.cloudstack.commands import COMMANDS
from pileus.faces.cloudstack.permissions import Memory
from tests.contract.cloudstack.conftest import Stack
from tests.contract.cloudstack.people import People, people, set_role

__all__ = ["people"]
TYPES = {name: type_.value for name, type_, _ in account_roles.DEFAULTS}


async def rules_of(admin: Stack, role: str) -> list[dict[str, Any]]:
    shown = await admin.call("listRolePermissions", roleid=role)
    rules: list[dict[str, Any]] = shown.get("rolepermission", [])
    return rules


async def made(admin: Stack, name: str = "mine", kind: str = "User", **rules: str) -> str:
    """A role with these rules in order; `_` stands for `*`."""
    role = (await admin.call("createRole", name=name, type=kind))["role"]["id"]
    for rule, permission in rules.items():
        await admin.call(
            "createRolePermission", roleid=role, rule=rule.replace("_", "*"), permission=permission
        )
    return str(role)


async def callable_by(who: Stack) -> set[str]:
    return {each["name"] for each in (await who.call("listApis"))["api"]}


async def test_every_cloud_has_the_default_roles_which_stay_as_they_are(admin: Stack) -> None:
    shown = (await admin.call("listRoles"))["role"]
    assert {role["name"]: role["type"] for role in shown} == TYPES
    assert {(role["isdefault"], role["ispublic"], role["state"]) for role in shown} == {
        (True, True, "enabled")
    }
    for role in shown:
        rules = await rules_of(admin, role["id"])
        assert rules, role["name"]
        assert len({rule["id"] for rule in rules}) == len(rules)
        texts = [
            await admin.refused("deleteRole", 531, id=role["id"]),
            await admin.refused("updateRole", 531, id=role["id"], name="other"),
            await admin.refused("createRolePermission", 531, roleid=role["id"], rule="x", permission="allow"),
        ]
        assert texts == [
            "Default roles cannot be deleted",
            "Default roles cannot be updated (with the exception of making it private/public).",
            "Role permission cannot be added for Default roles",
        ]
    user = next(role["id"] for role in shown if role["name"] == "User")
    changed = (await admin.call("updateRole", id=user, ispublic=False))["role"]
    assert (changed["ispublic"], changed["isdefault"]) == (False, True)


async def test_the_life_of_a_role(admin: Stack) -> None:
    made = await admin.call("createRole", name="auditor", type="User", description="looks", ispublic=False)
    role = made["role"]
    assert (role["type"], role["state"], role["ispublic"]) == ("User", "enabled", False)
    changed = (await admin.call("updateRole", id=role["id"], name="reviewer", type="DomainAdmin"))["role"]
    assert (changed["name"], changed["type"], changed["description"]) == ("reviewer", "DomainAdmin", "looks")
    for sent in ({"name": "reviewer"}, {"id": role["id"]}, {"type": "DomainAdmin", "keyword": "review"}):
        found = await admin.call("listRoles", **sent)
        assert [each["id"] for each in found["role"]] == [role["id"]]
    assert (await admin.call("listRoles", page=2, pagesize=5))["count"] == len(TYPES) + 1
    assert await admin.call("listRoles", state="disabled") == {}
    assert await admin.call("disableRole", id=role["id"]) == {"success": True}
    assert (await admin.call("listRoles", state="disabled"))["role"][0]["id"] == role["id"]
    await admin.refused("disableRole", 431, id=role["id"])
    await admin.call("enableRole", id=role["id"])
    await admin.call("deleteRole", id=role["id"])
    await admin.refused("deleteRole", 431, id=role["id"])


async def test_rules_are_added_ordered_changed_and_taken_away(admin: Stack) -> None:
    role = await made(admin, listZones="allow", list_="deny")
    first, second = await rules_of(admin, role)
    assert [(each["rule"], each["permission"]) for each in (first, second)] == [
        ("listZones", "allow"),
        ("list*", "deny"),
    ]
    twice = {"roleid": role, "rule": "list*", "permission": "allow"}
    assert (
        await admin.refused("createRolePermission", 431, **twice) == "Rule already exists for the role: mine"
    )
    for bad in ("list-zones", "a b", "*;"):
        text = await admin.refused("createRolePermission", 431, roleid=role, rule=bad, permission="deny")
        assert text == f"Only API names and wildcards are allowed, invalid rule provided: {bad}"
    bad_word = {"roleid": role, "rule": "x", "permission": "maybe"}
    assert "allow or deny" in await admin.refused("createRolePermission", 431, **bad_word)
    await admin.call("updateRolePermission", roleid=role, ruleorder=[second["id"], first["id"]])
    assert [rule["rule"] for rule in await rules_of(admin, role)] == ["list*", "listZones"]
    for order in ([first["id"]], [first["id"], first["id"]], [first["id"], str(uuid4())]):
        await admin.refused("updateRolePermission", 431, roleid=role, ruleorder=order)
    both = {"ruleid": first["id"], "permission": "deny"}
    await admin.refused("updateRolePermission", 431, roleid=role, ruleorder=[first["id"]], **both)
    await admin.refused("updateRolePermission", 431, roleid=role)
    await admin.call("updateRolePermission", roleid=role, **both)
    assert {rule["permission"] for rule in await rules_of(admin, role)} == {"deny"}
    await admin.call("deleteRolePermission", id=second["id"])
    assert [rule["id"] for rule in await rules_of(admin, role)] == [first["id"]]
    await admin.refused("deleteRolePermission", 431, id=second["id"])


async def test_a_copy_has_type_and_rules_of_its_model(admin: Stack) -> None:
    for name, kind in TYPES.items():
        model = (await admin.call("listRoles", name=name))["role"][0]["id"]
        copy = (await admin.call("createRole", name=f"like {name}", roleid=model))["role"]
        theirs = [(rule["rule"], rule["permission"]) for rule in await rules_of(admin, model)]
        ours = [(rule["rule"], rule["permission"]) for rule in await rules_of(admin, copy["id"])]
        assert (copy["type"], ours) == (kind, theirs)
    await admin.refused("createRole", 431, name="x")
    await admin.refused("createRole", 431, name="x", type="User", roleid=model)
    await admin.refused("createRole", 431, name="User", type="User")
    await admin.refused("createRole", 431, name="x", type="Emperor")


async def test_a_role_is_imported_with_its_rules_and_replaced_only_when_forced(admin: Stack) -> None:
    def rows(*rules: tuple[str, str]) -> dict[str, str]:
        sent = {}
        for place, (rule, permission) in enumerate(rules):
            sent |= {f"rules[{place}].rule": rule, f"rules[{place}].permission": permission}
        return sent

    first = rows(("list*", "allow"), ("*", "deny"))
    role = (await admin.call("importRole", name="robot", type="User", **first))["role"]["id"]
    assert [rule["rule"] for rule in await rules_of(admin, role)] == ["list*", "*"]
    again = rows(("*", "allow"))
    assert await admin.refused("importRole", 431, name="robot", type="User", **again) == "Role already exists"
    same = await admin.call("importRole", name="robot", type="DomainAdmin", forced=True, **again)
    assert (same["role"]["id"], same["role"]["type"]) == (role, "DomainAdmin")
    assert [rule["rule"] for rule in await rules_of(admin, role)] == ["*"]
    await admin.refused("importRole", 531, name="User", type="User", forced=True, **again)
    await admin.refused("importRole", 431, name="x", type="User", **rows(("", "allow")))
    await admin.refused("importRole", 431, name="x", type="User", **rows(("a", "perhaps")))
    await admin.refused("importRole", 431, name="x", type="User", **rows(("a", "allow"), ("a", "deny")))
    await admin.refused("importRole", 431, name="x", **again)


async def test_the_first_rule_that_fits_decides_at_the_next_request(
    admin: Stack, member: Stack, cloud: Cloud
) -> None:
    role = await made(admin, listZones="allow", list_="deny")
    await set_role(cloud, member.account.id, account_roles.DEFAULT[RoleType.USER])
    assert "listVirtualMachines" in await callable_by(member)
    await admin.call("listRoles")
    await set_role(cloud, member.account.id, account_roles.id_of("User"))
    await set_role(cloud, member.account.id, UUID(role))
    text = await member.refused("listVirtualMachines", 432)
    assert text == "The API [listVirtualMachines] does not exist or is not available for the account demo."
    await member.call("listZones")
    assert await member.refused("listApis", 432)
    (rule,) = (each for each in await rules_of(admin, role) if each["rule"] == "list*")
    await admin.call("updateRolePermission", roleid=role, ruleid=rule["id"], permission="allow")
    await member.call("listVirtualMachines")
    known = await callable_by(member)
    assert {name for name in known if name.startswith("list")} >= {"listHosts", "listZones"}, (
        "allowed by list*"
    )
    assert "createNetwork" in known, "no rule fits: what the type may call"
    assert "createServiceOffering" not in known


async def test_rules_allow_nothing_that_the_core_forbids(admin: Stack, member: Stack, cloud: Cloud) -> None:
    role = await made(admin, _="allow", kind="Admin")
    await set_role(cloud, member.account.id, UUID(role))
    for command, sent in (
        (
            "createServiceOffering",
            {"name": "x", "displaytext": "x", "cpunumber": 1, "cpuspeed": 1, "memory": 64},
        ),
        ("createRole", {"name": "x", "type": "Admin"}),
        ("updateRole", {"id": role, "name": "y"}),
        ("deleteRolePermission", {"id": str(uuid4())}),
    ):
        await member.refused(command, 531, **sent)


async def test_accounts_of_a_disabled_role_call_nothing(admin: Stack, member: Stack, cloud: Cloud) -> None:
    role = await made(admin, _="allow")
    await set_role(cloud, member.account.id, UUID(role))
    await member.call("listZones")
    await admin.call("disableRole", id=role)
    for command in ("listZones", "listApis", "listVirtualMachines"):
        await member.refused(command, 432)
    assert await admin.refused("deleteRole", 531, id=role) == (
        "Found accounts that have role in use, won't allow to delete role"
    )
    await admin.refused("updateRole", 531, id=role, type="Admin")
    await admin.call("enableRole", id=role)
    await member.call("listZones")
    root = str(account_roles.ROOT_ADMIN)
    await admin.refused("disableRole", 531, id=root)


@pytest.mark.parametrize("name", TYPES)
async def test_list_apis_names_what_the_default_role_may_call(
    name: str, admin: Stack, member: Stack, cloud: Cloud
) -> None:
    who = admin if TYPES[name] == "Admin" else member
    await set_role(cloud, who.account.id, account_roles.id_of(name))
    known = await callable_by(who)
    if name == "Root Admin":
        assert known == COMMANDS.keys()
    elif name == "User":
        assert known == {each for each, command in COMMANDS.items() if command.allows("User")}
    elif "Read-Only" in name:
        assert {each for each in known if not each.startswith(("list", "get", "query", "quota"))} <= {
            "setupUserTwoFactorAuthentication",
            "validateUserTwoFactorAuthenticationCode",
        }
        assert "listVirtualMachines" in known
    elif "Support" in name:
        assert {"startVirtualMachine", "attachVolume"} <= known
        assert not {"deployVirtualMachine", "deleteNetwork"} & known
        assert ("createServiceOffering" in known) is (TYPES[name] == "Admin")


async def test_others_than_root_administrators_see_roles_that_allow_no_more_than_their_own(
    admin: Stack, people: People
) -> None:
    await made(admin, "wide", "DomainAdmin", createRole="allow")
    await made(admin, "narrow", "User", delete_="deny")
    hidden = await admin.call("createRole", name="hidden", type="User", ispublic=False)
    names = {role["name"] for role in (await people["DomainAdmin"].call("listRoles"))["role"]}
    assert {"User", "Domain Admin", "narrow", "Read-Only User - Default"} <= names
    assert not names & {"wide", "hidden", "Root Admin", "Read-Only Admin - Default"}
    assert await people["DomainAdmin"].call("listRoles", id=hidden["role"]["id"]) == {}
    await people["User"].refused("listRoles", 432)


def test_a_request_that_reads_an_older_state_leaves_what_is_kept_of_the_newer_alone() -> None:
    memory = Memory()
    new, old = memory.at(6), memory.at(5)
    assert old is not new
    assert memory.at(6) is new
    assert memory.at(7) is not new
