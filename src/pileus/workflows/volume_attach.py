"""Give a volume to a server's guest, and take it back."""

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


async def _look(run: Run) -> tuple[Volume, Server | None]:
    async with run.cloud.view() as look:
        volume = await look.get(Volume, run.subject)
        server = await look.maybe(Server, volume.server) if volume.server else None
    return volume, server


def _hypervisor(run: Run, server: Server | None) -> Hypervisor | None:
    """None: the server is gone, or is on no host, so no guest has the disk."""
    return run.site.hypervisor(server.host) if server and server.host else None


async def plug(run: Run) -> None:
    volume, server = await _look(run)
    hypervisor = _hypervisor(run, server)
    if server is not None and hypervisor is not None:
        await hypervisor.attach_disk(server.id, await disk_of(run.site, volume))


async def unplug(run: Run) -> None:
    volume, server = await _look(run)
    hypervisor = _hypervisor(run, server)
    if server is not None and hypervisor is not None:
        await hypervisor.detach_disk(server.id, volume.id)


async def replug(run: Run) -> None:
    """The guest has it again, as the record will say. A guest that cannot take it now is left without: detaching is
    asked for again then, and succeeds."""
    volume, server = await _look(run)
    hypervisor = _hypervisor(run, server)
    if server is None or hypervisor is None:
        return
    try:
        if volume.id not in await hypervisor.disks(server.id):
            await plug(run)
    except (Missing, Refused):
        return


async def attached(run: Run, tx: Tx) -> None:
    await volumes.settle_in(tx, await tx.get(Volume, run.subject))


async def not_attached(run: Run, tx: Tx, fault: str) -> None:
    volume = await tx.maybe(Volume, run.subject)
    if volume is not None and volume.operation == run.operation.id:
        await volumes.let_go(tx, replace(volume, fault=fault))


async def detached(run: Run, tx: Tx) -> None:
    volume = await tx.maybe(Volume, run.subject)
    if volume is not None:
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
