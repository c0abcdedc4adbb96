"""How a network resource changes: the fields that were given, a new revision, and the refusal of stale writers."""

from typing import Any, TypeVar

import msgspec

from pileus.core.cloud import Tx
from pileus.core.network.errors import Stale
from pileus.store import Record

R = TypeVar("R", bound=Record)


def given(change: msgspec.Struct) -> dict[str, Any]:
    """The fields of a change that are not UNSET."""
    return {
        name: value
        for name in change.__struct_fields__
        if (value := getattr(change, name)) is not msgspec.UNSET
    }


def unchanged_since(record: Record, revision: int | None) -> None:
    """Raises Stale when the caller expects another revision."""
    if revision is not None and record.revision != revision:  # type: ignore[attr-defined]
        raise Stale(revision)


async def amend(tx: Tx, record: R, /, **changes: Any) -> R:
    """Put the record with its changes, a higher revision and the time; equal values change nothing."""
    changed: R = msgspec.structs.replace(record, **changes)
    if changed == record:
        return record
    stamps = {"revision": record.revision + 1, "updated_at": tx.cloud.now()}  # type: ignore[attr-defined]
    return await tx.put(msgspec.structs.replace(changed, **stamps))


async def touch(tx: Tx, record: R) -> R:
    """A new revision, because what belongs to the record has changed."""
    stamps = {"revision": record.revision + 1, "updated_at": tx.cloud.now()}  # type: ignore[attr-defined]
    return await tx.put(msgspec.structs.replace(record, **stamps))
