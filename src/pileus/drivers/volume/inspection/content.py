"""Bounded random access to a file that nobody trusts."""

import os
from pathlib import Path
from struct import Struct
from typing import Any

from pileus.drivers.errors import Missing, Refused

MOST = 4 << 20
"""No table of a header that we read is larger; what claims to be is hostile."""


class Content:
    """The bytes of a file or of a buffer. A read past the end means that the file is cut off."""

    def __init__(self, source: Path | bytes) -> None:
        if isinstance(source, Path):
            try:
                self._file = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            except FileNotFoundError as error:
                raise Missing(f"there is no file {source}") from error
            self.size = os.fstat(self._file).st_size
            self._bytes = None
        else:
            self._file, self._bytes, self.size = -1, source, len(source)

    def __enter__(self) -> "Content":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def peek(self, offset: int, length: int) -> bytes:
        """At most `length` bytes; fewer, or none, where the file ends."""
        if not 0 <= offset < self.size:
            return b""
        length = min(length, MOST, self.size - offset)
        if self._bytes is not None:
            return self._bytes[offset : offset + length]
        return os.pread(self._file, length, offset)

    def read(self, offset: int, length: int, what: str) -> bytes:
        if length > MOST:
            raise Refused(f"{what} claims {length} bytes; that is more than any sound image has")
        found = self.peek(offset, length)
        if len(found) < length:
            raise Refused(
                f"the file is cut off: {what} should be at byte {offset}, the file has {self.size} bytes"
            )
        return found

    def unpack(self, form: Struct, offset: int, what: str) -> tuple[Any, ...]:
        return form.unpack(self.read(offset, form.size, what))
