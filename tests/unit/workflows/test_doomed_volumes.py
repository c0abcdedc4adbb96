"""A volume that goes with its server is not begun with any more once that server is being deleted: what would come
after the deletion of the disk has nothing to work on, and its charge nobody to be given back to."""

import pytest

from pileus.core.block import snapshots, volumes
from pileus.core.compute import lifecycle
from pileus.core.errors import Conflict
from pileus.core.quota import Usage
from tests.unit.workflows.storage import World, world

__all__ = ["world"]


async def test_what_goes_with_its_server_is_neither_grown_nor_snapshotted(world: World) -> None:
    volume, server = await world.volume(), await world.server()
    await volumes.attach(world.cloud, world.caller, volume.id, server.id, delete_with_server=True)
    await world.quiet()
    world.host.reachable = False
    await lifecycle.delete(world.cloud, world.caller, server.id)
    with pytest.raises(Conflict, match="is being deleted"):
        await volumes.extend(world.cloud, world.caller, volume.id, 5)
    with pytest.raises(Conflict, match="is being deleted"):
        await snapshots.create(world.cloud, world.caller, snapshots.Create(volume=volume.id, force=True))
    async with world.cloud.view() as look:
        used = await look.get(Usage, world.caller.home, "volume_gib")
    assert used.used == 1
