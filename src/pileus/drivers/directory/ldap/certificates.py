"""What is wrong with the certificate of a server, in words: for who configures a directory."""

import socket
import ssl
from urllib.parse import urlsplit

PORT = 636


def complaint(url: str, file: str, folder: str, seconds: float) -> str:
    """Of a server at ldaps://, by a handshake of our own; empty: nothing is wrong, or it does not answer at all."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        context = ssl.create_default_context(cafile=file or None, capath=folder or None)
        with (
            socket.create_connection((host, parts.port or PORT), seconds) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return ""
    except ssl.SSLCertVerificationError as error:
        return f"its certificate is not good: {error.verify_message}"
    except (OSError, ValueError):
        return ""
