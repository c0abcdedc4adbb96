"""Plug a port into a server's guest, and unplug it."""

from uuid import UUID

from msgspec.structs import replace

from pileus.core.cloud import Tx
from pileus.core.compute.interfaces import Plug
from pileus.core.compute.records import Server
from pileus.core.network import ports
from pileus.core.network.records import Network, Port
from pileus.workflows.engine import Run, Step, Workflow, register
from pileus.workflows.guests import nic_of
from pileus.workflows.network_sync import sync_port


async def connect(run: Run) -> None:
    await sync_port(run.site, run.subject)


async def disconnect(run: Run) -> None:
    """The record first, then what the platform has of it."""
    async with run.transaction() as tx:
        await ports.release(tx, run.want.server, run.subject)
    await sync_port(run.site, run.subject)


async def host_of(run: Run) -> UUID | None:
    async with run.cloud.view() as look:
        server = await look.maybe(Server, run.want.server)
    return server.host if server is not None else None


async def plug(run: Run) -> None:
    async with run.cloud.view() as look:
        port = await look.get(Port, run.subject)
        network = await look.get(Network, port.network)
    host = await host_of(run)
    if host is not None:
        await run.site.hypervisor(host).attach_nic(run.want.server, nic_of(port, network.mtu))


async def unplug(run: Run) -> None:
    host = await host_of(run)
    if host is not None:
        await run.site.hypervisor(host).detach_nic(run.want.server, run.subject)


async def touch(run: Run, tx: Tx) -> None:
    server = await tx.maybe(Server, run.want.server)
    if server is not None:
        await tx.put(replace(server, updated_at=run.cloud.now()))


async def unchanged(run: Run, tx: Tx, fault: str) -> None:
    """The operation says why; the server is as it was."""


ATTACH = register(
    Workflow(
        "nic.attach",
        steps=(Step("network", connect, undo=disconnect), Step("plug", plug, undo=unplug)),
        finished=touch,
        failed=unchanged,
        want=Plug,
    )
)
DETACH = register(
    Workflow(
        "nic.detach",
        steps=(Step("unplug", unplug), Step("network", disconnect, undo=connect)),
        finished=touch,
        failed=unchanged,
        want=Plug,
    )
)
