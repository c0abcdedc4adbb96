"""What the service says of itself: versions, resources, extensions, zones, and how full its networks are."""

from typing import Any
from uuid import UUID

from pileus.core.errors import NotFound
from pileus.core.network import limits
from pileus.faces.openstack.network import listing
from pileus.faces.openstack.network.collection import Shown
from pileus.faces.openstack.network.service import SERVICE, V2
from pileus.faces.openstack.wire import hex_id, public_url, version_document
from pileus.faces.wire.request import Request

UPDATED = "2026-04-01T00:00:00-00:00"
EXTENSIONS = {
    "allowed-address-pairs": "Allowed Address Pairs",
    "availability_zone": "Availability Zone",
    "binding": "Port Binding",
    "dns-integration": "DNS Integration",
    "expose-port-forwarding-in-fip": "Expose Port Forwarding In FIP",
    "ext-gw-mode": "Neutron L3 Configurable external gateway mode",
    "external-net": "Neutron external network",
    "extraroute": "Neutron Extra Route",
    "extraroute-atomic": "Atomically add/remove extra routes",
    "floating-ip-port-forwarding": "Floating IP Port Forwarding",
    "floating-ip-port-forwarding-description": "Floating IP Port Forwarding Description",
    "floating-ip-port-forwarding-port-ranges": "Floating IP Port Forwarding Port Ranges",
    "ip-substring-filtering": "IP address substring filtering",
    "net-mtu": "Network MTU",
    "net-mtu-writable": "Network MTU (writable)",
    "network-ip-availability": "Network IP Availability",
    "network_availability_zone": "Network Availability Zone",
    "pagination": "Pagination support",
    "port-security": "Port Security",
    "port-security-groups-filtering": "Port filtering on security groups",
    "project-id": "project_id field enabled",
    "provider": "Provider Network",
    "quota_details": "Quota details management support",
    "quotas": "Quota management support",
    "quota-check-limit": "Quota engine limit check",
    "revision-if-match": "If-Match constraints based on revision_number",
    "router": "Neutron L3 Router",
    "security-group": "security-group",
    "security-groups-normalized-cidr": "Normalized CIDR field for security group rules",
    "sorting": "Sorting support",
    "standard-attr-description": "standard-attr-description",
    "standard-attr-revisions": "Resource revision numbers",
    "standard-attr-tag": "Tag support for resources with standard attribute",
    "standard-attr-timestamp": "Resource timestamps",
}
"""By alias: only what is done in full."""
RESOURCES = {
    "network": "networks",
    "subnet": "subnets",
    "port": "ports",
    "router": "routers",
    "floatingip": "floatingips",
    "security_group": "security-groups",
    "security_group_rule": "security-group-rules",
    "quota": "quotas",
    "extension": "extensions",
}


def extension(alias: str) -> Shown:
    name = EXTENSIONS[alias]
    return {"alias": alias, "name": name, "description": name, "updated": UPDATED, "links": []}


@SERVICE.operation("GET", "/", public=True)
async def versions(request: Request) -> Shown:
    url = f"{public_url(request)}{request.prefix}{V2}/"
    document: dict[str, Any] = version_document("v2.0", url)
    return {"versions": [document]}


@SERVICE.operation("GET", V2, public=True)
async def resources(request: Request) -> Shown:
    base = f"{public_url(request)}{request.prefix}{V2}"
    return {
        "resources": [
            {"name": one, "collection": path, "links": [{"rel": "self", "href": f"{base}/{path}"}]}
            for one, path in RESOURCES.items()
        ]
    }


@SERVICE.operation("GET", f"{V2}/extensions")
async def list_extensions(request: Request) -> Shown:
    return {"extensions": [listing.fields(request, extension(alias)) for alias in EXTENSIONS]}


@SERVICE.operation("GET", f"{V2}/extensions/{{alias}}")
async def show_extension(request: Request, alias: str) -> Shown:
    if alias not in EXTENSIONS:
        raise NotFound("Extension", alias)
    return {"extension": extension(alias)}


@SERVICE.operation("GET", f"{V2}/availability_zones", policy="get_availability_zone")
async def list_zones(request: Request) -> Shown:
    """The zone of networks and of routers: one platform serves both everywhere."""
    zone = request.cloud.config.zone
    zones = [{"name": zone, "resource": kind, "state": "available"} for kind in ("network", "router")]
    return {"availability_zones": [item for item in zones if listing.matches(request, item)]}


def filled(network: Any, subnets: list[limits.Filled]) -> Shown:
    return {
        "network_id": str(network.id),
        "network_name": network.name,
        "project_id": hex_id(network.project),
        "tenant_id": hex_id(network.project),
        "total_ips": sum(one.total for one in subnets),
        "used_ips": sum(one.used for one in subnets),
        "subnet_ip_availability": [
            {
                "subnet_id": str(one.subnet.id),
                "subnet_name": one.subnet.name,
                "cidr": one.subnet.cidr,
                "ip_version": one.subnet.version,
                "total_ips": one.total,
                "used_ips": one.used,
            }
            for one in subnets
        ],
    }


@SERVICE.operation("GET", f"{V2}/network-ip-availabilities", policy="get_network_ip_availability")
async def list_availabilities(request: Request) -> Shown:
    shown = [filled(*one) for one in await limits.filled(request.cloud, request.caller)]
    return {"network_ip_availabilities": [item for item in shown if listing.matches(request, item)]}


@SERVICE.operation("GET", f"{V2}/network-ip-availabilities/{{network}}", policy="get_network_ip_availability")
async def show_availability(request: Request, network: UUID) -> Shown:
    (one,) = await limits.filled(request.cloud, request.caller, network)
    return {"network_ip_availability": filled(*one)}
