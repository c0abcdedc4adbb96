"""Two small things that every change of identity needs: what an update names, and the count of changes."""

from typing import Any

import msgspec

from pileus.core.cloud import Look, Tx
from pileus.core.counters import Counter, following

CHANGES = "identity"


async def changed(tx: Tx) -> None:
    """Called by every transaction that changes who may do what: it ends what was remembered of sessions.

    The count is the time in microseconds, or more: what is kept outside of the database under a count must not be found
    again after an older copy of the database was put back and changed in another way.
    """
    await following(tx.rows, CHANGES, least=int(tx.cloud.now().timestamp() * 1_000_000))


async def change_count(look: Look) -> int:
    counter = await look.maybe(Counter, CHANGES)
    return counter.value if counter else 0


def given(want: msgspec.Struct) -> dict[str, Any]:
    """The fields of an update that the caller set."""
    values = {name: getattr(want, name) for name in want.__struct_fields__}
    return {name: value for name, value in values.items() if value is not msgspec.UNSET}
