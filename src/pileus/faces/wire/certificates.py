"""Certificates of clients, as a proxy in front of us hands them over."""

from urllib.parse import unquote

from pileus.faces.wire.request import Request


def presented(request: Request) -> str:
    """In PEM form, from a proxy of ours that took it from the client; empty when there is none. Certificates are public:
    from anybody else it proves nothing."""
    header = request.cloud.config.client_certificate_header.lower()
    return unquote(request.headers.get(header, "")).strip() if header and request.proxied else ""
