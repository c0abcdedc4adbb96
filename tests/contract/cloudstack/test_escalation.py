"""Ways by which somebody would get at more than was given: all are shut."""

from typing import Any

import pytest

from pileus.core.caller import ADMIN, MANAGER, system
from pileus.core.cloud import Cloud
from pileus.core.errors import Forbidden
from pileus.core.identity import groups, projects
from pileus.core.identity.authentication import login
from pileus.core.identity.authentication.login import ByPassword, Named, Wish
from pileus.core.identity.authentication.tokens import NIL
from pileus.core.identity.authorization.assignments import Place, grant
from pileus.core.identity.delegation import trusts
from pileus.core.identity.directories import directory_links
from pileus.core.identity.directories.directory_links import Adopt
from pileus.core.identity.records import Actor, Assignment, Domain, Role, Scope
from pileus.core.identity.tenancy.tenancy_records import DirectoryLink, RoleType
from pileus.drivers.directory.fake import FakeDirectory
from pileus.faces.cloudstack.authentication import COOKIE, session_key
from tests.contract.cloudstack.both import kernel, openstack
from tests.contract.cloudstack.conftest import Stack, give
from tests.contract.cloudstack.people import People, people
from tests.contract.cloudstack.test_ldap import STAFF, fake, server
from tests.contract.cloudstack.test_second_factor import SETUP, Clock, clock, equipped
from tests.contract.cloudstack.visitors import Visitor, made
from tests.contract.openstack.conftest import Person

__all__ = ["clock", "fake", "kernel", "openstack", "people", "server"]

PERSON = {"firstname": "b", "lastname": "b", "email": "bob@example.org", "password": "secret"}


@pytest.mark.parametrize("name", ["DomainAdmin", "ResourceAdmin"])
async def test_nobody_lists_the_keys_of_users_elsewhere(people: People, name: str) -> None:
    found = (await people[name].call("listUserKeys", listall=True))["userapikey"]
    assert {pair["username"] for pair in found} == {"user", "neighbour", "domainadmin", name.lower()}


@pytest.mark.parametrize("of", ["user", "account", "domain", "nil"])
async def test_a_chosen_id_is_nobody_elses(people: People, cloud: Cloud, of: str) -> None:
    """Who has another's id would have its roles, and what goes with the one would go with the other."""
    manager, admin = people["DomainAdmin"], people["Admin"]
    key = {"user": admin.user.id, "account": admin.account.id, "domain": admin.user.domain, "nil": NIL}[of]
    place = {"domainid": manager.user.domain}
    account = {"account": manager.account.name, **place}
    await manager.refused("createUser", 431, username="bob", userid=key, **account, **PERSON)
    await manager.refused("createAccount", 431, username="bob", accounttype=0, userid=key, **place, **PERSON)
    await manager.refused(
        "createAccount", 431, username="bob", accounttype=0, accountid=key, **place, **PERSON
    )
    await manager.refused("createDomain", 431, name="below", parentdomainid=manager.user.domain, domainid=key)
    async with cloud.view() as look:
        assert await look.count(Assignment, scope=Scope.SYSTEM)
        assert await look.count(Domain, name="below") == 0


async def test_power_through_a_group_is_power(people: People, cloud: Cloud) -> None:
    """The manager of a domain gets no keys of an administrator in it."""
    manager, person = people["DomainAdmin"], people["Neighbour"].user
    team = await groups.create(cloud, system(), groups.CreateGroup(name="crew", domain=person.domain))
    await groups.add_member(cloud, system(), team.id, person.id)
    async with cloud.view() as look:
        role = await look.one(Role, name=ADMIN, domain=None)
    assert role is not None
    await grant(cloud, system(), team.id, role.id, Place(Scope.SYSTEM), kind=Actor.GROUP)
    given = {"userapikey": "k" * 40, "usersecretkey": "s" * 40}
    for command, more in (
        ("updateUser", given),
        ("updateUser", {"mandate2fa": False}),
        ("registerUserKeys", {"name": "mine"}),
        ("getUserKeys", {}),
        ("disableUser", {}),
        (SETUP, {"enable": "false", "userid": person.id}),
    ):
        await manager.refused(command, 531, **{"id": person.id, **more})
    found = (await manager.call("listUserKeys", listall=True))["userapikey"]
    assert "neighbour" not in {pair["username"] for pair in found}


async def test_half_a_session_takes_away_nobodys_factor(admin: Stack, kernel: Any, clock: Clock) -> None:
    await made(admin, "ann", accounttype=1)
    bob = await made(admin, "bob")
    await equipped(kernel, clock)
    browser = Visitor(kernel)
    await browser.login("ann", "secret")
    refused = await browser.ask(SETUP, enable="false", userid=bob["user"][0]["id"])
    assert refused.status == 531, refused.text


async def test_a_trust_that_hands_on_nothing_opens_no_session(
    people: People, cloud: Cloud, kernel: Any
) -> None:
    """The trustee names the trustor in its token; that must not be taken for the trustor's own login."""
    giver, taker = people["Admin"], people["User"]
    want = trusts.CreateTrust(trustor=giver.user.id, trustee=taker.user.id, impersonation=True)
    caller = await login.caller_of(cloud, giver.user)
    trust = await trusts.create(cloud, caller, want)
    proof = ByPassword(user=Named(id=taker.user.id), password="secret")
    issued = await login.authenticate(cloud, [proof], Wish(trust=trust.id))
    assert issued.session.user.id == giver.user.id
    browser = Visitor(kernel)
    browser.jar[COOKIE], browser.key = issued.text, session_key(issued.session.token)
    assert (await browser.ask("listUsers")).status == 401


async def test_wrong_tokens_for_a_password_are_refused_alike(admin: Stack, kernel: Any) -> None:
    await made(admin, "ann")
    browser = Visitor(kernel)
    token = "0d4f3c38-1c3e-4c9c-9a51-fd6f9f3e2f11"
    for _ in range(3):
        reply = await browser.post_form(
            command="resetPassword", username="ann", token=token, password="better"
        )
        assert reply.status in (401, 431), reply.text


async def test_the_manager_of_a_domain_cannot_lock_out_administrators_there(
    people: People, cloud: Cloud
) -> None:
    admin, person = people["Admin"], people["User"].user
    await give(cloud, system(), person.id, MANAGER, Place(Scope.DOMAIN, admin.user.domain))
    proof = ByPassword(user=Named(id=person.id), password="secret")
    wish = Wish(scope=Scope.DOMAIN, target=Named(id=admin.user.domain))
    manager = (await login.authenticate(cloud, [proof], wish)).session.caller
    with pytest.raises(Forbidden):
        await projects.update(cloud, manager, admin.account.id, projects.UpdateProject(enabled=False))
    with pytest.raises(Forbidden):
        await projects.delete(cloud, manager, admin.account.id)


async def test_a_locked_account_is_locked_in_every_api(
    people: People, cloud: Cloud, openstack: Person
) -> None:
    admin = people["Admin"]
    await admin.call("lockAccount", account="demo", domainid=admin.user.domain)
    reply = await openstack.post("/volume/v3/volumes", json={"volume": {"size": 1}})
    assert reply.status == 403, reply.text
    assert (await openstack.get("/volume/v3/volumes")).status == 200


async def test_no_link_and_no_import_brings_people_into_a_stronger_account(
    people: People, cloud: Cloud, fake: FakeDirectory, server: dict[str, Any]
) -> None:
    admin, manager = people["Admin"], people["DomainAdmin"]
    sent = {
        "domainid": manager.user.domain,
        "ldapdomain": STAFF,
        "account": "resourceadmin",
        "accounttype": 0,
    }
    await manager.refused("linkAccountToLdap", 531, **sent)
    sent |= {"username": "alice"}
    sent.pop("ldapdomain")
    await admin.call("ldapCreateAccount", **sent)
    caller = await login.caller_of(cloud, manager.user)
    entry = await directory_links.person(cloud, caller, manager.user.domain, "alice")
    assert entry is not None
    want = Adopt(domain=manager.user.domain, account=manager.account.name, type=RoleType.USER)
    with pytest.raises(Forbidden):
        await directory_links.adopt(cloud, caller, entry, want)
    async with cloud.view() as look:
        assert await look.count(DirectoryLink) == 0
