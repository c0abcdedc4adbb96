"""CloudStack's accounts, which Keystone sees as projects with their users."""

from typing import Any

import pytest

from pileus.core.cloud import Cloud
from pileus.core.compute.records import Server, State
from pileus.core.identity import leftovers
from pileus.core.identity.records import Actor, Assignment, Project, User
from pileus.core.invariants import violations
from pileus.core.operations import LIVE, Operation
from pileus.workflows.worker import Worker
from tests.contract.cloudstack.both import asked, kernel, network
from tests.contract.cloudstack.conftest import UNSIGNED, Stack
from tests.contract.cloudstack.visitors import Visitor, account_of, client, domain, made
from tests.contract.openstack.conftest import Person, person

__all__ = ["kernel"]


@pytest.fixture
async def keystone(kernel: Any, cloud: Cloud) -> Person:
    return await person(kernel, cloud, "admin")


async def names(who: Stack, **params: Any) -> list[str]:
    return [each["name"] for each in (await who.call("listAccounts", **params)).get("account", [])]


async def test_an_account_is_made_with_its_first_user(admin: Stack) -> None:
    account = await made(
        admin,
        "ann",
        account="acme",
        networkdomain="acme.example",
        timezone="Europe/Berlin",
        **{"accountdetails[0].key": "cost", "accountdetails[0].value": "17"},
    )
    assert (account["name"], account["accounttype"], account["roletype"]) == ("acme", 0, "User")
    assert (account["state"], account["networkdomain"], account["accountdetails"]) == (
        "enabled",
        "acme.example",
        {"cost": "17"},
    )
    (user,) = account["user"]
    assert (user["username"], user["account"], user["timezone"]) == ("ann", "acme", "Europe/Berlin")
    assert await account_of(admin, account["id"]) == account


async def test_what_cannot_be_an_account_is_refused_and_leaves_nothing(admin: Stack, cloud: Cloud) -> None:
    await made(admin, "ann")
    sales = await domain(admin, "sales")
    person_ = {"username": "bob", "firstname": "b", "lastname": "b", "email": "b@b.example"}
    good: dict[str, Any] = {**person_, "password": "secret", "accounttype": 0}
    for wrong in (
        {"account": "ann"},
        {"username": "ann", "account": "other"},
        {"accounttype": 9},
        {"accounttype": ""},
        {"password": " "},
        {"networkdomain": "a..b"},
        {"roleid": sales["id"]},
        {"domainid": account_id()},
    ):
        await admin.refused("createAccount", 431, **{**good, **wrong})
    await admin.refused("createAccount", 531, **{**good, "accounttype": 1, "domainid": sales["id"]})
    async with cloud.view() as look:
        assert not await look.count(User, name="bob")
        assert not await look.count(Project, name=("bob", "other"))


def account_id() -> str:
    return "5b1c8b0c-6f3a-4d0e-9b52-0f6f8f7c2d41"


@pytest.mark.parametrize(
    ("number", "type"), [(0, "User"), (1, "Admin"), (2, "DomainAdmin"), (3, "ResourceAdmin")]
)
async def test_each_type_is_what_its_users_may(admin: Stack, number: int, type: str) -> None:
    account = await made(admin, "ann", accounttype=number)
    assert (account["accounttype"], account["roletype"]) == (number, type)
    ann = await client(admin, account)
    (own,) = (await ann.call("listAccounts"))["account"]
    assert (own["name"], own["roletype"]) == ("ann", type)
    assert await names(admin, accounttype=number, listall=True, name="ann") == ["ann"]
    if number == 1:
        assert set(await names(ann, listall=True)) == {"admin", "demo", "ann"}
    elif number == 0:
        await ann.refused("createDomain", 432, name="x")


async def test_users_that_come_later_may_what_the_account_may(admin: Stack, cloud: Cloud) -> None:
    sales = await domain(admin, "sales")
    account = await made(admin, "boss", accounttype=2, domainid=sales["id"])
    person_ = {"firstname": "b", "lastname": "b", "email": "b@b.example", "password": "secret"}
    await admin.call("createUser", username="deputy", account="boss", domainid=sales["id"], **person_)
    deputy = await client(admin, await account_of(admin, account["id"]), 1)
    assert (await deputy.call("listDomains"))["domain"][0]["id"] == sales["id"]
    async with cloud.view() as look:
        held = await look.list(Assignment, actor_kind=Actor.ACCOUNT)
        assert {str(each.actor) for each in held} == {account["id"]}


async def test_an_account_is_changed(admin: Stack) -> None:
    account = await made(admin, "ann", **{"accountdetails[0].a": "1"})
    done = await admin.call(
        "updateAccount",
        id=account["id"],
        newname="acme",
        networkdomain="acme.example",
        apikeyaccess="Disabled",
        **{"accountdetails[0].a": "", "accountdetails[0].b": "2"},
    )
    shown = done["account"]
    assert (shown["name"], shown["networkdomain"], shown["accountdetails"]) == (
        "acme",
        "acme.example",
        {"b": "2"},
    )
    assert shown["apikeyaccess"] == "DISABLED"
    assert await names(admin, listall=True, apikeyaccess="disabled") == ["acme"]
    await made(admin, "bob")
    await admin.refused("updateAccount", 431, id=account["id"], newname="bob")
    await admin.refused("updateAccount", 431, id=account["id"], newname="")
    await admin.refused("updateAccount", 431, id=account["id"], apikeyaccess="perhaps")


async def test_keys_of_an_account_that_takes_none_are_refused(admin: Stack) -> None:
    account = await made(admin, "ann")
    ann = await client(admin, account)
    await ann.call("listZones")
    await admin.call("updateAccount", id=account["id"], apikeyaccess="disabled")
    assert await ann.refused("listZones", 401) == UNSIGNED
    await admin.call("updateUser", id=account["user"][0]["id"], apikeyaccess="enabled")
    await ann.call("listZones")
    await admin.call("updateUser", id=account["user"][0]["id"], apikeyaccess="inherit")
    await ann.refused("listZones", 401)


async def test_another_role_gives_and_takes_power(admin: Stack) -> None:
    account = await made(admin, "ann")
    roles = {
        each["type"]: each["id"] for each in (await admin.call("listRoles"))["role"] if each["isdefault"]
    }
    ann = await client(admin, account)
    listed = {each["name"]: each["id"] for each in (await admin.call("listRoles"))["role"]}
    await admin.call("updateAccount", id=account["id"], roleid=listed["Domain Admin"])
    assert (await account_of(admin, account["id"]))["roletype"] == "DomainAdmin"
    assert (await ann.call("listDomains"))["count"] == 1
    await admin.call("updateAccount", id=account["id"], roleid=listed["User"])
    await ann.refused("listDomains", 432)
    assert roles
    (own,) = (await admin.call("listAccounts"))["account"]
    await admin.refused("updateAccount", 431, id=own["id"], roleid=listed["User"])


async def test_a_locked_account_looks_on(admin: Stack, place: dict[str, str], worker: Worker) -> None:
    account = await made(admin, "ann")
    ann = await client(admin, account)
    machine = (await ann.job(worker, "deployVirtualMachine", **place, name="web"))["virtualmachine"]
    locked = (await admin.call("lockAccount", account="ann", domainid=account["domainid"]))["account"]
    assert locked["state"] == "locked"
    assert await names(admin, state="locked", listall=True) == ["ann"]
    (seen,) = (await ann.call("listVirtualMachines"))["virtualmachine"]
    assert seen["state"] == "Running"
    for command, params in (
        ("deployVirtualMachine", {**place, "name": "more"}),
        ("stopVirtualMachine", {"id": machine["id"]}),
        ("createSecurityGroup", {"name": "x"}),
    ):
        assert "locked" in await ann.refused(command, 531, **params)
    await admin.call("enableAccount", id=account["id"])
    await ann.job(worker, "stopVirtualMachine", id=machine["id"])


async def test_a_disabled_account_is_out_at_once_and_its_machines_stop(
    admin: Stack, place: dict[str, str], worker: Worker, kernel: Any, keystone: Person
) -> None:
    account = await made(admin, "ann")
    ann = await client(admin, account)
    await ann.job(worker, "deployVirtualMachine", **place, name="web")
    browser = Visitor(kernel)
    await browser.login("ann", "secret")
    await browser.call("listZones")
    token = await keystone_token(keystone, account["id"])
    done = await admin.job(worker, "disableAccount", account="ann", domainid=account["domainid"], lock=False)
    assert done["account"]["state"] == "disabled"
    assert await ann.refused("listZones", 401) == UNSIGNED
    assert (await browser.ask("listZones")).status == 401
    assert await Visitor(kernel).refused_login("ann", "secret") == 531
    assert (await token.request("GET", "/identity/v3/auth/projects")).status == 401
    (machine,) = (await admin.call("listVirtualMachines", account="ann", domainid=account["domainid"]))[
        "virtualmachine"
    ]
    assert machine["state"] == "Stopped"
    project = await asked(keystone, "GET", f"/identity/v3/projects/{account['id'].replace('-', '')}")
    assert not project["project"]["enabled"]
    await admin.call("enableAccount", id=account["id"])
    await ann.call("listZones")
    await Visitor(kernel).login("ann", "secret")


async def keystone_token(keystone: Person, project: str) -> Person:
    """A client of the user `ann` with a token that Keystone issued for its account."""
    identity = {
        "methods": ["password"],
        "password": {"user": {"name": "ann", "domain": {"id": "default"}, "password": "secret"}},
    }
    scope = {"project": {"id": project.replace("-", "")}}
    reply = await keystone.request(
        "POST", "/identity/v3/auth/tokens", json={"auth": {"identity": identity, "scope": scope}}
    )
    assert reply.status == 201, reply.text
    return Person(keystone.app, reply.headers["x-subject-token"], keystone.user, keystone.project)


async def test_what_keystone_disables_is_disabled_here(admin: Stack, keystone: Person) -> None:
    account = await made(admin, "ann")
    ann = await client(admin, account)
    path = f"/identity/v3/projects/{account['id'].replace('-', '')}"
    await asked(keystone, "PATCH", path, {"project": {"enabled": False}})
    assert await ann.refused("listZones", 401) == UNSIGNED
    assert (await account_of(admin, account["id"]))["state"] == "disabled"
    await asked(keystone, "PATCH", path, {"project": {"enabled": True}})
    await ann.call("listZones")
    path = f"/identity/v3/users/{account['user'][0]['id'].replace('-', '')}"
    await asked(keystone, "PATCH", path, {"user": {"enabled": False}})
    assert await ann.refused("listZones", 401) == UNSIGNED
    assert (await account_of(admin, account["id"]))["user"][0]["state"] == "disabled"


async def test_a_user_that_keystone_made_acts_in_a_project_of_its_own(
    admin: Stack, keystone: Person, kernel: Any
) -> None:
    project = (await asked(keystone, "POST", "/identity/v3/projects", {"project": {"name": "lab"}}))[
        "project"
    ]
    want = {"user": {"name": "kim", "password": "secret"}}
    user = (await asked(keystone, "POST", "/identity/v3/users", want))["user"]
    assert await Visitor(kernel).refused_login("kim", "secret") == 531
    (role,) = (await asked(keystone, "GET", "/identity/v3/roles?name=member"))["roles"]
    await asked(
        keystone, "PUT", f"/identity/v3/projects/{project['id']}/users/{user['id']}/roles/{role['id']}"
    )
    browser = Visitor(kernel)
    shown = await browser.login("kim", "secret")
    assert (shown["account"], shown["type"]) == ("lab", "0")
    assert (await browser.call("listUsers"))["user"][0]["username"] == "kim"


async def test_a_user_whose_default_project_is_an_account_is_shown_there(
    admin: Stack, keystone: Person
) -> None:
    account = await made(admin, "ann")
    key = account["id"].replace("-", "")
    want = {"user": {"name": "kim", "default_project_id": key}}
    await asked(keystone, "POST", "/identity/v3/users", want)
    assert [user["username"] for user in (await account_of(admin, account["id"]))["user"]] == ["ann", "kim"]
    listed = (await admin.call("listUsers", account="ann"))["user"]
    assert [(user["username"], user["account"]) for user in listed] == [("ann", "ann"), ("kim", "ann")]


async def test_an_account_is_a_project_with_its_users_to_keystone(admin: Stack, keystone: Person) -> None:
    account = await made(admin, "ann")
    key, user = account["id"].replace("-", ""), account["user"][0]["id"].replace("-", "")
    project = (await asked(keystone, "GET", f"/identity/v3/projects/{key}"))["project"]
    assert (project["name"], project["enabled"]) == ("ann", True)
    token = await keystone_token(keystone, account["id"])
    mine = (await asked(token, "GET", "/identity/v3/auth/projects"))["projects"]
    assert [each["id"] for each in mine] == [key]
    query = f"effective&user.id={user}&scope.project.id={key}"
    held = (await asked(keystone, "GET", f"/identity/v3/role_assignments?{query}"))["role_assignments"]
    assert {each["user"]["id"] for each in held} == {user}


async def test_a_deleted_account_takes_everything_along(
    admin: Stack, place: dict[str, str], worker: Worker, cloud: Cloud
) -> None:
    account = await made(admin, "ann")
    ann = await client(admin, account)
    inside = await network(ann)
    await ann.job(worker, "deployVirtualMachine", **place, name="web", networkids=inside["id"])
    await ann.job(worker, "associateIpAddress", networkid=inside["id"])
    await ann.call("createSecurityGroup", name="doors")
    key = account["id"]
    first = await admin.call("deleteAccount", id=key)
    assert await admin.call("deleteAccount", id=key) == first
    assert await ann.refused("listZones", 401) == UNSIGNED
    await worker.idle()
    done = await admin.call("queryAsyncJobResult", jobid=first["jobid"])
    assert (done["jobstatus"], done["jobresult"]) == (1, {"success": True})
    async with cloud.view() as look:
        project = ann.account["id"]  # type: ignore[index]
        assert await leftovers.left(look, project) == []
        assert not await look.count(Project, id=project)
        assert not await look.count(User, name="ann")
        assert not await look.count(Assignment, actor=project)
        assert not await look.count(Server, state=State.ACTIVE)
        assert not await look.count(Operation, outcome=tuple(LIVE))
    assert await violations(cloud) == []
    await admin.refused("listAccounts", 431, id=key)


async def test_nobody_deletes_or_disables_its_own_account_or_the_last_administrators(admin: Stack) -> None:
    (own,) = (await admin.call("listAccounts"))["account"]
    for command, params in (
        ("deleteAccount", {}),
        ("disableAccount", {"lock": False}),
        ("disableAccount", {"lock": True}),
    ):
        reply = await admin.ask(command, id=own["id"], **params)
        assert reply.status in (431, 531), reply.text
    second = await client(admin, await made(admin, "second", accounttype=1))
    await second.call("lockAccount", account="admin", domainid=own["domainid"])
    await admin.call("listZones")
    await second.call("enableAccount", id=own["id"])


async def test_a_domains_administrator_has_no_power_beyond(admin: Stack) -> None:
    sales = await domain(admin, "sales")
    boss = await client(admin, await made(admin, "boss", accounttype=2, domainid=sales["id"]))
    mine = await made(boss, "mine", domainid=sales["id"])
    assert set(await names(boss, listall=True)) == {"boss", "mine"}
    strange = await made(admin, "strange")
    person_ = {
        "username": "x",
        "firstname": "x",
        "lastname": "x",
        "email": "x@x.example",
        "password": "secret",
    }
    await boss.refused("createAccount", 531, accounttype=1, domainid=sales["id"], **person_)
    await boss.refused("createAccount", 531, accounttype=3, domainid=sales["id"], **person_)
    for command, params in (
        ("updateAccount", {"newname": "stolen"}),
        ("disableAccount", {"lock": False}),
        ("enableAccount", {}),
        ("deleteAccount", {}),
    ):
        assert "strange" not in await boss.refused(command, 431, id=strange["id"], **params)
    assert "strange" not in str(await boss.call("listAccounts", listall=True))
    await boss.refused("listAccounts", 431, domainid=strange["domainid"])
    await boss.refused("listAccounts", 431, id=strange["id"])
    await boss.call("disableAccount", id=mine["id"], lock=True)
    assert (await account_of(boss, mine["id"]))["state"] == "locked"


async def test_lists_are_paged_and_filtered(admin: Stack, member: Stack) -> None:
    for name in ("ann", "bob", "kim"):
        await made(admin, name)
    page = await admin.call("listAccounts", listall=True, page=2, pagesize=2)
    assert (page["count"], [each["name"] for each in page["account"]]) == (5, ["ann", "bob"])
    assert await names(admin, listall=True, accounttype=1) == ["admin"]
    assert await names(admin, listall=True, accounttype=0, keyword="b") == ["bob"]
    assert await names(admin, listall=True, state="disabled") == []
    assert await names(admin, listall=True, iscleanuprequired=True) == []
    assert await names(member, listall=True) == ["demo"]
    least = (await admin.call("listAccounts", details="min"))["account"][0]
    assert "vmlimit" not in least
    await admin.refused("listAccounts", 431, details="most")
