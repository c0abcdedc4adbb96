"""Users who are kept in a directory: shadows of it, with a fake one behind the real adapter."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from pileus.core.caller import Caller, system
from pileus.core.cloud import Cloud
from pileus.core.errors import Conflict, Exists, Forbidden, Unauthenticated, Unavailable
from pileus.core.identity import domain_settings, domains, groups, users
from pileus.core.identity.authentication import login, passwords
from pileus.core.identity.authentication.login import ByPassword
from pileus.core.identity.authorization import access
from pileus.core.identity.authorization.assignments import Place, grant
from pileus.core.identity.directories import directory, directory_refresh, directory_settings
from pileus.core.identity.directories.directory import user_id
from pileus.core.identity.listing import EVERYTHING
from pileus.core.identity.named import Named
from pileus.core.identity.records import Domain, Group, Membership, Role, Scope, Source, User
from pileus.drivers.directory.fake import SUFFIX, FakeDirectory
from pileus.drivers.directory.protocol import Person, Settings
from pileus.drivers.errors import Missing
from pileus.workflows import directories
from tests.unit.core.identity.conftest import Clock

WRITABLE = "\n".join(
    f"{what}_allow_{verb} = true" for what in ("user", "group") for verb in ("create", "update", "delete")
)


@pytest.fixture
def fake(cloud: Cloud) -> FakeDirectory:
    made = FakeDirectory()

    def opened(settings: Settings) -> FakeDirectory:
        made.settings = settings
        return made

    directories.install(cloud, opened)
    alice = made.put("alice", "wonderland", email="alice@example.org")
    made.put("bob", "builder", enabled=False)
    made.put_group("staff", alice)
    return made


@pytest.fixture
async def domain(cloud: Cloud, fake: FakeDirectory) -> Domain:
    """All its users are in the directory, which may only be read."""
    made = await domains.create(cloud, system(), domains.CreateDomain(name="people"))
    want = {"identity": {"driver": "ldap"}, "ldap": {"url": "ldap://directory", "suffix": SUFFIX}}
    await domain_settings.create(cloud, system(), made.id, want)
    return made


@pytest.fixture
def writable(cloud: Cloud, domain: Domain) -> Domain:
    """The same, which may be changed: that is said in a file."""
    folder = cloud.config.state / "domains"
    folder.mkdir(parents=True)
    (folder / "people.toml").write_text(f"[ldap]\n{WRITABLE}\n")
    return domain


def named(domain: Domain, name: str) -> Named:
    return Named(name=name, domain=Named(id=domain.id))


async def sign_in(cloud: Cloud, domain: Domain, name: str, password: str) -> User:
    return await passwords.check(cloud, named(domain, name), password)


async def of(cloud: Cloud, cls: Any, **equals: Any) -> Any:
    async with cloud.view() as look:
        return await look.one(cls, **equals)


async def refresh(cloud: Cloud, domain: Domain) -> None:
    binding = await directory_settings.of(cloud, domain.id)
    assert binding is not None
    await directory_refresh.refresh(cloud, binding)


async def test_a_first_login_makes_the_user_with_its_groups(cloud: Cloud, domain: Domain):
    user = await sign_in(cloud, domain, "alice", "wonderland")
    assert (user.id, user.source, user.password) == (user_id(domain.id, "alice"), Source.LDAP, "")
    assert (user.name, user.email, user.external) == (
        "alice",
        "alice@example.org",
        f"cn=alice,ou=Users,{SUFFIX}",
    )
    group = await of(cloud, Group, domain=domain.id, name="staff")
    assert (await of(cloud, Membership, user=user.id)).group == group.id
    assert await sign_in(cloud, domain, "ALICE", "wonderland") == user
    assert await passwords.check(cloud, Named(id=user.id), "wonderland") == user


@pytest.mark.parametrize(
    ("name", "password"), [("alice", "wrong"), ("alice", ""), ("bob", "builder"), ("nobody", "x"), ("*", "x")]
)
async def test_nobody_else_comes_in(cloud: Cloud, domain: Domain, name: str, password: str):
    with pytest.raises(Unauthenticated):
        await sign_in(cloud, domain, name, password)
    assert await of(cloud, User, domain=domain.id, name="alice") is None


async def test_the_password_is_kept_nowhere(cloud: Cloud, domain: Domain):
    for _ in range(2):
        await sign_in(cloud, domain, "alice", "wonderland")
    rows = (cloud.config.state.parent / "pileus.db").read_bytes()
    wal = cloud.config.state.parent / "pileus.db-wal"
    assert b"wonderland" not in rows + (wal.read_bytes() if wal.exists() else b"")
    assert (await of(cloud, User, name="alice")).password == ""


async def test_users_of_other_domains_need_no_directory(cloud: Cloud, domain: Domain, fake: FakeDirectory):
    want = users.CreateUser(name="carol", domain=domains.ROOT, password="secret")
    await users.create(cloud, system(), want)
    fake.away = True
    there = Named(name="carol", domain=Named(id=domains.ROOT))
    assert (await passwords.check(cloud, there, "secret")).name == "carol"
    with pytest.raises(Unavailable):
        await sign_in(cloud, domain, "alice", "wonderland")
    fake.away = False
    assert (await sign_in(cloud, domain, "alice", "wonderland")).name == "alice"


async def test_lists_show_whom_the_directory_has(
    cloud: Cloud, domain: Domain, fake: FakeDirectory, clock: Clock
):
    async def listed() -> list[tuple[str, bool]]:
        want = users.UserFilter(domain=domain.id)
        found = await users.list_page(cloud, system(), want, EVERYTHING)
        return sorted((user.name, user.enabled) for user in found.items)

    assert await listed() == [("alice", True), ("bob", False)]
    fake.put("eve")
    assert len(await listed()) == 2
    clock.move(61)
    assert ("eve", True) in await listed()
    calls = fake.calls.count("people")
    await listed()
    assert fake.calls.count("people") == calls
    fake.away = True
    clock.move(61)
    assert len(await listed()) == 3


async def test_who_vanishes_is_out_and_comes_back_the_same(
    cloud: Cloud, domain: Domain, fake: FakeDirectory, clock: Clock
):
    role = await of(cloud, Role, name="member")
    user = await sign_in(cloud, domain, "alice", "wonderland")
    await grant(cloud, system(), user.id, role.id, Place(Scope.DOMAIN, domain.id))
    issued = await login.authenticate(cloud, [ByPassword(user=Named(id=user.id), password="wonderland")])
    entry = fake.persons.pop(user.external.lower())
    await refresh(cloud, domain)
    held = await of(cloud, User, id=user.id)
    assert (held.enabled, held.external) == (False, "")
    with pytest.raises(Unauthenticated):
        await access.present(cloud, issued.text)
    with pytest.raises(Unauthenticated):
        await sign_in(cloud, domain, "alice", "wonderland")
    clock.move(60)
    fake.persons[user.external.lower()] = entry
    await refresh(cloud, domain)
    assert await of(cloud, User, id=user.id) == user
    with pytest.raises(Unauthenticated):
        await access.present(cloud, issued.text)
    assert await sign_in(cloud, domain, "alice", "wonderland") == user


async def test_who_was_disabled_here_stays_so(cloud: Cloud, domain: Domain, fake: FakeDirectory):
    await refresh(cloud, domain)
    alice, bob = [await of(cloud, User, domain=domain.id, name=name) for name in ("alice", "bob")]
    assert (bob.enabled, bob.external) == (False, "")
    async with cloud.transaction() as tx:
        await tx.put(replace(alice, enabled=False))  # as CloudStack's disableUser
    there = fake.persons[f"cn=bob,ou=users,{SUFFIX}".lower()]
    fake.persons[there.dn.lower()] = replace(there, enabled=True)
    await refresh(cloud, domain)
    assert (await of(cloud, User, id=bob.id)).enabled
    assert not (await of(cloud, User, id=alice.id)).enabled
    with pytest.raises(Unauthenticated):
        await sign_in(cloud, domain, "alice", "wonderland")
    assert (await users.update(cloud, system(), alice.id, users.UpdateUser(enabled=True))).enabled
    assert (await sign_in(cloud, domain, "alice", "wonderland")).id == alice.id


async def test_who_vanished_can_be_deleted_and_who_is_disabled_there_cannot(
    cloud: Cloud, domain: Domain, fake: FakeDirectory
):
    await refresh(cloud, domain)
    bob = await of(cloud, User, domain=domain.id, name="bob")
    with pytest.raises(Forbidden):
        await users.delete(cloud, system(), bob.id)
    del fake.persons[f"cn=bob,ou=users,{SUFFIX}".lower()]
    with pytest.raises(Conflict):
        await users.update(cloud, system(), bob.id, users.UpdateUser(email="b@example.org"))
    await users.delete(cloud, system(), bob.id)
    assert await of(cloud, User, id=bob.id) is None


async def test_a_name_that_is_given_to_another_goes_with_its_entry(
    cloud: Cloud, domain: Domain, fake: FakeDirectory
):
    await refresh(cloud, domain)
    old = fake.persons.pop(f"cn=alice,ou=users,{SUFFIX}".lower())
    fake.persons[old.dn.lower()] = replace(old, id="alice-2")
    await refresh(cloud, domain)
    async with cloud.view() as look:
        found = {user.id: user for user in await look.list(User, domain=domain.id)}
    assert found[user_id(domain.id, "alice-2")].name == "alice"
    assert found[user_id(domain.id, "alice")].name.startswith("alice (gone ")
    assert not found[user_id(domain.id, "alice")].enabled


async def test_a_user_of_ours_keeps_its_name(cloud: Cloud, fake: FakeDirectory):
    made = await domains.create(cloud, system(), domains.CreateDomain(name="mixed"))
    ours = await users.create(
        cloud, system(), users.CreateUser(name="alice", domain=made.id, password="ours")
    )
    want = {"identity": {"driver": "ldap"}, "ldap": {"url": "ldap://directory"}}
    await domain_settings.create(cloud, system(), made.id, want)
    await refresh(cloud, made)
    assert (await sign_in(cloud, made, "alice", "ours")).id == ours.id
    with pytest.raises(Unauthenticated):
        await sign_in(cloud, made, "alice", "wonderland")


async def test_groups_follow_the_directory(cloud: Cloud, domain: Domain, fake: FakeDirectory):
    await refresh(cloud, domain)
    group = await of(cloud, Group, domain=domain.id, name="staff")
    bob = await fake.find(name="bob")
    assert bob is not None
    fake.put_group("staff", bob)
    await refresh(cloud, domain)
    assert (await of(cloud, Membership, group=group.id)).user == user_id(domain.id, "bob")
    team = fake.teams.popitem()
    await refresh(cloud, domain)
    assert await of(cloud, Membership, group=group.id) is None
    fake.teams[team[0]] = team[1]
    await refresh(cloud, domain)
    assert (await of(cloud, Membership, group=group.id)).user == user_id(domain.id, "bob")
    assert await of(cloud, Group, domain=domain.id, name="staff") == group


async def test_a_refresh_of_what_is_the_same_changes_nothing(cloud: Cloud, domain: Domain):
    async def count() -> int:
        async with cloud.view() as look:
            return await directory_settings.change_count(look)

    await refresh(cloud, domain)
    before = await count()
    await refresh(cloud, domain)
    await sign_in(cloud, domain, "alice", "wonderland")
    assert await count() == before


async def changes(cloud: Cloud, domain: Domain) -> list[Callable[[], Any]]:
    me = system()
    alice = await of(cloud, User, domain=domain.id, name="alice")
    staff = await of(cloud, Group, domain=domain.id, name="staff")
    return [
        lambda: users.create(cloud, me, users.CreateUser(name="eve", domain=domain.id, password="x")),
        lambda: users.update(cloud, me, alice.id, users.UpdateUser(email="a@example.org")),
        lambda: users.update(cloud, me, alice.id, users.UpdateUser(enabled=False)),
        lambda: users.update(cloud, me, alice.id, users.UpdateUser(password="new")),
        lambda: passwords.change(cloud, alice.id, "wonderland", "new"),
        lambda: users.delete(cloud, me, alice.id),
        lambda: groups.create(cloud, me, groups.CreateGroup(name="crew", domain=domain.id)),
        lambda: groups.update(cloud, me, staff.id, groups.UpdateGroup(description="x")),
        lambda: groups.remove_member(cloud, me, staff.id, alice.id),
        lambda: groups.add_member(cloud, me, staff.id, user_id(domain.id, "bob")),
        lambda: groups.delete(cloud, me, staff.id),
    ]


async def test_what_may_only_be_read_is_not_changed(cloud: Cloud, domain: Domain, fake: FakeDirectory):
    await refresh(cloud, domain)
    before = (dict(fake.persons), dict(fake.teams), dict(fake.passwords))
    for change in await changes(cloud, domain):
        with pytest.raises(Forbidden, match="LDAP does not support write operations"):
            await change()
    assert (fake.persons, fake.teams, fake.passwords) == before


async def test_nothing_is_half_changed_while_the_directory_is_away(
    cloud: Cloud, writable: Domain, fake: FakeDirectory
):
    await refresh(cloud, writable)
    asked = await changes(cloud, writable)
    fake.away = True
    async with cloud.view() as look:
        before = (await look.list(User), await look.list(Group), await look.list(Membership))
    for change in asked:
        with pytest.raises(Unavailable):
            await change()
    async with cloud.view() as look:
        assert (await look.list(User), await look.list(Group), await look.list(Membership)) == before


async def test_what_may_be_changed_is_changed_there(cloud: Cloud, writable: Domain, fake: FakeDirectory):
    me = system()
    want = users.CreateUser(name="eve", domain=writable.id, password="apple", email="eve@example.org")
    eve = await users.create(cloud, me, want)
    assert (eve.source, eve.password, eve.email) == (Source.LDAP, "", "eve@example.org")
    assert await sign_in(cloud, writable, "eve", "apple") == eve
    with pytest.raises(Exists):
        await users.create(cloud, me, want)
    changed = await users.update(cloud, me, eve.id, users.UpdateUser(email="e@example.org", timezone="UTC"))
    assert (changed.email, changed.timezone) == ("e@example.org", "UTC")
    assert fake.persons[eve.external.lower()].email == "e@example.org"
    await passwords.change(cloud, eve.id, "apple", "pear")
    await users.update(cloud, me, eve.id, users.UpdateUser(password="plum"))
    with pytest.raises(Unauthenticated):
        await sign_in(cloud, writable, "eve", "pear")
    assert (await sign_in(cloud, writable, "eve", "plum")).id == eve.id
    assert not (await users.update(cloud, me, eve.id, users.UpdateUser(enabled=False))).enabled
    renamed = await users.update(cloud, me, eve.id, users.UpdateUser(name="eva", enabled=True))
    assert (renamed.id, renamed.name) == (eve.id, "eva")
    crew = await groups.create(
        cloud, me, groups.CreateGroup(name="crew", domain=writable.id, description="d")
    )
    await groups.add_member(cloud, me, crew.id, eve.id)
    assert await groups.has_member(cloud, me, crew.id, eve.id)
    assert fake.teams[crew.external.lower()].members == {"eve"}
    await groups.remove_member(cloud, me, crew.id, eve.id)
    assert fake.teams[crew.external.lower()].members == frozenset()
    await groups.update(cloud, me, crew.id, groups.UpdateGroup(description="deck"))
    await groups.delete(cloud, me, crew.id)
    await users.delete(cloud, me, eve.id)
    assert (len(fake.persons), len(fake.teams)) == (2, 1)
    assert await of(cloud, User, id=eve.id) is None


async def test_users_of_ours_are_in_no_group_of_a_directory(cloud: Cloud, writable: Domain):
    await refresh(cloud, writable)
    ours = await users.create(cloud, system(), users.CreateUser(name="carol", domain=domains.ROOT))
    staff = await of(cloud, Group, domain=writable.id, name="staff")
    with pytest.raises(Forbidden, match="backend boundaries"):
        await groups.add_member(cloud, system(), staff.id, ours.id)


async def test_only_who_manages_the_domain_reaches_its_directory(
    cloud: Cloud, writable: Domain, fake: FakeDirectory
):
    await refresh(cloud, writable)
    stranger = Caller(user=UUID(int=7), roles=frozenset({"member"}))
    alice = await of(cloud, User, domain=writable.id, name="alice")
    staff = await of(cloud, Group, domain=writable.id, name="staff")
    before = len(fake.calls)
    for change in (
        users.create(cloud, stranger, users.CreateUser(name="x", domain=writable.id)),
        users.update(cloud, stranger, alice.id, users.UpdateUser(password="x")),
        users.delete(cloud, stranger, alice.id),
        groups.create(cloud, stranger, groups.CreateGroup(name="x", domain=writable.id)),
        groups.update(cloud, stranger, staff.id, groups.UpdateGroup(name="x")),
        groups.delete(cloud, stranger, staff.id),
        groups.add_member(cloud, stranger, staff.id, alice.id),
        groups.remove_member(cloud, stranger, staff.id, alice.id),
    ):
        with pytest.raises(Forbidden):
            await change
    assert len(fake.calls) == before


@pytest.mark.parametrize("text", ["[ldap", "[ldap]\nno_such_option = 1", "[ldap]\npage_size = 'many'"])
async def test_a_file_that_is_wrong_lets_nobody_in_and_harms_no_others(
    cloud: Cloud, domain: Domain, text: str
):
    folder = cloud.config.state / "domains"
    folder.mkdir(parents=True)
    (folder / f"{domain.id.hex}.toml").write_text(text)
    with pytest.raises(Unavailable):
        await sign_in(cloud, domain, "alice", "wonderland")
    await users.create(
        cloud, system(), users.CreateUser(name="carol", domain=domains.ROOT, password="secret")
    )
    there = Named(name="carol", domain=Named(id=domains.ROOT))
    assert (await passwords.check(cloud, there, "secret")).name == "carol"
    await directory_refresh.refresh_all(cloud)
    await users.list_page(cloud, system(), users.UserFilter(domain=domain.id), EVERYTHING)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"user_enabled_default": True}, {"user_enabled_default": "True"}),
        (
            {"user_enabled_default": 512, "user_enabled_mask": "2"},
            {"user_enabled_default": "512", "user_enabled_mask": 2},
        ),
        ({"user_attribute_ignore": "email, enabled"}, {"user_attribute_ignore": ("email", "enabled")}),
        ({"use_tls": "True", "page_size": "100"}, {"use_tls": True, "page_size": 100}),
        ({"user_tree_dn": None, "debug_level": 7, "use_pool": False}, {"user_tree_dn": ""}),
    ],
)
def test_options_are_understood_as_keystone_writes_them(given: dict[str, Any], meant: dict[str, Any]):
    found = directories.settings(given)
    assert {name: getattr(found, name) for name in meant} == meant


def test_every_option_that_a_domain_may_set_is_known():
    for option, value in domain_settings.DEFAULTS["ldap"].items():
        directories.settings({option: value})


async def test_a_list_does_not_wait_for_ever_for_a_slow_directory(
    cloud: Cloud, domain: Domain, fake: FakeDirectory, monkeypatch: pytest.MonkeyPatch
):
    answered, read = asyncio.Event(), fake.people

    async def slowly(*given: Any) -> list[Person]:
        await answered.wait()
        return await read(*given)

    async def listed() -> set[str]:
        found = await users.list_page(cloud, system(), users.UserFilter(domain=domain.id), EVERYTHING)
        return {user.name for user in found.items}

    monkeypatch.setattr(fake, "people", slowly)
    monkeypatch.setattr(directory_refresh, "PATIENCE", 0.01)
    assert await asyncio.gather(*(listed() for _ in range(3))) == [set()] * 3
    (reading,) = directory.of(cloud).reading.values()
    answered.set()
    await reading
    assert await listed() == {"alice", "bob"}
    assert fake.calls.count("people") == 1


async def test_who_ends_while_a_directory_is_read_does_not_wait_for_it(
    cloud: Cloud, domain: Domain, fake: FakeDirectory, monkeypatch: pytest.MonkeyPatch
):
    async def never(*given: Any) -> list[Person]:
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(fake, "people", never)
    monkeypatch.setattr(directory_refresh, "PATIENCE", 0.01)
    await directory_refresh.freshen(cloud, domain.id)
    await directory.of(cloud).close()
    assert not directory.of(cloud).reading


async def test_a_directory_that_is_much_to_read_is_read_less_often(
    cloud: Cloud, domain: Domain, fake: FakeDirectory, clock: Clock
):
    await directory_refresh.refresh_all(cloud)
    directory.of(cloud).took[domain.id] = timedelta(minutes=2)
    for minutes, reads in ((19, 1), (2, 2)):
        clock.move(minutes * 60)
        await directory_refresh.refresh_all(cloud)
        assert fake.calls.count("people") == reads


async def test_a_directory_that_was_away_from_the_first_is_tried_again_after_a_minute(
    cloud: Cloud, domain: Domain, fake: FakeDirectory, clock: Clock
):
    for away, known in ((True, 0), (False, 2)):
        fake.away = away
        await directory_refresh.freshen(cloud, domain.id)
        async with cloud.view() as look:
            assert await look.count(User, domain=domain.id) == known
        clock.move(61)


async def test_a_directory_without_the_place_that_is_read_is_told_of_and_nothing_fails(
    cloud: Cloud, domain: Domain, fake: FakeDirectory, monkeypatch: pytest.MonkeyPatch
):
    async def people(*_: object) -> list[Person]:
        raise Missing("no such entry")

    monkeypatch.setattr(fake, "people", people)
    with capture_logs() as told:
        await directory_refresh.freshen(cloud, domain.id)
    assert [line["event"] for line in told] == ["directory away"]


async def test_a_directory_that_suddenly_shows_nobody_puts_nobody_out(
    cloud: Cloud, domain: Domain, fake: FakeDirectory
):
    await refresh(cloud, domain)
    held = dict(fake.persons)
    fake.persons.clear()
    with pytest.raises(Unavailable) as told:
        await refresh(cloud, domain)
    assert "user_tree_dn" in told.value.private
    assert (await of(cloud, User, domain=domain.id, name="alice")).enabled
    fake.persons.update(list(held.items())[1:])
    await refresh(cloud, domain)
    assert not (await of(cloud, User, domain=domain.id, name="alice")).enabled


async def test_a_group_of_many_comes_and_goes_whole(cloud: Cloud, domain: Domain, fake: FakeDirectory):
    many = [fake.put(f"p{number}") for number in range(2 * directory_refresh.BATCH + 1)]
    for members in (many, many[:1], []):
        fake.put_group("crowd", *members)
        await refresh(cloud, domain)
        group = await of(cloud, Group, name="crowd")
        async with cloud.view() as look:
            assert await look.count(Membership, group=group.id) == len(members)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("cn=ops,dc=x", "cn=ops,dc=x"),
        ("cn=a (b)*,dc=x", "cn=a \\28b\\29\\2a,dc=x"),
        ("cn=a\\,b", "cn=a\\5c,b"),
    ],
)
def test_a_name_in_a_filter_stands_for_itself(name: str, meant: str):
    assert directory_settings.in_filter(name) == meant


async def test_other_options_open_the_directory_anew(cloud: Cloud, domain: Domain, fake: FakeDirectory):
    await sign_in(cloud, domain, "alice", "wonderland")
    assert "close" not in fake.calls
    await domain_settings.update(cloud, system(), domain.id, {"ldap": {"url": "ldap://other"}})
    await sign_in(cloud, domain, "alice", "wonderland")
    assert fake.settings.url == "ldap://other"
    assert fake.calls.count("close") == 1
    await directory_refresh.refresh_all(cloud)
    assert fake.calls.count("close") == 1
    await domain_settings.delete(cloud, system(), domain.id)
    await directory_refresh.refresh_all(cloud)
    assert fake.calls.count("close") == 2
    with pytest.raises(Unauthenticated):
        await sign_in(cloud, domain, "alice", "wonderland")
