"""Give a running guest back what its records say it has: volumes and ports that were unplugged behind our back."""

from pileus.core.block.records import VolumeState
from pileus.core.cloud import Tx
from pileus.core.compute.records import Server
from pileus.drivers.hypervisor.protocol import Power
from pileus.workflows.disks import disk_of
from pileus.workflows.engine import Run, Step, Workflow, register
from pileus.workflows.guests import DEFAULT_MTU, nic_of, parts

PLUGGED = frozenset({Power.ON, Power.PAUSED})
"""What is off gets its devices when it is started."""


async def plug(run: Run) -> list[str]:
    """The ids of what was missing. Operations of one server run one after another, so nobody detaches meanwhile."""
    async with run.cloud.view() as look:
        server = await look.maybe(Server, run.subject)
        if server is None or server.host is None:
            return []
        of = await parts(look, server)
    hypervisor, missing = run.site.hypervisor(server.host), []
    if await hypervisor.power(server.id) not in PLUGGED:
        return []
    held = await hypervisor.disks(server.id)
    for volume in of.volumes:
        if volume.id not in held and volume.state is VolumeState.IN_USE and volume.operation is None:
            await hypervisor.attach_disk(server.id, await disk_of(run.site, volume))
            missing.append(str(volume.id))
    held = await hypervisor.nics(server.id)
    for port in of.ports:
        if port.id not in held:
            await hypervisor.attach_nic(server.id, nic_of(port, of.mtus.get(port.network, DEFAULT_MTU)))
            missing.append(str(port.id))
    return missing


async def unchanged(run: Run, tx: Tx, fault: str) -> None:
    """The operation says why; the next looks tell whether it is still so."""


WORKFLOW = register(Workflow("server.replug", steps=(Step("plug", plug),), failed=unchanged))

__all__ = ["WORKFLOW"]
