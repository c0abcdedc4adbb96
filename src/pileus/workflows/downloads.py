"""What stands at an http(s) address, streamed. The address comes from a user, so it is not trusted."""

import asyncio
import http.client
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from functools import partial
from ipaddress import ip_address
from typing import Any

from pileus.drivers.errors import DriverError, Refused, Unreachable

CHUNK = 1 << 20
SECONDS = 30.0


async def content(url: str, *, inside: bool) -> AsyncIterator[bytes]:
    """The whole body. Raises Refused for an answer that will not get better, Unreachable for no or half an answer.

    `inside`: also from this machine itself and from link-local addresses.
    """
    response = await asyncio.to_thread(_open, url, inside)
    try:
        declared, taken = response.headers.get("content-length"), 0
        while chunk := await asyncio.to_thread(_read, response, url):
            taken += len(chunk)
            yield chunk
    finally:
        # Closing waits for the read that a cancellation leaves behind: not on the event loop, and nobody else waits.
        asyncio.get_running_loop().run_in_executor(None, response.close)
    if declared is not None and declared.isdigit() and taken < int(declared):
        raise Unreachable(f"{url} broke off after {taken} of {declared} bytes")


def _read(response: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise Unreachable(f"{url}: {error!r}") from error


def _open(url: str, inside: bool) -> http.client.HTTPResponse:
    try:
        opened: http.client.HTTPResponse = _opener(inside).open(url, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        with error:
            answer = f"{url} answered {error.code} {error.reason}"
        raise (Unreachable(answer) if error.code >= 500 else Refused(answer)) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, DriverError):
            raise error.reason from error
        if isinstance(error.reason, OSError):
            raise Unreachable(f"{url}: {error.reason}") from error
        raise Refused(f"{url}: {error.reason}") from error
    except OSError as error:
        raise Unreachable(f"{url}: {error}") from error
    except (ValueError, http.client.HTTPException) as error:
        raise Refused(f"{url}: {error}") from error
    return opened


def _opener(inside: bool) -> urllib.request.OpenerDirector:
    """With these handlers only: a redirection to another scheme finds nobody who would follow it."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        _Http(inside),
        _Https(inside),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


class _Guard:
    """Looks at the address that was really reached, whatever name or redirection led there."""

    sock: Any

    def __init__(self, *args: Any, inside: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._inside = inside

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        peer = ip_address(self.sock.getpeername()[0].partition("%")[0])
        peer = getattr(peer, "ipv4_mapped", None) or peer
        if not self._inside and (peer.is_loopback or peer.is_link_local or peer.is_unspecified):
            self.sock.close()
            raise Refused(f"{peer} belongs to the cloud itself; only administrators may have it reached")


class Connection(_Guard, http.client.HTTPConnection):
    pass


class SecureConnection(_Guard, http.client.HTTPSConnection):
    pass


class _Http(urllib.request.HTTPHandler):
    def __init__(self, inside: bool) -> None:
        super().__init__()
        self._inside = inside

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(Connection, inside=self._inside), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, inside: bool) -> None:
        super().__init__()
        self._inside = inside

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(partial(SecureConnection, inside=self._inside), req)
