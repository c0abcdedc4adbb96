"""Give a volume to a server's guest, and take it back."""

from uuid import UUID

from msgspec.structs import replace

from pileus.core.block import volumes
from pileus.core.block.records import Volume, VolumeState
from pileus.core.block.volumes import Attach
from pileus.core.cloud import Tx
from pileus.core.compute.records import Server
from pileus.drivers.errors import Missing, Refused
from pileus.drivers.hypervisor.protocol import Hypervisor
from pileus.workflows.disks import disk_of
from pileus.workflows.engine import Run, Step, Workflow, register


async def _look(run: Run) -> tuple[Volume, UUID, Hypervisor] | None:
    """The volume, and the guest that has it or gets it. None: one of them is gone, or the server is on no host."""
    async with run.cloud.view() as look:
        volume = await look.maybe(Volume, run.subject)
        server = await look.maybe(Server, volume.server) if volume and volume.server else None
    if volume is None or server is None or server.host is None:
        return None
    return volume, server.id, run.site.hypervisor(server.host)


async def plug(run: Run) -> None:
    if (found := await _look(run)) is not None:
        volume, guest, hypervisor = found
        await hypervisor.attach_disk(guest, await disk_of(run.site, volume))


async def unplug(run: Run) -> None:
    if (found := await _look(run)) is not None:
        volume, guest, hypervisor = found
        await hypervisor.detach_disk(guest, volume.id)


async def replug(run: Run) -> None:
    """The guest has it again, as the record will say. A guest that cannot take it now is left without: detaching is
    asked for again then, and succeeds."""
    if (found := await _look(run)) is None:
        return
    volume, guest, hypervisor = found
    try:
        if volume.id not in await hypervisor.disks(guest):
            await plug(run)
    except (Missing, Refused):
        return


async def attached(run: Run, tx: Tx) -> None:
    """Not where a delete has the volume in its hands by now."""
    volume = await tx.maybe(Volume, run.subject)
    if volume is not None and volume.operation == run.operation.id:
        await volumes.settle_in(tx, volume)


async def not_attached(run: Run, tx: Tx, fault: str) -> None:
    volume = await tx.maybe(Volume, run.subject)
    if volume is not None and volume.operation == run.operation.id:
        await volumes.let_go(tx, replace(volume, fault=fault))


async def detached(run: Run, tx: Tx) -> None:
    """A delete that has the volume in its hands by now frees it itself."""
    volume = await tx.maybe(Volume, run.subject)
    if volume is not None and volume.operation == run.operation.id:
        await volumes.let_go(tx, volume)


async def not_detached(run: Run, tx: Tx, fault: str) -> None:
    volume = await tx.maybe(Volume, run.subject)
    if volume is not None and volume.operation == run.operation.id:
        await tx.put(
            replace(volume, state=VolumeState.IN_USE, operation=None, fault=fault, updated_at=run.cloud.now())
        )


ATTACH = register(
    Workflow(
        "volume.attach",
        steps=(Step("plug", plug, undo=unplug),),
        finished=attached,
        failed=not_attached,
        want=Attach,
    )
)
DETACH = register(
    Workflow(
        "volume.detach", steps=(Step("unplug", unplug, undo=replug),), finished=detached, failed=not_detached
    )
)
