"""The end of a volume: what it waits for, what it calls off, what it takes along, and what keeps it."""

from collections.abc import Sequence
from uuid import UUID

from msgspec.structs import replace

from pileus.core import deletion
from pileus.core.block.records import Snapshot, SnapshotState, Volume, VolumeState
from pileus.core.block.sources import find
from pileus.core.caller import Caller
from pileus.core.cloud import Cloud, Tx
from pileus.core.errors import InUse
from pileus.core.operations import UNDISTURBED, Accepted, Operation

PASSING = frozenset({VolumeState.CREATING, VolumeState.ATTACHING, VolumeState.DETACHING})
"""States in which a volume that names a server may not be, or no more be, in its guest."""


async def delete(
    cloud: Cloud, caller: Caller, key: UUID, *, keep_snapshots: bool = False, with_snapshots: bool = False
) -> Accepted:
    """Start deleting a volume that no server holds, whatever its state. What is being done to it is called off; what
    is being made from it (a copy, an image, a snapshot that is kept) ends first. With snapshots: refused, unless they
    go along, or `keep_snapshots`: then the disk stays, out of sight and out of quota, until the last of them is gone.
    """
    async with cloud.transaction(caller) as tx:
        volume = await find(tx, caller, key, "volume.delete")
        if (first := await deletion.again(tx, volume)) is not None:
            return first
        running = await deletion.under_way(tx, volume)
        _refuse_held(volume, running)
        snapshots = await tx.list(Snapshot, volume=key)
        staying = [one for one in snapshots if one.state is not SnapshotState.DELETING]
        if staying and not (keep_snapshots or with_snapshots):
            raise InUse(f"Volume {key} has {len(staying)} snapshots; delete them first.")
        if running is not None and running.workflow not in UNDISTURBED:
            await deletion.call_off(tx, running)
        # In the queue of what is under way, so that the deletion comes after its end.
        operation = await tx.start("volume.delete", subject=volume, key=running.key if running else key)
        if with_snapshots:
            await _take_along(tx, snapshots, operation.id)
        volume = await tx.put(
            replace(volume, state=VolumeState.DELETING, operation=operation.id, updated_at=cloud.now())
        )
    return Accepted(volume, operation)


async def _take_along(tx: Tx, snapshots: Sequence[Snapshot], operation: UUID) -> None:
    for snapshot in snapshots:
        making = await deletion.under_way(tx, snapshot)
        if making is not None and snapshot.state is SnapshotState.CREATING:
            await deletion.call_off(tx, making)
        going = replace(
            snapshot, state=SnapshotState.DELETING, operation=operation, updated_at=tx.cloud.now()
        )
        await tx.put(going)


def _refuse_held(volume: Volume, running: Operation | None) -> None:
    """What is on its way to a server, or back, may go; what a server has, or is being built with, is the server's."""
    passing = volume.state in PASSING and running is not None and running.subject == volume.id
    if volume.server is not None and not passing:
        step = "delete the server" if volume.root else "detach it"
        raise InUse(f"Volume {volume.id} is held by server {volume.server}; {step} first.")
