"""The names of traits that OpenStack knows: the standard ones, and those that begin with CUSTOM_."""

import re
from pathlib import Path

import msgspec

STANDARD: frozenset[str] = frozenset(
    msgspec.json.decode((Path(__file__).parent / "traits.json").read_bytes(), type=list[str])
)
CUSTOM = re.compile(r"CUSTOM_[A-Z0-9_]{1,248}")


def legal(name: str) -> bool:
    """The core's traits are free words; only these are shown here, and taken."""
    return name in STANDARD or CUSTOM.fullmatch(name) is not None
