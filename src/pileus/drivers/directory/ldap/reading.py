"""Who is in the directory and which groups hold whom: what the driver reads, on one connection."""

from collections.abc import Iterable, Iterator

import ldap
from ldap.ldapobject import LDAPObject

from pileus.drivers.directory.ldap.entries import (
    Attributes,
    Key,
    equals,
    first,
    group_of,
    is_dn,
    key_of,
    matching,
    person_of,
    user_attributes,
)
from pileus.drivers.directory.ldap.schemas import Layout
from pileus.drivers.directory.ldap.searching import Found, many, one, pages, search, values
from pileus.drivers.directory.protocol import Group, Part, Person

DEEPEST = 32
"""Groups in one another."""
MEMBERS = ("member", "uniqueMember")
"""In which groups of any kind name whom they hold."""
BATCH = 25
"""Names in one filter. Level by level this takes as many searches as groups are deep, on any server; Active Directory's
own rule for that (1.2.840.113556.1.4.1941) walks all groups of a domain."""


class Reader:
    """Everything here blocks; errors are libldap's."""

    def __init__(self, connection: LDAPObject, layout: Layout, page: int) -> None:
        self._connection, self._layout, self._page = connection, layout, page

    def find(self, name: str, dn: str) -> Person | None:
        layout = self._layout
        asked = user_attributes(layout)
        if dn:
            found = one(self._connection, dn, matching(layout.user_class, layout.user_filter), asked)
            return self._person(*found) if found else None
        condition = equals(layout.user_name, name)
        if layout.user_principal and "@" in name:
            condition = f"(|{condition}{equals(layout.user_principal, name)})"
        filter = matching(layout.user_class, layout.user_filter, condition)
        entries = self._search(layout.users, layout.scope, filter, asked)
        people = [person for entry in entries if (person := self._person(*entry))]
        return people[0] if len(people) == 1 else None

    def people(self, part: Part | None, like: str) -> list[Person]:
        layout = self._layout
        if part is not None and part.kind != "OU" and not layout.members_are_ids:
            return self._people_in(part, like)
        base, scope = layout.users, layout.scope
        if part is not None and part.kind == "OU":
            base, scope = part.name, ldap.SCOPE_SUBTREE
        conditions = [equals(layout.user_name, like).replace("=", "=*", 1)[:-1] + "*)"] if like else []
        filter = matching(layout.user_class, layout.user_filter, *conditions)
        enabled = self._enabled_names()
        found: dict[str, Person] = {}
        for entries in pages(self._connection, base, scope, filter, user_attributes(layout), page=self._page):
            for dn, attributes in entries:
                known = None if enabled is None else key_of(dn) in enabled
                person = person_of(layout, dn, attributes, known)
                if person is not None:
                    found.setdefault(person.id, person)
        if part is None or part.kind == "OU":
            return list(found.values())
        inside = self._inside(part)
        return [person for person in found.values() if person.id in inside]

    def groups(self, people: Iterable[Person] | None = None) -> list[Group]:
        layout = self._layout
        filter = matching(layout.group_class, layout.group_filter)
        asked = [layout.group_id, layout.group_name, layout.group_description, layout.group_member]
        entries = self._search(layout.groups, layout.scope, filter, [name for name in asked if name])
        held = {key_of(dn): self._members(dn, found) for dn, found in entries}
        known = {} if people is None else {key_of(person.dn): person.id for person in people}
        if people is None and entries and not layout.members_are_ids:
            known = self._ids()
        groups = []
        for dn, found in entries:
            group = group_of(layout, dn, found, self._ids_in(key_of(dn), held, known))
            if group is not None:
                groups.append(group)
        return groups

    def groups_of(self, dn: str) -> list[Group]:
        layout = self._layout
        asked = [layout.group_id, layout.group_name, layout.group_description]
        filter = matching(layout.group_class, layout.group_filter, "{}")
        holders = self._holders(dn, layout.groups, filter, asked, (layout.group_member,), layout.scope)
        return [group for entry in holders if (group := group_of(layout, *entry))]

    def parts_of(self, dn: str, parts: Iterable[Part]) -> list[Part]:
        layout, here = self._layout, key_of(dn)
        asked = [layout.group_name, "cn"]
        attributes = tuple(dict.fromkeys((layout.group_member, *MEMBERS)))
        holders = self._holders(dn, layout.everything, "{}", asked, attributes, ldap.SCOPE_SUBTREE)
        names = {first(found, name).lower() for _, found in holders for name in asked}
        keys = {key_of(holder) for holder, _ in holders} | self._member_of(dn)

        def holds(part: Part) -> bool:
            if part.kind == "NAME":
                return part.name.lower() in names
            if not is_dn(part.name):
                return False
            key = key_of(part.name)
            return here[-len(key) :] == key if part.kind == "OU" else key in keys

        return [part for part in parts if holds(part)]

    def _search(self, base: str, scope: int, filter: str, asked: list[str]) -> Found:
        return search(self._connection, base, scope, filter, asked, page=self._page)

    def _person(self, dn: str, found: Attributes) -> Person | None:
        enabled = self._enabled_names()
        return person_of(self._layout, dn, found, None if enabled is None else key_of(dn) in enabled)

    def _enabled_names(self) -> set[Key] | None:
        """Of those whom a group says to be enabled; None where an attribute says it."""
        layout = self._layout
        if not layout.enabled_group:
            return None
        found = one(self._connection, layout.enabled_group, "(objectClass=*)", [layout.enabled_member])
        names = values(self._connection, *found, layout.enabled_member) if found else []
        return {key_of(name) for name in names if is_dn(name)}

    def _members(self, dn: str, found: Attributes) -> list[str]:
        return values(self._connection, dn, found, self._layout.group_member)

    def _ids(self) -> dict[Key, str]:
        layout = self._layout
        filter = matching(layout.user_class, layout.user_filter)
        entries = self._search(layout.users, layout.scope, filter, [layout.user_id])
        return {key_of(dn): first(found, layout.user_id) for dn, found in entries}

    def _ids_in(self, group: Key, held: dict[Key, list[str]], known: dict[Key, str]) -> set[str]:
        if self._layout.members_are_ids:
            return set(held[group])
        found: set[str] = set()
        seen, left = {group}, [group]
        while left:
            for member in held[left.pop()]:
                key = key_of(member) if is_dn(member) else ()
                if key in known:
                    found.add(known[key])
                elif self._layout.nesting and key in held and key not in seen:
                    seen.add(key)
                    left.append(key)
        return found

    def _people_in(self, part: Part, like: str) -> list[Person]:
        """Only the members are read, however many people there are besides."""
        layout, found = self._layout, dict[str, Person]()
        filter, asked = matching(layout.user_class, layout.user_filter), user_attributes(layout)
        enabled = self._enabled_names()
        seen: set[Key] = set()
        left = self._tops(part)
        while left:
            names = {key_of(name): name for name in self._members_of(left) if is_dn(name)}
            new = {key: name for key, name in names.items() if key not in seen}
            seen |= new.keys()
            persons = {
                key_of(dn): (dn, read) for dn, read in many(self._connection, new.values(), filter, asked)
            }
            for key, (dn, read) in persons.items():
                known = None if enabled is None else key in enabled
                person = person_of(layout, dn, read, known) if self._among_users(key) else None
                if person is not None and like.lower() in person.name.lower():
                    found.setdefault(person.id, person)
            left = [name for key, name in new.items() if key not in persons] if layout.nesting else []
        return list(found.values())

    def _among_users(self, key: Key) -> bool:
        base = key_of(self._layout.users)
        below = len(key) - len(base)
        return key[below:] == base and (below == 1 or self._layout.scope == ldap.SCOPE_SUBTREE)

    def _tops(self, part: Part) -> list[str]:
        """The names of the groups that a part means."""
        if part.kind == "GROUP":
            return [part.name] if is_dn(part.name) else []
        named = f"(|{equals('cn', part.name)}{equals(self._layout.group_name, part.name)})"
        filter = f"(&{named}{self._some_group()})"
        return [dn for dn, _ in self._search(self._layout.everything, ldap.SCOPE_SUBTREE, filter, ["cn"])]

    def _inside(self, part: Part) -> set[str]:
        """The ids of those in a group, where groups hold ids."""
        return set(self._members_of(self._tops(part)))

    def _some_group(self) -> str:
        names = dict.fromkeys((self._layout.group_member, *MEMBERS))
        return f"(|(objectClass={self._layout.group_class}){''.join(f'({name}=*)' for name in names)})"

    def _members_of(self, groups: Iterable[str]) -> list[str]:
        asked = list(dict.fromkeys((self._layout.group_member, *MEMBERS)))
        found = many(self._connection, groups, "(objectClass=*)", asked)
        return [
            member
            for dn, read in found
            for name in asked
            for member in values(self._connection, dn, read, name)
        ]

    def _holders(
        self, dn: str, base: str, filter: str, asked: list[str], attributes: tuple[str, ...], scope: int
    ) -> Found:
        """The groups that hold the entry, and with nesting those that hold them. `{}` in the filter is the member."""
        found: dict[Key, tuple[str, Attributes]] = {}
        names = [self._id_at(dn)] if self._layout.members_are_ids else [dn]
        for _ in range(DEEPEST if self._layout.nesting else 1):
            further = []
            for some in batches(names):
                conditions = [equals(attribute, name) for name in some for attribute in attributes]
                condition = f"(|{''.join(conditions)})"
                for holder, values_ in self._search(base, scope, filter.replace("{}", condition), asked):
                    if key_of(holder) not in found:
                        found[key_of(holder)] = (holder, values_)
                        further.append(holder)
            names = further
            if not names or self._layout.members_are_ids:
                break
        return list(found.values())

    def _id_at(self, dn: str) -> str:
        found = one(self._connection, dn, "(objectClass=*)", [self._layout.user_id])
        return first(found[1], self._layout.user_id) if found else ""

    def _member_of(self, dn: str) -> set[Key]:
        found = one(self._connection, dn, "(objectClass=*)", ["memberOf"])
        names = values(self._connection, *found, "memberOf") if found else []
        return {key_of(name) for name in names if is_dn(name)}


def batches(names: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(names), BATCH):
        yield names[start : start + BATCH]
