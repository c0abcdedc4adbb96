"""Cinder's words: states, times, and texts that mean true or false."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import UNSET, UnsetType

from pileus.core.block.records import SnapshotState, VolumeState
from pileus.core.errors import Invalid

STATUS: Mapping[VolumeState, str] = {
    VolumeState.CREATING: "creating",
    VolumeState.AVAILABLE: "available",
    VolumeState.ATTACHING: "attaching",
    VolumeState.IN_USE: "in-use",
    VolumeState.DETACHING: "detaching",
    VolumeState.EXTENDING: "extending",
    VolumeState.UPLOADING: "uploading",
    VolumeState.RETAINED: "deleted",
    VolumeState.ERROR: "error",
    VolumeState.DELETING: "deleting",
}
SNAPSHOT_STATUS: Mapping[SnapshotState, str] = {
    SnapshotState.CREATING: "creating",
    SnapshotState.AVAILABLE: "available",
    SnapshotState.ERROR: "error",
    SnapshotState.DELETING: "deleting",
}
TRUE = frozenset({"true", "1", "on", "yes", "y", "t"})
FALSE = frozenset({"false", "0", "off", "no", "n", "f"})
LONGEST = 255
KEY = re.compile(r"[a-zA-Z0-9-_:. /]{1,255}")
Text = str | UnsetType | None
Flag = bool | str


def stamp(at: datetime | None) -> str | None:
    """Microseconds and no zone: clients of Cinder read no other form."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") if at is not None else None


def flag(name: str, value: Flag) -> bool:
    """Raises Invalid for a text that means neither."""
    if isinstance(value, bool):
        return value
    if value.strip().lower() in TRUE:
        return True
    if value.strip().lower() in FALSE:
        return False
    raise Invalid(f"Invalid input for field/attribute {name}: {value[:40]!r} is not true or false.")


def whole(name: str, value: int | str, least: int = 1) -> int:
    """A number, or digits."""
    if isinstance(value, str):
        if not re.fullmatch(r"[0-9]{1,10}", value.strip(), re.ASCII):
            raise Invalid(f"Invalid input for field/attribute {name}: {value[:40]!r} is not a whole number.")
        value = int(value)
    if not least <= value <= 0x7FFFFFFF:
        raise Invalid(f"Invalid input for field/attribute {name}: {value} is not {least} or more.")
    return value


def text(name: str, value: Text, *, least: int = 0) -> str:
    """Without white space around it; nothing is the empty text."""
    if value is UNSET or value is None:
        return ""
    assert isinstance(value, str)
    value = value.strip()
    if not least <= len(value) <= LONGEST:
        raise Invalid(
            f"Invalid input for field/attribute {name}: it has {len(value)} characters, "
            f"not {least} to {LONGEST}."
        )
    return value


def pairs(name: str, given: Mapping[str, str | None] | None, *, longest: int = LONGEST) -> dict[str, str]:
    """Metadata or specs. Raises Invalid for keys and values that the original refuses too."""
    made: dict[str, str] = {}
    for key, value in (given or {}).items():
        if not KEY.fullmatch(key):
            raise Invalid(
                f"Invalid input for field/attribute {name}: {key[:60]!r} is no key; keys have 1 to 255 letters, "
                "digits, spaces and -_:./ in them."
            )
        if value is None or len(value) > longest:
            raise Invalid(
                f"Invalid input for field/attribute {name}: {key[:60]} needs a text of at most {longest}."
            )
        made[key] = value
    return made
