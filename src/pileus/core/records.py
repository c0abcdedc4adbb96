"""Every record that the product keeps, imported in one place for migrations and checks."""

from pileus.core import (
    alerts,
    counters,
    event_marks,
    events,
    facets,
    icons,
    mail,
    mark,
    operations,
    quota,
    tickets,
    webhooks,
)
from pileus.core.block import records as block
from pileus.core.compute import records as compute
from pileus.core.identity import records as identity
from pileus.core.identity.authentication import credential_records
from pileus.core.identity.federation import federation_records
from pileus.core.identity.services import catalogue_records
from pileus.core.identity.tenancy import registration_records, tenancy_records
from pileus.core.image import records as image
from pileus.core.network import records as network
from pileus.core.placement import records as placement

__all__ = [
    "alerts",
    "block",
    "catalogue_records",
    "compute",
    "counters",
    "credential_records",
    "event_marks",
    "events",
    "facets",
    "federation_records",
    "icons",
    "identity",
    "image",
    "mail",
    "mark",
    "network",
    "operations",
    "placement",
    "quota",
    "registration_records",
    "tenancy_records",
    "tickets",
    "webhooks",
]
