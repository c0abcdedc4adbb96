"""The dashboard's and the operators' API, and the guests' screens in the browser."""

from pileus.faces.console import operations
from pileus.faces.console.screens import mount
from pileus.faces.console.service import SERVICE

__all__ = ["SERVICE", "mount", "operations"]
