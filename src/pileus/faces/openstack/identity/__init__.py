"""Keystone's API."""

from pileus.faces.openstack.identity import (
    applications,
    catalog,
    domains,
    ec2,
    grants,
    projects,
    roles,
    tokens,
    users,
    versions,
)
from pileus.faces.openstack.identity.service import SERVICE

__all__ = [
    "SERVICE",
    "applications",
    "catalog",
    "domains",
    "ec2",
    "grants",
    "projects",
    "roles",
    "tokens",
    "users",
    "versions",
]
