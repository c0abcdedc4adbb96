"""The guests' screens in the browser: the page, noVNC, and the WebSocket to the guest's RFB server."""

from pileus.faces.console.screens import mount

__all__ = ["mount"]
