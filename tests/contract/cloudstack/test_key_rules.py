"""Rules of key pairs: they narrow what requests signed with the pair may call, and never widen it."""

from typing import Any

import pytest

from pileus.faces.cloudstack.key_rules import MAX_RULES
from tests.contract.cloudstack.conftest import Stack
from tests.contract.cloudstack.visitors import client, made

Rules = tuple[tuple[str, str], ...]


def sent(*rules: tuple[str, str]) -> dict[str, str]:
    found = {}
    for place, (rule, permission) in enumerate(rules):
        found |= {f"rules[{place}].rule": rule, f"rules[{place}].permission": permission}
    return found


async def narrowed(who: Stack, *rules: tuple[str, str], name: str = "robot", **params: Any) -> Stack:
    """The same user, with a further pair of these rules."""
    key = who.user["id"] if isinstance(who.user, dict) else str(who.user.id)
    pair = (await who.call("registerUserKeys", id=key, name=name, **sent(*rules), **params))["userkeys"]
    return Stack(who.app, pair["apikey"], pair["secretkey"], who.user, who.account)


@pytest.fixture
async def ann(admin: Stack) -> Stack:
    return await client(admin, await made(admin, "ann"))


async def pair_of(who: Stack, of: Stack) -> dict[str, Any]:
    (found,) = (await who.call("listUserKeys", apikeyfilter=of.key, showpermissions=True))["userapikey"]
    shown: dict[str, Any] = found
    return shown


@pytest.mark.parametrize(
    ("rules", "may", "may_not"),
    [
        ((("list*Pairs", "allow"), ("*Apis", "allow")), ("listSSHKeyPairs", "listApis"), ("listZones",)),
        (
            (("createSSHKeyPair", "deny"), ("*SSHKeyPair*", "allow")),
            ("listSSHKeyPairs",),
            ("createSSHKeyPair",),
        ),
        ((("*SSHKeyPair*", "allow"), ("createSSHKeyPair", "deny")), ("createSSHKeyPair",), ("listZones",)),
        ((("LISTZONES", "ALLOW"),), ("listZones",), ("listUsers",)),
        ((("createZone", "deny"),), (), ("listZones", "createZone")),
    ],
)
async def test_the_first_rule_that_fits_decides_and_what_none_fits_is_denied(
    ann: Stack, rules: Rules, may: tuple[str, ...], may_not: tuple[str, ...]
) -> None:
    robot = await narrowed(ann, *rules)
    for command in may:
        await robot.call(command, **({"name": "x"} if command.startswith("create") else {}))
    for command in may_not:
        text = await robot.refused(command, 432, name="x", id=ann.user["id"])  # type: ignore[index]
        assert text == f"The API [{command}] does not exist or is not available for the account ann."
    await ann.call("createSSHKeyPair", name="free")


async def test_what_a_pair_may_call_is_what_list_apis_shows(ann: Stack) -> None:
    robot = await narrowed(ann, ("listApis", "allow"), ("*SSHKeyPair*", "allow"))
    shown = {each["name"] for each in (await robot.call("listApis"))["api"]}
    assert shown == {
        "listApis",
        "createSSHKeyPair",
        "deleteSSHKeyPair",
        "listSSHKeyPairs",
        "registerSSHKeyPair",
        "resetSSHKeyForVirtualMachine",
    } & {each["name"] for each in (await ann.call("listApis"))["api"]}
    await robot.refused("listApis", 432, name="listZones")


async def test_rules_are_shown_in_their_order(admin: Stack, ann: Stack) -> None:
    robot = await narrowed(
        ann, ("deleteNetwork", "deny"), ("*Network", "allow"), **{"rules[0].description": "not that"}
    )
    shown = [
        {"rule": "deleteNetwork", "permission": "deny", "description": "not that"},
        {"rule": "*Network", "permission": "allow"},
    ]
    pair = await pair_of(admin, robot)
    assert pair["permissions"] == shown
    # Users list the rules of nobody: the command is an administrator's.
    await ann.refused("listUserKeyRules", 432, keypairid=pair["id"])
    listed = await admin.call("listUserKeyRules", keypairid=pair["id"])
    assert (listed["count"], listed["keypermission"]) == (2, shown)
    plain = (await admin.call("listUserKeys", apikeyfilter=robot.key))["userapikey"][0]
    assert "permissions" not in plain
    await admin.refused("listUserKeyRules", 431, keypairid=ann.user["id"])  # type: ignore[index]


async def test_a_pair_without_rules_has_those_of_its_users_role(admin: Stack, ann: Stack) -> None:
    pair = await pair_of(admin, ann)
    assert {"rule": "deployVirtualMachine", "permission": "allow"} in pair["permissions"]
    assert "createZone" not in {each["rule"] for each in pair["permissions"]}
    own = await pair_of(admin, admin)
    assert {"rule": "*", "permission": "allow"} in own["permissions"]


async def test_rules_never_allow_more_than_the_users_role(admin: Stack, ann: Stack) -> None:
    key = ann.user["id"]  # type: ignore[index]
    for who in (ann, admin):
        for wide in ((("*", "allow"),), (("createZone", "allow"),), (("list*", "allow"), ("*Zone", "allow"))):
            text = await who.refused("registerUserKeys", 431, id=key, name="wide", **sent(*wide))
            assert "has a bigger set of permissions than the account" in text
    await narrowed(ann, ("createZone", "deny"), ("listZones", "allow"))
    root = await narrowed(admin, ("*", "allow"))
    await root.call("listUserKeys")


async def test_rules_that_the_role_no_longer_allows_allow_nothing(admin: Stack, ann: Stack) -> None:
    robot = await narrowed(ann, ("listUsers", "allow"), ("listZones", "allow"))
    await robot.call("listUsers")
    role = (await admin.call("createRole", name="looking", type="User"))["role"]["id"]
    await admin.call("createRolePermission", roleid=role, rule="listZones", permission="allow")
    await admin.call("createRolePermission", roleid=role, rule="*", permission="deny")
    account = (await admin.call("listAccounts", name="ann", listall=True))["account"][0]
    await admin.call("updateAccount", id=account["id"], roleid=role)
    await robot.call("listZones")
    await robot.refused("listUsers", 432)
    pair = await pair_of(admin, robot)
    assert pair["permissions"] == [{"rule": "listZones", "permission": "allow"}]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rules[0].permission": "allow"},
        {"rules[0].rule": "listZones"},
        {"rules[0].rule": "listZones", "rules[0].permission": "perhaps"},
        {"rules[0].rule": "list Zones", "rules[0].permission": "allow"},
        {"rules[0].rule": "listZones", "rules[0].permission": "allow", "rules[0].description": "x" * 256},
    ],
    ids=["no rule", "no permission", "unknown permission", "no name of a command", "long description"],
)
async def test_what_is_no_rule_is_refused_and_no_pair_made(ann: Stack, wrong: dict[str, str]) -> None:
    await ann.refused("registerUserKeys", 431, id=ann.user["id"], name="robot", **wrong)  # type: ignore[index]
    assert (await ann.call("listUserKeys"))["count"] == 1


async def test_a_pair_with_rules_needs_no_name_and_leaves_the_users_own(ann: Stack) -> None:
    key = ann.user["id"]  # type: ignore[index]
    await ann.call("registerUserKeys", id=key, **sent(("listZones", "allow")))
    names = {each["name"] for each in (await ann.call("listUserKeys"))["userapikey"]}
    assert names == {"default", f"{key} - API key pair"}


async def test_a_narrow_pair_neither_makes_nor_sees_nor_sets_a_wider_one(admin: Stack, ann: Stack) -> None:
    key = ann.user["id"]  # type: ignore[index]
    robot = await narrowed(
        ann, *((name, "allow") for name in ("registerUserKeys", "listUserKeys", "getUserKeys", "updateUser"))
    )
    for wide in ({}, sent(("listZones", "allow"))):
        await robot.refused("registerUserKeys", 431, id=key, name="wide", **wide)
    await robot.refused("registerUserKeys", 431, id=key)
    await narrowed(robot, ("listUserKeys", "allow"), name="narrower")
    assert {each["name"] for each in (await robot.call("listUserKeys"))["userapikey"]} == {
        "robot",
        "narrower",
    }
    assert (await robot.call("getUserKeys", id=key))["userkeys"]["apikey"] == robot.key
    await robot.refused("listUserKeys", 531, apikeyfilter=ann.key)
    await robot.refused("updateUser", 531, id=key, userapikey="mine", usersecretkey="hidden")
    watcher = await narrowed(admin, ("*User*", "allow"), name="watcher")
    await watcher.refused("listUserKeyRules", 531, keypairid=(await pair_of(admin, ann))["id"])
    assert "apikey" not in (await watcher.call("getUserKeys", id=key))["userkeys"]
    assert (await admin.call("getUserKeys", id=key))["userkeys"]["apikey"] == ann.key


async def test_a_pair_has_so_many_rules_and_no_more(ann: Stack) -> None:
    many = [(f"list{n}*", "deny") for n in range(MAX_RULES)]
    await narrowed(ann, *many)
    text = await ann.refused(
        "registerUserKeys",
        431,
        id=ann.user["id"],  # type: ignore[index]
        name="more",
        **sent(*many, ("listZones", "deny")),
    )
    assert str(MAX_RULES) in text
