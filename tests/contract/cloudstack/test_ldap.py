"""CloudStack's LDAP commands, with a directory in memory behind them."""

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest

from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.core.identity import domains
from pileus.core.identity.directories import directory, directory_refresh
from pileus.core.identity.records import Domain, Project, User
from pileus.core.identity.tenancy.tenancy_records import DirectoryServer
from pileus.drivers.directory.fake import SUFFIX, FakeDirectory
from pileus.drivers.directory.protocol import Settings
from pileus.faces.wire import Kernel
from pileus.workflows import directories
from tests.asgi import Client, Reply
from tests.contract.cloudstack.conftest import ENDPOINT, Stack

STAFF = f"cn=staff,ou=UserGroups,{SUFFIX}"
SALES = f"ou=Sales,{SUFFIX}"


@pytest.fixture
def fake(cloud: Cloud) -> FakeDirectory:
    made = FakeDirectory()

    def opened(settings: Settings) -> FakeDirectory:
        made.settings = settings
        return made

    directories.install(cloud, opened)
    full = {"first_name": "A", "last_name": "L"}
    alice = made.put("alice", "wonderland", email="alice@example.org", **full)
    made.put("bob", "builder", unit="ou=Sales", email="bob@example.org", **full)
    made.put("gone", "gone", enabled=False)
    made.put_group("staff", alice)
    return made


@pytest.fixture
async def domain(cloud: Cloud) -> Domain:
    return await domains.create(cloud, system(), domains.CreateDomain(name="people"))


@pytest.fixture
async def server(admin: Stack, fake: FakeDirectory) -> dict[str, Any]:
    made = await admin.call("addLdapConfiguration", hostname="directory", port=389)
    return dict(made["LdapAddConfiguration"])


async def sign_in(kernel: Kernel, name: str, password: str, domain: str) -> Reply:
    sent = {"command": "login", "username": name, "password": password, "domain": domain, "response": "json"}
    return await Client(kernel).post(f"{ENDPOINT}?{urlencode(sent)}")


async def one(cloud: Cloud, cls: Any, **equals: Any) -> Any:
    async with cloud.view() as look:
        return await look.one(cls, **equals)


def names(listed: dict[str, Any]) -> list[str]:
    return [shown["username"] for shown in listed.get("LdapUser", [])]


async def test_a_server_is_added_listed_and_removed(admin: Stack, fake: FakeDirectory, domain: Domain):
    first = (await admin.call("addLdapConfiguration", hostname="one", port=389))["LdapAddConfiguration"]
    assert (first["hostname"], first["port"], fake.settings.url) == ("one", 389, "ldap://one:389")
    assert "Duplicate" in await admin.refused("addLdapConfiguration", 431, hostname="one", port=389)
    await admin.call("addLdapConfiguration", hostname="two", port=636, domainid=domain.id)
    assert fake.settings.url == "ldaps://two:636"

    async def listed(**params: Any) -> list[str]:
        found = await admin.call("listLdapConfigurations", **params)
        return [shown["hostname"] for shown in found.get("LdapConfiguration", [])]

    assert await listed() == ["one"]
    assert await listed(domainid=domain.id) == ["two"]
    assert await listed(listall=True) == ["one", "two"]
    assert await listed(listall=True, port=636) == ["two"]
    assert await listed(id=first["id"]) == ["one"]
    assert await listed(hostname="nowhere") == []
    await admin.call("deleteLdapConfiguration", id=first["id"])
    await admin.call("deleteLdapConfiguration", hostname="two", port=636, domainid=domain.id)
    assert await listed(listall=True) == []
    await admin.refused("deleteLdapConfiguration", 431)
    await admin.refused("deleteLdapConfiguration", 431, hostname="two")


async def test_a_server_that_does_not_answer_is_not_added(admin: Stack, fake: FakeDirectory, cloud: Cloud):
    fake.away = True
    assert "Unable to bind" in await admin.refused("addLdapConfiguration", 431, hostname="one", port=389)
    for host, port in (("one", 0 - 1), ("one", 70000), ("a b", 389), ("user@host/x", 389)):
        await admin.refused("addLdapConfiguration", 431, hostname=host, port=port)
    assert await one(cloud, DirectoryServer) is None


async def test_users_are_listed_by_whether_they_are_here(
    admin: Stack, fake: FakeDirectory, server: Any, domain: Domain
):
    (alice, bob) = (await admin.call("listLdapUsers"))["LdapUser"]
    assert (alice["username"], alice["email"], alice["domain"]) == ("alice", "alice@example.org", "Users")
    assert (bob["principal"], bob["domain"]) == (f"cn=bob,{SALES}", "Sales")
    await admin.call("importLdapUsers", accounttype=0, domainid=domain.id, group="staff")
    assert names(await admin.call("listLdapUsers", listtype="new")) == ["bob"]
    assert names(await admin.call("listLdapUsers", listtype="all")) == ["alice", "bob"]
    assert names(await admin.call("listLdapUsers", listtype="existing", domainid=domain.id)) == ["alice"]
    assert names(await admin.call("listLdapUsers", userfilter="AnyDomain")) == ["bob"]
    assert names(await admin.call("listLdapUsers", userfilter="LocalDomain", domainid=domain.id)) == ["bob"]
    assert names(await admin.call("listLdapUsers", userfilter="LocalDomain")) == ["alice", "bob"]
    (alice, bob) = (await admin.call("listLdapUsers", userfilter="NoFilter", domainid=domain.id))["LdapUser"]
    assert (alice["conflictingusersource"], "conflictingusersource" in bob) == ("ldap", False)
    await admin.call("linkDomainToLdap", domainid=domain.id, type="OU", ldapdomain=SALES, accounttype=0)
    assert names(await admin.call("listLdapUsers", userfilter="PotentialImport", domainid=domain.id)) == [
        "bob"
    ]
    await admin.refused("listLdapUsers", 431, userfilter="Some")
    assert names(await admin.call("listLdapUsers", page=2, pagesize=1)) == ["bob"]
    assert names(await admin.call("searchLdap", query="LIC")) == ["alice"]
    assert names(await admin.call("searchLdap", query="*")) == []


async def test_imported_users_log_in_with_their_password_there(
    admin: Stack, kernel: Kernel, cloud: Cloud, fake: FakeDirectory, server: Any, domain: Domain
):
    assert (await sign_in(kernel, "alice", "wonderland", "/people")).status == 531
    for _ in range(2):
        added = await admin.call("importLdapUsers", accounttype=0, domainid=domain.id, timezone="UTC")
        assert names(added) == ["alice", "bob"]
    reply = await sign_in(kernel, "alice", "wonderland", "/people")
    assert reply.status == 200
    shown = reply.json()["loginresponse"]
    assert (shown["username"], shown["account"], shown["type"]) == ("alice", "alice", "0")
    for name, password in (("alice", "wrong"), ("alice", ""), ("gone", "gone"), ("*", "x")):
        assert (await sign_in(kernel, name, password, "/people")).status in (431, 531)
    (user,) = (await admin.call("listUsers", username="alice", listall=True))["user"]
    assert (user["usersource"], user["email"]) == ("ldap", "alice@example.org")
    held = await one(cloud, User, name="alice")
    del fake.persons[held.external.lower()]
    assert (await sign_in(kernel, "alice", "wonderland", "/people")).status == 531
    assert not (await one(cloud, User, name="alice")).enabled
    assert (await sign_in(kernel, "bob", "builder", "/people")).status == 200


async def test_without_a_domain_users_go_where_their_group_or_unit_says(
    admin: Stack, cloud: Cloud, fake: FakeDirectory, server: Any
):
    await admin.call("importLdapUsers", accounttype=0, group="staff")
    await admin.call("importLdapUsers", accounttype=0)
    found = {}
    for name in ("staff", "Users", "Sales"):
        place = await one(cloud, Domain, name=name)
        async with cloud.view() as look:
            found[name] = [user.name for user in await look.list(User, domain=place.id)]
    assert found == {"staff": ["alice"], "Users": ["alice"], "Sales": ["bob"]}
    await admin.refused("importLdapUsers", 431)


async def test_one_user_is_imported_with_an_account(
    admin: Stack, kernel: Kernel, fake: FakeDirectory, server: Any, domain: Domain
):
    sent = {"domainid": domain.id, "accounttype": 2, "username": "alice", "account": "rabbits"}
    made = (await admin.call("ldapCreateAccount", **sent, networkdomain="rabbits.example"))["account"]
    assert (made["name"], made["accounttype"], made["domain"]) == ("rabbits", 2, "people")
    assert [user["username"] for user in made["user"]] == ["alice"]
    reply = await sign_in(kernel, "alice", "wonderland", "/people")
    assert reply.json()["loginresponse"]["type"] == "2"
    assert "No LDAP user exists" in await admin.refused(
        "ldapCreateAccount", 534, username="nobody", accounttype=0
    )
    fake.put("plain", "plain")
    assert "no email" in await admin.refused("ldapCreateAccount", 534, username="plain", accounttype=0)
    await admin.refused("ldapCreateAccount", 431, username="alice")


async def test_a_linked_domain_lets_in_who_is_in_the_group(
    admin: Stack, kernel: Kernel, cloud: Cloud, fake: FakeDirectory, server: Any, domain: Domain
):
    sent = {"domainid": domain.id, "type": "GROUP", "ldapdomain": STAFF, "accounttype": 2}
    made = (await admin.call("linkDomainToLdap", **sent, admin="alice"))["LinkDomainToLdap"]
    account = await one(cloud, Project, name="alice", domain=domain.id)
    assert (made["ldapdomain"], made["type"], made["accounttype"]) == (STAFF, "GROUP", 2)
    assert made["accountid"] == str(account.id)
    await admin.refused("linkDomainToLdap", 431, **sent)
    fake.put_group("staff", *fake.persons.values())
    assert (await sign_in(kernel, "bob", "wrong", "/people")).status == 531
    assert await one(cloud, User, name="bob") is None
    reply = await sign_in(kernel, "bob", "builder", "/people")
    assert (reply.status, reply.json()["loginresponse"]["type"]) == (200, "2")
    bob = await one(cloud, User, name="bob")
    fake.put_group("staff")
    await directory_refresh.refresh_all(cloud)
    assert not (await one(cloud, User, id=bob.id)).enabled
    assert (await sign_in(kernel, "bob", "builder", "/people")).status == 531
    fake.put_group("staff", *fake.persons.values())
    assert (await sign_in(kernel, "bob", "builder", "/people")).status == 200
    assert (await one(cloud, User, name="bob")).id == bob.id
    assert (await admin.call("unlinkDomainFromLdap", domainid=domain.id))["success"]
    assert not (await admin.call("unlinkDomainFromLdap", domainid=domain.id))["success"]
    fake.put("late", "late")
    assert (await sign_in(kernel, "late", "late", "/people")).status == 531


async def test_a_linked_account_gets_the_users_of_its_unit(
    admin: Stack, kernel: Kernel, cloud: Cloud, fake: FakeDirectory, server: Any, domain: Domain
):
    sales = {"domainid": domain.id, "type": "OU", "ldapdomain": SALES, "account": "sales", "accounttype": 0}
    staff = {"domainid": domain.id, "ldapdomain": STAFF, "account": "staff", "accounttype": 0}
    made = (await admin.call("linkAccountToLdap", **sales))["linkAccountToLdap"]
    account = await one(cloud, Project, name="sales")
    assert (made["accountid"], made["type"]) == (str(account.id), "OU")
    await admin.call("linkAccountToLdap", **staff)
    await admin.refused("linkAccountToLdap", 431, **sales)
    await admin.refused("linkAccountToLdap", 431, **sales | {"account": "other"})
    reply = await sign_in(kernel, "bob", "builder", "/people")
    assert reply.json()["loginresponse"]["account"] == "sales"
    bob = await one(cloud, User, name="bob")
    fake.put_group("staff", *fake.persons.values())
    assert (await sign_in(kernel, "bob", "builder", "/people")).status == 531  # in two accounts at once
    assert not (await one(cloud, User, id=bob.id)).enabled
    fake.persons[bob.external.lower()] = fake.persons.pop(bob.external.lower())
    fake.put_group("staff")
    assert (await sign_in(kernel, "bob", "builder", "/people")).status == 200
    for wrong in ({"type": "TREE"}, {"accounttype": 7}, {"account": ""}, {"domainid": UUID(int=9)}):
        await admin.refused("linkAccountToLdap", 431, **sales | wrong)


async def test_links_need_a_server(admin: Stack, fake: FakeDirectory, domain: Domain):
    sent = {"domainid": domain.id, "type": "OU", "ldapdomain": SALES, "accounttype": 0}
    assert "LDAP server" in await admin.refused("linkDomainToLdap", 431, **sent)
    assert await admin.call("listLdapUsers") == {}
    assert await admin.call("importLdapUsers", accounttype=0) == {}


async def test_the_old_commands_set_how_servers_are_read(admin: Stack, fake: FakeDirectory, cloud: Cloud):
    sent = {
        "hostname": "old",
        "port": 389,
        "searchbase": SUFFIX,
        "binddn": "cn=admin",
        "bindpass": "hush-hush",
    }
    made = await admin.call("ldapConfig", **sent, queryfilter="(o=x)", ssl=False)
    assert (made["ldapconfig"]["searchbase"], made["ldapconfig"]["queryfilter"]) == (SUFFIX, "(o=x)")
    settings = fake.settings
    assert (settings.suffix, settings.user, settings.password) == (SUFFIX, "cn=admin", "hush-hush")
    reply = await admin.ask("ldapConfig", listall=True)
    assert reply.json()["ldapconfigresponse"]["ldapconfig"][0]["hostname"] == "old"
    assert "hush-hush" not in reply.text + str(made)
    assert names(await admin.call("listLdapUsers")) == ["alice", "bob"]
    await admin.refused("ldapConfig", 431)
    await admin.call("ldapRemove")
    assert await admin.call("listLdapConfigurations", listall=True) == {}
    await directory.of(cloud).close()


async def test_a_directory_that_is_away_is_told(
    admin: Stack, kernel: Kernel, fake: FakeDirectory, server: Any, domain: Domain
):
    await admin.call("importLdapUsers", accounttype=0, domainid=domain.id)
    fake.away = True
    assert (await sign_in(kernel, "alice", "wonderland", "/people")).status in (531, 534)
    assert "does not answer" in await admin.refused("listLdapUsers", 534)


async def test_only_administrators_see_or_set_them(
    member: Stack, fake: FakeDirectory, server: Any, domain: Domain
):
    for command, params in (
        ("addLdapConfiguration", {"hostname": "x", "port": 389}),
        ("deleteLdapConfiguration", {"id": server["id"]}),
        ("listLdapUsers", {}),
        ("searchLdap", {"query": "a"}),
        ("importLdapUsers", {"accounttype": 0}),
        ("ldapCreateAccount", {"username": "alice", "accounttype": 1}),
        ("linkDomainToLdap", {"domainid": domain.id, "type": "OU", "ldapdomain": SALES, "accounttype": 0}),
        ("linkAccountToLdap", {"domainid": domain.id, "ldapdomain": SALES, "account": "a", "accounttype": 0}),
        ("unlinkDomainFromLdap", {"domainid": domain.id}),
        ("ldapConfig", {"listall": True}),
        ("ldapRemove", {}),
    ):
        await member.refused(command, 432, **params)
