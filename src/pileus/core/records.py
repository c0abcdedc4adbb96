"""Every record that the product keeps, imported in one place for migrations and checks."""

from pileus.core import (
    alerts,
    counters,
    event_marks,
    events,
    facets,
    mark,
    operations,
    quota,
    tickets,
    webhooks,
)
from pileus.core.block import records as block
from pileus.core.compute import records as compute
from pileus.core.identity import records as identity
from pileus.core.image import records as image
from pileus.core.network import records as network
from pileus.core.placement import records as placement

__all__ = [
    "alerts",
    "block",
    "compute",
    "counters",
    "event_marks",
    "events",
    "facets",
    "identity",
    "image",
    "mark",
    "network",
    "operations",
    "placement",
    "quota",
    "tickets",
    "webhooks",
]
