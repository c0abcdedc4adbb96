"""Image API v2 (Glance)."""

from pileus.faces.openstack.image import data, discovery, images
from pileus.faces.openstack.image.wire import SERVICE

__all__ = ["SERVICE", "data", "discovery", "images"]
