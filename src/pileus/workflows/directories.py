"""Gives the core its directories: drivers below, with their settings checked and their refusals in the core's words."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, get_args, get_origin

import msgspec

from pileus.core.cloud import Cloud
from pileus.core.errors import Exists, Forbidden, Invalid, NotFound, Unavailable
from pileus.core.identity.directories import directory
from pileus.core.identity.directories.directory import Options
from pileus.core.identity.directories.directory_writes import READ_ONLY
from pileus.drivers.directory.protocol import (
    WITHOUT_EFFECT,
    Directory,
    Group,
    Part,
    Person,
    ReadOnly,
    Settings,
    Taken,
)
from pileus.drivers.errors import Missing, Refused, Unreachable

AWAY = "The directory that holds the users of this domain does not answer; try again later."
BROKEN = (
    "The directory that holds the users of this domain does not work; its administrator must look into it."
)

Open = Callable[[Settings], Directory]


def install(cloud: Cloud, opened: Open) -> None:
    """From now on the cloud's domains may be in directories."""
    directory.of(cloud).opener = lambda options: Reached(opened(settings(options)))


def settings(options: Options) -> Settings:
    """Raises Invalid for an option that is unknown or malformed."""
    given = {
        name: plain(name, value)
        for name, value in options.items()
        if value is not None and name not in WITHOUT_EFFECT
    }
    try:
        return msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(f"The LDAP configuration of this domain is wrong: {error}.") from error


KINDS = {field.name: field.type for field in msgspec.structs.fields(Settings)}


def plain(name: str, value: Any) -> Any:
    """Texts and lists may also come as in Keystone's configuration files and its API: 512, true, `one,two`."""
    kind = KINDS.get(name)
    if get_origin(kind) is tuple and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if (kind is str or str in get_args(kind)) and isinstance(value, int):
        return str(value)
    return value


@contextmanager
def reading() -> Iterator[None]:
    """Whoever logs in or lists can do nothing about a directory that refuses."""
    try:
        yield
    except Unreachable as error:
        raise Unavailable(AWAY, private=str(error)) from error
    except Refused as error:
        raise Unavailable(BROKEN, private=str(error)) from error
    except Missing as error:
        raise NotFound("Entry", "of the directory", private=str(error)) from error


@contextmanager
def writing(name: str = "") -> Iterator[None]:
    try:
        yield
    except Unreachable as error:
        raise Unavailable(AWAY, private=str(error)) from error
    except ReadOnly as error:
        raise Forbidden(READ_ONLY) from error
    except Taken as error:
        raise Exists(f"The directory has {name or 'such an entry'} already; choose another name.") from error
    except Missing as error:
        raise NotFound("Entry", "of the directory", private=str(error)) from error
    except Refused as error:
        raise Invalid(f"The directory does not take this: {error}") from error


class Reached:
    """A driver, as the core sees it."""

    def __init__(self, driver: Directory) -> None:
        self._driver = driver

    async def check(self) -> None:
        try:
            await self._driver.check()
        except (Unreachable, Refused, Missing) as error:
            raise Invalid(f"Unable to bind to the given LDAP server: {error}") from error

    async def find(self, *, name: str = "", dn: str = "") -> Person | None:
        with reading():
            return await self._driver.find(name=name, dn=dn)

    async def people(self, part: directory.Part | None = None, like: str = "") -> list[directory.Entry]:
        with reading():
            return list(await self._driver.people(part_of(part) if part else None, like))

    async def groups(self, people: list[directory.Entry] | None = None) -> list[directory.Team]:
        with reading():
            known = None if people is None else [each for each in people if isinstance(each, Person)]
            return list(await self._driver.groups(known))

    async def groups_of(self, dn: str) -> list[directory.Team]:
        with reading():
            return list(await self._driver.groups_of(dn))

    async def parts_of(self, dn: str, parts: list[directory.Part]) -> list[directory.Part]:
        with reading():
            found = await self._driver.parts_of(dn, [part_of(part) for part in parts])
        return [(part.kind, part.name) for part in found]

    async def verify(self, dn: str, password: str) -> bool:
        with reading():
            return await self._driver.verify(dn, password)

    async def add_person(self, name: str, password: str, fields: Mapping[str, object]) -> Person:
        with writing(name):
            return await self._driver.add_person(name, password, fields)

    async def change_person(self, dn: str, fields: Mapping[str, object]) -> Person:
        with writing(str(fields.get("name", ""))):
            return await self._driver.change_person(dn, fields)

    async def set_password(self, dn: str, password: str, old: str = "") -> None:
        with writing():
            await self._driver.set_password(dn, password, old)

    async def remove_person(self, dn: str) -> None:
        with writing():
            await self._driver.remove_person(dn)

    async def add_group(self, name: str, description: str) -> Group:
        with writing(name):
            return await self._driver.add_group(name, description)

    async def change_group(self, dn: str, fields: Mapping[str, object]) -> Group:
        with writing(str(fields.get("name", ""))):
            return await self._driver.change_group(dn, fields)

    async def remove_group(self, dn: str) -> None:
        with writing():
            await self._driver.remove_group(dn)

    async def join(self, group: str, person: str) -> None:
        with writing():
            await self._driver.join(group, person)

    async def leave(self, group: str, person: str) -> None:
        with writing():
            await self._driver.leave(group, person)

    async def close(self) -> None:
        await self._driver.close()


def part_of(part: directory.Part) -> Part:
    return msgspec.convert({"kind": part[0], "name": part[1]}, Part)
