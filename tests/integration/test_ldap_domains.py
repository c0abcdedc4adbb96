"""A domain in slapd from the first login to the end: the core, the adapter and the driver together."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import UUID

import pytest
import structlog

import pileus.core.records  # noqa: F401 - every table
from pileus.config import Config, Ldap
from pileus.core.caller import system
from pileus.core.cloud import Cloud
from pileus.core.errors import Unauthenticated, Unavailable
from pileus.core.identity import domain_settings, domains, groups, users
from pileus.core.identity.authentication import passwords
from pileus.core.identity.directories import directory, directory_links, directory_refresh, directory_servers
from pileus.core.identity.named import Named
from pileus.core.identity.records import Domain, Membership, Project, User
from pileus.core.identity.tenancy.tenancy_records import RoleType
from pileus.drivers.directory.ldap import LdapDirectory
from pileus.store import open_store
from pileus.workflows import directories
from tests import schema
from tests.integration.slapd import ACTIVE, ADMIN_PASSWORD, OPEN, Slapd
from tests.integration.slapd import slapd as started
from tests.integration.test_ldap import EVERYTHING, FIRST


@pytest.fixture(scope="module")
def server() -> Iterator[Slapd]:
    with started() as made:
        yield made


@pytest.fixture
async def cloud(server: Slapd, tmp_path: Path) -> AsyncIterator[Cloud]:
    server.empty()
    url = f"sqlite:///{tmp_path / 'pileus.db'}"
    secret = tmp_path / "secret"
    secret.write_text(f"{ADMIN_PASSWORD}\n")
    read = Ldap(
        basedn=OPEN,
        bind_principal=f"cn=admin,{OPEN}",
        bind_password_file=str(secret),
        group_object="groupOfNames",
        group_user_uniquemember="member",
    )
    config = Config(state=tmp_path / "state", simulate=1, ldap=read)
    await schema.start(url, config)
    store = await open_store(url)
    made = Cloud(config, store)
    directories.install(made, LdapDirectory)
    try:
        yield made
    finally:
        await directory.of(made).close()
        await store.close()


async def configured(cloud: Cloud, server: Slapd, base: str) -> Domain:
    made = await domains.create(cloud, system(), domains.CreateDomain(name="people"))
    folder = cloud.config.state / "domains"
    folder.mkdir(parents=True)
    options = {"suffix": base, "user": f"cn=admin,{base}"} | FIRST[base] | EVERYTHING
    lines = [
        f"{name} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
        for name, value in options.items()
    ]
    (folder / "people.toml").write_text("\n".join(["[ldap]", *lines]))
    want = {"identity": {"driver": "ldap"}, "ldap": {"url": server.url, "password": ADMIN_PASSWORD}}
    await domain_settings.create(cloud, system(), made.id, want)
    return made


async def sign_in(cloud: Cloud, domain: UUID, name: str, password: str) -> User:
    return await passwords.check(cloud, Named(name=name, domain=Named(id=domain)), password)


@pytest.mark.parametrize("base", [OPEN, ACTIVE], ids=["openldap", "activedirectory"])
async def test_a_domain_lives_in_the_directory(cloud: Cloud, server: Slapd, base: str):
    me = system()
    domain = await configured(cloud, server, base)
    with structlog.testing.capture_logs() as logged:
        alice = await sign_in(cloud, domain.id, "alice", "wonderland")
        for name, password in (("alice", "wrong-password"), ("bob", "builder"), ("*", "wonderland")):
            with pytest.raises(Unauthenticated):
                await sign_in(cloud, domain.id, name, password)
        eve = await users.create(
            cloud, me, users.CreateUser(name="eve", domain=domain.id, password="ap(p)le*")
        )
        crew = await groups.create(cloud, me, groups.CreateGroup(name="crew", domain=domain.id))
        await groups.add_member(cloud, me, crew.id, eve.id)
        await groups.add_member(cloud, me, crew.id, alice.id)
        assert await sign_in(cloud, domain.id, "eve", "ap(p)le*") == eve
        await passwords.change(cloud, eve.id, "ap(p)le*", "pear-and-plum")
        await sign_in(cloud, domain.id, "eve", "pear-and-plum")
        await users.update(cloud, me, eve.id, users.UpdateUser(enabled=False))
        with pytest.raises(Unauthenticated):
            await sign_in(cloud, domain.id, "eve", "pear-and-plum")
        server.remove(alice.external, base)
        await directory_refresh.refresh_all(cloud)
        directory.of(cloud).asked.clear()
        await directory_refresh.refresh_all(cloud)
        await groups.remove_member(cloud, me, crew.id, eve.id)
        await users.delete(cloud, me, eve.id)
    for secret in ("wonderland", "wrong-password", "ap(p)le*", "pear-and-plum", ADMIN_PASSWORD):
        assert secret not in str(logged)
    async with cloud.view() as look:
        held = await look.get(User, alice.id)
        assert (held.enabled, held.external) == (False, "")
        assert await look.maybe(User, eve.id) is None
        assert await look.list(Membership, user=eve.id) == []


async def test_a_linked_account_gets_its_people(cloud: Cloud, server: Slapd):
    me = system()
    host, port = "127.0.0.1", server.port
    domain = await domains.create(cloud, me, domains.CreateDomain(name="linked"))
    await directory_servers.add(cloud, me, host, port, None)
    want = directory_links.Adopt(domain=domain.id, account="crew", type=RoleType.USER)
    _, account = await directory_links.link_account(
        cloud, me, want, "GROUP", f"CN=staff,ou=UserGroups,{OPEN}"
    )
    alice = await sign_in(cloud, domain.id, "alice", "wonderland")
    assert alice.account == account.id
    with pytest.raises(Unauthenticated):
        await sign_in(cloud, domain.id, "bob", "builder")
    leave = f"dn: cn=staff,ou=UserGroups,{OPEN}\nchangetype: modify\nreplace: member\nmember: cn=x,{OPEN}\n"
    server.change(leave, OPEN)
    with pytest.raises(Unauthenticated):
        await sign_in(cloud, domain.id, "alice", "wonderland")
    async with cloud.view() as look:
        assert not (await look.get(User, alice.id)).enabled
        assert (await look.get(Project, account.id)).enabled


async def test_a_server_that_stands_still_holds_up_only_its_own(cloud: Cloud, server: Slapd):
    domain = await configured(cloud, server, OPEN)
    folder = cloud.config.state / "domains" / "people.toml"
    folder.write_text(folder.read_text() + "\nconnection_timeout = 1\n")
    await sign_in(cloud, domain.id, "alice", "wonderland")
    await users.create(
        cloud, system(), users.CreateUser(name="carol", domain=domains.ROOT, password="secret-of-carol")
    )
    process = int((server.home / "pid").read_text())
    os.kill(process, signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable):
            await sign_in(cloud, domain.id, "alice", "wonderland")
        assert (await sign_in(cloud, domains.ROOT, "carol", "secret-of-carol")).name == "carol"
    finally:
        os.kill(process, signal.SIGCONT)
    assert (await sign_in(cloud, domain.id, "alice", "wonderland")).name == "alice"
