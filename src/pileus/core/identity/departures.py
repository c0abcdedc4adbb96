"""What goes with a project, a user, a group, a domain or a role: everything that names it and means nothing without it."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from pileus.core.cloud import Tx
from pileus.core.icons import Icon
from pileus.core.identity.authentication.credential_records import (
    AccessRule,
    AccessToken,
    ApplicationCredential,
    Credential,
    RequestToken,
)
from pileus.core.identity.federation.federation_records import FederatedIdentity
from pileus.core.identity.records import Assignment, Group, Membership, OldPassword, Revocation, Role, Trust
from pileus.core.identity.services.catalogue_records import (
    DomainSetting,
    ProjectEndpoint,
    ProjectEndpointGroup,
    UnifiedLimit,
)
from pileus.core.identity.tenancy.registration_records import Invitation, Registration
from pileus.core.identity.tenancy.tenancy_records import (
    DirectoryLink,
    DirectoryServer,
    LoginProvider,
    PasswordReset,
    ProjectInvitation,
    ProjectRole,
    ProjectRoleHolder,
    ProjectRoleRule,
    SecondFactor,
    SingleSignOn,
)
from pileus.core.quota import Limit, Usage

Parts = Sequence[tuple[Any, str]]
"""(record, the field by which it names what goes)."""

PROJECT: Parts = (
    (Assignment, "target"),
    (Assignment, "actor"),
    (Credential, "project"),
    (ApplicationCredential, "project"),
    (Trust, "project"),
    (RequestToken, "project"),
    (AccessToken, "project"),
    (ProjectEndpoint, "project"),
    (ProjectEndpointGroup, "project"),
    (UnifiedLimit, "project"),
    (ProjectRole, "project"),
    (ProjectRoleRule, "project"),
    (ProjectRoleHolder, "project"),
    (ProjectRoleHolder, "actor"),
    (ProjectInvitation, "project"),
    (ProjectInvitation, "account"),
    (DirectoryLink, "account"),
    (Icon, "id"),
)
USER: Parts = (
    (Assignment, "actor"),
    (Credential, "user"),
    (ApplicationCredential, "user"),
    (AccessRule, "user"),
    (Trust, "trustor"),
    (Trust, "trustee"),
    (AccessToken, "user"),
    (RequestToken, "user"),
    (Membership, "user"),
    (OldPassword, "user"),
    (FederatedIdentity, "user"),
    (SecondFactor, "user"),
    (SingleSignOn, "user"),
    (PasswordReset, "user"),
    (ProjectRoleHolder, "actor"),
    (ProjectInvitation, "user"),
    (Revocation, "user"),
    (Icon, "id"),
)
GROUP: Parts = ((Assignment, "actor"), (Membership, "group"))
DOMAIN: Parts = (
    (Assignment, "target"),
    (DomainSetting, "domain"),
    (UnifiedLimit, "domain"),
    (DirectoryLink, "domain"),
    (DirectoryServer, "domain"),
    (LoginProvider, "domain"),
    (Invitation, "domain"),
    (Registration, "domain"),
    (Limit, "project"),
    (Usage, "project"),
    (Icon, "id"),
)
"""Beside its users, groups, roles and projects, which go one by one with what is theirs."""
ROLE: Parts = ((Assignment, "role"),)


async def clear(tx: Tx, parts: Parts, key: UUID) -> None:
    """Remove them, each with its event; repeating is fine."""
    for cls, field in parts:
        for record in await tx.list(cls, **{field: key}):
            await tx.remove(record)


async def groups_and_roles(tx: Tx, domain: UUID) -> None:
    """Those of a domain that goes."""
    for group in await tx.list(Group, domain=domain):
        await clear(tx, GROUP, group.id)
        await tx.remove(group)
    for role in await tx.list(Role, domain=domain):
        await clear(tx, ROLE, role.id)
        await tx.remove(role)
