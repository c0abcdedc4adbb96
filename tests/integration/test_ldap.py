"""The LDAP driver against Debian's slapd, with OpenLDAP's schema and Active Directory's."""

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest

from pileus.drivers.directory.ldap import LdapDirectory
from pileus.drivers.directory.protocol import Part, Settings
from pileus.drivers.errors import Refused, Unreachable
from tests.conformance.directory import DirectoryConformance
from tests.integration.slapd import ACTIVE, ADMIN_PASSWORD, OPEN, Slapd
from tests.integration.slapd import slapd as started
from tests.ports import free_port

EVERYTHING = {
    f"{what}_allow_{verb}": True for what in ("user", "group") for verb in ("create", "update", "delete")
}
FIRST: dict[str, dict[str, Any]] = {
    OPEN: {
        "schema": "openldap",
        "user_objectclass": "pileusPerson",
        "user_id_attribute": "uid",
        "user_name_attribute": "uid",
        "group_name_attribute": "cn",
    },
    ACTIVE: {
        "schema": "activedirectory",
        "user_tree_dn": f"ou=Users,{ACTIVE}",
        "group_tree_dn": f"ou=UserGroups,{ACTIVE}",
        "user_pass_attribute": "userPassword",
        "user_id_attribute": "cn",  # nobody gives new entries an objectGUID here
        "group_id_attribute": "cn",
    },
}


@pytest.fixture(scope="module")
def server() -> Iterator[Slapd]:
    with started() as made:
        yield made


@pytest.fixture
def slapd(server: Slapd) -> Slapd:
    server.empty()
    return server


@pytest.fixture(params=[OPEN, ACTIVE], ids=["openldap", "activedirectory"])
def base(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def settings(slapd: Slapd, base: str, **more: Any) -> Settings:
    given = {"url": slapd.url, "suffix": base, "user": f"cn=admin,{base}", "password": ADMIN_PASSWORD}
    return Settings(**given | FIRST[base] | more)


async def opened(wanted: Settings) -> AsyncIterator[LdapDirectory]:
    made = LdapDirectory(wanted)
    yield made
    await made.close()


class TestLdap(DirectoryConformance):
    @pytest.fixture
    async def directory(self, slapd: Slapd, base: str) -> AsyncIterator[LdapDirectory]:
        async for made in opened(settings(slapd, base, **EVERYTHING)):
            yield made

    @pytest.fixture
    async def read_only(self, slapd: Slapd, base: str) -> AsyncIterator[LdapDirectory]:
        async for made in opened(settings(slapd, base)):
            yield made

    @pytest.fixture
    async def away(self, slapd: Slapd, base: str) -> AsyncIterator[LdapDirectory]:
        nobody = f"ldap://127.0.0.1:{free_port()}"
        async for made in opened(settings(slapd, base, url=nobody)):
            yield made

    @pytest.fixture
    def staff(self, base: str) -> Part:
        return Part("GROUP", f"CN=Staff, ou=UserGroups,{base}")

    @pytest.fixture
    def users(self, base: str) -> Part:
        return Part("OU", f"OU=users,{base}")


async def test_long_lists_come_in_pages(slapd: Slapd):
    people = "\n".join(
        f"dn: uid=p{number},ou=Users,{OPEN}\nobjectClass: pileusPerson\nuid: p{number}\ncn: p\nsn: p\n"
        for number in range(1200)
    )
    slapd.add(people, OPEN)
    async for directory in opened(settings(slapd, OPEN, page_size=100)):
        assert len(await directory.people()) == 1202


async def test_groups_in_groups_count_where_they_nest(slapd: Slapd, base: str):
    plain = "groupOfNames" if base == OPEN else "group"
    outer = f"dn: cn=all,ou=UserGroups,{base}\nobjectClass: {plain}\ncn: all\nmember: cn=staff,ou=UserGroups,{base}\n"
    slapd.add(outer, base)
    part = Part("GROUP", f"cn=all,ou=UserGroups,{base}")
    for nesting in (False, True):
        async for directory in opened(settings(slapd, base, group_ad_nesting=nesting)):
            alice = await directory.find(name="alice")
            assert alice is not None
            names = {"staff", "all"} if nesting else {"staff"}
            assert {group.name for group in await directory.groups_of(alice.dn)} == names
            members = {group.name: group.members for group in await directory.groups()}
            assert members["all"] == ({alice.id} if nesting else frozenset())
            assert [one.name for one in await directory.people(part)] == (["alice"] if nesting else [])
            assert await directory.parts_of(alice.dn, [part]) == ([part] if nesting else [])


async def test_a_group_may_say_who_is_enabled(slapd: Slapd):
    emulated = settings(slapd, OPEN, user_enabled_emulation=True, **EVERYTHING)
    async for directory in opened(emulated):
        alice = await directory.find(name="alice")
        assert alice is not None
        assert not alice.enabled
        assert (await directory.change_person(alice.dn, {"enabled": True})).enabled
        assert {one.name: one.enabled for one in await directory.people()} == {"alice": True, "bob": False}
        eve = await directory.add_person("eve", "apple", {})
        assert eve.enabled
        await directory.remove_person(eve.dn)
        assert not (await directory.change_person(alice.dn, {"enabled": False})).enabled


async def test_with_tls_the_server_must_be_known(slapd: Slapd):
    ca = str(slapd.home / "ca.pem")
    for more in ({"use_tls": True}, {"url": slapd.ldaps}):
        async for directory in opened(settings(slapd, OPEN, tls_cacertfile=ca, **more)):
            assert await directory.find(name="alice") is not None
            alice = await directory.find(name="alice")
            assert alice is not None
            assert await directory.verify(alice.dn, "wonderland")
        async for directory in opened(settings(slapd, OPEN, **more)):
            with pytest.raises(Unreachable):
                await directory.find(name="alice")
        async for directory in opened(settings(slapd, OPEN, tls_req_cert="never", **more)):
            assert await directory.find(name="alice") is not None


async def test_the_next_server_is_asked_where_one_is_away(slapd: Slapd):
    both = f"ldap://127.0.0.1:{free_port()}, {slapd.url}"
    async for directory in opened(settings(slapd, OPEN, url=both)):
        assert await directory.find(name="alice") is not None


async def test_a_wrong_administrator_is_told_without_the_password(slapd: Slapd):
    async for directory in opened(settings(slapd, OPEN, password="not-this-one")):
        with pytest.raises(Refused) as refused:
            await directory.check()
        assert "not-this-one" not in str(refused.value)
        assert slapd.url in str(refused.value)


async def test_in_active_directory_people_are_known_by_what_stays_when_they_are_renamed(slapd: Slapd):
    own = {"user_id_attribute": None, "group_id_attribute": None}
    async for directory in opened(settings(slapd, ACTIVE, **own)):
        alice = await directory.find(name="alice")
        assert alice is not None
        assert UUID(alice.id).bytes_le == b"pileus-alice-001"
        (staff,) = await directory.groups()
        assert (UUID(staff.id).bytes_le, staff.members) == (b"pileus-staff-001", {alice.id})
        assert await directory.groups(await directory.people()) == [staff]
        renamed = f"dn: {alice.dn}\nchangetype: modrdn\nnewrdn: cn=Alice Hargreaves\ndeleteoldrdn: 1\n"
        slapd.change(renamed, ACTIVE)
        again = await directory.find(name="alice")
        assert again is not None
        assert (again.id, "Hargreaves" in again.dn) == (alice.id, True)


@pytest.mark.parametrize("name", ["alice.liddell@ad.test", "ALICE.Liddell@AD.test"])
async def test_in_active_directory_people_have_a_principal_name_too(slapd: Slapd, name: str):
    async for directory in opened(settings(slapd, ACTIVE)):
        found = await directory.find(name=name)
        assert found is not None
        assert found.name == "alice"
        assert await directory.find(name="*@ad.test") is None
        change = "changetype: modify\nadd: userPrincipalName\nuserPrincipalName: alice.liddell@ad.test\n"
        slapd.change(f"dn: cn=Bob,ou=Users,{ACTIVE}\n{change}", ACTIVE)
        assert await directory.find(name=name) is None  # whoever that may be


@pytest.mark.parametrize(
    ("until", "enabled"),
    [("0", True), ("9223372036854775807", True), ("129000000000000000", False), ("900000000000000000", True)],
)
async def test_who_has_expired_there_is_not_enabled(slapd: Slapd, until: str, enabled: bool):
    change = f"changetype: modify\nadd: accountExpires\naccountExpires: {until}\n"
    slapd.change(f"dn: cn=Alice Liddell,ou=Users,{ACTIVE}\n{change}", ACTIVE)
    async for directory in opened(settings(slapd, ACTIVE)):
        found = await directory.find(name="alice")
        assert found is not None
        assert found.enabled is enabled


async def test_members_of_other_places_and_names_that_lead_nowhere_are_passed_over(slapd: Slapd, base: str):
    plain = "groupOfNames" if base == OPEN else "group"
    members = ("cn=far,dc=other,dc=test", f"cn=gone,ou=Users,{base}", f"cn=staff,ou=UserGroups,{base}")
    lines = "\n".join(f"member: {name}" for name in (*members, f"cn=loop,ou=UserGroups,{base}"))
    slapd.add(f"dn: cn=loop,ou=UserGroups,{base}\nobjectClass: {plain}\ncn: loop\n{lines}\n", base)
    async for directory in opened(settings(slapd, base, group_ad_nesting=True)):
        part = Part("GROUP", f"cn=loop,ou=UserGroups,{base}")
        assert [one.name for one in await directory.people(part)] == ["alice"]
        assert await directory.people(part, like="bo") == []
        assert {group.name for group in await directory.groups()} == {"staff", "loop"}


async def test_a_place_that_is_not_there_is_told_before_anybody_looks_for_people(slapd: Slapd, base: str):
    async for directory in opened(settings(slapd, base, user_tree_dn=f"ou=nowhere,{base}")):
        with pytest.raises(Refused, match="ou=nowhere"):
            await directory.check()


async def test_what_is_wrong_with_a_certificate_is_told(slapd: Slapd):
    ca = str(slapd.home / "ca.pem")
    other = slapd.ldaps.replace("127.0.0.1", "localhost")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"url": slapd.ldaps}, "certificate is not good"),
        ({"url": other, "tls_cacertfile": ca}, "certificate is not good: Hostname mismatch"),
        ({"url": slapd.ldaps, "tls_cacertfile": "/nowhere.pem"}, "cannot be read: /nowhere.pem"),
    ]
    for more, words in cases:
        async for directory in opened(settings(slapd, OPEN, **more)):
            with pytest.raises((Unreachable, Refused), match=words):
                await directory.check()


@contextmanager
def silent() -> Iterator[int]:
    """A port where connections are taken and nothing is ever said."""
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(64)
        yield int(deaf.getsockname()[1])


async def test_a_server_that_hangs_takes_no_thread_for_good_and_the_next_one_is_asked(slapd: Slapd):
    with silent() as port:
        both = f"ldaps://127.0.0.1:{port},{slapd.url}"
        more = {"url": both, "connection_timeout": 1, "pool_size": 2, "tls_req_cert": "never"}
        async for directory in opened(settings(slapd, OPEN, **more)):
            asked = [directory.find(name="alice") for _ in range(4)]
            hung = await asyncio.gather(*asked, return_exceptions=True)
            assert any(isinstance(each, Unreachable) for each in hung)
            assert await directory.find(name="alice") is not None


async def test_a_connection_that_died_unseen_is_replaced(slapd: Slapd):
    async for directory in opened(settings(slapd, OPEN)):
        assert await directory.find(name="alice") is not None
        (kept,) = directory._connections._idle
        with socket.socket(fileno=os.dup(kept.connection.fileno())) as beneath:
            beneath.shutdown(socket.SHUT_RDWR)
        assert await directory.find(name="alice") is not None


async def test_a_silent_server_is_given_up(slapd: Slapd):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(1)
        url = f"ldap://127.0.0.1:{deaf.getsockname()[1]}"
        began = time.monotonic()
        async for directory in opened(settings(slapd, OPEN, url=url, connection_timeout=1)):
            with pytest.raises(Unreachable):
                await directory.find(name="alice")
        assert time.monotonic() - began < 30
