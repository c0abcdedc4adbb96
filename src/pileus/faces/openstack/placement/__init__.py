"""Placement's API, its reading side: hosts as resource providers, claims as allocations."""

from pileus.faces.openstack.placement import candidates, providers
from pileus.faces.openstack.placement.service import SERVICES, service

SERVICE = service

__all__ = ["SERVICE", "SERVICES", "candidates", "providers"]
