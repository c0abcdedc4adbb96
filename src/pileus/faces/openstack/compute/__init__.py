"""Nova's API v2.1, up to microversion 2.96."""

from pileus.faces.openstack.compute import (
    actions,
    aggregates,
    attachments,
    extensions,
    flavors,
    history,
    key_pairs,
    limits,
    places,
    server_groups,
    server_parts,
    servers,
)
from pileus.faces.openstack.compute.service import root, service

SERVICES = (root, service)

__all__ = [
    "SERVICES",
    "actions",
    "aggregates",
    "attachments",
    "extensions",
    "flavors",
    "history",
    "key_pairs",
    "limits",
    "places",
    "server_groups",
    "server_parts",
    "servers",
]
