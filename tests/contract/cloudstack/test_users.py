"""Users of accounts, and their API keys."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pileus.core.cloud import Cloud
from pileus.core.identity.records import Source, User
from pileus.workflows.worker import Worker
from tests.contract.cloudstack.both import kernel
from tests.contract.cloudstack.conftest import UNSIGNED, Stack
from tests.contract.cloudstack.visitors import Visitor, account_of, client, domain, made

__all__ = ["kernel"]

PERSON = {"firstname": "b", "lastname": "b", "email": "bob@example.org", "password": "secret"}


async def names(who: Stack, **params: Any) -> list[str]:
    return [each["username"] for each in (await who.call("listUsers", **params)).get("user", [])]


async def user_of(admin: Stack, key: str) -> dict[str, Any]:
    (found,) = (await admin.call("listUsers", id=key))["user"]
    shown: dict[str, Any] = found
    return shown


async def test_a_user_is_made_in_an_account(admin: Stack) -> None:
    account = await made(admin, "ann")
    chosen = "0d4f3c38-1c3e-4c9c-9a51-fd6f9f3e2f11"
    done = await admin.call("createUser", username="bob", account="ann", userid=chosen, **PERSON)
    user = done["user"]
    assert (user["id"], user["account"], user["state"]) == (chosen, "ann", "enabled")
    assert (user["usersource"], user["is2faenabled"], user["roletype"]) == ("native", False, "User")
    assert await names(admin, account="ann") == ["ann", "bob"]
    await admin.refused("createUser", 431, username="bob", account="ann", **PERSON)
    await admin.refused("createUser", 431, username="kim", account="nobody", **PERSON)
    assert len((await account_of(admin, account["id"]))["user"]) == 2


async def test_a_user_is_changed_by_administrators_and_by_itself(admin: Stack, kernel: Any) -> None:
    account = await made(admin, "ann")
    key = account["user"][0]["id"]
    done = await admin.call(
        "updateUser", id=key, firstname="Anna", email="a@a.example", username="anna", timezone="UTC"
    )
    assert (done["user"]["firstname"], done["user"]["username"]) == ("Anna", "anna")
    await admin.refused("updateUser", 431, id=key, username="admin")
    await admin.refused("updateUser", 431, id=key, username="")
    ann = await client(admin, account)
    assert (await ann.call("updateUser", id=key, lastname="Test II"))["user"]["lastname"] == "Test II"
    await ann.refused("updateUser", 431, id=key, password="better")
    await ann.refused("updateUser", 431, id=key, password="better", currentpassword="wrong")
    await ann.call("updateUser", id=key, password="better", currentpassword="secret")
    assert await Visitor(kernel).refused_login("anna", "secret") == 531
    await Visitor(kernel).login("anna", "better")
    await admin.call("updateUser", id=key, password="best")
    await Visitor(kernel).login("anna", "best")
    (demo,) = await of(admin, "demo")
    for change in ({"lastname": "x"}, {"password": "x", "currentpassword": "secret"}, {"mandate2fa": True}):
        await ann.refused("updateUser", 431, id=demo["id"], **change)
    await ann.refused("updateUser", 531, id=key, apikeyaccess="enabled")


async def of(admin: Stack, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await admin.call("listUsers", username=name, listall=True))["user"]
    return found


async def test_a_disabled_or_locked_user_is_out_at_once(admin: Stack, worker: Worker, kernel: Any) -> None:
    account = await made(admin, "ann")
    await admin.call("createUser", username="bob", account="ann", **PERSON)
    account = await account_of(admin, account["id"])
    bob, key = await client(admin, account, 1), account["user"][1]["id"]
    for command, state in (("disableUser", "disabled"), ("lockUser", "locked")):
        browser = Visitor(kernel)
        await browser.login("bob", "secret")
        await bob.call("listZones")
        if command == "disableUser":
            assert (await admin.job(worker, command, id=key))["user"]["state"] == state
        else:
            assert (await admin.call(command, id=key))["user"]["state"] == state
        assert await bob.refused("listZones", 401) == UNSIGNED
        assert (await browser.ask("listZones")).status == 401
        assert await Visitor(kernel).refused_login("bob", "secret") == 531
        assert await names(admin, state=state, listall=True) == ["bob"]
        assert (await account_of(admin, account["id"]))["state"] == "enabled"
        assert (await admin.call("enableUser", id=key))["user"]["state"] == "enabled"
    await bob.call("listZones")


async def test_the_last_locked_user_locks_the_account_and_enabling_one_opens_it(admin: Stack) -> None:
    account = await made(admin, "ann")
    key = account["user"][0]["id"]
    await admin.call("lockUser", id=key)
    assert (await account_of(admin, account["id"]))["state"] == "locked"
    await admin.call("enableUser", id=key)
    assert (await account_of(admin, account["id"]))["state"] == "enabled"


async def test_a_user_moves_with_its_keys_to_another_account_of_the_domain(admin: Stack) -> None:
    first, second = await made(admin, "ann"), await made(admin, "bob")
    sales = await domain(admin, "sales")
    far = await made(admin, "far", domainid=sales["id"])
    key, ann = first["user"][0]["id"], await client(admin, first)
    await admin.call("moveUser", id=key, account="bob")
    assert (await user_of(admin, key))["account"] == "bob"
    assert (await ann.call("listAccounts"))["account"][0]["name"] == "bob"
    await admin.call("moveUser", id=key, accountid=first["id"])
    assert (await ann.call("listAccounts"))["account"][0]["name"] == "ann"
    for wrong in (
        {},
        {"account": "ann", "accountid": second["id"]},
        {"accountid": far["id"]},
        {"account": "far"},
    ):
        await admin.refused("moveUser", 431, id=key, **wrong)


async def test_a_deleted_user_is_gone_with_its_keys(admin: Stack, cloud: Cloud) -> None:
    account = await made(admin, "ann")
    ann, key = await client(admin, account), account["user"][0]["id"]
    assert await admin.call("deleteUser", id=key) == {"success": True}
    assert await ann.refused("listZones", 401) == UNSIGNED
    async with cloud.view() as look:
        assert not await look.count(User, name="ann")
    (own,) = await of(admin, "admin")
    for command in ("deleteUser", "disableUser", "lockUser"):
        await admin.refused(command, 431, id=own["id"])


async def test_users_see_themselves_and_domains_administrators_those_of_their_domain(
    admin: Stack, member: Stack
) -> None:
    sales = await domain(admin, "sales")
    boss = await client(admin, await made(admin, "boss", accounttype=2, domainid=sales["id"]))
    await made(admin, "ann", domainid=sales["id"])
    assert await names(member, listall=True) == ["demo"]
    (other,) = await of(admin, "admin")
    await member.refused("listUsers", 531, id=other["id"])
    assert await names(boss) == ["boss"]
    assert await names(boss, listall=True) == ["boss", "ann"]
    assert await names(boss, id=other["id"]) == []
    await boss.refused("updateUser", 431, id=other["id"], firstname="x")
    (mine,) = await of(boss, "ann")
    assert not mine["iscallerchilddomain"]
    await boss.call("disableUser", id=mine["id"])


async def test_lists_are_paged_and_filtered(admin: Stack, cloud: Cloud) -> None:
    sales = await domain(admin, "sales")
    for name in ("ann", "bob"):
        await made(admin, name, domainid=sales["id"])
    page = await admin.call("listUsers", listall=True, page=2, pagesize=3)
    assert (page["count"], [each["username"] for each in page["user"]]) == (4, ["bob"])
    assert await names(admin, domainid=sales["id"]) == ["ann", "bob"]
    assert await names(admin, listall=True, accounttype=1) == ["admin"]
    assert await names(admin, listall=True, accounttype=0) == ["demo", "ann", "bob"]
    assert await names(admin, listall=True, keyword="bob@") == ["bob"]
    assert await names(admin, listall=True, usersource="ldap") == []
    assert await names(admin, listall=True, apikeyaccess="inherit") == ["admin", "demo", "ann", "bob"]
    assert await names(admin, domainid=sales["id"], account="bob") == ["bob"]
    async with cloud.view() as look:
        assert {user.source for user in await look.list(User)} == {Source.SQL}


async def test_keys_are_renewed_shown_and_set(admin: Stack) -> None:
    account = await made(admin, "ann")
    key = account["user"][0]["id"]
    assert (await admin.call("getUserKeys", id=key))["userkeys"] == {"apikeyaccess": True}
    ann = await client(admin, account)
    shown = (await ann.call("getUserKeys", id=key))["userkeys"]
    assert (shown["apikey"], shown["secretkey"]) == (ann.key, ann.secret)
    assert (await admin.call("getUser", userapikey=ann.key))["user"]["username"] == "ann"
    renewed = (await ann.call("registerUserKeys", id=key))["userkeys"]
    assert renewed["apikey"] != ann.key
    assert await ann.refused("listZones", 401) == UNSIGNED
    await admin.call("updateUser", id=key, userapikey="mine", usersecretkey="hidden")
    mine = Stack(ann.app, "mine", "hidden", ann.user, ann.account)
    await mine.call("listZones")
    await admin.refused("updateUser", 431, id=key, userapikey="mine")
    (own,) = await of(admin, "admin")
    await admin.refused("updateUser", 431, id=own["id"], userapikey="mine", usersecretkey="x")
    await mine.refused("registerUserKeys", 531, id=own["id"])
    await mine.refused("getUserKeys", 431, id=own["id"])


async def test_further_pairs_have_names_and_times(
    admin: Stack, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = await made(admin, "ann")
    ann, key = await client(admin, account), account["user"][0]["id"]
    soon = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S+0000")
    later = (datetime.now(UTC) + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S+0000")
    named = {"id": key, "name": "robot", "description": "for the night"}
    further = (await ann.call("registerUserKeys", **named, startdate=soon, enddate=later))["userkeys"]
    robot = Stack(ann.app, further["apikey"], further["secretkey"], ann.user, ann.account)
    assert await robot.refused("listZones", 401) == UNSIGNED
    await ann.call("listZones")
    began = cloud.now
    monkeypatch.setattr(cloud, "now", lambda: began() + timedelta(minutes=90))
    await robot.call("listZones")
    monkeypatch.setattr(cloud, "now", lambda: began() + timedelta(minutes=150))
    assert await robot.refused("listZones", 401) == UNSIGNED
    listed = {each["name"]: each for each in (await ann.call("listUserKeys"))["userapikey"]}
    assert (listed["robot"]["state"], listed["robot"]["description"]) == ("EXPIRED", "for the night")
    assert listed["default"]["apikey"] == ann.key
    await ann.refused("registerUserKeys", 431, **named, enddate="2020-01-01")


async def test_pairs_are_listed_and_deleted_by_those_who_may(admin: Stack, worker: Worker) -> None:
    account = await made(admin, "ann")
    ann, key = await client(admin, account), account["user"][0]["id"]
    further = (await ann.call("registerUserKeys", id=key, name="robot"))["userkeys"]
    robot = Stack(ann.app, further["apikey"], further["secretkey"], ann.user, ann.account)
    await robot.call("listZones")
    (pair,) = (await admin.call("listUserKeys", apikeyfilter=further["apikey"]))["userapikey"]
    assert (pair["name"], pair["username"], pair["roletype"]) == ("robot", "ann", "User")
    assert (await admin.call("listUserKeys", keypairid=pair["id"]))["count"] == 1
    assert (await admin.call("listUserKeys", userid=key, keyword="rob"))["count"] == 1
    assert (await admin.call("listUserKeys", listall=True))["count"] == 4
    (own,) = (await admin.call("listUserKeys"))["userapikey"]
    await ann.refused("listUserKeys", 431, keypairid=own["id"])
    await ann.refused("listUserKeys", 431, userid=own["userid"])
    assert await admin.job(worker, "deleteUserKeys", keypairid=pair["id"]) == {"success": True}
    assert await robot.refused("listZones", 401) == UNSIGNED
    await ann.call("listZones")
