"""A directory behind LDAP: reading, and writing where the settings allow it."""

from collections.abc import Collection, Mapping
from typing import Never

import ldap
import ldap.dn
from ldap.ldapobject import LDAPObject

from pileus.drivers.directory.ldap import entries
from pileus.drivers.directory.ldap.connection import Connections
from pileus.drivers.directory.ldap.reading import Reader
from pileus.drivers.directory.ldap.schemas import layout_of
from pileus.drivers.directory.ldap.searching import one, search, values
from pileus.drivers.directory.protocol import Group, Part, Person, ReadOnly, Settings
from pileus.drivers.errors import Missing, Refused

WHOLE = 900.0
"""Seconds that reading all of a directory may take; each answer of it has the limit of any other."""
NOBODY = "cn=dumb,dc=nonexistent"
"""Stands in groups of a class that must not be empty, under the name that Keystone uses."""
NEVER_EMPTY = frozenset({"groupofnames", "groupofuniquenames"})


class LdapDirectory:
    def __init__(self, settings: Settings) -> None:
        self._settings, self._layout = settings, layout_of(settings)
        self._connections = Connections(settings)

    async def check(self) -> None:
        def work(connection: LDAPObject) -> None:
            base = self._layout.users
            if base and one(connection, base, "(objectClass=*)", ["objectClass"]) is None:
                raise Refused(f"it shows no {base}, where people are to be: set user_tree_dn or suffix")

        await self._connections.run(work, write=True)

    async def find(self, *, name: str = "", dn: str = "") -> Person | None:
        if not name and not entries.is_dn(dn):
            return None
        return await self._connections.run(lambda connection: self._reader(connection).find(name, dn))

    async def people(self, part: Part | None = None, like: str = "") -> list[Person]:
        return await self._connections.run(
            lambda connection: self._reader(connection).people(part, like), seconds=WHOLE
        )

    async def groups(self, people: Collection[Person] | None = None) -> list[Group]:
        return await self._connections.run(
            lambda connection: self._reader(connection).groups(people), seconds=WHOLE
        )

    async def groups_of(self, dn: str) -> list[Group]:
        if not entries.is_dn(dn):
            return []
        return await self._connections.run(lambda connection: self._reader(connection).groups_of(dn))

    async def parts_of(self, dn: str, parts: list[Part]) -> list[Part]:
        if not entries.is_dn(dn) or not parts:
            return []
        return await self._connections.run(lambda connection: self._reader(connection).parts_of(dn, parts))

    async def verify(self, dn: str, password: str) -> bool:
        return await self._connections.bind(dn, password)

    async def add_person(self, name: str, password: str, fields: Mapping[str, object]) -> Person:
        self._require("user_allow_create")
        dn, attributes = entries.new_person(self._layout, name, fields)

        def work(connection: LDAPObject) -> Person:
            connection.add_s(dn, list(attributes.items()))
            if password:
                try:
                    self._put_password(connection, dn, password, "")
                except ldap.LDAPError:  # nobody is left half made, without a password
                    removed(connection, dn)
                    raise
            if fields.get("enabled", True):
                self._enable(connection, dn, True)
                if password and self._layout.active_directory_password:
                    self._let_in(connection, dn)
            return self._required(connection, dn)

        return await self._connections.run(work, write=True)

    async def change_person(self, dn: str, fields: Mapping[str, object]) -> Person:
        self._require("user_allow_update")
        layout = self._layout
        wanted = entries.person_values(layout, fields)

        def work(connection: LDAPObject) -> Person:
            held = one(connection, dn, "(objectClass=*)", entries.user_attributes(layout))
            if held is None:
                raise Missing(f"no entry {dn}")
            at, found = held
            if "enabled" in fields:
                if layout.enabled_group:
                    self._enable(connection, at, bool(fields["enabled"]))
                elif layout.user_enabled:
                    before = entries.first(found, layout.user_enabled)
                    wanted[layout.user_enabled] = entries.enabled_value(
                        layout, bool(fields["enabled"]), before
                    )
            name = wanted.get(layout.user_name)
            if name and entries.first(found, layout.user_name) != name:
                at = moved(connection, at, layout.user_name, name)
            naming = naming_attribute(at)
            changes = {name: value for name, value in wanted.items() if name.lower() != naming}
            if changes:
                connection.modify_s(at, entries.modifications(changes))
            return self._required(connection, at)

        return await self._connections.run(work, write=True)

    async def set_password(self, dn: str, password: str, old: str = "") -> None:
        self._require("user_allow_update")

        def work(connection: LDAPObject) -> None:
            self._put_password(connection, dn, password, old)

        if old:
            await self._connections.bound(dn, old, work)
        else:
            await self._connections.run(work, write=True)

    async def remove_person(self, dn: str) -> None:
        self._require("user_allow_delete")
        layout = self._layout

        def work(connection: LDAPObject) -> None:
            member = self._member(connection, dn)
            filter = entries.matching(
                layout.group_class, layout.group_filter, entries.equals(layout.group_member, member)
            )
            for group, _ in search(connection, layout.groups, layout.scope, filter, ["cn"]) if member else []:
                self._leave(connection, group, member)
            if layout.enabled_group:
                self._enable(connection, dn, False)
            removed(connection, dn)

        await self._connections.run(work, write=True)

    async def add_group(self, name: str, description: str) -> Group:
        self._require("group_allow_create")
        nobody = NOBODY if self._layout.group_class.lower() in NEVER_EMPTY else ""
        dn, attributes = entries.new_group(self._layout, name, description, nobody)

        def work(connection: LDAPObject) -> Group:
            connection.add_s(dn, list(attributes.items()))
            return self._group(connection, dn)

        return await self._connections.run(work, write=True)

    async def change_group(self, dn: str, fields: Mapping[str, object]) -> Group:
        self._require("group_allow_update")
        layout = self._layout
        places = {"name": layout.group_name, "description": layout.group_description}
        wanted = {places[name]: str(value) for name, value in fields.items() if places.get(name)}

        def work(connection: LDAPObject) -> Group:
            at = self._group(connection, dn).dn
            name = wanted.get(layout.group_name)
            if name and self._group(connection, at).name != name:
                at = moved(connection, at, layout.group_name, name)
            naming = naming_attribute(at)
            changes = {name: value for name, value in wanted.items() if name.lower() != naming}
            if changes:
                connection.modify_s(at, entries.modifications(changes))
            return self._group(connection, at)

        return await self._connections.run(work, write=True)

    async def remove_group(self, dn: str) -> None:
        self._require("group_allow_delete")
        await self._connections.run(lambda connection: removed(connection, dn), write=True)

    async def join(self, group: str, person: str) -> None:
        self._require("group_allow_update")

        def work(connection: LDAPObject) -> None:
            self._join(connection, group, self._member(connection, person) or missing(person))

        await self._connections.run(work, write=True)

    async def leave(self, group: str, person: str) -> None:
        self._require("group_allow_update")

        def work(connection: LDAPObject) -> None:
            self._leave(connection, group, self._member(connection, person))

        await self._connections.run(work, write=True)

    async def close(self) -> None:
        await self._connections.close()

    def _reader(self, connection: LDAPObject) -> Reader:
        return Reader(connection, self._layout, self._settings.page_size)

    def _require(self, option: str) -> None:
        if not getattr(self._settings, option):
            raise ReadOnly(f"{option} is off for LDAP server {self._settings.url}")

    def _required(self, connection: LDAPObject, dn: str) -> Person:
        return self._reader(connection).find("", dn) or missing(dn)

    def _group(self, connection: LDAPObject, dn: str) -> Group:
        layout = self._layout
        asked = [layout.group_id, layout.group_name, layout.group_description]
        found = one(connection, dn, "(objectClass=*)", [name for name in asked if name])
        return (entries.group_of(layout, *found) if found else None) or missing(dn)

    def _put_password(self, connection: LDAPObject, dn: str, password: str, old: str) -> None:
        layout = self._layout
        if not layout.active_directory_password:
            connection.passwd_s(dn, old or None, password)
            return
        new = entries.active_directory_password(password)
        if not old:
            connection.modify_s(dn, [(ldap.MOD_REPLACE, layout.user_pass, [new])])
            return
        before = entries.active_directory_password(old)
        connection.modify_s(
            dn, [(ldap.MOD_DELETE, layout.user_pass, [before]), (ldap.MOD_ADD, layout.user_pass, [new])]
        )

    def _let_in(self, connection: LDAPObject, dn: str) -> None:
        """Active Directory makes people disabled, and enables nobody without a password."""
        wanted = {self._layout.user_enabled: entries.enabled_value(self._layout, True)}
        connection.modify_s(dn, entries.modifications(wanted))

    def _enable(self, connection: LDAPObject, dn: str, enabled: bool) -> None:
        """Where a group says who is."""
        layout = self._layout
        if not layout.enabled_group:
            return
        if not enabled:
            self._leave(connection, layout.enabled_group, dn, layout.enabled_member)
            return
        try:
            self._join(connection, layout.enabled_group, dn, layout.enabled_member)
        except ldap.NO_SUCH_OBJECT:
            made = {"objectClass": [layout.group_class.encode()], layout.enabled_member: [dn.encode()]}
            connection.add_s(layout.enabled_group, list(made.items()))

    def _member(self, connection: LDAPObject, dn: str) -> str:
        """As groups name the person; empty: there is none."""
        found = one(connection, dn, "(objectClass=*)", [self._layout.user_id]) if entries.is_dn(dn) else None
        if found is None:
            return ""
        return entries.first(found[1], self._layout.user_id) if self._layout.members_are_ids else found[0]

    def _join(self, connection: LDAPObject, group: str, member: str, attribute: str = "") -> None:
        attribute = attribute or self._layout.group_member
        try:
            connection.modify_s(group, [(ldap.MOD_ADD, attribute, [member.encode()])])
        except (ldap.TYPE_OR_VALUE_EXISTS, ldap.ALREADY_EXISTS):  # Active Directory says the latter
            return

    def _leave(self, connection: LDAPObject, group: str, member: str, attribute: str = "") -> None:
        attribute = attribute or self._layout.group_member
        found = one(connection, group, "(objectClass=*)", [attribute])
        if found is None:
            missing(group)
        held = values(connection, *found, attribute)
        same = entries.key_of(member) if entries.is_dn(member) else None
        gone = [
            each
            for each in held
            if each == member or (same and entries.is_dn(each) and entries.key_of(each) == same)
        ]
        if not gone:
            return
        changes: list[entries.Modification] = [(ldap.MOD_DELETE, attribute, entries.coded(gone))]
        if len(gone) == len(held) and self._layout.group_class.lower() in NEVER_EMPTY:
            changes.insert(0, (ldap.MOD_ADD, attribute, [NOBODY.encode()]))
        connection.modify_s(group, changes)


def missing(dn: str) -> Never:
    raise Missing(f"no entry {dn}")


def naming_attribute(dn: str) -> str:
    return dn.partition("=")[0].strip().lower()


def moved(connection: LDAPObject, dn: str, attribute: str, name: str) -> str:
    """An entry that is named by the attribute gets a new name; others stay where they are."""
    if naming_attribute(dn) != attribute.lower():
        return dn
    first, parent = f"{attribute}={ldap.dn.escape_dn_chars(name)}", ldap.dn.str2dn(dn)[1:]
    connection.rename_s(dn, first)
    return f"{first},{ldap.dn.dn2str(parent)}"


def removed(connection: LDAPObject, dn: str) -> None:
    try:
        connection.delete_s(dn)
    except ldap.NO_SUCH_OBJECT:
        return
