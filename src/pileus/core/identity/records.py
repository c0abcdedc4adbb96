"""Who there is: domains, projects, users, groups, roles, and who has which role where.

`extra` holds attributes that only one API knows and that its clients expect back; the core never reads it. `options`
are Keystone's resource options by name (`immutable`, `ignore_lockout_failure_attempts`, ...).
"""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pileus.store import Record, table


@table("domain", indexes=(("parent",),), unique=(("parent", "name"),))
class Domain(Record):
    """A node in the tree of domains. The root is Keystone's `default` domain and CloudStack's ROOT."""

    id: UUID
    name: str
    parent: UUID | None = None
    description: str = ""
    enabled: bool = True
    tags: tuple[str, ...] = ()
    network_domain: str = ""
    """DNS suffix of networks made in it; empty: of the domain above."""
    options: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    created_at: datetime


class ProjectKind(StrEnum):
    PROJECT = "project"
    ACCOUNT = "account"
    """A CloudStack account: its users own what is in it."""


@table("project", indexes=(("domain",),), unique=(("domain", "name"),))
class Project(Record):
    id: UUID
    domain: UUID
    name: str
    kind: ProjectKind = ProjectKind.PROJECT
    parent: UUID | None = None
    """A project above it in the same domain; None: directly under the domain."""
    description: str = ""
    enabled: bool = True
    locked: bool = False
    """Its users may look and log in; nothing new is made or started."""
    account_role: UUID | None = None
    """Of an account: its role with CloudStack's rules; None: the default one of its type."""
    api_access: bool | None = None
    """Of an account: whether its users' CloudStack keys are taken; None: yes."""
    network_domain: str = ""
    tags: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    created_at: datetime


class Source(StrEnum):
    """Where a user's proof is checked."""

    SQL = "sql"
    LDAP = "ldap"
    FEDERATED = "federated"


@table(
    "user",
    indexes=(("domain",), ("account",), ("default_project",), ("email",), ("domain", "source")),
    unique=(("domain", "name"),),
)
class User(Record):
    id: UUID
    domain: UUID
    name: str
    password: str = ""
    """A hash in PHC form ($argon2id$...); empty: no password, cannot log in by one."""
    account: UUID | None = None
    """The project that is this user's CloudStack account."""
    default_project: UUID | None = None
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    description: str = ""
    enabled: bool = True
    locked: bool = False
    """CloudStack's state of a user who may not log in until enabled again."""
    source: Source = Source.SQL
    external: str = ""
    """What names the user at its source: a distinguished name, or a subject."""
    timezone: str = ""
    api_access: bool | None = None
    """Whether its CloudStack keys are taken; None: as its account has it."""
    options: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    created_at: datetime
    password_at: datetime | None = None
    password_expires_at: datetime | None = None
    own_password: bool = False
    """Whether the user chose the present password itself."""
    active_at: datetime | None = None
    """The day of its last login; kept where idle users are disabled."""


@table("password_history", indexes=(("user", "created_at"),))
class OldPassword(Record):
    """A hash that the user had before, kept as long as policy forbids to use it again."""

    id: UUID
    user: UUID
    password: str
    created_at: datetime


@table("group", indexes=(("domain",),), unique=(("domain", "name"),))
class Group(Record):
    id: UUID
    domain: UUID
    name: str
    description: str = ""
    source: Source = Source.SQL
    external: str = ""
    extra: dict[str, Any] = {}
    created_at: datetime


@table("membership", indexes=(("user",),), unique=(("group", "user"),))
class Membership(Record):
    """A user in a group. With `expires_at` it came with a federated login, and ends unless renewed by another."""

    id: UUID
    group: UUID
    user: UUID
    expires_at: datetime | None = None
    created_at: datetime


@table("role", indexes=(("name",),))
class Role(Record):
    """Keystone's default roles (reader < member < manager < admin, service); `implies` holds role ids.

    A role of a domain (`domain`) says nothing by itself: only what it implies stands in tokens.
    """

    id: UUID
    name: str
    domain: UUID | None = None
    description: str = ""
    implies: tuple[UUID, ...] = ()
    options: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    created_at: datetime


class Scope(StrEnum):
    PROJECT = "project"
    DOMAIN = "domain"
    SYSTEM = "system"


class Actor(StrEnum):
    """Who holds an assignment. An account's is held by each of its users, those of tomorrow included."""

    USER = "user"
    GROUP = "group"
    ACCOUNT = "account"


@table(
    "assignment",
    indexes=(("actor",), ("target",)),
    unique=(("actor", "role", "scope", "target", "inherited"),),
)
class Assignment(Record):
    """A role of a user, a group or an account on a project, a domain or the whole system (target is then nil).

    An inherited one does not hold at the target, but at every project below it.
    """

    id: UUID
    actor: UUID
    actor_kind: Actor = Actor.USER
    role: UUID
    scope: Scope
    target: UUID
    inherited: bool = False
    created_at: datetime


@table("trust", indexes=(("trustor",), ("trustee",), ("project",)))
class Trust(Record):
    """The trustor lets the trustee act with some of its roles in a project (Keystone's OS-TRUST)."""

    id: UUID
    trustor: UUID
    trustee: UUID
    project: UUID | None = None
    roles: tuple[UUID, ...] = ()
    impersonation: bool = False
    """Whether tokens name the trustor as their user."""
    expires_at: datetime | None = None
    remaining_uses: int | None = None
    """Tokens that may still be issued; None: as many as wanted."""
    redelegated_from: UUID | None = None
    redelegations: int = 0
    """How often it may be handed on; 0: not at all."""
    extra: dict[str, Any] = {}
    created_at: datetime
    deleted_at: datetime | None = None


@table("revocation", indexes=(("user",), ("expires_at",)))
class Revocation(Record):
    """A token of the user (by audit id or chain), or all that it got until `before`, are void. Kept until `expires_at`."""

    id: UUID
    audit: str = ""
    chain: str = ""
    user: UUID | None = None
    before: datetime | None = None
    expires_at: datetime
    created_at: datetime
