"""What all simulated hosts hold, in one file that only grows while the process lives and is written anew at the start.

Every line goes to the kernel at once, so that it outlives a process that is killed; a power cut of the real machine may
take the end of it along.
"""

import os
from pathlib import Path
from typing import Self
from uuid import UUID

import msgspec

from pileus.drivers.hypervisor.simulator.machine import Machine

GARBAGE = 1000
"""Lines that may be over beside as many as are not, before a start writes the file anew."""


class Line(msgspec.Struct, frozen=True, array_like=True):
    """A guest as it is now; without a machine: it is gone."""

    host: UUID
    guest: UUID
    machine: msgspec.Raw = msgspec.Raw(b"null")


class Written(msgspec.Struct, frozen=True, array_like=True):
    """The same, on its way to the file."""

    host: UUID
    guest: UUID
    machine: Machine | None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode
_machine = msgspec.json.Decoder(Machine).decode


class Journal:
    """One process writes to it at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._held: dict[UUID, dict[UUID, bytes]] = {}
        """What was read and not asked for yet: lines by host and guest."""
        self._file = -1

    def open(self) -> Self:
        """Read what there is. A last line that was cut off is left out."""
        lines, cut = self._read()
        live = sum(map(len, self._held.values()))
        if cut or lines > 2 * live + GARBAGE:
            self._write_anew()
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return self

    def __getstate__(self) -> dict[str, object]:
        """A copy has no open file; it is opened where it is to be written."""
        return {"path": self.path, "_held": self._held, "_file": -1}

    def take(self, host: UUID) -> dict[UUID, Machine]:
        """What the host held, once."""
        return {guest: _machine(_decode(line).machine) for guest, line in self._held.pop(host, {}).items()}

    def write(self, host: UUID, guest: UUID, machine: Machine | None) -> None:
        line = _encode(Written(host, guest, machine)) + b"\n"
        if os.write(self._file, line) != len(line):
            raise OSError(f"{self.path}: the line about guest {guest} could not be written whole")

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _read(self) -> tuple[int, bool]:
        """How many lines there are, and whether the last was cut off."""
        count = 0
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return 0, False
        with file:
            for text in file:
                if not text.endswith(b"\n"):
                    return count, True
                count += 1
                line = _decode(text)
                held = self._held.setdefault(line.host, {})
                if bytes(line.machine) == b"null":
                    held.pop(line.guest, None)
                else:
                    held[line.guest] = text
        return count, False

    def _write_anew(self) -> None:
        fresh = self.path.with_suffix(".new")
        with fresh.open("wb") as file:
            for held in self._held.values():
                file.writelines(held.values())
        fresh.replace(self.path)
