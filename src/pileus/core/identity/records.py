"""Who there is: domains, projects, users, roles and what they prove themselves with."""

from datetime import datetime
from enum import StrEnum
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
    tags: tuple[str, ...] = ()
    created_at: datetime


@table("user", indexes=(("domain",), ("account",)), unique=(("domain", "name"),))
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
    created_at: datetime
    password_at: datetime | None = None


@table("role", indexes=(("name",),))
class Role(Record):
    """Keystone's default roles (reader < member < manager < admin, service); `implies` holds role ids."""

    id: UUID
    name: str
    domain: UUID | None = None
    description: str = ""
    implies: tuple[UUID, ...] = ()
    created_at: datetime


class Scope(StrEnum):
    PROJECT = "project"
    DOMAIN = "domain"
    SYSTEM = "system"


@table("assignment", indexes=(("user",), ("target",)), unique=(("user", "role", "scope", "target"),))
class Assignment(Record):
    """A user's role on a project, a domain or the whole system (target is then the nil UUID)."""

    id: UUID
    user: UUID
    role: UUID
    scope: Scope
    target: UUID
    created_at: datetime


class CredentialKind(StrEnum):
    CLOUDSTACK = "cloudstack"
    EC2 = "ec2"


@table("credential", indexes=(("user",),), unique=(("access",),))
class Credential(Record):
    """An API key pair. `secret` is encrypted with the key in the state directory, for signatures need it."""

    id: UUID
    kind: CredentialKind
    user: UUID
    project: UUID | None = None
    access: str
    secret: str
    created_at: datetime


@table("application_credential", indexes=(("user",),), unique=(("user", "name"),))
class ApplicationCredential(Record):
    """Keystone's application credential: a secret (hashed) that acts for its user in one project."""

    id: UUID
    user: UUID
    project: UUID
    name: str
    secret: str
    description: str = ""
    roles: tuple[UUID, ...] = ()
    unrestricted: bool = False
    expires_at: datetime | None = None
    created_at: datetime


@table("revocation", indexes=(("user",), ("expires_at",)))
class Revocation(Record):
    """A token of the user (by audit id), or all that it got until `before`, are void. Kept until `expires_at`."""

    id: UUID
    audit: str = ""
    user: UUID | None = None
    before: datetime | None = None
    expires_at: datetime
