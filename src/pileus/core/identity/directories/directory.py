"""What the core asks of a directory of people (LDAP), and the directories that this process has open.

The application gives the way to open one; the core knows no driver. All of these may raise Unavailable: the directory
did not answer in time, or does not work as it is configured.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID, uuid5

import msgspec

from pileus.core.cloud import Cloud
from pileus.core.errors import Invalid, Unavailable
from pileus.core.identity.percloud import per_cloud
from pileus.core.identity.tenancy.tenancy_records import DirectoryLink

Options = Mapping[str, Any]
"""By Keystone's names of the options of its LDAP back end."""
Part = tuple[str, str]
"""A part of a directory: GROUP or OU and a distinguished name, or NAME and the name of a group."""


class Entry(Protocol):
    """A person there. `id` stays when the entry is renamed."""

    @property
    def id(self) -> str: ...
    @property
    def dn(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def email(self) -> str: ...
    @property
    def first_name(self) -> str: ...
    @property
    def last_name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def default_project(self) -> str: ...
    @property
    def enabled(self) -> bool: ...
    @property
    def extra(self) -> Mapping[str, str]: ...


class Team(Protocol):
    """A group there; `members` are ids of persons."""

    @property
    def id(self) -> str: ...
    @property
    def dn(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def members(self) -> frozenset[str]: ...


class Directory(Protocol):
    """Writing raises Forbidden where the configuration does not allow it, Exists, NotFound, and Invalid for what the
    directory refuses."""

    async def check(self) -> None:
        """That it answers and takes the configured user. Raises Invalid with the reason."""

    async def find(self, *, name: str = "", dn: str = "") -> Entry | None: ...
    async def people(self, part: Part | None = None, like: str = "") -> list[Entry]: ...
    async def groups(self, people: list[Entry] | None = None) -> list[Team]:
        """`people`: all, as just read; without them they are read again."""

    async def groups_of(self, dn: str) -> list[Team]: ...
    async def parts_of(self, dn: str, parts: list[Part]) -> list[Part]: ...
    async def verify(self, dn: str, password: str) -> bool: ...
    async def add_person(self, name: str, password: str, fields: Mapping[str, object]) -> Entry: ...
    async def change_person(self, dn: str, fields: Mapping[str, object]) -> Entry: ...
    async def set_password(self, dn: str, password: str, old: str = "") -> None: ...
    async def remove_person(self, dn: str) -> None: ...
    async def add_group(self, name: str, description: str) -> Team: ...
    async def change_group(self, dn: str, fields: Mapping[str, object]) -> Team: ...
    async def remove_group(self, dn: str) -> None: ...
    async def join(self, group: str, person: str) -> None: ...
    async def leave(self, group: str, person: str) -> None: ...
    async def close(self) -> None: ...


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """That users of a domain are kept in a directory.

    `whole`: all of them, as Keystone has it, and groups too. Otherwise those who were imported or come by a link, as
    CloudStack has it.
    """

    domain: UUID
    options: Options
    whole: bool
    links: tuple[DirectoryLink, ...] = ()


Opener = Callable[[Options], Directory]
"""Raises Invalid for options that mean nothing."""


class Directories:
    """Those of one process."""

    def __init__(self) -> None:
        self.opener: Opener | None = None
        self.asked: dict[UUID, datetime] = {}
        """When a domain was last read whole, well or not."""
        self.took: dict[UUID, timedelta] = {}
        """How long that took."""
        self.reading: dict[UUID, asyncio.Task[None]] = {}
        """Readings for which somebody waits, or waited."""
        self.known: dict[UUID, tuple[Any, Binding | None]] = {}
        """Bindings by domain, with what they were read from."""
        self._locks: dict[UUID, asyncio.Lock] = {}
        self._open: dict[UUID, tuple[Options, Directory]] = {}

    async def at(self, binding: Binding) -> Directory:
        """The directory of a domain; one with other options than before is opened anew. Raises Unavailable."""
        held = self._open.get(binding.domain)
        if held is not None and held[0] == binding.options:
            return held[1]
        try:
            made = self.make(binding.options)
        except Invalid as error:
            raise Unavailable(
                "The directory of this domain is not configured right; its administrator must look into it.",
                private=error.public,
            ) from error
        self._open[binding.domain] = (binding.options, made)
        if held is not None:
            await held[1].close()
        return made

    def make(self, options: Options) -> Directory:
        """A directory of its own, to be closed. Raises Unavailable, Invalid."""
        if self.opener is None:
            raise Unavailable("This process reaches no directories.", private="no opener was given")
        return self.opener(options)

    def lock(self, domain: UUID) -> asyncio.Lock:
        """Held while a domain is read whole."""
        return self._locks.setdefault(domain, asyncio.Lock())

    async def keep(self, domains: Collection[UUID]) -> None:
        """Close those of other domains, which are gone or have no directory any more."""
        for domain in self._open.keys() - set(domains):
            _, directory = self._open.pop(domain)
            await directory.close()
        for domain in self.known.keys() - set(domains):
            del self.known[domain]

    async def close(self) -> None:
        for task in list(self.reading.values()):
            task.cancel()
            await asyncio.wait({task})
        await self.keep(())


of: Callable[[Cloud], Directories] = per_cloud(lambda cloud: Directories())
"""The directories of a cloud."""


def user_id(domain: UUID, entry: str) -> UUID:
    """Of the user for an entry: the same in every process, and for ever."""
    return uuid5(domain, f"directory/user/{entry}")


def group_id(domain: UUID, entry: str) -> UUID:
    return uuid5(domain, f"directory/group/{entry}")
