"""What the cloud serves and where: regions, services, endpoints, who sees which, and policies that operators hand out."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pileus.store import Record, table


@table("region", indexes=(("parent",),))
class Region(Record):
    id: str
    """Chosen by the operator, as in RegionOne."""
    parent: str | None = None
    description: str = ""
    extra: dict[str, Any] = {}
    created_at: datetime


@table("catalogue_service", indexes=(("type",),))
class Service(Record):
    id: UUID
    type: str
    name: str = ""
    description: str = ""
    enabled: bool = True
    own: bool = False
    """Served by this cloud: made at every start where it is missing."""
    extra: dict[str, Any] = {}
    created_at: datetime


@table("catalogue_endpoint", indexes=(("service",), ("region",)))
class Endpoint(Record):
    id: UUID
    service: UUID
    interface: str
    region: str | None = None
    url: str
    """With `$(public_url)s` for how clients reach this cloud, and Keystone's `$(project_id)s` and the like."""
    name: str = ""
    enabled: bool = True
    extra: dict[str, Any] = {}
    created_at: datetime


@table("endpoint_group")
class EndpointGroup(Record):
    """Endpoints by filter (service_id, region_id, interface), shown to the projects it is given to."""

    id: UUID
    name: str
    description: str = ""
    filters: dict[str, str | None] = {}
    created_at: datetime


@table("project_endpoint", key=("project", "endpoint"), indexes=(("endpoint",),))
class ProjectEndpoint(Record):
    project: UUID
    endpoint: UUID


@table("project_endpoint_group", key=("project", "group"), indexes=(("group",),))
class ProjectEndpointGroup(Record):
    project: UUID
    group: UUID


@table("policy_document")
class PolicyDocument(Record):
    """A policy that Keystone keeps for others (/v3/policies); it changes nothing here."""

    id: UUID
    type: str
    blob: Any
    extra: dict[str, Any] = {}
    created_at: datetime


@table(
    "policy_association",
    indexes=(("policy",), ("endpoint",), ("service", "region")),
)
class PolicyAssociation(Record):
    """The policy of an endpoint, of a service, or of a service in a region: one each."""

    id: UUID
    policy: UUID
    endpoint: UUID | None = None
    service: UUID | None = None
    region: str | None = None


@table("registered_limit", indexes=(("service",),))
class RegisteredLimit(Record):
    """The default of a limit that a service asks for (Keystone's unified limits). `resource`: the core's name where the
    core charges it itself; then the default, and the limits of projects, are the core's."""

    id: UUID
    service: UUID
    region: str | None = None
    name: str
    default: int
    description: str = ""
    resource: str = ""
    created_at: datetime


@table("unified_limit", indexes=(("registered",), ("project",), ("domain",)))
class UnifiedLimit(Record):
    """A limit that differs from the registered default, for a project or a domain."""

    id: UUID
    registered: UUID
    project: UUID | None = None
    domain: UUID | None = None
    limit: int
    description: str = ""
    created_at: datetime


@table("domain_setting", key=("domain", "group", "option"))
class DomainSetting(Record):
    """One option of a domain's own configuration (Keystone's domain config); sensitive values are encrypted."""

    domain: UUID
    group: str
    option: str
    value: Any
    sensitive: bool = False
