"""The ledger of a face: what it does of each operation of its API, held against what is registered.

A file in `specs/` has tables `[operations."GET /servers"]` with `state` and, if partial, `missing`.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

import msgspec

from pileus.faces.wire.service import Operation

PARAMETER = re.compile(r"\{[^}]*\}")


class State(StrEnum):
    FULL = "full"
    PARTIAL = "partial"
    REFUSED = "refused"


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    state: State
    missing: str = ""


class Ledger(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    operations: dict[str, Entry] = {}


def load(path: Path) -> Ledger:
    """ValueError names the file and the entry that is wrong."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Ledger)
    except (msgspec.DecodeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def plain(key: str) -> str:
    """A key whatever its parameters are called."""
    return PARAMETER.sub("{}", key)


def check(ledger: Ledger, operations: Iterable[Operation]) -> list[str]:
    """Every disagreement, in words; an empty list is agreement."""
    registered = {plain(operation.key): operation.key for operation in operations}
    listed = {plain(key): (key, entry) for key, entry in ledger.operations.items()}
    found: list[str] = []
    if len(listed) < len(ledger.operations):
        found.append("the ledger lists an operation twice under different parameter names")
    for shape in sorted(registered.keys() - listed.keys()):
        found.append(f"{registered[shape]}: registered, but not in the ledger")
    for shape, (key, entry) in sorted(listed.items()):
        if entry.state is State.REFUSED and shape in registered:
            found.append(f"{key}: refused in the ledger, but registered")
        if entry.state is not State.REFUSED and shape not in registered:
            found.append(f"{key}: {entry.state} in the ledger, but not registered")
        if entry.state is State.PARTIAL and not entry.missing.strip():
            found.append(f"{key}: partial, but the ledger does not say what is missing")
    return found
