"""Block Storage API v3 (Cinder), up to microversion 3.71."""

from pileus.faces.openstack.volume import actions, metadata, places, quotas, snapshots, types, volumes
from pileus.faces.openstack.volume.service import root
from pileus.faces.openstack.volume.service import service as SERVICE

SERVICES = (root, SERVICE)

__all__ = [
    "SERVICE",
    "SERVICES",
    "actions",
    "metadata",
    "places",
    "quotas",
    "snapshots",
    "types",
    "volumes",
]
