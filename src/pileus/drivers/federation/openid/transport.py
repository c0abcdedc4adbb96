"""HTTP to a provider: one request, no redirections, bounded in time and size; blocking, so called in a thread."""

import http.client
import json
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from pileus.drivers.errors import Refused, Unreachable

SECONDS = 10.0
"""For connecting and for each part of an answer."""
MOST_BYTES = 1 << 20


def ask(
    method: str,
    url: str,
    *,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Status and body. Raises Refused for an address that is none or an answer too long, Unreachable for no answer."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Refused(f"{url} is no address: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused(f"{url} is no http or https address")
    connection = connect(parts.scheme, parts.hostname, port)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = {"accept": "application/json", "user-agent": "pileus", **(headers or {})}
    body = None
    if form is not None:
        body = urlencode(form).encode()
        sent["content-type"] = "application/x-www-form-urlencoded"
    try:
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        content = response.read(MOST_BYTES + 1)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{url}: {type(error).__name__}: {error}") from error
    except ValueError as error:
        raise Refused(f"{url}: {error}") from error
    finally:
        connection.close()
    if len(content) > MOST_BYTES:
        raise Refused(f"{url} answered with more than {MOST_BYTES} bytes")
    if response.status >= 500:
        raise Unreachable(f"{url} answered {response.status}")
    return response.status, content


def connect(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "http":
        return http.client.HTTPConnection(host, port, timeout=SECONDS)
    return http.client.HTTPSConnection(host, port, timeout=SECONDS, context=ssl.create_default_context())


def document(url: str, status: int, content: bytes) -> dict[str, Any]:
    """The JSON object of a good answer. Raises Refused with the provider's own words."""
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if status != 200:
        words = found.get("error_description") or found.get("error") if isinstance(found, dict) else ""
        raise Refused(f"{url} answered {status} {str(words or '')[:200]}".rstrip())
    if not isinstance(found, dict):
        raise Refused(f"{url} answered with something that is no JSON object")
    return found
