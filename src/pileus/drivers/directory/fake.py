"""A directory in memory: it passes the same tests as the real one, and its tables can be changed behind its back."""

from collections.abc import Collection, Mapping
from typing import Any

from msgspec.structs import replace

from pileus.drivers.directory.protocol import Group, Part, Person, ReadOnly, Settings, Taken
from pileus.drivers.errors import Missing, Unreachable

SUFFIX = "dc=example,dc=org"


class FakeDirectory:
    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings(suffix=SUFFIX)
        self.persons: dict[str, Person] = {}
        """By folded distinguished name, as are the others."""
        self.teams: dict[str, Group] = {}
        self.passwords: dict[str, str] = {}
        self.away = False
        self.calls: list[str] = []

    def put(self, name: str, password: str = "", *, unit: str = "ou=Users", **fields: Any) -> Person:
        """An entry that was always there."""
        person = Person(id=name, dn=f"cn={name},{unit},{self._suffix}", name=name, **fields)
        self.persons[person.dn.lower()] = person
        self.passwords[person.dn.lower()] = password
        return person

    def put_group(self, name: str, *members: Person) -> Group:
        group = Group(id=name, dn=f"cn={name},ou=UserGroups,{self._suffix}", name=name)
        self.teams[group.dn.lower()] = replace(group, members=frozenset(one.id for one in members))
        return self.teams[group.dn.lower()]

    @property
    def _suffix(self) -> str:
        return self.settings.suffix or SUFFIX

    def _heard(self, call: str) -> None:
        self.calls.append(call)
        if self.away:
            raise Unreachable(f"LDAP server {self.settings.url} does not answer")

    def _allowed(self, option: str) -> None:
        self._heard(option)
        if not getattr(self.settings, f"{option}"):
            raise ReadOnly(f"{option} is off")

    def _person(self, dn: str) -> Person:
        found = self.persons.get(dn.lower())
        if found is None:
            raise Missing(f"no entry {dn}")
        return found

    def _group(self, dn: str) -> Group:
        found = self.teams.get(dn.lower())
        if found is None:
            raise Missing(f"no entry {dn}")
        return found

    async def check(self) -> None:
        self._heard("check")

    async def find(self, *, name: str = "", dn: str = "") -> Person | None:
        self._heard("find")
        if dn:
            return self.persons.get(dn.lower())
        return next((one for one in self.persons.values() if one.name.lower() == name.lower()), None)

    async def people(self, part: Part | None = None, like: str = "") -> list[Person]:
        self._heard("people")
        return [
            one
            for one in self.persons.values()
            if like.lower() in one.name.lower() and (part is None or self._within(one, part))
        ]

    def _within(self, person: Person, part: Part) -> bool:
        if part.kind == "OU":
            return person.dn.lower().endswith("," + part.name.lower())
        for group in self.teams.values():
            named = group.dn if part.kind == "GROUP" else group.name
            if named.lower() == part.name.lower():
                return person.id in group.members
        return False

    async def groups(self, people: Collection[Person] | None = None) -> list[Group]:
        self._heard("groups")
        return list(self.teams.values())

    async def groups_of(self, dn: str) -> list[Group]:
        self._heard("groups_of")
        person = self.persons.get(dn.lower())
        return [
            replace(group, members=frozenset())
            for group in self.teams.values()
            if person is not None and person.id in group.members
        ]

    async def parts_of(self, dn: str, parts: list[Part]) -> list[Part]:
        self._heard("parts_of")
        person = self.persons.get(dn.lower())
        return [part for part in parts if person is not None and self._within(person, part)]

    async def verify(self, dn: str, password: str) -> bool:
        self._heard("verify")
        return bool(password) and self.passwords.get(dn.lower()) == password

    async def add_person(self, name: str, password: str, fields: Mapping[str, object]) -> Person:
        self._allowed("user_allow_create")
        if f"cn={name},ou=Users,{self._suffix}".lower() in self.persons:
            raise Taken(f"a user named {name} exists")
        made = replace(self.put(name, password), **fields)
        self.persons[made.dn.lower()] = made
        return made

    async def change_person(self, dn: str, fields: Mapping[str, object]) -> Person:
        self._allowed("user_allow_update")
        held = self._person(dn)
        changed = replace(held, **fields)
        if changed.name != held.name:
            changed = replace(changed, dn=f"cn={changed.name},{held.dn.partition(',')[2]}")
            if changed.dn.lower() in self.persons:
                raise Taken(f"a user named {changed.name} exists")
        self.passwords[changed.dn.lower()] = self.passwords.pop(dn.lower())
        del self.persons[dn.lower()]
        self.persons[changed.dn.lower()] = changed
        return changed

    async def set_password(self, dn: str, password: str, old: str = "") -> None:
        self._allowed("user_allow_update")
        self._person(dn)
        self.passwords[dn.lower()] = password

    async def remove_person(self, dn: str) -> None:
        self._allowed("user_allow_delete")
        gone = self.persons.pop(dn.lower(), None)
        self.passwords.pop(dn.lower(), None)
        for key, group in self.teams.items():
            self.teams[key] = replace(group, members=group.members - {gone.id if gone else ""})

    async def add_group(self, name: str, description: str) -> Group:
        self._allowed("group_allow_create")
        if any(group.name == name for group in self.teams.values()):
            raise Taken(f"a group named {name} exists")
        made = replace(self.put_group(name), description=description)
        self.teams[made.dn.lower()] = made
        return made

    async def change_group(self, dn: str, fields: Mapping[str, object]) -> Group:
        self._allowed("group_allow_update")
        changed = replace(self._group(dn), **fields)
        del self.teams[dn.lower()]
        changed = replace(changed, dn=f"cn={changed.name},{changed.dn.partition(',')[2]}")
        self.teams[changed.dn.lower()] = changed
        return changed

    async def remove_group(self, dn: str) -> None:
        self._allowed("group_allow_delete")
        self.teams.pop(dn.lower(), None)

    async def join(self, group: str, person: str) -> None:
        self._allowed("group_allow_update")
        held = self._group(group)
        self.teams[group.lower()] = replace(held, members=held.members | {self._person(person).id})

    async def leave(self, group: str, person: str) -> None:
        self._allowed("group_allow_update")
        held, gone = self._group(group), self.persons.get(person.lower())
        self.teams[group.lower()] = replace(held, members=held.members - {gone.id if gone else ""})

    async def close(self) -> None:
        self.calls.append("close")
