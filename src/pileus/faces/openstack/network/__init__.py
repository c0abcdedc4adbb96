"""Neutron's API, version 2.0."""

from pileus.faces.openstack.network import (
    discovery,
    floating_ips,
    networks,
    ports,
    quotas,
    routers,
    security_groups,
    subnets,
)
from pileus.faces.openstack.network.service import SERVICE

SERVICES = (SERVICE,)

__all__ = [
    "SERVICE",
    "SERVICES",
    "discovery",
    "floating_ips",
    "networks",
    "ports",
    "quotas",
    "routers",
    "security_groups",
    "subnets",
]
