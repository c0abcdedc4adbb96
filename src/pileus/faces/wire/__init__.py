"""The HTTP kernel that all faces share; it knows no product."""

from pileus.faces.wire.errors import STATUS, Disconnected, ErrorForm, PlainErrors, WireError, WireKind, status
from pileus.faces.wire.kernel import Kernel
from pileus.faces.wire.paging import Page, page, window
from pileus.faces.wire.policy import Enforcer
from pileus.faces.wire.query import Query, form
from pileus.faces.wire.request import Request
from pileus.faces.wire.response import Response, Stream
from pileus.faces.wire.service import Operation, Service
from pileus.faces.wire.versions import Span, Version, Versioned, Versions
from pileus.faces.wire.websocket import WebSocket

__all__ = [
    "STATUS",
    "Disconnected",
    "Enforcer",
    "ErrorForm",
    "Kernel",
    "Operation",
    "Page",
    "PlainErrors",
    "Query",
    "Request",
    "Response",
    "Service",
    "Span",
    "Stream",
    "Version",
    "Versioned",
    "Versions",
    "WebSocket",
    "WireError",
    "WireKind",
    "form",
    "page",
    "status",
    "window",
]
