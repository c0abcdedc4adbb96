"""The dashboard's and the operators' API, and the guests' screens in the browser."""

from pileus.faces.console import (
    access,
    alerts,
    events,
    explain,
    federation,
    keys,
    operations,
    pages,
    password_resets,
    quota,
    registrations,
    screens,
    simulation,
    webhooks,
)
from pileus.faces.console.service import SERVICE
from pileus.faces.wire import Kernel

__all__ = [
    "SERVICE",
    "access",
    "alerts",
    "events",
    "explain",
    "federation",
    "keys",
    "mount",
    "operations",
    "password_resets",
    "quota",
    "registrations",
    "simulation",
    "webhooks",
]


def mount(kernel: Kernel) -> None:
    """What is not declared operations: screens and WebSockets."""
    screens.mount(kernel)
    pages.mount(kernel)
    events.mount(kernel)
