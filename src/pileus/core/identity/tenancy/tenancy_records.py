"""Tenancy as CloudStack has it: roles with ordered rules, project roles, invitations, and what a second factor needs."""

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from pileus.store import Record, table


class RoleType(StrEnum):
    """What accounts of a role are to the core; the rules of the role can only narrow it."""

    ADMIN = "Admin"
    RESOURCE_ADMIN = "ResourceAdmin"
    DOMAIN_ADMIN = "DomainAdmin"
    USER = "User"


@table("account_role", indexes=(("type",),), unique=(("name",),))
class AccountRole(Record):
    """A role of accounts. Those that every cloud has (`default`) keep their name and cannot be deleted."""

    id: UUID
    name: str
    type: RoleType
    description: str = ""
    default: bool = False
    public: bool = True
    enabled: bool = True
    created_at: datetime


@table("account_role_rule", indexes=(("role", "position"),), unique=(("role", "rule"),))
class AccountRoleRule(Record):
    """The first rule that fits a command decides. `rule` is a command's name, `*` stands for any letters."""

    id: UUID
    role: UUID
    position: int
    rule: str
    allow: bool
    description: str = ""


@table("project_role", indexes=(("project",),), unique=(("project", "name"),))
class ProjectRole(Record):
    """A role inside one project, given to accounts or users of it; its rules can only narrow."""

    id: UUID
    project: UUID
    name: str
    description: str = ""
    created_at: datetime


@table("project_role_rule", indexes=(("role", "position"), ("project",)), unique=(("role", "rule"),))
class ProjectRoleRule(Record):
    id: UUID
    project: UUID
    role: UUID
    position: int
    rule: str
    allow: bool
    description: str = ""


@table("project_role_holder", key=("project", "actor"), indexes=(("role",),))
class ProjectRoleHolder(Record):
    """Which project role an account or a user has in a project (beside its assignment, which lets it in)."""

    project: UUID
    actor: UUID
    role: UUID


class InvitationState(StrEnum):
    PENDING = "Pending"
    COMPLETED = "Completed"
    EXPIRED = "Expired"
    DECLINED = "Declined"


@table("project_invitation", indexes=(("project",), ("account",), ("user",)))
class ProjectInvitation(Record):
    """An account, a user, or whoever reads an e-mail address may join a project. `token` is hashed."""

    id: UUID
    project: UUID
    account: UUID | None = None
    user: UUID | None = None
    email: str = ""
    token: str = ""
    manager: bool = False
    """Joins as one who manages the project."""
    project_role: UUID | None = None
    state: InvitationState = InvitationState.PENDING
    created_at: datetime
    expires_at: datetime | None = None


@table("second_factor", key=("user",))
class SecondFactor(Record):
    """What a user shows besides the password; the secret is encrypted. It counts when it was shown right once."""

    user: UUID
    provider: str
    """`totp` or `staticpin`; empty: it is demanded, and not set up."""
    secret: str
    confirmed: bool = False
    demanded: bool = False
    """An administrator wants the user to have one."""
    last_step: int = 0
    """The time step of the last code that was taken: none is taken twice."""
    created_at: datetime


@table("password_reset", indexes=(("user",), ("source",), ("expires_at",)))
class PasswordReset(Record):
    """A mailed token (hashed) with which a new password may be set once; or, of the user zero, that one was asked for."""

    id: UUID
    user: UUID
    token: str
    source: str = ""
    """The address that it was asked from."""
    expires_at: datetime
    created_at: datetime


@table("login_provider", indexes=(("domain",),))
class LoginProvider(Record):
    """An OAuth2 provider that CloudStack's login page offers; the secret is encrypted."""

    id: UUID
    provider: str
    domain: UUID | None = None
    description: str = ""
    client: str
    secret: str
    redirect_uri: str = ""
    authorize_url: str = ""
    token_url: str = ""
    enabled: bool = True
    extra: dict[str, Any] = {}
    created_at: datetime


@table("single_sign_on", key=("user",))
class SingleSignOn(Record):
    """That a user may come in by a SAML identity provider, named by its entity id (empty: any)."""

    user: UUID
    entity: str = ""
    enabled: bool = True


@table("directory_link", indexes=(("domain",), ("account",)))
class DirectoryLink(Record):
    """A domain, or an account, whose users are those of an LDAP group or organisational unit."""

    id: UUID
    domain: UUID
    account: UUID | None = None
    kind: str
    """GROUP or OU."""
    name: str
    """Distinguished name."""
    role: RoleType
    created_at: datetime


@table("directory_server", unique=(("host", "port", "domain"),))
class DirectoryServer(Record):
    """An LDAP server of CloudStack's list; domain None: of all that have none of their own."""

    id: UUID
    host: str
    port: int = 389
    domain: UUID | None = None
    created_at: datetime


@table("verified_code", indexes=(("expires_at",),))
class VerifiedCode(Record):
    """A code of an OAuth2 provider that has been redeemed (hashed with the provider's name), and whose it was: a login
    page first asks whose it is, and then logs in with it, once."""

    id: str
    email: str
    expires_at: datetime
