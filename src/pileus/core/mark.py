"""Which cloud this is: an id, made once and kept in the database, by which drivers mark what they make on platforms that
several clouds may share."""

from contextlib import suppress
from pathlib import Path
from uuid import UUID, uuid4

from pileus.store import Duplicate, Record, Store, table

ONLY = "cloud"
FILE = "cloud-id"


@table("cloud_mark", key=("name",))
class CloudMark(Record):
    """One row."""

    name: str = ONLY
    id: UUID


async def identify(store: Store) -> UUID:
    """The id of the cloud that this database holds; made at the first call. Repeatable."""
    while True:
        async with store.transaction() as tx:
            held = await tx.get(CloudMark, ONLY)
            if held is not None:
                return held.id
            with suppress(Duplicate):  # another process was quicker, and its id counts
                return (await tx.insert(CloudMark(id=uuid4()))).id


def note(state: Path, cloud: UUID) -> None:
    """Write it into the state directory, for commands that work without the database."""
    (state / FILE).write_text(f"{cloud}\n")


def noted(state: Path) -> UUID | None:
    """What was noted; None before the first start."""
    file = state / FILE
    return UUID(file.read_text().strip()) if file.exists() else None


__all__ = ["CloudMark", "identify", "note", "noted"]
