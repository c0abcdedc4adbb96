"""What is asked of a directory of people: who there is, whose password it is, and, where it is allowed, to change that.

Reading may be repeated. What writes says at each call what a second one does. Names and passwords are as people type
them: the driver escapes. Any call may raise Unreachable: no answer in time; Refused: the directory said no (its
configuration, rights or limits).
"""

from collections.abc import Collection, Mapping
from typing import Literal, Protocol

import msgspec

from pileus.drivers.errors import Refused

Schema = Literal["openldap", "activedirectory"]
Kind = Literal["GROUP", "OU", "NAME"]
"""What a part of the directory is named by: the distinguished name of a group, that of a unit, or a group's name."""


class ReadOnly(Refused):
    """The configuration does not allow this change."""


class Taken(Refused):
    """An entry of this name is there already."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one directory is reached and read. The names are those that Keystone gives to the options of its LDAP back
    end; what is None there follows from the schema. Seconds for times; -1: the driver's own limit."""

    schema: Schema = "openldap"
    url: str = "ldap://localhost"
    """One or several, with commas: the first that answers is used."""
    user: str = ""
    password: str = ""
    suffix: str = ""
    query_scope: Literal["one", "sub"] | None = None
    page_size: int = 0
    alias_dereferencing: Literal["never", "searching", "always", "finding", "default"] = "default"
    chase_referrals: bool | None = None
    connection_timeout: int = -1
    pool_size: int = 10
    pool_connection_lifetime: int = 600
    use_tls: bool = False
    tls_cacertfile: str = ""
    tls_cacertdir: str = ""
    tls_req_cert: Literal["demand", "never", "allow"] = "demand"
    user_tree_dn: str = ""
    user_filter: str = ""
    user_objectclass: str | None = None
    user_id_attribute: str | None = None
    user_name_attribute: str | None = None
    user_mail_attribute: str | None = None
    user_first_name_attribute: str = "givenName"
    user_last_name_attribute: str = "sn"
    user_description_attribute: str = "description"
    user_default_project_id_attribute: str = ""
    user_pass_attribute: str | None = None
    user_enabled_attribute: str | None = None
    user_enabled_invert: bool = False
    user_enabled_mask: int | None = None
    user_enabled_default: str | None = None
    user_enabled_emulation: bool = False
    user_enabled_emulation_dn: str = ""
    user_enabled_emulation_use_group_config: bool = False
    user_attribute_ignore: tuple[str, ...] = ("default_project_id",)
    user_additional_attribute_mapping: tuple[str, ...] = ()
    user_allow_create: bool = False
    user_allow_update: bool = False
    user_allow_delete: bool = False
    group_tree_dn: str = ""
    group_filter: str = ""
    group_objectclass: str | None = None
    group_id_attribute: str | None = None
    group_name_attribute: str | None = None
    group_member_attribute: str | None = None
    group_members_are_ids: bool = False
    group_desc_attribute: str = "description"
    group_attribute_ignore: tuple[str, ...] = ()
    group_additional_attribute_mapping: tuple[str, ...] = ()
    group_ad_nesting: bool | None = None
    group_allow_create: bool = False
    group_allow_update: bool = False
    group_allow_delete: bool = False


WITHOUT_EFFECT = frozenset(
    {
        "randomize_urls",
        "debug_level",
        "use_pool",
        "pool_retry_max",
        "pool_retry_delay",
        "pool_connection_timeout",
        "use_auth_pool",
        "auth_pool_size",
        "auth_pool_connection_lifetime",
    }
)
"""Keystone's options that say nothing here: connections are pooled, bounded and timed in any case."""


class Person(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`id` is what stays when the entry is renamed; `name` is what the person logs in with. It can be in no cycle, and there
    may be many: the garbage collector need not look through them."""

    id: str
    dn: str
    name: str
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    description: str = ""
    default_project: str = ""
    enabled: bool = True
    extra: Mapping[str, str] = {}


class Group(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """`members`: ids of persons, those in groups inside it too where groups nest."""

    id: str
    dn: str
    name: str
    description: str = ""
    members: frozenset[str] = frozenset()


class Part(msgspec.Struct, frozen=True):
    kind: Kind
    name: str


class Directory(Protocol):
    async def check(self) -> None:
        """That the directory answers, takes the configured user, and has the place where people are to be. Raises
        Unreachable, Refused."""

    async def find(self, *, name: str = "", dn: str = "") -> Person | None:
        """The person of this name, or at this distinguished name; None: there is none, or `dn` is no such name."""

    async def people(self, part: Part | None = None, like: str = "") -> list[Person]:
        """All of them; those of a part, those whose name holds `like`. A part that is not there has nobody."""

    async def groups(self, people: Collection[Person] | None = None) -> list[Group]:
        """All of them, with their members. `people`: all, as just read; without them they are read again."""

    async def groups_of(self, dn: str) -> list[Group]:
        """Those that hold the person at `dn`, through other groups too where groups nest. Without members."""

    async def parts_of(self, dn: str, parts: list[Part]) -> list[Part]:
        """Those among the parts that the person at `dn` is in."""

    async def verify(self, dn: str, password: str) -> bool:
        """Whether this is the password of the person at `dn`. An empty one never is."""

    async def add_person(self, name: str, password: str, fields: Mapping[str, object]) -> Person:
        """`fields`: attributes of Person by name. Without a password, none is set. Raises ReadOnly, Taken."""

    async def change_person(self, dn: str, fields: Mapping[str, object]) -> Person:
        """The new state; a new name may move the entry. May be repeated. Raises ReadOnly, Taken, Missing."""

    async def set_password(self, dn: str, password: str, old: str = "") -> None:
        """By the person itself where `old` is given, else by the configured user. Raises ReadOnly, Missing."""

    async def remove_person(self, dn: str) -> None:
        """From all groups too. Missing is fine. Raises ReadOnly."""

    async def add_group(self, name: str, description: str) -> Group:
        """An empty one. Raises ReadOnly, Taken."""

    async def change_group(self, dn: str, fields: Mapping[str, object]) -> Group:
        """Name and description. May be repeated. Raises ReadOnly, Taken, Missing."""

    async def remove_group(self, dn: str) -> None:
        """Missing is fine. Raises ReadOnly."""

    async def join(self, group: str, person: str) -> None:
        """By their distinguished names; to be in it already is fine. Raises ReadOnly, Missing."""

    async def leave(self, group: str, person: str) -> None:
        """Not to be in it is fine. Raises ReadOnly, Missing for a group that is not there."""

    async def close(self) -> None: ...
