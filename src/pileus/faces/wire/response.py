"""Answers: whole ones and streamed ones."""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import msgspec

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
Headers = Mapping[str, str | tuple[str, ...]]
"""A tuple is a line for each value, as Set-Cookie needs."""
EMPTY: Headers = {}

encode = msgspec.json.Encoder().encode
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
BODILESS = frozenset({204, 304})


class Response:
    """A whole answer: bytes go as they are, text as UTF-8, anything else as JSON."""

    __slots__ = ("body", "content_type", "headers", "status")

    def __init__(
        self,
        status: int = 200,
        body: Any = None,
        headers: Headers = EMPTY,
        content_type: str | None = None,
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers
        self.content_type = content_type

    def content(self) -> tuple[bytes, str | None]:
        """The bytes to send and their type."""
        body = self.body
        if body is None:
            return b"", self.content_type
        if isinstance(body, bytes | bytearray | memoryview):
            return bytes(body), self.content_type or "application/octet-stream"
        if isinstance(body, str):
            return body.encode(), self.content_type or TEXT
        return encode(body), self.content_type or JSON


class Stream:
    """An answer in pieces; `length` where it is known. The content is closed when the client goes away."""

    __slots__ = ("content", "content_type", "headers", "length", "status")

    def __init__(
        self,
        status: int,
        headers: Headers,
        content: AsyncIterator[bytes],
        length: int | None = None,
        content_type: str | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self.length = length
        self.content_type = content_type


def flat(headers: Headers) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        for each in (value,) if isinstance(value, str) else value:
            yield name.lower(), each


def head(
    status: int, headers: Headers, content_type: str | None, length: int | None
) -> list[tuple[bytes, bytes]]:
    """Header lines as ASGI wants them. ValueError for a value that would break out of its line."""
    lines: list[tuple[bytes, bytes]] = []
    for name, value in flat(headers):
        if name == "content-type":
            content_type = None
        elif name == "content-length":
            length = None
        if not TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header")
        if "\n" in value or "\r" in value or "\0" in value:
            raise ValueError(f"header {name} holds a line break or NUL")
        try:
            lines.append((name.encode("ascii"), value.encode("latin-1")))
        except UnicodeEncodeError:
            lines.append((name.encode("ascii"), value.encode()))
    if content_type is not None:
        lines.append((b"content-type", content_type.encode("latin-1")))
    if length is not None and status not in BODILESS:
        lines.append((b"content-length", b"%d" % length))
    return lines
