"""The dashboard's and the operators' API, and the guests' screens in the browser."""

from pileus.faces.console import alerts, events, explain, operations, screens, simulation, webhooks
from pileus.faces.console.service import SERVICE
from pileus.faces.wire import Kernel

__all__ = ["SERVICE", "alerts", "events", "explain", "mount", "operations", "simulation", "webhooks"]


def mount(kernel: Kernel) -> None:
    """What is not declared operations: screens and WebSockets."""
    screens.mount(kernel)
    events.mount(kernel)
