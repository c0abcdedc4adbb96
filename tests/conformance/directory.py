"""What every directory must do. The fake runs it always; the real one with slapd, in both schemas.

It begins with: alice (password wonderland, in the group staff), bob (disabled, password builder), the group staff in a
part GROUP, and the tree of users as a part OU.
"""

import pytest

from pileus.drivers.directory.protocol import Directory, Part, ReadOnly, Taken
from pileus.drivers.errors import Missing, Unreachable

HOSTILE = ("*", "a*", "alice)(|(cn=*", "*)(objectClass=*", "\\2a", "alice,ou=Users", "\0", "")
STRANGE = (
    "o'brien",
    "Jürgen Groß",
    "a, b=c + d",
    '"quoted"',
    "(round) *star*",
    "back\\slash",
    "#hash",
    "日本",
)


class DirectoryConformance:
    @pytest.fixture
    async def directory(self) -> Directory:
        """It may change everything."""
        raise NotImplementedError

    @pytest.fixture
    async def read_only(self) -> Directory:
        """The same, which may change nothing."""
        raise NotImplementedError

    @pytest.fixture
    async def away(self) -> Directory:
        """One whose server does not answer."""
        raise NotImplementedError

    @pytest.fixture
    def staff(self) -> Part:
        raise NotImplementedError

    @pytest.fixture
    def users(self) -> Part:
        raise NotImplementedError

    async def test_it_answers(self, directory: Directory):
        await directory.check()

    async def test_people_are_found_by_their_name_in_any_case(self, directory: Directory):
        for name in ("alice", "ALICE"):
            found = await directory.find(name=name)
            assert found is not None
            assert (found.name, found.email, found.enabled) == ("alice", "alice@example.org", True)
            assert await directory.find(dn=found.dn) == found
        assert await directory.find(name="nobody") is None

    async def test_who_is_disabled_there_is_shown_so(self, directory: Directory):
        found = await directory.find(name="bob")
        assert found is not None
        assert not found.enabled
        assert {one.name: one.enabled for one in await directory.people()} == {"alice": True, "bob": False}

    @pytest.mark.parametrize("name", HOSTILE)
    async def test_what_is_typed_is_never_a_filter(self, directory: Directory, name: str):
        assert await directory.find(name=name) is None
        assert await directory.find(dn=name) is None

    async def test_lists_can_be_narrowed_by_part_of_a_name(self, directory: Directory):
        assert [one.name for one in await directory.people(like="lic")] == ["alice"]
        assert await directory.people(like="*") == []
        assert await directory.people(like="a)(cn=*") == []

    async def test_only_the_right_password_proves_anything(self, directory: Directory):
        found = await directory.find(name="alice")
        assert found is not None
        assert await directory.verify(found.dn, "wonderland")
        assert not await directory.verify(found.dn, "wrong")
        assert not await directory.verify("cn=nobody,dc=nowhere", "wonderland")
        assert not await directory.verify("no name at all", "wonderland")

    async def test_an_empty_password_proves_nothing(self, directory: Directory):
        found = await directory.find(name="alice")
        assert found is not None
        assert not await directory.verify(found.dn, "")
        assert not await directory.verify("", "wonderland")

    async def test_groups_tell_whom_they_hold(self, directory: Directory):
        found = await directory.find(name="alice")
        assert found is not None
        (group,) = await directory.groups()
        assert (group.name, group.members) == ("staff", {found.id})
        assert [held.id for held in await directory.groups_of(found.dn)] == [group.id]
        assert await directory.groups_of("no name") == []

    async def test_parts_of_the_directory_have_their_people(
        self, directory: Directory, staff: Part, users: Part
    ):
        found = await directory.find(name="alice")
        bob = await directory.find(name="bob")
        assert found is not None
        assert bob is not None
        assert [one.name for one in await directory.people(staff)] == ["alice"]
        assert [one.name for one in await directory.people(Part("NAME", "staff"))] == ["alice"]
        assert {one.name for one in await directory.people(users)} == {"alice", "bob"}
        nowhere = [Part("GROUP", "cn=x,dc=nowhere"), Part("OU", "not a name"), Part("NAME", "*")]
        for part in nowhere:
            assert await directory.people(part) == []
        assert await directory.parts_of(found.dn, [staff, users, *nowhere]) == [staff, users]
        assert await directory.parts_of(bob.dn, [staff, users]) == [users]

    async def test_nothing_is_changed_where_that_is_not_allowed(self, read_only: Directory):
        found = await read_only.find(name="alice")
        (group,) = await read_only.groups()
        assert found is not None
        for change in (
            read_only.add_person("eve", "secret", {}),
            read_only.change_person(found.dn, {"email": "x@example.org"}),
            read_only.set_password(found.dn, "new"),
            read_only.set_password(found.dn, "new", "wonderland"),
            read_only.remove_person(found.dn),
            read_only.add_group("crew", ""),
            read_only.change_group(group.dn, {"description": "x"}),
            read_only.remove_group(group.dn),
            read_only.join(group.dn, found.dn),
            read_only.leave(group.dn, found.dn),
        ):
            with pytest.raises(ReadOnly):
                await change
        assert await read_only.find(name="alice") == found

    async def test_a_person_comes_changes_and_goes(self, directory: Directory):
        fields = {
            "email": "eve@example.org",
            "first_name": "Eve",
            "last_name": "Moneypenny",
            "description": "spy",
        }
        made = await directory.add_person("eve", "apple", fields)
        assert (made.name, made.email, made.first_name, made.enabled) == (
            "eve",
            "eve@example.org",
            "Eve",
            True,
        )
        with pytest.raises(Taken):
            await directory.add_person("eve", "apple", {})
        assert await directory.verify(made.dn, "apple")
        changed = await directory.change_person(made.dn, {"enabled": False, "email": "e@example.org"})
        assert (changed.enabled, changed.email) == (False, "e@example.org")
        again = await directory.change_person(made.dn, {"enabled": True, "description": ""})
        assert (again.enabled, again.description, again.id) == (True, "", made.id)
        await directory.set_password(made.dn, "pear")
        assert not await directory.verify(made.dn, "apple")
        await directory.set_password(made.dn, "plum", "pear")
        assert await directory.verify(made.dn, "plum")
        for _ in range(2):
            await directory.remove_person(made.dn)
        assert await directory.find(name="eve") is None
        with pytest.raises(Missing):
            await directory.change_person(made.dn, {"email": "x@example.org"})

    async def test_who_is_made_disabled_is(self, directory: Directory):
        made = await directory.add_person("eve", "", {"enabled": False})
        assert not made.enabled
        assert not await directory.verify(made.dn, "")

    @pytest.mark.parametrize("name", STRANGE)
    async def test_any_name_is_kept_as_it_is(self, directory: Directory, name: str):
        made = await directory.add_person(name, "secret", {})
        assert made.name == name
        assert await directory.find(name=name) == made
        group = await directory.add_group(name, "")
        await directory.join(group.dn, made.dn)
        assert [held.name for held in await directory.groups_of(made.dn)] == [name]
        assert await directory.verify(made.dn, "secret")
        assert [one.name for one in await directory.people(Part("GROUP", group.dn))] == [name]

    async def test_a_group_comes_fills_and_goes(self, directory: Directory):
        found = await directory.find(name="alice")
        assert found is not None
        made = await directory.add_group("crew", "on deck")
        assert (made.name, made.description, made.members) == ("crew", "on deck", frozenset())
        with pytest.raises(Taken):
            await directory.add_group("crew", "")
        for _ in range(2):
            await directory.join(made.dn, found.dn)
        held = {group.name: group.members for group in await directory.groups()}
        assert held == {"staff": {found.id}, "crew": {found.id}}
        for _ in range(2):
            await directory.leave(made.dn, found.dn)
        assert [group.name for group in await directory.groups_of(found.dn)] == ["staff"]
        changed = await directory.change_group(made.dn, {"description": "below"})
        assert (changed.id, changed.description) == (made.id, "below")
        for _ in range(2):
            await directory.remove_group(made.dn)
        with pytest.raises(Missing):
            await directory.join(made.dn, found.dn)

    async def test_who_goes_leaves_all_groups(self, directory: Directory):
        found = await directory.find(name="alice")
        assert found is not None
        await directory.remove_person(found.dn)
        (group,) = await directory.groups()
        assert group.members == frozenset()

    async def test_a_server_that_is_away_is_told_from_a_wrong_password(self, away: Directory):
        for call in (
            away.check(),
            away.find(name="alice"),
            away.people(),
            away.groups(),
            away.verify("cn=alice,dc=example,dc=org", "wonderland"),
        ):
            with pytest.raises(Unreachable):
                await call
